#include "tests/unit/routing/maintenance_world.hpp"

#include <random>

using namespace world_test;
using std::chrono::seconds;

// Anything may happen at any time. What must hold is checked inside the world after each effect; here only
// that in the end, once faults stop, the site can be opened and nothing stands still.
TEST_CASE("a walk through everything that may go wrong") {
    for (unsigned seed = 1; seed <= 400; ++seed) {
        CAPTURE(seed);
        std::mt19937 dice(seed);
        auto const one_in = [&](unsigned n) { return dice() % n == 0; };
        char const* const names[] = {"operator", "schedule", "upgrade"};
        world w;
        w.fence_policy = static_cast<config::fence_policy>(dice() % 4);
        if (w.fence_policy == config::fence_policy::automatic) w.fence_policy = config::fence_policy::off;
        w.nobody_mends = true;
        w.pass(milliseconds(100));
        for (int turn = 0; turn < 300; ++turn) {
            auto& replica = std::next(w.replicas.begin(), dice() % 2)->second;
            auto& worker = w.workers[dice() % 2];
            switch (dice() % 34) {
                case 0: {
                    window_request r;
                    r.drain_timeout = seconds(dice() % 5);
                    r.on_deadline = static_cast<config::on_deadline>(dice() % 4);
                    r.freeze = !one_in(4);
                    r.as = names[dice() % 3];
                    if (one_in(2)) r.lease = seconds(1 + dice() % 5);
                    if (one_in(3)) r.on_lease_end = lease_end::reopen;
                    if (one_in(3)) r.until = w.at().wall + seconds(dice() % 5);
                    w.begin(r);
                    break;
                }
                case 20:
                    w.finish(names[dice() % 3]);
                    break;
                case 21:
                    w.feed(event::renew{names[dice() % 3]});
                    break;
                case 1:
                    w.finish();
                    break;
                case 2:
                    // A worker admits no new write once it has seen that the site is closed.
                    if (worker.seen == mode::read_write) ++worker.writers;
                    break;
                case 3:
                case 4:
                    worker.writers = 0;
                    break;
                case 5:
                    worker.silent = one_in(2);
                    break;
                case 6:
                    replica.up = !one_in(3);
                    break;
                case 7:
                    replica.rights = !one_in(3);
                    break;
                case 8:
                    replica.follows = !one_in(3);
                    break;
                case 9:
                    replica.stuck = one_in(3);
                    break;
                case 10:
                    w.primary_up = !one_in(3);
                    break;
                case 11:
                    w.disk_works = !one_in(3);
                    break;
                case 12:
                    if (replica.up) w.restart_replica(&replica == &w.replicas["r1:1"] ? "r1:1" : "r2:1");
                    break;
                case 13:
                    w.inserted += 10;
                    break;
                case 14:
                    w.migrate(10);
                    break;
                case 15:
                    if (one_in(3)) w.crash();
                    break;
                case 16:
                    w.leftovers.clear();
                    break;
                case 17:
                    w.break_writer(dice() % 2);
                    break;
                case 18:
                    w.running.clear();
                    break;
                case 22:
                    w.fence.up = !one_in(3);
                    break;
                case 23:
                    w.fence.rights = !one_in(5);
                    break;
                case 24:
                    w.fence.stubborn = one_in(3);
                    break;
                case 25:
                case 26:
                    // Who comes while it stands cannot write.
                    ++(w.fence.settings[""] == "on" ? w.fence.inside : w.fence.outsiders);
                    if (w.fence.settings[""].empty()) w.fence.settings.erase("");
                    break;
                case 19:
                    w.deliver();
                    break;
                default:
                    w.pass(milliseconds(50 + dice() % 500));
                    break;
            }
        }
        for (auto& [address, r] : w.replicas) {
            r.up = r.rights = r.follows = true;
            r.stuck = false;
        }
        for (auto& each : w.workers) {
            each.silent = false;
            each.writers = 0;
        }
        w.primary_up = w.disk_works = w.fence.up = w.fence.rights = true;
        w.fence.stubborn = false;
        w.leftovers.clear();
        w.running.clear();
        w.pass(seconds(3));
        w.finish();
        w.pass(seconds(5));
        CHECK(w.state() == phase::read_write);
        w.pass(seconds(3));
        for (auto const& [address, r] : w.replicas) CHECK(r.state == pause_state::not_paused);
        CHECK(w.disk.replicas.empty());
        CHECK(w.fence.settings.empty());
        CHECK(w.disk.fence.empty());
        CHECK(w.fence.inside == 0);
    }
}
