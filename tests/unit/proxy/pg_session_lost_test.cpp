// What ends from outside at an awkward moment: a server between what was sent and what the session answers by
// itself, a block in the middle of a message.
#include "protocol/pg/backend.hpp"
#include "tests/unit/proxy/pg_driver.hpp"
#include "tests/unit/proxy/pg_wire.hpp"
#include "tests/unit/proxy/pg_world.hpp"
#include "tests/unit/proxy/script.hpp"

#include <doctest/doctest.h>

using namespace lull;
using namespace lull::wire;

TEST_CASE("a BEGIN whose READ ONLY block is lost with its server is answered to its end") {
    pg_world world;
    world.set_replica_healthy(false);
    world.flip(routing::mode::sealed);
    test_server guarded;
    guarded.guarded = true;
    guarded.state.backend = the_primary;
    guarded.state.actual = guarded.state.reported = world.context().settings.none();
    pg_driver driver(world, world.identity(), [](std::string const& what) { FAIL(what); });
    driver.start();
    driver.link(guarded);
    driver.released.clear();
    (void)std::exchange(driver.to_client, {});

    // Right behind a segment, so that the server is still ours and the block begins on it.
    driver.client(parse("", "select 1") + bind_to("") + execute() + wire::sync() + query("begin"));
    driver.link(guarded);
    driver.server(complete("BEGIN") + row_description() + data_row("1") + complete("SELECT 1") + ready('T'));
    driver.server(message('1') + message('2') + data_row("1") + complete("SELECT 1") + ready('T'));
    guarded.received.clear();
    driver.server(complete("ROLLBACK") + ready('I'));
    REQUIRE(guarded.received.find("BEGIN READ ONLY") != std::string::npos);
    (void)std::exchange(driver.to_client, {});
    driver.lose();

    std::string const told = show(driver.to_client, true);
    CHECK(told.find("E(08006") != std::string::npos);
    CHECK_MESSAGE(told.find("Z(") != std::string::npos, told);
    CHECK(driver.watch().waits_for() == 0);
}

TEST_CASE("who kept something on a server that is lost is told, and goes with it") {
    for (char const* made : {"select pg_advisory_lock(1)", "create temp table mine (id int)", "declare c cursor with hold for select 1"}) {
        scene s{cutter{}};
        s.client(query(made));
        s.link();
        s.server(complete("SELECT 1") + ready('I'));
        REQUIRE(s.driver.core().pinned());
        (void)s.told();
        s.driver.lose();
        std::string const told = s.told();
        CHECK_MESSAGE(told.find("E(08006") != std::string::npos, told);
        CHECK(told.find("Z(") == std::string::npos);
        CHECK(s.driver.closed());
    }
}

TEST_CASE("without a server a query fails with an ERROR, and the session lives on") {
    scene s{cutter{}};
    s.client(query("update t set n = 1"));
    REQUIRE(s.driver.wish());
    std::string fatal;
    pg::write_error_response(fatal, {.severity = "FATAL", .sqlstate = "53300", .message = "sorry, too many clients already"});
    s.driver.no_server(fatal);
    std::string error;
    pg::write_error_response(error, {.sqlstate = "53300", .message = "sorry, too many clients already"});
    CHECK(s.driver.to_client == error + ready('I'));
    CHECK(!s.driver.closed());
}

TEST_CASE("the deadline does not speak into the middle of a client's message") {
    pg_world world;
    test_server primary;
    primary.state.backend = the_primary;
    primary.state.actual = primary.state.reported = world.context().settings.none();
    pg_driver driver(world, world.identity(), [](std::string const& what) { FAIL(what); });
    driver.start();
    driver.link(primary);
    driver.released.clear();
    driver.client(query("begin; insert into t values (1)"));
    driver.link(primary);
    driver.server(complete("BEGIN") + complete("INSERT 0 1") + ready('T'));
    REQUIRE(driver.core().writes());

    // The COPY fails; what was sent for it is ignored by the server, which has to have all of it first.
    driver.client(query("copy t from stdin") + copy_data("a row").substr(0, 7));
    driver.server(error("42P01", "no such table") + ready('E'));
    world.flip(routing::mode::draining);
    driver.snapshot();
    primary.received.clear();
    driver.end_writing(false);
    CHECK(primary.received.empty());
    CHECK(driver.closed());
    CHECK(driver.discarded.size() == 1);
}

TEST_CASE("a statement that is judged anew while our READ ONLY block is opened for it, and refused, leaves no block") {
    tell([](scene& s) {
        s.seal_on_primary();
        s.client(query("select f()"));
        CHECK(&s.link() == &s.guarded);
        CHECK(s.sent(s.guarded) == "Q(BEGIN READ ONLY;SELECT 1) ");
        s.world.site().guard.functions = config::function_policy::refuse;  // as where the catalog is known by now
        s.flip(routing::mode::sealed);
        s.server(complete("BEGIN") + rows({"1"}) + ready('T'));
        CHECK(has(s.sent(s.guarded), "Q(ROLLBACK) "));
        s.server(error("3B001") + ready('E') + complete("ROLLBACK") + ready('I'));
        std::string const told = s.told();
        CHECK(has(told, "E(25006"));
        CHECK(has(told, "Z(I)"));
        CHECK(s.driver.core().status() == 'I');
    });
}

TEST_CASE("autocommit in our READ ONLY block: the client of a lost server is in no block, and goes on") {
    tell([](scene& s) {
        s.seal_on_primary();
        s.client(query("select f()"));
        s.link();
        s.server(complete("BEGIN") + rows({"1"}) + ready('T'));
        CHECK(s.sent(s.guarded) == "Q(BEGIN READ ONLY;SELECT 1) Q(select f()) Q(ROLLBACK) ");
        s.server(rows({"1"}) + ready('T'));
        CHECK(s.told() == "T D(1) C(SELECT 1) Z(I) ");
        s.server(complete("ROLLBACK") + ready('I'));
        s.client(parse("", "select g()") + bind_to("") + execute() + wire::sync());
        if (s.driver.wish()) s.link();
        s.server(complete("BEGIN") + rows({"1"}) + ready('T'));
        s.server(message('1') + message('2') + data_row("1") + complete("SELECT 1") + ready('T'));
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(has(s.told(), "C(SELECT 1) Z(I)"));
    });
}
