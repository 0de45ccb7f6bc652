#include "proxy/client_counts.hpp"

#include "config/in_force.hpp"
#include "config/issue.hpp"

namespace lull {

namespace {

constexpr std::size_t most_unused = 1000;

}  // namespace

std::variant<client_counts::place, client_counts::full> client_counts::enter(client_origin const& who,
                                                                             config::config const& all) {
    config::overrides const* const users = config::own_of_user(all, who.user);
    config::overrides const* const databases = config::own_of_database(all, who.database);
    bool const users_own = users && users->max_clients;
    bool const databases_own = databases && databases->max_clients;
    std::size_t const most_of_user = users_own ? *users->max_clients : all.limits.max_clients_per_user;
    std::size_t const most_of_database =
        databases_own ? *databases->max_clients : all.limits.max_clients_per_database;

    std::lock_guard const lock(mutex_);
    if (unused_ > most_unused) forget_unused();
    place at;
    at.user_ = &find(users_, who.user);
    at.database_ = &find(databases_, who.database);
    if (!who.address.empty()) at.address_ = &find(addresses_, who.address);
    auto const reached = [](std::size_t const* count, std::size_t limit) { return limit != 0 && *count >= limit; };
    if (reached(at.user_, most_of_user))
        return full{turned_away_by::user, "too many connections for role \"" + who.user + "\"",
                    users_own ? config::join_path("users", who.user) + ".max_clients" : "limits.max_clients_per_user"};
    if (reached(at.database_, most_of_database))
        return full{turned_away_by::database, "too many connections for database \"" + who.database + "\"",
                    databases_own ? config::join_path("databases", who.database) + ".max_clients"
                                  : "limits.max_clients_per_database"};
    if (at.address_ && reached(at.address_, all.limits.max_clients_per_address))
        return full{turned_away_by::address, "too many connections from address \"" + std::string(who.address) + "\"",
                    "limits.max_clients_per_address"};
    take(at.user_);
    take(at.database_);
    take(at.address_);
    return at;
}

void client_counts::leave(place& from) {
    place const at = std::exchange(from, {});
    if (!at) return;
    std::lock_guard const lock(mutex_);
    give_back(at.user_);
    give_back(at.database_);
    give_back(at.address_);
}

std::size_t client_counts::known() const {
    std::lock_guard const lock(mutex_);
    return users_.size() + databases_.size() + addresses_.size();
}

std::size_t& client_counts::find(counts& in, std::string_view key) {
    auto const at = in.find(key);
    if (at != in.end()) return at->second;
    ++unused_;
    return in.try_emplace(std::string(key)).first->second;
}

void client_counts::take(std::size_t* count) {
    if (count && (*count)++ == 0) --unused_;
}

void client_counts::give_back(std::size_t* count) {
    if (count && --*count == 0) ++unused_;
}

void client_counts::forget_unused() {
    for (counts* all : {&users_, &databases_, &addresses_})
        std::erase_if(*all, [](auto const& entry) { return entry.second == 0; });
    unused_ = 0;
}

}  // namespace lull
