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

/// A name (RFC 1123, also `_`), an IPv4 address or an IPv6 address in brackets (RFC 4291, a zone may follow),
/// and a port from 1 to 65535, both required. `example` is what a fix shows.
[[nodiscard]] std::variant<endpoint, endpoint_error> parse_endpoint(std::string_view text,
                                                                    std::string_view example);

[[nodiscard]] std::string format_endpoint(endpoint const&);

/// Whether `text` can be a host name; lower or upper case, no port, no dot at the end.
[[nodiscard]] bool is_host_name(std::string_view text);

}  // namespace lull::config
