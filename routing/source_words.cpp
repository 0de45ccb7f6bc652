#include "routing/source_words.hpp"

#include <algorithm>

namespace lull::routing {

std::string folded(std::string_view word) {
    std::string out(word);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

std::size_t skip_blanks(std::string_view source, std::size_t i) {
    auto const at = [&](std::string_view what) { return source.substr(i, what.size()) == what; };
    while (i < source.size()) {
        if (is_blank(source[i])) {
            ++i;
        } else if (at("--")) {
            while (i < source.size() && source[i] != '\n' && source[i] != '\r') ++i;
        } else if (at("/*")) {
            int depth = 0;
            do {
                bool const opens = at("/*");
                bool const closes = !opens && at("*/");
                depth += opens ? 1 : closes ? -1 : 0;
                i += opens || closes ? 2 : 1;
            } while (depth > 0 && i < source.size());
        } else {
            break;
        }
    }
    return std::min(i, source.size());
}

}  // namespace lull::routing
