// The extended protocol, pipelines and COPY: order of answers, statements that follow their client, limits.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

/// Prepares `name` on the server that the session is lent, and gives that back.
void prepare(scene& s, std::string const& name, std::string const& text, char status = 'I') {
    s.client(parse(name, text) + wire::sync());
    if (s.driver.wish()) s.link();
    s.server(message('1') + ready(status));
    (void)s.told();
    for (test_server* each : {&s.primary, &s.guarded, &s.replica}) each->received.clear();
}

}  // namespace

TEST_CASE("a pipeline of several Syncs is answered in order, on one server where one can do everything") {
    tell([](scene& s) {
        s.client(query("begin"));
        s.client(query("insert into t values (0)"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
        (void)s.told();
        (void)s.sent(s.primary);
        s.client(parse("", "insert into t values (1)") + bind_to("") + execute() + wire::sync() +
                 parse("", "select 2") + bind_to("") + execute() + wire::sync());
        CHECK(s.sent(s.primary) == "P(,insert into t values (1)) B(,) E() S P(,select 2) B(,) E() S ");
        s.server(message('1') + message('2') + complete("INSERT 0 1") + ready('T') + message('1') +
                 message('2') + data_row("2") + complete("SELECT 1") + ready('T'));
        CHECK(s.told() == "1 2 C(INSERT 0 1) Z(T) 1 2 D(2) C(SELECT 1) Z(T) ");
    });
}

TEST_CASE("behind a read on the replica a write waits for the end of the read, then goes to the primary") {
    tell([](scene& s) {
        s.client(query("select 1") + query("insert into t values (1)"));
        CHECK(&s.link() == &s.replica);
        CHECK(s.sent(s.replica) == "Q(select 1) ");
        s.server(rows({"1"}) + ready('I'));
        CHECK(s.driver.released.size() == 1);
        CHECK(&s.link() == &s.primary);
        CHECK(s.sent(s.primary) == "Q(insert into t values (1)) ");
        s.server(complete("INSERT 0 1") + ready('I'));
        CHECK(s.told() == "T D(1) C(SELECT 1) Z(I) C(INSERT 0 1) Z(I) ");
    });
}

TEST_CASE("Flush brings answers before Sync, and the server stays until Sync") {
    tell([](scene& s) {
        s.client(parse("", "select 1") + bind_to("") + execute() + flush());
        CHECK(&s.link() == &s.primary);  // anything may still follow
        s.server(message('1') + message('2') + data_row("1") + complete("SELECT 1"));
        CHECK(s.told() == "1 2 D(1) C(SELECT 1) ");
        CHECK(s.driver.released.empty());
        s.client(wire::sync());
        s.server(ready('I'));
        CHECK(s.told() == "Z(I) ");
        CHECK(s.driver.released.size() == 1);
    });
}

TEST_CASE("an error that comes before the client's Sync: the rest of the segment is skipped here too") {
    tell([](scene& s) {
        s.client(parse("", "select 1/0") + bind_to("") + execute() + flush());
        s.link();
        (void)s.sent(s.primary);
        s.server(message('1') + message('2') + error("22012"));
        s.next_leaves_unanswered(1);
        s.client(bind_to("") + execute() + query("select 1") + wire::sync());
        CHECK(s.sent(s.primary) == "S ");
        s.server(ready('I'));
        CHECK(lacks(s.told(), "08006"));
        CHECK(s.driver.released.size() == 1);
        s.client(query("select 2"));
        CHECK(s.driver.wish());
        s.link();
        s.server(rows({"2"}) + ready('I'));
        CHECK(has(s.told(), "Z(I)"));
    });
}

TEST_CASE("least recently used statements make room, and come back when they are needed") {
    auto const limited = [](scene& s) {
        s.world.configured().limits.max_server_prepared_statements = 2;
        s.flip(routing::mode::read_write);
        s.begin_and_write();
        prepare(s, "a", "select 1", 'T');
        prepare(s, "b", "select 2", 'T');
        s.client(parse("c", "select 3") + wire::sync());
        CHECK(s.sent(s.primary) == "C(Slull_1) P(lull_3,select 3) S ");
        s.server(message('3') + message('1') + ready('T'));
        CHECK(s.told() == "1 Z(T) ");
        s.client(bind_to("a") + execute() + wire::sync());
        CHECK(s.sent(s.primary) == "C(Slull_2) P(lull_1,select 1) B(,lull_1) E() S ");
        s.server(message('3') + message('1') + message('2') + data_row("1") + complete("SELECT 1") +
                 ready('T'));
        CHECK(s.told() == "2 D(1) C(SELECT 1) Z(T) ");
    };
    tell(limited, 60);
}

TEST_CASE("and where their texts are too long, all together: what a client has closed is still on the server") {
    tell(
        [](scene& s) {
            s.world.configured().limits.max_prepared_bytes = 28;
            s.flip(routing::mode::read_write);
            s.begin_and_write();
            for (std::string const text : {"select 1", "select 22"}) {
                prepare(s, "a", text, 'T');
                s.client(close('S', "a") + wire::sync());
                s.server(ready('T'));
                (void)s.told();
                (void)s.sent(s.primary);
            }
            s.client(parse("b", "select 333333333") + wire::sync());
            CHECK(s.sent(s.primary) == "C(Slull_1) P(lull_3,select 333333333) S ");
            s.server(message('3') + message('1') + ready('T'));
            CHECK(s.told() == "1 Z(T) ");
            s.client(close('S', "b") + parse("c", "select 4444444444444444444") + wire::sync());
            CHECK(s.sent(s.primary) == "C(Slull_2) C(Slull_3) P(lull_4,select 4444444444444444444) S ");
            s.server(message('3') + message('3') + message('1') + ready('T'));
            CHECK(s.told() == "3 1 Z(T) ");
        },
        60);
}

TEST_CASE("a Close of ours that the server skips has not happened") {
    tell(
        [](scene& s) {
            s.world.configured().limits.max_server_prepared_statements = 2;
            s.flip(routing::mode::read_write);
            s.begin_and_write();
            prepare(s, "a", "select 1", 'T');
            prepare(s, "b", "select 2", 'T');
            // The first message fails, and what makes room for c is skipped with it.
            s.client(parse("", "nonsense") + parse("c", "select 3") + wire::sync());
            (void)s.sent(s.primary);
            s.server(error("42601") + ready('E'));
            s.client(query("rollback"));
            s.server(complete("ROLLBACK") + ready('I'));
            (void)s.told();
            s.client(query("begin") + query("insert into t values (1)"));
            s.link();
            s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
            (void)s.sent(s.primary);
            s.client(bind_to("a") + execute() + wire::sync());
            CHECK(s.sent(s.primary) == "B(,lull_1) E() S ");  // lull_1 is still there
            s.server(message('2') + complete("SELECT 0") + ready('T'));
        },
        60);
}

TEST_CASE("Close and DEALLOCATE of a named statement are the session's own business") {
    tell([](scene& s) {
        prepare(s, "a", "select 1");
        s.client(close('S', "a") + wire::sync());
        CHECK(!s.driver.wish());
        CHECK(s.told() == "3 Z(I) ");
        prepare(s, "b", "select 2");
        s.client(query("deallocate b"));
        CHECK(!s.driver.wish());
        CHECK(s.told() == "C(DEALLOCATE) Z(I) ");
        s.client(bind_to("b") + execute() + wire::sync());
        s.link();
        s.server(message('1') + message('2') + error("3B001") + ready('I'));
        CHECK(has(s.told(), "E(26000 prepared statement \"b\" does not exist)"));
    });
}

TEST_CASE("a name is taken once, and a client may have only so many") {
    tell(
        [](scene& s) {
            s.world.configured().limits.max_prepared_statements = 1;
            s.flip(routing::mode::read_write);
            prepare(s, "a", "select 1");
            for (auto const& [name, code] : {std::pair{"a", "42P05"}, std::pair{"b", "54000"}}) {
                s.client(parse(name, "select 2") + wire::sync());
                s.link();
                s.server(message('1') + message('2') + error("3B001") + ready('I'));
                CHECK(has(s.told(), code));
            }
        },
        40);
}

TEST_CASE("a text with a moment in it is read anew for each who prepares it") {
    tell([](scene& s) {
        for (std::string const text : {"select 'now'::timestamptz", "select 1"}) {
            s.client(parse("a", text) + wire::sync());
            if (s.driver.wish()) s.link();
            test_server& at = *s.driver.linked();
            s.server(message('1') + ready('I'));
            s.client(close('S', "a") + wire::sync());
            (void)s.told();
            (void)s.sent(at);
            s.client(parse("a", text) + wire::sync());
            s.link();
            bool const anew = text != "select 1";
            CHECK(s.sent(at).starts_with(anew ? "P(" : "S "));
            s.server((anew ? message('1') : std::string()) + ready('I'));
            CHECK(s.told() == "1 Z(I) ");
            s.client(close('S', "a") + wire::sync());
            (void)s.told();
        }
    });
}

TEST_CASE("and of so many bytes, all together, also in SQL") {
    tell(
        [](scene& s) {
            s.world.configured().limits.max_prepared_bytes = 24;
            s.flip(routing::mode::read_write);
            prepare(s, "a", "select 1");
            prepare(s, "b", "select 2");
            s.client(parse("c", "select 3") + wire::sync());
            s.link();
            s.server(message('1') + message('2') + error("3B001") + ready('I'));
            CHECK(has(s.told(), "54000"));
            s.client(query("prepare c as select 3"));
            if (s.driver.wish()) s.link();
            CHECK(has(s.told(), "54000"));
            s.client(close('S', "a") + wire::sync());
            CHECK(s.told() == "3 Z(I) ");
            prepare(s, "c", "select 3");
        },
        40);
}

TEST_CASE("the unnamed statement follows its client, and another's is never shown") {
    tell([](scene& s) {
        s.client(parse("", "select 1") + wire::sync());
        s.link();
        s.server(message('1') + ready('I'));
        (void)s.told();
        s.world.set_replica_healthy(false);
        s.driver.snapshot();
        s.client(bind_to("") + execute() + wire::sync());
        CHECK(&s.link() == &s.primary);
        std::string const sent = s.sent(s.primary);
        CHECK(has(sent, "select 1) B(,lull_"));
        CHECK(has(sent, ") E() S "));
        s.server(message('1') + message('2') + data_row("1") + complete("SELECT 1") + ready('I'));
        CHECK(s.told() == "2 D(1) C(SELECT 1) Z(I) ");
        s.client(query("begin"));  // every Query drops it, also one that is answered here
        s.client(query("rollback"));
        (void)s.told();
        s.client(describe('S', "") + wire::sync());
        s.link();
        CHECK(lacks(s.sent(s.primary), "D(S)"));
        s.server(message('1') + message('2') + error("3B001") + ready('I'));
        CHECK(has(s.told(), "E(26000"));
    });
}

TEST_CASE("the limit of a pipeline holds back what is too much, in a block too, and lets it go on") {
    tell(
        [](scene& s) {
            s.world.configured().limits.max_pipeline = 2;
            s.flip(routing::mode::read_write);
            s.begin_and_write();
            (void)s.sent(s.primary);
            s.client(query("select 1") + query("select 2") + query("select 3"));
            CHECK(s.sent(s.primary) == "Q(select 1) Q(select 2) ");
            s.server(rows({"1"}) + ready('T'));
            CHECK(s.sent(s.primary) == "Q(select 3) ");
            s.server(rows({"2"}) + ready('T') + rows({"3"}) + ready('T'));
            CHECK(s.driver.watch().waits_for() == 0);
        },
        70);
}

TEST_CASE("several statements in one text go together, where the strictest of them may go") {
    tell([](scene& s) {
        s.client(query("select 1; insert into t values (1)"));
        CHECK(&s.link() == &s.primary);
        CHECK(s.driver.core().writes());
        s.server(rows({"1"}) + complete("INSERT 0 1") + ready('I'));
        CHECK(s.told() == "T D(1) C(SELECT 1) C(INSERT 0 1) Z(I) ");
    });
}

TEST_CASE("COPY in both directions") {
    tell([](scene& s) {
        s.client(query("copy t from stdin"));
        CHECK(&s.link() == &s.primary);
        s.server(copy_in_response());
        (void)s.sent(s.primary);
        s.client(copy_data("1\n") + copy_data("2\n") + copy_done());
        CHECK(s.sent(s.primary) == "d(1\n) d(2\n) c ");
        s.server(complete("COPY 2") + ready('I'));
        CHECK(s.told() == "G C(COPY 2) Z(I) ");
        CHECK(s.driver.released.size() == 1);
        s.client(query("copy (select 1) to stdout"));
        s.link();
        s.server(copy_out_response() + copy_data("1\n") + message('c') + complete("COPY 1") + ready('I'));
        CHECK(s.told() == "H d(1\n) c C(COPY 1) Z(I) ");
    });
}

TEST_CASE("a Sync that comes with the Execute of a COPY is ignored, as libpq and PostgreSQL have it") {
    tell([](scene& s) {
        s.client(parse("", "copy t from stdin") + bind_to("") + execute() + wire::sync());
        s.link();
        s.next_leaves_unanswered(1);
        s.server(message('1') + message('2') + copy_in_response());
        s.client(copy_data("1\n") + copy_done() + wire::sync());
        s.server(complete("COPY 1") + ready('I'));
        CHECK(s.told() == "1 2 G C(COPY 1) Z(I) ");
        CHECK(s.driver.released.size() == 1);
    });
}

TEST_CASE("a COPY in one go with its data: the Sync behind CopyDone counts") {
    tell([](scene& s) {
        s.client(parse("", "copy t from stdin") + bind_to("") + execute() + copy_data("1\n") + copy_done() +
                 wire::sync());
        s.link();
        s.server(message('1') + message('2') + copy_in_response() + complete("COPY 1") + ready('I'));
        CHECK(s.told() == "1 2 G C(COPY 1) Z(I) ");
        CHECK(s.driver.released.size() == 1);
    });
}

TEST_CASE("the rest of a COPY that was refused is thrown away") {
    tell([](scene& s) {
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("copy t from stdin") + copy_data("1\n") + copy_done() + query("select 1"));
        CHECK(&s.link() == &s.replica);
        CHECK(s.sent(s.replica) == "Q(select 1) ");
        s.server(rows({"1"}) + ready('I'));
        std::string const told = s.told();
        CHECK(has(told, "E(25006 cannot execute COPY FROM in a read-only transaction)"));
        CHECK(has(told, "D(1)"));
    });
}

TEST_CASE("a client that leaves amid COPY: the copy fails on the server, which goes back") {
    tell([](scene& s) {
        s.client(query("copy t from stdin"));
        s.link();
        s.server(copy_in_response());
        s.client(copy_data("1\n"));
        (void)s.sent(s.primary);
        s.driver.gone();
        CHECK(has(s.sent(s.primary), "f("));
        s.server(error("57014") + ready('I'));
        CHECK(s.driver.core().finished());
        CHECK(s.driver.released.size() == 1);
    });
}

TEST_CASE("a client that leaves amid a segment has not written: a Sync of ours would commit it, also what was taken for a read") {
    for (auto const& [text, tag] : {std::pair{"insert into t values (1)", "INSERT 0 1"},
                                    std::pair{"/* lull: primary */ select 1", "SELECT 1"}})
        tell([&](scene& s) {
            s.client(parse("", text) + bind_to("") + execute() + flush());
            s.link();
            (void)s.sent(s.primary);
            s.driver.gone();
            std::string const sent = s.sent(s.primary);
            CHECK(has(sent, "ROLLBACK TO SAVEPOINT"));
            CHECK(sent.ends_with("S "));
            s.server(message('1') + message('2') + complete(tag) + message('1') + message('2') + error("25P01") + ready('I'));
            CHECK(s.driver.core().finished());
            CHECK(s.driver.released.size() == 1);
        });
}

TEST_CASE("a client that leaves amid a message: the server cannot be used again") {
    scene s({});
    std::string const whole = query("copy t from stdin");
    s.client(whole);
    s.link();
    s.server(copy_in_response());
    s.client(copy_data("0123456789").substr(0, 8));
    s.driver.gone();
    CHECK(s.driver.discarded.size() == 1);
    CHECK(s.driver.core().finished());
}

TEST_CASE("a client that leaves while its statement runs: that ends, and the server goes back") {
    tell([](scene& s) {
        s.client(query("insert into t values (1)"));
        s.link();
        s.driver.gone();
        CHECK(s.driver.core().writes());  // it may still write
        s.server(complete("INSERT 0 1") + ready('I'));
        CHECK(!s.driver.core().writes());
        CHECK(s.driver.core().finished());
        CHECK(s.driver.released.size() == 1);
    });
}

TEST_CASE("what is no message ends the session, and says why") {
    for (std::string const& bytes : {std::string("\x01\0\0\0\4", 5), std::string("Q\0\0\0\3", 5),
                                     message('p', "password"), message('P', "no end")}) {
        scene s({});
        s.client(bytes + wire::sync());
        CHECK(s.driver.closed());
        CHECK(has(s.told(), "E(08P01"));
    }
}

TEST_CASE("a server that says what nobody asked for is given up") {
    for (std::string const& bytes : {ready('I') + ready('I'), std::string("\x01\0\0\0\4", 5)}) {
        scene s({});
        s.client(query("begin") + query("insert into t values (1)"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T') + bytes);
        CHECK(s.driver.discarded.size() == 1);
        s.client(query("select 1"));
        CHECK(has(s.told(), "E(08006"));
        CHECK(s.driver.core().status() == 'E');
    }
}

TEST_CASE("a DEALLOCATE that does not run takes no statement away") {
    for (bool const pipelined : {false, true}) {
        CAPTURE(pipelined);
        scene s({});
        s.client(parse("s1", "select 1") + wire::sync());
        s.link();
        s.server(message('1') + ready('I'));
        s.client(query("begin") + query("insert into t values (1)"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
        std::string const fails = parse("", "nonsense") + bind_to("") + execute();
        std::string const deallocates = parse("", "deallocate s1") + bind_to("") + execute();
        if (pipelined) {
            s.client(fails + deallocates + wire::sync());
        } else {
            s.client(fails + wire::sync());
            s.server(error("42601") + ready('E'));
            s.client(deallocates + wire::sync());
        }
        s.server(error(pipelined ? "42601" : "25P02") + ready('E'));
        s.client(query("rollback"));
        s.server(complete("ROLLBACK") + ready('I'));
        (void)s.told();
        s.client(bind_to("s1") + execute() + wire::sync());
        s.link();
        s.server(message('2') + data_row("1") + complete("SELECT 1") + ready('I'));
        CHECK(s.told() == "2 D(1) C(SELECT 1) Z(I) ");
    }
}

TEST_CASE("a server that is free is lent within the event: the unit goes out at once, and nothing is asked twice") {
    tell([](scene& s) {
        int asked = 0;
        s.driver.lender = [&](server_wish const& wish) {
            ++asked;
            return wish.backend == the_replica ? &s.replica : &s.primary;
        };
        s.client(query("select 1"));
        CHECK(asked == 1);
        CHECK(!s.driver.wish());
        CHECK(s.sent(s.replica) == "Q(select 1) ");
        s.server(rows({"1"}) + ready('I'));
        CHECK(s.driver.released.size() == 1);
        s.client(query("insert into t values (1)"));
        CHECK(s.sent(s.primary) == "Q(insert into t values (1)) ");
        s.server(complete("INSERT 0 1") + ready('I'));
        CHECK(s.told() == "T D(1) C(SELECT 1) Z(I) C(INSERT 0 1) Z(I) ");
    });
}

TEST_CASE("a server that is lent and lacks the client's settings gets them before the unit") {
    tell([](scene& s) {
        s.client(query("set search_path to app"));
        s.link();
        s.server(complete("SET") + ready('I'));
        (void)s.sent(s.primary);
        (void)s.sent(s.replica);
        (void)s.told();
        s.primary.state.actual = s.replica.state.actual = s.world.context().settings.none();
        s.driver.lender = [&](server_wish const& wish) { return wish.backend == the_replica ? &s.replica : &s.primary; };
        s.client(query("select 1"));
        CHECK(s.sent(s.replica) == "Q(SELECT pg_catalog.set_config('search_path','app',false);) ");
        s.server(complete("SET") + ready('I'));
        CHECK(s.sent(s.replica) == "Q(select 1) ");
        s.server(rows({"1"}) + ready('I'));
        CHECK(s.told() == "T D(1) C(SELECT 1) Z(I) ");
    });
}

TEST_CASE("a server that is lent and reads text otherwise than the client was told gets nothing judged by that") {
    tell([](scene& s) {
        s.client(query("select 1"));
        s.link();
        s.server(rows({"1"}) + ready('I'));
        (void)s.told();
        (void)s.sent(s.replica);
        s.replica.state.reported = s.world.context().settings.intern({{"standard_conforming_strings", "off"}});
        s.driver.lender = [&](server_wish const& wish) { return wish.backend == the_replica ? &s.replica : nullptr; };
        // Two literals, or one and an INSERT.
        s.client(query("select '\\', '; insert into t values (1); --'"));
        CHECK(s.sent(s.replica) == "");
        CHECK(s.driver.wish()->backend == the_primary);
    });
}
