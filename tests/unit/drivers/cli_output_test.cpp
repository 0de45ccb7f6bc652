#include "proxy/cli_output.hpp"

#include <doctest/doctest.h>

using namespace lull;

TEST_CASE("what clients have said shows without what a terminal would obey") {
    CHECK(cli::printable("a\x1b[2Jb\x07\r\n\tc\x7f") == "a [2Jb    c ");
    CHECK(cli::printable("\xC2\x9B"
                         "31m") == " 31m");
    CHECK(cli::printable("\xE2\x82\xAC \xF0\x9F\x98\x80") == "\xE2\x82\xAC \xF0\x9F\x98\x80");
    // A lone byte of that range, and what is cut, too long, a surrogate, or beyond the last.
    for (char const* none :
         {"\x9B", "\xE2\x82", "\xC0\x9B", "\xE0\x82\x9B", "\xED\xA0\x80", "\xF4\x90\x80\x80"})
        CHECK(cli::printable(none).find_first_not_of("\xEF\xBF\xBD") == std::string::npos);
}

TEST_CASE("JSON shows without it, too, and means the same") {
    nlohmann::json const said = {{"statement", "x\x1b[2J\x7f\xC2\x9B\xE2\x82\xAC"}};
    std::string const text = cli::json_text(said);
    CHECK(text == "{\n  \"statement\": \"x\\u001b[2J\\u007f\\u009b\xE2\x82\xAC\"\n}");
    CHECK(nlohmann::json::parse(text) == said);
}

TEST_CASE("a line is cut to columns, never inside a character") {
    CHECK(cli::cut("abcdef", 6) == "abcdef");
    CHECK(cli::cut("abcdefg", 6) == "abc...");
    CHECK(cli::cut("\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC", 4) == "\xE2\x82\xAC...");
    CHECK(cli::cut("\xE6\xBC\xA2\xE6\xBC\xA2\xE6\xBC\xA2", 6) == "\xE6\xBC\xA2\xE6\xBC\xA2\xE6\xBC\xA2");
    CHECK(cli::cut("\xE6\xBC\xA2\xE6\xBC\xA2\xE6\xBC\xA2", 5) == "\xE6\xBC\xA2...");
    CHECK(cli::cut("abcdef", 2) == "..");
    CHECK(cli::cut("abcdef", 0).empty());
}

TEST_CASE("one is not many") {
    CHECK(cli::counted(1, "write") == "1 write");
    CHECK(cli::counted(0, "write") == "0 writes");
    CHECK(cli::counted(2, "write") == "2 writes");
}
