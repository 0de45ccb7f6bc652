// How bytes and text are named in this folder. Both are views: they live as long as the block they point
// into.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace lull::pg {

using bytes = std::span<std::byte const>;

inline std::string_view as_text(bytes b) noexcept {
    return {reinterpret_cast<char const*>(b.data()), b.size()};
}

inline bytes as_bytes(std::string_view text) noexcept {
    return {reinterpret_cast<std::byte const*>(text.data()), text.size()};
}

}  // namespace lull::pg
