#include "tests/unit/proxy/pg_driver.hpp"
#include "tests/unit/proxy/pg_wire.hpp"
#include "tests/unit/proxy/pg_world.hpp"

#include <doctest/doctest.h>

using namespace lull;
using namespace lull::wire;
using namespace std::chrono_literals;

namespace {

struct counted {
    counted() : driver(world, world.identity(), [](std::string const& what) { FAIL(what); }) {
        primary.state.role = routing::role::primary;
        primary.state.backend = the_primary;
        replica.state.role = routing::role::replica;
        replica.state.backend = the_replica;
        replica.state.pid = 77;
        for (test_server* s : {&primary, &replica})
            s->state.actual = s->state.reported = world.context().settings.none();
        driver.start();
        link();
    }
    void link() {
        REQUIRE(driver.wish());
        driver.link(driver.wish()->backend == the_replica ? replica : primary);
    }
    /// A statement that waits, runs, and is answered with `answer`.
    void run(std::string const& bytes, std::string const& answer, std::chrono::milliseconds waits = 0ms,
             std::chrono::milliseconds runs = 0ms) {
        driver.client(bytes);
        world.pass(waits);
        if (driver.wish()) link();
        world.pass(runs);
        driver.server(answer);
    }
    database_stats& stats() { return world.context().stats.databases.at("shop"); }
    statement_watch& watch() { return world.context().watch; }

    pg_world world;
    test_server primary, replica;
    pg_driver driver;
};

constexpr auto reads = static_cast<std::size_t>(routing::access::read);
constexpr auto writes = static_cast<std::size_t>(routing::access::write);
constexpr auto on_primary = static_cast<std::size_t>(routing::role::primary);
constexpr auto on_replica = static_cast<std::size_t>(routing::role::replica);

}  // namespace

TEST_CASE("a query is counted from its server to its end, its wait apart") {
    counted c;
    CHECK(c.stats().queries == 0);  // the welcome is none
    CHECK(c.stats().wait.count() == 1);
    c.world.pass(1h);  // idle time is nobody's
    c.run(query("select 1"), rows({"1"}) + complete("SELECT 1") + ready('I'), 5ms, 20ms);
    CHECK(c.stats().queries == 1);
    CHECK(c.stats().transactions == 1);
    CHECK(c.stats().query.sum_us() == 20'000);
    CHECK(c.stats().transaction_us == 20'000);
    CHECK(c.stats().wait.count() == 2);
    CHECK(c.stats().wait.sum_us() == 5'000);
    CHECK(c.stats().executed[on_replica][reads] == 1);
}

TEST_CASE("a block is one transaction of several queries") {
    counted c;
    c.driver.client(query("begin"));
    c.run(query("update t set a = 1"), complete("BEGIN") + ready('T') + complete("UPDATE 1") + ready('T'), 0ms, 3ms);
    c.world.pass(10ms);
    CHECK(c.stats().queries == 2);
    CHECK(c.stats().transactions == 0);
    c.run(query("commit"), complete("COMMIT") + ready('I'), 0ms, 4ms);
    CHECK(c.stats().queries == 3);
    CHECK(c.stats().transactions == 1);
    CHECK(c.stats().query.sum_us() == 7'000);
    CHECK(c.stats().transaction_us == 17'000);
    CHECK(c.stats().executed[on_primary][writes] == 1);
}

TEST_CASE("what the server says against the classifier is counted, what Lull refuses is counted apart") {
    counted c;
    // (Who does not ask for the standby gets the primary's answer then.)
    std::string const text = "/* lull: replica */ select * from t";
    c.run(query(text), error("25006") + ready('I'));
    CHECK(c.stats().refused_by_server[reads] == 1);
    CHECK(c.stats().errors == 1);
    c.run(parse("", text) + bind_to("") + execute() + wire::sync(),
          message('1') + message('2') + error("25006") + ready('I'));
    CHECK(c.stats().refused_by_server[reads] == 2);
    c.run(query("select 1 from nowhere"), error("42P01") + ready('I'));
    CHECK(c.stats().refused_by_server[reads] == 2);
    CHECK(c.stats().errors == 3);
    c.world.flip(routing::mode::sealed);
    c.driver.snapshot();
    c.driver.client(query("update t set a = 1"));
    CHECK(c.stats().writes.refused == 1);
    CHECK(c.stats().refused_by_server[writes] == 0);
    CHECK(c.stats().queries == 4);
}

TEST_CASE("slow and sampled queries are kept within a budget") {
    counted c;
    c.watch().slow_from = 10ms;
    c.watch().budget = 2;
    std::string const answer = rows({"1"}) + complete("SELECT 1") + ready('I');
    c.run(query("select 'quick'"), answer, 0ms, 9ms);
    CHECK(c.watch().found.empty());
    c.run(query("select 'slow'"), answer, 2ms, 10ms);
    REQUIRE(c.watch().found.size() == 1);
    finished_query const& q = c.watch().found.front();
    CHECK(q.slow);
    CHECK(q.took == 10ms);
    CHECK(q.waited == 2ms);
    CHECK(q.statement == "select 'slow'");
    CHECK(q.server_pid == 77);
    CHECK(q.said == routing::access::read);
    c.run(query("select 1"), answer, 0ms, 10ms);
    c.run(query("select 1"), answer, 0ms, 10ms);
    CHECK(c.watch().found.size() == 2);
    CHECK(c.watch().dropped == 1);
    CHECK(c.stats().slow == 3);
    c.watch() = {};
    c.watch().budget = 10;
    c.watch().one_in = 3;
    for (int i = 0; i < 7; ++i) c.run(query("select 1"), answer);
    CHECK(c.watch().found.size() == 2);
    CHECK_FALSE(c.watch().found.front().slow);
}

TEST_CASE("what is sent once more because its plan was stale counts once") {
    for (std::string const portal : {"", "p"}) {
        counted c;
        c.run(parse("q", "select a from t") + wire::sync(), message('1') + ready('I'));
        std::string const unit = bind_to("q", portal) + describe('P', portal) + execute(portal) + wire::sync();
        c.run(unit, message('2') + rows({"1"}) + ready('I'));
        CHECK(c.stats().executed[on_replica][reads] == 1);
        std::uint64_t const queries = c.stats().queries;
        c.run(unit, stale_plan() + ready('I'));
        CHECK(c.stats().errors == 0);
        CHECK(c.stats().executed[on_replica][reads] == 2);  // what comes again is on its way
        c.driver.server(message('3') + message('1') + message('2') + rows({"1"}) + ready('I'));
        CHECK(c.stats().executed[on_replica][reads] == 2);
        CHECK(c.stats().queries == queries + 1);
    }
}
