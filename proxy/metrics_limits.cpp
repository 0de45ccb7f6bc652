// What may be, to be held against what is: sizes of pools, clients, who is paused, certificates.
#include "proxy/metrics_of.hpp"

#include "config/in_force.hpp"

#include <set>

namespace lull {

namespace {

void write_process_limits(metric_page& out, config::config const& config) {
    out.gauge("lull_max_clients", "limits.max_clients.").add({}, config.limits.max_clients);
    out.gauge("lull_max_waiting_clients", "limits.max_waiting_clients: for a server connection, all pools together.")
        .add({}, config.limits.max_waiting_clients);
    out.gauge("lull_http_max_clients", "limits.max_http_clients.").add({}, config.limits.max_http_clients);
}

void write_databases(metric_page& out, overview const& all) {
    config::config const& config = *all.now->config;
    auto paused = out.gauge("lull_database_paused", "1: PAUSE, KILL or SHUTDOWN keeps its clients from servers until RESUME.");
    auto size = out.gauge("lull_database_pool_size", "Connections that each of its users may have to a server, where the user has no size of its own.");
    auto reserve = out.gauge("lull_database_reserve_pool_size", "And how many more for clients that have waited long.");
    auto servers = out.gauge("lull_database_max_connections", "Connections to servers that all its pools may have, if that is limited.");
    auto clients = out.gauge("lull_database_max_clients", "Clients that it may have, if that is limited.");
    for (auto const& [name, id] : all.now->by_database) {
        metric_labels const where{{"database", name}};
        paused.add(where, all.paused.stops(name));
        config::overrides const* const own = config::own_of_database(config, name);
        std::size_t const most = own && own->max_clients ? *own->max_clients : config.limits.max_clients_per_database;
        if (most > 0) clients.add(where, most);
        auto const cluster = config.clusters.find(all.now->of(id).settings->cluster);
        if (cluster == config.clusters.end()) continue;
        config::pool_bounds const bounds = config::pool_bounds_of(config, cluster->second, name, {});
        size.add(where, bounds.pool_size);
        reserve.add(where, cluster->second.reserve_pool_size);
        if (bounds.of_database > 0) servers.add(where, bounds.of_database);
    }
}

/// Of those who have, or have had, a pool.
void write_users(metric_page& out, overview const& all) {
    config::config const& config = *all.now->config;
    auto size = out.gauge("lull_pool_size", "Connections that a pool of a database and user may have to a server.");
    auto servers = out.gauge("lull_user_max_connections", "Connections to a cluster's servers that all pools of a user may have, if that is limited.");
    auto clients = out.gauge("lull_user_max_clients", "Clients that a user may have, if that is limited.");
    std::set<std::string> users;
    std::set<std::pair<std::string, std::string>> of_clusters;
    for (pool_row const& p : all.workers.pools()) {
        config::overrides const* const own = config::own_of_user(config, p.user);
        std::size_t const most = own && own->max_clients ? *own->max_clients : config.limits.max_clients_per_user;
        if (users.insert(p.user).second && most > 0) clients.add({{"user", p.user}}, most);
        auto const site = all.now->by_database.find(p.database);
        if (site == all.now->by_database.end()) continue;
        auto const cluster = config.clusters.find(all.now->of(site->second).settings->cluster);
        if (cluster == config.clusters.end()) continue;
        config::pool_bounds const bounds = config::pool_bounds_of(config, cluster->second, p.database, p.user);
        size.add({{"database", p.database}, {"user", p.user}}, bounds.pool_size);
        if (bounds.of_user > 0 && of_clusters.emplace(cluster->first, p.user).second)
            servers.add({{"cluster", cluster->first}, {"user", p.user}}, bounds.of_user);
    }
}

void write_expiries(metric_page& out, overview const& all) {
    auto f = out.gauge("lull_tls_certificate_not_after_timestamp_seconds",
                       "When the first certificate of this chain expires, or the last of these CAs, since the epoch; as it was loaded.");
    for (tls_expiry const& e : all.keyring->expiries) f.add({{"key", e.key}, {"file", e.file}}, e.until.time_since_epoch().count());
}

}  // namespace

void write_limits(metric_page& out, overview const& all) {
    write_process_limits(out, *all.now->config);
    write_databases(out, all);
    write_users(out, all);
    write_expiries(out, all);
}

}  // namespace lull
