// What the other end of a client's connection is called, in logs and in rules. Pure.
#pragma once

#include <string_view>

namespace lull {

/// A client over a Unix socket; PostgreSQL's word.
inline constexpr std::string_view local_peer = "[local]";

/// "192.0.2.1:5432" and "[2001:db8::1]:5432" -> the address alone. IPv4 that came over an IPv6 socket is IPv4
/// again, as rules mean it. A part of `peer`.
inline std::string_view host_of_peer(std::string_view peer) {
    std::size_t const colon = peer.rfind(':');
    std::string_view host = peer.substr(0, colon);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    constexpr std::string_view mapped = "::ffff:";
    if (host.starts_with(mapped) && host.find('.') != std::string_view::npos)
        host.remove_prefix(mapped.size());
    return host;
}

}  // namespace lull
