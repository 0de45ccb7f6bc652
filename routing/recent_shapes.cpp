#include "routing/recent_shapes.hpp"

#include "routing/sql_normalizer.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace lull::routing {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Behind a number of the text at `at`; null: there is none. What follows it has to be what follows it in the key, where
/// nothing stands that could go on being a number.
char const* behind_number(char const* at, char const* end) {
    char const* const begin = at;
    while (at != end && is_digit(*at)) ++at;
    if (at == begin) return nullptr;
    if (end - at < 2 || *at != '.' || !is_digit(at[1])) return at;
    for (++at; at != end && is_digit(*at); ++at) {}
    return at;
}

/// Behind a string without escapes; null: there is none, or it has a NUL.
char const* behind_string(char const* at, char const* end) {
    if (at == end || *at != '\'') return nullptr;
    ++at;
    auto const* const close = static_cast<char const*>(std::memchr(at, '\'', static_cast<std::size_t>(end - at)));
    if (!close || std::memchr(at, '\0', static_cast<std::size_t>(close - at))) return nullptr;
    return close + 1;
}

}  // namespace

key_shape::key_shape(std::string_view key) : key_(key) {
    for (std::size_t i = 0; i < key.size(); ++i)
        if (key[i] == number_mark || key[i] == string_mark) marks_.push_back(static_cast<std::uint16_t>(i));
}

bool key_shape::fits(std::string_view sql) const {
    char const* at = sql.data();
    char const* const end = at + sql.size();
    std::size_t begin = 0;  // of what stands between constants, in the key
    auto const same = [&](std::size_t bytes) {
        if (static_cast<std::size_t>(end - at) < bytes || std::memcmp(at, key_.data() + begin, bytes) != 0) return false;
        at += bytes;
        return true;
    };
    for (std::size_t const mark : marks_) {
        if (!same(mark - begin)) return false;
        at = key_[mark] == number_mark ? behind_number(at, end) : behind_string(at, end);
        if (!at) return false;
        begin = mark + 1;
    }
    return same(key_.size() - begin) && at == end;
}

/// By how it begins. (Nothing depends on it but how often it is found.)
std::size_t recent_shapes::place_of(std::string_view sql) {
    auto const load = [&](std::size_t at) {
        std::uint64_t word;
        std::memcpy(&word, sql.data() + at, sizeof word);
        return word;
    };
    std::uint64_t const word = (load(0) ^ load(8) * 0x9e3779b97f4a7c15) + (load(16) ^ load(24) * 0xd6e8feb86659fd93);
    return (word * 0x9e3779b97f4a7c15) >> 59;
}

void recent_shapes::remember(std::string_view sql, std::string_view key, verdict const& value) {
    if (sql.size() < least_bytes || key.size() > most_key_bytes) return;
    auto& here = entries_[place_of(sql)];
    auto at = std::ranges::find_if(here, [](entry const& e) { return !e.value; });
    if (at == here.end()) {
        if (++turn_ % 8 != 0) return;
        at = here.begin() + turn_ / 8 % here.size();
    }
    if (sql.find("/*") != std::string_view::npos) return;  // a comment is a blank in the key, and not found by comparing
    key_shape shape(key);
    if (!shape.fits(sql)) return;
    *at = {std::move(shape), value};
}

}  // namespace lull::routing
