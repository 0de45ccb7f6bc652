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
         {std::tuple{"load 'x'", "LOAD", "LOAD or slot"},
          std::tuple{"set search_path to pg_temp", "SET", "settings that cannot be carried"},
          std::tuple{"create temp table m as select set_config(a, 'x', false) from t", "SELECT 1",
                     "temporary table, settings that cannot be carried"}}) {
        scene s(cutter{});
        run(s, text, tag);
        CHECK(s.driver.core().pins().text() == why);
        CHECK(asked(s) == "");
    }
}

TEST_CASE("while the site is closed a server from before is not asked") {
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

TEST_CASE("a lock that was taken while the site was closed is asked for, and its loss when it is open is told") {
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
        // In transaction pooling at once: others wait for the reader.
        std::string asked_for = s.sent(s.replica);
        CHECK((asked_for.find("pg_locks") != std::string::npos) == !session);
        s.flip(routing::mode::read_write);
        (void)s.told();
        s.client(query("insert into t values (1)"));
        asked_for += s.sent(s.replica);
        CHECK(has(asked_for, "pg_locks"));
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

TEST_CASE("what a function leaves by its source keeps its client, and is asked for like what a text shows") {
    for (auto const& [text, tag, why, question] :
         {std::tuple{"select leaves_table()", "SELECT 1", "temporary table", "pg_my_temp_schema()"},
          std::tuple{"call public.leaves_lock(1)", "CALL", "advisory lock", "pg_locks"},
          std::tuple{"insert into t values (leaves_lock())", "INSERT 0 1", "advisory lock", "pg_locks"},
          std::tuple{"select leaves_lock() from t for update", "SELECT 1", "advisory lock", "pg_locks"},
          std::tuple{"create table n as select leaves_lock()", "SELECT 1", "advisory lock", "pg_locks"},
          std::tuple{"do $$begin perform leaves_lock(); end$$", "DO", "advisory lock", "pg_locks"},
          std::tuple{"do $$begin perform pg_advisory_lock(1); end$$", "DO", "advisory lock", "pg_locks"},
          std::tuple{"call p(pg_try_advisory_lock(1))", "CALL", "advisory lock", "pg_locks"},
          std::tuple{"select leaves_cursor()", "SELECT 1", "cursor with hold", "pg_cursors"},
          std::tuple{"select leaves_listen()", "SELECT 1", "LISTEN", "pg_listening_channels()"},
          std::tuple{"select pg_advisory_lock(2), leaves_table()", "SELECT 1", "temporary table, advisory lock", "pg_locks"},
          std::tuple{"select leaves_two()", "SELECT 1", "temporary table, advisory lock", "pg_locks"}}) {
        CAPTURE(text);
        for (bool const extended : {false, true}) {
            scene s({});
            s.client(extended ? parse("", text) + bind_to("") + execute() + wire::sync() : query(text));
            CHECK(&s.link() == &s.primary);
            (void)asked(s);
            s.server((extended ? message('1') + message('2') : "") + complete(tag) + ready('I'));
            (void)s.told();
            CHECK(s.driver.core().pins().text() == why);
            CHECK(has(asked(s), question));
            bool const two = std::string_view(why).find(',') != std::string_view::npos;
            s.server(two ? left({true, false}) : left({true}));
            CHECK(s.driver.linked());
            run(s, "drop table m", "DROP TABLE");
            CHECK(asked(s) != "");
            s.server(left({false}));
            CHECK(!s.driver.linked());
            CHECK(!s.driver.closed());
        }
    }
}

TEST_CASE("what a function leaves and nobody can ask for keeps its client until it discards all") {
    for (auto const& [text, why] : {std::pair{"select leaves_setting('x')", "settings that cannot be carried"},
                                    std::pair{"do $$begin set a.b = 1; end$$", "settings that cannot be carried"},
                                    std::pair{"select leaves_prepared()", "PREPARE that cannot be carried"},
                                    std::pair{"select leaves_library()", "LOAD or slot"}}) {
        CAPTURE(text);
        scene s({});
        run(s, text, "SELECT 1");
        CHECK(s.driver.core().pins().text() == why);
        CHECK(asked(s) == "");
        run(s, "discard all", "DISCARD ALL");
        CHECK(!s.driver.core().pinned());
        CHECK(!s.driver.linked());
        run(s, text, "SELECT 1");
        s.driver.gone();
        bool const is_do = std::string_view(text).starts_with("do");  // made-up SQL may have left more than it is kept for
        bool const lasts = std::string_view(text).find("library") != std::string_view::npos;  // no DISCARD ALL takes that back
        CHECK(s.driver.discarded.size() == (is_do || lasts ? 2 : 1));
    }
}

TEST_CASE("what calls no such function, or only prepares or plans it, keeps nobody") {
    for (char const* const text : {"select leaves_nothing('x')", "prepare q as select leaves_setting('x')",
                                   "do $$begin perform set_config('a.b', 'x', true); end$$", "select 'leaves_lock()'"}) {
        CAPTURE(text);
        scene s({});
        s.client(query(text));
        s.link();
        test_server& at = *s.driver.linked();
        (void)s.sent(at);
        s.server(complete("SELECT 1") + ready('I'));
        CHECK(!s.driver.core().pinned());
        CHECK(!s.driver.linked());
    }
    scene s({});
    run(s, "prepare q as select leaves_lock()", "PREPARE");
    run(s, "execute q", "SELECT 1");
    CHECK(s.driver.core().pins().text() == "advisory lock");
}

TEST_CASE("what a function listens to is heard while its server is kept for that") {
    scene s({});
    run(s, "select leaves_listen()", "SELECT 1");
    (void)asked(s);
    s.server(left({true}) + message('A', std::string("\0\0\0\1c\0\0", 7)));
    CHECK(has(s.told(), "A "));
    run(s, "unlisten c", "UNLISTEN");
    CHECK(has(asked(s), "pg_listening_channels()"));
    s.server(left({false}));
    CHECK(!s.driver.linked());
    CHECK(!s.driver.closed());
}

TEST_CASE("while the site is closed only what is not rolled back keeps a client") {
    for (auto const& [function, why] : {std::pair{"leaves_table", ""}, std::pair{"leaves_listen", ""}, std::pair{"leaves_cursor", ""},
                                        std::pair{"leaves_setting", ""}, std::pair{"leaves_lock", "advisory lock"},
                                        std::pair{"leaves_prepared", "PREPARE that cannot be carried"}}) {
        CAPTURE(function);
        scene s({});
        s.world.set_replica_healthy(false);
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query(std::string("select ") + function + "()"));
        test_server& guarded = s.link();
        CHECK(guarded.state.role == routing::role::primary);
        (void)s.sent(guarded);
        s.server(complete("BEGIN") + rows({"1"}) + ready('T'));
        (void)s.sent(guarded);
        s.server(rows({"1"}) + ready('T') + complete("ROLLBACK") + ready('I'));
        CHECK(s.driver.core().pins().text() == why);
    }
}

TEST_CASE("settings that were made on a reader while the site was closed are lost with it, and that is told") {
    scene s({});
    s.flip(routing::mode::sealed);
    (void)s.told();
    s.client(query("select leaves_setting('x')"));
    CHECK(&s.link() == &s.replica);
    s.server(rows({"x"}) + ready('I'));
    CHECK(s.driver.core().pins().text() == "settings that cannot be carried");
    s.flip(routing::mode::read_write);
    (void)s.told();
    s.client(query("select 1"));
    CHECK(has(s.told(), "E(57P01 settings"));
    CHECK(s.driver.closed());
}

TEST_CASE("while the site is closed a reader is kept no longer than what it is kept for") {
    scene s({});
    s.flip(routing::mode::sealed);
    (void)s.told();
    for (bool const held : {true, false}) {
        s.client(query(held ? "select pg_try_advisory_lock(1)" : "select pg_advisory_unlock(1)"));
        if (s.driver.wish()) CHECK(&s.link() == &s.replica);
        (void)s.sent(s.replica);
        s.server(rows({"t"}) + ready('I'));
        CHECK(has(s.told(), "Z(I)"));
        s.server(left({held}));
        CHECK((s.driver.linked() != nullptr) == held);
    }
    CHECK(s.driver.discarded.empty());
    CHECK(!s.driver.closed());
}
