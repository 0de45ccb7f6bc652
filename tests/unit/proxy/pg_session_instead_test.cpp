// Writes that a closed site neither runs nor refuses: discarded, journaled, passed, and held where the
// journal is closed. What is answered without a server never reaches one.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

using config::write_policy;

void seal(scene& s, write_policy action, std::vector<std::string> statements = {}) {
    s.world.site().write_rules = {{.statements = std::move(statements), .action = action}};
    s.flip(routing::mode::sealed);
    (void)s.told();
}

std::string segment(std::string_view text) {
    return parse("", text) + bind_to("") + describe('P', "") + execute() + wire::sync();
}

bool untouched(scene& s) {
    return s.sent(s.primary).empty() && s.sent(s.guarded).empty() && s.sent(s.replica).empty();
}

}  // namespace

TEST_CASE("a discarded write is answered as PostgreSQL would, and no server hears of it") {
    tell([](scene& s) {
        seal(s, write_policy::discard);
        s.client(query("insert into t values (1), (2)"));
        CHECK(s.told() == "C(INSERT 0 2) Z(I) ");
        s.client(segment("update t set a = 2 where b = 1"));
        CHECK(s.told() == "1 2 n C(UPDATE 1) Z(I) ");
        CHECK(!s.driver.wish());
        CHECK(untouched(s));
        CHECK(s.driver.core().fates().discarded == 2);
    });
}

TEST_CASE("only a write that stands alone is discarded: in a block, with others or with rows it is refused") {
    tell(
        [](scene& s) {
            seal(s, write_policy::discard);
            for (std::string const sql : {"insert into t values (1) returning a", "insert into t select 1",
                                          "insert into t values (1); insert into t values (2)"}) {
                s.client(query(sql));
                if (s.driver.wish()) s.link();
                CHECK(has(s.told(), "E(25006"));
            }
            s.client(query("begin"));
            s.client(query("insert into t values (1)"));
            if (s.driver.wish()) s.link();
            CHECK(has(s.told(), "E(25006"));
            CHECK(s.driver.core().status() == 'E');
            s.client(query("rollback"));
            CHECK(s.driver.core().status() == 'I');
            CHECK(s.driver.core().fates().discarded == 0);
            (void)s.told();
        },
        60);
}

TEST_CASE(
    "two writes in one segment are one transaction, whose first could not be undone: both are refused") {
    tell([](scene& s) {
        seal(s, write_policy::discard);
        s.client(parse("", "insert into t values (1)") + bind_to("") + execute() +
                 parse("", "insert into t values (2)") + bind_to("") + execute() + wire::sync());
        if (s.driver.wish()) s.link();
        CHECK(s.driver.core().fates().discarded == 0);
        CHECK(lacks(s.sent(s.replica), "B(,) "));  // parsed as ever, and not executed
    });
}

TEST_CASE("a journaled write is answered when it is on the disk, and not before") {
    tell([](scene& s) {
        seal(s, write_policy::journal);
        s.client(query("insert into t values (1)"));
        REQUIRE(s.driver.keeping);
        CHECK(s.driver.keeping->text == "insert into t values (1)");
        CHECK(s.driver.keeping->tag == "INSERT 0 1");
        CHECK(s.driver.keeping->user == "app");
        CHECK(s.told().empty());
        s.driver.kept(journal_outcome::kept);
        CHECK(s.told() == "C(INSERT 0 1) Z(I) ");
        s.client(segment("delete from t where a = 1"));
        REQUIRE(s.driver.keeping);
        CHECK(s.driver.keeping->extended);
        s.driver.kept(journal_outcome::kept);
        CHECK(s.told() == "1 2 n C(DELETE 1) Z(I) ");
        CHECK(untouched(s));
        CHECK(s.driver.core().fates().journaled == 2);
    });
}

TEST_CASE(
    "an entry that came to the disk is never sent, also where the site is open when its client is told") {
    for (bool const extended : {false, true}) {
        CAPTURE(extended);
        tell([&](scene& s) {
            seal(s, write_policy::journal);
            std::string const text = "insert into t values (1)";
            s.client(extended ? segment(text) : query(text));
            REQUIRE(s.driver.keeping);
            s.flip(routing::mode::read_write);
            CHECK(!s.driver.wish());
            s.driver.kept(journal_outcome::kept);
            CHECK(has(s.told(), "C(INSERT 0 1) Z(I)"));
            CHECK(!s.driver.wish());
            CHECK(untouched(s));
        });
    }
}

TEST_CASE("what the journal has no room for is refused, and the next is tried again") {
    tell([](scene& s) {
        seal(s, write_policy::journal);
        for (journal_outcome const why : {journal_outcome::full, journal_outcome::failed}) {
            s.client(query("insert into t values (1)"));
            s.driver.kept(why);
            CHECK(has(s.told(), "E(25006"));
        }
        CHECK(s.driver.core().fates().refused == 2);
        CHECK(s.driver.core().fates().over_limit == 1);
        s.client(query("insert into t values (2)"));
        s.driver.kept(journal_outcome::kept);
        CHECK(s.told() == "C(INSERT 0 1) Z(I) ");
    });
}

TEST_CASE("where the disk neither took it nor took it back, its client is told so, and it is not run") {
    for (bool const extended : {false, true}) {
        CAPTURE(extended);
        tell([&](scene& s) {
            seal(s, write_policy::journal);
            s.client(extended ? segment("insert into t values (1)") : query("insert into t values (1)"));
            s.flip(routing::mode::read_write);
            s.driver.kept(journal_outcome::unknown);
            std::string const told = s.told();
            CHECK(has(told, "E(08007"));
            CHECK(has(told, "Z(I)"));
            CHECK(!s.driver.wish());
            CHECK(untouched(s));
            CHECK(s.driver.core().fates().unknown == 1);
        });
    }
}

TEST_CASE("a write that is cancelled behind a closed journal leaves nothing of that for the next window") {
    scene s({});
    seal(s, write_policy::journal);
    s.client(query("insert into t values (1)"));
    s.driver.kept(journal_outcome::closed);
    REQUIRE(s.driver.core().held());
    s.driver.cancel();
    CHECK(has(s.told(), "E(57014"));
    s.client(query("insert into t values (2)"));
    CHECK(!s.driver.core().held());
    REQUIRE(s.driver.keeping);
    s.driver.kept(journal_outcome::kept);
    CHECK(s.told() == "C(INSERT 0 1) Z(I) ");
}

TEST_CASE("what comes when the journal is closed waits behind it, and then runs once") {
    tell([](scene& s) {
        seal(s, write_policy::journal);
        s.flip(routing::mode::reopening);
        s.client(query("insert into t values (1)"));
        s.driver.kept(journal_outcome::closed);
        CHECK(s.driver.core().held());
        CHECK(has(s.told(), "N("));
        s.flip(routing::mode::read_write);
        CHECK(&s.link() == &s.primary);
        CHECK(s.sent(s.primary) == "Q(insert into t values (1)) ");
        s.server(complete("INSERT 0 1") + ready('I'));
        CHECK(has(s.told(), "C(INSERT 0 1) Z(I)"));
    });
}

TEST_CASE("writes behind one that is being kept wait, so that they are kept in order") {
    tell([](scene& s) {
        seal(s, write_policy::journal);
        s.client(query("insert into t values (1)") + query("insert into t values (2)"));
        REQUIRE(s.driver.keeping);
        CHECK(s.driver.keeping->text == "insert into t values (1)");
        s.driver.kept(journal_outcome::kept);
        REQUIRE(s.driver.keeping);
        CHECK(s.driver.keeping->text == "insert into t values (2)");
        s.driver.kept(journal_outcome::kept);
        CHECK(s.told() == "C(INSERT 0 1) Z(I) C(INSERT 0 1) Z(I) ");
    });
}

TEST_CASE("a write behind a read that is under way waits for it, and is not sent with it") {
    tell([](scene& s) {
        seal(s, write_policy::journal);
        s.client(query("select 1") + query("insert into t values (1)"));
        CHECK(&s.link() == &s.replica);
        CHECK(s.sent(s.replica) == "Q(select 1) ");
        CHECK(!s.driver.keeping);
        s.server(rows({"1"}) + ready('I'));
        REQUIRE(s.driver.keeping);
        s.driver.kept(journal_outcome::kept);
        CHECK(s.told() == "T D(1) C(SELECT 1) Z(I) C(INSERT 0 1) Z(I) ");
        CHECK(untouched(s));
    });
}

TEST_CASE("a client that keeps something in its session is not journaled: its replay would not know it") {
    tell(
        [](scene& s) {
            s.world.set_replica_healthy(false);
            s.client(query("create temporary table t (a int)"));
            s.link();
            s.server(complete("CREATE TABLE") + ready('I'));
            s.keep_server();
            (void)s.told();
            (void)s.sent(s.primary);
            seal(s, write_policy::journal);
            s.client(query("insert into t values (1)"));
            CHECK(!s.driver.keeping);
            CHECK(has(s.told(), "E(25006"));
        },
        50);
}

TEST_CASE(
    "NOTIFY passes where a rule says so, on a connection that may write and outside of any transaction") {
    tell([](scene& s) {
        seal(s, write_policy::pass, {"notify", "listen"});
        s.client(query("notify c, 'x'"));
        CHECK(&s.link() == &s.primary);
        CHECK(s.sent(s.primary) == "Q(notify c, 'x') ");
        s.server(complete("NOTIFY") + ready('I'));
        CHECK(s.told() == "C(NOTIFY) Z(I) ");
        CHECK(s.driver.core().fates().passed == 1);
        CHECK(!s.driver.linked());
        s.client(query("insert into t values (1)"));
        CHECK(has(s.told(), "E(25006"));
    });
}

TEST_CASE("a rule that would let everything pass lets nothing pass that stores something") {
    tell(
        [](scene& s) {
            seal(s, write_policy::pass);  // the reader of configurations refuses such a rule
            for (std::string const sql : {"insert into t values (1)", "select pg_notify('c', 'x')",
                                          "create table u ()", "notify c; insert into t values (1)"}) {
                s.client(query(sql));
                if (s.driver.wish()) {
                    CHECK(s.driver.wish()->backend == the_replica);
                    s.link();
                    s.server(error("25006") + ready('I'));
                }
                CHECK(has(s.told(), "E(25006"));
            }
            CHECK(s.driver.core().fates().passed == 0);
        },
        60);
}
