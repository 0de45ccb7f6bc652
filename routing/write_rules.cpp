#include "routing/write_rules.hpp"

#include "routing/policy.hpp"
#include "routing/sql_walk_target.h"

#include <algorithm>

namespace lull::routing {

namespace {

void add_table(void* context, char const* schema, char const* name) noexcept {
    static_cast<write_target*>(context)->tables.push_back({schema ? schema : "", name ? name : ""});
}

/// The parser may have it again: it has passed the guard, and was understood.
bool can_be_parsed(operation const& what) {
    return what.why == why::understood || what.why == why::function || what.why == why::relation ||
           what.why == why::catalog;
}

bool any_matches(std::vector<std::string> const& patterns, std::string_view text) {
    return patterns.empty() || std::any_of(patterns.begin(), patterns.end(),
                                           [&](std::string const& p) { return wildcard_matches(p, text); });
}

/// A pattern with a schema needs the schema in the text: which one a bare name means is the server's to know.
bool table_matches(std::vector<std::string> const& patterns, written_table const& t) {
    return std::any_of(patterns.begin(), patterns.end(), [&](std::string_view p) {
        if (p.find('.') == std::string_view::npos) return wildcard_matches(p, t.name);
        return !t.schema.empty() && wildcard_matches(p, t.schema + "." + t.name);
    });
}

bool fits(config::site const& site, config::write_rule const& rule, refused_write const& w,
          std::optional<write_target>& target) {
    if (!any_matches(rule.users, w.from.user) || !any_matches(rule.applications, w.from.application_name))
        return false;
    if (!rule.statements.empty()) {
        bool some = false;
        for (statement const& s : w.what.statements) {
            if (passes_read_only(s, site.guard)) continue;
            some = true;
            if (std::find(rule.statements.begin(), rule.statements.end(), name_of(class_of(s))) ==
                rule.statements.end())
                return false;
        }
        // Refused, and nothing in it says why: it was not understood.
        if (!some && std::find(rule.statements.begin(), rule.statements.end(),
                               name_of(statement_class::unknown)) == rule.statements.end())
            return false;
    }
    if (rule.tables.empty()) return true;
    if (w.text.empty() || !can_be_parsed(w.what)) return false;
    if (!target) target = find_target(w.text);
    return target->tables_known && !target->tables.empty() &&
           std::all_of(target->tables.begin(), target->tables.end(),
                       [&](written_table const& t) { return table_matches(rule.tables, t); });
}

}  // namespace

bool wildcard_matches(std::string_view pattern, std::string_view text) noexcept {
    std::size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            mark = t;
        } else if (p < pattern.size() && pattern[p] == text[t]) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

statement_class class_of(statement const& s) {
    auto is = [&](std::string_view command) { return std::string_view(s.command).starts_with(command); };
    switch (s.kind) {
        case statement_kind::dml:
            if (is("INSERT")) return statement_class::insert;
            if (is("UPDATE")) return statement_class::update;
            if (is("DELETE")) return statement_class::delete_;
            if (is("MERGE")) return statement_class::merge;
            return statement_class::select;
        case statement_kind::empty:
        case statement_kind::select:
        case statement_kind::explain:
        case statement_kind::show:
        case statement_kind::copy_out:
        case statement_kind::prepare:
        case statement_kind::declare_cursor:
        case statement_kind::fetch:
        case statement_kind::close_cursor:
            return statement_class::select;
        case statement_kind::ddl:
            return statement_class::ddl;
        case statement_kind::utility:
            if (is("TRUNCATE")) return statement_class::truncate;
            if (is("CALL") || is("DO")) return statement_class::call;
            return statement_class::utility;
        case statement_kind::execute:
            return statement_class::call;
        case statement_kind::copy_in:
            return statement_class::copy;
        case statement_kind::begin:
        case statement_kind::commit:
        case statement_kind::rollback:
        case statement_kind::savepoint:
        case statement_kind::release:
        case statement_kind::rollback_to:
        case statement_kind::prepare_transaction:
        case statement_kind::set_transaction:
            return statement_class::transaction;
        case statement_kind::set:
        case statement_kind::reset:
        case statement_kind::discard:
        case statement_kind::deallocate:
            return statement_class::setting;
        case statement_kind::listen:
        case statement_kind::unlisten:
            return statement_class::listen;
        case statement_kind::notify:
            return statement_class::notify;
        case statement_kind::unknown:
            return statement_class::unknown;
    }
    return statement_class::unknown;
}

std::string_view name_of(statement_class c) {
    switch (c) {
        case statement_class::insert:
            return "insert";
        case statement_class::update:
            return "update";
        case statement_class::delete_:
            return "delete";
        case statement_class::merge:
            return "merge";
        case statement_class::select:
            return "select";
        case statement_class::copy:
            return "copy";
        case statement_class::truncate:
            return "truncate";
        case statement_class::ddl:
            return "ddl";
        case statement_class::call:
            return "call";
        case statement_class::utility:
            return "utility";
        case statement_class::notify:
            return "notify";
        case statement_class::listen:
            return "listen";
        case statement_class::transaction:
            return "transaction";
        case statement_class::setting:
            return "setting";
        case statement_class::unknown:
            return "unknown";
    }
    return "unknown";
}

write_target find_target(std::string_view text) {
    write_target out;
    lull_sql_target found{};
    std::string const whole(text);
    if (!lull_sql_find_target(whole.c_str(), add_table, &out, &found)) return {};
    out.tables_known = found.tables_known;
    if (!found.autonomous) return out;
    switch (found.verb) {
        case 'I':
            out.tag = "INSERT 0 " + std::to_string(found.rows);
            break;
        case 'U':
            out.tag = "UPDATE 1";
            break;
        case 'D':
            out.tag = "DELETE 1";
            break;
        default:
            break;
    }
    return out;
}

config::write_policy choose_action(config::site const& site, refused_write const& write) {
    std::optional<write_target> target;
    for (config::write_rule const& rule : site.write_rules)
        if (fits(site, rule, write, target)) return rule.action;
    return site.writes;
}

std::optional<std::string> answer_of(refused_write const& w) {
    if (w.text.empty() || !can_be_parsed(w.what) || w.what.statements.size() != 1) return std::nullopt;
    statement const& s = w.what.statements.front();
    // What it leaves in its session (a lock, a setting) somebody may count on.
    if (s.kind != statement_kind::dml || s.pins || s.may_set) return std::nullopt;
    return find_target(w.text).tag;
}

bool stores_nothing(operation const& what) {
    if (what.statements.size() != 1) return false;
    // Their whole text is a name and a constant: nothing in them is evaluated.
    statement_kind const kind = what.statements.front().kind;
    return kind == statement_kind::notify || kind == statement_kind::listen;
}

}  // namespace lull::routing
