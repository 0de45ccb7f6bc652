// UTF-8, as RFC 3629 has it: nothing longer than it needs to be, no surrogates, nothing beyond U+10FFFF. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lull {

/// Bytes of the well-formed UTF-8 sequence at the front; 0: there is none (Unicode table 3-7).
inline std::size_t utf8_length(std::string_view text) {
    auto const at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
    auto const tail = [&](std::size_t i) { return (at(i) & 0xc0u) == 0x80u; };
    unsigned const a = at(0);
    if (a < 0x80) return 1;
    if (a >= 0xc2 && a <= 0xdf) return tail(1) ? 2 : 0;
    if (a >= 0xe0 && a <= 0xef) {
        bool const second = a == 0xe0 ? at(1) >= 0xa0 : a == 0xed ? at(1) <= 0x9f : true;
        return second && tail(1) && tail(2) ? 3 : 0;
    }
    if (a >= 0xf0 && a <= 0xf4) {
        bool const second = a == 0xf0 ? at(1) >= 0x90 : a == 0xf4 ? at(1) <= 0x8f : true;
        return second && tail(1) && tail(2) && tail(3) ? 4 : 0;
    }
    return 0;
}

/// The same with U+FFFD for each byte that is of no sequence.
inline std::string as_utf8(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        std::size_t const n = utf8_length(text);
        out += n ? text.substr(0, n) : std::string_view("\xef\xbf\xbd");
        text.remove_prefix(n ? n : 1);
    }
    return out;
}

/// A text that may have been cut anywhere, without the piece of a sequence at its end.
inline std::string_view whole_characters(std::string_view cut) {
    constexpr std::size_t longest = 4;
    for (std::size_t n = 1; n < longest && n <= cut.size(); ++n) {
        auto const c = static_cast<unsigned char>(cut[cut.size() - n]);
        if ((c & 0xc0u) == 0x80u) continue;
        bool const piece = (c >= 0xc2 && n < 2) || (c >= 0xe0 && n < 3) || (c >= 0xf0 && n < 4);
        return piece ? cut.substr(0, cut.size() - n) : cut;
    }
    return cut;
}

}  // namespace lull
