#include "config/network.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>

namespace lull::config {
namespace {

template <class Number>
std::optional<Number> number(std::string_view text, int base, std::size_t longest) {
    Number value{};
    if (text.empty() || text.size() > longest) return std::nullopt;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

bool parse_v4(std::string_view text, std::uint8_t* out) {
    for (int i = 0; i < 4; ++i) {
        std::size_t const dot = i < 3 ? text.find('.') : text.size();
        if (dot == std::string_view::npos) return false;
        auto const part = text.substr(0, dot);
        auto const value = number<std::uint8_t>(part, 10, 3);
        if (!value || (part.size() > 1 && part[0] == '0')) return false;  // octal to some, decimal to others
        out[i] = *value;
        text.remove_prefix(std::min(dot + 1, text.size()));
    }
    return true;
}

/// Groups of one side of `::`; how many bytes, or nothing.
std::optional<std::size_t> parse_groups(std::string_view text, std::uint8_t* out, std::size_t room) {
    std::size_t filled = 0;
    while (!text.empty()) {
        std::size_t const colon = text.find(':');
        auto const part = text.substr(0, colon);
        if (colon == std::string_view::npos && part.find('.') != std::string_view::npos) {
            if (room - filled < 4 || !parse_v4(part, out + filled)) return std::nullopt;
            return filled + 4;
        }
        auto const value = number<std::uint16_t>(part, 16, 4);
        if (!value || room - filled < 2) return std::nullopt;
        out[filled++] = static_cast<std::uint8_t>(*value >> 8);
        out[filled++] = static_cast<std::uint8_t>(*value & 255);
        if (colon == std::string_view::npos) return filled;
        text.remove_prefix(colon + 1);
        if (text.empty()) return std::nullopt;  // a colon at the end
    }
    return filled;
}

}  // namespace

std::optional<ip_address> parse_address(std::string_view text) {
    ip_address out;
    if (text.find(':') == std::string_view::npos) {
        if (!parse_v4(text, out.bytes.data())) return std::nullopt;
        return out;
    }
    out.v6 = true;
    std::size_t const gap = text.find("::");
    if (gap == std::string_view::npos) {
        auto const size = parse_groups(text, out.bytes.data(), 16);
        if (!size || *size != 16) return std::nullopt;
        return out;
    }
    std::array<std::uint8_t, 16> behind{};
    auto const before = parse_groups(text.substr(0, gap), out.bytes.data(), 14);
    if (!before) return std::nullopt;
    auto const after = parse_groups(text.substr(gap + 2), behind.data(), 14 - *before);
    if (!after) return std::nullopt;
    std::copy_n(behind.begin(), *after, out.bytes.end() - static_cast<std::ptrdiff_t>(*after));
    return out;
}

std::optional<ip_address> parse_peer_address(std::string_view text) {
    auto const address = parse_address(text);
    static ip_network const mapped = *parse_network("::ffff:0:0/96");
    if (!address || !mapped.contains(*address)) return address;
    ip_address v4;
    std::copy_n(address->bytes.begin() + 12, 4, v4.bytes.begin());
    return v4;
}

std::optional<ip_network> parse_network(std::string_view text) {
    std::size_t const slash = text.find('/');
    auto const address = parse_address(text.substr(0, slash));
    if (!address) return std::nullopt;
    unsigned const most = address->v6 ? 128 : 32;
    unsigned bits = most;
    if (slash != std::string_view::npos) {
        auto const length = number<unsigned>(text.substr(slash + 1), 10, 3);
        if (!length || *length > most) return std::nullopt;
        bits = *length;
    }
    ip_network out{*address, {}};
    out.mask.v6 = address->v6;
    for (std::size_t i = 0; i < 16 && bits > 0; ++i) {
        unsigned const here = std::min(bits, 8U);
        out.mask.bytes[i] = static_cast<std::uint8_t>(0xFF00U >> here & 255U);
        bits -= here;
    }
    return out;
}

}  // namespace lull::config
