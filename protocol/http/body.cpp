#include "protocol/http/body.hpp"

#include "protocol/http/chars.hpp"

#include <algorithm>

namespace lull::http {

namespace {

enum class line_state : std::uint8_t { complete, incomplete, bad, too_long };

/// A line that ends in CR LF, at most `limit` bytes with it. `line` is without its end.
line_state find_line(std::string_view in, std::size_t limit, std::string_view& line) noexcept {
    std::string_view const window = in.substr(0, limit);
    std::size_t const end = window.find('\n');
    std::string_view const text = window.substr(0, end);
    std::size_t const cr = text.find('\r');
    // A CR may only stand directly before the LF, or be the last byte so far.
    if (cr != std::string_view::npos && cr + 1 != text.size()) return line_state::bad;
    if (end == std::string_view::npos)
        return window.size() == limit ? line_state::too_long : line_state::incomplete;
    if (cr == std::string_view::npos) return line_state::bad;
    line = text.substr(0, cr);
    return line_state::complete;
}

/// 1*HEXDIG, below 2^60 so that sums cannot overflow; what stands behind it is the extension.
bool parse_chunk_size(std::string_view line, std::uint64_t& size, std::string_view& extension) noexcept {
    std::size_t digits = 0;
    size = 0;
    while (digits < line.size() && is_hex(line[digits])) {
        if (digits == 15) return false;
        size = size * 16 + hex_value(line[digits]);
        ++digits;
    }
    extension = line.substr(digits);
    // Nothing but `;` may follow: a space or sign here is read differently by different servers.
    return digits > 0 && (extension.empty() || (extension.front() == ';' && is_field_value(extension)));
}

body_step make_step(body_step::kind what, std::size_t consumed, std::string_view data = {}) noexcept {
    body_step step;
    step.what = what;
    step.consumed = consumed;
    step.data = data;
    return step;
}

}  // namespace

body_reader::body_reader(framing how, std::uint64_t length) {
    switch (how) {
        case framing::none:
            break;
        case framing::length:
            state_ = length == 0 ? state::done : state::length;
            remaining_ = length;
            break;
        case framing::chunked:
            state_ = state::chunk_line;
            break;
        case framing::until_close:
            state_ = state::until_close;
            break;
    }
}

body_step body_reader::fail(errc e) noexcept {
    state_ = state::failed;
    body_step step = make_step(body_step::kind::error, 0);
    step.error = e;
    return step;
}

body_step body_reader::read_chunk_line(std::string_view in, body_limits const& limits) {
    std::string_view line;
    switch (find_line(in, limits.chunk_line_bytes, line)) {
        case line_state::incomplete:
            return {};
        case line_state::bad:
            return fail(errc::bad_chunk);
        case line_state::too_long:
            return fail(errc::chunk_extensions_too_long);
        case line_state::complete:
            break;
    }
    std::string_view extension;
    if (!parse_chunk_size(line, remaining_, extension)) return fail(errc::bad_chunk);
    extension_bytes_ += static_cast<std::uint32_t>(extension.size());
    if (extension_bytes_ > limits.extension_bytes) return fail(errc::chunk_extensions_too_long);
    state_ = remaining_ == 0 ? state::trailers : state::chunk_data;
    return make_step(body_step::kind::need_more, line.size() + 2);
}

body_step body_reader::read_trailer(std::string_view in, body_limits const& limits) {
    std::string_view line;
    switch (find_line(in, limits.trailer_line_bytes, line)) {
        case line_state::incomplete:
            return {};
        case line_state::bad:
            return fail(errc::bad_trailer);
        case line_state::too_long:
            return fail(errc::trailer_too_long);
        case line_state::complete:
            break;
    }
    if (line.empty()) {
        state_ = state::done;
        return make_step(body_step::kind::end, 2);
    }
    trailer_bytes_ += static_cast<std::uint32_t>(line.size() + 2);
    if (trailer_bytes_ > limits.trailer_bytes || ++trailer_fields_ > limits.trailer_fields)
        return fail(errc::trailer_too_long);
    body_step step = make_step(body_step::kind::trailer, line.size() + 2);
    if (parse_field_line(line, step.trailer) != errc::none) return fail(errc::bad_trailer);
    return step;
}

body_step body_reader::next(std::string_view in, body_limits const& limits) {
    std::size_t skipped = 0;  // framing that came before what is yielded
    while (true) {
        body_step step;
        std::string_view const rest = in.substr(skipped);
        switch (state_) {
            case state::done:
                return make_step(body_step::kind::end, skipped);
            case state::failed:
                return fail(errc::bad_chunk);
            case state::until_close:
                if (!rest.empty()) return make_step(body_step::kind::data, rest.size(), rest);
                return {};
            case state::length:
            case state::chunk_data: {
                if (rest.empty()) return make_step(body_step::kind::need_more, skipped);
                auto const n = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, rest.size()));
                remaining_ -= n;
                if (remaining_ == 0) state_ = state_ == state::length ? state::done : state::chunk_end;
                return make_step(body_step::kind::data, skipped + n, rest.substr(0, n));
            }
            case state::chunk_end:
                if (!rest.empty() && rest[0] != '\r') return fail(errc::bad_chunk);
                if (rest.size() > 1 && rest[1] != '\n') return fail(errc::bad_chunk);
                if (rest.size() < 2) return make_step(body_step::kind::need_more, skipped);
                skipped += 2;
                state_ = state::chunk_line;
                continue;
            case state::chunk_line:
                step = read_chunk_line(rest, limits);
                if (step.what == body_step::kind::error) return step;
                if (step.consumed == 0) return make_step(body_step::kind::need_more, skipped);
                skipped += step.consumed;
                continue;
            case state::trailers:
                step = read_trailer(rest, limits);
                step.consumed += skipped;
                return step;
        }
    }
}

}  // namespace lull::http
