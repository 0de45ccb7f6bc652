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
    seat& at = seat_of(who);
    auto const reached = [](std::size_t const* count, std::size_t limit) { return limit != 0 && *count >= limit; };
    if (reached(at.user, most_of_user))
        return full{turned_away_by::user, "too many connections for role \"" + who.user + "\"",
                    users_own ? config::join_path("users", who.user) + ".max_clients" : "limits.max_clients_per_user"};
    if (reached(at.database, most_of_database))
        return full{turned_away_by::database, "too many connections for database \"" + who.database + "\"",
                    databases_own ? config::join_path("databases", who.database) + ".max_clients"
                                  : "limits.max_clients_per_database"};
    if (at.address && reached(at.address, all.limits.max_clients_per_address))
        return full{turned_away_by::address, "too many connections from address \"" + std::string(who.address) + "\"",
                    "limits.max_clients_per_address"};
    if (at.clients++ == 0) --unused_;
    ++*at.user;
    ++*at.database;
    if (at.address) ++*at.address;
    place taken;
    taken.at_ = &at;
    return taken;
}

void client_counts::leave(place& from) {
    seat* const at = std::exchange(from, {}).at_;
    if (!at) return;
    std::lock_guard const lock(mutex_);
    --*at->user;
    --*at->database;
    if (at->address) --*at->address;
    if (--at->clients == 0) ++unused_;
}

std::size_t client_counts::known() const {
    std::lock_guard const lock(mutex_);
    return seats_.size() + users_.size() + databases_.size() + addresses_.size();
}

client_counts::seat& client_counts::seat_of(client_origin const& who) {
    auto const known = seats_.find(who);
    if (known != seats_.end()) return known->second;
    ++unused_;
    std::string const address(who.address);
    return seats_[{who.user, who.database, address}] =
               {0, &users_[who.user], &databases_[who.database], address.empty() ? nullptr : &addresses_[address]};
}

/// A count that is in use is that of a seat in use.
void client_counts::forget_unused() {
    std::erase_if(seats_, [](auto const& entry) { return entry.second.clients == 0; });
    for (counts* all : {&users_, &databases_, &addresses_})
        std::erase_if(*all, [](auto const& entry) { return entry.second == 0; });
    unused_ = 0;
}

}  // namespace lull
