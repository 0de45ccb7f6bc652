// Splits bytes into PostgreSQL messages: a type byte, an Int32 length that counts itself, the body (manual,
// "Message Formats"; the first packet of a connection has no type byte and is startup.hpp's).
// Pure functions, any thread. Views point into the input. This is the hot path: a block full of DataRow is
// walked with nothing but parse_header, so everything here is inline and touches no byte of a body.
#pragma once

#include "protocol/errc.hpp"
#include "protocol/pg/bytes.hpp"
#include "protocol/pg/types.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>
#include <variant>

namespace lull::pg {

inline constexpr std::size_t header_bytes = 5;
/// PostgreSQL cannot make or take a longer message (MaxAllocSize). Counts the length word, not the type byte.
inline constexpr std::uint32_t max_frame_length = 0x3fffffff;

struct frame_header {
    char type;
    std::uint32_t body_bytes;
    friend bool operator==(frame_header const&, frame_header const&) = default;
};

struct frame {
    char type;
    bytes body;
    bytes whole;  // header and body
};

using frame_result = std::variant<frame, need_more, errc>;

/// Nothing: the length is below 4 or above max_frame_length; the stream cannot be followed any further.
/// Does not judge the type.
[[nodiscard]] inline std::optional<frame_header> parse_header(
    std::span<std::byte const, header_bytes> in) noexcept {
    // One load and a swap, which the compiler does not make of four bytes here.
    std::uint32_t length;
    std::memcpy(&length, in.data() + 1, sizeof length);
    if constexpr (std::endian::native == std::endian::little) length = __builtin_bswap32(length);
    if (length < 4 || length > max_frame_length) return std::nullopt;
    return frame_header{static_cast<char>(in[0]), length - 4};
}

/// Types of messages, as a table that is asked for each.
class type_set {
  public:
    constexpr type_set(std::initializer_list<char> types) {
        for (char type : types) has_[static_cast<unsigned char>(type)] = true;
    }
    [[nodiscard]] constexpr bool has(char type) const noexcept { return has_[static_cast<unsigned char>(type)]; }

  private:
    std::array<bool, 256> has_{};
};

/// How many bytes of `in`, from its beginning, are whole messages of these types: rows and COPY come by the
/// thousand, and nobody has to look into one.
[[nodiscard]] inline std::size_t run_of(bytes in, type_set const& types) noexcept {
    std::byte const* at = in.data();
    std::size_t left = in.size();
    while (left >= header_bytes) {
        auto const header = parse_header(std::span<std::byte const, header_bytes>(at, header_bytes));
        if (!header || !types.has(header->type)) break;
        std::size_t const size = header_bytes + header->body_bytes;
        if (size > left) break;
        at += size;
        left -= size;
    }
    return in.size() - left;
}

/// The message that `in` begins with. A body longer than `max_body` is frame_too_large as soon as its header
/// is here; who wants to stream such a body asks parse_header instead and counts.
[[nodiscard]] inline frame_result next_frame(bytes in, std::uint32_t max_body) noexcept {
    if (in.size() < header_bytes) return need_more{header_bytes - in.size()};
    auto const header = parse_header(in.first<header_bytes>());
    if (!header) return errc::bad_frame_length;
    if (header->body_bytes > max_body) return errc::frame_too_large;
    std::size_t const whole = header_bytes + header->body_bytes;
    if (in.size() < whole) return need_more{whole - in.size()};
    return frame{header->type, in.subspan(header_bytes, header->body_bytes), in.first(whole)};
}

[[nodiscard]] constexpr bool is_frontend_type(char type) noexcept {
    switch (type) {
        case frontend::bind:
        case frontend::close:
        case frontend::copy_data:
        case frontend::copy_done:
        case frontend::copy_fail:
        case frontend::describe:
        case frontend::execute:
        case frontend::flush:
        case frontend::function_call:
        case frontend::parse:
        case frontend::password:
        case frontend::query:
        case frontend::sync:
        case frontend::terminate:
            return true;
    }
    return false;
}

[[nodiscard]] constexpr bool is_backend_type(char type) noexcept {
    switch (type) {
        case backend::authentication:
        case backend::backend_key_data:
        case backend::bind_complete:
        case backend::close_complete:
        case backend::command_complete:
        case backend::copy_both_response:
        case backend::copy_data:
        case backend::copy_done:
        case backend::copy_in_response:
        case backend::copy_out_response:
        case backend::data_row:
        case backend::empty_query_response:
        case backend::error_response:
        case backend::function_call_response:
        case backend::negotiate_protocol_version:
        case backend::no_data:
        case backend::notice_response:
        case backend::notification_response:
        case backend::parameter_description:
        case backend::parameter_status:
        case backend::parse_complete:
        case backend::portal_suspended:
        case backend::ready_for_query:
        case backend::row_description:
            return true;
    }
    return false;
}

}  // namespace lull::pg
