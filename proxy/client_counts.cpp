#include "proxy/client_counts.hpp"

#include "config/in_force.hpp"
#include "config/issue.hpp"

namespace lull {

std::optional<client_counts::full> client_counts::enter(client_origin const& who, config::config const& all) {
    config::overrides const* const users = config::own_of_user(all, std::string(who.user));
    config::overrides const* const databases = config::own_of_database(all, std::string(who.database));
    bool const users_own = users && users->max_clients;
    bool const databases_own = databases && databases->max_clients;
    std::size_t const most_of_user = users_own ? *users->max_clients : all.limits.max_clients_per_user;
    std::size_t const most_of_database =
        databases_own ? *databases->max_clients : all.limits.max_clients_per_database;

    std::lock_guard const lock(mutex_);
    auto reached = [](counts const& in, std::string_view key, std::size_t limit) {
        if (limit == 0) return false;
        auto const at = in.find(key);
        return at != in.end() && at->second >= limit;
    };
    if (reached(users_, who.user, most_of_user))
        return full{turned_away_by::user, "too many connections for role \"" + std::string(who.user) + "\"",
                    users_own ? config::join_path("users", std::string(who.user)) + ".max_clients"
                              : "limits.max_clients_per_user"};
    if (reached(databases_, who.database, most_of_database))
        return full{turned_away_by::database, "too many connections for database \"" + std::string(who.database) + "\"",
                    databases_own ? config::join_path("databases", std::string(who.database)) + ".max_clients"
                                  : "limits.max_clients_per_database"};
    if (!who.address.empty() && reached(addresses_, who.address, all.limits.max_clients_per_address))
        return full{turned_away_by::address, "too many connections from address \"" + std::string(who.address) + "\"",
                    "limits.max_clients_per_address"};
    ++place(users_, who.user);
    ++place(databases_, who.database);
    if (!who.address.empty()) ++place(addresses_, who.address);
    return std::nullopt;
}

std::size_t& client_counts::place(counts& in, std::string_view key) {
    auto const at = in.find(key);
    return at != in.end() ? at->second : in.try_emplace(std::string(key)).first->second;
}

void client_counts::leave(client_origin const& who) {
    std::lock_guard const lock(mutex_);
    auto less = [](counts& in, std::string_view key) {
        auto const at = in.find(key);
        if (at != in.end() && --at->second == 0) in.erase(at);
    };
    less(users_, who.user);
    less(databases_, who.database);
    if (!who.address.empty()) less(addresses_, who.address);
}

}  // namespace lull
