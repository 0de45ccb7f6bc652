// Letters A to Z in lower case, and no others: keywords, host names and settings are compared so, whatever the locale. Pure.
#pragma once

#include <string>
#include <string_view>

namespace lull {

inline std::string ascii_lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

}  // namespace lull
