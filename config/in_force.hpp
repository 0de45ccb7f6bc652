// What is in force for one user on one database: its own, else the database's, else what holds for all. Pure;
// any thread.
#pragma once

#include "config/model.hpp"

#include <string_view>

namespace lull::config {

[[nodiscard]] pool_mode pool_mode_of(config const& all, site const& where, std::string const& database,
                                     std::string const& user);
/// As in the configuration: session, transaction, statement.
[[nodiscard]] std::string_view name_of(pool_mode mode);

/// What one user, or one database, has of its own; null: nothing.
[[nodiscard]] overrides const* own_of_user(config const& all, std::string const& user);
[[nodiscard]] overrides const* own_of_database(config const& all, std::string const& database);

struct time_limits {
    milliseconds query_wait{0};
    milliseconds statement{0};  // 0: none, here and in the next three
    milliseconds transaction{0};
    milliseconds idle_in_transaction{0};
    milliseconds idle_session{0};
};
[[nodiscard]] time_limits time_limits_of(config const& all, std::string const& database,
                                         std::string const& user);

/// The key that says so, for hints: "users.app.statement_timeout". `name` is its last part.
[[nodiscard]] std::string key_in_force(config const& all, std::string const& database,
                                       std::string const& user, std::optional<milliseconds> overrides::*which,
                                       std::string_view name);

/// Whether any client may be too long idle.
[[nodiscard]] bool has_idle_session_timeout(config const& all);

/// How large a pool is, and how many connections to a server the database and the user may have in all; 0: no
/// limit.
struct pool_bounds {
    std::size_t pool_size = 1;
    std::size_t of_database = 0;
    std::size_t of_user = 0;
};
[[nodiscard]] pool_bounds pool_bounds_of(config const& all, cluster const& where, std::string const& database,
                                         std::string const& user);

}  // namespace lull::config
