// What every session does: where statements go, what a block is, what a flip changes.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

TEST_CASE("a read goes to the replica and its server goes back") {
    tell([](scene& s) {
        s.client(query("select 1"));
        CHECK(&s.link() == &s.replica);
        CHECK(has(s.sent(s.replica), "select 1"));
        s.server(rows({"1"}) + complete("SELECT 1") + ready('I'));
        CHECK(has(s.told(), "SELECT 1"));
        CHECK(s.driver.released.size() == 1);
    });
}

TEST_CASE("BEGIN waits for the first statement, which tells where the block belongs") {
    tell([](scene& s) {
        s.client(query("begin"));
        CHECK(!s.driver.wish());
        CHECK(has(s.told(), "BEGIN"));
        s.client(query("insert into t values (1)"));
        CHECK(&s.link() == &s.primary);
        std::string const sent = s.sent(s.primary);
        CHECK(has(sent, "BEGIN"));
        CHECK(has(sent, "insert into t"));
        s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
        CHECK(s.told().find("BEGIN") == std::string::npos);
        CHECK(s.driver.core().writes());
        s.client(query("commit"));
        s.server(complete("COMMIT") + ready('I'));
        CHECK(!s.driver.core().writes());
        CHECK(s.driver.released.size() == 1);
    });
}

TEST_CASE("a write prepared before maintenance is refused when executed during it") {
    tell(
        [](scene& s) {
            s.client(parse("w", "update t set a = 1") + wire::sync());
            s.link();
            s.server(message('1') + ready('I'));
            (void)s.told();
            s.flip(routing::mode::sealed);
            (void)s.told();
            s.client(bind_to("w") + execute() + wire::sync());
            CHECK(&s.link() == &s.replica);
            CHECK(s.sent(s.replica).find("update") == std::string::npos);
            s.server(message('1') + message('2') + error("3B001") + ready('I'));
            std::string const told = s.told();
            CHECK(has(told, "25006"));
            CHECK(told.find("3B001") == std::string::npos);
            CHECK(s.driver.released.size() == 2);
        },
        90);
}

TEST_CASE("refused inside a block, the block is aborted on the server too") {
    tell([](scene& s) {
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("begin"));
        s.client(query("select 1"));
        CHECK(&s.link() == &s.replica);
        s.server(complete("BEGIN") + ready('T') + rows({"1"}) + complete("SELECT 1") + ready('T'));
        (void)s.sent(s.replica);
        (void)s.told();
        s.client(query("delete from t"));
        CHECK(has(s.sent(s.replica), "ROLLBACK TO SAVEPOINT"));
        s.server(error("3B001") + ready('E'));
        CHECK(has(s.told(), "cannot execute DELETE in a read-only transaction"));
        CHECK(s.driver.core().status() == 'E');
        s.client(query("rollback"));
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(s.driver.released.size() == 1);
    });
}

TEST_CASE("without a replica a read is wrapped, and the client sees nothing of it") {
    tell([](scene& s) {
        s.world.set_replica_healthy(false);
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("select 1"));
        CHECK(&s.link() == &s.guarded);
        std::string const sent = s.sent(s.guarded);
        CHECK(has(sent, "READ ONLY;SELECT 1"));
        CHECK(has(sent, "ROLLBACK"));
        s.server(complete("BEGIN") + rows({"1"}) + complete("SELECT 1") + ready('T') + rows({"1"}) +
                 complete("SELECT 1") + ready('T') + complete("ROLLBACK") + ready('I'));
        std::string const told = s.told();
        CHECK(told.find("BEGIN") == std::string::npos);
        CHECK(told.find("ROLLBACK") == std::string::npos);
        CHECK(s.driver.core().status() == 'I');
        CHECK(s.driver.released.size() == 1);
    });
}

TEST_CASE("what may write waits for our own BEGIN") {
    tell([](scene& s) {
        s.world.set_replica_healthy(false);
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("select f()"));
        s.link();
        CHECK(s.sent(s.guarded).find("select f()") == std::string::npos);
        s.server(complete("BEGIN") + rows({"1"}) + complete("SELECT 1") + ready('T'));
        std::string const sent = s.sent(s.guarded);
        CHECK(has(sent, "select f()"));
        CHECK(has(sent, "ROLLBACK"));
        s.server(rows({"1"}) + complete("SELECT 1") + ready('T') + complete("ROLLBACK") + ready('I'));
        CHECK(s.driver.released.size() == 1);
    });
}

TEST_CASE("COMMIT of a guarded block is a ROLLBACK that the client does not see") {
    tell([](scene& s) {
        s.world.set_replica_healthy(false);
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("begin"));
        s.client(query("select 1"));
        s.link();
        s.server(complete("BEGIN") + rows({"1"}) + complete("SELECT 1") + ready('T') + rows({"1"}) +
                 complete("SELECT 1") + ready('T'));
        (void)s.told();
        (void)s.sent(s.guarded);
        s.client(query("commit"));
        std::string const sent = s.sent(s.guarded);
        CHECK(has(sent, "ROLLBACK"));
        CHECK(sent.find("commit") == std::string::npos);
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(has(s.told(), "COMMIT"));
    });
}

TEST_CASE(
    "a block that wrote before the flip goes on while draining, one that only read cannot begin to write") {
    tell([](scene& s) {
        s.client(query("begin"));
        s.client(query("insert into t values (1)"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
        s.flip(routing::mode::draining);
        (void)s.sent(s.primary);
        s.client(query("insert into t values (2)"));
        CHECK(has(s.sent(s.primary), "values (2)"));
        s.server(complete("INSERT 0 1") + ready('T'));
        s.client(query("commit"));
        s.server(complete("COMMIT") + ready('I'));
        (void)s.told();
        s.client(query("insert into t values (3)"));
        CHECK(has(s.told(), "25006"));
    });
}

TEST_CASE("a held write goes out once, when writes open") {
    tell([](scene& s) {
        s.world.site().writes = config::write_policy::hold;
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("insert into t values (1)"));
        CHECK(s.driver.core().held());
        CHECK(!s.driver.wish());
        s.flip(routing::mode::reopening);
        CHECK(s.driver.core().held());
        s.flip(routing::mode::read_write);
        CHECK(&s.link() == &s.primary);
        CHECK(has(s.sent(s.primary), "insert into t"));
        s.server(complete("INSERT 0 1") + ready('I'));
        CHECK(has(s.told(), "INSERT 0 1"));
        CHECK(s.sent(s.primary).empty());
    });
}

TEST_CASE("a held write can be cancelled") {
    tell([](scene& s) {
        s.world.site().writes = config::write_policy::hold;
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("insert into t values (1)"));
        s.driver.cancel();
        CHECK(has(s.told(), "57014"));
        CHECK(!s.driver.core().held());
    });
}

TEST_CASE("a named statement is prepared again on another server") {
    tell(
        [](scene& s) {
            s.client(parse("q", "select 1") + wire::sync());
            s.link();
            s.server(message('1') + ready('I'));
            (void)s.told();
            s.world.set_replica_healthy(false);
            s.driver.snapshot();
            s.client(bind_to("q") + execute() + wire::sync());
            CHECK(&s.link() == &s.primary);
            CHECK(has(s.sent(s.primary), "select 1"));
            s.server(message('1') + message('2') + rows({"1"}) + complete("SELECT 1") + ready('I'));
            CHECK(has(s.told(), "SELECT 1"));
        },
        60);
}

TEST_CASE("how often a server knows a prepared statement is counted") {
    scene s({});
    database_stats const& stats = s.driver.core().stats();
    s.client(parse("q", "select 1") + wire::sync());
    s.link();
    s.server(message('1') + ready('I'));
    CHECK(stats.prepared_parsed == 1);
    CHECK(stats.prepared_known == 0);
    for (int i = 0; i < 2; ++i) {
        s.client(bind_to("q") + execute() + wire::sync());
        s.link();
        s.server(message('2') + rows({"1"}) + complete("SELECT 1") + ready('I'));
    }
    CHECK(stats.prepared_parsed == 1);
    CHECK(stats.prepared_known == 2);
    s.world.set_replica_healthy(false);
    s.driver.snapshot();
    s.client(bind_to("q") + execute() + wire::sync());
    s.link();
    CHECK(stats.prepared_parsed == 2);
    CHECK(stats.prepared_known == 2);
}

TEST_CASE("the server is lost: one error for what was asked, and the session lives on") {
    tell([](scene& s) {
        s.client(query("select 1"));
        s.link();
        s.driver.lose();
        std::string const told = s.told();
        CHECK(has(told, "08006"));
        CHECK(s.driver.core().status() == 'I');
        s.client(query("select 2"));
        CHECK(s.driver.wish());
    });
}

TEST_CASE("a client that leaves in a block leaves nothing behind") {
    tell([](scene& s) {
        s.client(query("begin"));
        s.client(query("insert into t values (1)"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
        (void)s.sent(s.primary);
        s.driver.gone();
        CHECK(has(s.sent(s.primary), "ROLLBACK"));
        CHECK(s.driver.core().writes());
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(s.driver.core().finished());
    });
}
