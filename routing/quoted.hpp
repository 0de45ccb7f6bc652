// Names and constants as SQL has them (manual, "Lexical Structure"). Any thread.
#pragma once

#include <string>
#include <string_view>

namespace lull::routing {

/// Between two marks, each mark in it doubled. Of a constant: only as long as standard_conforming_strings is on.
inline std::string quoted(std::string_view text, char mark) {
    std::string out(1, mark);
    for (char c : text) {
        if (c == mark) out += mark;
        out += c;
    }
    return out + mark;
}

}  // namespace lull::routing
