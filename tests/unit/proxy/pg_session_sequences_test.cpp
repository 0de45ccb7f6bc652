// lastval() and currval(): nobody is told what nextval() has said to another.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

constexpr char const* forget = "Q(DISCARD SEQUENCES) ";

/// Somebody else writes on the primary.
void others_write(scene& s) { s.primary.state.values_of = values_of_several; }

void insert(scene& s, std::string const& before = {}) {
    s.client(query("insert into t values (1)"));
    if (s.driver.wish()) s.link();
    CHECK(s.sent(s.primary) == before + "Q(insert into t values (1)) ");
    if (!before.empty()) s.server(complete("DISCARD SEQUENCES") + ready('I'));
    s.server(complete("INSERT 0 1") + ready('I'));
    CHECK(s.told() == "C(INSERT 0 1) Z(I) ");
}

/// In a block, on a server where others have written.
void insert_in_block(scene& s) {
    others_write(s);
    s.client(query("begin"));
    s.client(query("insert into t values (1)"));
    s.link();
    s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
    (void)s.told();
    (void)s.sent(s.primary);
}

/// The client has been told what it could have done.
bool hints(scene& s) { return s.driver.to_client.find("RETURNING") != std::string::npos; }

/// The first in this pool that asks: it is told that there is none, and known for it.
void ask_once(scene& s) {
    s.client(query("select lastval()"));
    if (s.driver.wish()) s.link();
    CHECK(s.sent(s.primary) == forget);
    s.server(complete("DISCARD SEQUENCES") + ready('I'));
    CHECK(s.sent(s.primary) == "Q(select lastval()) ");
    s.server(error("55000", "lastval is not yet defined in this session") + ready('I'));
}

}  // namespace

TEST_CASE("the server on which only this client has written is asked for, and asked") {
    tell([](scene& s) {
        insert(s);
        CHECK(!s.driver.linked());
        s.client(query("select lastval()"));
        REQUIRE(s.driver.wish());
        CHECK(s.driver.wish()->backend == the_primary);
        CHECK(s.driver.wish()->values_of == s.primary.state.values_of);
        CHECK(s.driver.wish()->values_of != no_values);
        s.link();
        CHECK(s.sent(s.primary) == "Q(select lastval()) ");
        s.server(complete("SELECT 1") + ready('I'));
        CHECK(s.told() == "C(SELECT 1) Z(I) ");
        // Now that it is known to ask it keeps its server where it writes.
        CHECK(!s.driver.linked());
        insert(s);
        CHECK(s.driver.linked());
        CHECK(s.driver.core().pins().text() == "sequences");
        s.client(query("discard sequences"));
        s.server(complete("DISCARD SEQUENCES") + ready('I'));
        CHECK(!s.driver.linked());
    });
}

TEST_CASE("what others have been told there is forgotten first, and the client hears why there is nothing") {
    tell([](scene& s) {
        insert(s);
        others_write(s);
        ask_once(s);
        CHECK(hints(s));
        CHECK(has(s.told(), "55000"));
        // From now on who writes there has the others' forgotten before, and stays.
        others_write(s);
        insert(s, forget);
        CHECK(s.driver.core().pins().text() == "sequences");
        s.client(query("select currval('s')"));
        CHECK(s.sent(s.primary) == "Q(select currval('s')) ");
        s.server(complete("SELECT 1") + ready('I'));
        CHECK(s.told() == "C(SELECT 1) Z(I) ");
        insert(s);
    });
}

TEST_CASE("who has never written gets PostgreSQL's own words") {
    tell([](scene& s) {
        others_write(s);
        ask_once(s);
        CHECK(!hints(s));
    });
}

TEST_CASE("in the extended protocol, too, where the statement alone was prepared") {
    tell([](scene& s) {
        s.client(parse("p", "select lastval()") + wire::sync());
        s.link();
        CHECK(lacks(s.sent(s.primary), "DISCARD"));
        s.server(message('1') + ready('I'));
        (void)s.told();
        insert(s);
        others_write(s);
        s.client(bind_to("p") + execute() + wire::sync());
        s.link();
        CHECK(s.sent(s.primary) == forget);
        s.server(complete("DISCARD SEQUENCES") + ready('I'));
        CHECK(has(s.sent(s.primary), "B("));
        s.server(message('2') + error("55000", "lastval is not yet defined in this session") + ready('I'));
        CHECK(hints(s));
        (void)s.told();
        others_write(s);
        s.client(parse("", "insert into t values (1)") + bind_to("") + execute() + parse("", "select lastval()") + bind_to("") +
                 execute() + wire::sync());
        s.link();
        CHECK(s.sent(s.primary).starts_with(forget));
        s.server(complete("DISCARD SEQUENCES") + ready('I'));
        CHECK(lacks(s.sent(s.primary), "DISCARD"));
        s.server(message('1') + message('2') + complete("INSERT 0 1") + message('1') + message('2') + complete("SELECT 1") +
                 ready('I'));
        CHECK(has(s.told(), "C(SELECT 1) Z(I) "));
        CHECK(s.driver.core().pins().text() == "sequences");
    });
}

TEST_CASE("in the transaction that has written the server says whether the values are its own") {
    for (bool own : {true, false})
        for (std::string const text : {"select lastval()", "select currval('s')", "select currval(a) from t"})
            tell([&](scene& s) {
                insert_in_block(s);
                s.client(query(text));
                bool const askable = text != "select currval(a) from t";
                if (askable) {
                    std::string const asked = s.sent(s.primary);
                    CHECK(has(asked, "pg_locks"));
                    CHECK(asked.ends_with(text == "select lastval()" ? "'RowExclusiveLock')) " : "to_regclass('s'))) "));
                    s.server(complete(own ? "SELECT 1" : "SELECT 0") + ready('T'));
                }
                if (!own || !askable) {
                    CHECK(s.sent(s.primary) == forget);
                    s.server(complete("DISCARD SEQUENCES") + ready('T'));
                }
                CHECK(s.sent(s.primary) == "Q(" + text + ") ");
                s.server(complete("SELECT 1") + ready('T'));
                CHECK(s.told() == "C(SELECT 1) Z(T) ");
                s.client(query("commit"));
                s.server(complete("COMMIT") + ready('I'));
                (void)s.sent(s.primary);
                (void)s.told();
                // Who asks in its transaction does not keep its server, but has it forget.
                others_write(s);
                insert(s, forget);
                CHECK(!s.driver.linked());
            });
}

TEST_CASE("what is sent to a replica although nobody knows what it calls keeps nothing there") {
    tell([](scene& s) {
        others_write(s);
        ask_once(s);
        (void)s.told();
        s.client(parse("", "/* lull: replica */ select somebodys()") + bind_to("") + execute() + wire::sync());
        CHECK(&s.link() == &s.replica);
        s.server(message('1') + message('2') + complete("SELECT 1") + ready('I'));
        CHECK(s.replica.state.values_of == no_values);
        CHECK(!s.driver.linked());
    });
}

TEST_CASE("what cannot be made to be forgotten is not asked for") {
    tell([](scene& s) {
        others_write(s);
        s.client(query("begin"));
        s.client(query("select 1/0 from t for update"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + error("22012", "division by zero") + ready('E'));
        (void)s.told();
        (void)s.sent(s.primary);
        s.client(query("rollback; select lastval()"));
        CHECK(lacks(s.sent(s.primary), "lastval"));
        s.server(error("25P02", "failed") + ready('E'));
        CHECK(has(s.told(), "25P02"));
    });
}

TEST_CASE("a server that was canceled while it was to forget is told once more") {
    tell([](scene& s) {
        others_write(s);
        s.client(query("select lastval()"));
        s.link();
        CHECK(s.sent(s.primary) == forget);
        s.server(error("57014", "canceled") + ready('I'));
        CHECK(s.sent(s.primary) == forget);
        s.server(complete("DISCARD SEQUENCES") + ready('I'));
        CHECK(s.sent(s.primary) == "Q(select lastval()) ");
        s.server(complete("SELECT 1") + ready('I'));
        CHECK(s.told() == "C(SELECT 1) Z(I) ");
    });
}

TEST_CASE("a server that cannot forget is not told for ever: who asks is told why, and may ask again") {
    tell([](scene& s) {
        for (int round = 0; round < 2; ++round) {
            others_write(s);
            s.client(query("select lastval()"));
            s.link();
            CHECK(s.sent(s.primary) == forget);
            s.server(error("0A000", "no such thing here") + ready('I'));
            CHECK(s.sent(s.primary) == "");
            CHECK(s.told() == "E(0A000 no such thing here) Z(I) ");
        }
        others_write(s);
        s.client(query("select lastval()"));
        s.link();
        for (int time = 0; time < 2; ++time) {
            CHECK(s.sent(s.primary) == forget);
            s.server(error("57014", "canceled") + ready('I'));
        }
        CHECK(s.sent(s.primary) == "");
        CHECK(s.told() == "E(57014 canceled) Z(I) ");
    });
}

TEST_CASE("a server in a block that cannot forget: who asks is told why, not that the block has failed") {
    tell([](scene& s) {
        others_write(s);
        s.client(query("begin"));
        s.client(query("select 1"));
        s.link();
        (void)s.sent(s.primary);
        s.server(complete("BEGIN") + ready('T') + complete("SELECT 1") + ready('T'));
        (void)s.told();
        s.client(query("select lastval()"));
        CHECK(s.sent(s.primary) == forget);
        s.server(error("57014", "canceled") + ready('E'));
        CHECK(s.sent(s.primary) == "");
        CHECK(s.told() == "E(57014 canceled) Z(E) ");
    });
}

TEST_CASE("whether a server has forgotten is waited for before it is asked: within a failed block it has not") {
    tell([](scene& s) {
        others_write(s);
        ask_once(s);
        (void)s.told();
        insert(s);
        s.world.pass(std::chrono::seconds(2));
        s.driver.give_up_sequences();
        others_write(s);
        for (char const* sql : {"begin", "select 1/0", "insert into t values (1)", "rollback", "select lastval()"}) {
            s.client(query(sql));
            if (s.driver.wish()) s.link();
        }
        CHECK(!has(s.sent(s.primary), "lastval"));
        s.server(complete("BEGIN") + ready('T') + error("22012", "division by zero") + ready('E'));
        s.server(error("25P02", "current transaction is aborted") + ready('E') + error("25P02", "current transaction is aborted") + ready('E'));
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(s.sent(s.primary) == forget);
        s.server(complete("DISCARD SEQUENCES") + ready('I'));
        CHECK(s.sent(s.primary) == "Q(select lastval()) ");
    });
}

TEST_CASE("a statement that is canceled while its server is to forget does not run") {
    tell([](scene& s) {
        others_write(s);
        s.client(query("select lastval()"));
        s.link();
        CHECK(s.sent(s.primary) == forget);
        s.driver.cancel();
        CHECK(s.driver.cancels == 0);
        s.server(complete("DISCARD SEQUENCES") + ready('I'));
        CHECK(s.sent(s.primary) == "");
        CHECK(has(s.told(), "57014"));
        insert(s);
    });
}

TEST_CASE("and in a block, which has failed then") {
    tell([](scene& s) {
        insert_in_block(s);
        s.client(query("select lastval()"));
        CHECK(has(s.sent(s.primary), "pg_locks"));
        s.driver.cancel();
        s.server(complete("SELECT 1") + ready('T'));
        CHECK(has(s.sent(s.primary), "ROLLBACK TO SAVEPOINT"));
        CHECK(s.told() == "");
        s.server(error("3B001") + ready('E'));
        CHECK(s.sent(s.primary) == "");
        CHECK(s.told() == "E(57014 canceling statement due to user request) Z(E) ");
        s.client(query("rollback"));
        CHECK(s.sent(s.primary) == "Q(rollback) ");
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(s.told() == "C(ROLLBACK) Z(I) ");
    });
}

TEST_CASE("where the server cannot say whose the values are, what asks fails by that, and nothing is lost") {
    tell([](scene& s) {
        insert_in_block(s);
        s.client(query("select currval('a..b')"));
        CHECK(has(s.sent(s.primary), "pg_locks"));
        s.server(error("42601", "invalid name syntax") + ready('E'));
        CHECK(s.sent(s.primary) == "");
        CHECK(s.told() == "E(42601 invalid name syntax) Z(E) ");
        s.client(query("rollback"));
        CHECK(s.sent(s.primary) == "Q(rollback) ");
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(s.told() == "C(ROLLBACK) Z(I) ");
        CHECK(!s.driver.closed());
    });
}

TEST_CASE("a server that is kept for sequences is given back when others wait, when the site closes, and when it breaks") {
    tell([](scene& s) {
        others_write(s);
        ask_once(s);
        (void)s.told();
        insert(s);
        CHECK(s.driver.linked());
        s.driver.give_up_sequences();
        CHECK(s.driver.linked());  // it may be about to ask
        s.world.pass(std::chrono::seconds(2));
        s.driver.give_up_sequences();
        CHECK(!s.driver.linked());
        insert(s);
        CHECK(s.driver.linked());
        s.flip(routing::mode::sealed);
        CHECK(!s.driver.linked());
        CHECK(s.sent(s.primary) == "");
        s.flip(routing::mode::read_write);
        (void)s.told();
        insert(s);
        s.driver.lose();
        CHECK(!s.driver.closed());
    });
}

TEST_CASE("sequences: the habits of those who are here are kept, of others as many as fit") {
    sequence_habits all;
    client_sequences one(all.of("shop", "app"));
    one.note_use(sequence_use::behind);
    for (int i = 0; i < 5'000; ++i) client_sequences(all.of("shop", "user" + std::to_string(i)));
    CHECK(all.size() <= sequence_habits::most + 1);
    CHECK(client_sequences(all.of("shop", "app")).use() == sequence_use::behind);
    CHECK(client_sequences(all.of("shop", "other")).use() == sequence_use::none);
    CHECK(client_sequences(all.of("app", "shop")).use() == sequence_use::none);
}
