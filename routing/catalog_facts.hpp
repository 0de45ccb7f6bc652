// Which names of a database are known to only read when they are called or selected from, and which are not:
// a function outside the lists, and whatever reaches one (a view, a policy, an operator, a domain, a table
// with a foreign partition). Immutable; made by the control side, read by all workers. Also what the sources of functions
// show that they leave in their session (source_leavings.hpp), which keeps a client on its server.
//
// A name counts by the worst object that has it in any schema, because which one a statement means depends on
// its search_path. That makes a built-in's name that a user's function shadows as unknown as that function.
#pragma once

#include "config/model.hpp"
#include "routing/catalog_rows.hpp"
#include "routing/leavings.hpp"
#include "routing/named.hpp"

#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lull::routing {

/// Ordered by strictness.
enum class reach : std::uint8_t {
    reads,    // changes nothing
    unknown,  // reaches a function that nobody knows to only read
    denied,   // reaches one that is always refused (function_list.hpp, guard.deny_functions)
};

class catalog_facts {
  public:
    struct known {
        reach means = reach::reads;
        leavings leaves;            // in the session that calls or reads it
        bool reads_sequences = false;  // of which a standby shows what has been logged, up to 32 numbers ahead
        std::string_view function;  // which it reaches, where it does not only read; lives with the facts
    };

    /// May take some milliseconds for each thousand objects.
    static std::shared_ptr<catalog_facts const> make(catalog_rows const& rows, config::guard const& guard);

    /// Null: no object of that name.
    known const* find(std::uint64_t number) const {
        auto const at = by_number_.find(number);
        return at == by_number_.end() ? nullptr : &at->second;
    }
    /// Some statement may reach an unlisted function without naming anything of it: nothing that reads a
    /// table only reads for certain.
    bool nameless() const { return nameless_; }
    bool privileged(std::string_view role) const { return privileged_.contains(role); }
    std::vector<std::string> const& extensions() const { return extensions_; }
    /// "public.v, which reaches f()", for operators; the first of them, in order of name.
    std::vector<std::string> const& examples() const { return examples_; }
    std::size_t unknown_functions() const { return unknown_functions_; }
    std::size_t unknown_relations() const { return unknown_relations_; }

  private:
    friend class facts_maker;
    struct as_it_is {
        std::size_t operator()(std::uint64_t n) const { return n; }
    };
    std::unordered_map<std::uint64_t, known, as_it_is> by_number_;
    std::set<std::string, std::less<>> functions_;  // what `known::function` points into
    std::set<std::string, std::less<>> privileged_;
    std::vector<std::string> extensions_;
    std::vector<std::string> examples_;
    std::size_t unknown_functions_ = 0;
    std::size_t unknown_relations_ = 0;
    bool nameless_ = false;
};

}  // namespace lull::routing
