// Ways around a seal that were found by reading: failed blocks, texts nobody understands, chains, races.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

/// A block that has only read on the primary, and has failed there since the flip.
void failed_block(scene& s) {
    s.client(query("begin") + query("select 1"));
    CHECK(&s.link() == &s.primary);
    s.server(complete("BEGIN") + ready('T') + rows({"1"}) + ready('T'));
    s.flip(routing::mode::sealed);
    (void)s.told();
    (void)s.sent(s.primary);
    s.client(query("insert into t values (1)"));
    s.server(error("3B001") + ready('E'));
    CHECK(has(s.told(), "E(25006"));
    CHECK(has(s.sent(s.primary), "Q(ROLLBACK) "));  // nothing can have the server end this session in it
    s.server(complete("ROLLBACK") + ready('I'));
    CHECK(!s.driver.linked());
}

}  // namespace

TEST_CASE("a failed block does not let through what nobody understands: there may be a ROLLBACK in it") {
    tell([](scene& s) {
        failed_block(s);
        s.client(query("rollback; insert into t values (2); nonsense ("));
        if (s.driver.wish()) {
            test_server& there = s.link();
            CHECK(lacks(s.sent(there), "insert"));
            return;
        }
        CHECK(has(s.told(), "E(25"));
    });
}

TEST_CASE(
    "behind an Execute that may have ended the failed block, what writes is refused in the same segment") {
    tell([](scene& s) {
        failed_block(s);
        s.world.set_replica_healthy(false);
        s.client(parse("", "rollback") + bind_to("") + execute() + flush());
        CHECK(&s.link() == &s.guarded);
        s.server(complete("BEGIN") + ready('T') + error("3B001") + ready('E') + message('1') + message('1') + message('2') +
                 complete("ROLLBACK"));
        (void)s.told();
        (void)s.sent(s.guarded);
        s.client(parse("", "insert into t values (3)") + bind_to("") + flush());
        CHECK(lacks(s.sent(s.guarded), "B(,)"));
    });
}

TEST_CASE("the right to write ends with COMMIT AND CHAIN") {
    tell([](scene& s) {
        s.client(query("begin") + query("insert into t values (1)"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
        s.flip(routing::mode::draining);
        (void)s.told();
        s.client(query("commit and chain"));
        s.server(complete("COMMIT") + ready('T'));
        CHECK(has(s.told(), "C(COMMIT) Z(T)"));
        CHECK(!s.driver.core().writes());
        (void)s.sent(s.primary);
        s.client(query("insert into t values (2)"));
        CHECK(lacks(s.sent(s.primary), "insert"));
    });
}

TEST_CASE("a text that ends the transaction and goes on is refused while the site drains") {
    tell([](scene& s) {
        s.client(query("begin") + query("insert into t values (1)"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
        s.flip(routing::mode::draining);
        (void)s.told();
        (void)s.sent(s.primary);
        s.client(query("commit; begin; insert into t values (2)"));
        CHECK(lacks(s.sent(s.primary), "insert"));
        s.server(error("3B001") + ready('E'));
        CHECK(has(s.told(), "E(25006"));
        s.client(
            query("insert into t values (3); commit"));  // PostgreSQL would say that the block has failed
        CHECK(has(s.sent(s.primary), "commit"));
    });
}

TEST_CASE("a COMMIT that meets our ROLLBACK at the deadline leaves no right to write behind") {
    scene s({});
    s.make_temporary();
    s.client(query("begin") + query("insert into t values (1)"));
    s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
    s.flip(routing::mode::draining);
    s.driver.end_writing(false);
    s.client(query("commit"));
    s.server(complete("ROLLBACK") + ready('I'));
    CHECK(has(s.told(), "E(57014"));
    CHECK(!s.driver.core().writes());
}

TEST_CASE("a savepoint from before the flip and what follows it do not go in one text") {
    tell([](scene& s) {
        s.client(query("begin") + query("savepoint a"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + complete("SAVEPOINT") + ready('T'));
        s.world.set_replica_healthy(false);
        s.flip(routing::mode::sealed);
        (void)s.told();
        (void)s.sent(s.primary);
        s.client(query("rollback to a; select unheard_of()"));
        CHECK(lacks(s.sent(s.primary), "unheard_of"));
    });
}

TEST_CASE("text that follows a change of how strings are read is judged as if it could be read either way") {
    tell([](scene& s) {
        s.client(query("insert into t values (0)"));
        s.link();
        (void)s.sent(s.primary);
        s.client(query("set standard_conforming_strings to off") +
                 query("select '\\''; insert into t values (1); --'"));
        s.server(complete("INSERT 0 1") + ready('I'));
        if (s.driver.wish()) s.link();
        CHECK(s.driver.core().writes());
    });
}

TEST_CASE("a held session that loses its server with what it kept there ends, and makes room for another") {
    scene s({});
    s.make_temporary();
    s.world.site().writes = config::write_policy::hold;
    s.world.site().hold.max_count = 1;
    s.flip(routing::mode::sealed);
    (void)s.told();
    s.client(query("insert into t values (1)"));
    REQUIRE(s.driver.core().held());
    CHECK(s.world.context().holds.any());
    s.driver.lose();
    CHECK(s.driver.closed());
    CHECK(!s.world.context().holds.any());
}

TEST_CASE("a failed block stays one when the next server is lost before it was asked anything") {
    scene s({});
    s.client(query("set work_mem to '64kB'"));
    s.link();
    s.server(complete("SET") + ready('I'));
    s.client(query("begin") + query("insert into t values (0)"));
    s.link();
    s.server(complete("BEGIN") + ready('T') + error("23505") + ready('E'));
    s.driver.lose();
    (void)s.told();
    s.primary = {};
    s.primary.state.role = routing::role::primary;
    s.primary.state.backend = the_primary;
    s.primary.state.actual = s.primary.state.reported = s.world.context().settings.none();
    s.client(parse("", "insert into t values (1)") + bind_to("") + execute() + wire::sync());
    if (s.driver.wish()) s.link();
    s.driver.lose();
    CHECK(s.driver.core().status() == 'E');
}

TEST_CASE("DISCARD ALL of a client with temporary tables gives its server up while the site is sealed") {
    tell([](scene& s) {
        s.make_temporary();
        s.seal();
        s.client(query("discard all"));
        CHECK(s.sent(s.primary).empty());
        CHECK(s.driver.discarded.size() == 1);
        CHECK(s.told() == "C(DISCARD ALL) Z(I) ");
    });
}

TEST_CASE("statements of clients whose settings read literals otherwise are others") {
    scene s({});
    s.client(parse("a", "select timestamptz '2024-01-01'") + wire::sync());
    s.link();
    s.server(message('1') + ready('I'));
    std::string const first = s.sent(s.replica);
    s.client(query("set timezone to 'Europe/Berlin'"));
    s.link();
    s.server(complete("SET") + ready('I'));
    (void)s.sent(s.replica);
    s.client(parse("b", "select timestamptz '2024-01-01'") + wire::sync());
    s.link();
    s.server(complete("SET") + ready('I'));
    CHECK(has(s.sent(s.replica), "P(lull_"));
}

TEST_CASE("an error that is too long to be looked into is an error all the same") {
    scene s({});
    s.client(parse("", "do 'x'") + bind_to("") + execute() + wire::sync());
    s.link();
    std::string fields =
        std::string("SERROR") + '\0' + "C22000" + '\0' + "M" + std::string(300'000, 'x') + '\0' + '\0';
    std::string const whole = message('E', fields);
    s.server(message('1') + message('2') + whole.substr(0, 64 * 1024));
    s.server(whole.substr(64 * 1024) + ready('I'));
    CHECK(s.driver.to_client.size() > 300'000);
    CHECK(s.driver.core().status() == 'I');
    CHECK(s.driver.discarded.empty());
    CHECK(s.driver.released.size() == 1);
}

TEST_CASE("behind a ROLLBACK of ours that is not answered nothing goes out: it would run outside of the failed block") {
    tell([](scene& s) {
        s.client(query("begin") + query("insert into t values (1)"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
        (void)s.told();
        (void)s.sent(s.primary);
        s.flip(routing::mode::draining);
        s.driver.end_writing(false);
        CHECK(has(s.sent(s.primary), "Q(ROLLBACK)"));
        s.flip(routing::mode::read_write);
        s.client(query("insert into t values (2)") + query("insert into t values (3)"));
        CHECK(lacks(s.sent(s.primary), "insert"));
    });
}

namespace {

std::string const guard_opens = complete("BEGIN") + rows({"1"}) + ready('T');

}  // namespace

TEST_CASE("where something unknown has run, what is bound by its name waits for the answer to our BEGIN READ ONLY") {
    tell([](scene& s) {
        s.seal_on_primary();
        auto const run = [&](std::string const& bytes) {
            s.client(bytes);
            if (s.driver.wish()) CHECK(&s.link() == &s.guarded);
        };
        std::string const read = bind_to("a") + execute() + wire::sync();
        run(parse("a", "select 1") + wire::sync());
        s.server(guard_opens + message('1') + ready('T') + complete("ROLLBACK") + ready('I'));
        (void)s.sent(s.guarded);
        run(read);
        CHECK(has(s.sent(s.guarded), "Q(BEGIN READ ONLY;SELECT 1) B(,lull_"));  // nobody can have made another of it
        s.server(guard_opens + message('2') + complete("SELECT 1") + ready('T') + complete("ROLLBACK") + ready('I'));
        run(query("select f()"));
        CHECK(s.sent(s.guarded) == "Q(BEGIN READ ONLY;SELECT 1) ");
        s.server(guard_opens);
        s.server(rows({"1"}) + ready('T') + complete("ROLLBACK") + ready('I'));
        (void)s.sent(s.guarded);
        (void)s.told();
        run(read);
        CHECK(s.sent(s.guarded) == "Q(BEGIN READ ONLY;SELECT 1) ");
        s.server(guard_opens);
        CHECK(has(s.sent(s.guarded), "B(,lull_"));
        s.server(message('2') + complete("SELECT 1") + ready('T') + complete("ROLLBACK") + ready('I'));
        CHECK(has(s.told(), "2 C(SELECT 1) Z(I) "));
        run(query("select 2"));  // which is what its text says
        CHECK(has(s.sent(s.guarded), "Q(BEGIN READ ONLY;SELECT 1) Q(select 2) "));
    });
}

TEST_CASE("what only prepares a write runs code when it is read, which may make other statements of names") {
    scene s({});
    s.seal_on_primary();
    auto const run = [&](std::string const& bytes) {
        s.client(bytes);
        if (s.driver.wish()) s.link();
        return s.sent(s.guarded);
    };
    std::string const ends = ready('T') + complete("ROLLBACK") + ready('I');
    (void)run(parse("a", "select 1") + wire::sync());
    s.server(guard_opens + message('1') + ends);
    CHECK(run(parse("w", "insert into t values (1)") + wire::sync()) == "Q(BEGIN READ ONLY;SELECT 1) ");
    s.server(guard_opens);
    CHECK(has(s.sent(s.guarded), "insert into t values (1)) S Q(ROLLBACK) "));
    s.server(message('1') + ends);
    CHECK(s.told() == "1 Z(I) 1 Z(I) ");
    CHECK(run(bind_to("a") + execute() + wire::sync()) == "Q(BEGIN READ ONLY;SELECT 1) ");
}

TEST_CASE("on a server from before the flip everything waits for our BEGIN: temporary objects may stand in the way of a read") {
    tell([](scene& s) {
        s.make_temporary();
        s.seal();
        s.client(query("select 1"));
        CHECK(s.sent(s.primary) == "Q(BEGIN READ ONLY;SELECT 1) ");
        s.server(guard_opens);
        CHECK(s.sent(s.primary) == "Q(select 1) Q(ROLLBACK) ");
        s.server(rows({"1"}) + ready('T') + complete("ROLLBACK") + ready('I'));
        CHECK(has(s.told(), "Z(I) "));
        s.client(query("set work_mem to '64kB'"));  // to outlive our ROLLBACK
        CHECK(s.sent(s.primary) == "Q(set work_mem to '64kB') ");
        s.server(complete("SET") + ready('I'));
        s.client(query("begin isolation level repeatable read"));
        CHECK(s.sent(s.primary) == "Q(BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;SELECT 1) ");
    });
}

TEST_CASE("what Lull puts in the place of a client's COMMIT goes by no name") {
    scene s({});
    s.seal_on_primary();
    s.client(query("begin") + query("select 1"));
    CHECK(&s.link() == &s.guarded);
    s.server(guard_opens + rows({"1"}) + ready('T'));
    (void)s.sent(s.guarded);
    s.client(parse("", "commit") + bind_to("") + execute() + wire::sync());
    CHECK(has(s.sent(s.guarded), "P(,ROLLBACK) B(,) E() S "));
}

namespace {

/// Has a temporary table when the site begins to close.
void keep_over_the_flip(scene& s, std::string const& block = {}) {
    s.make_temporary();
    if (!block.empty()) {
        s.client(query("begin") + query(block));
        s.server(complete("BEGIN") + ready('T') + rows({"1"}) + ready('T'));
    }
    s.stays_unseen = false;
    (void)s.told();
    (void)s.sent(s.primary);
    s.flip(routing::mode::draining);
}

std::string const sets = complete("SET") + complete("SET") + complete("SET");

}  // namespace

TEST_CASE("what would have the server end a session that is kept over the flip is turned off, and sealing waits for that") {
    scene s({});
    keep_over_the_flip(s);
    std::string const asked = s.sent(s.primary);
    CHECK(has(asked, "SET idle_session_timeout"));
    CHECK(has(asked, "SET idle_in_transaction_session_timeout"));
    CHECK(has(asked, "SET exit_on_error"));
    CHECK(s.driver.core().writes());
    s.server(sets + ready('I'));
    CHECK(!s.driver.core().writes());
    s.flip(routing::mode::sealed);
    CHECK(s.sent(s.primary).empty());
    for (char const* text : {"set idle_session_timeout to '1s'", "reset idle_in_transaction_session_timeout",
                             "select set_config('idle_session_timeout', '1', false)", "set local transaction_timeout to 1"}) {
        CAPTURE(text);
        s.client(query(text));
        CHECK(has(s.told(), "E(25006"));
        CHECK(s.sent(s.primary).empty());
    }
    s.client(query("reset all"));
    CHECK(has(s.sent(s.primary), "Q(reset all) Q(SET exit_on_error"));
    s.server(complete("RESET") + ready('I') + sets + ready('I'));
    (void)s.told();
    (void)s.sent(s.primary);
    s.flip(routing::mode::read_write);
    s.client(query("select 1"));
    CHECK(has(s.sent(s.primary), "RESET \"idle_session_timeout\""));  // as it was
}

TEST_CASE("in a block it is turned off, too, and again behind its end; one that has failed is ended") {
    scene s({});
    keep_over_the_flip(s, "select 1");
    CHECK(has(s.sent(s.primary), "SET LOCAL idle_session_timeout"));
    s.server(sets + ready('T'));
    CHECK(!s.driver.core().writes());
    s.flip(routing::mode::sealed);
    s.client(query("savepoint a"));
    CHECK(s.sent(s.primary) == "Q(SET TRANSACTION READ ONLY) Q(savepoint a) ");
    s.server(complete("SET") + ready('T') + complete("SAVEPOINT") + ready('T'));
    s.client(query("rollback to a"));
    (void)s.sent(s.primary);
    s.server(complete("ROLLBACK") + ready('T'));
    CHECK(has(s.sent(s.primary), "SET LOCAL idle_session_timeout"));
    s.server(sets + ready('T'));
    s.client(query("rollback"));
    CHECK(s.sent(s.primary) == "Q(SET TRANSACTION READ ONLY) Q(ROLLBACK) ");
    s.server(complete("SET") + ready('T') + complete("ROLLBACK") + ready('I'));
    CHECK(has(s.sent(s.primary), "SET idle_session_timeout"));
    s.server(error("57014") + ready('I'));  // a late cancel: once more
    CHECK(has(s.sent(s.primary), "SET idle_session_timeout"));
    s.server(sets + ready('I'));
    CHECK(s.sent(s.primary).empty());

    // Where a late cancel has failed its block, a client that does not know gets to.
    scene late({});
    keep_over_the_flip(late, "select 1");
    (void)late.sent(late.primary);
    (void)late.told();
    late.server(error("57014") + ready('E'));
    CHECK(late.sent(late.primary) == "Q(ROLLBACK) ");
    late.server(complete("ROLLBACK") + ready('I'));
    CHECK(late.told().empty());
    late.client(query("select 2"));
    CHECK(has(late.told(), "E(57014 transaction rolled back"));
    CHECK(late.driver.core().status() == 'E');
    late.client(query("commit"));
    late.server(sets + ready('I'));  // once more
    CHECK(late.sent(late.primary).ends_with("Q(BEGIN READ ONLY) Q(ROLLBACK TO SAVEPOINT \"lull: this block has failed\") Q(ROLLBACK) "));
    late.server(complete("BEGIN") + ready('T') + error("3B001") + ready('E') + complete("ROLLBACK") + ready('I'));
    CHECK(has(late.told(), "C(ROLLBACK) Z(I)"));

    scene failed({});
    failed.client(query("begin") + query("select 1/0"));
    failed.link();
    failed.server(complete("BEGIN") + ready('T') + error("22012") + ready('E'));
    (void)failed.sent(failed.primary);
    failed.flip(routing::mode::draining);
    (void)failed.told();
    CHECK(failed.sent(failed.primary) == "Q(ROLLBACK) ");
    CHECK(failed.driver.core().writes());
    failed.client(query("insert into t values (1)"));
    CHECK(failed.sent(failed.primary).empty());  // not as if the block were still there
    failed.server(complete("ROLLBACK") + ready('I'));
    CHECK(!failed.driver.core().writes());
    CHECK(!failed.driver.linked());
    CHECK(has(failed.told(), "Z(E)"));
    CHECK(failed.driver.core().status() == 'E');
    failed.client(query("commit"));
    CHECK(failed.told() == "C(ROLLBACK) Z(I) ");
}

TEST_CASE("the portal of the BEGIN that began a block, executed once more in it and skipped, does not end it") {
    tell([](scene& s) {
        s.seal_on_primary();
        s.client(parse("", "begin") + bind_to("") + execute() + parse("s", "select a from t") + wire::sync());
        s.link();
        s.server(complete("BEGIN") + rows({"1"}) + ready('T') + message('1') + message('1') + message('2') + complete("SET") +
                 message('1') + ready('T'));
        CHECK(has(s.told(), "C(BEGIN) 1 Z(T) "));
        s.client(query("insert into t values (1)"));
        s.server(error("3B001") + ready('E'));
        CHECK(has(s.told(), "E(25006 cannot execute INSERT in a read-only transaction) Z(E) "));
        (void)s.sent(s.guarded);
        s.client(parse("", "insert into t values (1)") + bind_to("") + execute() + wire::sync());
        CHECK(has(s.sent(s.guarded), "E() S "));
        s.server(message('1') + message('2') + error("3B001") + ready('E'));
        CHECK(has(s.told(), "Z(E) "));
        CHECK(s.driver.core().status() == 'E');
        CHECK(s.sent(s.guarded) == "");
    });
}

TEST_CASE("what is refused behind a segment that has failed a block before its beginning finds that block failed") {
    tell([](scene& s) {
        s.seal_on_primary();
        s.client(query("begin"));
        s.client(parse("s", "show work_mem") + parse("s", "show work_mem") + wire::sync());
        s.link();
        (void)s.sent(s.guarded);
        s.client(query("insert into t values (1)"));
        CHECK(s.sent(s.guarded) == "");
        s.server(complete("BEGIN") + rows({"1"}) + ready('T') + message('1') + message('1') + message('2') + error("3B001") + ready('E'));
        CHECK(s.sent(s.guarded) == "");  // not before our ROLLBACK is over
        s.server(complete("ROLLBACK") + ready('I'));
        std::string const told = s.told();
        CHECK(has(told, "E(42P05 prepared statement \"s\" already exists) Z(E) "));
        CHECK(told.ends_with("Z(E) "));
        CHECK(s.driver.core().status() == 'E');
        s.client(query("rollback"));
        CHECK(s.told() == "C(ROLLBACK) Z(I) ");
    });
}

TEST_CASE("a failed block stays one where its server is lost amid our ROLLBACK, whatever was committed before it") {
    scene s({});
    s.client(query("commit;begin;select 1"));
    s.link();
    s.server(complete("COMMIT") + complete("BEGIN") + rows({"1"}) + ready('T'));
    s.client(query("select 1/0"));
    s.server(error("22012") + ready('E'));
    (void)s.sent(s.primary);
    s.flip(routing::mode::draining);
    CHECK(s.sent(s.primary) == "Q(ROLLBACK) ");
    s.driver.lose();
    CHECK(s.driver.core().status() == 'E');
    (void)s.told();
    s.client(query("select 2"));
    CHECK(has(s.told(), "Z(E) "));
}
