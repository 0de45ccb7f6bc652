// Limits of time for a client that keeps a server and does nothing with it, or never says anything.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

constexpr std::chrono::milliseconds a_look{1000};

/// One that may be idle for not quite two seconds where it keeps a server.
void limit(scene& s) {
    s.world.configured().limits.idle_in_transaction_timeout = config::milliseconds(1900);
    s.flip(routing::mode::read_write);
}

/// So many of the looks at the clock.
void look(scene& s, int times, reading how = reading::all) {
    for (int i = 0; i < times && !s.driver.closed(); ++i) {
        s.world.pass(a_look);
        s.driver.check_timeouts(how);
    }
}

std::string const ended = "E(25P03 terminating connection due to idle-in-transaction timeout) ";

}  // namespace

TEST_CASE("who has sent half of a message and nothing more is ended, and its server closed") {
    scene s({});
    limit(s);
    std::string const segment = parse("", "insert into t values ($1)") + message('B', std::string("\0\0\0\0\0\1\0\1\x86\xa0", 10) + std::string(100'000, 'x'));
    s.client(segment.substr(0, 70'000));
    s.link();
    (void)s.told();
    for (std::size_t at = 70'000; at < 70'010; ++at) {  // slow, but it comes
        look(s, 2);
        s.client(segment.substr(at, 1));
    }
    look(s, 3);
    CHECK(!s.driver.closed());
    look(s, 1);
    CHECK(s.told() == ended);
    CHECK(s.driver.closed());
    CHECK(s.driver.discarded.size() == 1);
    CHECK(s.driver.core().stats().timeouts[static_cast<std::size_t>(time_limit::idle_in_transaction)] == 1);
}

TEST_CASE("who leaves a segment open is ended when what runs in it has been answered, and what it did is not committed") {
    for (bool const asks : {true, false}) {
        CAPTURE(asks);
        scene s({});
        limit(s);
        s.client(query("begin") + query("insert into t values (1)"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
        s.client(parse("", "insert into t values (2)") + bind_to("") + execute() + (asks ? flush() : ""));
        (void)s.sent(s.primary);
        (void)s.told();
        look(s, 10);  // it runs for long
        CHECK(!s.driver.closed());
        CHECK(s.sent(s.primary) == "H ");
        s.server(message('1') + message('2') + complete("INSERT 0 1"));
        CHECK(s.told() == "1 2 C(INSERT 0 1) ");
        look(s, 2);
        CHECK(!s.driver.closed());
        look(s, 1);
        CHECK(s.told() == ended);
        CHECK(s.driver.closed());
        CHECK(has(s.sent(s.primary), "P(,ROLLBACK TO SAVEPOINT "));
    }
}

TEST_CASE("a COPY that nobody goes on with fails, and the session lives on") {
    tell([](scene& s) {
        limit(s);
        s.client(query("copy t from stdin"));
        s.link();
        s.server(copy_in_response());
        s.client(copy_data("1\n"));
        (void)s.told();
        (void)s.sent(s.primary);
        look(s, 2);
        s.client(copy_data("2\n"));
        look(s, 3);
        CHECK(s.sent(s.primary) == "d(2\n) ");
        look(s, 1);
        CHECK(s.sent(s.primary) == "f(idle-in-transaction timeout of the proxy) ");
        s.server(error("57014") + ready('I'));
        CHECK(s.told() == "E(25P03 COPY canceled due to idle-in-transaction timeout) Z(I) ");
        CHECK(s.driver.released.size() == 1);
        s.client(copy_data("3\n") + copy_done() + query("select 1"));
        s.link();
        CHECK(s.sent(s.primary) + s.sent(s.replica) == "Q(select 1) ");
        s.server(rows({"1"}) + ready('I'));
        CHECK(has(s.told(), "Z(I) "));
    });
}

TEST_CASE("who does not read what it has asked for is ended, and what it has asked for canceled") {
    scene s({});
    limit(s);
    s.client(query("select 1"));
    s.link();
    s.server(row_description() + data_row("1"));
    (void)s.told();
    for (int i = 0; i < 10; ++i) {  // it takes a little
        look(s, 2, reading::stopped);
        s.driver.core().note_progress();
    }
    CHECK(!s.driver.closed());
    look(s, 4, reading::stopped);
    CHECK(s.told() == ended);
    CHECK(s.driver.closed());
    CHECK(s.driver.cancels == 1);
    s.server(error("57014") + ready('I'));
    CHECK(s.driver.core().finished());
    CHECK(s.driver.released.size() == 1);
}

TEST_CASE("without that limit nobody is asked anything") {
    scene s({});
    s.begin_and_write();
    s.client(parse("", "insert into t values (2)") + bind_to("") + execute());
    (void)s.sent(s.primary);
    look(s, 100);
    CHECK(s.sent(s.primary) == "");
    CHECK(!s.driver.closed());
}

TEST_CASE("a session that has never asked for anything is idle since its login") {
    scene s({});
    s.world.configured().limits.idle_session_timeout = config::milliseconds(2000);
    s.flip(routing::mode::read_write);
    s.world.pass(std::chrono::milliseconds(1900));
    s.driver.check_timeouts();
    CHECK(!s.driver.closed());
    look(s, 1);
    CHECK(s.driver.to_client.find("The limit of the proxy is limits.idle_session_timeout.") != std::string::npos);
    CHECK(s.told() == "E(57P05 terminating connection due to idle-session timeout) ");
    CHECK(s.driver.closed());
}

namespace {

/// Statements may take a second, and the server one more to end them.
void limit_statements(scene& s) {
    s.world.configured().limits.statement_timeout = config::milliseconds(900);
    s.world.configured().limits.cancel_timeout = config::milliseconds(1900);
    s.flip(routing::mode::read_write);
}

std::string const closed_it = "E(08006 the server did not end the statement in time: the connection to it was closed) ";

}  // namespace

TEST_CASE("a server that does not obey its cancel is left, and the session lives on") {
    tell([](scene& s) {
        limit_statements(s);
        s.client(query("insert into t values (1)"));
        s.link();
        look(s, 2);
        CHECK(s.driver.cancels == 1);
        CHECK(s.told() == "");
        look(s, 1);
        CHECK(s.told() == closed_it + "Z(I) ");
        CHECK(s.driver.discarded.size() == 1);
        CHECK(!s.primary.state.clean());  // what it runs is waited for as for that of a broken connection
        CHECK(!s.driver.core().writes());
        s.client(query("select 1"));
        CHECK(s.driver.wish());
    });
}

TEST_CASE("nor does it matter that something of ours stands before the statement, or that the statement is a COMMIT") {
    scene s({});
    limit_statements(s);
    s.client(query("begin") + query("insert into t values (1)"));
    s.link();
    (void)s.told();
    look(s, 3);
    CHECK(s.driver.cancels == 0);
    CHECK(s.told() == closed_it + "Z(E) ");
    CHECK(s.driver.discarded.size() == 1);
    for (time_limit which : {time_limit::statement, time_limit::cancel})
        CHECK(s.driver.core().stats().timeouts[static_cast<std::size_t>(which)] == 1);

    scene other({});
    limit_statements(other);
    other.begin_and_write();
    other.client(query("commit"));
    (void)other.told();
    look(other, 3);
    CHECK(has(other.told(), "E(08007 "));
    CHECK(other.driver.discarded.size() == 1);
}

TEST_CASE("what a client that is gone has left running obeys the limit, too") {
    scene s({});
    limit_statements(s);
    s.client(query("insert into t values (1)"));
    s.link();
    s.driver.gone();
    s.world.pass(a_look);
    s.driver.check_timeouts();
    CHECK(s.driver.cancels == 1);
    for (int i = 0; i < 2; ++i) {
        s.world.pass(a_look);
        s.driver.check_timeouts();
    }
    CHECK(s.driver.discarded.size() == 1);
    CHECK(s.driver.core().finished());
}

TEST_CASE("whose answer waits for its client to read does not hang") {
    scene s({});
    limit_statements(s);
    s.client(query("select 1"));
    s.link();
    look(s, 10, reading::stopped);
    CHECK(s.driver.cancels == 1);
    CHECK(s.driver.discarded.empty());
}

TEST_CASE("who does not get the server that it needs to log in is told with a FATAL, for its session ends") {
    pg_world world;
    pg_driver driver(world, world.identity(), [](std::string const& what) { FAIL(what); });
    driver.start();
    REQUIRE(driver.wish());
    driver.no_server(error("53300", "timed out waiting for a server connection"));
    CHECK(driver.closed());
    CHECK(driver.to_client.find(std::string("SFATAL\0VFATAL\0", 14)) != std::string::npos);
}

TEST_CASE("what runs for a client is owed to it, where nothing is half said") {
    scene s({});
    CHECK(!s.driver.core().owes_answer());
    s.client(query("select 1"));
    CHECK(!s.driver.core().owes_answer());  // it waits for its turn
    s.link();
    CHECK(s.driver.core().owes_answer());
    s.client(terminate());
    CHECK(!s.driver.closed());
    s.server(rows({"1"}) + ready('I'));
    CHECK(s.driver.closed());
    CHECK(has(s.told(), "Z(I) "));
}
