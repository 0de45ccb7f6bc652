#include "tests/unit/routing/maintenance_world.hpp"

using namespace world_test;
using std::chrono::seconds;

TEST_CASE("a write whose connection broke is waited for until the server has ended it") {
    world w;
    w.workers[0].writers = 1;
    w.pass(seconds(1));
    SUBCASE("before the window") {
        w.break_writer(0);
        w.pass(seconds(1));
        w.begin();
    }
    SUBCASE("while it drains") {
        w.begin();
        w.pass(seconds(1));
        w.break_writer(0);
    }
    w.pass(seconds(20));
    CHECK(w.state() == phase::draining);
    REQUIRE(w.machine->suspects().size() == 1);
    CHECK(w.machine->waiting_for().front().find("broken one") != std::string::npos);
    w.inserted += 7;  // it commits
    w.flushed = w.inserted;
    auto const after = w.inserted;
    w.running.clear();
    w.pass(seconds(1));
    CHECK(w.state() == phase::sealed);
    CHECK(w.disk.sealed_lsn >= lsn{after});
    CHECK(w.disk.waited_for.size() >= 1);
}

TEST_CASE("what has ended by itself while the site is open is forgotten") {
    world w;
    w.workers[0].writers = 1;
    w.pass(seconds(1));
    w.break_writer(0);
    w.pass(seconds(2));
    CHECK(w.machine->suspects().size() == 1);
    w.running.clear();
    w.pass(seconds(2));
    CHECK(w.machine->suspects().empty());
    w.primary_up = false;  // nobody needs to be asked about it
    w.begin({.drain_timeout = seconds(1), .on_deadline = config::on_deadline::abort});
    w.pass(milliseconds(200));
    CHECK(w.state() == phase::sealing);
}

TEST_CASE("the deadline goes for broken connections too") {
    world w;
    w.workers[0].writers = 1;
    w.pass(seconds(1));
    w.break_writer(0);
    window_request r{.drain_timeout = seconds(2)};
    SUBCASE("abort") {
        r.on_deadline = config::on_deadline::abort;
        w.begin(r);
        w.pass(seconds(4));
        CHECK(w.state() == phase::read_write);
        CHECK(w.machine->error()->text.find("broken one") != std::string::npos);
    }
    SUBCASE("terminate") {
        r.on_deadline = config::on_deadline::terminate;
        w.begin(r);
        w.pass(seconds(4));
        CHECK(w.state() == phase::sealed);
    }
    SUBCASE("wait, also while the primary is away") {
        w.primary_up = false;
        w.begin(r);
        w.pass(seconds(200));
        CHECK(w.state() == phase::draining);
        w.primary_up = true;
        w.running.clear();
        w.pass(seconds(2));
        CHECK(w.state() == phase::sealed);
    }
}

TEST_CASE("what a killed process left running is waited for by the first window after it") {
    world w;
    w.workers[0].writers = 1;
    w.pass(seconds(1));
    w.crash();
    REQUIRE_FALSE(w.leftovers.empty());
    w.pass(seconds(1));
    CHECK(w.seen.mode == mode::read_write);
    w.begin();
    w.pass(seconds(10));
    CHECK(w.state() == phase::draining);
    w.leftovers.clear();
    w.pass(seconds(1));
    CHECK(w.state() == phase::sealed);
}

TEST_CASE("more broken connections than one keeps in mind") {
    world w;
    w.pass(seconds(1));
    for (int i = 0; i < 5000; ++i) {
        w.workers[0].writers = 1;
        w.break_writer(0);
    }
    w.leftovers = {"the last of them"};
    w.pass(seconds(2));
    w.running.clear();
    w.begin();
    w.pass(seconds(2));
    CHECK(w.state() == phase::draining);
    w.leftovers.clear();
    w.pass(seconds(2));
    CHECK(w.state() == phase::sealed);
}

TEST_CASE("without a control role nobody can look, and that is said") {
    world w;
    w.provable = false;
    w.crash();
    w.workers[0].writers = 1;
    w.pass(seconds(1));
    w.break_writer(0);
    w.begin({.freeze = false});
    w.pass(seconds(1));
    CHECK(w.state() == phase::sealed);
    CHECK(w.heard("broken_unseen"));
}
