#include "proxy/client_counts.hpp"

namespace lull {

std::optional<std::string> client_counts::enter(client_origin const& who, config::limits const& most) {
    std::lock_guard const lock(mutex_);
    auto full = [](counts const& in, std::string const& key, std::size_t limit) {
        auto const at = in.find(key);
        return limit > 0 && at != in.end() && at->second >= limit;
    };
    if (full(users_, who.user, most.max_clients_per_user)) return "too many connections for role \"" + who.user + "\"";
    if (full(databases_, who.database, most.max_clients_per_database))
        return "too many connections for database \"" + who.database + "\"";
    if (!who.address.empty() && full(addresses_, who.address, most.max_clients_per_address))
        return "too many connections from address \"" + who.address + "\"";
    ++users_[who.user];
    ++databases_[who.database];
    if (!who.address.empty()) ++addresses_[who.address];
    return std::nullopt;
}

void client_counts::leave(client_origin const& who) {
    std::lock_guard const lock(mutex_);
    auto less = [](counts& in, std::string const& key) {
        auto const at = in.find(key);
        if (at != in.end() && --at->second == 0) in.erase(at);
    };
    less(users_, who.user);
    less(databases_, who.database);
    if (!who.address.empty()) less(addresses_, who.address);
}

}  // namespace lull
