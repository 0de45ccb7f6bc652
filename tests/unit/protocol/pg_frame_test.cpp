#include "protocol/pg/frame.hpp"
#include "tests/unit/protocol/pg_bytes.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace lull;
using namespace lull::pg;

namespace {

frame_result first_frame(std::string_view text, std::uint32_t max_body = 1000) {
    return next_frame(as_bytes(text), max_body);
}

}  // namespace

TEST_CASE("a frame is its type, its body and the whole of it") {
    auto const text = wire("Q\0\0\0\x0dselect 1\0Z");
    auto const result = first_frame(text);
    REQUIRE(std::holds_alternative<frame>(result));
    auto const& f = std::get<frame>(result);
    CHECK(f.type == 'Q');
    CHECK(as_text(f.body) == wire("select 1\0"));
    CHECK(as_text(f.whole) == text.substr(0, text.size() - 1));
}

TEST_CASE("a frame may be empty") {
    auto const result = first_frame(wire("S\0\0\0\x04"));
    REQUIRE(std::holds_alternative<frame>(result));
    CHECK(std::get<frame>(result).body.empty());
    CHECK(std::get<frame>(result).whole.size() == header_bytes);
}

TEST_CASE("a frame that is cut anywhere says how much is missing") {
    auto const text = wire("Q\0\0\0\x0dselect 1\0");
    for_each_truncation(text, [&](bytes cut) {
        auto const result = next_frame(cut, 1000);
        REQUIRE(std::holds_alternative<need_more>(result));
        std::size_t const wanted = cut.size() < header_bytes ? header_bytes : text.size();
        CHECK(std::get<need_more>(result).bytes == wanted - cut.size());
    });
}

TEST_CASE("lengths out of bounds are errors as soon as the header is there") {
    CHECK(std::get<errc>(first_frame(wire("Q\0\0\0\x03"))) == errc::bad_frame_length);
    CHECK(std::get<errc>(first_frame(wire("Q\0\0\0\0"))) == errc::bad_frame_length);
    CHECK(std::get<errc>(first_frame(wire("Q\x40\0\0\0"))) == errc::bad_frame_length);
    CHECK(std::get<errc>(first_frame(wire("Q\x80\0\0\0"))) == errc::bad_frame_length);
    CHECK(std::get<errc>(first_frame(wire("Q\xff\xff\xff\xff"))) == errc::bad_frame_length);
    CHECK(std::get<errc>(first_frame("GET / HTTP/1.1\r\n")) == errc::bad_frame_length);
}

TEST_CASE("the limit counts the body, to the byte") {
    auto const text = wire(
        "d\0\0\0\x07"
        "abc");
    CHECK(std::holds_alternative<frame>(first_frame(text, 3)));
    CHECK(std::get<errc>(first_frame(text, 2)) == errc::frame_too_large);
    CHECK(std::get<errc>(first_frame(text.substr(0, header_bytes), 2)) == errc::frame_too_large);
}

TEST_CASE("a header is read without its body") {
    exact const longest(wire("D\x3f\xff\xff\xff"));
    CHECK(parse_header(longest.view().first<header_bytes>()) == frame_header{'D', max_frame_length - 4});
    exact const too_long(wire("D\x40\0\0\0"));
    CHECK_FALSE(parse_header(too_long.view().first<header_bytes>()));
}

TEST_CASE("types are those of the manual") {
    std::string frontends;
    std::string backends;
    for (int c = 0; c < 256; ++c) {
        if (is_frontend_type(static_cast<char>(c))) frontends += static_cast<char>(c);
        if (is_backend_type(static_cast<char>(c))) backends += static_cast<char>(c);
    }
    CHECK(frontends == "BCDEFHPQSXcdfp");
    CHECK(backends == "123ACDEGHIKNRSTVWZcdnstv");
}

TEST_CASE("every error has a sentence of its own") {
    std::string seen = "|";
    for (int i = static_cast<int>(errc::bad_frame_length); i <= static_cast<int>(errc::crypto_failed); ++i) {
        boost::system::error_code const code = static_cast<errc>(i);
        CHECK(code.failed());
        CHECK(code.category().name() == std::string("lull.protocol"));
        CHECK(code.message() != "unknown protocol error");
        CHECK(seen.find("|" + code.message() + "|") == std::string::npos);
        seen += code.message() + "|";
    }
    CHECK(boost::system::error_code(99, protocol_category()).message() == "unknown protocol error");
}

TEST_CASE("a run is whole messages of its types, and ends before what is cut, of another type or wrong") {
    std::string const row(wire("D\0\0\0\x07one"));
    std::string const data(wire("d\0\0\0\x04"));
    std::string const rows = row + data + row;
    auto const run = [](std::string_view text, char one, char other) { return run_of(exact(text).view(), type_set{one, other}); };
    CHECK(run(rows, 'D', 'd') == rows.size());
    CHECK(run(rows, 'D', 'D') == row.size());
    for (std::string_view behind : {wire("Z\0\0\0\x05I"), wire("D\x3f\xff\xff\xff"), wire("D\0\0\0\x03"), wire("D\xff\xff\xff\xff")})
        CHECK(run(rows + std::string(behind), 'D', 'd') == rows.size());
    for (std::size_t cut = 0; cut <= rows.size(); ++cut) {
        std::size_t expected = 0;
        for (std::size_t whole : {row.size(), row.size() + data.size(), rows.size()})
            if (whole <= cut) expected = whole;
        CHECK(run(std::string_view(rows).substr(0, cut), 'D', 'd') == expected);
    }
}
