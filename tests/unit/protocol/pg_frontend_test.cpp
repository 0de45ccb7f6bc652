#include "protocol/pg/frame.hpp"
#include "protocol/pg/frontend.hpp"
#include "tests/unit/protocol/pg_bytes.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace lull;
using namespace lull::pg;

namespace {

std::string const longest_name(max_name_bytes, 'n');
std::string const too_long_name(max_name_bytes + 1, 'n');

/// With its NUL.
std::string text(std::string_view value) {
    return std::string(value) + '\0';
}

/// Of a whole body. The names in the answer are gone with the copy.
bind_result bound(std::string_view body) {
    return parse_bind_names(exact(body).view(), body.size());
}

/// What `write` appends is one frame of that type, behind what was there.
template <class Write>
std::string written(char type, Write write) {
    std::string out = "before";
    write(out);
    REQUIRE(out.starts_with("before"));
    out.erase(0, 6);
    auto const result = next_frame(as_bytes(out), 1 << 20);
    REQUIRE(std::holds_alternative<frame>(result));
    CHECK(std::get<frame>(result).type == type);
    CHECK(std::get<frame>(result).whole.size() == out.size());
    return out;
}

}  // namespace

TEST_CASE("Query is one text") {
    CHECK(parse_query(as_bytes(wire("select 1\0"))) == "select 1");
    CHECK(parse_query(as_bytes(wire("\0"))) == "");
    CHECK(takes_exactly(wire("select 1\0"), parse_query));
    CHECK_FALSE(parse_query(as_bytes(wire("select\0 1\0"))));
    CHECK_FALSE(parse_query(as_bytes(wire("\0\0"))));
    auto const message = written('Q', [](std::string& out) { write_query(out, "select 1"); });
    CHECK(message == wire("Q\0\0\0\x0dselect 1\0"));
    CHECK(written('Q', [](std::string& out) { write_query(out, wire("a\0b")); }) == wire("Q\0\0\0\6a\0"));
}

TEST_CASE("Parse is a name, a text and the types of its parameters") {
    auto const body = wire("s1\0select $1\0\0\2\0\0\0\x17\0\0\0\x19");
    auto const message = parse_parse(as_bytes(body));
    REQUIRE(message);
    CHECK(message->statement == "s1");
    CHECK(message->query == "select $1");
    CHECK(message->parameter_count == 2);
    CHECK(as_text(message->parameter_types) == wire("\0\0\0\x17\0\0\0\x19"));
    CHECK(takes_exactly(body, parse_parse));
    CHECK(takes_exactly(wire("\0\0\0\0"), parse_parse));
    CHECK(takes_exactly(text(longest_name) + std::string(wire("q\0\0\0")), parse_parse));
    CHECK_FALSE(parse_parse(as_bytes(text(too_long_name) + std::string(wire("q\0\0\0")))));
    CHECK_FALSE(parse_parse(as_bytes(wire("\0q\0\xff\xff"))));

    auto const types = as_bytes(wire("\0\0\0\x17\0\0\0\x19"));
    auto const again = written('P', [&](std::string& out) { write_parse(out, "s1", "select $1", types); });
    CHECK(as_text(body_of(again)) == body);
    CHECK(written('P', [](std::string& out) { write_parse(out, "", ""); }) == wire("P\0\0\0\x08\0\0\0\0"));
}

TEST_CASE("Parse takes as many parameters as libpq sends") {
    std::string const body = std::string(wire("\0q\0\xff\xff")) + std::string(65535 * 4, '\1');
    auto const message = parse_parse(as_bytes(body));
    REQUIRE(message);
    CHECK(message->parameter_count == 65535);
}

TEST_CASE("the names of a Bind are read as soon as they are there") {
    auto const body = wire("p1\0s1\0\0\0\0\1\0\0\0\1x\0\0");
    std::size_t const names = 6;
    for_each_truncation(body, [&](bytes cut) {
        CAPTURE(cut.size());
        auto const result = parse_bind_names(cut, body.size());
        if (cut.size() < names) {
            CHECK(std::get<need_more>(result).bytes >= 1);
        } else {
            auto const& found = std::get<bind_names>(result);
            CHECK(found.portal == "p1");
            CHECK(found.statement == "s1");
            CHECK(found.rest == names);
        }
    });
    CHECK(std::get<bind_names>(bound(body)).rest == names);
    CHECK(std::get<bind_names>(bound(wire("\0\0\0\0\0\0\0\0"))).rest == 2);
    CHECK(std::get<bind_names>(parse_bind_names(as_bytes(wire("\0\0\0\0\0\0\0\0next")), 8)).rest == 2);
}

TEST_CASE("a Bind that ends before its counts is malformed") {
    auto const body = wire("p\0s\0\0\0\0\0\0\0");
    for (std::size_t size = 0; size < body.size(); ++size) {
        CAPTURE(size);
        CHECK(std::get<errc>(bound(body.substr(0, size))) == errc::malformed_message);
    }
    CHECK(std::get<errc>(bound("no terminator")) == errc::malformed_message);
}

TEST_CASE("the names of a Bind are bounded before they end") {
    std::string const counts(6, '\0');
    std::string const longest = text(longest_name) + text(longest_name) + counts;
    CHECK(std::get<bind_names>(parse_bind_names(as_bytes(longest), longest.size())).statement ==
          longest_name);
    CHECK(std::get<errc>(bound(text(too_long_name) + text("s") + counts)) == errc::name_too_long);
    CHECK(std::get<errc>(bound(text("p") + text(too_long_name) + counts)) == errc::name_too_long);
    CHECK(std::holds_alternative<need_more>(parse_bind_names(as_bytes(longest_name), 10000)));
    CHECK(std::get<errc>(parse_bind_names(as_bytes(too_long_name), 10000)) == errc::name_too_long);
    CHECK(std::get<errc>(parse_bind_names(as_bytes(text("p") + too_long_name), 10000)) ==
          errc::name_too_long);
}

TEST_CASE("a Bind is renamed whole, or its beginning with the rest streamed behind it") {
    auto const body = wire("\0client's\0\0\0\0\1\0\0\0\1x\0\0");
    auto const names = std::get<bind_names>(bound(body));
    auto const rest = as_bytes(body).subspan(names.rest);
    auto const whole = written('B', [&](std::string& out) { write_bind_renamed(out, "p", "lull_7", rest); });
    CHECK(as_text(body_of(whole)) == wire("p\0lull_7\0\0\0\0\1\0\0\0\1x\0\0"));

    std::string streamed;
    write_bind_renamed_header(streamed, rest.size(), "p", "lull_7");
    CHECK(streamed == whole.substr(0, whole.size() - rest.size()));
}

TEST_CASE("Describe and Close name a statement or a portal") {
    for (auto const parser : {parse_describe, parse_close}) {
        auto const statement = parser(as_bytes(wire("Ss1\0")));
        REQUIRE(statement);
        CHECK(statement->kind == target_kind::statement);
        CHECK(statement->name == "s1");
        auto const portal = parser(as_bytes(wire("P\0")));
        REQUIRE(portal);
        CHECK(portal->kind == target_kind::portal);
        CHECK(portal->name == "");
        CHECK(takes_exactly(wire("Ss1\0"), parser));
        CHECK_FALSE(parser(as_bytes(wire("Xs1\0"))));
        CHECK_FALSE(parser(as_bytes(wire("\0\0"))));
        CHECK(takes_exactly("S" + text(longest_name), parser));
        CHECK_FALSE(parser(as_bytes("S" + text(too_long_name))));
    }
    CHECK(written('D', [](std::string& out) { write_describe(out, target_kind::statement, "s1"); }) ==
          wire("D\0\0\0\x08Ss1\0"));
    CHECK(written('C', [](std::string& out) { write_close(out, target_kind::portal, ""); }) ==
          wire("C\0\0\0\6P\0"));
}

TEST_CASE("Execute is a portal and a number of rows") {
    auto const message = parse_execute(as_bytes(wire("p\0\0\0\1\0")));
    REQUIRE(message);
    CHECK(message->portal == "p");
    CHECK(message->max_rows == 256);
    CHECK(takes_exactly(wire("p\0\0\0\1\0"), parse_execute));
    // Not of use, but PostgreSQL takes it as "all".
    CHECK(parse_execute(as_bytes(wire("\0\xff\xff\xff\xff")))->max_rows == -1);
    CHECK_FALSE(parse_execute(as_bytes(text(too_long_name) + std::string(4, '\0'))));
    CHECK(written('E', [](std::string& out) { write_execute(out, "p", 256); }) ==
          wire("E\0\0\0\x0ap\0\0\0\1\0"));
}

TEST_CASE("passwords and SASL") {
    CHECK(parse_password(as_bytes(wire("secret\0"))) == "secret");
    CHECK(parse_password(as_bytes(wire("\0"))) == "");
    CHECK(takes_exactly(wire("secret\0"), parse_password));
    CHECK(written('p', [](std::string& out) { write_password(out, "pw"); }) == wire("p\0\0\0\7pw\0"));

    auto const body = wire("SCRAM-SHA-256\0\0\0\0\5n,,n=");
    auto const initial = parse_sasl_initial_response(as_bytes(body));
    REQUIRE(initial);
    CHECK(initial->mechanism == "SCRAM-SHA-256");
    CHECK(initial->data == "n,,n=");
    CHECK(takes_exactly(body, parse_sasl_initial_response));
    CHECK(as_text(body_of(written('p', [](std::string& out) {
              write_sasl_initial_response(out, "SCRAM-SHA-256", "n,,n=");
          }))) == body);

    auto const without = parse_sasl_initial_response(as_bytes(wire("X\0\xff\xff\xff\xff")));
    REQUIRE(without);
    CHECK_FALSE(without->data);
    CHECK(parse_sasl_initial_response(as_bytes(wire("X\0\0\0\0\0")))->data == "");
    CHECK(takes_exactly(wire("X\0\xff\xff\xff\xff"), parse_sasl_initial_response));
    CHECK_FALSE(parse_sasl_initial_response(as_bytes(wire("X\0\xff\xff\xff\xfe"))));
    CHECK_FALSE(
        parse_sasl_initial_response(as_bytes(wire("X\0\x7f\xff\xff\xff"
                                                  "abc"))));
    CHECK_FALSE(parse_sasl_initial_response(as_bytes(wire("X\0\x80\0\0\0"))));

    CHECK(parse_sasl_response(as_bytes("c=biws")) == "c=biws");
    CHECK(written('p', [](std::string& out) { write_sasl_response(out, "c=biws"); }) == wire("p\0\0\0\x0a"
                                                                                             "c=biws"));
}

TEST_CASE("CopyFail and the messages without a body") {
    CHECK(parse_copy_fail(as_bytes(wire("why\0"))) == "why");
    CHECK(takes_exactly(wire("why\0"), parse_copy_fail));
    CHECK(written('f', [](std::string& out) { write_copy_fail(out, "why"); }) == wire("f\0\0\0\x08why\0"));
    CHECK(written('S', write_sync) == wire("S\0\0\0\4"));
    CHECK(written('H', write_flush) == wire("H\0\0\0\4"));
    CHECK(written('X', write_terminate) == wire("X\0\0\0\4"));
    CHECK(is_empty_body({}));
    CHECK_FALSE(is_empty_body(as_bytes("x")));
}
