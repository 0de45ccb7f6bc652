#include "proxy/check_query_core.hpp"

#include "routing/sql_classifier.hpp"

#include <algorithm>

namespace lull {

namespace {

using routing::statement_kind;

/// Its answer is rows or nothing, and a search_path gives it no other meaning.
bool only_reads(routing::operation const& o) {
    return o.access == routing::access::read && o.why == routing::why::understood && !o.has_names &&
           std::ranges::all_of(o.statements, [](routing::statement const& s) {
               return s.kind == statement_kind::empty || s.kind == statement_kind::select || s.kind == statement_kind::show;
           });
}

}  // namespace

std::optional<config::issue> judge_check_query(config::config const& config, config::positions const& where) {
    routing::sql_classifier classifier;
    std::string const& query = config.limits.server_check_query;
    // A pooled session may still read text as its last client has had it.
    constexpr routing::text_facts otherwise{.standard_conforming_strings = false, .unsafe_encoding = true};
    if (query == "off" || (only_reads(*classifier.classify(query)) && only_reads(*classifier.classify(query, otherwise)))) return std::nullopt;
    constexpr char const* path = "limits.server_check_query";
    config::position const at = where.find(path);
    return config::issue{where.file, at.line, at.column, path,
                         config::shown(query) + " is not known to only read, whoever's session it runs in",
                         "write a SELECT or SHOW that names no table, function or operator, such as SELECT 1, or \";\", or off"};
}

}  // namespace lull
