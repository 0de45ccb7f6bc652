#include "config/merge.hpp"

#include <algorithm>
#include <utility>

namespace lull::config {
namespace {

/// Whole, so that no key is forgotten that can change.
cluster merge(cluster const& now, cluster next) {
    next.primary = now.primary;
    next.replicas = now.replicas;
    next.control = now.control;
    next.fence = now.fence;
    next.auth_query = now.auth_query;
    next.tls = now.tls;
    next.probe_interval = now.probe_interval;
    next.catalog_interval = now.catalog_interval;
    return next;
}

limits merge(limits const& now, limits next) {
    next.tcp_keepalives_idle = now.tcp_keepalives_idle;
    next.tcp_keepalives_interval = now.tcp_keepalives_interval;
    next.tcp_keepalives_count = now.tcp_keepalives_count;
    next.tcp_user_timeout = now.tcp_user_timeout;
    return next;
}

}  // namespace

config merge(config const& now, config next) {
    next.listen = now.listen;
    next.admin_socket = now.admin_socket;
    next.state_dir = now.state_dir;
    next.workers = now.workers;
    next.limits = merge(now.limits, next.limits);
    auto clusters = now.clusters;
    for (auto& [name, cluster] : clusters)
        if (auto const changed = next.clusters.find(name); changed != next.clusters.end())
            cluster = merge(cluster, std::move(changed->second));
    next.clusters = std::move(clusters);
    for (auto const& [name, site] : now.sites) {
        auto const kept = next.sites.find(name);
        if (kept == next.sites.end()) {
            next.sites[name] = site;
            continue;
        }
        kept->second.cluster = site.cluster;
        for (std::string const& database : site.databases)
            if (std::ranges::find(kept->second.databases, database) == kept->second.databases.end())
                kept->second.databases.push_back(database);
    }
    std::erase_if(next.sites, [&](auto const& entry) { return !next.clusters.contains(entry.second.cluster); });
    return next;
}

}  // namespace lull::config
