#include "protocol/pg/base64.hpp"

#include <array>
#include <cstdint>

namespace lull::pg {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::uint8_t no_digit = 255;
constexpr auto digits = [] {
    std::array<std::uint8_t, 256> of{};
    of.fill(no_digit);
    for (std::size_t i = 0; i < alphabet.size(); ++i) of[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
    return of;
}();

}  // namespace

std::string base64_encode(bytes data) {
    std::string text((data.size() + 2) / 3 * 4, '=');
    char* at = text.data();
    while (!data.empty()) {
        std::size_t const count = data.size() < 3 ? data.size() : 3;
        std::uint32_t group = 0;
        for (std::size_t i = 0; i < 3; ++i)
            group = group << 8 | (i < count ? std::to_integer<std::uint32_t>(data[i]) : 0);
        for (std::size_t i = 0; i <= count; ++i) at[i] = alphabet[group >> (18 - 6 * i) & 63];
        at += 4;
        data = data.subspan(count);
    }
    return text;
}

std::optional<std::vector<std::byte>> base64_decode(std::string_view text) {
    if (text.size() % 4 != 0) return std::nullopt;
    std::vector<std::byte> data;
    data.reserve(text.size() / 4 * 3);
    std::size_t const padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
    text.remove_suffix(padding);

    std::uint32_t group = 0;
    unsigned bits = 0;
    for (char const c : text) {
        std::uint32_t const digit = digits[static_cast<unsigned char>(c)];
        if (digit == no_digit) return std::nullopt;
        group = group << 6 | digit;
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        data.push_back(static_cast<std::byte>(group >> bits));
        group &= (1U << bits) - 1;
    }
    if (group != 0) return std::nullopt;
    return data;
}

}  // namespace lull::pg
