// Where a body ends, by length, by chunks (RFC 9112 section 7.1) or by the end of the connection. The reader
// counts and yields slices; it copies and keeps nothing of the body. Owned by a session, one per message.
#pragma once

#include "protocol/http/errc.hpp"
#include "protocol/http/field.hpp"
#include "protocol/http/head.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lull::http {

struct body_limits {
    std::size_t chunk_line_bytes = 256;       // size, extensions and CR LF of one chunk
    std::size_t extension_bytes = 16 * 1024;  // of all chunks of a body together
    std::size_t trailer_line_bytes = 4 * 1024;
    std::size_t trailer_bytes = 8 * 1024;
    std::size_t trailer_fields = 32;
};

struct body_step {
    enum class kind : std::uint8_t {
        data,       // `data` belongs to the body
        trailer,    // `trailer` is one field of the trailer section
        end,        // the message is complete
        need_more,  // nothing can be said before more bytes come
        error,      // `error`; the connection cannot be used again
    };
    kind what = kind::need_more;
    std::size_t consumed = 0;  // of the input, also with need_more; views point into that part
    std::string_view data;
    field trailer;
    errc error = errc::none;
};

class body_reader {
  public:
    body_reader() = default;
    body_reader(framing, std::uint64_t length);

    /// What comes next in `in`, which begins behind what was consumed before. Never yields empty data.
    [[nodiscard]] body_step next(std::string_view in, body_limits const&);

    bool done() const noexcept { return state_ == state::done; }
    /// Ends with the connection; only an orderly end counts as complete.
    bool until_close() const noexcept { return state_ == state::until_close; }
    /// Bytes of data that will follow, where that is known: framing by length, or the rest of a chunk.
    std::uint64_t remaining() const noexcept { return remaining_; }
    bool by_length() const noexcept { return state_ == state::length; }

  private:
    enum class state : std::uint8_t {
        done,
        length,
        until_close,
        chunk_line,
        chunk_data,
        chunk_end,
        trailers,
        failed
    };

    body_step fail(errc) noexcept;
    body_step read_chunk_line(std::string_view in, body_limits const&);
    body_step read_trailer(std::string_view in, body_limits const&);

    state state_ = state::done;
    std::uint64_t remaining_ = 0;
    std::uint32_t extension_bytes_ = 0;
    std::uint32_t trailer_bytes_ = 0;
    std::uint32_t trailer_fields_ = 0;
};

}  // namespace lull::http
