#include "protocol/proxy_header.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace lull;

namespace {

proxy_header_result parse(std::string_view text) {
    return parse_proxy_header({reinterpret_cast<std::byte const*>(text.data()), text.size()});
}

proxy_header good(std::string_view text) {
    auto const result = parse(text);
    REQUIRE(std::holds_alternative<proxy_header>(result));
    // Every cut waits for more.
    auto const header = std::get<proxy_header>(result);
    for (std::size_t i = 0; i < header.bytes; ++i)
        CHECK(std::holds_alternative<need_more>(parse(text.substr(0, i))));
    return header;
}

bool bad(std::string_view text) {
    auto const result = parse(text);
    return std::holds_alternative<errc>(result);
}

std::string v2(char command, char family, std::string_view body) {
    std::string out("\r\n\r\n\0\r\nQUIT\n", 12);
    out += command;
    out += family;
    out += static_cast<char>(body.size() >> 8);
    out += static_cast<char>(body.size() & 255);
    return out.append(body);
}

}  // namespace

TEST_CASE("PROXY protocol, version 1") {
    auto const v4 = good("PROXY TCP4 192.0.2.7 10.0.0.1 56324 6432\r\nrest");
    CHECK(v4.host == "192.0.2.7");
    CHECK(v4.port == 56324);
    CHECK(v4.bytes == 42);
    CHECK(good("PROXY TCP6 2001:db8::7 ::1 1 65535\r\n").host == "2001:db8::7");
    CHECK(good("PROXY UNKNOWN\r\n").host.empty());
    CHECK(good("PROXY UNKNOWN ffff::1 whatever it says\r\n").host.empty());
}

TEST_CASE("PROXY protocol, version 1, as it must not be") {
    for (std::string_view const text :
         {"GET / HTTP/1.1\r\n", "PROXx", "proxy TCP4", "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
          "PROXY TCP4 1.2.3.4\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
          "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n",
          "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n",
          "PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n", "PROXY TCP4 host 1.2.3.4 1 1\r\n",
          "PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n\r\n", "PROXY \r\n"}) {
        CAPTURE(text);
        CHECK(bad(text));
    }
    CHECK(bad("PROXY UNKNOWN " + std::string(100, 'x')));  // 107 bytes without an end
}

TEST_CASE("PROXY protocol, version 2") {
    std::string const v4("\xC0\x00\x02\x07\x0A\x00\x00\x01\xDC\x04\x19\x20", 12);
    auto const header = good(v2(0x21, 0x11, v4) + "rest");
    CHECK(header.host == "192.0.2.7");
    CHECK(header.port == 56324);
    CHECK(header.bytes == 28);
    CHECK(good(v2(0x21, 0x11, v4 + std::string(100, 't'))).host == "192.0.2.7");  // more behind it
    std::string v6(36, '\0');
    v6[0] = 0x20;
    v6[1] = 0x01;
    v6[15] = 7;
    v6[33] = 9;
    CHECK(good(v2(0x21, 0x21, v6)).host == "2001:0:0:0:0:0:0:7");
    CHECK(good(v2(0x21, 0x21, v6)).port == 9);
    CHECK(good(v2(0x20, 0x11, v4)).host.empty());  // LOCAL
    CHECK(good(v2(0x20, 0x00, "")).host.empty());
    CHECK(good(v2(0x21, 0x00, "")).host.empty());
    CHECK(good(v2(0x21, 0x31, std::string(216, 'u'))).host.empty());
}

TEST_CASE("PROXY protocol, version 2, as it must not be") {
    std::string const v4(12, '\1');
    CHECK(bad(v2(0x11, 0x11, v4)));  // version 1 in the form of 2
    CHECK(bad(v2(0x22, 0x11, v4)));  // no such command
    CHECK(bad(v2(0x21, 0x12, v4)));  // UDP
    CHECK(bad(v2(0x21, 0x11, v4.substr(1))));
    CHECK(bad(v2(0x21, 0x21, std::string(35, '\1'))));
    CHECK(bad(v2(0x21, 0x11, std::string(max_proxy_extra_bytes + 1, '\1')).substr(0, 16)));  // known at once
    CHECK(bad("\r\n\r\nX"));
}
