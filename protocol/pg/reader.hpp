// Takes a body apart field by field. After the first field that does not fit everything reads as zero or
// empty and finished() is false, so that a parser checks once, at its end. Its views point into the body.
#pragma once

#include "protocol/pg/bytes.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace lull::pg {

class reader {
  public:
    explicit reader(bytes body) noexcept : rest_(body) {}

    /// Every field fitted so far.
    [[nodiscard]] bool good() const noexcept { return good_; }
    /// Every field fitted, and nothing is left over.
    [[nodiscard]] bool finished() const noexcept { return good_ && rest_.empty(); }
    [[nodiscard]] bytes rest() const noexcept { return rest_; }

    char byte() noexcept {
        bytes const b = take(1);
        return b.empty() ? '\0' : static_cast<char>(b[0]);
    }
    std::uint16_t uint16() noexcept { return static_cast<std::uint16_t>(big_endian(take(2))); }
    std::uint32_t uint32() noexcept { return big_endian(take(4)); }
    std::int32_t int32() noexcept { return static_cast<std::int32_t>(uint32()); }

    bytes take(std::size_t count) noexcept {
        if (rest_.size() < count) return fail();
        bytes const taken = rest_.first(count);
        rest_ = rest_.subspan(count);
        return taken;
    }

    /// Up to a NUL, which is taken too.
    std::string_view text() noexcept {
        void const* const nul = rest_.empty() ? nullptr : std::memchr(rest_.data(), 0, rest_.size());
        if (nul == nullptr) return as_text(fail());
        auto const length = static_cast<std::size_t>(static_cast<std::byte const*>(nul) - rest_.data());
        return as_text(take(length + 1).first(length));
    }

  private:
    static std::uint32_t big_endian(bytes digits) noexcept {
        std::uint32_t value = 0;
        for (std::byte const digit : digits) value = value << 8 | std::to_integer<std::uint32_t>(digit);
        return value;
    }

    bytes fail() noexcept {
        good_ = false;
        rest_ = {};
        return {};
    }

    bytes rest_;
    bool good_ = true;
};

}  // namespace lull::pg
