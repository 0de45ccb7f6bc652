// The builtin functions of PostgreSQL by what a call of them does, and the names of its types and operators. Data only,
// made by make_function_list.sh and reviewed; any thread. Functions of extensions that are known by name are here, too
// (dblink and friends).
#pragma once

#include <cstdint>
#include <string_view>

namespace lull::routing {

enum class function_class : std::uint8_t {
    read,        // changes nothing
    session,     // reads or changes the state of its own session: currval, setseed
    lock,        // advisory locks; of the transaction where the name has _xact_, else of the session
    set_config,  // a SET by another name
    denied,      // changes state, some of it even in a READ ONLY transaction, or runs SQL given as text
    unknown,     // not listed
};

/// Of pg_catalog.NAME, exactly as PostgreSQL spells it after folding.
[[nodiscard]] function_class class_of_builtin(std::string_view name);

/// Of pg_catalog.NAME: no row types. All of them check values by PostgreSQL's own code only.
[[nodiscard]] bool is_builtin_type(std::string_view name);
/// Of pg_catalog.
[[nodiscard]] bool is_builtin_operator(std::string_view name);

/// Of a function in whatever schema: only names that are denied wherever they live (extensions).
[[nodiscard]] bool is_denied_anywhere(std::string_view name);

}  // namespace lull::routing
