// Writes to temporary tables, which a site's guard may allow while it is closed; and where hints send what clients ask
// while it is open.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

/// Has a temporary table, then the site is sealed.
void own_a_temporary_table(scene& s) {
    s.world.site().guard.temporary_tables = config::temporary_policy::write;
    s.flip(routing::mode::read_write);
    s.make_temporary();
    s.seal();
}

std::string begun() {
    return complete("BEGIN") + rows({"1"}) + ready('T');
}

/// Where it goes, and is answered.
test_server* who_answers(scene& s, std::string const& bytes, std::string const& answer) {
    s.client(bytes);
    test_server* const there = &s.link();
    s.server(answer + ready('I'));
    (void)s.told();
    return there;
}

}  // namespace

TEST_CASE("a write to temporary tables is committed, behind a look at what they could run") {
    tell([](scene& s) {
        own_a_temporary_table(s);
        s.client(query("insert into mine values (1)"));
        CHECK(s.sent(s.primary) == "Q(BEGIN READ ONLY;SELECT 1) ");
        s.server(begun());
        std::string const check = s.sent(s.primary);
        CHECK(has(check, "pg_my_temp_schema"));
        s.server(rows({"1"}) + ready('T'));
        CHECK(s.sent(s.primary) == "Q(insert into mine values (1)) Q(COMMIT) ");
        s.server(complete("INSERT 0 1") + ready('T') + complete("COMMIT") + ready('I'));
        CHECK(s.told() == "C(INSERT 0 1) Z(I) ");
    });
}

TEST_CASE("a temporary table that could run code of the user's is refused, and nothing is committed") {
    tell([](scene& s) {
        own_a_temporary_table(s);
        s.client(query("insert into mine values (1)"));
        s.server(begun());
        (void)s.sent(s.primary);
        s.server(error("22012") + ready('T'));
        CHECK(has(s.told(), "E(25006 cannot execute INSERT in a read-only transaction) Z(I) "));
        CHECK(s.sent(s.primary) == "Q(ROLLBACK) ");
        s.server(complete("ROLLBACK") + ready('I'));
        s.client(query("select 1"));
        CHECK(s.sent(s.primary) == "Q(BEGIN READ ONLY;SELECT 1) ");
        s.server(begun());
        CHECK(s.sent(s.primary) == "Q(select 1) Q(ROLLBACK) ");
    });
}

TEST_CASE("a block that has written to temporary tables is committed, and runs nothing that nobody knows") {
    tell([](scene& s) {
        own_a_temporary_table(s);
        s.client(query("begin"));
        s.server(begun());
        (void)s.told();
        (void)s.sent(s.primary);
        s.client(query("insert into mine values (1)"));
        s.server(rows({"1"}) + ready('T'));
        s.server(complete("INSERT 0 1") + ready('T'));
        CHECK(s.told() == "C(INSERT 0 1) Z(T) ");
        (void)s.sent(s.primary);
        s.client(query("savepoint a"));
        s.server(complete("SAVEPOINT") + ready('T'));
        (void)s.told();
        (void)s.sent(s.primary);
        s.client(query("select f()"));
        CHECK(has(s.sent(s.primary), "ROLLBACK TO SAVEPOINT \"lull refused"));
        s.server(error("3B001") + ready('E'));
        CHECK(has(s.told(), "E(25006 cannot execute f() in a read-only transaction) Z(E) "));
        s.client(query("rollback to a"));
        s.server(complete("ROLLBACK") + ready('T'));
        (void)s.told();
        (void)s.sent(s.primary);
        s.client(query("commit"));
        CHECK(s.sent(s.primary) == "Q(SET TRANSACTION READ ONLY) Q(COMMIT) ");  // it was undone with the savepoint
        s.server(complete("SET") + ready('T'));
        s.server(complete("COMMIT") + ready('I'));
        CHECK(s.told() == "C(COMMIT) Z(I) ");
    });
}

TEST_CASE("a block in which something unknown has run may not write to temporary tables") {
    scene s({});
    own_a_temporary_table(s);
    s.client(query("begin"));
    s.server(begun());
    s.client(query("select f()"));
    s.server(rows({"1"}) + ready('T'));
    (void)s.told();
    (void)s.sent(s.primary);
    s.client(query("insert into mine values (1)"));
    CHECK(has(s.sent(s.primary), "ROLLBACK TO SAVEPOINT \"lull refused"));
    s.server(error("3B001") + ready('E'));
    CHECK(has(s.told(), "E(25006"));
    s.client(query("commit"));
    CHECK(s.sent(s.primary) == "Q(ROLLBACK) ");
}

TEST_CASE("a write to temporary tables in the extended protocol") {
    scene s({});
    own_a_temporary_table(s);
    s.client(parse("", "insert into mine values (1)") + bind_to("") + execute() + wire::sync());
    s.server(begun());
    (void)s.sent(s.primary);
    s.server(rows({"1"}) + ready('T'));
    CHECK(s.sent(s.primary) == "P(,insert into mine values (1)) B(,) E() S Q(COMMIT) ");
    s.server(message('1') + message('2') + complete("INSERT 0 1") + ready('T') + complete("COMMIT") + ready('I'));
    CHECK(s.told() == "1 2 C(INSERT 0 1) Z(I) ");
}

TEST_CASE("without the policy, and with functions in it, a write to temporary tables is a write") {
    for (bool const allowed : {false, true}) {
        scene s({});
        own_a_temporary_table(s);
        if (!allowed) s.world.site().guard.temporary_tables = config::temporary_policy::refuse;
        s.flip(routing::mode::sealed);
        s.client(query(allowed ? "insert into mine values (f())" : "insert into mine values (1)"));
        CHECK(has(s.told(), "E(25006 cannot execute INSERT in a read-only transaction)"));
        CHECK(s.sent(s.primary) == "");
    }
}

TEST_CASE("a hint sends a read to the primary, and a query of unknown functions to the replica") {
    scene s({});
    auto const goes_to = [&](std::string const& bytes, std::string const& answer) { return who_answers(s, bytes, answer); };
    std::string const one = rows({"1"});
    CHECK(goes_to(query("select 1"), one) == &s.replica);
    CHECK(goes_to(query("/* lull: primary */ select 1"), one) == &s.primary);
    CHECK(goes_to(query("select f()"), one) == &s.primary);
    s.world.pass(std::chrono::seconds(1));
    CHECK(goes_to(query("/* lull: replica */ select f()"), one) == &s.replica);
    CHECK(goes_to(query("/* lull: replica */ insert into t values (1)"), complete("INSERT 0 1")) == &s.primary);
    s.world.pass(std::chrono::seconds(1));
    CHECK(goes_to(parse("", "/* lull: primary */ select 1") + bind_to("") + execute() + wire::sync(),
                  message('1') + message('2') + complete("SELECT 1")) == &s.primary);
}

TEST_CASE("what asks for the server itself is told of the primary, and of who is read from while the site is sealed") {
    scene s({});
    auto const goes_to = [&](std::string const& bytes, std::string const& answer) { return who_answers(s, bytes, answer); };
    std::string const one = rows({"1"}) + complete("SELECT 1");
    CHECK(goes_to(query("select pg_is_in_recovery()"), one) == &s.primary);
    CHECK(goes_to(query("select 1"), one) == &s.replica);
    CHECK(goes_to(parse("", "select inet_server_port()") + bind_to("") + execute() + wire::sync(),
                  message('1') + message('2') + complete("SELECT 1")) == &s.primary);
    CHECK(goes_to(query("show transaction_read_only"), one) == &s.primary);
    CHECK(goes_to(query("/* lull: replica */ select pg_is_in_recovery()"), one) == &s.replica);
    s.client(query("begin read only"));
    s.client(query("select pg_is_in_recovery()"));
    CHECK(&s.link() == &s.primary);
    s.server(complete("BEGIN") + ready('T') + one + ready('T'));
    s.client(query("commit"));
    s.server(complete("COMMIT") + ready('I'));
    s.flip(routing::mode::sealed);
    CHECK(goes_to(query("select pg_is_in_recovery()"), one) == &s.replica);
}

TEST_CASE("a setting sends all reads of a session to the primary") {
    scene s({});
    s.client(query("set lull.route to 'primary'"));
    s.link();
    s.server(complete("SET") + ready('I'));
    s.client(query("select 1"));
    CHECK(&s.link() == &s.primary);
    s.server(rows({"1"}) + ready('I'));
    s.client(query("begin read only"));
    s.client(query("select 1"));
    CHECK(&s.link() == &s.primary);
}

TEST_CASE("a block that is to be serializable begins on the primary, also READ ONLY") {
    for (bool const later : {false, true}) {
        CAPTURE(later);
        scene s({});
        s.client(query(later ? "begin read only" : "begin isolation level serializable read only"));
        if (later) s.client(query("set transaction isolation level serializable"));
        (void)s.told();
        s.client(query("select 1"));
        CHECK(&s.link() == &s.primary);
        CHECK(s.sent(s.primary) == "Q(BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY) Q(select 1) ");
    }
    scene s({});
    s.client(query("begin read only"));
    (void)s.told();
    s.client(query("set transaction_isolation to 'serializable'"));
    CHECK(&s.link() == &s.primary);
}

TEST_CASE("a hint on BEGIN READ ONLY counts for its block") {
    scene s({});
    s.client(query("/* lull: primary */ begin read only"));
    (void)s.told();
    s.client(query("select 1"));
    CHECK(&s.link() == &s.primary);
}

namespace {

/// A READ ONLY block has read on the replica.
void read_in_block(scene& s, std::string const& begin = "begin read only") {
    s.client(query(begin));
    s.client(query("select 1"));
    CHECK(&s.link() == &s.replica);
    s.server(complete("BEGIN") + ready('T') + rows({"1"}) + ready('T'));
    CHECK(s.told() == "C(BEGIN) Z(T) T D(1) C(SELECT 1) Z(T) ");
    (void)s.sent(s.replica);
}

}  // namespace

TEST_CASE("a READ ONLY block goes on on the primary where it comes to do what is only the primary's") {
    std::string const extended = parse("", "select pg_advisory_lock(1)") + bind_to("") + execute() + wire::sync();
    for (std::string const& unit : {query("select pg_advisory_lock(1)"), query("notify channel"), query("lock table t in access share mode"),
                                    query("set time zone interval '-8' hour"),
                                    query("select f()"), query("declare c cursor with hold for select 1"), extended,
                                    query("commit; insert into t values (1)")}) {
        CAPTURE(unit);
        tell([&](scene& s) {
            read_in_block(s);
            s.client(unit);
            CHECK(s.sent(s.replica) == "Q(ROLLBACK) ");
            CHECK(s.told() == "");
            s.server(complete("ROLLBACK") + ready('I'));
            CHECK(&s.link() == &s.primary);
            CHECK(s.sent(s.primary).starts_with("Q(BEGIN READ ONLY) "));
            CHECK(s.told() == "");
        });
    }
}

TEST_CASE("what a replica can do stays there, and so does a block that has left something there, or sees one snapshot") {
    for (char const* text : {"select 2", "show work_mem", "set local work_mem to '64kB'", "savepoint a", "set work_mem to '64kB'",
                             "declare c cursor for select 1", "explain select 1", "set transaction read write"}) {
        CAPTURE(text);
        tell([&](scene& s) {
            read_in_block(s);
            s.client(query(text));
            CHECK(s.sent(s.replica) == "Q(" + std::string(text) + ") ");
        });
    }
    tell([](scene& s) {
        read_in_block(s);
        s.client(query("savepoint a"));
        s.server(complete("SAVEPOINT") + ready('T'));
        s.client(query("select pg_advisory_lock(1)"));
        CHECK(has(s.sent(s.replica), "pg_advisory_lock"));
    });
    tell([](scene& s) {
        s.client(query("begin read only") + parse("", "savepoint a") + bind_to("") + execute() + wire::sync());
        CHECK(&s.link() == &s.replica);
        s.server(complete("BEGIN") + ready('T') + message('1') + message('2') + complete("SAVEPOINT") + ready('T'));
        s.client(query("select pg_advisory_lock(1)"));
        CHECK(has(s.sent(s.replica), "pg_advisory_lock"));
    });
    tell([](scene& s) {
        read_in_block(s, "begin isolation level repeatable read read only");
        s.client(query("select pg_advisory_lock(1)"));
        CHECK(has(s.sent(s.replica), "pg_advisory_lock"));
    });
}

TEST_CASE("a block that is on its way to the primary: its client goes, it is canceled, the site closes, the replica is lost") {
    auto const move = [](scene& s) {
        read_in_block(s);
        s.client(query("select pg_advisory_lock(1)"));
        (void)s.sent(s.replica);
    };
    scene gone({});
    move(gone);
    gone.driver.gone();
    gone.server(complete("ROLLBACK") + ready('I'));
    CHECK(gone.driver.core().finished());
    CHECK(gone.driver.released.back() == &gone.replica);

    scene closes({});
    move(closes);
    closes.flip(routing::mode::sealed);
    closes.server(complete("ROLLBACK") + ready('I'));
    if (closes.driver.wish()) closes.link();
    CHECK(lacks(closes.sent(closes.primary), "pg_advisory_lock"));
    CHECK(has(closes.sent(closes.replica), "pg_advisory_lock"));

    scene canceled({});
    move(canceled);
    canceled.driver.cancel();
    canceled.server(complete("ROLLBACK") + ready('I'));
    CHECK(canceled.told() == "E(57014 canceling statement due to user request) Z(E) ");

    scene lost({});
    move(lost);
    lost.driver.lose();
    CHECK(&lost.link() == &lost.primary);
    CHECK(lost.sent(lost.primary) == "Q(BEGIN READ ONLY) Q(select pg_advisory_lock(1)) ");
}
