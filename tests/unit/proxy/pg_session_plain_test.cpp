// A segment that is one query goes out as one piece, and is one debt: what its errors leave, and what may stand around it.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

std::string const run = bind_to("") + describe('P', "") + execute() + wire::sync();

std::string whole(std::string_view text) { return parse("", text) + run; }

/// It has written, and its block is open on the primary.
void begin(scene& s) {
    s.client(query("begin"));
    s.client(whole("insert into t values (1)"));
    s.link();
    s.server(complete("BEGIN") + ready('T'));
    s.server(message('1') + message('2') + message('n') + complete("INSERT 0 1") + ready('T'));
    (void)s.told();
    (void)s.sent(s.primary);
}

}  // namespace

TEST_CASE("a segment that is one query goes out as it came, and its answer comes back as it came") {
    tell([](scene& s) {
        s.client(whole("select a from t"));
        test_server& reader = s.link();
        CHECK(&reader == &s.replica);
        CHECK(s.sent(reader) == show(whole("select a from t"), false));
        s.server(message('1') + message('2') + rows({"x", "y"}) + ready('I'));
        CHECK(s.told() == "1 2 T D(x) D(y) C(SELECT 2) Z(I) ");
        CHECK_FALSE(s.driver.linked());
    });
}

TEST_CASE("behind a Parse that failed there is no unnamed statement, behind a Bind or an Execute that failed there is") {
    tell([](scene& s) {
        s.client(whole("select a from t"));
        s.link();
        s.server(message('1') + message('2') + rows({"x"}) + ready('I'));
        (void)s.told();
        s.client(whole("select nothing from t"));
        s.link();
        s.server(error("42703") + ready('I'));
        CHECK(s.told() == "E(42703 it failed) Z(I) ");
        s.client(run);
        test_server& reader = s.link();
        CHECK(has(s.sent(reader), "P(,ROLLBACK TO SAVEPOINT"));  // not what it was before
        s.server(message('1') + error("22012") + ready('I'));
        CHECK(s.told() == "E(26000 unnamed prepared statement does not exist) Z(I) ");

        s.client(whole("select 1/0"));
        s.link();
        (void)s.sent(reader);
        s.server(message('1') + message('2') + message('T') + error("22012") + ready('I'));
        CHECK(s.told() == "1 2 T E(22012 it failed) Z(I) ");
        s.client(run);
        s.link();
        CHECK(s.sent(reader) == show(run, false));
        s.server(message('2') + message('T') + error("22012") + ready('I'));
        CHECK(s.told() == "2 T E(22012 it failed) Z(I) ");
    });
}

TEST_CASE("what came with notices between its answers is told in its order") {
    tell([](scene& s) {
        s.client(whole("select a from t"));
        s.link();
        s.server(message('1') + notice("NOTICE") + message('2') + notice("NOTICE") + message('T') + error("22012") + ready('I'));
        CHECK(s.told() == "1 N(25001 NOTICE) 2 N(25001 NOTICE) T E(22012 it failed) Z(I) ");
        s.client(run);  // it was parsed
        CHECK(has(s.sent(s.link()), "E()"));
    });
}

TEST_CASE("the unnamed statement follows to another server, where it is prepared by a name") {
    tell([](scene& s) {
        s.client(whole("select a from t"));
        s.link();
        s.server(message('1') + message('2') + rows({"x"}) + ready('I'));
        (void)s.told();
        s.world.set_replica_healthy(false);
        s.driver.snapshot();
        s.client(run);
        test_server& other = s.link();
        CHECK(&other == &s.primary);
        std::string const sent = s.sent(other);
        CHECK(has(sent, "P(lull"));
        CHECK(has(sent, "select a from t"));
        s.server(message('1') + message('2') + rows({"x"}) + ready('I'));
        CHECK(s.told() == "2 T D(x) C(SELECT 1) Z(I) ");
    });
}

TEST_CASE("a Parse of ours that fails ahead of one is told as its error, and the segment is skipped") {
    tell([](scene& s) {
        s.client(parse("q", "select a from t") + wire::sync());
        s.link();
        s.server(message('1') + ready('I'));
        (void)s.told();
        s.world.set_replica_healthy(false);
        s.driver.snapshot();
        std::string const named = bind_to("q") + describe('P', "") + execute() + wire::sync();
        for (int i = 0; i < 2; ++i) {
            s.client(named);
            test_server& other = s.link();
            CHECK(has(s.sent(other), "P(lull"));  // the second time, too: the first has failed
            s.server(error("42P01") + ready('I'));
            CHECK(s.told() == "E(42P01 it failed) Z(I) ");
        }
        s.client(query("select 1"));
        s.link();
        s.server(rows({"1"}) + ready('I'));
        CHECK(s.told() == "T D(1) C(SELECT 1) Z(I) ");
    });
}

TEST_CASE("what is sent behind one waits for nothing, and each is answered once") {
    tell([](scene& s) {
        begin(s);
        s.client(whole("select a from t") + whole("select b from t") + query("select c from t"));
        CHECK(s.sent(s.primary) == show(whole("select a from t") + whole("select b from t") + query("select c from t"), false));
        s.server(message('1') + message('2') + rows({"a"}) + ready('T'));
        CHECK(s.told() == "1 2 T D(a) C(SELECT 1) Z(T) ");
        s.server(error("42703") + ready('E') + error("25P02") + ready('E'));
        CHECK(s.told() == "E(42703 it failed) Z(E) E(25P02 it failed) Z(E) ");
        s.client(query("rollback"));
        s.server(complete("ROLLBACK") + ready('I'));
        CHECK(s.told() == "C(ROLLBACK) Z(I) ");
    });
}

TEST_CASE("the portal of one may be executed on in its block") {
    tell([](scene& s) {
        begin(s);
        s.client(parse("", "select a from t") + bind_to("") + execute("", 1) + wire::sync());
        s.server(message('1') + message('2') + data_row("a") + message('s') + ready('T'));
        CHECK(s.told() == "1 2 D(a) s Z(T) ");
        s.client(execute("", 1) + wire::sync());
        CHECK(has(s.sent(s.primary), "E()"));
        s.server(data_row("b") + complete("SELECT 1") + ready('T'));
        CHECK(s.told() == "D(b) C(SELECT 1) Z(T) ");
    });
}

TEST_CASE("one that was sent before the flip ends as it began; the next is judged by what the site is then") {
    tell([](scene& s) {
        s.client(whole("insert into t values (1)"));
        s.link();
        s.flip(routing::mode::draining);
        (void)s.told();
        CHECK(s.driver.core().writes());
        s.server(message('1') + message('2') + message('n') + complete("INSERT 0 1") + ready('I'));
        CHECK(s.told() == "1 2 n C(INSERT 0 1) Z(I) ");
        CHECK_FALSE(s.driver.core().writes());
        (void)s.sent(s.primary);
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(run);
        test_server& reader = s.link();
        CHECK(lacks(s.sent(reader), "insert"));
        s.server(message('1') + error("22012") + ready('I'));
        CHECK(has(s.told(), "E(25006 cannot execute INSERT in a read-only transaction) Z(I) "));
    });
}
