// What keeps a client on its server, and how that ends.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

std::string asked(scene& s) {
    return s.sent(s.primary);
}

/// The server's answers to our questions: whether anything is left.
std::string left(std::vector<bool> const& answers) {
    std::string out;
    for (bool is : answers) out += complete(is ? "SELECT 1" : "SELECT 0");
    return out + ready('I');
}

void run(scene& s, std::string const& text, std::string const& tag) {
    s.client(query(text));
    if (s.driver.wish()) s.link();
    CHECK(has(asked(s), text));
    s.server(complete(tag) + ready('I'));
    CHECK(s.told() == "C(" + tag + ") Z(I) ");
}

}  // namespace

TEST_CASE("a temporary table keeps its server until it is gone") {
    tell([](scene& s) {
        run(s, "create temp table m (a int)", "CREATE TABLE");
        CHECK(s.driver.core().pins().text() == "temporary table");
        std::string const question = asked(s);
        CHECK(has(question, "pg_my_temp_schema()"));
        CHECK(has(question, "pg_locks"));
        CHECK(lacks(question, "pg_cursors"));
        s.server(left({true, false}));
        CHECK(s.told() == "");
        CHECK(s.driver.core().pinned());
        CHECK(s.driver.linked());
        run(s, "insert into m values (1)", "INSERT 0 1");
        CHECK(asked(s) == "");
        run(s, "drop table m", "DROP TABLE");
        CHECK(has(asked(s), "pg_my_temp_schema()"));
        s.server(left({false}));
        CHECK(s.told() == "");
        CHECK(!s.driver.core().pinned());
        CHECK(!s.driver.linked());
    });
}

TEST_CASE("in a block it is asked behind its end, and in the extended protocol, too") {
    tell([](scene& s) {
        s.client(query("begin"));
        s.client(parse("", "create temp table m (a int) on commit drop") + bind_to("") + execute() + wire::sync());
        s.link();
        (void)asked(s);
        s.server(complete("BEGIN") + ready('T') + message('1') + message('2') + complete("CREATE TABLE") + ready('T'));
        (void)s.told();
        CHECK(asked(s) == "");
        s.client(query("commit"));
        CHECK(asked(s) == "Q(commit) ");
        s.server(complete("COMMIT") + ready('I'));
        CHECK(has(asked(s), "pg_my_temp_schema()"));
        s.server(left({false, false}));
        CHECK(s.told() == "C(COMMIT) Z(I) ");
        CHECK(!s.driver.linked());
    });
}

TEST_CASE("what the client has sent meanwhile is answered first, and may keep the server anew") {
    tell([](scene& s) {
        run(s, "select pg_advisory_lock(1)", "SELECT 1");
        CHECK(s.driver.core().pins().text() == "advisory lock");
        CHECK(has(asked(s), "pg_locks"));
        s.client(query("select pg_advisory_lock(2)"));
        CHECK(asked(s) == "Q(select pg_advisory_lock(2)) ");
        s.server(left({false}) + complete("SELECT 1") + ready('I'));
        CHECK(s.told() == "C(SELECT 1) Z(I) ");
        CHECK(s.driver.core().pinned());
        CHECK(has(asked(s), "pg_locks"));
        s.server(left({true}));
        CHECK(s.driver.core().pinned());
        run(s, "select pg_advisory_unlock_all()", "SELECT 1");
        (void)asked(s);
        s.server(left({false}));
        CHECK(!s.driver.linked());
    });
}

TEST_CASE("a server that does not answer that question keeps its client, and nobody is told") {
    tell([](scene& s) {
        run(s, "declare c cursor with hold for select 1", "DECLARE CURSOR");
        CHECK(s.driver.core().pins().text() == "cursor with hold");
        CHECK(has(asked(s), "pg_cursors"));
        s.server(error("57014", "canceled") + ready('I'));
        CHECK(s.told() == "");
        CHECK(s.driver.core().pinned());
        CHECK(s.driver.linked());
    });
}

TEST_CASE("what cannot be asked for is not, and its reason is known") {
    for (auto const& [text, tag, why] :
         {std::tuple{"load 'x'", "LOAD", "LOAD"},
          std::tuple{"set search_path to pg_temp", "SET", "settings that cannot be carried"},
          std::tuple{"create temp table m as select set_config(a, 'x', false) from t", "SELECT 1",
                     "temporary table, settings that cannot be carried"}}) {
        scene s(cutter{});
        run(s, text, tag);
        CHECK(s.driver.core().pins().text() == why);
        CHECK(asked(s) == "");
    }
}

TEST_CASE("while the site is closed nothing is asked") {
    tell([](scene& s) {
        run(s, "create temp table m (a int)", "CREATE TABLE");
        (void)asked(s);
        s.server(left({true, false}));
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("close c"));
        CHECK(asked(s) == "Q(BEGIN READ ONLY;SELECT 1) ");
        s.server(complete("BEGIN") + rows({"1"}) + ready('T'));
        CHECK(asked(s) == "Q(close c) Q(ROLLBACK) ");
        s.server(error("34000", "none") + ready('E') + complete("ROLLBACK") + ready('I'));
        CHECK(asked(s) == "");
        CHECK(s.driver.core().pinned());
    });
}

TEST_CASE("a lock that was taken while the site was closed is asked for when it is open, and its loss is told") {
    for (auto const& [held, session] : {std::pair{true, false}, {false, false}, {true, true}, {false, true}}) {
        CAPTURE(held);
        CAPTURE(session);
        scene s({}, ~std::size_t{0}, {}, session ? config::pool_mode::session : config::pool_mode::transaction);
        s.flip(routing::mode::sealed);
        if (session) s.driver.lose();  // it had one from before
        s.primary.state.actual = s.world.context().settings.none();
        (void)s.told();
        s.client(query("select pg_advisory_lock(1)"));
        CHECK(&s.link() == &s.replica);
        s.server(rows({""}) + ready('I'));
        CHECK(has(s.driver.core().pins().text(), "advisory lock"));
        s.flip(routing::mode::read_write);
        (void)s.told();
        (void)s.sent(s.replica);
        s.client(query("insert into t values (1)"));
        CHECK(has(s.sent(s.replica), "pg_locks"));
        s.server(left({held}));
        CHECK(s.driver.closed() == held);
        if (held) {
            CHECK(has(s.told(), "E(57P01 an advisory lock"));
            continue;
        }
        CHECK(&s.link() == &s.primary);
        CHECK(has(s.sent(s.primary), "insert"));
    }
}
