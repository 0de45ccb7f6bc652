#include "protocol/pg/backend.hpp"
#include "protocol/pg/startup.hpp"
#include "tests/unit/protocol/pg_bytes.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>

using namespace lull;
using namespace lull::pg;

namespace {

/// A startup packet: its length in front of `rest`.
std::string packet(std::string_view rest) {
    std::size_t const length = rest.size() + 4;
    std::string text;
    for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(length >> shift);
    return text.append(rest);
}

startup_result parsed(std::string_view text) {
    return parse_startup(exact(text).view());
}

errc error_of(std::string_view rest) {
    auto const result = parsed(packet(rest));
    REQUIRE(std::holds_alternative<errc>(result));
    return std::get<errc>(result);
}

parameter_list options(std::string_view text) {
    auto result = parse_options(text);
    REQUIRE(std::holds_alternative<parameter_list>(result));
    return std::get<parameter_list>(result);
}

}  // namespace

TEST_CASE("a startup message is its version and its parameters in order") {
    auto const text = packet(wire("\0\3\0\0user\0ann\0database\0shop\0application_name\0\0user\0bob\0\0"));
    auto const result = parsed(text);
    REQUIRE(std::holds_alternative<startup_message>(result));
    auto const& message = std::get<startup_message>(result);
    CHECK(message.major == 3);
    CHECK(message.minor == 0);
    CHECK(message.packet_bytes == text.size());
    CHECK(message.parameters ==
          parameter_list{{"user", "ann"}, {"database", "shop"}, {"application_name", ""}, {"user", "bob"}});
    CHECK(message.find("user") == "bob");
    CHECK(message.find("application_name") == "");
    CHECK(message.find("options") == std::nullopt);
}

TEST_CASE("a startup message without parameters, and one of a later minor version") {
    CHECK(std::get<startup_message>(parsed(packet(wire("\0\3\0\0\0")))).parameters.empty());
    CHECK(std::get<startup_message>(parsed(packet(wire("\0\3\0\2user\0a\0\0")))).minor == 2);
}

TEST_CASE("a startup packet that is cut anywhere needs more, also with another one behind it") {
    auto const text = packet(wire("\0\3\0\0user\0ann\0\0"));
    for_each_truncation(text, [&](bytes cut) {
        auto const result = parse_startup(cut);
        REQUIRE(std::holds_alternative<need_more>(result));
        CHECK(std::get<need_more>(result).bytes == (cut.size() < 4 ? 4 : text.size()) - cut.size());
    });
    CHECK(std::get<startup_message>(parsed(text + "Q")).packet_bytes == text.size());
}

TEST_CASE("a startup packet whose length lies about its fields is malformed wherever it ends") {
    auto const rest = wire("\0\3\0\0user\0ann\0\0");
    for (std::size_t size = 4; size < rest.size(); ++size)
        CHECK(error_of(rest.substr(0, size)) == errc::malformed_startup);
    CHECK(error_of(wire("\0\3\0\0user\0ann\0\0x")) == errc::malformed_startup);
    CHECK(error_of(wire("\0\3\0\0\0\0")) == errc::malformed_startup);
}

TEST_CASE("the length is judged after four bytes") {
    CHECK(std::get<errc>(parsed(wire("\0\0\0\0"))) == errc::bad_startup_length);
    CHECK(std::get<errc>(parsed(wire("\0\0\0\7"))) == errc::bad_startup_length);
    CHECK(std::get<errc>(parsed("GET ")) == errc::bad_startup_length);
    CHECK(std::get<errc>(parsed(wire("\x16\3\1\0"))) == errc::bad_startup_length);
    CHECK(std::get<errc>(parsed(wire("\xff\xff\xff\xff"))) == errc::bad_startup_length);
    CHECK(std::holds_alternative<need_more>(parsed(wire("\0\0\x27\x14"))));  // 10004
    CHECK(std::get<errc>(parsed(wire("\0\0\x27\x15"))) == errc::bad_startup_length);
    CHECK(std::get<errc>(parse_startup(as_bytes(wire("\0\0\0\x20")), 27)) == errc::bad_startup_length);
}

TEST_CASE("other major versions are not understood") {
    CHECK(error_of(wire("\0\2\0\0user\0a\0\0")) == errc::unsupported_protocol_version);
    CHECK(error_of(wire("\0\4\0\0user\0a\0\0")) == errc::unsupported_protocol_version);
    CHECK(error_of(wire("\x04\xd2\x16\x31")) == errc::unsupported_protocol_version);
    CHECK(error_of(wire("\0\0\0\0")) == errc::unsupported_protocol_version);
}

TEST_CASE("requests for encryption are eight bytes") {
    std::string text;
    write_ssl_request(text);
    CHECK(text == wire("\0\0\0\x08\x04\xd2\x16\x2f"));
    CHECK(std::get<ssl_request>(parsed(text)).packet_bytes == 8);
    CHECK(std::get<ssl_request>(parsed(text + "slipped in")).packet_bytes == 8);
    CHECK(std::get<gssenc_request>(parsed(packet(wire("\x04\xd2\x16\x30")))).packet_bytes == 8);
    CHECK(error_of(wire("\x04\xd2\x16\x2fx")) == errc::malformed_startup);
    CHECK(error_of(wire("\x04\xd2\x16\x30x")) == errc::malformed_startup);
}

TEST_CASE("a cancel request is a process and a secret of 4 to 256 bytes") {
    auto const text =
        packet(wire("\x04\xd2\x16\x2e\0\0\x10\x01"
                    "abcd"));
    auto const request = std::get<cancel_request>(parse_startup(as_bytes(text)));
    CHECK(request.pid == 4097);
    CHECK(as_text(request.secret) == "abcd");
    CHECK(request.packet_bytes == 16);

    std::string written;
    write_cancel_request(written, 4097, as_bytes("abcd"));
    CHECK(written == text);

    CHECK(error_of(wire("\x04\xd2\x16\x2e")) == errc::malformed_startup);
    CHECK(error_of(wire("\x04\xd2\x16\x2e\0\0\0")) == errc::malformed_startup);
    CHECK(error_of(wire("\x04\xd2\x16\x2e\0\0\0\1"
                        "abc")) == errc::malformed_startup);
    auto const with_secret = [](std::size_t size) {
        return packet(std::string(wire("\x04\xd2\x16\x2e\0\0\0\1")) + std::string(size, 's'));
    };
    CHECK(std::get<cancel_request>(parse_startup(as_bytes(with_secret(256)))).packet_bytes == 268);
    CHECK(std::get<errc>(parse_startup(as_bytes(with_secret(257)))) == errc::malformed_startup);
}

TEST_CASE("a written startup message is read back") {
    parameter_list const parameters{{"user", "ann"}, {"database", "shop"}, {"options", "-c a=b"}};
    std::string text;
    write_startup(text, parameters);
    CHECK(text.substr(0, 13) == wire("\0\0\0\x2f\0\3\0\0user\0"));
    CHECK(std::get<startup_message>(parsed(text)).parameters == parameters);

    parameter_list const injected{{std::string(wire("user\0x")), std::string(wire("ann\0replication\0on"))}};
    text.clear();
    write_startup(text, injected);
    CHECK(std::get<startup_message>(parsed(text)).parameters == parameter_list{{"user", "ann"}});
}

TEST_CASE("NegotiateProtocolVersion names what is not supported") {
    std::array<std::string_view, 2> const names{"_pq_.a", "_pq_.b"};
    std::string text;
    write_negotiate_protocol_version(text, protocol_3_0, names);
    CHECK(text == wire("v\0\0\0\x1a\0\3\0\0\0\0\0\2_pq_.a\0_pq_.b\0"));
}

TEST_CASE("options are split as PostgreSQL splits them") {
    CHECK(options("").empty());
    CHECK(options(" \t\n\v\f\r ").empty());
    CHECK(options("-c geqo=off") == parameter_list{{"geqo", "off"}});
    CHECK(options("-cgeqo=off") == parameter_list{{"geqo", "off"}});
    CHECK(options("--geqo=off") == parameter_list{{"geqo", "off"}});
    CHECK(options(" -c  a=1\t--b=2 -cc=3 ") == parameter_list{{"a", "1"}, {"b", "2"}, {"c", "3"}});
    CHECK(options("--search-path=a,b") == parameter_list{{"search_path", "a,b"}});
    CHECK(options("-c a-b.c-d=x-y") == parameter_list{{"a_b.c_d", "x-y"}});
    CHECK(options(R"(-c search_path=a,\ b)") == parameter_list{{"search_path", "a, b"}});
    CHECK(options(R"(-c a=b\\c)") == parameter_list{{"a", R"(b\c)"}});
    CHECK(options(R"(-c a=b\)") == parameter_list{{"a", "b"}});
    CHECK(options(R"(-c \a=\b)") == parameter_list{{"a", "b"}});
    CHECK(options("-c a=b=c") == parameter_list{{"a", "b=c"}});
    CHECK(options("-c a=") == parameter_list{{"a", ""}});
    CHECK(options("-c -c=x") == parameter_list{{"_c", "x"}});
    CHECK(options("-c a=1 -c a=2") == parameter_list{{"a", "1"}, {"a", "2"}});
}

TEST_CASE("anything else in options is refused") {
    for (std::string_view const text :
         {"-c", "-c a", "--a", "--", "-c =x", "--=x", "-e", "-O", "-E -c a=b", "-c a=b geqo=off", "geqo=off",
          "-", "-W 3", "-d5", "-ec a=b", "-c a=b -c", R"(\)", R"(-c a=b \ )", "-c a=b -- c=d"}) {
        CAPTURE(text);
        auto const result = parse_options(text);
        REQUIRE(std::holds_alternative<errc>(result));
        CHECK(std::get<errc>(result) == errc::malformed_options);
    }
}
