#include "routing/function_list.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace lull::routing {
namespace {

struct listed {
    std::string_view name;
    function_class means;
};

constexpr listed builtins[] = {
#include "routing/function_list.inc"
};
static_assert(std::is_sorted(std::begin(builtins), std::end(builtins),
                             [](listed const& a, listed const& b) { return a.name < b.name; }));

constexpr std::string_view types[] = {
#include "routing/type_list.inc"
};
static_assert(std::is_sorted(std::begin(types), std::end(types)));

constexpr std::string_view operators[] = {
#include "routing/operator_list.inc"
};
static_assert(std::is_sorted(std::begin(operators), std::end(operators)));

// Extensions that leave the session: other connections, files, tables repaired behind the back of MVCC.
// tablefunc's and xml2's run SQL that they are given as text.
constexpr std::string_view denied_prefixes[] = {
    "dblink",        "pg_file_",   "heap_force_", "postgres_fdw_disconnect", "pg_stat_statements_reset",
    "crosstab",      "connectby",  "xpath_table", "pg_truncate_visibility_map"};

}  // namespace

function_class class_of_builtin(std::string_view name) {
    auto const* at = std::lower_bound(std::begin(builtins), std::end(builtins), name,
                                      [](listed const& a, std::string_view b) { return a.name < b; });
    return at != std::end(builtins) && at->name == name ? at->means : function_class::unknown;
}

bool is_builtin_type(std::string_view name) {
    return std::binary_search(std::begin(types), std::end(types), name);
}

bool is_builtin_operator(std::string_view name) {
    return std::binary_search(std::begin(operators), std::end(operators), name);
}

bool is_denied_anywhere(std::string_view name) {
    return std::any_of(std::begin(denied_prefixes), std::end(denied_prefixes),
                       [&](std::string_view prefix) { return name.starts_with(prefix); });
}

}  // namespace lull::routing
