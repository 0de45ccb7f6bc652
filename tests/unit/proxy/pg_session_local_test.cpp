// What a session answers without a server: blocks that have begun nothing, and what is prepared ahead of
// them.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

TEST_CASE("BEGIN in the extended protocol begins nothing until its first statement tells where it belongs") {
    tell([](scene& s) {
        s.client(parse("", "start transaction read only") + bind_to("") + describe('P', "") + execute() +
                 wire::sync());
        CHECK(!s.driver.wish());
        CHECK(s.told() == "1 2 n C(START TRANSACTION) Z(T) ");
        s.client(parse("", "select 1") + bind_to("") + execute() + wire::sync());
        CHECK(&s.link() == &s.replica);
        CHECK(s.sent(s.replica) == "Q(BEGIN READ ONLY) P(,select 1) B(,) E() S ");
        s.server(complete("BEGIN") + ready('T') + message('1') + message('2') + data_row("1") +
                 complete("SELECT 1") + ready('T'));
        CHECK(s.told() == "1 2 D(1) C(SELECT 1) Z(T) ");
    });
}

TEST_CASE("a block in the extended protocol that ends before anything was sent needs no server") {
    tell([](scene& s) {
        s.client(parse("", "begin") + bind_to("") + execute() + wire::sync());
        s.client(parse("", "rollback") + bind_to("") + execute() + wire::sync());
        CHECK(!s.driver.wish());
        CHECK(s.told() == "1 2 C(BEGIN) Z(T) 1 2 C(ROLLBACK) Z(I) ");
    });
}

TEST_CASE("what is only prepared does not begin a block while the site is sealed, so its write can be held") {
    tell([](scene& s) {
        s.world.site().writes = config::write_policy::hold;
        s.flip(routing::mode::sealed);
        s.client(query("begin"));
        (void)s.told();
        s.client(parse("w", "insert into t values (1)") + wire::sync());
        CHECK(&s.link() == &s.replica);
        CHECK(has(s.sent(s.replica), "insert into t values (1)) S "));
        s.server(message('1') + ready('I'));
        CHECK(s.told() == "1 Z(T) ");
        CHECK(s.driver.released.size() == 1);
        s.client(bind_to("w") + execute() + wire::sync());
        CHECK(s.driver.core().held());
        (void)s.told();
        s.flip(routing::mode::read_write);
        (void)s.told();
        s.link();
        CHECK(has(s.sent(s.primary), "Q(BEGIN) P(lull_"));
        s.server(complete("BEGIN") + ready('T') + message('1') + message('2') + complete("INSERT 0 1") +
                 ready('T'));
        CHECK(s.told() == "2 C(INSERT 0 1) Z(T) ");
    });
}

TEST_CASE("what cannot be prepared fails the block that it was meant for") {
    tell([](scene& s) {
        s.flip(routing::mode::sealed);
        s.client(query("begin"));
        (void)s.told();
        s.client(parse("w", "nonsense") + wire::sync());
        s.link();
        s.server(error("42601") + ready('I'));
        CHECK(s.told() == "E(42601 it failed) Z(E) ");
        s.client(query("select 1"));
        CHECK(has(s.told(), "E(25P02"));
        s.client(query("commit"));
        CHECK(s.told() == "C(ROLLBACK) Z(I) ");
    });
}

TEST_CASE(
    "on the primary alone what is prepared ahead of a block has our transaction around it, the block its "
    "own") {
    tell([](scene& s) {
        s.seal_on_primary();
        s.client(query("begin"));
        (void)s.told();
        s.client(parse("r", "select 1") + wire::sync());
        CHECK(&s.link() == &s.guarded);
        CHECK(has(s.sent(s.guarded), "Q(BEGIN READ ONLY;SELECT 1) P(lull_"));
        s.server(complete("BEGIN") + rows({"1"}) + ready('T') + message('1') + ready('T') +
                 complete("ROLLBACK") + ready('I'));
        CHECK(s.told() == "1 Z(T) ");
        s.client(bind_to("r") + execute() + wire::sync());
        s.link();
        CHECK(has(s.sent(s.guarded), "Q(BEGIN READ ONLY;SELECT 1) B(,lull_"));
        s.server(complete("BEGIN") + rows({"1"}) + ready('T') + message('2') + data_row("1") +
                 complete("SELECT 1") + ready('T'));
        CHECK(s.told() == "2 D(1) C(SELECT 1) Z(T) ");
    });
}

TEST_CASE("a write that stands behind a read in a pipeline is held when the read is over") {
    tell([](scene& s) {
        s.world.site().writes = config::write_policy::hold;
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("select 1") + query("insert into t values (1)"));
        s.link();
        s.server(rows({"1"}) + ready('I'));
        CHECK(s.driver.core().held());
        CHECK(s.driver.released.size() == 1);
        CHECK(has(s.told(), "D(1) C(SELECT 1) Z(I) N("));
        s.flip(routing::mode::read_write);
        (void)s.told();
        s.link();
        CHECK(s.sent(s.primary) == "Q(insert into t values (1)) ");
        s.server(complete("INSERT 0 1") + ready('I'));
        CHECK(s.told() == "C(INSERT 0 1) Z(I) ");
    });
}

TEST_CASE(
    "the deadline rolled a block back: its COMMIT fails and ends it, its ROLLBACK has nothing left to do") {
    for (bool const commits : {true, false}) {
        CAPTURE(commits);
        scene s({});
        s.begin_and_write();
        s.flip(routing::mode::draining);
        s.driver.end_writing(false);
        s.server(complete("ROLLBACK") + ready('I'));
        (void)s.told();
        s.client(query(commits ? "commit" : "rollback"));
        std::string const told = s.told();
        if (commits) CHECK(has(told, "E(57014 transaction rolled back"));
        if (!commits) CHECK(told == "C(ROLLBACK) Z(I) ");
        CHECK(s.driver.core().status() == 'I');
    }
}

TEST_CASE(
    "a session that is serializable by default reads on the primary, and on a standby only while sealed") {
    scene s({});
    s.client(query("set default_transaction_isolation to 'serializable'"));
    s.link();
    s.server(complete("SET") + ready('I'));
    s.client(query("select 1"));
    CHECK(&s.link() == &s.primary);
    s.server(rows({"1"}) + ready('I'));
    s.flip(routing::mode::sealed);
    s.client(query("select 1"));
    CHECK(&s.link() == &s.replica);
    CHECK(s.sent(s.replica) == "Q(select 1) ");
}

TEST_CASE("a block that found no server is chained with the options that it was begun with") {
    tell([](scene& s) {
        s.client(query("begin isolation level repeatable read"));
        CHECK(s.told() == "C(BEGIN) Z(T) ");
        s.client(query("insert into t values (1)"));
        s.driver.no_server(error("08001", "no server"));
        CHECK(s.told() == "E(08001 no server) Z(E) ");
        s.client(query("rollback and chain"));
        CHECK(s.told() == "C(ROLLBACK) Z(T) ");
        s.client(query("insert into t values (2)"));
        s.link();
        CHECK(s.sent(s.primary) ==
              "Q(BEGIN ISOLATION LEVEL REPEATABLE READ) Q(insert into t values (2)) ");
        s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
        CHECK(s.told() == "C(INSERT 0 1) Z(T) ");
    });
}

TEST_CASE("Terminate is read in its turn: what came before it is answered") {
    tell([](scene& s) {
        s.client(query("select 1") + parse("", "select 2") + bind_to("") + execute() + wire::sync() + terminate());
        s.link();
        CHECK(!s.driver.closed());
        s.server(data_row("1") + complete("SELECT 1") + ready('I'));
        CHECK(!s.driver.closed());
        s.server(message('1') + message('2') + data_row("2") + complete("SELECT 1") + ready('I'));
        CHECK(s.told() == "D(1) C(SELECT 1) Z(I) 1 2 D(2) C(SELECT 1) Z(I) ");
        CHECK(s.driver.closed());
        CHECK(s.driver.core().finished());
    });
}

namespace {

/// A block that was answered and not sent, and then more time than it may take.
void outlast(scene& s) {
    s.client(query("begin"));
    CHECK(s.told() == "C(BEGIN) Z(T) ");
    s.world.pass(std::chrono::milliseconds(900));
    s.driver.check_timeouts();
    CHECK(s.driver.core().status() == 'T');
    s.world.pass(std::chrono::milliseconds(200));
    s.driver.check_timeouts();
    CHECK(s.told() == "");  // it is told when it asks
}

}  // namespace

TEST_CASE("a block of which no server knows yet obeys the limits of time") {
    for (bool const idle : {true, false}) {
        tell([&](scene& s) {
            config::limits& limits = s.world.configured().limits;
            (idle ? limits.idle_in_transaction_timeout : limits.transaction_timeout) = config::milliseconds(1000);
            s.flip(routing::mode::read_write);
            std::string const failed = idle ? "E(25P03 transaction rolled back due to idle-in-transaction timeout) "
                                            : "E(25P04 transaction rolled back due to transaction timeout) ";
            outlast(s);
            s.client(query("select 1"));
            CHECK(s.told() == failed + "Z(E) ");
            s.client(query("select 1"));
            CHECK(s.told() == "E(25P02 current transaction is aborted, commands ignored until end of transaction block) Z(E) ");
            s.client(query("commit"));
            CHECK(s.told() == "C(ROLLBACK) Z(I) ");
            outlast(s);
            s.client(query("commit"));  // not told that it is committed
            CHECK(s.told() == failed + "Z(I) ");
            outlast(s);
            s.client(query("rollback"));
            CHECK(s.told() == "C(ROLLBACK) Z(I) ");
            outlast(s);
            s.client(parse("", "select 1") + bind_to("") + execute() + wire::sync());
            CHECK(s.told() == failed + "Z(E) ");
            s.client(query("rollback"));
            CHECK(s.told() == "C(ROLLBACK) Z(I) ");
            CHECK(!s.driver.wish());
            s.world.pass(std::chrono::hours(1));
            s.driver.check_timeouts();  // of what is over
            s.client(query("select 1"));
            s.link();
            s.server(rows({"1"}) + complete("SELECT 1") + ready('I'));
            CHECK(has(s.told(), "C(SELECT 1) Z(I) "));
        });
    }
}

TEST_CASE("a block that waits for its first server too long has failed when that comes") {
    tell([](scene& s) {
        s.world.configured().limits.transaction_timeout = config::milliseconds(1000);
        s.flip(routing::mode::read_write);
        s.client(query("begin"));
        s.client(query("select 1"));
        REQUIRE(s.driver.wish());
        s.world.pass(std::chrono::milliseconds(1100));
        (void)s.told();
        s.driver.check_timeouts();
        CHECK(s.told() == "E(25P04 transaction rolled back due to transaction timeout) Z(E) ");
        CHECK(!s.driver.wish());
        s.client(query("rollback"));
        CHECK(s.told() == "C(ROLLBACK) Z(I) ");
    });
}
