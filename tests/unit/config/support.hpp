// What the tests of the configuration share.
#pragma once

#include "config/load.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace config_test {

/// The shortest one that works; most tests add to it.
inline constexpr std::string_view smallest =
    "listen: {postgres: 127.0.0.1:6432}\n"
    "clusters: {main: {primary: 127.0.0.1:5432, control: {user: lull}}}\n"
    "sites: {shop: {}}\n"
    "users: {app: {password: secret}}\n";

inline lull::config::config good(std::string_view text,
                                 std::vector<lull::config::warning>* warnings = nullptr) {
    auto result = lull::config::load_text("lull.yaml", text, warnings);
    if (auto* issues = std::get_if<std::vector<lull::config::issue>>(&result)) {
        for (auto const& i : *issues) MESSAGE(to_string(i));
        REQUIRE(issues->empty());
    }
    return std::get<lull::config::config>(std::move(result));
}

/// All issues; each must teach.
inline std::vector<lull::config::issue> bad(std::string_view text) {
    auto result = lull::config::load_text("lull.yaml", text);
    REQUIRE_MESSAGE(std::holds_alternative<std::vector<lull::config::issue>>(result), text);
    auto issues = std::get<std::vector<lull::config::issue>>(result);
    REQUIRE_FALSE(issues.empty());
    for (auto const& i : issues) {
        CHECK(i.file == "lull.yaml");
        CHECK_FALSE(i.message.empty());
        CHECK_MESSAGE(!i.fix.empty(), to_string(i));
    }
    return issues;
}

/// The only issue.
inline lull::config::issue one(std::string_view text) {
    auto issues = bad(text);
    if (issues.size() != 1)
        for (auto const& i : issues) MESSAGE(to_string(i));
    REQUIRE(issues.size() == 1);
    return issues.front();
}

inline bool has(std::string const& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

inline std::string operator+(std::string_view a, std::string const& b) {
    return std::string(a) + b;
}

}  // namespace config_test
