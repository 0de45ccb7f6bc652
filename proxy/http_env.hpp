// What all HTTP sessions of one worker share: the snapshot to decide from, the time, limits, counters, and
// scratch values that are used again so that a request allocates nothing in steady state. Owned by the
// worker's http_service (or a test), outlives every session. The worker's thread only.
#pragma once

#include "protocol/http/body.hpp"
#include "protocol/http/head.hpp"
#include "protocol/http/target.hpp"
#include "proxy/http_buffer.hpp"
#include "proxy/http_stats.hpp"
#include "routing/snapshot.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace lull {

struct http_timeouts {
    std::chrono::milliseconds head{30'000};  // from the first byte of a head to its last; silence in a body
    std::chrono::milliseconds idle{75'000};  // between requests; a client that does not read
    std::chrono::milliseconds connect{10'000};      // to an upstream, all addresses together
    std::chrono::milliseconds response{120'000};    // silence of an upstream that owes us bytes
    std::chrono::milliseconds half_closed{10'000};  // the client has ended its side and waits for a response
    std::chrono::milliseconds linger{5'000};        // silence of a refused client that may still send
    std::chrono::milliseconds longest_linger{30'000};  // discarding what it sends
};

struct http_env {
    std::shared_ptr<routing::snapshot const> snapshot;
    routing::instant now{};
    routing::wall_time wall{};
    http_timeouts timeouts;
    http::head_limits head_limits;  // of requests
    http::head_limits response_limits{64 * 1024, 16 * 1024, 256};
    http::body_limits body_limits;
    http_stats stats;
    http_blocks blocks;
    std::vector<std::size_t> writes_open;  // by site_id: begun in read_write mode, not answered yet
    std::uint64_t random = 0x9e3779b97f4a7c15;

    // Scratch: valid within one event.
    http::request_head request;
    http::response_head response;
    http::target target;
    std::string host;
    std::string text;

    std::size_t& writes_of(routing::site_id id) { return slot(writes_open, id); }
    std::uint64_t& refused_of(routing::site_id id) { return slot(stats.refused, id); }

    /// Null when a reload has taken the site away.
    routing::site const* find(routing::site_id id) const {
        auto const i = static_cast<std::size_t>(id);
        return i < snapshot->sites.size() ? &snapshot->sites[i] : nullptr;
    }

    /// 32 hexadecimal digits; unique enough to find a request in a log, no secret.
    std::string make_request_id() {
        static constexpr char digits[] = "0123456789abcdef";
        std::string id(32, '0');
        for (std::size_t i = 0; i < id.size(); i += 16) {
            // SplitMix64 (Steele, Lea, Flood 2014)
            std::uint64_t z = random += 0x9e3779b97f4a7c15;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
            z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
            z ^= z >> 31;
            for (std::size_t k = 0; k < 16; ++k) id[i + k] = digits[(z >> (4 * k)) & 15];
        }
        return id;
    }

  private:
    template <class T>
    static T& slot(std::vector<T>& values, routing::site_id id) {
        auto const i = static_cast<std::size_t>(id);
        if (i >= values.size()) values.resize(i + 1);
        return values[i];
    }
};

}  // namespace lull
