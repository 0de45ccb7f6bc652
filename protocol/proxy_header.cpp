#include "protocol/proxy_header.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

namespace lull {
namespace {

constexpr std::string_view prefix_v1 = "PROXY ";
constexpr std::size_t max_v1_bytes = 107;  // with \r\n
constexpr std::string_view signature_v2("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t head_v2_bytes = 16;

bool is_address_char(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == '.' || c == ':';
}

std::string_view take_word(std::string_view& text) {
    std::size_t const space = std::min(text.find(' '), text.size());
    std::string_view const word = text.substr(0, space);
    text.remove_prefix(std::min(space + 1, text.size()));
    return word;
}

std::optional<std::uint16_t> port_of(std::string_view text) {
    std::uint16_t value = 0;
    if (text.empty() || (text.size() > 1 && text[0] == '0')) return std::nullopt;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

proxy_header_result parse_v1(std::string_view text) {
    std::size_t const end = text.substr(0, max_v1_bytes).find("\r\n");
    if (end == std::string_view::npos) {
        if (text.size() >= max_v1_bytes) return errc::malformed_proxy_header;
        return need_more{1};
    }
    proxy_header out;
    out.bytes = end + 2;
    std::string_view line = text.substr(prefix_v1.size(), end - prefix_v1.size());
    std::string_view const family = take_word(line);
    if (family == "UNKNOWN") return out;
    std::string_view const source = take_word(line);
    std::string_view const target = take_word(line);
    auto const source_port = port_of(take_word(line));
    auto const target_port = port_of(line);  // the rest: nothing may follow it
    bool const v6 = family == "TCP6";
    auto const fits = [&](std::string_view address) {
        return !address.empty() && std::all_of(address.begin(), address.end(), is_address_char) &&
               (address.find(':') != std::string_view::npos) == v6;
    };
    if ((!v6 && family != "TCP4") || !fits(source) || !fits(target) || !source_port || !target_port)
        return errc::malformed_proxy_header;
    out.host = source;
    out.port = *source_port;
    return out;
}

unsigned byte_at(std::span<std::byte const> in, std::size_t at) {
    return std::to_integer<unsigned>(in[at]);
}

unsigned word_at(std::span<std::byte const> in, std::size_t at) {
    return byte_at(in, at) << 8 | byte_at(in, at + 1);
}

std::string v4_text(std::span<std::byte const> address) {
    std::string out;
    for (std::byte const b : address)
        out.append(out.empty() ? "" : ".").append(std::to_string(std::to_integer<unsigned>(b)));
    return out;
}

std::string v6_text(std::span<std::byte const> address) {
    std::string out;
    for (std::size_t i = 0; i < address.size(); i += 2) {
        char group[4];
        auto const end = std::to_chars(group, group + sizeof group, word_at(address, i), 16).ptr;
        out.append(out.empty() ? "" : ":").append(group, end);
    }
    return out;
}

proxy_header_result parse_v2(std::span<std::byte const> in) {
    if (in.size() < head_v2_bytes) return need_more{head_v2_bytes - in.size()};
    unsigned const command = byte_at(in, 12);
    unsigned const family = byte_at(in, 13);
    std::size_t const rest = word_at(in, 14);
    bool const proxied = command == 0x21;
    if ((command != 0x20 && !proxied) || rest > max_proxy_extra_bytes) return errc::malformed_proxy_header;
    if (in.size() < head_v2_bytes + rest) return need_more{head_v2_bytes + rest - in.size()};
    proxy_header out;
    out.bytes = head_v2_bytes + rest;
    if (!proxied) return out;  // the load balancer's own, to see whether we live
    auto const addresses = in.subspan(head_v2_bytes, rest);
    switch (family) {
        case 0x11:
            if (rest < 12) return errc::malformed_proxy_header;
            out.host = v4_text(addresses.first(4));
            out.port = static_cast<std::uint16_t>(word_at(addresses, 8));
            return out;
        case 0x21:
            if (rest < 36) return errc::malformed_proxy_header;
            out.host = v6_text(addresses.first(16));
            out.port = static_cast<std::uint16_t>(word_at(addresses, 32));
            return out;
        case 0x00:  // unspecified
        case 0x31:  // a Unix socket of the load balancer's machine
            return out;
    }
    return errc::malformed_proxy_header;
}

}  // namespace

proxy_header_result parse_proxy_header(std::span<std::byte const> in) {
    std::string_view const text(reinterpret_cast<char const*>(in.data()), in.size());
    if (text.empty()) return need_more{1};
    auto const begins = [&](std::string_view with) {
        return text.substr(0, with.size()) == with.substr(0, text.size());
    };
    if (begins(prefix_v1)) return text.size() < prefix_v1.size() ? need_more{1} : parse_v1(text);
    if (begins(signature_v2))
        return text.size() < signature_v2.size() ? need_more{head_v2_bytes - text.size()} : parse_v2(in);
    return errc::malformed_proxy_header;
}

}  // namespace lull
