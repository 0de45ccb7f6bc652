#include "config/endpoint.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace lull::config;

namespace {

endpoint good(std::string_view text) {
    auto result = parse_endpoint(text, "127.0.0.1:5432");
    REQUIRE_MESSAGE(std::holds_alternative<endpoint>(result), text);
    return std::get<endpoint>(result);
}

endpoint_error bad(std::string_view text) {
    auto result = parse_endpoint(text, "127.0.0.1:5432");
    REQUIRE_MESSAGE(std::holds_alternative<endpoint_error>(result), text);
    return std::get<endpoint_error>(result);
}

}  // namespace

TEST_CASE("addresses are read and written back") {
    CHECK(good("127.0.0.1:5432") == endpoint{"127.0.0.1", 5432});
    CHECK(good("[::1]:5432") == endpoint{"::1", 5432});
    CHECK(good("[fe80::1%eth0]:1") == endpoint{"fe80::1%eth0", 1});
    CHECK(good("[2001:db8:0:1:1:1:1:1]:65535") == endpoint{"2001:db8:0:1:1:1:1:1", 65535});
    CHECK(good("[::ffff:10.0.0.1]:80") == endpoint{"::ffff:10.0.0.1", 80});
    CHECK(good("db_1.internal:5432") == endpoint{"db_1.internal", 5432});
    for (std::string_view text : {"127.0.0.1:5432", "[::1]:5432", "db.internal:1"})
        CHECK(format_endpoint(good(text)) == text);
}

TEST_CASE("an address that cannot be read says what to write") {
    CHECK(bad("127.0.0.1").fix == "write 127.0.0.1:5432");
    CHECK(bad("::1").fix.find("\"[::1]:5432\"") != std::string::npos);
    CHECK(bad("[::1]").fix.find("\"[::1]:5432\"") != std::string::npos);
    CHECK(bad("*:5432").fix.find("0.0.0.0") != std::string::npos);
    CHECK(bad("http://127.0.0.1:8000").message.find("URL") != std::string::npos);
    CHECK(bad("/var/run/postgresql").message.find("path") != std::string::npos);
    CHECK(bad("5432").message.find("port without a host") != std::string::npos);
    CHECK(bad("127.0.0.1:0").fix.find("1 to 65535") != std::string::npos);
    CHECK(bad("127.0.0.1:65536").fix.find("1 to 65535") != std::string::npos);
    for (std::string_view text : {"",
                                  ":",
                                  ":5432",
                                  "[",
                                  "[]:1",
                                  "[::1",
                                  "[::1]x:1",
                                  "[127.0.0.1]:1",
                                  "10.0.0.300:1",
                                  "10.0.0:1",
                                  "01.2.3.4:1",
                                  "a b:1",
                                  "-a:1",
                                  "a-:1",
                                  "a..b:1",
                                  "a:1:2",
                                  "a:",
                                  "a:-1",
                                  "a:1x",
                                  "a:100000",
                                  "[1:2:3:4:5:6:7:8:9]:1",
                                  "[1::2::3]:1",
                                  "[:::]:1",
                                  "[::1%]:1",
                                  "[12345::]:1"})
        CHECK_FALSE(bad(text).fix.empty());
    CHECK_FALSE(bad(std::string(70, 'a') + ":1").fix.empty());
}

TEST_CASE("Unix sockets, for servers alone") {
    auto const parsed = parse_endpoint("/run/postgresql:5432", "127.0.0.1:5432", endpoint_kind::tcp_or_unix);
    REQUIRE(std::holds_alternative<endpoint>(parsed));
    auto const& e = std::get<endpoint>(parsed);
    CHECK(e.host == "/run/postgresql");
    CHECK(e.port == 5432);
    CHECK(format_endpoint(e) == "/run/postgresql:5432");
    CHECK(unix_socket_path(e.host, e.port) == "/run/postgresql/.s.PGSQL.5432");
    auto const wrong = [](std::string const& text, endpoint_kind kind) {
        auto const result = parse_endpoint(text, "127.0.0.1:5432", kind);
        return std::holds_alternative<endpoint_error>(result);
    };
    CHECK(wrong("/run/postgresql:5432", endpoint_kind::tcp));
    CHECK(wrong("/run/postgresql", endpoint_kind::tcp_or_unix));
    CHECK(wrong("/run/postgresql:0", endpoint_kind::tcp_or_unix));
    CHECK(wrong("/" + std::string(100, 'x') + ":5432", endpoint_kind::tcp_or_unix));
}
