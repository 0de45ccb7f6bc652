#include "protocol/http/head.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace lull::http;

namespace {

head_limits const limits;

/// As a session does it: scan what has come so far, parse when it is complete.
errc read(std::string const& bytes, request_head& out, std::size_t step = std::string::npos) {
    head_scanner scanner;
    for (std::size_t n = std::min(step, bytes.size());; n = std::min(n + step, bytes.size())) {
        auto const found = scanner.scan(std::string_view(bytes).substr(0, n), limits);
        if (auto const* e = std::get_if<errc>(&found)) return *e;
        if (auto const* size = std::get_if<std::size_t>(&found))
            return parse_request_head(std::string_view(bytes).substr(0, *size), limits, out);
        if (n == bytes.size()) return errc::none;
    }
}

errc read_response(std::string const& bytes, response_head& out, answered to = answered::other) {
    head_scanner scanner;
    auto const found = scanner.scan(bytes, limits);
    if (auto const* e = std::get_if<errc>(&found)) return *e;
    return parse_response_head(std::string_view(bytes).substr(0, std::get<std::size_t>(found)), limits, to,
                               out);
}

std::string get(std::string const& fields, std::string const& line = "GET / HTTP/1.1") {
    return line + "\r\nHost: a\r\n" + fields + "\r\n";
}

}  // namespace

TEST_CASE("a request head means the same at every split") {
    std::string const bytes =
        get("Content-Length: 12\r\nConnection: a, Upgrade\r\nUpgrade: websocket\r\nX: \t y z \t\r\n");
    for (std::size_t step = 1; step <= bytes.size(); ++step) {
        request_head head;
        REQUIRE(read(bytes, head, step) == errc::none);
        CHECK(head.method == "GET");
        CHECK(head.target == "/");
        CHECK(head.framing == framing::length);
        CHECK(head.content_length == 12);
        CHECK(head.upgrade == "websocket");
        CHECK(head.keep_alive);
        REQUIRE(head.fields.size() == 5);
        CHECK(head.fields[4].value == "y z");
    }
}

TEST_CASE("an error is found at every split, and is the same one") {
    struct row {
        std::string bytes;
        errc expected;
    };
    std::vector<row> const rows = {
        {get("A: b\r\n c\r\n"), errc::obsolete_folding},
        {get("A : b\r\n"), errc::bad_field_name},
        {get(": b\r\n"), errc::bad_field_name},
        {get("A\r\n"), errc::bad_field_name},
        {get("A: b\rc\r\n"), errc::bare_cr_or_lf},
        {get("A: b\nB: c\r\n"), errc::bare_cr_or_lf},
        {get("A: b\x01\r\n"), errc::bad_field_value},
        {get("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), errc::ambiguous_length},
        {get("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), errc::ambiguous_length},
        {get("Content-Length: 1\r\nContent-Length: 1\r\n"), errc::bad_content_length},
        {get("Content-Length: 1, 1\r\n"), errc::bad_content_length},
        {get("Content-Length: -1\r\n"), errc::bad_content_length},
        {get("Content-Length: 9223372036854775808\r\n"), errc::bad_content_length},
        {get("Transfer-Encoding: gzip, chunked\r\n"), errc::bad_transfer_coding},
        {get("Transfer-Encoding: chunked\r\n", "POST / HTTP/1.0"), errc::bad_transfer_coding},
        {get("Host: a\r\n"), errc::bad_host},
        {get("Expect: 200-ok\r\n"), errc::unsupported_expectation},
        {"GET / HTTP/1.1\r\n\r\n", errc::no_host},
        {get("", "GET / HTTP/1.2"), errc::unsupported_version},
        {get("", "GET / HTTP/1"), errc::bad_version},
        {get("", "GET  / HTTP/1.1"), errc::bad_target},
        {get("", "GET /"), errc::bad_start_line},
        {get("", "G[T / HTTP/1.1"), errc::bad_method},
        {get("", "GET /# HTTP/1.1"), errc::bad_target},
        {"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", errc::bad_start_line},
    };
    for (row const& r : rows) {
        CAPTURE(r.bytes);
        for (std::size_t step = 1; step <= r.bytes.size(); ++step) {
            request_head head;
            CHECK(read(r.bytes, head, step) == r.expected);
        }
    }
}

TEST_CASE("limits of a head") {
    request_head head;
    CHECK(read("GET /" + std::string(limits.target_bytes + 100, 'a'), head) == errc::target_too_long);
    // However it is cut: here it comes at once.
    head_scanner whole;
    CHECK(std::get<errc>(whole.scan(get("", "GET /" + std::string(limits.target_bytes + 100, 'a') + " HTTP/1.1"), limits)) ==
          errc::target_too_long);
    CHECK(read(get("", "GET /" + std::string(limits.target_bytes, 'a') + " HTTP/1.1"), head) ==
          errc::target_too_long);
    CHECK(read(get("A: " + std::string(limits.head_bytes, 'a')), head) == errc::head_too_large);
    std::string many;
    for (std::size_t i = 0; i < limits.fields; ++i) many += "A: b\r\n";
    CHECK(read(get(many), head) == errc::too_many_fields);
    CHECK(read(get(many.substr(6)), head) == errc::none);
}

TEST_CASE("connections live and end as each version says") {
    request_head head;
    REQUIRE(read(get("Connection: close\r\n"), head) == errc::none);
    CHECK_FALSE(head.keep_alive);
    REQUIRE(read(get("", "GET / HTTP/1.0"), head) == errc::none);
    CHECK_FALSE(head.keep_alive);
    std::string const text = get("Connection: x\r\nConnection: Keep-Alive\r\n", "GET / HTTP/1.0");
    REQUIRE(read(text, head) == errc::none);
    CHECK(head.keep_alive);
    CHECK(is_listed(head.connections, "X"));  // views into the text
}

TEST_CASE("names that CGI would fold to ours are disguised, not ours") {
    for (std::string const name :
         {"X_Forwarded_For", "X-Read_Only-Mode", "Content_Length", "Transfer.Encoding"}) {
        bool disguised = false;
        CHECK(identify(name, disguised) != field_id::other);
        CHECK(disguised);
    }
    bool disguised = true;
    CHECK(identify("X_Mine", disguised) == field_id::other);
    CHECK_FALSE(disguised);
    request_head head;
    REQUIRE(read(get("Content_Length: 5\r\nTransfer_Encoding: chunked\r\n"), head) == errc::none);
    CHECK(head.framing == framing::none);
}

TEST_CASE("how a response ends") {
    response_head head;
    REQUIRE(read_response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", head) == errc::none);
    CHECK(head.framing == framing::length);
    REQUIRE(read_response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", head, answered::head) ==
            errc::none);
    CHECK(head.framing == framing::none);
    CHECK(head.has_length);
    REQUIRE(read_response("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", head) == errc::none);
    CHECK(head.framing == framing::none);
    REQUIRE(read_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", head) == errc::none);
    CHECK(head.framing == framing::chunked);
    REQUIRE(read_response("HTTP/1.1 200\r\n\r\n", head) == errc::none);
    CHECK(head.framing == framing::until_close);
    CHECK_FALSE(head.keep_alive);
    for (std::string const bad : {"HTTP/1.1 99 X\r\n\r\n", "HTTP/1.1 600 X\r\n\r\n", "HTTP/1.1 20x X\r\n\r\n",
                                  "HTTP/1.1 2000\r\n\r\n", "HTTP/2 200 OK\r\n\r\n",
                                  "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                                  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"})
        CHECK(read_response(bad, head) != errc::none);
}
