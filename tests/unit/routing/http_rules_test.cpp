#include "routing/http_rules.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace lull;
using routing::http_verdict;
using routing::mode;

TEST_CASE("globs") {
    struct row {
        std::string pattern, path;
        bool matches;
    };
    std::vector<row> const rows = {
        {"/a", "/a", true},
        {"/a", "/ab", false},
        {"/a", "/a/", false},
        {"/*", "/a", true},
        {"/*", "/", true},
        {"/*", "/a/b", false},
        {"/a*c", "/abbc", true},
        {"/a*c", "/a/c", false},
        {"/*a*b*", "/xaxbx", true},
        {"/*a*b*", "/xbxax", false},
        {"/a/**", "/a/b/c", true},
        {"/a/**", "/a/", true},
        {"/a/**", "/a", false},
        {"/**", "/", true},
        {"/**", "/a/b", true},
        {"/**/x", "/x", true},
        {"/**/x", "/a/b/x", true},
        {"/**/x", "/a/bx", false},
        {"/a/**/b", "/a/b", true},
        {"/a/**/b/**/c", "/a/x/b/y/z/c", true},
        {"/a/**/b/c", "/a/b/b/c", true},
        {"/a/**/b", "/a/b/c", false},
        {"", "", true},
        {"**", "anything", true},
    };
    for (row const& r : rows) {
        CAPTURE(r.pattern);
        CAPTURE(r.path);
        CHECK(routing::glob_matches(r.pattern, r.path) == r.matches);
    }
}

TEST_CASE("a hostile path costs no more than its length allows") {
    std::string path;
    for (int i = 0; i < 8000; ++i) path += "/a";
    CHECK_FALSE(routing::glob_matches("/**/*a*a*a/**/*a*a*b/**/a/**/b", path));
    CHECK_FALSE(routing::glob_matches("/*a*a*a*a*a*a*b", "/" + std::string(16000, 'a')));
}

TEST_CASE("what passes in which mode") {
    config::site site;
    site.http_rules = {{{"POST"}, "/search", true},
                       {{}, "/admin/**", false},
                       {{"PUT"}, "/search", true},
                       {{"PUT"}, "/**", false}};
    auto const judged = [&](std::string_view method, std::string_view path, mode m,
                            std::string_view override_name = {}, std::string_view careless = {}) {
        return routing::judge({method, override_name, path, careless}, site, m);
    };
    for (mode const m : {mode::draining, mode::sealed, mode::reopening}) {
        CHECK(judged("GET", "/x", m) == http_verdict::pass);
        CHECK(judged("QUERY", "/x", m) == http_verdict::pass);
        CHECK(judged("get", "/x", m) == http_verdict::refuse);
        CHECK(judged("POST", "/x", m) == http_verdict::refuse);
        CHECK(judged("POST", "/search", m) == http_verdict::pass);
        CHECK(judged("PUT", "/search", m) == http_verdict::pass);
        CHECK(judged("PUT", "/other", m) == http_verdict::refuse);
        CHECK(judged("GET", "/admin/x", m) == http_verdict::refuse);
        CHECK(judged("GET", "/x", m, "DELETE") == http_verdict::refuse);
        CHECK(judged("POST", "/search", m, "DELETE") == http_verdict::refuse);
        CHECK(judged("POST", "/search", m, "GET") == http_verdict::pass);
        CHECK(judged("POST", "/x", m, "GET") == http_verdict::refuse);
        CHECK(judged("POST", "/search", m, {}, "/write") == http_verdict::refuse);
        CHECK(judged("GET", "/x", m, {}, "/admin/x") == http_verdict::refuse);
    }
    CHECK(judged("POST", "/x", mode::read_write) == http_verdict::write);
    CHECK(judged("POST", "/search", mode::read_write) == http_verdict::pass);
    CHECK(judged("GET", "/admin/x", mode::read_write) == http_verdict::pass);
    CHECK(judged("POST", "/admin/x", mode::read_write) == http_verdict::write);

    site.writes = config::write_policy::hold;
    CHECK(judged("POST", "/x", mode::sealed) == http_verdict::write);
    CHECK(judged("PUT", "/x", mode::sealed) == http_verdict::refuse);
    CHECK(judged("GET", "/admin/x", mode::sealed) == http_verdict::refuse);
    CHECK(judged("GET", "/x", mode::sealed) == http_verdict::pass);
}
