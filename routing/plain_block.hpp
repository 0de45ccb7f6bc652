// Sixteen bytes of a statement at once: how many of them are names, blanks and the punctuation between names, which a scan
// copies without a look at each. Most bytes of most statements are. Pure.
#pragma once

#include <bit>
#include <cstddef>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace lull::routing {

#ifdef __SSE2__

inline constexpr std::size_t plain_block = 16;

/// Copies the 16 bytes at `in` to `out` and says how many of them, from the first, are plain: letters, '_' and bytes of 0x80
/// and above; digits and '$' behind one of those; blank, tab, newline, form feed, return, ',', ';', '(' and ')'.
/// inside_name: whether the byte before is of a name; then, whether the last of the plain ones is.
inline std::size_t copy_plain(char const* in, char* out, bool& inside_name) {
    auto const all = [](char c) { return _mm_set1_epi8(c); };
    __m128i const bytes = _mm_loadu_si128(reinterpret_cast<__m128i const*>(in));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
    // Whether v is one of `width` + 1 values from `low`, by a subtraction that wraps.
    auto const within = [&](__m128i v, char low, char width) {
        __m128i const from_low = _mm_sub_epi8(v, all(low));
        return _mm_cmpeq_epi8(_mm_min_epu8(from_low, all(width)), from_low);
    };
    auto const is = [&](char c) { return _mm_cmpeq_epi8(bytes, all(c)); };
    auto const mask = [](__m128i v) { return static_cast<unsigned>(_mm_movemask_epi8(v)); };
    __m128i const letters = _mm_or_si128(within(_mm_or_si128(bytes, all(0x20)), 'a', 25), is('_'));
    __m128i const controls = _mm_andnot_si128(is('\v'), within(bytes, '\t', 4));
    __m128i const punctuation = _mm_or_si128(_mm_or_si128(is(','), is(';')), within(bytes, '(', 1));
    unsigned const begins = mask(letters) | mask(bytes);  // the mask of the bytes themselves is of their highest bits
    unsigned const goes_on = mask(_mm_or_si128(within(bytes, '0', 9), is('$')));
    unsigned const apart = mask(_mm_or_si128(_mm_or_si128(controls, is(' ')), punctuation));
    unsigned const name = begins | goes_on;
    unsigned const begins_wrong = goes_on & ~(name << 1 | (inside_name ? 1U : 0U));
    unsigned const stops = begins_wrong | ~(name | apart) | 1U << plain_block;
    auto const plain = static_cast<std::size_t>(std::countr_zero(stops));
    if (plain > 0) inside_name = (name >> (plain - 1) & 1U) != 0;
    return plain;
}

#endif

}  // namespace lull::routing
