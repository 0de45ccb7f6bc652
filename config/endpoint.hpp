// "host:port" and "[v6]:port" <-> endpoint. Pure, any thread.
#pragma once

#include "config/model.hpp"

#include <string>
#include <string_view>
#include <variant>

namespace lull::config {

struct endpoint_error {
    std::string message;
    std::string fix;
};

enum class endpoint_kind : std::uint8_t { tcp, tcp_or_unix };

/// A name (RFC 1123, also `_`), an IPv4 address or an IPv6 address in brackets (RFC 4291, a zone may follow),
/// and a port from 1 to 65535, both required. `example` is what a fix shows.
/// tcp_or_unix: also "/DIRECTORY:5432", the socket .s.PGSQL.5432 in it.
[[nodiscard]] std::variant<endpoint, endpoint_error> parse_endpoint(std::string_view text,
                                                                    std::string_view example,
                                                                    endpoint_kind kind = endpoint_kind::tcp);

[[nodiscard]] std::string format_endpoint(endpoint const&);

/// The path of a PostgreSQL server's Unix socket in `directory`.
[[nodiscard]] std::string unix_socket_path(std::string const& directory, std::uint16_t port);

/// What the kernel can take for one, with its NUL.
inline constexpr std::size_t longest_unix_path = 108;

/// Whether `text` can be a host name; lower or upper case, no port, no dot at the end.
[[nodiscard]] bool is_host_name(std::string_view text);

}  // namespace lull::config
