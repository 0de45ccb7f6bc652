// Words and blanks in sources of SQL and PL/pgSQL (manual, "Lexical Structure"). Pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lull::routing {

inline bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}
/// Bytes of other letters belong to words.
inline bool begins_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (static_cast<unsigned char>(c) & 0x80) != 0;
}
inline bool goes_on(char c) {
    return begins_word(c) || (c >= '0' && c <= '9') || c == '$';
}

/// As PostgreSQL folds a name that is not in quotes, where it is ASCII.
[[nodiscard]] std::string folded(std::string_view word);

/// From `i` behind blanks and comments; those of the form /* */ nest. At most the size of `source`.
[[nodiscard]] std::size_t skip_blanks(std::string_view source, std::size_t i);

}  // namespace lull::routing
