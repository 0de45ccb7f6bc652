#include "protocol/http/problem.hpp"
#include "protocol/http/writer.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>

using namespace lull::http;

namespace {

answer_format choose(std::string const& fields) {
    std::string const bytes = "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
    request_head head;
    REQUIRE(parse_request_head(bytes, {}, head) == errc::none);
    return choose_format(head);
}

}  // namespace

TEST_CASE("people get a page, programs a document") {
    CHECK(choose("") == answer_format::problem);
    CHECK(choose("Accept: */*\r\n") == answer_format::problem);
    CHECK(choose("Accept: text/html\r\n") == answer_format::page);
    CHECK(choose("Accept: text/html;q=0\r\n") == answer_format::problem);
    CHECK(choose("Accept: application/json, text/html;q=0.9\r\n") == answer_format::problem);
    CHECK(choose("Accept: application/json;q=0.1, text/html;level=1; q=0.9\r\n") == answer_format::page);
    CHECK(choose("Accept: text/html\r\nSec-Fetch-Mode: cors\r\n") == answer_format::problem);
    CHECK(choose("Sec-Fetch-Mode: navigate\r\n") == answer_format::page);
}

TEST_CASE("nothing that is told can break out of its quotes") {
    std::string out;
    append_json_string(out, std::string("a\"\\\n\0\x7f\xc3\xa4\xff\xc0\xaf\xed\xa0\x80\xf0\x9f\x98\x80", 18));
    CHECK(
        out ==
        "\"a\\\"\\\\\\u000a\\u0000\x7f\xc3\xa4\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\xf0\x9f\x98\x80\"");
    problem p;
    p.code = "x";
    p.title = "<t>";
    p.detail = "\"&'";
    CHECK(problem_page(p).find("<t>") == std::string::npos);
    CHECK(problem_page(p).find("&quot;&amp;&#39;") != std::string::npos);
    CHECK(problem_document(p).find("\"detail\":\"\\\"&'\"") != std::string::npos);
}

TEST_CASE("dates") {
    auto const t = std::chrono::system_clock::from_time_t(784111777);
    CHECK(format_http_date(t) == "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(format_rfc3339(t) == "1994-11-06T08:49:37Z");
}
