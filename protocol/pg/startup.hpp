// The first packet of a connection, which has no type byte (manual, "Message Formats": StartupMessage,
// SSLRequest, GSSENCRequest, CancelRequest), and NegotiateProtocolVersion, which may answer it.
// Pure functions, any thread. startup_message owns its text (it outlives the login); the secret of a
// cancel_request is a view into the input. Each result says in packet_bytes how much of the input it was:
// after an SSLRequest nothing may follow before the answer, or a man in the middle could slip in plain text
// that would pass for the encrypted client's (CVE-2021-23222); that check is the session's.
#pragma once

#include "protocol/errc.hpp"
#include "protocol/pg/bytes.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace lull::pg {

/// PostgreSQL's MAX_STARTUP_PACKET_LENGTH: what follows the length word.
inline constexpr std::size_t max_startup_bytes = 10000;
/// Bounds of a cancel key (manual, BackendKeyData); protocol 3.0 has exactly 4.
inline constexpr std::size_t min_secret_bytes = 4;
inline constexpr std::size_t max_secret_bytes = 256;

/// In the order of the wire; a name may come twice.
using parameter_list = std::vector<std::pair<std::string, std::string>>;

struct ssl_request {
    std::size_t packet_bytes;
};

struct gssenc_request {
    std::size_t packet_bytes;
};

struct cancel_request {
    std::int32_t pid;
    bytes secret;
    std::size_t packet_bytes;
};

struct startup_message {
    std::uint16_t major;  // always 3
    std::uint16_t minor;  // what the client asks for; above what we speak: negotiate_protocol_version
    parameter_list parameters;
    std::size_t packet_bytes;

    /// The last value of that name: of repeated parameters PostgreSQL heeds the last. A view into *this.
    [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const noexcept;
};

using startup_result =
    std::variant<need_more, errc, ssl_request, gssenc_request, cancel_request, startup_message>;

/// Errors: bad_startup_length (known after four bytes, so an HTTP request or a TLS hello is refused at once),
/// unsupported_protocol_version (a major other than 3), malformed_startup.
[[nodiscard]] startup_result parse_startup(bytes in, std::size_t limit = max_startup_bytes);

using options_result = std::variant<parameter_list, errc>;

/// The startup parameter `options`, split as PostgreSQL splits it: words at white space, a backslash takes
/// the next character as it is, `-c name=value`, `-cname=value` and `--name=value` set a parameter, `-` in
/// its name is `_`. Any other switch or word is malformed_options: they mean things to a server process that
/// a session behind a pool cannot have.
[[nodiscard]] options_result parse_options(std::string_view options);

// Writers append a whole packet to `out`. A text with a NUL inside is cut there: the wire cannot say it.

inline constexpr std::uint32_t protocol_3_0 = 3U << 16;
inline constexpr std::uint32_t protocol_3_2 =
    protocol_3_0 | 2;  // PostgreSQL 18: longer cancel keys; there is no 3.1

void write_startup(std::string& out, std::span<std::pair<std::string, std::string> const> parameters,
                   std::uint32_t protocol = protocol_3_0);
void write_cancel_request(std::string& out, std::int32_t pid, bytes secret);
void write_ssl_request(std::string& out);

/// `protocol`: the newest version that we speak, major and minor as in the startup packet (the manual says
/// "minor version"; what servers send and libpq reads is both). `unsupported`: the `_pq_.` parameters
/// refused.
void write_negotiate_protocol_version(std::string& out, std::uint32_t protocol,
                                      std::span<std::string_view const> unsupported);

}  // namespace lull::pg
