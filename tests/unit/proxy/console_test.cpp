#include "proxy/console_command_core.hpp"
#include "proxy/console_session_core.hpp"
#include "proxy/console_table_core.hpp"
#include "tests/unit/proxy/pg_wire.hpp"

#include <doctest/doctest.h>

using namespace lull;

namespace {

console_command understood(std::string_view text) {
    auto const parsed = parse_console_command(text);
    auto const* mistake = std::get_if<console_mistake>(&parsed);
    REQUIRE_MESSAGE(!mistake, text, ": ", mistake ? mistake->message : "");
    return std::get<console_command>(parsed);
}

std::string mistake(std::string_view text) {
    auto const parsed = parse_console_command(text);
    auto const* wrong = std::get_if<console_mistake>(&parsed);
    REQUIRE_MESSAGE(wrong, text);
    return wrong->message;
}

std::string message(char type, std::string_view body = {}) {
    std::string out(1, type);
    std::size_t const length = body.size() + 4;
    for (int shift : {24, 16, 8, 0}) out += static_cast<char>(length >> shift);
    return out + std::string(body);
}

std::string query(std::string_view text) {
    return message('Q', std::string(text) + '\0');
}

/// The types of the messages in it.
std::string types(std::string_view bytes) {
    std::string out;
    while (bytes.size() >= 5) {
        std::size_t length = 0;
        for (int i = 1; i <= 4; ++i) length = length << 8 | static_cast<unsigned char>(bytes[i]);
        out += bytes[0];
        bytes.remove_prefix(std::min(bytes.size(), length + 1));
    }
    return out;
}

}  // namespace

TEST_CASE("console commands are understood in any case, with and without quotes and semicolon") {
    CHECK(understood("SHOW POOLS;").topic == console_topic::pools);
    CHECK(understood("  show\n\tstats_totals ; ;").topic == console_topic::stats_totals);
    CHECK(understood("").verb == console_verb::nothing);
    CHECK(understood(";").verb == console_verb::nothing);
    CHECK(understood("PAUSE") == console_command{.verb = console_verb::pause});
    CHECK(understood("pause Shop").name == "Shop");
    CHECK(understood("pause \"timeout\"").name == "timeout");
    CHECK(understood("RESUME \"a \"\"b\"\"\"").name == "a \"b\"");
    CHECK(understood("PAUSE TIMEOUT 5s").timeout == std::chrono::milliseconds(5000));
    console_command const paused = understood("PAUSE shop TIMEOUT '2min'");
    CHECK(paused.name == "shop");
    CHECK(paused.timeout == std::chrono::milliseconds(120'000));
    CHECK(understood("KILL shop").verb == console_verb::kill);
    CHECK(understood("SHUTDOWN").graceful == false);
    CHECK(understood("SHUTDOWN wait_for_clients").graceful);
    console_command const on = understood("MAINTENANCE ON shop REASON 'it''s time'");
    CHECK(on.verb == console_verb::maintenance_on);
    CHECK(on.name == "shop");
    CHECK(on.reason == "it's time");
    CHECK(understood("maintenance off shop;").verb == console_verb::maintenance_off);
    CHECK(understood("SHOW standard_conforming_strings").topic == console_topic::parameter);
}

TEST_CASE("what drivers set by habit is taken, and said to mean nothing") {
    for (std::string_view text : {"SET client_encoding TO 'UTF8'", "set datestyle='ISO'", "SET timezone=UTC",
                                  "SET SESSION application_name = 'x'", "SET extra_float_digits = 3",
                                  "SET standard_conforming_strings = on;", "SET NAMES 'utf8'"})
        CHECK(understood(text).verb == console_verb::set);
    console_session_core session(console_right::show);
    std::string out;
    std::string const bytes = query("SET extra_float_digits = 3");
    CHECK(session.on_client(pg::as_bytes(bytes), out) == bytes.size());
    CHECK(types(out) == "NCZ");
    CHECK(out.find("SET ignored") != std::string::npos);
    CHECK_FALSE(session.waits());
}

TEST_CASE("what the console does not understand it says") {
    CHECK(mistake("select 1") == "invalid command 'select 1'");
    CHECK(mistake("SHOW POOLS; SHOW LISTS") == "one command at a time");
    CHECK(mistake("SHOW") == "SHOW what?");
    CHECK(mistake("SHOW nothing") == "there is no SHOW nothing");
    CHECK(mistake("SHOW POOLS now") == "'now' is too much");
    CHECK(mistake("KILL") == "a database is required");
    CHECK(mistake("PAUSE 'shop") == "there is a quote without its end");
    CHECK(mistake("PAUSE shop TIMEOUT soon").find("soon") != std::string::npos);
    CHECK(mistake("PAUSE shop TIMEOUT 3d") == "a pause may be waited for at most a day");
    CHECK(mistake("MAINTENANCE shop") == "MAINTENANCE ON or OFF?");
    CHECK(mistake("MAINTENANCE ON") == "a site is required");
    CHECK(mistake("MAINTENANCE ON shop REASON") == "what is the reason?");
    for (std::string_view text : {"BEGIN", "begin read only", "COMMIT;", "ROLLBACK"})
        CHECK(std::get<console_mistake>(parse_console_command(text)).hint.find("autocommit") != std::string::npos);
    CHECK(std::get<console_mistake>(parse_console_command("SELECT 1")).hint.find("not SQL") != std::string::npos);
    CHECK(mistake("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY") == "SET is not supported here");
    CHECK(mistake("SET x = 1") == "SET is not supported here");
    CHECK(mistake("KILL M\xe4rz") == "the command is not valid in encoding \"UTF8\"");
    CHECK(mistake(std::string(99, 'x') + "\xc3\xa4") == "invalid command '" + std::string(99, 'x') + "'");
    CHECK(mistake(std::string(longest_console_command + 1, 'x')) == "the command is too long");
}

TEST_CASE("a console session asks one question at a time and takes nothing while it waits") {
    console_session_core session(console_right::all);
    std::string out;
    session.start(7, "abcd", out);
    CHECK(types(out) == "SSSSSSSKZ");
    out.clear();
    std::string const two = query("SHOW POOLS") + query("SHOW LISTS");
    std::size_t used = session.on_client(pg::as_bytes(two), out);
    CHECK(used == query("SHOW POOLS").size());
    CHECK(session.waits());
    CHECK(session.take_question()->topic == console_topic::pools);
    CHECK_FALSE(session.take_question());
    CHECK(session.on_client(pg::as_bytes(two).subspan(used), out) == 0);
    session.on_answer("one", false, out);
    session.on_answer("two", true, out);
    CHECK(out == "onetwo" + message('Z', "I"));
    CHECK(session.on_client(pg::as_bytes(two).subspan(used), out) == query("SHOW LISTS").size());
    CHECK(session.take_question()->topic == console_topic::lists);
}

TEST_CASE("who may only look may not act, and a mistake ends nothing") {
    console_session_core session(console_right::show);
    std::string out;
    std::string const both = query("PAUSE") + query("nonsense") + query(";") + query("SHOW VERSION");
    CHECK(session.on_client(pg::as_bytes(both), out) == both.size());
    CHECK(types(out) == "EZEZIZ");
    CHECK(out.find("42501") != std::string::npos);
    CHECK(session.take_question()->topic == console_topic::version);
}

TEST_CASE("the extended protocol gets one error up to its Sync") {
    console_session_core session(console_right::all);
    std::string out;
    std::string const segment = message('P', std::string("\0SHOW POOLS\0\0\0", 14)) + message('B', "x") +
                                message('E', "x") + message('S');
    CHECK(session.on_client(pg::as_bytes(segment), out) == segment.size());
    CHECK(types(out) == "EZ");
    CHECK_FALSE(session.waits());
    CHECK(session.on_client(pg::as_bytes(message('X')), out) == 5);
    CHECK(session.closing());
}

TEST_CASE("a message that is too long, or none, ends the console session") {
    for (std::string const& bytes : {std::string("Q\0\0\xff\xff", 5), std::string("\1\0\0\0\4", 5)}) {
        console_session_core session(console_right::all);
        std::string out;
        session.on_client(pg::as_bytes(bytes), out);
        CHECK(session.closing());
        CHECK(out.find("FATAL") != std::string::npos);
    }
}

TEST_CASE("a table is a RowDescription with types, rows with NULLs, and a tag") {
    console_table table;
    table.columns = {{"name"}, {"count", column_type::int4}};
    table.rows = {{"a", "1"}, {std::nullopt, "22"}};
    std::string out;
    write_table(out, table, "SHOW");
    CHECK(types(out) == "TDDC");
    std::string const column("count\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0", 24);
    CHECK(out.find(column) != std::string::npos);
    CHECK(out.find(std::string("D\0\0\0\x10\0\2\xff\xff\xff\xff\0\0\0\2"
                               "22",
                               17)) != std::string::npos);
}

TEST_CASE("a table is UTF-8, whatever clients have sent") {
    console_table table;
    table.columns = {{"application_name"}};
    table.rows = {{"M\xe4rz"}};
    std::string out;
    write_table(out, table, "SHOW");
    CHECK(out.find(std::string("\0\0\0\6M\xef\xbf\xbdrz", 10)) != std::string::npos);
}
