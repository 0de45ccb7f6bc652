#include "routing/catalog_facts.hpp"

#include "routing/catalog_source.hpp"
#include "routing/function_list.hpp"
#include "routing/parameter_types.hpp"
#include "routing/source_leavings.hpp"

#include <algorithm>

namespace lull::routing {
namespace {

constexpr std::size_t most_examples = 5;
// Sources are looked through again as long as that finds anything; chains of calls are rarely longer.
constexpr int most_rounds = 50;

named named_of(catalog_object::kind what) {
    switch (what) {
        case catalog_object::kind::function:
            return named::function;
        case catalog_object::kind::relation:
            return named::relation;
        case catalog_object::kind::type:
            return named::type;
        case catalog_object::kind::op:
            return named::op;
    }
    return named::function;
}

reach reach_of_builtin(std::string_view name) {
    switch (class_of_builtin(name)) {
        case function_class::read:
        case function_class::session:
            return reach::reads;
        case function_class::denied:
            return reach::denied;
        case function_class::lock:
        case function_class::set_config:
        case function_class::unknown:
            break;
    }
    return reach::unknown;
}

/// Of what is always refused, what READ ONLY stops by itself or ROLLBACK undoes, and functions may therefore
/// contain for other times: a function that draws a number only if it has to still reads.
bool is_stopped_by_server(std::string_view name) {
    for (std::string_view harmless :
         {"nextval", "setval", "txid_current", "pg_current_xact_id", "pg_notify", "pg_export_snapshot",
          "pg_current_logfile", "pg_stat_file", "ts_stat", "ts_rewrite", "loread", "lowrite"})
        if (name == harmless) return true;
    for (std::string_view prefix : {"lo_", "pg_read_", "pg_ls_"})
        if (name.starts_with(prefix)) return name != "lo_export" && name != "lo_import";
    return name.ends_with("_to_xml") || name.ends_with("_to_xmlschema") || name.ends_with("_and_xmlschema");
}

/// A volatile function whose source shows that it would get out of READ ONLY, or past it. Within a function
/// COPY is always to a file or a program of the server's.
bool gets_around(std::string_view source) {
    std::string culprit;
    return source_reaches(
        source,
        [](std::string_view name, bool) {
            if (name == "transaction_read_only" || name == "copy") return true;
            if (is_denied_anywhere(name)) return true;  // called also as (x).name
            return class_of_builtin(name) == function_class::denied && !is_stopped_by_server(name);
        },
        culprit);
}

/// Of pg_catalog.
bool is_of_sequences(std::string_view name) { return name == "pg_sequence_last_value" || name == "pg_sequences"; }

/// "name" fits whatever schema, "schema.name" and "schema.*" fit theirs.
bool fits(std::vector<std::string> const& list, std::string_view schema, std::string_view name) {
    return std::ranges::any_of(list, [&](std::string_view entry) {
        std::size_t const dot = entry.find('.');
        if (dot == std::string_view::npos) return entry == name;
        return entry.substr(0, dot) == schema &&
               (entry.substr(dot + 1) == "*" || entry.substr(dot + 1) == name);
    });
}

}  // namespace

class facts_maker {
  public:
    facts_maker(catalog_rows const& rows, config::guard const& guard, catalog_facts& out)
        : rows_(rows), guard_(guard), out_(out), nodes_(rows.objects.size()) {}

    void run() {
        for (std::size_t i = 0; i < rows_.objects.size(); ++i) {
            catalog_object const& o = rows_.objects[i];
            by_oid_[key(o.what, o.oid)] = i;
            nodes_[i].means = own(o, nodes_[i]);
            if (nodes_[i].means != reach::reads) nodes_[i].function = o.name;
        }
        for (catalog_edge const& e : rows_.edges) {
            node* const from = find(e.from_kind, e.from);
            node* const to = find(e.to_kind, e.to);
            if (from && to) to->users.push_back(static_cast<std::size_t>(from - nodes_.data()));
        }
        for (catalog_builtin const& b : rows_.builtins)
            if (node* const from = find(b.from_kind, b.from)) {
                raise(*from, denied("pg_catalog", b.function) ? reach::denied : reach_of_builtin(b.function),
                      b.function);
                from->leaves.add(builtin_leaves(b.function));
                from->reads_sequences = from->reads_sequences || is_of_sequences(b.function);
            }
        for (std::size_t i = 0; i < nodes_.size(); ++i)
            if (nodes_[i].means != reach::reads) spread(i);
        read_sources();
        find_leavings();
        find_sequences();
        tell();
    }

  private:
    struct node {
        reach means = reach::reads;
        bool allowed = false;  // whatever it reaches
        std::string function;
        std::vector<std::size_t> users;
        leavings leaves;
        bool reads_sequences = false;
    };

    static std::uint64_t key(catalog_object::kind what, std::uint32_t oid) {
        return static_cast<std::uint64_t>(what) << 32 | oid;
    }
    node* find(catalog_object::kind what, std::uint32_t oid) {
        auto const at = by_oid_.find(key(what, oid));
        return at == by_oid_.end() ? nullptr : &nodes_[at->second];
    }
    bool denied(std::string_view schema, std::string_view name) const {
        return is_denied_anywhere(name) || fits(guard_.deny_functions, schema, name);
    }

    reach own(catalog_object const& o, node& n) const {
        if (o.what == catalog_object::kind::function) {
            if (denied(o.schema, o.name)) return reach::denied;
            n.allowed = fits(guard_.allow_functions, o.schema, o.name);
            if (n.allowed) return reach::reads;
            if (o.is == catalog_object::nature::unknown && gets_around(o.source)) return reach::denied;
        }
        return o.is == catalog_object::nature::unknown ? reach::unknown : reach::reads;
    }

    static bool raise(node& n, reach to, std::string const& function) {
        if (n.allowed || to <= n.means) return false;
        n.means = to;
        n.function = function;
        return true;
    }

    void spread(std::size_t from) {
        std::vector<std::size_t> todo{from};
        while (!todo.empty()) {
            std::size_t const i = todo.back();
            todo.pop_back();
            for (std::size_t user : nodes_[i].users)
                if (raise(nodes_[user], nodes_[i].means, nodes_[i].function)) todo.push_back(user);
        }
    }

    /// A source calls whatever has that name, in any schema.
    struct called_name {
        leavings leaves;                   // any of them
        std::vector<std::size_t> callers;  // by their sources
    };

    void find_leavings() {
        std::unordered_map<std::string_view, called_name> functions;
        for (catalog_object const& o : rows_.objects)
            if (o.what == catalog_object::kind::function) functions[o.name];
        std::vector<std::size_t> todo;
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            nodes_[i].leaves.add(source_leaves(rows_.objects[i].source, [&](std::string_view name) {
                auto const at = functions.find(name);
                if (at == functions.end()) return;
                std::vector<std::size_t>& callers = at->second.callers;
                if (callers.empty() || callers.back() != i) callers.push_back(i);
            }));
            if (nodes_[i].leaves) todo.push_back(i);
        }
        auto const spread_to = [&](std::vector<std::size_t> const& to, leavings what) {
            for (std::size_t i : to) {
                if (nodes_[i].leaves.covers(what)) continue;
                nodes_[i].leaves.add(what);
                todo.push_back(i);
            }
        };
        while (!todo.empty()) {
            std::size_t const i = todo.back();
            todo.pop_back();
            leavings const what = nodes_[i].leaves;
            spread_to(nodes_[i].users, what);
            if (rows_.objects[i].what != catalog_object::kind::function) continue;
            called_name& name = functions[rows_.objects[i].name];
            if (name.leaves.covers(what)) continue;
            name.leaves.add(what);
            spread_to(name.callers, what);
        }
    }

    /// By what depends on them, and by the names in sources.
    void find_sequences() {
        std::set<std::string_view> names;
        std::vector<std::size_t> todo;
        auto const found = [&](std::size_t i) {
            nodes_[i].reads_sequences = true;
            names.insert(rows_.objects[i].name);
            todo.push_back(i);
        };
        for (std::size_t i = 0; i < nodes_.size(); ++i)
            if (rows_.objects[i].sequence || nodes_[i].reads_sequences) found(i);
        std::string culprit;
        auto const is_one = [&](std::string_view name, bool) { return is_of_sequences(name) || names.contains(name); };
        for (int round = 0; round == 0 || (!todo.empty() && round < most_rounds); ++round) {
            while (!todo.empty()) {
                std::size_t const i = todo.back();
                todo.pop_back();
                for (std::size_t user : nodes_[i].users)
                    if (!nodes_[user].reads_sequences) found(user);
            }
            for (std::size_t i = 0; i < nodes_.size(); ++i)
                if (!nodes_[i].reads_sequences && !rows_.objects[i].source.empty() && source_reaches(rows_.objects[i].source, is_one, culprit))
                    found(i);
        }
    }

    /// By name, in whatever schema: the worst.
    using by_name = std::unordered_map<std::string_view, std::size_t>;
    void index(by_name& functions, by_name& others, std::vector<std::string_view>& operators) const {
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            catalog_object const& o = rows_.objects[i];
            bool const function = o.what == catalog_object::kind::function;
            if (nodes_[i].means == reach::reads && !function) continue;
            if (o.what == catalog_object::kind::op) {
                operators.push_back(o.name);
                continue;
            }
            auto const [at, fresh] = (function ? functions : others).try_emplace(o.name, i);
            if (!fresh && nodes_[at->second].means < nodes_[i].means) at->second = i;
        }
    }

    void read_sources() {
        for (int round = 0;; ++round) {
            by_name functions;
            by_name others;
            std::vector<std::string_view> operators;
            index(functions, others, operators);
            bool more = false;
            for (std::size_t i = 0; i < nodes_.size(); ++i) {
                catalog_object const& o = rows_.objects[i];
                node& n = nodes_[i];
                if (o.source.empty() || n.allowed) continue;
                bool changed = false;
                if (o.is == catalog_object::nature::by_source && n.means == reach::reads &&
                    (round >= most_rounds || reaches(o.source, functions, others, operators)))
                    changed = raise(n, reach::unknown, o.name);
                // Whatever else it does: not what is always refused.
                if (n.means < reach::denied)
                    if (node const* const denied = names_denied(o.source, functions, others))
                        changed = raise(n, reach::denied, denied->function) || changed;
                if (changed) spread(i);
                more = more || changed;
            }
            if (!more) return;
        }
    }

    node const* names_denied(std::string const& source, by_name const& functions,
                             by_name const& others) const {
        node const* found = nullptr;
        std::string culprit;
        source_reaches(
            source,
            [&](std::string_view name, bool) {
                for (by_name const* table : {&functions, &others})
                    if (auto const at = table->find(name);
                        at != table->end() && nodes_[at->second].means == reach::denied)
                        found = &nodes_[at->second];
                return found != nullptr;
            },
            culprit);
        return found;
    }

    bool reaches(std::string const& source, by_name const& functions, by_name const& others,
                 std::vector<std::string_view> const& operators) const {
        for (std::string_view op : operators)
            if (source.find(op) != std::string::npos) return true;
        std::string culprit;
        return source_reaches(
            source,
            [&](std::string_view name, bool called) {
                if (name == "execute") return true;  // SQL that is made up when it runs
                if (auto const at = others.find(name); at != others.end()) return true;
                auto const user = functions.find(name);
                if (user != functions.end() && nodes_[user->second].means != reach::reads) return true;
                if (denied("pg_catalog", name)) return true;
                if (!called) return class_of_builtin(name) == function_class::denied;  // (x).name is a call
                switch (class_of_builtin(name)) {
                    case function_class::read:
                    case function_class::session:
                        return false;
                    case function_class::denied:
                    case function_class::lock:
                    case function_class::set_config:
                        return true;
                    case function_class::unknown:
                        break;
                }
                return user == functions.end() && !is_word_of_sql(name);
            },
            culprit);
    }

    void know(std::uint64_t number, reach means, std::string const& function) {
        catalog_facts::known& k = out_.by_number_[number];
        if (means <= k.means) return;
        k.means = means;
        k.function = *out_.functions_.insert(function).first;
    }
    void know(std::uint64_t number, node const& n) {
        know(number, n.means, n.function);
        catalog_facts::known& k = out_.by_number_[number];
        k.leaves.add(n.leaves);
        k.reads_sequences = k.reads_sequences || n.reads_sequences;
    }

    void tell() {
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            catalog_object const& o = rows_.objects[i];
            node const& n = nodes_[i];
            bool const function = o.what == catalog_object::kind::function;
            know(name_number(named_of(o.what), {}, o.name), n);
            know(name_number(named_of(o.what), o.schema, o.name), n);
            // Each session calls its own one pg_temp; which of them it is nobody says.
            if (o.schema.starts_with("pg_temp_"))
                know(name_number(named_of(o.what), "pg_temp", o.name), n);
            if (o.what == catalog_object::kind::type) know(type_number(o.oid), n);
            if (n.means == reach::reads) continue;
            if (o.what == catalog_object::kind::type) as_function(o, n);
            if (function && o.of_row) know(name_number(named::attribute, {}, o.name), n);
            if (function && (o.of_row || o.of_any)) know(name_number(named::attribute, "()", o.name), n);
            if (function) ++out_.unknown_functions_;
            if (o.what != catalog_object::kind::relation) continue;
            ++out_.unknown_relations_;
            if (out_.examples_.size() < most_examples)
                out_.examples_.push_back(n.function == o.name ? o.schema + "." + o.name + ", a foreign table"
                                                              : o.schema + "." + o.name + ", which reaches " +
                                                                    n.function + "()");
        }
        // Whatever the catalog has: built-ins too, and functions that are yet to be made.
        for (std::string const& entry : guard_.allow_functions) allow(entry);
        for (std::string const& entry : guard_.deny_functions) {
            std::size_t const dot = entry.find('.');
            std::string const name = dot == std::string::npos ? entry : entry.substr(dot + 1);
            if (name == "*") continue;
            know(name_number(named::function, {}, name), reach::denied, name);
            std::string const schema = dot == std::string::npos ? "pg_catalog" : entry.substr(0, dot);
            know(name_number(named::function, schema, name), reach::denied, name);
        }
        for (std::uint32_t oid : rows_.nameless)
            if (node const* n = find(catalog_object::kind::function, oid); n && n->means != reach::reads)
                out_.nameless_ = true;
        out_.privileged_.insert(rows_.privileged.begin(), rows_.privileged.end());
        out_.extensions_ = rows_.extensions;
    }

    /// What is written as a call of one argument, or as an attribute, may be a cast to the type of that name
    /// (FuncNameAsType).
    void as_function(catalog_object const& o, node const& n) {
        know(name_number(named::function, {}, o.name), n);
        know(name_number(named::function, o.schema, o.name), n);
        know(name_number(named::attribute, {}, o.name), n);
        know(name_number(named::attribute, "()", o.name), n);
    }

    void allow(std::string const& entry) {
        std::size_t const dot = entry.find('.');
        if (dot == std::string::npos)
            out_.by_number_.try_emplace(name_number(named::function, {}, entry));
        else if (entry.substr(dot + 1) != "*")
            out_.by_number_.try_emplace(
                name_number(named::function, entry.substr(0, dot), entry.substr(dot + 1)));
    }

    catalog_rows const& rows_;
    config::guard const& guard_;
    catalog_facts& out_;
    std::vector<node> nodes_;
    std::unordered_map<std::uint64_t, std::size_t> by_oid_;
};

std::shared_ptr<catalog_facts const> catalog_facts::make(catalog_rows const& rows,
                                                         config::guard const& guard) {
    auto made = std::make_shared<catalog_facts>();
    facts_maker(rows, guard, *made).run();
    return made;
}

}  // namespace lull::routing
