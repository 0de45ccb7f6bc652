// Heads of requests and responses (RFC 9110, RFC 9112), read strictly: what two recipients could understand
// in two ways is an error. Beast's basic_parser is not used because it accepts folded lines, several
// Transfer-Encoding fields and codings before `chunked`, and hides the spelling that we have to judge.
//
// Use: head_scanner finds where a head ends, however the bytes arrive, and rejects control bytes and bare
// line ends on the way; parse_*_head then reads the complete head. Views point into those bytes. Pure; any
// thread.
#pragma once

#include "protocol/http/errc.hpp"
#include "protocol/http/field.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

namespace lull::http {

struct head_limits {
    std::size_t head_bytes = 32 * 1024;
    std::size_t target_bytes = 16 * 1024;
    std::size_t fields = 100;
};

struct head_incomplete {};

/// Looks at every byte once. One per direction of a connection; reset() before each head.
class head_scanner {
  public:
    /// `in` begins where the head begins and only grows between calls. The size of the head with its empty
    /// line, or an error as soon as it is certain.
    std::variant<std::size_t, head_incomplete, errc> scan(std::string_view in,
                                                          head_limits const& limits) noexcept;
    void reset() noexcept { *this = {}; }

  private:
    std::size_t line_ = 0;     // where the current line begins
    std::size_t scanned_ = 0;  // no line end before here
    std::size_t lines_ = 0;
};

enum class version : std::uint8_t { http_1_0, http_1_1 };

/// How a message says that it ends (RFC 9112 section 6.3).
enum class framing : std::uint8_t { none, length, chunked, until_close };

struct request_head {
    std::string_view method;
    std::string_view target;
    http::version version = http::version::http_1_1;
    std::vector<field> fields;

    http::framing framing = http::framing::none;
    std::uint64_t content_length = 0;  // with framing::length
    bool keep_alive = true;            // the client will use the connection again
    bool expects_continue = false;
    bool te_trailers = false;
    std::string_view host;  // the value of Host; empty only with HTTP/1.0
    std::vector<std::string_view> connections;
    std::string_view upgrade;  // what to upgrade to, when Connection says so too; else empty

    void clear();
};

struct response_head {
    unsigned status = 0;
    std::string_view reason;
    http::version version = http::version::http_1_1;
    std::vector<field> fields;

    http::framing framing = http::framing::none;
    std::uint64_t content_length = 0;  // also of a response to HEAD, when has_length
    bool has_length = false;
    bool keep_alive = true;
    std::vector<std::string_view> connections;
    std::string_view upgrade;

    void clear();
};

/// What the answer is to; it decides whether a response has a body.
enum class answered : std::uint8_t { head, other };

/// `bytes` is one complete head as the scanner found it. `out` is cleared first; its capacity is used again.
[[nodiscard]] errc parse_request_head(std::string_view bytes, head_limits const&, request_head& out);
[[nodiscard]] errc parse_response_head(std::string_view bytes, head_limits const&, answered,
                                       response_head& out);

/// One `name: value` line without its line end, for heads and trailers.
[[nodiscard]] errc parse_field_line(std::string_view line, field& out) noexcept;

/// Digits only, at most 2^63 - 1.
std::optional<std::uint64_t> parse_length(std::string_view text) noexcept;

/// Named in a Connection field: belongs to this hop only.
bool is_listed(std::vector<std::string_view> const& connections, std::string_view name) noexcept;

}  // namespace lull::http
