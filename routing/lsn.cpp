#include "routing/lsn.hpp"

#include <array>
#include <charconv>
#include <cstdio>

namespace lull::routing {

std::optional<lsn> parse_lsn(std::string_view text) noexcept {
    auto const slash = text.find('/');
    if (slash == std::string_view::npos) return {};
    auto const half = [](std::string_view digits) -> std::optional<std::uint64_t> {
        if (digits.empty() || digits.size() > 8) return {};
        std::uint32_t value = 0;
        auto const [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
        if (error != std::errc{} || end != digits.data() + digits.size()) return {};
        return value;
    };
    auto const high = half(text.substr(0, slash));
    auto const low = half(text.substr(slash + 1));
    if (!high || !low) return {};
    return lsn{(*high << 32) | *low};
}

std::string format_lsn(lsn position) {
    auto const value = static_cast<std::uint64_t>(position);
    std::array<char, 24> text{};
    std::snprintf(text.data(), text.size(), "%X/%X", static_cast<unsigned>(value >> 32),
                  static_cast<unsigned>(value & 0xFFFFFFFFU));
    return text.data();
}

lsn without_page_header(lsn inserted, std::uint64_t segment_bytes, std::uint64_t block_bytes) noexcept {
    constexpr std::uint64_t short_header = 24;
    constexpr std::uint64_t long_header = 40;
    auto const value = static_cast<std::uint64_t>(inserted);
    if (block_bytes == 0 || segment_bytes == 0) return inserted;
    auto const in_page = value % block_bytes;
    bool const first_page = value % segment_bytes < block_bytes;
    return in_page == (first_page ? long_header : short_header) ? lsn{value - in_page} : inserted;
}

}  // namespace lull::routing
