// Two texts with one key must have one verdict. The input is a text; its variants replace what the normaliser
// takes for constants by others, and a parser that never saw the key judges each.
#include "routing/sql_normalizer.hpp"

#include "routing/recent_shapes.hpp"
#include "routing/sql_classifier.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace lull::routing;

void require(bool fact) {
    if (!fact) std::abort();
}

std::string with_constants(std::string_view key, char const* number, char const* string) {
    std::string out;
    for (char c : key) {
        if (c == '\x01')
            out += number;
        else if (c == '\x02')
            out += string;
        else
            out += c;
    }
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    static sql_classifier judge(
        {.cache_entries = 4, .cache_bytes = 0, .cache_seed = 7});
    static sql_classifier warm({.cache_seed = 7});
    static std::vector<char> buffer(16 * 1024);
    std::string_view const sql(reinterpret_cast<char const*>(data), size);
    if (size > buffer.size()) return 0;
    scanned const scan = scan_sql(sql, buffer);
    require(scan.key_bytes <= sql.size());
    if (scan.form == key_form::none) return 0;
    require(!scan.dangerous);
    if (scan.form == key_form::same) {
        require(std::string_view(buffer.data(), scan.key_bytes) == sql);
        return 0;
    }
    std::string const key(buffer.data(), scan.key_bytes);
    for (int i = 0; i < 2; ++i) (void)warm.classify(sql);  // keeps its verdict under the key, where it may, then by its shape
    key_shape const shape(key);

    static constexpr char const* constants[][2] = {
        {"7", "'x'"}, {"0.5", "'it''s -- /* \" $$'"}, {"123456789012", "''"}};
    for (auto const& [number, string] : constants) {
        std::string const other = with_constants(key, number, string);
        for (std::string_view text : {sql, std::string_view(other)}) {
            if (!shape.fits(text)) continue;
            scanned const again = scan_sql(text, buffer);
            require(again.form != key_form::none && !again.dangerous);  // `same`: it has a blank where another has a comment
            require(std::string_view(buffer.data(), again.key_bytes) == key);
        }
        auto const parsed = judge.classify(other);
        // What does not parse changes nothing, whatever the cache says of it.
        if (parsed->why != why::syntax_error) require(*warm.classify(other) == *parsed);
    }
    return 0;
}
