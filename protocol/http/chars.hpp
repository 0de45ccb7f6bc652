// Character classes of RFC 9110 section 5.6 and comparisons that ignore ASCII case. No state; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lull::http {

namespace detail {
enum : std::uint8_t { tchar = 1, value_char = 2, target_char = 4, unreserved = 8, hex = 16, alnum = 32 };

constexpr std::array<std::uint8_t, 256> make_classes() {
    std::array<std::uint8_t, 256> classes{};
    for (unsigned c = 0; c < 256; ++c) {
        bool const digit = c >= '0' && c <= '9';
        bool const letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        std::uint8_t bits = 0;
        if (digit || letter) bits |= tchar | unreserved | alnum;
        if (c != 0 &&
            std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos)
            bits |= tchar;
        if (c == '-' || c == '.' || c == '_' || c == '~') bits |= unreserved;
        if (digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) bits |= hex;
        // VCHAR, SP, HTAB and obs-text; no other control character.
        if (c == '\t' || (c >= 0x20 && c != 0x7f)) bits |= value_char;
        // Raw bytes above ASCII are tolerated in a target and percent-encoded when it is written again.
        if (c > 0x20 && c != 0x7f && c != '#') bits |= target_char;
        classes[c] = bits;
    }
    return classes;
}
inline constexpr std::array<std::uint8_t, 256> classes = make_classes();

constexpr bool is(char c, std::uint8_t bits) {
    return (classes[static_cast<unsigned char>(c)] & bits) != 0;
}
constexpr bool all(std::string_view text, std::uint8_t bits) {
    for (char const c : text)
        if (!is(c, bits)) return false;
    return true;
}
}  // namespace detail

constexpr bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
constexpr bool is_hex(char c) {
    return detail::is(c, detail::hex);
}
constexpr bool is_alnum(char c) {
    return detail::is(c, detail::alnum);
}
constexpr bool is_unreserved(char c) {
    return detail::is(c, detail::unreserved);
}
constexpr bool is_token(std::string_view text) {
    return !text.empty() && detail::all(text, detail::tchar);
}
constexpr bool is_field_value(std::string_view text) {
    return detail::all(text, detail::value_char);
}
constexpr bool is_target(std::string_view text) {
    return !text.empty() && detail::all(text, detail::target_char);
}

constexpr char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}
constexpr char upper(char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
}
constexpr unsigned hex_value(char c) {
    return is_digit(c) ? static_cast<unsigned>(c - '0') : static_cast<unsigned>(lower(c) - 'a' + 10);
}

constexpr bool iequals(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (lower(a[i]) != lower(b[i])) return false;
    return true;
}
constexpr bool istarts_with(std::string_view text, std::string_view prefix) {
    return text.size() >= prefix.size() && iequals(text.substr(0, prefix.size()), prefix);
}

constexpr std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

/// Calls `each` with every trimmed, non-empty element of a comma-separated list (no quoted strings).
template <class Each>
constexpr void for_each_element(std::string_view list, Each&& each) {
    while (!list.empty()) {
        std::size_t const comma = list.find(',');
        std::string_view const element = trim(list.substr(0, comma));
        if (!element.empty()) each(element);
        if (comma == std::string_view::npos) return;
        list.remove_prefix(comma + 1);
    }
}

constexpr bool list_contains(std::string_view list, std::string_view token) {
    bool found = false;
    for_each_element(list, [&](std::string_view element) { found = found || iequals(element, token); });
    return found;
}

}  // namespace lull::http
