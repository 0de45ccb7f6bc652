// The texts of SCRAM (RFC 5802 section 7) without its arithmetic: messages taken apart and put together. For
// scram.cpp. Parsers bound what they take (scram.hpp) and their views point into the message.
#pragma once

#include "protocol/pg/scram.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lull::pg::scram_text {

/// The gs2 headers of a client: it knows of no channel binding; it does, and believes that the server does
/// not; it binds.
inline constexpr std::string_view no_channel_binding = "n,,";
inline constexpr std::string_view unused_channel_binding = "y,,";
inline constexpr std::string_view end_point_binding = "p=tls-server-end-point,,";

struct client_first {
    std::string_view bare;        // without its gs2 header
    std::string_view gs2_header;  // one of the three
    std::string_view nonce;
};

struct server_first {
    std::string_view nonce;
    std::vector<std::byte> salt;
    std::uint32_t iterations;
};

struct client_final {
    std::string_view without_proof;
    std::string_view channel_binding;
    std::string_view nonce;
    scram_key proof;
};

/// One or more printable ASCII characters, no comma.
[[nodiscard]] bool is_nonce(std::string_view text) noexcept;

[[nodiscard]] std::variant<client_first, errc> parse_client_first(std::string_view message);
[[nodiscard]] std::variant<server_first, errc> parse_server_first(std::string_view message);
[[nodiscard]] std::variant<client_final, errc> parse_client_final(std::string_view message);
/// The server's signature.
[[nodiscard]] std::variant<scram_key, errc> parse_server_final(std::string_view message);

[[nodiscard]] std::string format_client_first_bare(std::string_view user, std::string_view nonce);
[[nodiscard]] std::string format_server_first(std::string_view nonce, bytes salt, std::uint32_t iterations);
[[nodiscard]] std::string format_client_final_without_proof(std::string_view nonce,
                                                            std::string_view gs2_header,
                                                            std::string_view end_point);
/// What `c=` says.
[[nodiscard]] std::string format_channel_binding(std::string_view gs2_header, std::string_view end_point);
void append_proof(std::string& client_final, scram_key const& proof);
[[nodiscard]] std::string format_server_final(scram_key const& signature);

}  // namespace lull::pg::scram_text
