#include "tests/unit/routing/maintenance_world.hpp"

using namespace world_test;
using std::chrono::seconds;

namespace {

window_request because(std::string reason) {
    window_request r;
    r.reason = std::move(reason);
    return r;
}

window_request without_freezing() {
    window_request r;
    r.freeze = false;
    return r;
}

}  // namespace

TEST_CASE("a window opens, is proved, freezes the replicas, and ends when they have caught up") {
    world w;
    w.pass(milliseconds(100));
    w.begin(because("new prices"));
    CHECK(w.state() == phase::draining);
    w.pass(seconds(1));
    REQUIRE(w.state() == phase::sealed);
    CHECK(w.seen.frozen);
    CHECK(w.disk.phase == phase::sealed);
    CHECK(w.disk.sealed_lsn == lsn{1000});
    CHECK(w.paused("r1:1"));
    CHECK(w.paused("r2:1"));

    w.migrate();
    w.pass(seconds(1));
    CHECK(w.replicas["r1:1"].replayed == lsn{1000});
    w.finish();
    CHECK(w.seen.mode == mode::reopening);
    w.pass(seconds(1));
    CHECK(w.state() == phase::read_write);
    CHECK(w.modes == std::vector{mode::draining, mode::sealed, mode::reopening, mode::read_write});
    CHECK(w.seen.epoch == epoch{4});
    CHECK(w.seen.generation == 2);
    REQUIRE(w.disk.last_window);
    CHECK(w.disk.last_window->finish_lsn == lsn{1500});
    CHECK(w.disk.last_window->sealed_lsn == lsn{1000});
    CHECK(w.disk.last_window->epoch == epoch{2});
    CHECK(w.disk.last_window->reason == "new prices");
    CHECK(w.disk.replicas.empty());
    CHECK_FALSE(w.machine->error());
}

TEST_CASE("at rest before a window and after it, and not in between") {
    world w;
    w.pass(milliseconds(100));
    CHECK(w.machine->at_rest());
    w.begin();
    CHECK_FALSE(w.machine->at_rest());
    w.pass(seconds(1));
    REQUIRE(w.state() == phase::sealed);
    CHECK_FALSE(w.machine->at_rest());
    w.finish();
    CHECK_FALSE(w.machine->at_rest());
    w.pass(seconds(1));
    REQUIRE(w.state() == phase::read_write);
    w.pass(seconds(1));  // the replicas are settled
    CHECK(w.machine->at_rest());
}

TEST_CASE("sealed waits for each worker and each writer") {
    world w;
    w.workers[0].writers = 1;
    w.workers[1].silent = true;
    w.begin();
    w.pass(seconds(100));
    CHECK(w.state() == phase::draining);
    CHECK(w.heard("drain_deadline"));
    w.workers[0].writers = 0;
    w.pass(seconds(10));
    CHECK(w.state() == phase::draining);
    w.workers[1].silent = false;
    w.pass(seconds(1));
    CHECK(w.state() == phase::sealed);
    CHECK(w.disk.waited_for == std::vector<std::string>{"pid 0"});
}

TEST_CASE("what a worker says of an earlier snapshot proves nothing") {
    world w;
    for (std::size_t i = 0; i < 2; ++i) w.feed(event::worker_said{i, 0, 0, {}});
    w.begin();
    for (std::size_t i = 0; i < 2; ++i) w.feed(event::worker_said{i, 0, 0, {}});
    w.feed(event::tick{});
    CHECK(w.state() == phase::draining);
    for (std::size_t i = 0; i < 2; ++i) w.feed(event::worker_said{i, 1, 0, {}});
    CHECK(w.state() == phase::sealing);
}

TEST_CASE("the drain deadline") {
    world w;
    w.workers[0].writers = 2;
    window_request request;
    request.drain_timeout = seconds(2);
    SUBCASE("cancels, and again for newcomers") {
        request.on_deadline = config::on_deadline::cancel;
        w.begin(request);
        w.pass(milliseconds(1900));
        CHECK(w.ended.empty());
        w.pass(milliseconds(100));
        REQUIRE(w.ended.size() == 1);
        CHECK_FALSE(w.ended[0].terminate);
        w.workers[1].writers = 1;  // the first order had ended those of worker 0
        w.workers[0].silent = true;
        w.pass(milliseconds(5100));
        CHECK(w.ended.size() == 2);
        w.workers[0].silent = false;
        w.pass(seconds(1));
        CHECK(w.state() == phase::sealed);
    }
    SUBCASE("terminates") {
        request.on_deadline = config::on_deadline::terminate;
        w.begin(request);
        w.pass(seconds(4));
        REQUIRE(w.ended.size() == 1);
        CHECK(w.ended[0].terminate);
        CHECK(w.state() == phase::sealed);
    }
    SUBCASE("gives up as if nothing had happened") {
        request.on_deadline = config::on_deadline::abort;
        w.begin(request);
        w.pass(seconds(3));
        CHECK(w.state() == phase::read_write);
        CHECK(w.modes == std::vector{mode::draining, mode::read_write});
        CHECK(w.seen.generation == 0);
        REQUIRE(w.machine->error());
        CHECK(w.machine->error()->text.find("2 writes are still in flight") != std::string::npos);
    }
}

TEST_CASE("the proof waits until the log is flushed") {
    world w;
    w.inserted = 1200;  // asynchronous commits
    w.nudge_works = false;
    w.begin();
    w.pass(seconds(2));
    CHECK(w.state() == phase::sealing);
    w.flushed = 1200;
    w.pass(seconds(1));
    CHECK(w.state() == phase::sealed);
    CHECK(w.disk.sealed_lsn == lsn{1200});
    CHECK(w.replicas["r1:1"].replayed == lsn{1200});
}

TEST_CASE("a write that comes up during the proof makes it void") {
    world w;
    w.replicas["r1:1"].follows = w.replicas["r2:1"].follows = false;
    w.begin();
    w.pass(milliseconds(500));
    REQUIRE(w.state() == phase::sealing);
    w.workers[1].writers = 1;
    w.pass(milliseconds(100));
    CHECK(w.state() == phase::draining);
    w.migrate();
    w.workers[1].writers = 0;
    for (auto& [address, r] : w.replicas) r.follows = true;
    w.pass(seconds(1));
    CHECK(w.state() == phase::sealed);
    CHECK(w.disk.sealed_lsn == lsn{1500});
    CHECK(w.replicas["r1:1"].replayed == lsn{1500});
}

TEST_CASE("entering fails where it cannot be proved, and everything is as before") {
    world w;
    w.primary_up = false;
    w.begin();
    w.pass(seconds(59));
    CHECK(w.state() == phase::sealing);
    w.pass(seconds(2));
    CHECK(w.state() == phase::read_write);
    REQUIRE(w.machine->error());
    CHECK(w.machine->error()->text.find("connection refused") != std::string::npos);
    CHECK_FALSE(w.disk.last_window);
}

TEST_CASE("replicas that cannot be frozen") {
    world w;
    auto& one = w.replicas["r1:1"];
    auto& two = w.replicas["r2:1"];
    SUBCASE("one without the right is left out, the other carries the reads") {
        one.rights = false;
        w.begin();
        w.pass(seconds(1));
        CHECK(w.state() == phase::sealed);
        CHECK(w.seen.frozen);
        CHECK(w.heard("replica_left_out"));
        CHECK(one.state == pause_state::not_paused);
    }
    SUBCASE("none has the right: the error names the repair") {
        one.rights = two.rights = false;
        w.begin();
        w.pass(seconds(1));
        CHECK(w.state() == phase::read_write);
        REQUIRE(w.machine->error());
        CHECK(w.machine->error()->fix.find("GRANT EXECUTE") != std::string::npos);
        CHECK(w.machine->error()->fix.find("--no-freeze") != std::string::npos);
    }
    SUBCASE("one that died is left out after a while") {
        w.begin();
        one.up = false;
        w.pass(seconds(4));
        CHECK(w.state() == phase::sealing);
        w.pass(seconds(3));
        CHECK(w.state() == phase::sealed);
        CHECK(w.paused("r2:1"));
    }
    SUBCASE("one that cannot pause for a reader in its way is resumed, not left half paused") {
        one.stuck = true;
        w.begin();
        w.pass(seconds(62));
        CHECK(w.state() == phase::sealed);
        CHECK(one.state == pause_state::not_paused);
        CHECK(w.paused("r2:1"));
    }
    SUBCASE("all late") {
        one.follows = two.follows = false;
        w.inserted = w.flushed = 2000;
        w.begin();
        w.pass(seconds(62));
        CHECK(w.state() == phase::read_write);
        CHECK(w.machine->error()->text.find("has replayed") != std::string::npos);
    }
}

TEST_CASE("without freezing the replicas are left alone") {
    world w;
    w.begin(without_freezing());
    w.pass(seconds(1));
    CHECK(w.state() == phase::sealed);
    CHECK_FALSE(w.seen.frozen);
    w.migrate();
    CHECK(w.replicas["r1:1"].replayed == lsn{1500});
    w.finish();
    w.pass(seconds(1));
    CHECK(w.state() == phase::read_write);
}

TEST_CASE("without a role that can ask, sealed has no position") {
    world w;
    w.provable = false;
    w.begin(without_freezing());
    w.pass(seconds(1));
    CHECK(w.state() == phase::sealed);
    CHECK_FALSE(w.disk.sealed_lsn);
    w.finish();
    w.pass(seconds(1));
    CHECK(w.state() == phase::read_write);
}

TEST_CASE("cancelling") {
    world w;
    SUBCASE("while draining") {
        w.workers[0].writers = 1;
        w.begin();
        w.pass(seconds(1));
        w.finish();
        CHECK(w.state() == phase::read_write);
        CHECK(w.modes == std::vector{mode::draining, mode::read_write});
    }
    SUBCASE("while a replica is frozen and another not yet: both go on") {
        w.replicas["r2:1"].follows = false;
        w.inserted = w.flushed = 2000;
        w.begin();
        w.pass(seconds(1));
        REQUIRE(w.paused("r1:1"));
        REQUIRE(w.state() == phase::sealing);
        w.finish();
        w.pass(milliseconds(200));
        CHECK(w.state() == phase::read_write);
        CHECK_FALSE(w.paused("r1:1"));
        CHECK(w.disk.replicas.empty());
    }
    SUBCASE("a paused replica that cannot be reached is owed its resume, also over a crash") {
        w.replicas["r2:1"].follows = false;
        w.inserted = w.flushed = 2000;
        w.begin();
        w.pass(seconds(1));
        w.replicas["r1:1"].up = false;
        w.finish();
        w.pass(seconds(6));
        CHECK(w.state() == phase::read_write);
        CHECK(w.disk.replicas.size() == 1);
        w.crash();
        w.pass(seconds(2));
        CHECK(w.state() == phase::read_write);
        w.replicas["r1:1"].up = true;
        w.pass(seconds(2));
        CHECK_FALSE(w.paused("r1:1"));
        CHECK(w.disk.replicas.empty());
    }
}

TEST_CASE("a disk that cannot be written") {
    world w;
    SUBCASE("refuses the entering, and nothing has changed") {
        w.disk_works = false;
        w.begin();
        CHECK(w.state() == phase::read_write);
        CHECK(w.modes.empty());
        REQUIRE(w.machine->error());
        CHECK(w.machine->error()->text.find("No space left") != std::string::npos);
    }
    SUBCASE("leaves it closed at the end") {
        w.begin();
        w.pass(seconds(1));
        w.disk_works = false;
        w.finish();
        w.pass(seconds(5));
        CHECK(w.state() == phase::sealed);
        CHECK(w.machine->error());
        w.disk_works = true;
        w.finish();
        w.pass(seconds(1));
        CHECK(w.state() == phase::read_write);
    }
    SUBCASE("at any step: closed until it can be written, then open or sealed as ordered") {
        for (unsigned n = 1; n <= 6; ++n) {
            CAPTURE(n);
            world v;
            v.fail_persist_number = n;
            v.begin();
            v.pass(seconds(3));
            if (v.state() == phase::sealed) v.finish();
            v.pass(seconds(3));
            if (v.state() == phase::sealed) v.finish();
            v.pass(seconds(3));
            CHECK(v.state() == phase::read_write);
            CHECK(v.disk.phase == phase::read_write);
            CHECK_FALSE(v.paused("r1:1"));
        }
    }
    SUBCASE("while an entering is given up, it stays closed until it can be written") {
        w.workers[0].writers = 1;
        window_request r;
        r.drain_timeout = seconds(1);
        r.on_deadline = config::on_deadline::abort;
        w.begin(r);
        w.disk_works = false;
        w.pass(seconds(5));
        CHECK(w.seen.mode == mode::draining);
        w.disk_works = true;
        w.pass(seconds(2));
        CHECK(w.seen.mode == mode::read_write);
    }
}

TEST_CASE("a record that is in its place and could not be flushed") {
    world w;
    SUBCASE("does not close: nothing has changed, and a restart finds it so") {
        w.disk_flushes = false;
        w.begin();
        CHECK(w.state() == phase::read_write);
        CHECK(w.disk.phase == phase::read_write);
        CHECK(w.modes.empty());
        CHECK(w.machine->error());
    }
    SUBCASE("opens: a restart would, whatever was told") {
        w.begin();
        w.pass(seconds(1));
        w.disk_flushes = false;
        w.finish();
        w.pass(seconds(5));
        CHECK(w.state() == phase::read_write);
        CHECK(w.disk.phase == phase::read_write);
        CHECK(std::count(w.said.begin(), w.said.end(), "not_flushed") == 2);  // reopening, read_write
    }
    SUBCASE("seals nothing, and what was entered is opened again") {
        w.begin();
        w.disk_flushes = false;
        w.pass(seconds(5));
        CHECK(w.state() == phase::read_write);
        CHECK(w.disk.phase == phase::read_write);
        CHECK(std::count(w.modes.begin(), w.modes.end(), mode::sealed) == 0);
    }
    SUBCASE("ends no reason") {
        w.begin();
        w.pass(seconds(1));
        window_request second;
        second.as = "second";
        w.begin(second);
        w.disk_flushes = false;
        w.feed(event::finish{w.healthy(), "second"});
        CHECK(w.machine->claims(w.now).size() == 2);
        CHECK(w.disk.others.size() == 1);
    }
}

TEST_CASE("a frozen replica that is restarted") {
    world w;
    w.begin();
    w.pass(seconds(1));
    REQUIRE(w.state() == phase::sealed);
    SUBCASE("before anything was written is paused again") {
        w.restart_replica("r1:1");
        w.pass(seconds(1));
        CHECK(w.paused("r1:1"));
        CHECK(w.heard("replica_thawed"));
        CHECK_FALSE(w.heard("freeze_lost"));
        CHECK(w.seen.replicas[0].readable);
    }
    SUBCASE("after the migration wrote is not read from any more") {
        w.migrate();
        w.restart_replica("r1:1");
        w.pass(seconds(1));
        CHECK(w.heard("freeze_lost"));
        CHECK_FALSE(w.seen.replicas[0].readable);
        CHECK_FALSE(w.seen.replicas[0].held);
        CHECK(w.seen.replicas[1].readable);
        CHECK(w.seen.frozen);
        w.finish();
        w.pass(seconds(1));
        CHECK(w.state() == phase::read_write);
    }
    SUBCASE("is not read from while it is down") {
        w.replicas["r1:1"].up = false;
        w.pass(seconds(1));
        CHECK_FALSE(w.seen.replicas[0].readable);
        w.restart_replica("r1:1");
        w.pass(seconds(1));
        CHECK(w.seen.replicas[0].readable);
    }
    SUBCASE("and down at the end holds nobody up") {
        w.replicas["r1:1"].up = false;
        w.finish();
        w.pass(seconds(7));
        CHECK(w.state() == phase::read_write);
        CHECK(w.disk.replicas.size() == 1);
        w.restart_replica("r1:1");
        w.pass(seconds(2));
        CHECK(w.disk.replicas.empty());
    }
}

TEST_CASE("reopening waits for replicas, but not for ever") {
    world w;
    w.begin();
    w.pass(seconds(1));
    w.migrate();
    w.replicas["r1:1"].follows = false;
    w.finish();
    w.pass(seconds(30));
    CHECK(w.state() == phase::reopening);
    CHECK(w.machine->waiting_for().size() == 1);
    w.pass(seconds(31));
    CHECK(w.state() == phase::read_write);
    CHECK(w.heard("replica_behind"));
    CHECK(w.seen.fresh_floor > instant{});
}

TEST_CASE("the position at the end is not that of a question asked before the end") {
    world w;
    w.disk.phase = phase::sealed;
    w.disk.sealed_lsn = lsn{900};
    w.disk.sealed_at = wall_time{};
    w.disk.epoch = epoch{7};
    w.crash();
    for (std::size_t i = 0; i < 2; ++i) w.report(i);  // now the primary is being asked
    REQUIRE(w.answers.size() >= 1);
    w.migrate();
    w.finish();
    w.pass(seconds(1));
    REQUIRE(w.disk.last_window);
    CHECK(w.disk.last_window->finish_lsn == lsn{1500});
}

TEST_CASE("a crash in a window restarts closed") {
    world w;
    w.begin(because("x"));
    w.pass(seconds(1));
    REQUIRE(w.state() == phase::sealed);
    w.migrate();
    auto const before = w.disk.epoch;
    SUBCASE("the replicas are found as they were left") {
        w.crash();
        CHECK(w.state() == phase::recovering);
        CHECK(w.seen.mode == mode::sealed);
        CHECK(w.seen.epoch > before);
        w.pass(seconds(1));
        CHECK(w.state() == phase::sealed);
        CHECK(w.seen.frozen);
        CHECK(w.replicas["r1:1"].replayed == lsn{1000});
        CHECK(w.disk.sealed_lsn == lsn{1000});
        w.finish();
        w.pass(seconds(1));
        CHECK(w.state() == phase::read_write);
        CHECK(w.disk.last_window->sealed_lsn == lsn{1000});
        CHECK_FALSE(w.paused("r1:1"));
    }
    SUBCASE("leftovers of the process before are waited for") {
        w.leftovers = {"pid 77"};
        w.crash();
        w.pass(seconds(100));
        CHECK(w.state() == phase::recovering);
        CHECK(w.machine->waiting_for().front().find("pid 77") != std::string::npos);
        w.leftovers.clear();
        w.pass(seconds(1));
        CHECK(w.state() == phase::sealed);
    }
    SUBCASE("an operator need not wait for that") {
        w.leftovers = {"pid 77"};
        w.crash();
        w.pass(seconds(1));
        w.finish();
        w.pass(seconds(1));
        CHECK(w.state() == phase::read_write);
        CHECK_FALSE(w.paused("r1:1"));
    }
    SUBCASE("a replica that was restarted too has lost its freeze") {
        w.restart_replica("r1:1");
        w.crash();
        w.pass(seconds(1));
        CHECK(w.state() == phase::sealed);
        CHECK_FALSE(w.seen.replicas[0].readable);
        CHECK(w.seen.replicas[1].readable);
    }
    SUBCASE("all of them") {
        w.restart_replica("r1:1");
        w.restart_replica("r2:1");
        w.crash();
        w.pass(seconds(1));
        CHECK(w.state() == phase::sealed);
        CHECK_FALSE(w.seen.frozen);
        CHECK(w.heard("not_frozen"));
    }
    SUBCASE("while the primary is down: closed") {
        w.primary_up = false;
        w.crash();
        w.pass(seconds(200));
        CHECK(w.state() == phase::recovering);
    }
    SUBCASE("with a disk that cannot be written: closed, and it can be opened later") {
        w.disk_works = false;
        w.crash();
        w.pass(seconds(3));
        CHECK(w.seen.mode == mode::sealed);
        w.disk_works = true;
        w.pass(seconds(2));
        CHECK(w.state() == phase::sealed);
    }
}

TEST_CASE("a crash while entering goes on to sealed") {
    world w;
    w.workers[0].writers = 1;
    w.begin();
    w.pass(seconds(1));
    w.crash();
    CHECK(w.seen.mode == mode::sealed);
    w.pass(seconds(1));
    CHECK(w.state() == phase::recovering);  // the write of then may still run
    w.leftovers.clear();
    w.pass(seconds(1));
    CHECK(w.state() == phase::sealed);
    CHECK(w.seen.frozen);
}

TEST_CASE("a crash while sealing, with one replica paused too early") {
    world w;
    w.begin();
    w.pass(milliseconds(100));
    w.disk.phase = phase::sealing;
    w.disk.replicas = {{"r1:1", {}}, {"r2:1", {}}};
    w.replicas["r1:1"].state = pause_state::paused;
    w.replicas["r1:1"].replayed = lsn{900};
    w.crash();
    w.pass(seconds(2));
    CHECK(w.state() == phase::sealed);
    CHECK(w.paused("r1:1"));
    CHECK(w.replicas["r1:1"].replayed == lsn{1000});
}

TEST_CASE("a crash while reopening goes on with it") {
    world w;
    w.begin();
    w.pass(seconds(1));
    w.migrate();
    w.replicas["r1:1"].follows = false;
    w.finish();
    w.pass(seconds(1));
    REQUIRE(w.state() == phase::reopening);
    w.crash();
    CHECK(w.seen.mode == mode::reopening);
    w.pass(seconds(1));
    CHECK(w.state() == phase::reopening);
    w.replicas["r1:1"].follows = true;
    w.pass(seconds(1));
    CHECK(w.state() == phase::read_write);
    CHECK(w.disk.last_window->finish_lsn == lsn{1500});
}

TEST_CASE("a lost record is closed; replicas found paused are taken for ours") {
    world w;
    w.disk.phase = phase::sealed;
    w.disk.request.reason = "the state is lost";
    w.replicas["r1:1"].state = pause_state::paused;
    w.replicas["r1:1"].replayed = lsn{900};
    w.crash(true);
    w.pass(seconds(1));
    CHECK(w.state() == phase::sealed);
    CHECK(w.seen.replicas[0].held);
    CHECK_FALSE(w.seen.replicas[1].held);
    CHECK(w.seen.epoch > epoch{1'700'000'000});  // greater than any that was given out before
    w.finish();
    w.pass(seconds(1));
    CHECK(w.state() == phase::read_write);
    CHECK_FALSE(w.paused("r1:1"));
}

TEST_CASE("begin and finish are idempotent") {
    world w;
    w.finish();
    CHECK(w.modes.empty());
    w.begin();
    w.begin();
    w.pass(seconds(1));
    auto const e = w.seen.epoch;
    w.begin();
    CHECK(w.seen.epoch == e);
    CHECK(w.state() == phase::sealed);
    w.finish();
    w.finish();
    w.pass(seconds(1));
    w.finish();
    CHECK(w.state() == phase::read_write);
}
