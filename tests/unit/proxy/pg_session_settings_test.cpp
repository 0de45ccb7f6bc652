// Settings and other state of a session that follows its client from server to server.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

/// A statement of one line, run on the server that it goes to. What that server was sent.
std::string run(scene& s, std::string const& text, std::string const& answer, char status = 'I') {
    s.client(query(text));
    if (s.driver.wish()) s.link();
    test_server& at = *s.driver.linked();
    s.server(answer + ready(status));
    return s.sent(at);
}

}  // namespace

TEST_CASE("SET follows its client to another server, and is undone for the next client") {
    tell([](scene& s) {
        run(s, "set work_mem to '64kB'", complete("SET"));
        CHECK(find_setting(s.replica.state.actual, "work_mem") == nullptr);
        s.client(query("insert into t values (1)"));
        CHECK(&s.link() == &s.primary);
        // It was made there; what this session had is known, so nothing has to be sent.
        CHECK(s.sent(s.primary).ends_with("Q(insert into t values (1)) "));
        s.server(complete("INSERT 0 1") + ready('I'));
        s.client(query("select 1"));
        CHECK(&s.link() == &s.replica);
        CHECK(s.sent(s.replica) == "Q(SET \"work_mem\" TO '64kB';) ");
        s.server(complete("SET") + ready('I'));
        CHECK(s.sent(s.replica) == "Q(select 1) ");
        s.server(rows({"1"}) + ready('I'));
        CHECK(s.driver.watch().waits_for() == 0);
        (void)s.told();

        pg_driver other(s.world, s.world.identity(), [](std::string const& what) { FAIL(what); });
        other.start();
        other.client(query("select 2"));
        REQUIRE(other.wish());
        other.link(s.replica);
        CHECK(s.sent(s.replica) == "Q(RESET \"work_mem\";) ");
    });
}

TEST_CASE("a SET that is rolled back has not been made") {
    tell([](scene& s) {
        s.client(query("begin"));
        run(s, "insert into t values (1)", complete("BEGIN") + ready('T') + complete("INSERT 0 1"), 'T');
        run(s, "set work_mem to '64kB'", complete("SET"), 'T');
        run(s, "rollback", complete("ROLLBACK"));
        CHECK(s.primary.state.actual == s.world.context().settings.none());
        (void)s.told();
        s.client(query("select 1"));
        s.link();
        CHECK(s.sent(s.replica) == "Q(select 1) ");
        s.server(rows({"1"}) + ready('I'));
    });
}

TEST_CASE("a SET behind ROLLBACK AND CHAIN counts, one before it does not") {
    tell([](scene& s) {
        s.client(query("begin"));
        run(s, "insert into t values (1)", complete("BEGIN") + ready('T') + complete("INSERT 0 1"), 'T');
        run(s, "set work_mem to '64kB'", complete("SET"), 'T');
        run(s, "rollback and chain", complete("ROLLBACK"), 'T');
        run(s, "set lock_timeout to '1s'", complete("SET"), 'T');
        run(s, "commit", complete("COMMIT"));
        CHECK(find_setting(s.primary.state.actual, "work_mem") == nullptr);
        CHECK(find_setting(s.primary.state.actual, "lock_timeout") != nullptr);
    });
}

TEST_CASE("savepoints take back the settings made behind them") {
    tell(
        [](scene& s) {
            s.client(query("begin"));
            run(s, "insert into t values (1)", complete("BEGIN") + ready('T') + complete("INSERT 0 1"), 'T');
            run(s, "set work_mem to '64kB'", complete("SET"), 'T');
            run(s, "savepoint a", complete("SAVEPOINT"), 'T');
            run(s, "set work_mem to '1MB'", complete("SET"), 'T');
            run(s, "set lock_timeout to '1s'", complete("SET"), 'T');
            run(s, "rollback to savepoint a", complete("ROLLBACK"), 'T');
            run(s, "commit", complete("COMMIT"));
            REQUIRE(find_setting(s.primary.state.actual, "work_mem") != nullptr);
            CHECK(*find_setting(s.primary.state.actual, "work_mem") == "64kB");
            CHECK(find_setting(s.primary.state.actual, "lock_timeout") == nullptr);
        },
        40);
}

TEST_CASE("SET LOCAL and a SET that fails leave nothing behind") {
    tell([](scene& s) {
        run(s, "set work_mem to 'x'", error("22023"));
        run(s, "set local work_mem to '1MB'", complete("SET"));
        for (test_server* at : {&s.primary, &s.replica})
            CHECK(at->state.actual == s.world.context().settings.none());
    });
}

TEST_CASE("DISCARD ALL is done as soon as the server says so, whatever fails behind it") {
    tell([](scene& s) {
        run(s, "set work_mem to '64kB'", complete("SET"));
        (void)s.told();
        s.client(parse("", "discard all") + bind_to("") + execute() + parse("p", "select 1/0 from t for update") + bind_to("p") + execute() +
                 wire::sync());
        s.link();
        (void)s.sent(s.primary);
        s.server(message('1') + message('2') + complete("DISCARD ALL") + message('1') + message('2') + error("22012") + ready('I'));
        CHECK(has(s.told(), "E(22012"));
        CHECK(!s.driver.linked());
        CHECK(s.primary.state.actual->empty());
        std::string const sent = run(s, "insert into t values (1)", complete("INSERT 0 1"));
        CHECK(sent == "Q(insert into t values (1)) ");
    });
}

TEST_CASE("a SET that is pipelined behind another statement is kept") {
    tell([](scene& s) {
        s.client(query("insert into t values (1)") + query("set work_mem to '64kB'"));
        CHECK(&s.link() == &s.primary);
        s.server(complete("INSERT 0 1") + ready('I') + complete("SET") + ready('I'));
        if (s.driver.wish()) {  // the SET came when the server had been given back
            s.link();
            s.server(complete("SET") + ready('I'));
        }
        (void)s.told();
        s.client(query("select 1"));
        s.link();
        bool const there = s.driver.linked() == &s.primary;
        if (!there) CHECK(has(s.sent(s.replica), "work_mem"));
    });
}

TEST_CASE("what makes a setting is read the same way by every session") {
    CHECK(setting_sql("work_mem", "64kB") == "SET \"work_mem\" TO '64kB'");
    CHECK(setting_sql("app.name", "it's") == "SET \"app\".\"name\" TO 'it''s'");
    CHECK(setting_sql("search_path", "a, \"B\"") == "SELECT pg_catalog.set_config('search_path','a, \"B\"',false)");
    // Whatever is no letter of ASCII or may be an escape is sent as hexadecimal digits.
    CHECK(setting_sql("application_name", setting_value("C:\\'", {})) ==
          "SELECT pg_catalog.set_config('application_name',pg_catalog.convert_from(pg_catalog.decode('433a5c27','hex'),"
          "pg_catalog.getdatabaseencoding()),false)");
    CHECK(setting_sql("application_name", setting_value("\x83\x5c'", "SJIS")) ==
          "SELECT pg_catalog.set_config('application_name',pg_catalog.convert_from(pg_catalog.decode('835c27','hex'),"
          "'SJIS'),false)");
    CHECK(setting_sql("x\"; drop", "1") == "SELECT pg_catalog.set_config('x\"; drop','1',false)");
    CHECK(setting_sql("\xe9", "1").find('\xe9') == std::string::npos);
    CHECK(setting_sql("a\\", "1").find('\\') == std::string::npos);
    for (int c = 1; c < 256; ++c) {
        std::string const sql = setting_sql("app.x", setting_value(std::string(1, static_cast<char>(c)) + "';", "LATIN1"));
        CHECK(sql.find('\\') == std::string::npos);
        for (char one : sql) CHECK(static_cast<unsigned char>(one) < 0x80);
    }
    CHECK(setting_difference({{"a\\", "1"}}, {}).find('\\') == std::string::npos);
    CHECK(setting_difference({{"a", "1"}, {"b", "2"}}, {{"b", "3"}}) == "RESET \"a\";SET \"b\" TO '3';");
    // Who the session is goes first and comes last.
    CHECK(setting_difference({{"a", "1"}, {"role", "boss"}, {"session_authorization", "root"}}, {}) ==
          "RESET \"role\";RESET \"session_authorization\";RESET \"a\";");
    CHECK(setting_difference({}, {{"role", "boss"}, {"session_authorization", "app"}, {"zone", "1"}}) ==
          "SET \"zone\" TO '1';SET \"session_authorization\" TO 'app';SET \"role\" TO 'boss';");
    CHECK(setting_difference({{"role", "boss"}}, {{"a", "1"}, {"role", "boss"}}) ==
          "RESET \"role\";SET \"a\" TO '1';SET \"role\" TO 'boss';");
    CHECK(setting_difference({{"role", "boss"}}, {{"role", "boss"}}).empty());
    CHECK(setting_difference({{"role", "boss"}}, {{"role", "app"}}) == "RESET \"role\";SET \"role\" TO 'app';");
}

TEST_CASE("what a client has set is carried as its value") {
    tell([](scene& s) {
        run(s, "set application_name = E'C:\\\\'", complete("SET"));
        run(s, "set search_path = a, \"B\"", complete("SET"));
        run(s, "set session characteristics as transaction isolation level serializable, read only", complete("SET"));
        auto const& made = s.driver.linked() ? s.driver.linked()->state.actual : s.primary.state.actual;
        CHECK(*find_setting(made, "application_name") == "C:\\");
        CHECK(*find_setting(made, "search_path") == "a, \"B\"");
        CHECK(*find_setting(made, "default_transaction_isolation") == "serializable");
        CHECK(*find_setting(made, "default_transaction_read_only") == "on");
    });
}

TEST_CASE("a setting that cannot be told as text keeps its client on its server") {
    tell([](scene& s) {
        run(s, "set time zone interval '-8' hour", complete("SET"));
        CHECK(s.driver.core().pinned());
        CHECK(s.primary.state.tainted);
        CHECK(find_setting(s.primary.state.actual, "timezone") == nullptr);
    });
}

TEST_CASE("startup parameters are made on every server, and are what RESET goes back to") {
    setting_map const startup{{"search_path", "a,b"}};
    scene s({}, ~std::size_t{0}, startup);
    CHECK(s.sent(s.replica) == "Q(SELECT pg_catalog.set_config('search_path','a,b',false);) ");
    s.server(rows({"a,b"}) + ready('I'));
    CHECK(has(s.told(), "Z(I)"));
    run(s, "set search_path to c", complete("SET"));
    s.client(query("reset search_path"));
    if (s.driver.wish()) s.link();
    for (int i = 0; i < 3 && s.driver.linked(); ++i) s.server(complete("RESET") + ready('I'));
    (void)s.told();
    (void)s.sent(s.primary);
    s.client(query("insert into t values (1)"));
    CHECK(&s.link() == &s.primary);  // where it was set and reset
    CHECK(has(s.sent(s.primary), "set_config('search_path','a,b',false)"));
}

TEST_CASE("a setting that cannot be made on another server: its words, and that server goes") {
    tell([](scene& s) {
        run(s, "set work_mem to '64kB'", complete("SET"));
        (void)s.told();
        s.world.set_replica_healthy(true);
        s.client(query("insert into t values (1)"));
        s.link();
        if (has(s.sent(*s.driver.linked()), "insert")) return;  // the SET ran here
        s.server(error("42501", "not allowed") + ready('I'));
        CHECK(has(s.told(), "E(42501 not allowed)"));
        CHECK(s.driver.discarded.size() == 1);
        CHECK(s.driver.watch().waits_for() == 0);
    });
}

TEST_CASE("ParameterStatus reaches the client where it differs from what it was told, and only then") {
    tell([](scene& s) {
        run(s, "select 1", parameter("TimeZone", "UTC") + rows({"1"}));
        CHECK(has(s.told(), "S(TimeZone=UTC)"));
        run(s, "select 2", parameter("TimeZone", "UTC") + rows({"2"}));
        CHECK(lacks(s.told(), "TimeZone"));
        run(s, "insert into t values (1)", parameter("TimeZone", "CET") + complete("INSERT 0 1"));
        CHECK(has(s.told(), "S(TimeZone=CET)"));
        // Back on the replica it is UTC again. Which server it is, and that it is one, is not told.
        run(s, "select 3",
            parameter("in_hot_standby", "on") + parameter("default_transaction_read_only", "on") +
                rows({"3"}));
        std::string const told = s.told();
        CHECK(has(told, "S(TimeZone=UTC)"));
        CHECK(lacks(told, "in_hot_standby"));
        CHECK(lacks(told, "default_transaction_read_only"));
    });
}

TEST_CASE("LISTEN pins its server until the client leaves, and nobody else gets it") {
    tell([](scene& s) {
        run(s, "listen c", complete("LISTEN"));
        CHECK(s.driver.core().pinned());
        CHECK(s.driver.released.empty());
        s.client(query("select 1"));
        CHECK(!s.driver.wish());
        CHECK(s.sent(s.primary) == "Q(select 1) ");
        s.server(message('A', std::string("\0\0\0\1c\0\0", 7)) + rows({"1"}) + ready('I'));
        CHECK(has(s.told(), "A "));
        s.driver.gone();
        CHECK(s.driver.discarded.size() == 1);
    });
}

TEST_CASE("a cancel reaches the server that runs something, and ends a wait") {
    tell([](scene& s) {
        s.client(query("insert into t values (1)"));
        s.driver.cancel();  // waits for a server
        CHECK(has(s.told(), "E(57014"));
        CHECK(!s.driver.wish());
        s.client(query("insert into t values (2)"));
        s.link();
        s.driver.cancel();
        CHECK(s.driver.cancels == 1);
        s.server(error("57014") + ready('I'));
        CHECK(has(s.told(), "Z(I)"));
        s.driver.cancel();  // idle
        CHECK(s.driver.cancels == 1);
    });
}

TEST_CASE("what the server says when it goes is told as an error of the statement") {
    scene s({});
    s.client(query("select 1"));
    s.link();
    s.server(error("57P01", "terminating connection due to administrator command", "FATAL"));
    s.driver.lose();
    CHECK(s.told() == "E(57P01 terminating connection due to administrator command) Z(I) ");
}

TEST_CASE("a COMMIT under way when the server is lost: nobody knows, and the client is told so") {
    scene s({});
    s.client(query("begin"));
    run(s, "insert into t values (1)", complete("BEGIN") + ready('T') + complete("INSERT 0 1"), 'T');
    (void)s.told();
    s.client(query("commit"));
    s.driver.lose();
    CHECK(has(s.told(), "E(08007"));
}

TEST_CASE("a text that nobody understands may hold a COMMIT") {
    scene s({});
    s.client(query("commit and what follows is no SQL"));
    s.link();
    (void)s.told();
    s.driver.lose();
    CHECK(has(s.told(), "E(08007"));
}

TEST_CASE("a write is read back: a replica that is behind is not asked") {
    scene s({});
    run(s, "insert into t values (1)", complete("INSERT 0 1"));
    s.world.set_lag(std::chrono::milliseconds(5));
    s.driver.snapshot();
    s.client(query("select 1"));
    CHECK(&s.link() == &s.primary);
}

TEST_CASE("in a text with the end of its transaction each setting counts as where it stands") {
    struct {
        char const *text, *tags;
        char const* work_mem;  // that the next server is given
    } const stories[] = {
        {"set work_mem to 1; rollback", "SET,ROLLBACK", nullptr},
        {"set work_mem to 1; commit; select 1", "SET,COMMIT,SELECT 1", "1"},
        {"begin; set work_mem to 1; rollback; set work_mem to 2", "BEGIN,SET,ROLLBACK,SET", "2"},
        {"set work_mem to 1; commit; set work_mem to 2; rollback", "SET,COMMIT,SET,ROLLBACK", "1"},
        {"set work_mem to 1; commit; set work_mem to 2; select 1/0", "SET,COMMIT,SET,!", "1"},
        {"set work_mem to 1; select 1/0; commit", "SET,!", nullptr},
        {"begin; savepoint a; set work_mem to 1; rollback to a; commit", "BEGIN,SAVEPOINT,SET,ROLLBACK,COMMIT", nullptr},
    };
    for (auto const& story : stories) {
        CAPTURE(story.text);
        tell([&](scene& s) {
            std::string answer;
            for (std::string_view left = story.tags; !left.empty();) {
                std::string_view const tag = left.substr(0, left.find(','));
                left.remove_prefix(std::min(left.size(), tag.size() + 1));
                answer += tag == "!" ? error("22012") : complete(tag);
            }
            run(s, story.text, answer);
            s.client(query("select 1"));
            s.link();
            std::string const made = s.sent(s.replica);
            CHECK(made == (story.work_mem ? "Q(SET \"work_mem\" TO '" + std::string(story.work_mem) + "';) "
                                          : std::string("Q(select 1) ")));
            if (story.work_mem) s.server(complete("SET") + ready('I'));
            s.server(rows({"1"}) + ready('I'));
        });
    }
}

TEST_CASE("a COMMIT that rolled back a failed block has made none of its settings, though another stands behind it") {
    tell([](scene& s) {
        s.begin_and_write();
        run(s, "set work_mem to 1", complete("SET"), 'T');
        run(s, "select 1/0", error("22012"), 'E');
        run(s, "commit;commit;begin", complete("ROLLBACK") + complete("COMMIT") + complete("BEGIN"), 'T');
        run(s, "rollback", complete("ROLLBACK"));
        s.client(query("select 1"));
        s.link();
        CHECK(s.sent(s.replica) == "Q(select 1) ");
        s.server(rows({"1"}) + ready('I'));
    });
}

TEST_CASE("who begins to be another has no role") {
    tell([](scene& s) {
        run(s, "set role to other", complete("SET"));
        run(s, "reset session authorization", complete("RESET"));
        s.client(query("select 1"));
        s.link();
        CHECK(lacks(s.sent(s.replica), "role"));
        s.server(rows({"1"}) + ready('I'));
    });
}
