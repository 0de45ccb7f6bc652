// A server that is lost between what a session has sent and what it has answered by itself.
#include "tests/unit/proxy/pg_driver.hpp"
#include "tests/unit/proxy/pg_wire.hpp"
#include "tests/unit/proxy/pg_world.hpp"

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
