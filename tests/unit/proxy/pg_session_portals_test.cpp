// Portals, and segments without their Sync, while the site is sealed: what is executed is what was bound, by the names
// that the server goes by, and behind the end of a guarded transaction nothing is.
#include "proxy/pg_portal_table_core.hpp"
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

std::string const guard_opens = complete("BEGIN") + rows({"1"}) + ready('T');
std::string const one(63, 'p');

/// A block on the primary inside our own READ ONLY transaction, with a portal "pc" of `text`.
void guarded_block(scene& s, std::string const& text, std::string const& portal = "pc") {
    s.seal_on_primary();
    s.client(query("begin"));
    s.client(parse("c", text) + bind_to("c", portal) + wire::sync());
    s.link();
    // (COMMIT is prepared under the client's name, and ROLLBACK in its place.)
    s.server(guard_opens + message('1') + (text == "commit" ? message('1') : "") + message('2') + ready('T'));
    CHECK(has(s.told(), "1 2 Z(T)"));
    (void)s.sent(s.guarded);
}

std::string const behind = parse("", "select f()") + bind_to("") + execute() + wire::sync();

/// A segment on the primary that has run a read, and no Sync.
void open_segment(scene& s) {
    s.client(query("/* lull: primary */ select pg_advisory_lock(1)"));
    s.link();
    s.server(rows({""}) + ready('I'));
    s.keep_server();
    s.client(parse("a", "select 1") + bind_to("a") + execute() + flush());
    s.server(message('1') + message('2') + complete("SELECT 1"));
    (void)s.told();
    (void)s.sent(s.primary);
}

}  // namespace

TEST_CASE("portals: what a Bind or Close has changed can be undone, but for the unnamed one") {
    portal_table table;
    auto const text = std::make_shared<prepared_text const>();
    auto const other = std::make_shared<prepared_text const>();
    CHECK(!table.find(""));
    CHECK(!table.bind("", {text}));
    CHECK(table.find("")->statement == text);
    table.drop_unnamed();
    CHECK(!table.find(""));
    auto const first = table.bind("p", {text});
    CHECK(!first->before.statement);
    auto const second = table.bind("p", {other});
    CHECK(table.find("p")->statement == other);
    table.undo(*second);
    CHECK(table.find("p")->statement == text);
    auto const closed = table.close("p");
    CHECK(!table.find("p"));
    CHECK(!table.close("p"));
    table.undo(*closed);
    CHECK(table.find("p")->statement == text);
    table.undo(*first);
    CHECK(!table.find("p"));
}

TEST_CASE("names are what servers know: 63 bytes, and certain only where they are ASCII") {
    CHECK(known_name(one + "1") == one);
    CHECK(known_name("short") == "short");
    CHECK(is_certain_name(one + "\xe9"));
    CHECK(!is_certain_name("p\xe9"));
}

TEST_CASE("behind a COMMIT that was bound in an earlier segment nothing runs in this one") {
    for (std::string const end : {"commit", "rollback"}) {
        CAPTURE(end);
        tell([&](scene& s) {
            guarded_block(s, end);
            s.client(execute("pc") + behind);
            std::string const sent = s.sent(s.guarded);
            CHECK(has(sent, "E(pc) "));
            CHECK(lacks(sent, "select f()"));
            s.server(complete("ROLLBACK") + message('1') + message('2') + error("25P01") + ready('I'));
            CHECK(has(s.told(), "E(25006 cannot end a transaction within a group"));
            CHECK(s.driver.core().status() == 'I');
        });
    }
}

TEST_CASE("two names of a portal that are one to the server are one") {
    tell(
        [](scene& s) {
            guarded_block(s, "rollback", one + "1");
            s.client(execute(one + "2") + behind);
            std::string const sent = s.sent(s.guarded);
            CHECK(has(sent, "E(" + one + "2) "));
            CHECK(lacks(sent, "select f()"));
        },
        20);
}

TEST_CASE("a portal that Lull does not know is not executed while a transaction of ours is around it") {
    tell([](scene& s) {
        guarded_block(s, "select 1");
        s.client(execute("other") + wire::sync());
        CHECK(lacks(s.sent(s.guarded), "E(other)"));
        s.server(message('1') + message('2') + error("3B001") + ready('E'));
        CHECK(has(s.told(), "E(34000 portal \"other\" does not exist) Z(E)"));
    });
    scene s({});  // while the site is open it may be a cursor of SQL's, and then counts as a write
    s.client(query("begin") + query("select 1"));
    s.link();
    s.server(complete("BEGIN") + ready('T') + rows({"1"}) + ready('T'));
    (void)s.sent(s.primary);
    s.client(execute("cursor") + wire::sync());
    CHECK(s.sent(s.primary) == "E(cursor) S ");
    CHECK(s.driver.core().writes());
}

TEST_CASE("a Bind that fails, or that the server skips, leaves the portal what it was") {
    for (bool const skipped : {false, true}) {
        CAPTURE(skipped);
        tell([&](scene& s) {
            guarded_block(s, "rollback");
            s.client((skipped ? bind_to("none") : std::string()) + parse("", "select 1") + bind_to("", "pc") + wire::sync());
            s.server((skipped ? message('1') + message('2') + error("3B001") : message('1') + error("42P03")) + ready('E'));
            (void)s.told();
            (void)s.sent(s.guarded);
            s.client(query("rollback to a"));
            s.server(complete("ROLLBACK") + ready('T'));
            (void)s.sent(s.guarded);
            s.client(execute("pc") + behind);
            std::string const sent = s.sent(s.guarded);
            CHECK(has(sent, "E(pc) "));
            CHECK(lacks(sent, "select f()"));
        });
    }
}

TEST_CASE("a portal is gone when it is closed, and when its transaction is over") {
    for (bool const closed : {false, true}) {
        CAPTURE(closed);
        tell([&](scene& s) {
            guarded_block(s, "select 1");
            s.client(closed ? close('P', "pc") + wire::sync() : query("rollback"));
            s.server(closed ? message('3') + ready('T') : complete("ROLLBACK") + ready('I'));
            if (!closed) s.client(query("begin") + query("select 1"));
            if (s.driver.wish()) s.link();
            if (!closed) s.server(guard_opens + rows({"1"}) + ready('T'));
            (void)s.told();
            (void)s.sent(s.guarded);
            s.client(execute("pc") + wire::sync());
            CHECK(lacks(s.sent(s.guarded), "E(pc)"));
            s.server(message('1') + message('2') + error("3B001") + ready('E'));
            CHECK(has(s.told(), "E(34000 portal \"pc\" does not exist)"));
        });
    }
}

TEST_CASE("in a failed block only its end goes out, and behind that nothing") {
    tell([](scene& s) {
        guarded_block(s, "select 1");
        s.client(query("select 1/0"));
        s.server(error("22012") + ready('E'));
        (void)s.told();
        (void)s.sent(s.guarded);
        s.client(query("insert into t values (1)"));
        CHECK(lacks(s.sent(s.guarded), "insert"));
        s.server(error("3B001") + ready('E'));
        CHECK(has(s.told(), "E(25P02"));
        s.client(parse("r", "rollback") + bind_to("r") + execute() + flush());
        CHECK(has(s.sent(s.guarded), "E() H"));
        s.server(message('1') + message('2') + complete("ROLLBACK"));
        s.client(behind);
        CHECK(lacks(s.sent(s.guarded), "select f()"));
        s.server(message('1') + message('2') + error("25P01") + ready('I'));
        CHECK(has(s.told(), "Z(I)"));
    });
}

TEST_CASE("a block that had failed before the flip is left, and what follows in that segment does not run") {
    tell([](scene& s) {
        s.client(query("begin") + query("select 1/0"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + error("22012") + ready('E'));
        s.flip(routing::mode::draining);
        s.flip(routing::mode::sealed);
        (void)s.told();
        (void)s.sent(s.primary);
        s.client(parse("", "rollback") + bind_to("") + execute() + parse("", "select 1") + bind_to("") + execute() +
                 wire::sync());
        CHECK(lacks(s.sent(s.primary), "select 1)"));
    });
}

TEST_CASE("a segment that was open at the flip is waited for until its Sync has been answered") {
    tell([](scene& s) {
        open_segment(s);
        CHECK(!s.driver.core().writes());
        s.flip(routing::mode::draining);
        (void)s.told();
        CHECK(s.driver.core().writes());
        s.client(parse("", "select 2") + bind_to("") + execute() + flush());  // reads go on
        CHECK(has(s.sent(s.primary), "select 2"));
        s.server(message('1') + message('2') + complete("SELECT 1"));
        CHECK(has(s.told(), "C(SELECT 1)"));
        s.client(wire::sync());
        CHECK(s.driver.core().writes());
        s.server(ready('I'));
        CHECK(!s.driver.core().writes());
        CHECK(s.told() == "Z(I) ");
    });
}

TEST_CASE("what may write is refused in such a segment") {
    scene s({});
    open_segment(s);
    s.flip(routing::mode::draining);
    s.client(parse("", "select f()") + bind_to("") + execute() + flush());
    CHECK(lacks(s.sent(s.primary), "B(,) E()"));
    s.server(message('1') + message('1') + message('2') + error("3B001"));
    CHECK(has(s.told(), "E(25006"));
    s.client(wire::sync());
    s.server(ready('I'));
    CHECK(!s.driver.core().writes());
}

TEST_CASE("a segment in which nothing has run yet ends at the flip, and the client does not see it") {
    tell([](scene& s) {
        s.client(query("/* lull: primary */ select pg_advisory_lock(1)"));
        s.link();
        s.server(rows({""}) + ready('I'));
        s.keep_server();
        s.client(parse("a", "select 1") + describe('S', "a") + flush());
        s.server(message('1') + message('t', std::string_view("\0\0", 2)) + row_description());
        (void)s.told();
        (void)s.sent(s.primary);
        s.flip(routing::mode::draining);
        CHECK(s.sent(s.primary) == "S ");
        CHECK(s.told() == "S(default_transaction_read_only=on) ");
        s.client(bind_to("a") + execute() + wire::sync());
        CHECK(s.sent(s.primary).empty());
        CHECK(s.driver.core().writes());
        s.server(ready('I'));
        CHECK(!s.driver.core().writes());
        CHECK(s.sent(s.primary) == "Q(BEGIN READ ONLY;SELECT 1) ");
        s.server(guard_opens);
        CHECK(has(s.sent(s.primary), "C(Slull_"));  // and what it has by that name is made anew, and looked at
        s.server(message('3') + message('1') + no_parameters() + row_description());
        CHECK(s.told() == "");
        CHECK(has(s.sent(s.primary), "E() S Q(ROLLBACK)"));
        s.server(message('2') + complete("SELECT 1") + ready('T') +
                 complete("ROLLBACK") + ready('I'));
        CHECK(s.told() == "2 C(SELECT 1) Z(I) ");
    });
}

TEST_CASE("PREPARE and DEALLOCATE of the names that Lull gives are refused") {
    for (std::string const text : {"deallocate lull_1", "prepare lull_1 as select 1", "select 1; deallocate lull_7",
                                   "savepoint \"lull refused a write in this transaction\""}) {
        CAPTURE(text);
        scene s({});
        s.client(query(text));
        CHECK(has(s.told(), "E(42939"));
    }
}
