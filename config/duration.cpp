#include "config/duration.hpp"

#include "config/issue.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace lull::config {
namespace {

struct unit {
    std::string_view name;
    std::uint64_t factor;
};

constexpr std::array<unit, 5> times{
    {{"ms", 1}, {"s", 1000}, {"min", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
constexpr std::array<unit, 5> sizes{
    {{"B", 1}, {"kB", 1ull << 10}, {"MB", 1ull << 20}, {"GB", 1ull << 30}, {"TB", 1ull << 40}}};
constexpr std::uint64_t greatest_time = 3650 * 86'400'000ull;
constexpr std::uint64_t greatest_size = 1ull << 50;

constexpr bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

constexpr char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// What people write elsewhere; never accepted, only understood for the hint.
std::string_view meant(std::string_view typed, bool time) {
    std::string small;
    for (char c : typed) small += lower(c);
    struct alias {
        std::string_view typed, meant;
    };
    static constexpr std::array<alias, 18> time_aliases{{{"sec", "s"},
                                                         {"secs", "s"},
                                                         {"second", "s"},
                                                         {"seconds", "s"},
                                                         {"m", "min"},
                                                         {"mins", "min"},
                                                         {"min", "min"},
                                                         {"minute", "min"},
                                                         {"minutes", "min"},
                                                         {"hr", "h"},
                                                         {"hour", "h"},
                                                         {"hours", "h"},
                                                         {"day", "d"},
                                                         {"days", "d"},
                                                         {"msec", "ms"},
                                                         {"millis", "ms"},
                                                         {"ms", "ms"},
                                                         {"s", "s"}}};
    static constexpr std::array<alias, 14> size_aliases{{{"b", "B"},
                                                         {"k", "kB"},
                                                         {"kb", "kB"},
                                                         {"kib", "kB"},
                                                         {"m", "MB"},
                                                         {"mb", "MB"},
                                                         {"mib", "MB"},
                                                         {"g", "GB"},
                                                         {"gb", "GB"},
                                                         {"gib", "GB"},
                                                         {"t", "TB"},
                                                         {"tb", "TB"},
                                                         {"bytes", "B"},
                                                         {"tib", "TB"}}};
    if (time) {
        for (auto const& a : time_aliases)
            if (a.typed == small) return a.meant;
    } else {
        for (auto const& a : size_aliases)
            if (a.typed == small) return a.meant;
    }
    return {};
}

std::variant<std::uint64_t, unit_error> parse(std::string_view text, std::array<unit, 5> const& units,
                                              bool time, std::uint64_t greatest) {
    std::string const what = time ? "time" : "size";
    std::string const list = time ? "ms, s, min, h or d" : "B, kB, MB, GB or TB";
    std::string const sample = time ? "30s or 5min" : "16kB or 64MB";
    std::size_t digits = 0;
    std::uint64_t number = 0;
    bool overflow = false;
    while (digits < text.size() && is_digit(text[digits])) {
        number = number * 10 + static_cast<std::uint64_t>(text[digits] - '0');
        // Stop growing long before 64 bits are full: no limit of ours is near.
        if (number > greatest) {
            overflow = true;
            number = greatest;
        }
        ++digits;
    }
    if (digits == 0)
        return unit_error{shown(text) + " is not a " + what,
                          "write a whole number and a unit (" + list + "), as in " + sample};
    auto name = text.substr(digits);
    while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
    if (!name.empty() && (name.front() == '.' || name.front() == ','))
        return unit_error{shown(text) + " is not a whole number",
                          std::string("use a smaller unit: ") +
                              (time ? "1500ms instead of 1.5s" : "1536kB instead of 1.5MB")};
    if (name.empty() && !time) name = "B";
    auto const number_text = std::string(text.substr(0, digits < 20 ? digits : 20));
    if (name.empty())
        return unit_error{shown(text) + " has no unit", "say what it counts: " + number_text +
                                                            "s is seconds, " + number_text + "min minutes, " +
                                                            number_text + "ms milliseconds (also h and d)"};
    for (auto const& u : units) {
        if (u.name != name) continue;
        if (overflow || number > greatest / u.factor)
            return unit_error{shown(text) + " is too large",
                              std::string("the greatest ") + what + " is " + (time ? "3650d" : "1024TB")};
        return number * u.factor;
    }
    auto const hint = meant(name, time);
    return unit_error{shown(name) + " is not a unit of " + what,
                      hint.empty()
                          ? "the units are " + list + " (case matters), as in " + sample
                          : "did you mean " + number_text + std::string(hint) + "? The units are " + list};
}

std::string format(std::uint64_t value, std::array<unit, 5> const& units, std::string_view zero) {
    if (value == 0) return std::string(zero);
    unit best = units.front();
    for (auto const& u : units)
        if (value % u.factor == 0) best = u;
    return std::to_string(value / best.factor) + std::string(best.name);
}

}  // namespace

std::variant<milliseconds, unit_error> parse_duration(std::string_view text) {
    auto result = parse(text, times, true, greatest_time);
    if (auto* error = std::get_if<unit_error>(&result)) return std::move(*error);
    return milliseconds(static_cast<milliseconds::rep>(std::get<std::uint64_t>(result)));
}

std::string format_duration(milliseconds value) {
    // Never made by the loader; still told truly rather than as a huge unsigned number.
    if (value.count() < 0) return "-" + format(0 - static_cast<std::uint64_t>(value.count()), times, "0s");
    return format(static_cast<std::uint64_t>(value.count()), times, "0s");
}

std::variant<std::size_t, unit_error> parse_size(std::string_view text) {
    auto result = parse(text, sizes, false, greatest_size);
    if (auto* error = std::get_if<unit_error>(&result)) return std::move(*error);
    return static_cast<std::size_t>(std::get<std::uint64_t>(result));
}

std::string format_size(std::size_t bytes) {
    return format(bytes, sizes, "0B");
}

}  // namespace lull::config
