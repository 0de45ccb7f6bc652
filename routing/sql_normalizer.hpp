// One linear pass over a statement: a key in which constants are placeholders, and the guard that the parser
// needs.
//
// Two texts with the same key have the same tokens but for their constants, as PostgreSQL reads them with
// standard_conforming_strings on. Where that is not certain the text has no key. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace lull::routing {

/// What stands in a key for a constant. No text that has a key has these bytes itself.
inline constexpr char number_mark = '\x01';
inline constexpr char string_mark = '\x02';

enum class key_form : std::uint8_t {
    same,     // nothing was replaced: the text is its own key
    changed,  // the key is in the buffer
    none,     // cannot be normalised: only the exact text is a key
};

struct scanned {
    key_form form = key_form::none;
    std::size_t key_bytes = 0;
    /// The text has a shape that costs libpg_query quadratic time (comments nested more than 8 deep, a run of
    /// more than 64 operator characters): it must not be parsed.
    bool dangerous = false;
    /// A comment of it begins with "lull:".
    bool hinted = false;
};

/// The buffer must hold at least sql.size() bytes; the key is never longer.
[[nodiscard]] scanned scan_sql(std::string_view sql, std::span<char> buffer);

}  // namespace lull::routing
