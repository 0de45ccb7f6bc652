// What a flip does to sessions, and what nobody can talk a sealed site into.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

std::string const guard_opens = complete("BEGIN") + rows({"1"}) + ready('T');

/// A block on the primary inside our own READ ONLY transaction.
void guarded_block(scene& s) {
    s.seal_on_primary();
    s.client(query("begin"));
    s.client(query("select 1"));
    CHECK(&s.link() == &s.guarded);
    CHECK(s.sent(s.guarded) == "Q(BEGIN READ ONLY;SELECT 1) Q(select 1) ");
    s.server(guard_opens + rows({"1"}) + ready('T'));
    (void)s.told();
}

/// A block on the primary from before the flip, that has only read.
void reading_block(scene& s) {
    s.client(query("begin"));
    s.client(query("select 1"));
    CHECK(&s.link() == &s.primary);
    s.server(complete("BEGIN") + ready('T') + rows({"1"}) + ready('T'));
    (void)s.told();
    (void)s.sent(s.primary);
}

/// An open block that has written.
void writing_block(scene& s) {
    s.client(query("begin"));
    s.client(query("insert into t values (1)"));
    s.link();
    s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
    (void)s.told();
    (void)s.sent(s.primary);
}

}  // namespace

TEST_CASE("a READ ONLY block that the deadline has rolled back is not taken for the next one") {
    scene s({});
    s.world.set_replica_healthy(false);
    reading_block(s);
    s.flip(routing::mode::draining);
    s.client(query("select 2"));
    CHECK(s.sent(s.primary) == "Q(SET TRANSACTION READ ONLY) Q(select 2) ");
    s.flip(routing::mode::read_write);
    s.flip(routing::mode::draining);
    REQUIRE(s.driver.core().writes());  // what is in flight is waited for
    s.driver.end_writing(false);
    s.server(complete("SET") + ready('T') + rows({"2"}) + ready('T'));
    CHECK(s.sent(s.primary) == "Q(ROLLBACK) ");
    s.client(query("commit") + query("begin"));  // they have come already, so the server stays
    s.flip(routing::mode::read_write);
    s.server(complete("ROLLBACK") + ready('I'));
    CHECK(has(s.told(), "E(57014 transaction rolled back"));
    CHECK(s.sent(s.primary) == "Q(begin) ");
    s.flip(routing::mode::draining);
    s.server(complete("BEGIN") + ready('T'));
    s.client(query("select f()"));
    CHECK(s.sent(s.primary) == "Q(SET TRANSACTION READ ONLY) Q(select f()) ");
}

TEST_CASE("what runs on the primary when the site closes is waited for, also where it only reads") {
    scene s({});
    s.world.set_replica_healthy(false);
    s.client(query("select 1"));
    CHECK(&s.link() == &s.primary);
    CHECK_FALSE(s.driver.core().writes());
    s.flip(routing::mode::draining);
    CHECK(s.driver.core().writes());
    s.flip(routing::mode::sealed);
    s.server(rows({"1"}) + ready('I'));
    CHECK_FALSE(s.driver.core().writes());
    // What comes now is guarded, and nobody has to wait for it.
    s.client(query("select 2"));
    s.link();
    CHECK_FALSE(s.driver.core().writes());
    s.flip(routing::mode::reopening);
    CHECK_FALSE(s.driver.core().writes());
}

TEST_CASE("an open segment on the primary is waited for to its Sync, a read of a replica not at all") {
    scene s({});
    s.client(query("select 1"));
    CHECK(&s.link() == &s.replica);
    s.flip(routing::mode::draining);
    CHECK_FALSE(s.driver.core().writes());
    s.server(rows({"1"}) + ready('I'));
    s.flip(routing::mode::read_write);
    s.client(parse("", "select 1") + bind_to("") + execute() + wire::flush());
    CHECK(&s.link() == &s.primary);
    s.server(message('1') + message('2') + data_row("1") + complete("SELECT 1"));
    s.flip(routing::mode::draining);
    CHECK(s.driver.core().writes());
    s.client(wire::sync());
    s.server(ready('I'));
    CHECK_FALSE(s.driver.core().writes());
}

TEST_CASE("a block that has only read becomes READ ONLY at the flip, and its COMMIT a ROLLBACK") {
    tell([](scene& s) {
        reading_block(s);
        s.flip(routing::mode::draining);
        (void)s.told();
        CHECK(!s.driver.core().writes());
        s.client(query("select 2"));
        CHECK(s.sent(s.primary) == "Q(SET TRANSACTION READ ONLY) Q(select 2) ");
        s.server(complete("SET") + ready('T') + rows({"2"}) + ready('T'));
        CHECK(s.told() == "T D(2) C(SELECT 1) Z(T) ");
        s.client(query("commit"));
        CHECK(has(s.sent(s.primary), "pg_current_xact_id_if_assigned"));
        s.server(rows({"1"}) + ready('T'));
        CHECK(s.sent(s.primary) == "Q(ROLLBACK) ");
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(s.told() == "C(COMMIT) Z(I) ");
    });
}

TEST_CASE("a block that was taken for a reader and has written is not told that it is committed") {
    for (bool const simple : {true, false})
        for (bool const converted : {true, false}) {
            CAPTURE(simple);
            CAPTURE(converted);
            scene s({});
            reading_block(s);
            s.flip(routing::mode::draining);
            (void)s.told();
            if (converted) {
                s.client(query("select 2"));
                s.server(complete("SET") + ready('T') + rows({"2"}) + ready('T'));
                (void)s.told();
            }
            (void)s.sent(s.primary);
            s.client(simple ? query("commit") : parse("", "commit") + bind_to("") + execute() + wire::sync());
            std::string const asked = s.sent(s.primary);
            CHECK(has(asked, "pg_current_xact_id_if_assigned"));
            CHECK(lacks(asked, "ROLLBACK"));
            s.server(error("22012") + ready('E'));
            std::string const told = s.told();
            CHECK(has(told, "E(25006 cannot execute COMMIT in a read-only transaction)"));
            CHECK(lacks(told, "C(COMMIT)"));
            CHECK(s.sent(s.primary) == "Q(ROLLBACK) ");
            // A Query that is its end is over with it; nothing else comes before it is so on the server.
            if (simple) CHECK(told.ends_with("Z(I) "));
            s.client(query("select 3"));
            CHECK(s.sent(s.primary) == "");
            s.server(complete("ROLLBACK") + ready('I'));
            CHECK(s.told() == (simple ? "" : "Z(E) "));
            if (!simple) continue;
            test_server& reader = s.link();
            s.server(rows({"3"}) + ready('I'));
            CHECK(s.told() == "T D(3) C(SELECT 1) Z(I) ");
            CHECK(&reader == &s.replica);
        }
}

TEST_CASE("a COMMIT that is canceled while the server is asked has not been, and its block is over") {
    tell([](scene& s) {
        reading_block(s);
        s.flip(routing::mode::draining);
        (void)s.told();
        s.client(query("select 2"));
        s.server(complete("SET") + ready('T') + rows({"2"}) + ready('T'));
        (void)s.told();
        (void)s.sent(s.primary);
        s.client(query("commit"));
        CHECK(has(s.sent(s.primary), "pg_current_xact_id_if_assigned"));
        s.driver.cancel();
        s.server(rows({"1"}) + ready('T'));
        CHECK(has(s.sent(s.primary), "ROLLBACK TO SAVEPOINT"));
        s.server(error("3B001") + ready('E'));
        CHECK(s.told() == "E(57014 canceling statement due to user request) Z(I) ");
        CHECK(s.sent(s.primary) == "Q(ROLLBACK) ");
        s.client(query("insert into t values (1)"));
        CHECK(s.sent(s.primary) == "");
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(has(s.told(), "E(25006 cannot execute INSERT in a read-only transaction) Z(I) "));
    });
}

TEST_CASE("the end of a savepoint takes our READ ONLY along, so it is made again") {
    for (std::string const how : {"rollback to savepoint a", "release a"}) {
        CAPTURE(how);
        tell(
            [&](scene& s) {
                reading_block(s);
                s.client(query("savepoint a"));
                s.server(complete("SAVEPOINT") + ready('T'));
                s.flip(routing::mode::draining);
                s.client(query("select 2"));
                s.server(complete("SET") + ready('T') + rows({"2"}) + ready('T'));
                s.client(query(how));
                s.server(complete("RELEASE") + ready('T'));
                (void)s.sent(s.primary);
                s.client(query("select 3"));
                CHECK(s.sent(s.primary) == "Q(SET TRANSACTION READ ONLY) Q(select 3) ");
                s.server(complete("SET") + ready('T') + rows({"3"}) + ready('T'));
            },
            40);
    }
}

TEST_CASE("statements pipelined behind the end of a guarded block wait, and get a block of their own") {
    tell([](scene& s) {
        guarded_block(s);
        s.client(query("commit") + query("select 2"));
        CHECK(s.sent(s.guarded) == "Q(ROLLBACK) ");
        s.server(complete("ROLLBACK") + ready('I'));
        if (s.driver.wish()) s.link();
        CHECK(has(s.sent(s.guarded), "Q(BEGIN READ ONLY;SELECT 1) Q(select 2)"));
        s.server(guard_opens + rows({"2"}) + ready('T') + complete("ROLLBACK") + ready('I'));
        CHECK(s.told() == "C(COMMIT) Z(I) T D(2) C(SELECT 1) Z(I) ");
    });
}

TEST_CASE("statements behind the end of the block in one segment are refused") {
    tell([](scene& s) {
        guarded_block(s);
        s.client(parse("", "commit") + bind_to("") + execute() + parse("", "select f()") + bind_to("") +
                 execute() + wire::sync());
        std::string const sent = s.sent(s.guarded);
        CHECK(has(sent, "ROLLBACK"));
        CHECK(lacks(sent, "B(,) E() S"));
        CHECK(has(sent, "E(lull) S"));
        s.server(message('1') + message('1') + message('2') + complete("ROLLBACK") + message('1') +
                 message('2') + error("25P01") + ready('I'));
        std::string const told = s.told();
        CHECK(has(told, "C(COMMIT)"));
        CHECK(has(told, "E(25006 cannot end a transaction within a group"));
    });
}

TEST_CASE("statements behind the end of the block in one text are refused") {
    tell([](scene& s) {
        guarded_block(s);
        s.client(query("commit; select 2"));
        CHECK(lacks(s.sent(s.guarded), "select 2"));
        s.server(error("3B001") + ready('E'));
        CHECK(has(s.told(), "E(25006 cannot end a transaction within a group"));
        CHECK(s.driver.core().status() == 'E');
    });
}

TEST_CASE("AND CHAIN brings another guarded block") {
    tell([](scene& s) {
        guarded_block(s);
        s.client(query("commit and chain"));
        CHECK(s.sent(s.guarded) == "Q(ROLLBACK) Q(BEGIN READ ONLY;SELECT 1) ");
        s.server(complete("ROLLBACK") + ready('I') + guard_opens);
        CHECK(s.told() == "C(COMMIT) Z(T) ");
        s.client(query("rollback"));
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(s.told() == "C(ROLLBACK) Z(I) ");
    });
}

TEST_CASE("a guarded segment whose BEGIN was never reached leaves no block behind") {
    tell([](scene& s) {
        s.seal_on_primary();
        s.client(parse("", "select 1/0") + bind_to("") + execute() + parse("", "begin") + bind_to("") +
                 execute() + wire::sync());
        s.link();
        (void)s.sent(s.guarded);
        s.server(guard_opens);
        s.server(message('1') + message('2') + error("22012") + ready('E'));
        CHECK(has(s.sent(s.guarded), "Q(ROLLBACK)"));
        CHECK(has(s.told(), "Z(I)"));
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(s.driver.core().status() == 'I');
        CHECK(s.driver.released.size() == 1);
    });
}

TEST_CASE("a Query amid a guarded segment is not served") {
    scene s({});
    s.seal_on_primary();
    s.client(parse("", "select 1") + bind_to("") + execute() + flush());
    s.link();
    s.server(guard_opens + message('1') + message('2') + complete("SELECT 0"));
    (void)s.sent(s.guarded);
    s.client(query("commit"));
    CHECK(s.driver.closed());
    CHECK(lacks(s.sent(s.guarded), "commit"));
}

TEST_CASE("writes under way end where they are: each counts until its own end") {
    tell([](scene& s) {
        s.client(query("insert into t values (1)") + query("insert into t values (2)"));
        s.link();
        s.server(complete("INSERT 0 1") + ready('I'));
        bool const both = has(show(s.primary.received, false), "values (2)");
        if (both) {
            s.flip(routing::mode::draining);
            CHECK(s.driver.core().writes());  // the second is still on its way
        }
        if (s.driver.wish()) s.link();
        s.server(complete("INSERT 0 1") + ready('I'));
        CHECK(!s.driver.core().writes());
    });
}

TEST_CASE("a new transaction cannot ride on the right of the one before it") {
    tell([](scene& s) {
        writing_block(s);
        s.flip(routing::mode::draining);
        (void)s.told();
        s.client(query("commit") + query("insert into t values (2)"));
        CHECK(s.sent(s.primary) == "Q(commit) ");
        s.server(complete("COMMIT") + ready('I'));
        CHECK(s.sent(s.primary).empty());
        CHECK(has(s.told(), "E(25006 cannot execute INSERT in a read-only transaction)"));
    });
}

TEST_CASE("in a failed block nothing earns the right to write") {
    tell([](scene& s) {
        reading_block(s);
        s.client(query("savepoint a") + query("select 1/0"));
        s.server(complete("SAVEPOINT") + ready('T') + error("22012") + ready('E'));
        (void)s.sent(s.primary);
        s.flip(routing::mode::draining);
        CHECK(s.sent(s.primary) == "Q(ROLLBACK) ");  // nothing can have the server end this session in it
        s.server(complete("ROLLBACK") + ready('I'));
        (void)s.told();
        for (auto const& [text, code] : {std::pair{"select f()", "E(25P02"}, {"rollback to savepoint a", "E(3B001"},
                                         {"insert into t values (1)", "E(25P02"}}) {
            CAPTURE(text);
            s.client(query(text));
            CHECK(has(s.told(), code));
        }
        CHECK(!s.driver.core().writes());
        CHECK(s.sent(s.primary).empty());
    });
}

TEST_CASE("what would lift READ ONLY is refused") {
    for (std::string const text :
         {"begin read write", "set transaction read write", "reset transaction_read_only",
          "set default_transaction_read_only to off",
          "select set_config('transaction_read_only', 'off', false)",
          "set session characteristics as transaction read write", "select nextval('s')",
          "prepare transaction 'x'", "do $$ begin commit; end $$", "notify c"}) {
        CAPTURE(text);
        scene s({});
        guarded_block(s);
        s.client(query(text));
        CHECK(lacks(s.sent(s.guarded), text));
        s.server(error("3B001") + ready('E'));
        CHECK(has(s.told(), "E(25006"));
    }
}

TEST_CASE("held writes go out in the order of their clients, and only to the limits") {
    scene s({});
    s.world.site().writes = config::write_policy::hold;
    s.world.site().hold.max_count = 1;
    s.flip(routing::mode::sealed);
    pg_driver other(s.world, s.world.identity(), [](std::string const& what) { FAIL(what); });
    other.start();
    (void)s.told();
    s.client(query("insert into t values (1)"));
    CHECK(s.driver.core().held());
    CHECK(has(s.told(), "N(00000"));
    other.client(query("insert into t values (2)"));
    CHECK(!other.core().held());
    CHECK(has(show(other.to_client, true), "E(25006"));
}

TEST_CASE("what is too long to be kept, or has been kept too long, is refused") {
    scene s({});
    s.world.site().writes = config::write_policy::hold;
    s.world.site().hold.max_bytes = 40;
    s.flip(routing::mode::sealed);
    (void)s.told();
    s.client(query("insert into t values (123456789012345678901234567890)"));
    CHECK(!s.driver.core().held());
    CHECK(has(s.told(), "E(25006"));
    s.client(query("insert into t values (1)"));
    CHECK(s.driver.core().held());
    s.driver.tick();
    CHECK(s.driver.core().held());
    s.world.pass(std::chrono::milliseconds(60'001));
    s.driver.tick();
    CHECK(!s.driver.core().held());
    CHECK(has(s.told(), "E(25006"));
    CHECK(s.driver.core().fates().over_limit == 2);
    s.client(query("insert into t values (2)"));  // the next one may wait again
    CHECK(s.driver.core().held());
}

TEST_CASE("a held write gets as old while the site reopens, which a journal may make long, and no older") {
    scene s({});
    s.world.site().writes = config::write_policy::hold;
    s.flip(routing::mode::sealed);
    s.client(query("insert into t values (1)"));
    (void)s.told();
    s.world.pass(std::chrono::milliseconds(40'000));
    s.flip(routing::mode::reopening);
    s.world.pass(std::chrono::milliseconds(19'000));
    s.driver.tick();
    CHECK(s.driver.core().held());
    s.world.pass(std::chrono::milliseconds(1'001));
    s.driver.tick();
    CHECK(has(s.told(), "E(25006"));
    CHECK(s.driver.core().fates().over_limit == 1);
}

TEST_CASE("a write that is held again, after a moment in which the site was open, has waited since the first time") {
    scene s({});
    s.world.site().writes = config::write_policy::hold;
    s.flip(routing::mode::sealed);
    (void)s.told();
    s.client(query("insert into t values (1)"));
    CHECK(has(s.told(), "N(00000"));
    s.world.pass(std::chrono::milliseconds(40'000));
    s.flip(routing::mode::read_write);
    REQUIRE(s.driver.wish());  // and no server comes
    s.flip(routing::mode::sealed);
    CHECK(s.driver.core().held());
    CHECK(lacks(s.told(), "N(00000"));
    CHECK(s.driver.core().fates().held == 1);
    s.world.pass(std::chrono::milliseconds(20'001));
    s.driver.tick();
    CHECK(has(s.told(), "E(25006"));
    s.client(query("insert into t values (2)"));
    CHECK(has(s.told(), "N(00000"));
    s.driver.tick();
    CHECK(s.driver.core().held());
    CHECK(s.driver.core().fates().held == 2);
}

TEST_CASE("a held client that leaves makes room for another") {
    scene s({});
    s.world.site().writes = config::write_policy::hold;
    s.world.site().hold.max_count = 1;
    s.flip(routing::mode::sealed);
    s.client(query("insert into t values (1)"));
    CHECK(s.driver.core().held());
    pg_driver other(s.world, s.world.identity(), [](std::string const& what) { FAIL(what); });
    other.start();
    s.driver.gone();
    CHECK(s.driver.core().finished());
    other.client(query("insert into t values (2)"));
    CHECK(other.core().held());
}

TEST_CASE("in a block that has begun nothing is held: its locks and its snapshot would wait too") {
    tell([](scene& s) {
        s.world.site().writes = config::write_policy::hold;
        s.world.flip(routing::mode::read_write);
        reading_block(s);
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("insert into t values (1)"));
        CHECK(!s.driver.core().held());
        s.server(error("3B001") + ready('E'));
        CHECK(has(s.told(), "E(25006"));
    });
}

TEST_CASE("a held segment goes out whole") {
    tell([](scene& s) {
        s.world.site().writes = config::write_policy::hold;
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(parse("", "insert into t values (1)") + bind_to("") + execute() + wire::sync());
        CHECK(s.driver.core().held());
        s.flip(routing::mode::read_write);
        s.link();
        CHECK(s.sent(s.primary) == "P(,insert into t values (1)) B(,) E() S ");
        s.server(message('1') + message('2') + complete("INSERT 0 1") + ready('I'));
        CHECK(has(s.told(), "C(INSERT 0 1) Z(I)"));
    });
}

TEST_CASE("the deadline: a block that writes is rolled back, and has failed for its client") {
    tell([](scene& s) {
        writing_block(s);
        s.flip(routing::mode::draining);
        (void)s.told();
        s.driver.end_writing(false);
        CHECK(s.sent(s.primary) == "Q(ROLLBACK) ");
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(!s.driver.core().writes());
        CHECK(s.driver.released.size() == 1);
        s.client(query("insert into t values (2)"));
        CHECK(has(s.told(), "E(57014 transaction rolled back"));
        s.client(query("insert into t values (3)"));
        CHECK(has(s.told(), "E(25P02"));
        s.client(query("commit"));
        CHECK(s.told() == "C(ROLLBACK) Z(I) ");
    });
}

TEST_CASE("the deadline: a running write is cancelled") {
    tell([](scene& s) {
        s.client(query("insert into t values (1)"));
        s.link();
        s.flip(routing::mode::draining);
        (void)s.told();
        s.driver.end_writing(false);
        CHECK(s.driver.cancels == 1);
        s.server(error("57014") + ready('I'));
        CHECK(s.told() == "E(57014 it failed) Z(I) ");
        CHECK(!s.driver.core().writes());
    });
}

TEST_CASE("the deadline: the session is ended, but not in the middle of a message") {
    scene s({});
    writing_block(s);
    s.flip(routing::mode::draining);
    (void)s.told();
    s.driver.end_writing(true);
    CHECK(s.driver.closed());
    CHECK(has(s.told(), "E(57P01"));
    CHECK(has(s.sent(s.primary), "ROLLBACK"));

    scene half({});
    half.client(query("select f()"));
    half.link();
    half.server(data_row("0123456789").substr(0, 9));
    half.flip(routing::mode::draining);
    half.driver.end_writing(true);
    CHECK(half.driver.closed());
    CHECK(half.driver.to_client.size() == 9);
    half.server(data_row("0123456789").substr(9) + complete("SELECT 1") + ready('I'));
    CHECK(half.driver.to_client.size() == 9);
    CHECK(half.driver.core().finished());
}

TEST_CASE("a client is told of the mode, between messages") {
    scene s({});
    s.flip(routing::mode::draining);
    CHECK(s.told() == "S(default_transaction_read_only=on) ");
    s.flip(routing::mode::sealed);
    CHECK(s.told().empty());
    s.client(query("select 1"));
    s.link();
    s.server(data_row("0123456789").substr(0, 9));
    s.flip(routing::mode::read_write);
    s.server(data_row("0123456789").substr(9) + complete("SELECT 1") + ready('I'));
    CHECK(has(s.told(), "D(0123456789) C(SELECT 1) Z(I) S(default_transaction_read_only=off)"));
}

TEST_CASE("the migration is not subject to the mode") {
    scene s({});
    s.flip(routing::mode::sealed);
    pg_driver migration(s.world, s.world.identity(true), [](std::string const& what) { FAIL(what); });
    migration.start();
    REQUIRE(migration.wish());
    CHECK(migration.wish()->backend == the_primary);
    CHECK(!migration.wish()->guarded);
    migration.link(s.primary);
    migration.client(query("alter table t add column b int"));
    CHECK(show(s.primary.received, false) == "Q(alter table t add column b int) ");
    CHECK(!migration.core().writes());
    migration.server(complete("ALTER TABLE") + ready('I'));
    CHECK(migration.released.empty());  // its server is its own
    migration.gone();
    CHECK(migration.discarded.size() == 1);
}
