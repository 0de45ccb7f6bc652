#include "config/in_force.hpp"

#include "config/fields.hpp"
#include "config/issue.hpp"

#include <algorithm>

namespace lull::config {
namespace {

std::optional<pool_mode> mode_of(user_pool_mode mode) {
    switch (mode) {
        case user_pool_mode::as_site:
            break;
        case user_pool_mode::session:
            return pool_mode::session;
        case user_pool_mode::transaction:
            return pool_mode::transaction;
        case user_pool_mode::statement:
            return pool_mode::statement;
    }
    return std::nullopt;
}

}  // namespace

pool_mode pool_mode_of(config const& all, site const& where, std::string const& database,
                       std::string const& user) {
    if (auto const at = all.users.find(user); at != all.users.end())
        if (auto const own = mode_of(at->second.pool_mode)) return *own;
    if (auto const at = all.databases.find(database); at != all.databases.end())
        if (auto const own = mode_of(at->second.pool_mode)) return *own;
    return where.pool_mode;
}

std::string_view name_of(pool_mode mode) {
    for (auto const& choice : pool_modes)
        if (choice.value == mode) return choice.name;
    return {};
}

overrides const* own_of_user(config const& all, std::string const& user) {
    auto const at = all.users.find(user);
    return at == all.users.end() ? nullptr : &at->second.own;
}

overrides const* own_of_database(config const& all, std::string const& database) {
    auto const at = all.databases.find(database);
    return at == all.databases.end() ? nullptr : &at->second.own;
}

time_limits time_limits_of(config const& all, std::string const& database, std::string const& user) {
    overrides const* const users = own_of_user(all, user);
    overrides const* const databases = own_of_database(all, database);
    auto const pick = [&](std::optional<milliseconds> overrides::*which, milliseconds general) {
        if (users && users->*which) return *(users->*which);
        return databases && databases->*which ? *(databases->*which) : general;
    };
    limits const& l = all.limits;
    return {
        .query_wait = pick(&overrides::query_wait_timeout, l.query_wait_timeout),
        .statement = pick(&overrides::statement_timeout, l.statement_timeout),
        .transaction = pick(&overrides::transaction_timeout, l.transaction_timeout),
        .idle_in_transaction = pick(&overrides::idle_in_transaction_timeout, l.idle_in_transaction_timeout),
        .idle_session = pick(&overrides::idle_session_timeout, l.idle_session_timeout)};
}

std::string key_in_force(config const& all, std::string const& database, std::string const& user,
                         std::optional<milliseconds> overrides::*which, std::string_view name) {
    std::string where = "limits";
    if (auto const* own = own_of_user(all, user); own && own->*which)
        where = join_path("users", user);
    else if (auto const* shared = own_of_database(all, database); shared && shared->*which)
        where = join_path("databases", database);
    return join_path(where, name);
}

bool has_idle_session_timeout(config const& all) {
    auto const has = [](auto const& entry) {
        return entry.second.own.idle_session_timeout.value_or(milliseconds(0)).count() > 0;
    };
    return all.limits.idle_session_timeout.count() > 0 ||
           std::any_of(all.users.begin(), all.users.end(), has) ||
           std::any_of(all.databases.begin(), all.databases.end(), has);
}

pool_bounds pool_bounds_of(config const& all, cluster const& where, std::string const& database,
                           std::string const& user) {
    overrides const none;
    overrides const* const users = own_of_user(all, user);
    overrides const* const databases = own_of_database(all, database);
    overrides const& own = users ? *users : none;
    overrides const& shared = databases ? *databases : none;
    return {.pool_size = own.pool_size ? *own.pool_size : shared.pool_size.value_or(where.pool_size),
            .of_database = shared.max_connections.value_or(where.max_db_connections),
            .of_user = own.max_connections.value_or(where.max_user_connections)};
}

}  // namespace lull::config
