#include "protocol/pg/backend.hpp"
#include "protocol/pg/frame.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "protocol/pg/startup.hpp"
#include "tests/unit/protocol/pg_bytes.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

using namespace lull;
using namespace lull::pg;

namespace {

std::vector<std::string> all_of(text_list list) {
    std::vector<std::string> found;
    while (auto const text = list.next()) found.emplace_back(*text);
    return found;
}

template <class... Arguments>
std::string written(void (*write)(std::string&, Arguments...), std::type_identity_t<Arguments>... arguments) {
    std::string out;
    write(out, arguments...);
    auto const result = next_frame(as_bytes(out), 1 << 20);
    REQUIRE(std::holds_alternative<frame>(result));
    CHECK(is_backend_type(out[0]));
    CHECK(std::get<frame>(result).whole.size() == out.size());
    return out;
}

}  // namespace

TEST_CASE("Authentication: what each code carries") {
    auto const ok = parse_authentication(as_bytes(wire("\0\0\0\0")));
    REQUIRE(ok);
    CHECK(ok->code == authentication_code::ok);
    CHECK(takes_exactly(wire("\0\0\0\0"), parse_authentication));
    CHECK(takes_exactly(wire("\0\0\0\3"), parse_authentication));

    auto const md5 = parse_authentication(as_bytes(wire("\0\0\0\5salt")));
    REQUIRE(md5);
    CHECK(as_text(md5->data) == "salt");
    CHECK(takes_exactly(wire("\0\0\0\5salt"), parse_authentication));

    auto const more = parse_authentication(as_bytes(wire("\0\0\0\x0br=abc")));
    REQUIRE(more);
    CHECK(more->code == authentication_code::sasl_continue);
    CHECK(as_text(more->data) == "r=abc");

    auto const unknown =
        parse_authentication(as_bytes(wire("\0\0\0\x63"
                                           "abc")));
    REQUIRE(unknown);
    CHECK(static_cast<int>(unknown->code) == 99);
}

TEST_CASE("AuthenticationSASL lists at least one mechanism") {
    auto const body = wire("\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    auto const sasl = parse_authentication(as_bytes(body));
    REQUIRE(sasl);
    CHECK(all_of(sasl->mechanisms) == std::vector<std::string>{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"});
    CHECK(takes_exactly(body, parse_authentication));
    CHECK_FALSE(parse_authentication(as_bytes(wire("\0\0\0\x0a"))));
    CHECK_FALSE(parse_authentication(as_bytes(wire("\0\0\0\x0a\0"))));
    CHECK_FALSE(parse_authentication(as_bytes(wire("\0\0\0\x0aX\0\0\0"))));

    std::array<std::string_view, 2> const names{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"};
    CHECK(as_text(body_of(written(write_authentication_sasl, names))) == body);
}

TEST_CASE("authentication as we ask for it") {
    CHECK(written(write_authentication_ok) == wire("R\0\0\0\x08\0\0\0\0"));
    CHECK(written(write_authentication_cleartext_password) == wire("R\0\0\0\x08\0\0\0\3"));
    CHECK(written(write_authentication_sasl_continue, "r=") == wire("R\0\0\0\x0a\0\0\0\x0br="));
    CHECK(written(write_authentication_sasl_final, "v=") == wire("R\0\0\0\x0a\0\0\0\x0cv="));
}

TEST_CASE("ParameterStatus is a name and a value") {
    auto const body = wire(
        "server_version\0"
        "15.4\0");
    auto const message = parse_parameter_status(as_bytes(body));
    REQUIRE(message);
    CHECK(message->name == "server_version");
    CHECK(message->value == "15.4");
    CHECK(takes_exactly(body, parse_parameter_status));
    CHECK(as_text(body_of(written(write_parameter_status, "server_version", "15.4"))) == body);
}

TEST_CASE("BackendKeyData has a secret of 4 to 256 bytes") {
    auto const message = parse_backend_key_data(as_bytes(wire("\0\0\x10\1abcd")));
    REQUIRE(message);
    CHECK(message->pid == 4097);
    CHECK(as_text(message->secret) == "abcd");
    for_each_truncation(wire("\0\0\x10\1abcd"), [](bytes cut) { CHECK_FALSE(parse_backend_key_data(cut)); });
    std::string const longest = std::string(4, '\0') + std::string(256, 's');
    CHECK(takes_exactly(wire("\0\0\0\1abcd"), [](bytes body) {
        auto const key = parse_backend_key_data(body);
        return key && key->secret.size() == 4 ? key : std::nullopt;
    }));
    CHECK(parse_backend_key_data(as_bytes(longest))->secret.size() == 256);
    CHECK_FALSE(parse_backend_key_data(as_bytes(longest + "s")));
    CHECK(written(write_backend_key_data, 4097, as_bytes("abcd")) == wire("K\0\0\0\x0c\0\0\x10\1abcd"));
}

TEST_CASE("ReadyForQuery tells one of three states") {
    for (char const status : {idle, in_transaction, in_failed_transaction}) {
        CHECK(parse_ready_for_query(as_bytes({&status, 1})) == status);
        CHECK(takes_exactly({&status, 1}, parse_ready_for_query));
        CHECK(written(write_ready_for_query, status) == std::string(wire("Z\0\0\0\5")) + status);
    }
    CHECK_FALSE(parse_ready_for_query(as_bytes("X")));
    CHECK_FALSE(parse_ready_for_query(as_bytes(wire("\0"))));
}

TEST_CASE("CommandComplete is a tag") {
    CHECK(parse_command_complete(as_bytes(wire("INSERT 0 1\0"))) == "INSERT 0 1");
    CHECK(takes_exactly(wire("INSERT 0 1\0"), parse_command_complete));
    CHECK(as_text(body_of(written(write_command_complete, "INSERT 0 1"))) == wire("INSERT 0 1\0"));
}

TEST_CASE("messages without a body") {
    CHECK(written(write_empty_query_response) == wire("I\0\0\0\4"));
    CHECK(written(write_parse_complete) == wire("1\0\0\0\4"));
    CHECK(written(write_bind_complete) == wire("2\0\0\0\4"));
    CHECK(written(write_close_complete) == wire("3\0\0\0\4"));
    CHECK(written(write_no_data) == wire("n\0\0\0\4"));
    CHECK(written(write_portal_suspended) == wire("s\0\0\0\4"));
}

TEST_CASE("every field of an error is found") {
    auto const body = wire(
        "Serreur\0VERROR\0C42601\0Mm\0Dd\0Hh\0P8\0p3\0qiq\0Ww\0ss\0tt\0cc\0dd\0nn\0Ff."
        "c\0L1\0Rr\0Zfuture\0\0");
    auto const error = parse_error_fields(as_bytes(body));
    REQUIRE(error);
    CHECK(error->severity == "erreur");
    CHECK(error->severity_nonlocalized == "ERROR");
    CHECK(error->sqlstate == "42601");
    CHECK(error->has_sqlstate(sqlstate::syntax_error));
    CHECK(error->message == "m");
    CHECK(error->detail == "d");
    CHECK(error->hint == "h");
    CHECK(error->position == "8");
    CHECK(error->internal_position == "3");
    CHECK(error->internal_query == "iq");
    CHECK(error->where == "w");
    CHECK(error->schema_name == "s");
    CHECK(error->table_name == "t");
    CHECK(error->column_name == "c");
    CHECK(error->data_type_name == "d");
    CHECK(error->constraint_name == "n");
    CHECK(error->file == "f.c");
    CHECK(error->line == "1");
    CHECK(error->routine == "r");
    CHECK(takes_exactly(body, parse_error_fields));
}

TEST_CASE("an error may have no fields at all") {
    auto const error = parse_error_fields(as_bytes(wire("\0")));
    REQUIRE(error);
    CHECK_FALSE(error->sqlstate);
    CHECK_FALSE(error->message);
    CHECK_FALSE(error->has_sqlstate(""));
    CHECK_FALSE(parse_error_fields({}));
    CHECK(parse_error_fields(as_bytes(wire("Mone\0Mtwo\0\0")))->message == "two");
}

TEST_CASE("our errors have PostgreSQL's fields in PostgreSQL's order") {
    error_fields_out const fields{"FATAL", sqlstate::cannot_connect_now, "no", "because", "wait"};
    CHECK(as_text(body_of(written(write_error_response, fields))) ==
          wire("SFATAL\0VFATAL\0C57P03\0Mno\0Dbecause\0Hwait\0\0"));
    CHECK(as_text(body_of(written(write_notice_response, {"NOTICE", sqlstate::warning, "hm", {}, {}}))) ==
          wire("SNOTICE\0VNOTICE\0C01000\0Mhm\0\0"));
    CHECK(as_text(body_of(written(write_error_response, {}))) == wire("SERROR\0VERROR\0CXX000\0M\0\0"));
    CHECK(as_text(body_of(written(write_error_response, {"ERROR", "25006", wire("a\0Sb"), {}, {}}))) ==
          wire("SERROR\0VERROR\0C25006\0Ma\0\0"));
}

TEST_CASE("an error gets another severity and keeps what else it says") {
    std::string fatal, error;
    write_error_response(fatal, {"FATAL", "53300", "full", "so many", "wait"});
    write_error_response(error, {"ERROR", "53300", "full", "so many", "wait"});
    CHECK(with_severity(fatal, "ERROR") == error);
    CHECK(with_severity(error, "FATAL") == fatal);
    CHECK(with_severity("E", "FATAL") == "E");
    CHECK(with_severity("", "FATAL").empty());
}

TEST_CASE("NegotiateProtocolVersion is read with as many names as it counts") {
    std::array<std::string_view, 2> const names{"_pq_.a", "_pq_.b"};
    auto const text = written(write_negotiate_protocol_version, protocol_3_0, names);
    auto const message = parse_negotiate_protocol_version(body_of(text));
    REQUIRE(message);
    CHECK(message->protocol == protocol_3_0);
    CHECK(message->unsupported_count == 2);
    CHECK(all_of(message->unsupported) == std::vector<std::string>{"_pq_.a", "_pq_.b"});
    CHECK(takes_exactly(as_text(body_of(text)), parse_negotiate_protocol_version));
    CHECK_FALSE(
        parse_negotiate_protocol_version(as_bytes(wire("\0\3\0\0\xff\xff\xff\xff"
                                                       "a\0"))));
}
