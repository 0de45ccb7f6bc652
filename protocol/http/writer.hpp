// Writes heads and chunk framing. Everything that is written was parsed and judged before: no bytes of a peer
// are passed on as a head. Appends to strings that the caller owns. Pure; any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lull::http {

void append_number(std::string& out, std::uint64_t n);
/// `name: value` and CR LF.
void append_field(std::string& out, std::string_view name, std::string_view value);
void append_field(std::string& out, std::string_view name, std::uint64_t value);
/// `HTTP/1.1 503 Service Unavailable` and CR LF; an empty reason is filled in where it is known.
void append_status_line(std::string& out, unsigned status, std::string_view reason = {});
/// The line before the data of a chunk; `\r\n` follows the data. Zero: the last chunk, trailers follow.
void append_chunk_line(std::string& out, std::uint64_t size);

std::string_view reason_phrase(unsigned status) noexcept;

/// RFC 9110 section 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
std::string format_http_date(std::chrono::system_clock::time_point);
/// RFC 3339 in UTC with whole seconds: `1994-11-06T08:49:37Z`.
std::string format_rfc3339(std::chrono::system_clock::time_point);

}  // namespace lull::http
