#include "protocol/http/target.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace lull::http;

TEST_CASE("one path has one spelling, and a careless reading where there is one") {
    struct row {
        std::string text, path, query, careless;
    };
    std::vector<row> const rows = {
        {"/", "/", "", ""},
        {"/a/b", "/a/b", "", ""},
        {"/a//b///c", "/a/b/c", "", ""},
        {"/a/./b/.", "/a/b/", "", ""},
        {"/a/../b", "/b", "", ""},
        {"/../../b", "/b", "", ""},
        {"/a/b/..", "/a/", "", ""},
        {"/..", "/", "", ""},
        {"//", "/", "", ""},
        {"/a/%2e%2E/b", "/b", "", ""},
        {"/%7Eu/%61", "/~u/a", "", ""},
        {"/a%2fb", "/a%2Fb", "", "/a/b"},
        {"/a/..%2Fb", "/a/..%2Fb", "", "/b"},
        {"/a/..%5cb", "/a/..%5Cb", "", "/b"},
        {"/a\\..\\b", "/a\\..\\b", "", "/b"},
        {"/a/..;x=1/b", "/a/..;x=1/b", "", "/b"},
        {"/a;v=1/b", "/a;v=1/b", "", ""},
        {"/a..;x/b", "/a..;x/b", "", ""},
        {"/%252e%252e/b", "/%252e%252e/b", "", "/%2e%2e/b"},
        {"/\xc3\xa4?\xc3\xa4", "/%C3%A4", "?%C3%A4", "/\xc3\xa4"},
        {"/a?b/../c?d", "/a", "?b/../c?d", ""},
        {"/.../a", "/.../a", "", ""},
    };
    for (row const& r : rows) {
        CAPTURE(r.text);
        target t;
        REQUIRE(parse_target("GET", r.text, t) == errc::none);
        CHECK(t.path == r.path);
        CHECK(t.query == r.query);
        CHECK(t.careless_path == r.careless);
        // Normalising is done once and for all.
        target again;
        REQUIRE(parse_target("GET", t.path + t.query, again) == errc::none);
        CHECK(again.path == t.path);
        CHECK(again.query == t.query);
    }
}

TEST_CASE("forms of a target") {
    target t;
    CHECK(parse_target("GET", "http://A.example:80/x?y", t) == errc::none);
    CHECK(t.host == "a.example");
    CHECK(t.path == "/x");
    CHECK(t.query == "?y");
    CHECK(parse_target("GET", "HTTPS://a", t) == errc::none);
    CHECK(t.path == "/");
    CHECK(parse_target("GET", "http://a?q", t) == errc::none);
    CHECK(t.path == "/");
    CHECK(t.query == "?q");
    CHECK(parse_target("OPTIONS", "*", t) == errc::none);
    CHECK(parse_target("OPTIONS", "http://a", t) == errc::none);
    CHECK(t.path == "*");
    CHECK(parse_target("GET", "*", t) == errc::bad_target);
    CHECK(parse_target("GET", "ftp://a/", t) == errc::bad_target);
    CHECK(parse_target("GET", "http://u@a/", t) == errc::bad_target);
    CHECK(parse_target("GET", "http:///x", t) == errc::bad_target);
    CHECK(parse_target("GET", "a", t) == errc::bad_target);
    CHECK(parse_target("GET", "/%0", t) == errc::bad_target);
    CHECK(parse_target("GET", "/%0d", t) == errc::bad_target);
    CHECK(parse_target("CONNECT", "a:80", t) == errc::unsupported_method);
}

TEST_CASE("hosts") {
    std::string host;
    CHECK(normalise_host("Shop.Example.:8080", host));
    CHECK(host == "shop.example");
    CHECK(normalise_host("[2001:DB8::1]:80", host));
    CHECK(host == "[2001:db8::1]");
    CHECK(normalise_host("", host));
    CHECK(host.empty());
    for (std::string const bad : {"a b", "a/b", "a:b", "a:123456", "[::1", "[x]", "a,b", "u@a"})
        CHECK_FALSE(normalise_host(bad, host));
}
