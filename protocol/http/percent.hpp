// Percent-encoding (RFC 3986, 2.1), of any text into what may stand anywhere in a URL, and back. Pure.
#pragma once

#include "protocol/http/chars.hpp"

#include <string>
#include <string_view>

namespace lull::http {

inline void append_escape(std::string& out, char c) {
    static constexpr char digits[] = "0123456789ABCDEF";
    auto const byte = static_cast<unsigned char>(c);
    (out += '%').append({digits[byte >> 4], digits[byte & 15]});
}

inline std::string percent_encode(std::string_view text) {
    std::string out;
    for (char c : text)
        if (is_unreserved(c))
            out += c;
        else
            append_escape(out, c);
    return out;
}

/// What is no escape stays as it is.
inline std::string percent_decode(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && is_hex(text[i + 1]) && is_hex(text[i + 2])) {
            out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
            i += 2;
        } else {
            out += text[i];
        }
    }
    return out;
}

}  // namespace lull::http
