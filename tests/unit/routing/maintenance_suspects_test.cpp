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

TEST_CASE("a write that was taken for a read is waited for, and obeys the deadline") {
    world w;
    w.misjudged = {{77, 900, "pid 77 app@shop"}};
    window_request r{.drain_timeout = seconds(2)};
    SUBCASE("until it ends, and its commit is below the position") {
        w.begin(r);
        w.pass(seconds(10));
        CHECK(w.state() == phase::draining);
        CHECK(w.machine->waiting_for().front().find("pid 77") != std::string::npos);
        w.inserted += 7;
        w.flushed = w.inserted;
        auto const after = w.inserted;
        w.misjudged = {{78, 901, "begun later, and let pass"}};
        w.pass(seconds(1));
        CHECK(w.state() == phase::sealed);
        CHECK(w.disk.sealed_lsn >= lsn{after});
        CHECK(w.disk.waited_for.size() == 1);
    }
    SUBCASE("abort") {
        r.on_deadline = config::on_deadline::abort;
        w.begin(r);
        w.pass(seconds(4));
        CHECK(w.state() == phase::read_write);
        CHECK(w.machine->error()->text.find("pid 77") != std::string::npos);
        CHECK(w.machine->suspects().empty());
    }
    SUBCASE("terminate") {
        r.on_deadline = config::on_deadline::terminate;
        w.begin(r);
        w.pass(seconds(4));
        CHECK(w.misjudged.empty());
        CHECK(w.state() == phase::sealed);
    }
}

TEST_CASE("the horizon is behind the message that has the log flushed") {
    world w;
    w.inserted += 10;  // not flushed: it takes a second question, with the message
    w.begin();
    w.pass(seconds(1));
    REQUIRE(w.state() == phase::sealed);
    CHECK(w.disk.at_sealing.snapshot == "2:2:");
}

TEST_CASE("a mark of the migration replaces one that was made before its session was known") {
    world w;
    w.begin();
    w.pass(seconds(1));
    REQUIRE(w.state() == phase::sealed);
    auto const look = [&](xid_mark const& m) {
        while (w.answers.empty()) {
            w.now += milliseconds(500);
            w.feed(event::tick{});
        }
        for (auto& a : w.answers)
            if (auto* seen = std::get_if<event::primary_seen>(&a)) seen->xids = {m};
        w.deliver();
    };
    for (int i = 0; i < 6; ++i) look({900, false, "pid 5"});
    CHECK(w.heard("outsider"));
    for (int i = 0; i < 6; ++i) look({900, true, "pid 5"});
    REQUIRE(w.machine->record().marks.size() == 1);
    CHECK(w.machine->record().marks.front().migration);
}

TEST_CASE("the end of a window is told of again where nobody knows whether it was") {
    world w;
    w.hooks_end = false;
    window_request r;
    r.reason = "first";
    w.begin(r);
    w.pass(seconds(1));
    w.finish();
    w.pass(seconds(1));
    REQUIRE(w.state() == phase::read_write);
    REQUIRE(w.disk.untold);
    w.told.clear();
    SUBCASE("after a crash, until it is") {
        w.hooks_end = true;
        w.crash();
        CHECK(w.told == std::vector<effect::turn>{effect::turn::opened});
        CHECK_FALSE(w.disk.untold);
        w.told.clear();
        w.crash();
        CHECK(w.told.empty());
    }
    SUBCASE("and a cancelled entering has a reason of its own") {
        r.reason = "second";
        w.workers[0].writers = 1;
        w.begin(r);
        w.pass(seconds(1));
        w.finish();
        w.pass(seconds(1));
        REQUIRE(w.state() == phase::read_write);
        REQUIRE(w.disk.untold);
        CHECK(w.disk.untold->reason == "second");
        CHECK(w.disk.last_window->reason == "first");
    }
}
