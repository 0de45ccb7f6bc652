#include "config/duration.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

using namespace lull::config;
using namespace std::chrono_literals;

namespace {

unit_error time_error(std::string_view text) {
    auto result = parse_duration(text);
    REQUIRE_MESSAGE(std::holds_alternative<unit_error>(result), text);
    return std::get<unit_error>(result);
}

unit_error size_error(std::string_view text) {
    auto result = parse_size(text);
    REQUIRE_MESSAGE(std::holds_alternative<unit_error>(result), text);
    return std::get<unit_error>(result);
}

}  // namespace

TEST_CASE("times are read as PostgreSQL writes them") {
    CHECK(std::get<milliseconds>(parse_duration("250ms")) == 250ms);
    CHECK(std::get<milliseconds>(parse_duration("30s")) == 30s);
    CHECK(std::get<milliseconds>(parse_duration("5min")) == 5min);
    CHECK(std::get<milliseconds>(parse_duration("2h")) == 2h);
    CHECK(std::get<milliseconds>(parse_duration("1d")) == 24h);
    CHECK(std::get<milliseconds>(parse_duration("3650d")) == 24h * 3650);
    CHECK(std::get<milliseconds>(parse_duration("0s")) == 0ms);
    CHECK(std::get<milliseconds>(parse_duration("30 s")) == 30s);
}

TEST_CASE("a time without a unit is refused and told what it could have meant") {
    auto const e = time_error("30");
    CHECK(e.message == "\"30\" has no unit");
    CHECK(e.fix.find("30s is seconds") != std::string::npos);
}

TEST_CASE("a time that cannot be read says what to write") {
    CHECK(time_error("5m").fix.find("5min") != std::string::npos);
    CHECK(time_error("10seconds").fix.find("10s?") != std::string::npos);
    CHECK(time_error("30S").fix.find("30s?") != std::string::npos);
    CHECK(time_error("1.5s").fix.find("1500ms") != std::string::npos);
    CHECK(time_error("3651d").message.find("too large") != std::string::npos);
    for (std::string_view text :
         {"", "s", "-1s", "abc", " 1s", "1s ", "1ss", "1us", "99999999999999999999999999d", "1 ", "0x10s"})
        CHECK_FALSE(time_error(text).fix.empty());
}

TEST_CASE("sizes are read as PostgreSQL writes them") {
    CHECK(std::get<std::size_t>(parse_size("512B")) == 512);
    CHECK(std::get<std::size_t>(parse_size("16kB")) == 16 * 1024);
    CHECK(std::get<std::size_t>(parse_size("64MB")) == 64u * 1024 * 1024);
    CHECK(std::get<std::size_t>(parse_size("2GB")) == 2ull << 30);
    CHECK(std::get<std::size_t>(parse_size("1TB")) == 1ull << 40);
    CHECK(std::get<std::size_t>(parse_size("1048576")) == 1u << 20);
    CHECK(std::get<std::size_t>(parse_size("0")) == 0);
}

TEST_CASE("a size that cannot be read says what to write") {
    CHECK(size_error("64mb").fix.find("64MB?") != std::string::npos);
    CHECK(size_error("64M").fix.find("64MB?") != std::string::npos);
    CHECK(size_error("16KiB").fix.find("16kB?") != std::string::npos);
    CHECK(size_error("1.5MB").fix.find("1536kB") != std::string::npos);
    CHECK(size_error("2000TB").message.find("too large") != std::string::npos);
    CHECK(size_error("18446744073709551616B").message.find("too large") != std::string::npos);
    for (std::string_view text : {"", "MB", "-1kB", "1 000", "1PB", "lots"})
        CHECK_FALSE(size_error(text).fix.empty());
}

TEST_CASE("what is formatted is read back as the same value") {
    for (std::int64_t ms :
         {0, 1, 250, 999, 1000, 1500, 60'000, 61'000, 90'000, 3'600'000, 86'400'000, 100'800'000})
        CHECK(std::get<milliseconds>(parse_duration(format_duration(milliseconds(ms)))) == milliseconds(ms));
    for (std::size_t bytes : {0ul, 1ul, 1023ul, 1024ul, 1025ul, 1048576ul, 1536ul, 1ul << 30, 3ul << 40})
        CHECK(std::get<std::size_t>(parse_size(format_size(bytes))) == bytes);
    CHECK(format_duration(60'000ms) == "1min");
    CHECK(format_duration(1500ms) == "1500ms");
    CHECK(format_duration(-1500ms) == "-1500ms");
    CHECK(format_size(65536) == "64kB");
    CHECK(format_size(1000) == "1000B");
}
