// Addresses and networks as text. Pure, any thread.
#pragma once

#include "config/access.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace lull::config {

/// "192.0.2.1" or "2001:db8::1", no zone, no port.
[[nodiscard]] std::optional<ip_address> parse_address(std::string_view text);

/// The address of a connection: IPv4 that came over an IPv6 socket is IPv4, as rules mean it.
[[nodiscard]] std::optional<ip_address> parse_peer_address(std::string_view text);

/// "10.0.0.0/8", "2001:db8::/32"; without a prefix length it is that address alone.
[[nodiscard]] std::optional<ip_network> parse_network(std::string_view text);

}  // namespace lull::config
