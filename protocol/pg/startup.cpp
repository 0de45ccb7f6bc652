#include "protocol/pg/startup.hpp"

#include "protocol/pg/reader.hpp"
#include "protocol/pg/types.hpp"
#include "protocol/pg/writer.hpp"

#include <algorithm>

namespace lull::pg {
namespace {

// Requests that stand where the version stands; 1234 is no version PostgreSQL will ever have.
constexpr std::uint32_t cancel_code = 1234U << 16 | 5678;
constexpr std::uint32_t ssl_code = 1234U << 16 | 5679;
constexpr std::uint32_t gssenc_code = 1234U << 16 | 5680;

constexpr std::size_t length_bytes = 4;
constexpr std::size_t code_bytes = 4;

startup_result parse_cancel(reader in, std::size_t packet_bytes) {
    std::int32_t const pid = in.int32();
    bytes const secret = in.rest();
    if (!in.good() || secret.size() < min_secret_bytes || secret.size() > max_secret_bytes)
        return errc::malformed_startup;
    return cancel_request{pid, secret, packet_bytes};
}

// Names and values by turns, and an empty name as the last byte of the packet.
startup_result parse_parameters(reader in, std::uint32_t version, std::size_t packet_bytes) {
    startup_message message{
        static_cast<std::uint16_t>(version >> 16), static_cast<std::uint16_t>(version), {}, packet_bytes};
    message.parameters.reserve(8);  // as many as drivers have
    for (std::string_view name = in.text(); !name.empty(); name = in.text())
        message.parameters.emplace_back(name, in.text());
    if (!in.finished()) return errc::malformed_startup;
    return message;
}

bool is_space(char c) noexcept {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// As pg_split_opts() does it.
std::vector<std::string> split_words(std::string_view text) {
    std::vector<std::string> words;
    auto at = text.begin();
    for (;;) {
        at = std::find_if_not(at, text.end(), is_space);
        if (at == text.end()) return words;
        std::string& word = words.emplace_back();
        bool escaped = false;
        for (; at != text.end() && (escaped || !is_space(*at)); ++at) {
            if (!escaped && *at == '\\') {
                escaped = true;
                continue;
            }
            escaped = false;
            word += *at;
        }
    }
}

}  // namespace

std::optional<std::string_view> startup_message::find(std::string_view name) const noexcept {
    auto const found =
        std::find_if(parameters.rbegin(), parameters.rend(), [&](auto const& p) { return p.first == name; });
    if (found == parameters.rend()) return std::nullopt;
    return found->second;
}

startup_result parse_startup(bytes in, std::size_t limit) {
    if (in.size() < length_bytes) return need_more{length_bytes - in.size()};
    std::size_t const packet_bytes = reader(in).uint32();
    if (packet_bytes < length_bytes + code_bytes || packet_bytes - length_bytes > limit)
        return errc::bad_startup_length;
    if (in.size() < packet_bytes) return need_more{packet_bytes - in.size()};

    reader packet(in.subspan(length_bytes, packet_bytes - length_bytes));
    std::uint32_t const code = packet.uint32();
    switch (code) {
        case cancel_code:
            return parse_cancel(packet, packet_bytes);
        case ssl_code:
            if (!packet.finished()) return errc::malformed_startup;
            return ssl_request{packet_bytes};
        case gssenc_code:
            if (!packet.finished()) return errc::malformed_startup;
            return gssenc_request{packet_bytes};
    }
    if (code >> 16 != protocol_3_0 >> 16) return errc::unsupported_protocol_version;
    return parse_parameters(packet, code, packet_bytes);
}

options_result parse_options(std::string_view options) {
    parameter_list parameters;
    std::vector<std::string> const words = split_words(options);
    for (std::size_t i = 0; i < words.size(); ++i) {
        std::string_view setting = words[i];
        if (setting == "-c") {
            if (++i == words.size()) return errc::malformed_options;
            setting = words[i];
        } else if (setting.starts_with("-c") || setting.starts_with("--")) {
            setting.remove_prefix(2);
        } else {
            return errc::malformed_options;
        }
        std::size_t const equals = setting.find('=');
        if (equals == 0 || equals == std::string_view::npos) return errc::malformed_options;
        std::string name(setting.substr(0, equals));
        std::replace(name.begin(), name.end(), '-', '_');
        parameters.emplace_back(std::move(name), setting.substr(equals + 1));
    }
    return parameters;
}

void write_startup(std::string& out, std::span<std::pair<std::string, std::string> const> parameters,
                   std::uint32_t protocol) {
    writer packet(out);
    packet.int32(protocol);
    for (auto const& [name, value] : parameters) packet.text(name).text(value);
    packet.byte('\0');
}

void write_cancel_request(std::string& out, std::int32_t pid, bytes secret) {
    writer(out).int32(cancel_code).int32(static_cast<std::uint32_t>(pid)).raw(secret);
}

void write_ssl_request(std::string& out) {
    writer(out).int32(ssl_code);
}

void write_negotiate_protocol_version(std::string& out, std::uint32_t protocol,
                                      std::span<std::string_view const> unsupported) {
    writer message(out, backend::negotiate_protocol_version);
    message.int32(protocol).int32(static_cast<std::uint32_t>(unsupported.size()));
    for (std::string_view const name : unsupported) message.text(name);
}

}  // namespace lull::pg
