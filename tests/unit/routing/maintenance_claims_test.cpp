#include "tests/unit/routing/maintenance_world.hpp"

using namespace world_test;
using std::chrono::seconds;

namespace {

window_request claim_named(char const* as, milliseconds lease = milliseconds(0),
                           lease_end end = lease_end::stay) {
    window_request r;
    r.as = as;
    r.owner = std::string("who ") + as;
    r.lease = lease;
    r.on_lease_end = end;
    return r;
}

world sealed_world(window_request const& r) {
    world w;
    w.begin(r);
    w.pass(seconds(1));
    REQUIRE(w.state() == phase::sealed);
    return w;
}

std::vector<std::string> reasons(world const& w) {
    std::vector<std::string> out;
    for (auto const& c : w.machine->claims(w.now)) out.push_back(c.claim.as);
    return out;
}

}  // namespace

TEST_CASE("a site is open when no reason is left") {
    world w = sealed_world(claim_named("operator"));
    auto const sealed = w.disk;
    w.begin(claim_named("schedule"));
    w.begin(claim_named("schedule"));
    CHECK(reasons(w) == std::vector<std::string>{"operator", "schedule"});
    CHECK(w.disk.others.size() == 1);
    CHECK(w.disk.epoch == sealed.epoch);

    SUBCASE("the foremost goes first") {
        w.finish("operator");
        w.pass(seconds(1));
        CHECK(w.state() == phase::sealed);
        CHECK(reasons(w) == std::vector<std::string>{"schedule"});
        CHECK(w.disk.request.owner == "who schedule");
        CHECK(w.disk.sealed_lsn == sealed.sealed_lsn);
        w.finish("operator");  // is none any more
        w.pass(seconds(1));
        CHECK(w.state() == phase::sealed);
        w.finish("schedule");
        w.pass(seconds(2));
        CHECK(w.state() == phase::read_write);
        CHECK(reasons(w).empty());
    }
    SUBCASE("over a crash") {
        w.crash();
        w.finish("schedule");
        w.pass(seconds(1));
        CHECK(w.state() == phase::sealed);
        CHECK(reasons(w) == std::vector<std::string>{"operator"});
    }
    SUBCASE("all at once") {
        w.finish();
        w.pass(seconds(2));
        CHECK(w.state() == phase::read_write);
    }
    SUBCASE("what cannot be recorded is no reason, and none is cleared") {
        w.disk_works = false;
        w.begin(claim_named("third"));
        CHECK(w.machine->error()->text.find("state file") != std::string::npos);
        w.finish("operator");
        CHECK(reasons(w) == std::vector<std::string>{"operator", "schedule"});
    }
    SUBCASE("there is an end to them") {
        for (int i = 0; i < 100; ++i) w.begin(claim_named(("r" + std::to_string(i)).c_str()));
        CHECK(reasons(w).size() == 16);
        CHECK(w.machine->error()->fix.find("--as") != std::string::npos);
    }
}

TEST_CASE("clearing one of two reasons while the site is being entered does not cancel it") {
    world w;
    w.workers[0].writers = 1;
    w.begin(claim_named("operator"));
    w.begin(claim_named("schedule"));
    w.finish("operator");
    CHECK(w.state() == phase::draining);
    w.workers[0].writers = 0;
    w.pass(seconds(1));
    CHECK(w.state() == phase::sealed);
}

TEST_CASE("the expected end is that of the last reason, and unknown where one does not say") {
    auto a = claim_named("a"), b = claim_named("b");
    a.until = wall_time{} + seconds(1'700'000'100) + std::chrono::hours(1);
    world w = sealed_world(a);
    CHECK(expected_end(w.disk) == a.until);
    b.until = *a.until + seconds(5);
    w.begin(b);
    CHECK(expected_end(w.disk) == b.until);
    w.begin(claim_named("c"));
    CHECK_FALSE(expected_end(w.disk));
}

TEST_CASE("a lease that is renewed goes on") {
    world w = sealed_world(claim_named("upgrade", seconds(5)));
    for (int i = 0; i < 10; ++i) {
        w.pass(seconds(3));
        w.feed(event::renew{"upgrade"});
    }
    CHECK_FALSE(w.heard("lease_ended"));
    CHECK_FALSE(w.machine->claims(w.now).front().lapsed);
}

TEST_CASE("a lease that nobody renews") {
    SUBCASE("stays closed, and shouts again and again") {
        world w = sealed_world(claim_named("upgrade", seconds(5)));
        w.pass(seconds(6));
        CHECK(w.heard("lease_ended"));
        CHECK(w.machine->claims(w.now).front().lapsed);
        CHECK(w.told.back() == effect::turn::overdue);
        w.pass(seconds(70));
        CHECK(std::count(w.said.begin(), w.said.end(), "lease_ended") == 2);
        CHECK(w.state() == phase::sealed);
        w.feed(event::renew{"upgrade"});
        CHECK_FALSE(w.machine->claims(w.now).front().lapsed);
        CHECK(w.heard("lease_renewed"));
    }
    SUBCASE("reopens, where that was chosen") {
        world w = sealed_world(claim_named("upgrade", seconds(5), lease_end::reopen));
        w.pass(seconds(8));
        CHECK(w.state() == phase::read_write);
        CHECK(w.told.back() == effect::turn::opened);
    }
    SUBCASE("clears its own reason only") {
        world w = sealed_world(claim_named("operator"));
        w.begin(claim_named("upgrade", seconds(5), lease_end::reopen));
        w.pass(seconds(8));
        CHECK(w.state() == phase::sealed);
        CHECK(reasons(w) == std::vector<std::string>{"operator"});
    }
    SUBCASE("cancels an entering, where that was chosen") {
        world w;
        w.workers[0].writers = 1;
        w.begin(claim_named("upgrade", seconds(5), lease_end::reopen));
        w.pass(seconds(8));
        CHECK(w.state() == phase::read_write);
    }
    SUBCASE("begins anew after a crash") {
        world w = sealed_world(claim_named("upgrade", seconds(5), lease_end::reopen));
        w.pass(seconds(3));
        w.crash();
        w.pass(seconds(3));
        CHECK(w.state() == phase::sealed);
        w.pass(seconds(4));
        CHECK(w.state() == phase::read_write);
    }
}

TEST_CASE("who holds a reason") {
    world w = sealed_world(claim_named("upgrade", seconds(5)));
    auto other = claim_named("upgrade", seconds(50));
    other.owner = "another";
    w.begin(other);
    CHECK(w.disk.request.owner == "who upgrade");  // is alive
    w.pass(seconds(6));
    w.begin(other);
    CHECK(w.disk.request.owner == "another");
    CHECK_FALSE(w.machine->claims(w.now).front().lapsed);
    SUBCASE("may give up the lease") {
        other.lease = milliseconds(0);
        w.begin(other);
        CHECK_FALSE(w.machine->claims(w.now).front().lease_left);
        w.pass(seconds(100));
        CHECK(std::count(w.said.begin(), w.said.end(), "lease_ended") == 1);
    }
}

TEST_CASE("an overdue window is told of each minute until it ends") {
    auto r = claim_named("operator");
    world w;
    r.until = w.at().wall + seconds(10);
    w.begin(r);
    w.pass(seconds(9));
    CHECK_FALSE(w.heard("overdue"));
    CHECK_FALSE(w.machine->overdue(w.at().wall));
    w.pass(seconds(122));
    CHECK(std::count(w.said.begin(), w.said.end(), "overdue") == 3);
    CHECK(w.machine->overdue(w.at().wall));
    w.finish();
    w.pass(seconds(100));
    CHECK(std::count(w.said.begin(), w.said.end(), "overdue") == 3);
}

TEST_CASE("turns are told in their order") {
    world w = sealed_world(claim_named("operator"));
    w.finish();
    w.pass(seconds(2));
    CHECK(w.told ==
          std::vector<effect::turn>{effect::turn::entering, effect::turn::sealed, effect::turn::opened});
}
