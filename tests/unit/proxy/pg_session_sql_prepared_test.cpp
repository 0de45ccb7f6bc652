// PREPARE, EXECUTE and DEALLOCATE of clients that share servers.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

/// On the primary.
void prepare_by_parse(scene& s, std::string const& name, std::string const& text) {
    s.client(parse(name, text) + wire::sync());
    s.link();
    (void)s.sent(s.primary);
    s.server(message('1') + ready('I'));
    CHECK(s.told() == "1 Z(I) ");
}

}  // namespace

TEST_CASE("what was prepared in SQL is prepared again on another server, and keeps none") {
    tell([](scene& s) {
        s.client(query("prepare p as update t set a = $1"));
        s.link();
        CHECK(s.sent(s.primary) == "Q(prepare p as update t set a = $1) ");
        s.server(complete("PREPARE") + ready('I'));
        CHECK(s.told() == "C(PREPARE) Z(I) ");
        CHECK_FALSE(s.driver.core().pinned());
        s.client(query("execute p(1)"));
        s.link();
        CHECK(s.sent(s.primary) == "Q(execute p(1)) ");
        s.server(complete("UPDATE 1") + ready('I'));
        (void)s.told();
        s.primary.state.statements.clear();  // another one
        s.client(query("execute p(2)"));
        s.link();
        CHECK(s.sent(s.primary) == "C(Sp) Q(prepare p as update t set a = $1) Q(execute p(2)) ");
        s.server(message('3') + complete("PREPARE") + ready('I') + complete("UPDATE 1") + ready('I'));
        CHECK(s.told() == "C(UPDATE 1) Z(I) ");
    });
}

TEST_CASE("a name that somebody else has left on a server means nothing to others") {
    tell([](scene& s) {
        s.primary.state.statements.add(s.world.context().statements.intern_sql(
            "p", "prepare p as select 1", "", s.world.context().classifier.classify("execute p")));
        s.client(query("execute p"));
        s.link();
        CHECK(s.sent(s.primary) == "C(Sp) Q(execute p) ");
        s.server(message('3') + error("26000", "prepared statement \"p\" does not exist") + ready('I'));
        CHECK(has(s.told(), "26000"));
        s.client(query("prepare p as select 2"));
        s.link();
        CHECK(s.sent(s.primary) == "Q(prepare p as select 2) ");
        s.server(complete("PREPARE") + ready('I'));
        CHECK(s.told() == "C(PREPARE) Z(I) ");
        s.client(query("prepare p as select 3"));
        if (s.driver.wish()) s.link();
        CHECK(has(s.told(), "42P05"));
    });
}

TEST_CASE("EXECUTE goes where its statement would") {
    tell([](scene& s) {
        s.client(query("prepare p as select 1"));
        s.link();
        (void)s.sent(s.primary);
        s.server(complete("PREPARE") + ready('I'));
        (void)s.told();
        s.client(query("execute p"));
        CHECK(&s.link() == &s.replica);
        CHECK(s.sent(s.replica) == "C(Sp) Q(prepare p as select 1) Q(execute p) ");
        s.server(message('3') + complete("PREPARE") + ready('I') + rows({"1"}) + ready('I'));
        CHECK(has(s.told(), "Z(I)"));
        s.client(query("execute nothing"));
        CHECK(&s.link() == &s.primary);
        (void)s.sent(s.primary);
        s.server(message('3') + error("26000", "none") + ready('I'));
        (void)s.told();
    });
}

TEST_CASE("a write that was prepared in SQL is refused while the site is sealed") {
    tell([](scene& s) {
        s.client(query("prepare p as update t set a = 1"));
        s.link();
        (void)s.sent(s.primary);
        s.server(complete("PREPARE") + ready('I'));
        (void)s.told();
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("execute p"));
        CHECK(!s.driver.wish());
        CHECK(has(s.told(), "25006"));
    });
}

TEST_CASE("what can no longer be prepared is told as the answer to EXECUTE, once") {
    tell([](scene& s) {
        s.client(query("prepare p as update t set a = $1"));
        s.link();
        (void)s.sent(s.primary);
        s.server(complete("PREPARE") + ready('I'));
        (void)s.told();
        s.primary.state.statements.clear();
        s.client(query("execute p(2)"));
        s.link();
        (void)s.sent(s.primary);
        s.server(message('3') + error("42P01", "gone") + ready('I') + error("26000", "none") + ready('I'));
        std::string const told = s.told();
        CHECK(has(told, "42P01"));
        CHECK(lacks(told, "26000"));
        CHECK(s.primary.state.statements.size() == 0);
    });
}

TEST_CASE("a PREPARE that fails has not been") {
    tell([](scene& s) {
        for (std::string const& asked :
             {query("prepare p as select nowhere"), parse("", "prepare p as select nowhere") + bind_to("") + execute() +
                                                        wire::sync()}) {
            s.client(asked);
            s.link();
            bool const extended = asked.front() == 'P';
            (void)s.sent(s.primary);
            s.server((extended ? message('1') + message('2') : std::string()) + error("42703", "nowhere") + ready('I'));
            CHECK(has(s.told(), "42703"));
            CHECK(s.primary.state.statements.named("p") == nullptr);
        }
        s.client(query("prepare p as select 1"));
        s.link();
        CHECK(s.sent(s.primary) == "Q(prepare p as select 1) ");
        s.server(complete("PREPARE") + ready('I'));
        CHECK(s.told() == "C(PREPARE) Z(I) ");
    });
}

TEST_CASE("PREPARE and DEALLOCATE wait for what is under way with their name") {
    for (bool const again : {true, false}) {
        CAPTURE(again);
        scene s({});
        s.client(query("prepare p as select nowhere") + query(again ? "prepare p as select 2" : "deallocate p"));
        s.link();
        CHECK(s.sent(s.primary) == "Q(prepare p as select nowhere) ");
        s.server(error("42703", "nowhere") + ready('I'));
        if (s.driver.wish()) s.link();
        CHECK(has(s.sent(s.primary), again ? "Q(prepare p as select 2) " : "Q(deallocate p) "));
        s.server((again ? complete("PREPARE") : message('3') + error("26000", "none")) + ready('I'));
        CHECK(has(s.told(), again ? "C(PREPARE) Z(I)" : "E(26000"));
    }
}

TEST_CASE("behind DEALLOCATE ALL in its segment nothing has the names of before") {
    for (std::string const& use : {describe('S', "s"), bind_to("s") + execute()})
        tell([&](scene& s) {
            prepare_by_parse(s, "s", "select a from t");
            prepare_by_parse(s, "later", "select b from t");
            s.client(parse("", "deallocate all") + bind_to("") + execute() + parse("later", "select c from t") +
                     describe('S', "later") + use + wire::sync());
            test_server& at = s.link();
            std::string const sent = s.sent(at);
            CHECK(lacks(sent, "select a from t"));
            CHECK(has(sent, "select c from t"));
            s.server(message('1') + message('2') + complete("DEALLOCATE ALL") + message('1') + no_parameters() +
                     row_description() + message('1') + error("3B001", "fails on purpose") + ready('I'));
            CHECK(s.told() == "1 2 C(DEALLOCATE ALL) 1 t T E(26000 prepared statement \"s\" does not exist) Z(I) ");
        });
}

TEST_CASE("behind DEALLOCATE ALL in its segment all names are free, once") {
    tell([](scene& s) {
        prepare_by_parse(s, "s", "update t set a = 1");
        s.client(parse("", "deallocate all") + bind_to("") + execute() + parse("s", "update t set a = 2") + wire::sync());
        s.link();
        CHECK(has(s.sent(s.primary), "update t set a = 2"));
        s.server(message('1') + message('2') + complete("DEALLOCATE ALL") + message('1') + ready('I'));
        CHECK(s.told() == "1 2 C(DEALLOCATE ALL) 1 Z(I) ");
        s.client(parse("s", "update t set a = 3") + wire::sync());
        s.link();
        (void)s.sent(s.primary);
        s.server(message('1') + message('2') + error("3B001", "fails on purpose") + ready('I'));
        CHECK(has(s.told(), "42P05"));
        s.client(bind_to("s") + execute() + wire::sync());
        s.link();
        CHECK(lacks(s.sent(s.primary), "a = 1"));
        s.server(message('2') + complete("UPDATE 1") + ready('I'));
        CHECK(has(s.told(), "C(UPDATE 1) Z(I)"));
    });
}

TEST_CASE("a read that was prepared in SQL is answered while the site is sealed") {
    tell([](scene& s) {
        s.client(query("prepare p as select a from t where a = $1"));
        s.link();
        (void)s.sent(s.primary);
        s.server(complete("PREPARE") + ready('I'));
        (void)s.told();
        s.seal_on_primary();
        s.client(query("execute p(-1)"));
        CHECK(&s.link() == &s.guarded);
        CHECK(s.sent(s.guarded) ==
              "Q(BEGIN READ ONLY;SELECT 1) C(Sp) Q(prepare p as select a from t where a = $1) Q(execute p(-1)) Q(ROLLBACK) ");
        s.server(complete("BEGIN") + rows({"1"}) + ready('T') + message('3') + complete("PREPARE") + ready('T') +
                 rows({"-1"}) + ready('T') + complete("ROLLBACK") + ready('I'));
        CHECK(has(s.told(), "Z(I)"));
    });
}

namespace {

/// By the protocol, as `q`, with parameters of these types.
void parse_q(scene& s, std::string_view text, std::initializer_list<std::int32_t> types = {}) {
    s.client(parse("q", text, types) + wire::sync());
    s.link();
    s.server(message('1') + ready('I'));
    (void)s.told();
    for (test_server* each : {&s.primary, &s.replica, &s.guarded}) (void)s.sent(*each);
}

}  // namespace

TEST_CASE("EXECUTE of what the protocol has prepared goes where its statement would, by the text that its server gets") {
    tell([](scene& s) {
        parse_q(s, "select a from t where a = $1 and b = $2", {23, 0});
        s.client(query("execute q(-1, 'x')"));
        CHECK(&s.link() == &s.replica);
        std::string const made = "C(Sq) Q(PREPARE \"q\"(pg_catalog.int4,pg_catalog.unknown) AS select a from t where a = $1 and b = $2) ";
        CHECK(s.sent(s.replica) == made + "Q(execute q(-1, 'x')) ");
        s.server(message('3') + complete("PREPARE") + ready('I') + rows({"1"}) + ready('I'));
        CHECK(has(s.told(), "D(1) C(SELECT 1) Z(I) "));
        s.client(query("execute q(1, 'y')"));
        CHECK(&s.link() == &s.replica);
        CHECK(s.sent(s.replica) == "Q(execute q(1, 'y')) ");  // it is there
        s.server(rows({"1"}) + ready('I'));
        (void)s.told();
        s.seal_on_primary();
        s.client(query("execute q(2, 'z')"));
        CHECK(&s.link() == &s.guarded);
        CHECK(s.sent(s.guarded) == "Q(BEGIN READ ONLY;SELECT 1) " + made + "Q(execute q(2, 'z')) Q(ROLLBACK) ");
        s.server(complete("BEGIN") + rows({"1"}) + ready('T') + message('3') + complete("PREPARE") + ready('T') + rows({"2"}) +
                 ready('T') + complete("ROLLBACK") + ready('I'));
        CHECK(has(s.told(), "D(2) C(SELECT 1) Z(I) "));
    });
}

TEST_CASE("EXECUTE of what the protocol has prepared is refused while the site is sealed where it may be anything else than that read") {
    struct one {
        std::string_view prepared;
        std::initializer_list<std::int32_t> types;
        char const* executed;
    };
    for (one const& o : {one{"insert into t values ($1)", {23}, "execute q(1)"},
                         one{"select nextval('s')", {}, "execute q"},
                         one{"select a from t for update", {}, "execute q"},
                         one{"with w as (delete from t returning 1) select 1", {}, "execute q"},
                         one{"select $1", {16385}, "execute q(1)"},             // a type of somebody's
                         one{"select $1", {23}, "execute q(f(1))"},             // no constant
                         one{"select $1", {23}, "execute q(1); select 1"},      // not alone
                         one{"select 1", {}, "explain execute q"},
                         one{"begin", {}, "execute q"},                         // nothing that PREPARE takes
                         one{"execute w(1)", {}, "execute q"},
                         one{"select 1; delete from t", {}, "execute q"},       // as if the server took it
                         one{"select 1 /*", {}, "execute q"}}) {
        CAPTURE(o.prepared);
        scene s({});
        parse_q(s, o.prepared, o.types);
        s.seal_on_primary();
        s.client(query(o.executed));
        CHECK(!s.driver.wish());
        CHECK(has(s.told(), "25006"));
    }
}

TEST_CASE("what the protocol has prepared is not more than one statement where SQL executes it") {
    scene s({});
    s.client(parse("q", "select 1; delete from t") + wire::sync() + query("explain execute q"));
    s.link();
    CHECK(lacks(s.sent(s.primary), "AS select 1; delete"));
}

TEST_CASE("EXECUTE of a name of the protocol's that servers may cut or fold otherwise is refused while the site is sealed") {
    scene s({});
    s.client(parse("p\xc3\xa9", "select 1") + wire::sync());
    s.link();
    s.server(message('1') + ready('I'));
    s.seal_on_primary();
    s.client(query("execute \"p\xc3\xa9\""));
    CHECK(!s.driver.wish());
    CHECK(has(s.told(), "25006"));
}

TEST_CASE("what the protocol has prepared is made anew for EXECUTE on a server from before, where others may have come under its name") {
    tell([](scene& s) {
        s.make_temporary();
        s.client(parse("q", "select a from t") + wire::sync());
        s.server(message('1') + ready('I'));
        s.client(query("execute q"));
        s.server(message('3') + complete("PREPARE") + ready('I') + rows({"1"}) + ready('I'));
        (void)s.told();
        (void)s.sent(s.primary);
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("execute q"));
        CHECK(s.sent(s.primary) == "Q(BEGIN READ ONLY;SELECT 1) ");
        s.server(complete("BEGIN") + rows({"1"}) + ready('T'));
        CHECK(s.sent(s.primary) == "C(Sq) Q(PREPARE \"q\" AS select a from t) Q(execute q) Q(ROLLBACK) ");
    });
}

TEST_CASE("what nobody has seen being prepared is refused while the site is sealed") {
    tell([](scene& s) {
        s.flip(routing::mode::sealed);
        (void)s.told();
        for (char const* text : {"execute p", "explain execute p", "explain analyze execute p"}) {
            s.client(query(text));
            CHECK(!s.driver.wish());
            CHECK(has(s.told(), "25006"));
        }
    });
}

TEST_CASE("on a server from before, what is executed while the site is sealed is made anew") {
    // A function may have put something else under the names that are known.
    tell([](scene& s) {
        s.make_temporary();
        s.client(query("prepare p as select a from t"));
        s.server(complete("PREPARE") + ready('I'));
        s.client(parse("s", "select a from t") + wire::sync());
        s.server(message('1') + ready('I'));
        (void)s.told();
        (void)s.sent(s.primary);
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("execute p"));
        CHECK(s.sent(s.primary) == "Q(BEGIN READ ONLY;SELECT 1) ");
        s.server(complete("BEGIN") + rows({"1"}) + ready('T'));
        CHECK(s.sent(s.primary) == "C(Sp) Q(prepare p as select a from t) Q(execute p) Q(ROLLBACK) ");
        s.server(message('3') + complete("PREPARE") + ready('T') + rows({"1"}) + ready('T') + complete("ROLLBACK") + ready('I'));
        CHECK(has(s.told(), "Z(I)"));
        s.client(bind_to("s") + execute() + wire::sync());
        CHECK(s.sent(s.primary) == "Q(BEGIN READ ONLY;SELECT 1) ");
        s.server(complete("BEGIN") + rows({"1"}) + ready('T'));
        CHECK(s.sent(s.primary) == "C(Slull_2) P(lull_2,select a from t) B(,lull_2) E() S Q(ROLLBACK) ");
    });
}

TEST_CASE("what is executed there and nobody knows is made anew behind the beginning of our transaction") {
    tell([](scene& s) {
        s.make_temporary();
        s.client(query("prepare p as select a from of_nobody_knows_what"));
        s.server(complete("PREPARE") + ready('I'));
        (void)s.told();
        (void)s.sent(s.primary);
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("execute p"));
        CHECK(s.sent(s.primary) == "Q(BEGIN READ ONLY;SELECT 1) ");
        s.server(complete("BEGIN") + rows({"1"}) + ready('T'));
        CHECK(s.sent(s.primary) == "C(Sp) Q(prepare p as select a from of_nobody_knows_what) Q(execute p) Q(ROLLBACK) ");
    });
}

TEST_CASE("on a standby, too, what is executed while the site is sealed is made anew") {
    tell([](scene& s) {
        s.client(query("prepare p as select 1"));
        s.link();
        s.server(complete("PREPARE") + ready('I'));
        s.client(query("execute p"));
        CHECK(&s.link() == &s.replica);
        s.server(message('3') + complete("PREPARE") + ready('I') + rows({"1"}) + ready('I'));
        (void)s.told();
        (void)s.sent(s.replica);
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("execute p"));
        CHECK(&s.link() == &s.replica);
        CHECK(s.sent(s.replica) == "C(Sp) Q(prepare p as select 1) Q(execute p) ");
    });
}

TEST_CASE("a name that servers may cut or fold otherwise is not carried, and not executed while the site is sealed") {
    tell([](scene& s) {
        s.client(query("prepare \"p\xc3\xa9\" as select 1"));
        s.link();
        CHECK(s.sent(s.primary) == "Q(prepare \"p\xc3\xa9\" as select 1) ");
        s.server(complete("PREPARE") + ready('I'));
        (void)s.told();
        CHECK(s.driver.core().pinned());
        s.client(query("execute \"p\xc3\xa9\""));
        CHECK(s.sent(s.primary) == "Q(execute \"p\xc3\xa9\") ");
        s.server(rows({"1"}) + ready('I'));
        (void)s.told();
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("execute \"p\xc3\xa9\""));
        CHECK(has(s.told(), "25006"));
        CHECK(s.sent(s.primary) == "");
    });
}

TEST_CASE("nobody executes what Lull has prepared for others") {
    tell([](scene& s) {
        for (char const* text : {"execute lull_1", "explain execute lull_1", "select 1; execute lull_1"}) {
            s.client(query(text));
            CHECK(!s.driver.wish());
            CHECK(has(s.told(), "42939"));
        }
    });
}

TEST_CASE("on a standby also in a segment that is from the window before") {
    tell([](scene& s) {
        s.client(query("prepare p as select 1"));
        s.link();
        s.server(complete("PREPARE") + ready('I'));
        auto const flip = [&](routing::mode to, std::uint64_t epoch) {
            s.world.adopt({.mode = to, .epoch = routing::epoch{epoch}, .generation = 1});
            s.driver.snapshot();
        };
        flip(routing::mode::sealed, 1);
        (void)s.told();
        s.client(bind_to("p") + execute() + flush());
        CHECK(&s.link() == &s.replica);
        s.server(message('3') + message('1') + message('2') + complete("PREPARE") + message('2') + complete("SELECT 1"));
        flip(routing::mode::read_write, 1);
        s.client(parse("", "select f()") + bind_to("") + execute() + flush());
        (void)s.sent(s.replica);
        s.server(message('1') + message('2') + complete("SELECT 1"));
        flip(routing::mode::sealed, 2);
        s.client(bind_to("p") + execute() + wire::sync());
        CHECK(has(s.sent(s.replica), "C(Sp) "));
    });
}

TEST_CASE("while the site is closed a PREPARE replaces what has come under its name unseen") {
    tell([](scene& s) {
        s.client(query("prepare p as select 1; select 2"));
        s.link();
        s.server(message('3') + complete("PREPARE") + rows({"2"}) + ready('I'));
        (void)s.told();
        (void)s.sent(s.primary);
        CHECK(s.driver.core().pinned());
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(parse("", "prepare p as select 3") + bind_to("") + execute() + wire::sync());
        CHECK(s.sent(s.primary) == "Q(BEGIN READ ONLY;SELECT 1) ");
        s.server(complete("BEGIN") + rows({"1"}) + ready('T'));
        CHECK(has(s.sent(s.primary), " C(Sp) E() S Q(ROLLBACK) "));
    });
}

TEST_CASE("a PREPARE that is executed under another reading than it was parsed by is not carried") {
    tell([](scene& s) {
        s.client(query("begin"));
        s.client(parse("w", "prepare p as select '\\' || a from t") + bind_to("w") + wire::sync());
        s.link();
        (void)s.sent(s.primary);
        s.server(complete("BEGIN") + ready('T') + message('1') + message('2') + ready('T'));
        s.client(query("set standard_conforming_strings to off"));
        s.server(complete("SET") + parameter("standard_conforming_strings", "off") + ready('T'));
        s.client(execute() + wire::sync());
        s.server(complete("PREPARE") + ready('T'));
        s.client(query("commit"));
        s.server(complete("COMMIT") + ready('I'));
        (void)s.told();
        CHECK(s.driver.core().pinned());
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("execute p"));
        CHECK(has(s.told(), "25006"));
    });
}

TEST_CASE("in a text of several a name is put in place once, ahead of what the text makes of it") {
    tell([](scene& s) {
        s.client(query("prepare p as select 1"));
        s.link();
        s.server(complete("PREPARE") + ready('I'));
        (void)s.told();
        (void)s.sent(s.primary);
        s.client(query("deallocate p; prepare p as select 2; execute p"));
        s.link();
        CHECK(s.sent(s.primary) == "Q(deallocate p; prepare p as select 2; execute p) ");
        s.server(complete("DEALLOCATE") + complete("PREPARE") + rows({"2"}) + ready('I'));
        (void)s.told();
        CHECK(s.driver.core().pinned());
        s.flip(routing::mode::sealed);
        (void)s.told();
        s.client(query("execute p"));
        CHECK(has(s.told(), "25006"));
    });
}

TEST_CASE("EXECUTE behind what may still change its name waits, and is judged by what came of it") {
    tell([](scene& s) {
        s.client(query("prepare p as select nowhere") + query("execute p"));
        s.link();
        CHECK(s.sent(s.primary) == "Q(prepare p as select nowhere) ");
        s.server(error("42703", "nowhere") + ready('I'));
        CHECK(has(s.told(), "42703"));
        if (s.driver.wish()) s.link();
        CHECK(s.sent(s.primary) == "C(Sp) Q(execute p) ");
        CHECK(s.driver.core().writes());
        s.server(message('3') + error("26000", "none") + ready('I'));
        CHECK(has(s.told(), "26000"));
    });
}

TEST_CASE("EXECUTE on the primary is waited for as a write, whatever it is known to be") {
    tell([](scene& s) {
        s.world.set_replica_healthy(false);
        s.client(query("prepare p as select 1"));
        s.link();
        s.server(complete("PREPARE") + ready('I'));
        s.client(query("execute p"));
        s.link();
        CHECK(s.driver.core().writes());
        s.server(rows({"1"}) + ready('I'));
        CHECK(!s.driver.core().writes());
    });
}

TEST_CASE("a DEALLOCATE that is skipped in a failed block has not been") {
    tell([](scene& s) {
        s.client(query("prepare p as update t set a = 1"));
        s.link();
        (void)s.sent(s.primary);
        s.server(complete("PREPARE") + ready('I'));
        (void)s.told();
        s.client(query("begin") + query("update t set a = 1/0") + query("deallocate p") + query("prepare p as select 1") +
                 query("rollback"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + error("22012", "zero") + ready('E') + error("25P02", "aborted") + ready('E') +
                 message('3') + error("25P02", "aborted") + ready('E') + complete("ROLLBACK") + ready('I'));
        CHECK(has(s.told(), "C(ROLLBACK) Z(I)"));
        (void)s.sent(s.primary);
        s.client(query("execute p"));
        s.link();
        CHECK(has(s.sent(s.primary), "Q(execute p)"));
        CHECK(s.primary.state.statements.named("p"));
        CHECK(s.primary.state.statements.named("p")->text == "prepare p as update t set a = 1");
        s.server(complete("PREPARE") + ready('I') + complete("UPDATE 1") + ready('I'));
    });
}

TEST_CASE("a statement of the protocol that is too long to be understood can be executed in SQL while the site is open") {
    scene s({});
    std::string const text = "select '" + std::string(s.world.configured().limits.max_parse_bytes, 'x') + "'";
    prepare_by_parse(s, "long", text);
    s.client(query("execute long"));
    s.link();
    CHECK(has(s.sent(s.primary), "PREPARE \"long\" AS select 'xxx"));
    s.server(message('3') + complete("PREPARE") + ready('I') + rows({"x"}) + ready('I'));
    CHECK(has(s.told(), "C(SELECT 1) Z(I) "));
    s.flip(routing::mode::sealed);
    (void)s.told();
    s.client(query("execute long"));
    CHECK(has(s.told(), "E(25006"));
}

TEST_CASE("PREPARE behind a COPY that waits for data ends it as it does with PostgreSQL") {
    for (char const* text : {"prepare p as select 1", "deallocate p", "deallocate all", "execute p"}) {
        CAPTURE(text);
        scene s({});
        s.client(query("copy t from stdin") + query(text));
        s.link();
        CHECK(has(s.sent(s.primary), "Q(copy t from stdin) "));
        s.server(message('G', std::string_view("\0\0\0", 3)));
        s.server(error("08P01", "unexpected message type 0x51 during COPY from stdin") + ready('I'));
        if (s.driver.wish()) s.link();
        CHECK(has(s.told(), "E(08P01"));
        CHECK(s.driver.core().takes_input());
    }
}

TEST_CASE("what fails behind DEALLOCATE ALL in its segment brings no statement back") {
    tell([](scene& s) {
        prepare_by_parse(s, "s", "update t set a = 1");
        s.client(parse("", "deallocate all") + bind_to("") + execute() + parse("s", "nonsense") + wire::sync());
        s.link();
        (void)s.sent(s.primary);
        s.server(message('1') + message('2') + complete("DEALLOCATE ALL"));
        s.server(error("42601", "syntax error") + ready('I'));
        CHECK(has(s.told(), "E(42601 syntax error) Z(I) "));
        s.client(bind_to("s") + execute() + wire::sync());
        s.link();
        CHECK(lacks(s.sent(s.primary), "update"));
        s.server(message('1') + message('2') + error("3B001", "fails on purpose") + ready('I'));
        CHECK(has(s.told(), "E(26000"));
    });
}
