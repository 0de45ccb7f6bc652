// What tells of the server that runs it, and not of the data that a standby shares with its primary: recovery
// and write-ahead log, sessions and locks, statistics, addresses and files. Who asks for that through Lull
// means the one server that it seems to be (manual, "The Cumulative Statistics System", "Recovery Information
// Functions", "System Views"). So is what a sequence holds: a standby shows what has been logged of it, up to 32 numbers
// ahead. Names only, of pg_catalog, folded as PostgreSQL folds them; any thread.
//
// current_setting() is none of them, whatever it is asked for: policies and functions ask it for what the
// client has set.
#pragma once

#include <string_view>

namespace lull::routing {

[[nodiscard]] bool is_function_about_server(std::string_view name);
/// A view.
[[nodiscard]] bool is_relation_about_server(std::string_view name);
/// One that SHOW may be asked for; "all" is.
[[nodiscard]] bool is_setting_about_server(std::string_view name);

}  // namespace lull::routing
