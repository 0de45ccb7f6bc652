// A cancel that is on its way while what it is meant for ends by itself: it hits nothing else.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;
using namespace std::chrono_literals;

namespace {

/// Statements may take a second.
void limit(scene& s) {
    s.driver.slow_cancels = true;
    s.world.configured().limits.statement_timeout = config::milliseconds(1000);
    s.flip(routing::mode::read_write);
}

/// A block on the primary.
void begin(scene& s) {
    limit(s);
    s.client(query("begin"));
    s.client(query("update t set a = 1"));
    s.link();
    s.server(complete("BEGIN") + ready('T') + complete("UPDATE 1") + ready('T'));
    (void)s.told();
    (void)s.sent(s.primary);
}

void outlast(scene& s) {
    s.world.pass(1100ms);
    s.driver.check_timeouts();
    CHECK(s.driver.cancels == 1);
}

}  // namespace

TEST_CASE("a cancel for a time-out does not hit the next statement of its block") {
    tell([](scene& s) {
        begin(s);
        s.client(query("select 1"));
        outlast(s);
        s.server(rows({"1"}) + complete("SELECT 1") + ready('T'));
        CHECK(has(s.told(), "C(SELECT 1) Z(T) "));
        (void)s.sent(s.primary);
        s.client(query("select 2"));
        CHECK(s.sent(s.primary) == "");
        s.world.pass(900ms);
        s.driver.check_timeouts();
        s.driver.cancel_ended();
        CHECK(s.sent(s.primary) == "Q(select 2) ");
        s.world.pass(900ms);
        s.driver.check_timeouts();  // its time counts from here
        CHECK(s.driver.cancels == 1);
        s.server(rows({"2"}) + complete("SELECT 1") + ready('T'));
        s.client(query("commit"));
        CHECK(s.sent(s.primary) == "Q(commit) ");
        s.server(complete("COMMIT") + ready('I'));
        CHECK(has(s.told(), "C(COMMIT) Z(I) "));
        CHECK(s.driver.released.size() == 1);
    });
}

TEST_CASE("nor what its client has sent behind it already, or the Sync that the server waits for") {
    tell([](scene& s) {
        begin(s);
        s.client(query("select 1"));
        outlast(s);
        (void)s.sent(s.primary);
        s.client(query("select 2"));
        CHECK(s.sent(s.primary) == "");
        s.server(rows({"1"}) + complete("SELECT 1") + ready('T'));
        CHECK(s.sent(s.primary) == "");
        s.driver.cancel_ended();
        CHECK(s.sent(s.primary) == "Q(select 2) ");
        s.server(rows({"2"}) + complete("SELECT 1") + ready('T'));
        s.driver.cancels = 0;
        s.client(parse("", "select 3") + bind_to("") + execute());
        outlast(s);
        (void)s.sent(s.primary);
        s.client(wire::sync());
        CHECK(s.sent(s.primary) == "");
        s.driver.cancel_ended();
        CHECK(has(s.sent(s.primary), "S "));
        s.server(message('1') + message('2') + rows({"3"}) + complete("SELECT 1") + ready('T'));
        CHECK(has(s.told(), "C(SELECT 1) Z(T) "));
    });
}

TEST_CASE("where it hits what it is meant for, the client is told of the time-out, and its block ends when the cancel has") {
    tell([](scene& s) {
        begin(s);
        s.client(query("select 1"));
        outlast(s);
        (void)s.sent(s.primary);
        s.server(error("57014", "canceling statement due to user request") + ready('E'));
        CHECK(s.told() == "E(57014 canceling statement due to statement timeout) Z(E) ");
        s.client(query("rollback"));
        CHECK(s.sent(s.primary) == "");
        s.driver.cancel_ended();
        CHECK(s.sent(s.primary) == "Q(rollback) ");
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(s.told() == "C(ROLLBACK) Z(I) ");
    });
}

TEST_CASE("a block that is rolled back for its time is so when the cancel has ended") {
    tell([](scene& s) {
        begin(s);
        s.world.configured().limits.statement_timeout = config::milliseconds(0);
        s.world.configured().limits.transaction_timeout = config::milliseconds(1000);
        s.flip(routing::mode::read_write);
        s.client(query("select 1"));
        outlast(s);
        (void)s.sent(s.primary);
        s.server(rows({"1"}) + complete("SELECT 1") + ready('T'));
        CHECK(s.sent(s.primary) == "");
        s.driver.cancel_ended();
        CHECK(s.sent(s.primary) == "Q(ROLLBACK) ");
        s.server(complete("ROLLBACK") + ready('I'));
        (void)s.told();
        s.client(query("select 2"));
        CHECK(s.told() == "E(25P04 transaction rolled back due to transaction timeout) Z(E) ");
    });
}

TEST_CASE("a block that has gone on behind the statement that its time has ended is rolled back with a word") {
    scene s({});
    begin(s);
    s.world.configured().limits.statement_timeout = config::milliseconds(0);
    s.world.configured().limits.transaction_timeout = config::milliseconds(1000);
    s.flip(routing::mode::read_write);
    s.client(query("select 1") + query("rollback to a"));
    outlast(s);
    s.driver.cancel_ended();
    (void)s.sent(s.primary);
    s.server(error("57014") + ready('E') + complete("ROLLBACK") + ready('T'));
    CHECK(s.told() == "E(25P04 transaction rolled back due to transaction timeout) Z(E) C(ROLLBACK) Z(T) ");
    CHECK(s.sent(s.primary) == "Q(ROLLBACK) ");
    s.server(complete("ROLLBACK") + ready('I'));
    s.client(query("commit"));
    CHECK(s.told() == "E(25P04 transaction rolled back due to transaction timeout) Z(I) ");
}

TEST_CASE("a client's own cancel of what is held back for another is not lost") {
    tell([](scene& s) {
        begin(s);
        s.client(query("select 1"));
        outlast(s);
        s.server(rows({"1"}) + complete("SELECT 1") + ready('T'));
        s.client(query("select 2"));
        s.driver.cancel();
        CHECK(s.driver.cancels == 1);
        (void)s.sent(s.primary);
        s.driver.cancel_ended();
        CHECK(s.sent(s.primary) == "Q(select 2) ");
        CHECK(s.driver.cancels == 2);
        s.server(error("57014", "canceling statement due to user request") + ready('E'));
        CHECK(has(s.told(), "E(57014 canceling statement due to user request) Z(E) "));
        s.driver.cancel_ended();
        s.client(query("rollback"));
        CHECK(s.sent(s.primary) == "Q(rollback) ");
    });
}

TEST_CASE("nor where that has to wait again, because its write is held by then") {
    tell([](scene& s) {
        s.world.site().writes = config::write_policy::hold;
        s.make_temporary();
        limit(s);
        s.client(query("select 1"));
        outlast(s);
        s.server(rows({"1"}) + complete("SELECT 1") + ready('I'));
        s.client(query("update t set a = 1"));
        (void)s.told();
        (void)s.sent(s.primary);
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.driver.cancel();
        CHECK(s.told() == "");
        s.driver.cancel_ended();
        CHECK(!s.driver.core().held());
        CHECK(has(s.told(), "E(57014 canceling statement due to user request) Z(I) "));
        CHECK(lacks(s.sent(s.primary), "update"));
    });
}

TEST_CASE("what is held back is told when its server is lost, and a client that goes is not waited for") {
    scene s({});
    begin(s);
    s.client(query("select 1"));
    outlast(s);
    s.server(rows({"1"}) + complete("SELECT 1") + ready('T'));
    (void)s.told();
    s.client(query("select 2"));
    s.driver.lose();
    CHECK(has(s.told(), "E(08006 "));
    scene t({});
    begin(t);
    t.client(query("select 1"));
    outlast(t);
    t.server(rows({"1"}) + complete("SELECT 1") + ready('T'));
    t.client(query("select 2"));
    (void)t.sent(t.primary);
    t.driver.gone();
    CHECK(t.sent(t.primary) == "Q(ROLLBACK) ");
}

TEST_CASE("what waits for the end of a cancel on a server that is given back gets another") {
    tell([](scene& s) {
        limit(s);
        s.client(query("select 1"));
        CHECK(&s.link() == &s.replica);
        outlast(s);
        (void)s.sent(s.replica);
        s.client(query("insert into t values (1)"));
        CHECK(s.sent(s.replica) == "");
        s.server(rows({"1"}) + ready('I'));
        CHECK(s.driver.released.size() == 1);
        CHECK(&s.link() == &s.primary);
        CHECK(has(s.sent(s.primary), "Q(insert into t values (1)) "));
        s.server(complete("INSERT 0 1") + ready('I'));
        CHECK(has(s.told(), "C(INSERT 0 1) Z(I) "));
    });
}

namespace {

/// What is left to do for the end of a block that was taken for a reader's.
void reopened_before_commit(scene& s) {
    s.world.set_replica_healthy(false);
    s.flip(routing::mode::read_write);
    s.client(query("begin"));
    s.client(query("declare c cursor with hold for select 1"));
    s.link();
    s.server(complete("BEGIN") + ready('T') + complete("DECLARE CURSOR") + ready('T'));
    s.flip(routing::mode::draining);
    s.client(query("select 1"));
    s.server(complete("SET") + ready('T') + rows({"1"}) + ready('T'));
    s.flip(routing::mode::read_write);
    (void)s.told();
    (void)s.sent(s.primary);
    s.client(query("commit"));
}

}  // namespace

TEST_CASE("a cancel of what waits behind a question of ours is not lost") {
    tell([](scene& s) {
        s.make_temporary();
        s.seal();
        s.client(query("select n from mine"));
        s.server(complete("BEGIN") + rows({"1"}) + complete("SELECT 1") + ready('T'));
        s.server(rows({"1"}) + complete("SELECT 1") + ready('T'));
        (void)s.told();
        CHECK(has(s.sent(s.primary), "Q(ROLLBACK) "));
        s.client(query("select n + 1 from mine"));
        CHECK(lacks(s.sent(s.primary), "n + 1"));
        s.driver.cancel();
        CHECK(s.driver.cancels == 0);
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(has(s.told(), "E(57014 canceling statement due to user request) Z(I) "));
        CHECK(lacks(s.sent(s.primary), "n + 1"));
    });
}

TEST_CASE("nor is the end of a segment that has its error taken for what it cancels") {
    tell([](scene& s) {
        s.begin_and_write();
        s.flip(routing::mode::draining);
        (void)s.told();
        (void)s.sent(s.primary);
        s.driver.end_writing(false);
        CHECK(s.sent(s.primary) == "Q(ROLLBACK) ");
        s.client(parse("", "select 1") + bind_to("") + execute());
        CHECK(has(s.told(), "E(57014"));
        s.client(wire::sync());
        s.client(query("select 2"));
        CHECK(s.told() == "");
        s.driver.cancel();
        s.server(complete("ROLLBACK") + ready('I'));
        std::string const told = s.told();
        CHECK(told.starts_with("Z(E) "));
        CHECK(told.ends_with("Z(E) "));
        CHECK(told.find("57014") == std::string::npos);
    });
}

TEST_CASE("a COMMIT that is refused for want of a proof leaves no block behind on an open site") {
    tell([](scene& s) {
        reopened_before_commit(s);
        std::string const asked = s.sent(s.primary);
        CHECK(asked == "Q(SELECT 1 OPERATOR(pg_catalog./) 0) ");
        s.server(error("22012") + ready('E'));
        CHECK(has(s.told(), "E(25006"));
        CHECK(s.sent(s.primary) == "Q(ROLLBACK) ");
        s.client(query("select 3"));
        CHECK(s.sent(s.primary) == "");
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(s.driver.core().status() == 'I');
    });
}
