#include "protocol/http/body.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace lull::http;

namespace {

body_limits const limits;

struct result {
    std::string data, trailers;
    std::string rest;  // behind the end
    bool ended = false;
    errc error = errc::none;
    friend bool operator==(result const&, result const&) = default;
};

/// Input comes in pieces of `step`; what is not consumed is seen again together with the next piece.
result read(body_reader reader, std::string const& in, std::size_t step) {
    result r;
    std::string held;
    for (std::size_t at = 0; at <= in.size();) {
        std::size_t const n = std::min(step, in.size() - at);
        held += in.substr(at, n);
        at += n;
        while (true) {
            body_step const s = reader.next(held, limits);
            if (s.what == body_step::kind::data) r.data += s.data;
            if (s.what == body_step::kind::trailer)
                r.trailers += std::string(s.trailer.name) + "=" + std::string(s.trailer.value) + ";";
            r.error = s.error;
            held.erase(0, s.consumed);
            if (s.what == body_step::kind::end) {
                r.ended = true;
                r.rest = held + in.substr(at);
                return r;
            }
            if (s.what == body_step::kind::error) return r;
            if (s.what == body_step::kind::need_more) break;
        }
        if (at == in.size()) break;
    }
    return r;
}

}  // namespace

TEST_CASE("bodies end where they end, at every split") {
    struct row {
        framing how;
        std::uint64_t length;
        std::string in;
        result expected;
    };
    std::vector<row> const rows = {
        {framing::none, 0, "next", {"", "", "next", true, errc::none}},
        {framing::length, 5, "hellonext", {"hello", "", "next", true, errc::none}},
        {framing::length, 9, "hello", {"hello", "", "", false, errc::none}},
        {framing::until_close, 0, "hello", {"hello", "", "", false, errc::none}},
        {framing::chunked, 0, "5\r\nhello\r\n0\r\n\r\nnext", {"hello", "", "next", true, errc::none}},
        {framing::chunked,
         0,
         "5;a=b\r\nhello\r\n00A;\"x\"\r\n0123456789\r\n000\r\nA: b\r\nC:\td \r\n\r\n",
         {"hello0123456789", "A=b;C=d;", "", true, errc::none}},
        {framing::chunked, 0, "5\r\nhel", {"hel", "", "", false, errc::none}},
        {framing::chunked, 0, "x\r\n", {"", "", "", false, errc::bad_chunk}},
        {framing::chunked, 0, "5\r\nhelloXX", {"hello", "", "", false, errc::bad_chunk}},
        {framing::chunked, 0, "5\r\nhello\rX", {"hello", "", "", false, errc::bad_chunk}},
        {framing::chunked, 0, "5 \r\nhello", {"", "", "", false, errc::bad_chunk}},
        {framing::chunked, 0, "5\nhello", {"", "", "", false, errc::bad_chunk}},
        {framing::chunked, 0, "1000000000000000\r\n", {"", "", "", false, errc::bad_chunk}},
        {framing::chunked,
         0,
         "5;" + std::string(300, 'a'),
         {"", "", "", false, errc::chunk_extensions_too_long}},
        {framing::chunked, 0, "0\r\n a: b\r\n\r\n", {"", "", "", false, errc::bad_trailer}},
        {framing::chunked,
         0,
         "0\r\nA: " + std::string(5000, 'b') + "\r\n\r\n",
         {"", "", "", false, errc::trailer_too_long}},
    };
    for (row const& r : rows) {
        CAPTURE(r.in);
        for (std::size_t step = 1; step <= r.in.size(); ++step)
            CHECK(read({r.how, r.length}, r.in, step) == r.expected);
    }
}

TEST_CASE("floods of extensions and trailers are bounded") {
    std::string many;
    for (int i = 0; i < 100; ++i) many += "1;" + std::string(200, 'a') + "\r\nx\r\n";
    CHECK(read({framing::chunked, 0}, many, many.size()).error == errc::chunk_extensions_too_long);
    std::string trailers = "0\r\n";
    for (int i = 0; i < 40; ++i) trailers += "A: b\r\n";
    CHECK(read({framing::chunked, 0}, trailers, trailers.size()).error == errc::trailer_too_long);
}
