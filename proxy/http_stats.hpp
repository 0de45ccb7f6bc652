// What an http_service has done and has open. Values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lull {

struct http_stats {
    std::uint64_t accepted = 0;
    std::uint64_t turned_away = 0;  // over max_http_clients
    std::size_t open_clients = 0;
    std::size_t open_tunnels = 0;
    std::size_t idle_upstreams = 0;
    std::uint64_t requests = 0;
    std::uint64_t malformed = 0;    // 4xx and 505 for what the client sent
    std::uint64_t misdirected = 0;  // 421
    std::uint64_t upstream_connects = 0;
    std::uint64_t upstream_reuses = 0;
    std::uint64_t upstream_errors = 0;    // 502, and responses cut short
    std::uint64_t upstream_timeouts = 0;  // 504
    std::uint64_t retries = 0;
    std::uint64_t client_timeouts = 0;   // 408, and clients that stopped reading
    std::vector<std::uint64_t> refused;  // 503 read_only, by site_id
};

}  // namespace lull
