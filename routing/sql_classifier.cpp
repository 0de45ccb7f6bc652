#include "routing/sql_classifier.hpp"

#include "routing/about_server.hpp"
#include "routing/function_list.hpp"
#include "routing/source_leavings.hpp"
#include "routing/sql_normalizer.hpp"
#include "routing/sql_walk.h"

#include <algorithm>
#include <iterator>
#include <random>

namespace lull::routing {
namespace {

// The C side numbers the same things; a new enumerator on one side must not shift the other.
static_assert(static_cast<int>(access::write) == LULL_WRITE &&
              static_cast<int>(access::unknown) == LULL_UNKNOWN);
static_assert(static_cast<int>(statement_kind::unknown) == LULL_UNKNOWN_KIND);
static_assert(static_cast<int>(statement_kind::select) == LULL_SELECT &&
              static_cast<int>(statement_kind::copy_out) == LULL_COPY_OUT &&
              static_cast<int>(statement_kind::begin) == LULL_BEGIN &&
              static_cast<int>(statement_kind::rollback_to) == LULL_ROLLBACK_TO &&
              static_cast<int>(statement_kind::set) == LULL_SET &&
              static_cast<int>(statement_kind::discard) == LULL_DISCARD &&
              static_cast<int>(statement_kind::declare_cursor) == LULL_DECLARE_CURSOR &&
              static_cast<int>(statement_kind::notify) == LULL_NOTIFY);
static_assert(static_cast<int>(isolation::serializable) == LULL_SERIALIZABLE);
static_assert(static_cast<int>(named::function) == LULL_NAMED_FUNCTION &&
              static_cast<int>(named::type) == LULL_NAMED_TYPE &&
              static_cast<int>(named::attribute) == LULL_NAMED_ATTRIBUTE);

// A statement that names more is not worth finding out about.
constexpr std::size_t most_names = 256;
static_assert(static_cast<int>(function_class::unknown) == LULL_FUNCTION_UNKNOWN &&
              static_cast<int>(function_class::lock) == LULL_FUNCTION_LOCK &&
              static_cast<int>(function_class::denied) == LULL_FUNCTION_DENIED);

std::optional<bool> option_of(lull_sql_option o) {
    if (o == LULL_UNSET) return std::nullopt;
    return o == LULL_ON;
}

bool controls_transaction(statement_kind k) {
    return k == statement_kind::begin || k == statement_kind::commit || k == statement_kind::rollback ||
           k == statement_kind::prepare_transaction;
}

statement to_statement(lull_sql_statement const& in) {
    statement out;
    out.kind = in.too_deep ? statement_kind::unknown : static_cast<statement_kind>(in.kind);
    out.access = static_cast<access>(in.access);
    out.chain = in.chain;
    out.local = in.local;
    out.to_default = in.to_default;
    out.pins = in.pins;
    out.by_query = in.by_query;
    out.opaque = in.opaque;
    out.may_set = in.may_set;
    out.only_unlisted = in.only_unlisted && !in.too_deep;
    out.listed = static_cast<access>(in.listed);
    out.beside = static_cast<access>(in.beside);
    out.begin.isolation = static_cast<isolation>(in.isolation);
    out.begin.read_only = option_of(in.read_only);
    out.begin.deferrable = option_of(in.deferrable);
    out.command = in.command;
    out.name = in.name;
    out.value = in.value;
    out.offset = static_cast<std::uint32_t>(in.offset);
    out.length = static_cast<std::uint32_t>(in.length);
    return out;
}

/// Of information_schema.
bool is_standard_domain(std::string_view name) {
    for (std::string_view one : {"cardinal_number", "character_data", "sql_identifier", "time_stamp", "yes_or_no"})
        if (name == one) return true;
    return false;
}

struct collector {
    operation op;
    std::vector<name_use> names;  // of the statement under way
    leavings leaves;              // likewise, of functions of pg_catalog that it calls itself
    bool constants_matter = false;

    /// Whether it is none that came with the server.
    static bool is_of_somebody(named what, std::string_view schema, std::string_view name) {
        if (what != named::type && what != named::op) return false;
        if (schema == "information_schema") return !is_standard_domain(name);
        if (!schema.empty() && schema != "pg_catalog") return true;
        return what == named::type ? !is_builtin_type(name) : !is_builtin_operator(name);
    }

    static bool calls(name_use const& use) { return use.what == named::function && use.unlisted; }

    void name(named what, std::string_view schema, std::string_view name, bool unlisted) {
        if (schema.empty() || schema == "pg_catalog")
            op.about_server = op.about_server || (what == named::function && is_function_about_server(name)) ||
                              (what == named::relation && is_relation_about_server(name));
        if (what == named::function && (name == "lastval" || name == "currval") && (schema.empty() || schema == "pg_catalog"))
            op.asks_sequences = true;
        if (what == named::function && (schema.empty() || schema == "pg_catalog")) leaves.add(lasting_leaves(name));
        if (names.size() > most_names) return;
        unlisted = unlisted || is_of_somebody(what, schema, name);
        name_use const use{what, unlisted, name_number(what, {}, name),
                           schema.empty() ? 0 : name_number(what, schema, name)};
        if (std::find(names.begin(), names.end(), use) == names.end()) names.push_back(use);
    }

    void add(lull_sql_statement const& in) {
        op.access = op.statements.empty() ? static_cast<access>(in.access)
                                          : std::max(op.access, static_cast<access>(in.access));
        if (op.function.empty()) op.function = in.function;
        if (in.too_deep)
            op.why = why::too_deep;
        else if (in.unknown_node && op.why != why::too_deep)
            op.why = why::node;
        else if (*in.function && op.why == why::understood)
            op.why = why::function;
        constants_matter = constants_matter || in.constants_matter;
        op.statements.push_back(to_statement(in));
        statement& s = op.statements.back();
        if (s.kind == statement_kind::set && s.name == "seed") leaves.add(leaving::setting);  // each random() changes it
        if (leaves && s.kind != statement_kind::prepare) {
            if (s.pins) leaves.add(leaving::as_written);
            s.leaves = leaves;
            s.pins = true;
        }
        leaves = {};
        if (names.size() > most_names) {
            s.access = std::max(s.access, access::unknown);
            op.access = std::max(op.access, access::unknown);
            s.beside = access::write;
            if (op.why == why::understood) op.why = why::node;
        } else if (s.beside < access::write) {
            s.names.assign(names.begin(), names.end());
            op.has_targets = true;
            op.has_names = op.has_names || std::ranges::any_of(names, calls);
        } else if (s.access == access::write) {
            // What it is does not depend on them, but what they leave may keep its client on its server.
            std::ranges::copy_if(names, std::back_inserter(s.names), calls);
            op.has_names = op.has_names || !s.names.empty();
        } else if (s.access < access::unknown || s.only_unlisted) {
            s.names.assign(names.begin(), names.end());
            op.has_names = op.has_names || !names.empty();
        }
        names.clear();
        op.about_server = op.about_server || (s.kind == statement_kind::show && is_setting_about_server(s.name));
        op.transaction_control = op.transaction_control || controls_transaction(op.statements.back().kind);
    }

    function_class class_of(char const* schema, std::string_view name) const {
        std::string_view const in_schema = schema ? schema : "";
        if (in_schema.empty() || in_schema == "pg_catalog") {
            if (auto const found = class_of_builtin(name); found != function_class::unknown) return found;
        }
        if (is_denied_anywhere(name)) return function_class::denied;
        return function_class::unknown;
    }
};

// Called from C: nothing may be thrown through it, so running out of memory ends the process here.
void on_statement(void* context, lull_sql_statement const* s) noexcept {
    static_cast<collector*>(context)->add(*s);
}
lull_sql_function on_function(void* context, char const* schema, char const* name) noexcept {
    return static_cast<lull_sql_function>(static_cast<collector*>(context)->class_of(schema, name));
}

void on_name(void* context, lull_sql_named what, char const* schema, char const* name,
             bool unlisted) noexcept {
    static_cast<collector*>(context)->name(static_cast<named>(what), schema ? schema : "", name, unlisted);
}

operation not_understood(why reason) {
    operation op;
    op.access = access::unknown;
    op.why = reason;
    op.statements.emplace_back();
    return op;
}

std::uint64_t seed_or_random(std::uint64_t seed) {
    if (seed != 0) return seed;
    std::random_device source;
    return (static_cast<std::uint64_t>(source()) << 32) | source();
}

bool has_high_bit(std::string_view sql) {
    return std::any_of(sql.begin(), sql.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0x80) != 0; });
}

}  // namespace

sql_classifier::sql_classifier(classifier_limits limits)
    : limits_(std::move(limits)),
      cache_(limits_.cache_entries, limits_.cache_bytes, seed_or_random(limits_.cache_seed)),
      key_(limits_.max_parse_bytes) {
    text_.reserve(limits_.max_parse_bytes + 1);
    for (std::size_t i = 0; i < refusals_.size(); ++i)
        refusals_[i] = std::make_shared<operation const>(not_understood(static_cast<why>(i)));
}

std::shared_ptr<operation const> const& sql_classifier::refused(why reason) {
    return refusals_[static_cast<std::size_t>(reason)];
}

std::shared_ptr<operation const> const& sql_classifier::classify(std::string_view sql, text_facts facts) {
    // Both facts change what bytes mean to the server only where such bytes are; elsewhere the verdict is the
    // same.
    if ((!facts.standard_conforming_strings && sql.find('\\') != std::string_view::npos) ||
        (facts.unsafe_encoding && has_high_bit(sql))) {
        ++stats_.unsafe_text;
        return refused(why::encoding);
    }
    bool const may_be_kept = sql.size() <= limits_.max_key_bytes;
    if (may_be_kept && sql.size() <= limits_.max_parse_bytes) {
        if (auto const* recent = shapes_.find(sql)) {
            ++stats_.normalised_hits;
            return *recent;
        }
    }
    // Where constants are new each time, to look for the text itself is in vain: every sixteenth is looked for then.
    bool const as_it_is = may_be_kept && (vain_looks_ < most_vain_looks || (++turn_ & 15) == 0);
    std::uint64_t const exact = as_it_is ? cache_.hash_of(sql, key_space::exact) : 0;
    if (as_it_is)
        if (auto const* hit = find_exact(sql, exact)) return *hit;
    if (sql.size() > limits_.max_parse_bytes) {
        ++stats_.too_long;
        return refused(why::too_long);
    }
    // The parser ends at the first NUL; PostgreSQL's protocol cannot carry one.
    if (sql.find('\0') != std::string_view::npos) {
        ++stats_.syntax_errors;
        return refused(why::syntax_error);
    }
    scanned const scan = scan_sql(sql, key_);
    if (scan.dangerous) {
        ++stats_.guard_trips;
        return refused(why::guard);
    }
    std::string_view normal_key;
    if (scan.form == key_form::changed && scan.key_bytes <= limits_.max_key_bytes) {
        normal_key = {key_.data(), scan.key_bytes};
        auto const hash = cache_.hash_of(normal_key, key_space::normalised);
        if (auto const* hit = cache_.find(normal_key, key_space::normalised, hash)) {
            ++stats_.normalised_hits;
            shapes_.remember(sql, normal_key, *hit);
            if (as_it_is && vain_looks_ < most_vain_looks) ++vain_looks_;
            // Always the same constants (LIMIT 20): the second time it gets a shorter way.
            if (as_it_is && cache_.seen_before(exact)) {
                uncached_ = *hit;
                if (auto const* kept = cache_.put(sql, key_space::exact, uncached_)) return *kept;
                return uncached_;
            }
            return *hit;
        }
    }
    if (may_be_kept && !as_it_is)
        if (auto const* hit = find_exact(sql, cache_.hash_of(sql, key_space::exact))) return *hit;
    return parse(sql, normal_key);
}

std::shared_ptr<operation const> const* sql_classifier::find_exact(std::string_view sql, std::uint64_t hash) {
    auto const* hit = cache_.find(sql, key_space::exact, hash);
    if (!hit) return nullptr;
    ++stats_.exact_hits;
    vain_looks_ = 0;
    return hit;
}

std::shared_ptr<operation const> const& sql_classifier::parse(std::string_view sql,
                                                              std::string_view normal_key) {
    ++stats_.parses;
    stats_.parsed_bytes += sql.size();
    stats_.longest_parse = std::max<std::uint64_t>(stats_.longest_parse, sql.size());

    text_.assign(sql);
    collector found;
    bool const parsed = lull_sql_classify(text_.c_str(), static_cast<int>(limits_.max_depth), on_function, on_name,
                                          on_statement, &found);
    bool share = false;
    if (!parsed) {
        ++stats_.syntax_errors;
        found.op = not_understood(why::syntax_error);
    } else if (found.op.statements.empty()) {
        found.op.access = access::read;
        statement& nothing = found.op.statements.emplace_back();
        nothing.kind = statement_kind::empty;
        nothing.access = access::read;
    } else {
        if (found.op.why == why::too_deep) ++stats_.too_deep;
        // Offsets differ between texts that differ in their constants, so those of one statement name the
        // whole text.
        share = found.op.statements.size() == 1 && !found.constants_matter;
        if (share) found.op.statements[0].offset = found.op.statements[0].length = 0;
    }

    uncached_ = std::make_shared<operation const>(std::move(found.op));
    verdict_cache::verdict const* kept = nullptr;
    if (share && !normal_key.empty())
        kept = cache_.put(normal_key, key_space::normalised, uncached_);
    else if (sql.size() <= limits_.max_key_bytes)
        kept = cache_.put(sql, key_space::exact, uncached_);
    return kept ? *kept : uncached_;
}

bool is_list_of_names(std::string_view setting) {
    return lull_is_list_of_names(std::string(setting).c_str());
}

}  // namespace lull::routing
