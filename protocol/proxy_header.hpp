// The PROXY protocol, versions 1 and 2 (haproxy.org, "The PROXY protocol", 2020): what a load balancer says
// before a client's first byte, so that we know whose connection it is. Pure, any thread. To be believed only
// of those who are trusted to say it.
#pragma once

#include "protocol/errc.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>

namespace lull {

/// A header of version 2 may carry more than addresses; this much of it is taken, and skipped.
inline constexpr std::size_t max_proxy_extra_bytes = 4096;

struct proxy_header {
    /// The client's address, without brackets; empty: not told (LOCAL, UNKNOWN), the connection's own counts.
    /// Of version 1 it is as the sender wrote it: only its characters are judged here.
    std::string host;
    std::uint16_t port = 0;
    std::size_t bytes = 0;  // of the input
};

using proxy_header_result = std::variant<need_more, errc, proxy_header>;

/// Error: malformed_proxy_header, as soon as no more bytes could mend it.
[[nodiscard]] proxy_header_result parse_proxy_header(std::span<std::byte const> in);

}  // namespace lull
