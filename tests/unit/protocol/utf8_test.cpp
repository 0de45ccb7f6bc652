#include "protocol/utf8.hpp"

#include <doctest/doctest.h>

using namespace lull;

TEST_CASE("bytes that are no UTF-8 are replaced one by one, and nothing else is") {
    CHECK(as_utf8("") == "");
    CHECK(as_utf8("a\xc3\xa4\xf0\x9f\x98\x80z") == "a\xc3\xa4\xf0\x9f\x98\x80z");
    CHECK(as_utf8("M\xe4rz") == "M\xef\xbf\xbdrz");
    CHECK(as_utf8("\xed\xa0\x80") == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    CHECK(as_utf8(std::string_view("a\0\xc3", 3)) == std::string_view("a\0\xef\xbf\xbd", 5));
}

TEST_CASE("a text that was cut loses the piece of a character at its end") {
    std::string const text = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";  // of 1, 2, 3 and 4 bytes
    std::size_t const whole[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10};
    for (std::size_t n = 0; n <= text.size(); ++n) CHECK(whole_characters(text.substr(0, n)).size() == whole[n]);
    CHECK(whole_characters("\xa4\xa4\xa4\xa4") == "\xa4\xa4\xa4\xa4");
}
