#include "tests/unit/routing/maintenance_world.hpp"

using namespace world_test;
using std::chrono::seconds;

namespace {

world fenced_world(config::fence_policy policy = config::fence_policy::required) {
    world w;
    w.fence_policy = policy;
    w.fence.own = {"", "reports"};
    w.fence.settings = {{"reports", "off"}};
    w.fence.outsiders = 3;
    w.pass(seconds(1));
    return w;
}

bool untouched(world const& w) {
    return w.fence.settings == std::map<std::string, std::string>{{"reports", "off"}};
}

}  // namespace

TEST_CASE("the fence is up before sealed is said and gone before writes open") {
    auto w = fenced_world();
    w.begin();
    w.pass(seconds(2));
    CHECK(w.state() == phase::sealed);
    CHECK(w.machine->fence() == fence_state::up);
    CHECK(w.disk.fence.size() == 2);
    CHECK(w.heard("fenced"));
    CHECK(w.machine->fence_ended() == std::vector<std::string>{"pid 71", "pid 72", "pid 73"});
    w.migrate();
    w.finish();
    w.pass(seconds(2));
    CHECK(w.state() == phase::read_write);
    CHECK(untouched(w));
    CHECK(w.disk.fence.empty());
    CHECK(w.machine->fence() == fence_state::none);
}

TEST_CASE("without a control role a fence is put up all the same") {
    auto w = fenced_world();
    w.provable = false;
    w.begin({.freeze = false});
    w.pass(seconds(2));
    CHECK(w.state() == phase::sealed);
    CHECK(w.fence.settings[""] == "on");
    w.finish();
    w.pass(seconds(2));
    CHECK(untouched(w));
}

TEST_CASE("a fence that may not be put up: nothing is sealed, or it is without, as was chosen") {
    auto w = fenced_world();
    w.fence.rights = false;
    SUBCASE("required") {
        w.begin();
        w.pass(seconds(2));
        CHECK(w.state() == phase::read_write);
        REQUIRE(w.machine->error());
        CHECK(w.machine->error()->text.find("permission denied") != std::string::npos);
        CHECK(w.machine->error()->fix.find("fence-role.sql") != std::string::npos);
    }
    SUBCASE("wanted") {
        w.fence_policy = config::fence_policy::wanted;
        w.begin();
        w.pass(seconds(2));
        CHECK(w.state() == phase::sealed);
        CHECK(w.machine->fence() == fence_state::missing);
        CHECK(w.heard("not_fenced"));
        w.finish();
        w.pass(seconds(2));
        CHECK(w.state() == phase::read_write);
    }
    CHECK(untouched(w));
}

TEST_CASE("a session that does not end keeps the fence from standing until the seal timeout") {
    auto w = fenced_world();
    w.fence.stubborn = true;
    w.begin();
    w.pass(seconds(30));
    CHECK(w.state() == phase::sealing);
    CHECK(w.machine->waiting_for().front().find("pid 77") != std::string::npos);
    SUBCASE("it ends") {
        w.fence.stubborn = false;
        w.pass(seconds(2));
        CHECK(w.state() == phase::sealed);
    }
    SUBCASE("it does not") {
        w.pass(seconds(40));
        CHECK(w.state() == phase::read_write);
        CHECK(w.machine->error()->text.find("pid 77") != std::string::npos);
        CHECK(untouched(w));
    }
}

TEST_CASE("what is committed until outsiders have ended is below the sealed LSN") {
    auto w = fenced_world();
    w.fence.stubborn = true;
    w.begin();
    w.pass(seconds(3));
    w.inserted += 900;
    w.flushed = w.inserted;
    w.fence.stubborn = false;
    w.pass(seconds(3));
    REQUIRE(w.state() == phase::sealed);
    CHECK(*w.disk.sealed_lsn >= lsn{w.inserted});
}

TEST_CASE("entering that comes to nothing takes the fence away") {
    auto w = fenced_world();
    for (auto& [address, r] : w.replicas) r.rights = false;  // nothing can be frozen
    w.begin();
    w.pass(seconds(10));
    CHECK(w.state() == phase::read_write);
    CHECK(w.heard("fenced"));
    CHECK(untouched(w));
}

TEST_CASE("killed at any moment: the fence is up while sealed, and in the end everything is as before") {
    for (unsigned at = 1; at < 40; ++at) {
        CAPTURE(at);
        auto w = fenced_world();
        w.begin();
        for (unsigned i = 0; i < at; ++i) {
            w.pass(milliseconds(50));
            if (i == 15) w.finish();
        }
        if (at % 3 == 0) {  // orders under way are carried out, and nobody hears of it
            w.feed(event::tick{});
        }
        w.crash();
        w.leftovers.clear();
        w.pass(seconds(3));
        if (w.state() == phase::sealed) {
            CHECK(w.fence.settings[""] == "on");
            w.finish();
            w.pass(seconds(3));
        }
        CHECK(w.state() == phase::read_write);
        CHECK(untouched(w));
        CHECK(w.disk.fence.empty());
    }
}

TEST_CASE(
    "killed between the end of the fence and its record: whoever came in meanwhile is not left behind it") {
    auto w = fenced_world();
    w.begin();
    w.pass(seconds(2));
    REQUIRE(w.state() == phase::sealed);
    w.finish();
    while (!untouched(w)) w.pass(milliseconds(50));
    REQUIRE_FALSE(w.disk.fence.empty());
    w.fence.inside = 2;  // the keeper of that process would have ended them next
    w.crash();
    w.pass(seconds(3));
    CHECK(w.state() == phase::read_write);
    CHECK(w.fence.inside == 0);
    CHECK(w.disk.fence.empty());
}

TEST_CASE("nobody is ended for a fence that never was") {
    auto w = fenced_world();
    w.fence.rights = false;
    w.begin();
    w.pass(milliseconds(200));
    w.fence.inside = 1;
    w.fence.rights = true;
    w.pass(seconds(2));
    CHECK(w.state() == phase::read_write);
    CHECK(w.fence.inside == 1);
}

TEST_CASE("connections from while the fence went up are not used after an entering that came to nothing") {
    auto w = fenced_world();
    w.fence.stubborn = true;
    w.begin();
    auto const before = w.machine->view().generation;
    w.pass(seconds(3));
    REQUIRE(w.machine->fence() == fence_state::raising);
    w.finish();
    w.pass(seconds(3));
    CHECK(w.state() == phase::read_write);
    CHECK(untouched(w));
    CHECK(w.machine->view().generation > before);
}

TEST_CASE("restarted where the fence cannot be put up: closed, and it says why") {
    auto w = fenced_world();
    w.begin();
    w.pass(seconds(2));
    REQUIRE(w.state() == phase::sealed);
    w.fence.rights = false;
    w.crash();
    w.leftovers.clear();
    w.pass(seconds(90));
    CHECK(w.state() == phase::recovering);
    CHECK(w.machine->view().mode == mode::sealed);
    REQUIRE(w.machine->error());
    CHECK(w.machine->error()->text.find("permission denied") != std::string::npos);
    w.fence.rights = true;
    w.pass(seconds(3));
    CHECK(w.state() == phase::sealed);
    CHECK(w.machine->fence() == fence_state::up);
}

TEST_CASE("a fence that cannot be taken away does not keep the site closed, and is not forgotten") {
    auto w = fenced_world();
    w.begin();
    w.pass(seconds(2));
    REQUIRE(w.state() == phase::sealed);
    w.fence.rights = false;
    w.finish();
    w.pass(seconds(10));
    CHECK(w.state() == phase::read_write);
    CHECK(w.machine->fence() == fence_state::owed);
    CHECK(w.disk.fence.size() == 2);
    REQUIRE(w.machine->error());
    CHECK(w.machine->error()->fix.find("ALTER DATABASE \"shop\" RESET") != std::string::npos);
    SUBCASE("until it can be") {}
    SUBCASE("also after a crash") {
        w.crash();
        w.pass(seconds(2));
        CHECK(w.machine->fence() == fence_state::owed);
    }
    SUBCASE("and the next window knows how it was before the first") {
        w.fence.rights = true;
        w.begin();
        w.pass(seconds(2));
        CHECK(w.state() == phase::sealed);
        w.finish();
    }
    w.fence.rights = true;
    w.pass(seconds(3));
    CHECK(untouched(w));
    CHECK(w.disk.fence.empty());
    CHECK(w.machine->fence() == fence_state::none);
    CHECK_FALSE(w.machine->error());
}

TEST_CASE("a fence that somebody takes away is put up again, and a role that gets a setting is fenced too") {
    auto w = fenced_world();
    w.begin();
    w.pass(seconds(2));
    w.fence.settings.erase("");
    w.fence.own.push_back("new one");
    w.fence.settings["new one"] = "off";
    w.pass(seconds(3));
    CHECK(w.fence.settings[""] == "on");
    CHECK(w.fence.settings["new one"] == "on");
    CHECK(w.heard("fence_mended"));
    w.finish();
    w.pass(seconds(2));
    CHECK(w.fence.settings == std::map<std::string, std::string>{{"reports", "off"}, {"new one", "off"}});
}

TEST_CASE("where the record is lost what is on is taken for ours") {
    auto w = fenced_world();
    w.begin();
    w.pass(seconds(2));
    w.disk = {.phase = phase::sealed};
    w.crash(true);
    w.pass(seconds(3));
    w.finish();
    w.pass(seconds(12));
    CHECK(w.state() == phase::read_write);
    CHECK_FALSE(w.fence.settings.contains(""));
}

TEST_CASE("prepared transactions are reported, waited for, or in the way") {
    world w;
    w.prepared = {"prepared transaction x of app in shop"};
    SUBCASE("reported") {
        w.begin();
        w.pass(seconds(2));
        CHECK(w.state() == phase::sealed);
        CHECK(w.machine->prepared() == w.prepared);
    }
    SUBCASE("waited for") {
        w.prepared_policy = config::prepared_policy::wait;
        w.begin();
        w.pass(seconds(5));
        CHECK(w.state() == phase::draining);
        CHECK(w.machine->waiting_for() == w.prepared);
        w.prepared.clear();
        w.pass(seconds(2));
        CHECK(w.state() == phase::sealed);
        CHECK(w.disk.waited_for.size() == 1);
    }
    SUBCASE("waited for until the deadline") {
        w.prepared_policy = config::prepared_policy::wait;
        w.begin({.drain_timeout = seconds(2), .on_deadline = config::on_deadline::abort});
        w.pass(seconds(5));
        CHECK(w.state() == phase::read_write);
        CHECK(w.machine->error()->text.find("prepared transaction x") != std::string::npos);
    }
    SUBCASE("waited for until a deadline at which others would be ended") {
        w.prepared_policy = config::prepared_policy::wait;
        w.begin({.drain_timeout = seconds(2), .on_deadline = config::on_deadline::terminate});
        w.pass(seconds(5));
        CHECK(w.state() == phase::read_write);
        CHECK(w.machine->error()->fix.find("ROLLBACK PREPARED") != std::string::npos);
    }
    SUBCASE("in the way") {
        w.prepared_policy = config::prepared_policy::refuse;
        w.begin();
        w.pass(seconds(2));
        CHECK(w.state() == phase::read_write);
        REQUIRE(w.machine->error());
        CHECK(w.machine->error()->text.find("prepared transaction x") != std::string::npos);
        CHECK(w.machine->error()->fix.find("ROLLBACK PREPARED") != std::string::npos);
    }
}
