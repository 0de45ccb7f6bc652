// Seeded simulations in virtual time (no threads, no sockets, no clock).
//   sessions: clients that send in pieces, pipeline, leave and cancel; servers that answer late and break; a
//   site that flips.
//     After every event the watch of each session judges its streams, and the ledger of the model servers
//     says what was done.
//   house: the same with two workers, the maintenance machine, the state file, a standby, an operator, and
//   kill -9.
//
//   sim_pg [SECONDS [FIRST_SEED]]   seeds one after the other for so long; the first is printed
//   sim_pg seed SEED                that one alone, told step by step
//   sim_broken breaks [POINT]       each break point must be noticed
#include "tests/sim/pg_sim.hpp"

#include "routing/break_points.hpp"
#include "tests/sim/house.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace lull::sim;

namespace {

/// The first violation of any simulation with this seed, or nothing.
std::string play(std::uint64_t seed, bool verbose) {
    auto const named = [](char const* what, std::string const& violation) {
        return violation.empty() ? violation : std::string(what) + ": " + violation;
    };
    std::string found = named("different from a direct session", compare_with_direct(seed, verbose));
    if (found.empty()) {
        simulation calm(seed, {.faults = false, .verbose = verbose});
        found = named("sessions without faults", calm.run());
    }
    if (found.empty()) {
        simulation wild(seed, {.verbose = verbose});
        found = named("sessions with faults", wild.run());
    }
    if (found.empty()) {
        house whole(seed, {.verbose = verbose, .guards_alone = seed % 5 == 0});
        found = named("house", whole.run());
    }
    return found;
}

/// A simulation that cannot fail proves nothing: with the guard broken on purpose it has to.
template <class Run>
bool is_caught(char const* name, std::string_view as, Run run) {
    for (std::uint64_t seed = 1; seed <= 5000; ++seed)
        if (auto const violation = run(seed); violation.find(as) != std::string::npos) {
            std::printf("broken on purpose (%s), caught with seed %llu: %s\n", name,
                        static_cast<unsigned long long>(seed), violation.c_str());
            return true;
        }
    std::printf("broken on purpose (%s), and nobody noticed\n", name);
    return false;
}

constexpr std::string_view sealed = "committed while sealed";

bool sabotage_is_caught() {
    auto const with = [](sabotage how) {
        return [how](std::uint64_t seed) { return simulation(seed, {.broken = how, .sly = true}).run(); };
    };
    bool const a = is_caught("COMMIT sent for our ROLLBACK", sealed, with(sabotage::commit_for_rollback));
    bool const b =
        is_caught("a worker that does not hear of the flip", sealed, with(sabotage::stale_snapshot));
    return a && b;
}

#ifdef LULL_BREAK
int breaks(std::string_view only) {
    auto const in_house = [](std::uint64_t seed) { return house(seed, {}).run(); };
    auto const alone = [](std::uint64_t seed) { return house(seed, {.guards_alone = true}).run(); };
    struct {
        char const* point;
        std::string_view as;
        std::string (*run)(std::uint64_t);
    } const points[] = {{"late_seal", sealed, in_house},
                        {"deaf_worker", sealed, in_house},
                        {"commit_guard", sealed, alone},
                        {"commit_segment", sealed, alone},
                        {"crash_reopens", sealed, in_house},
                        {"sent_twice", "twice", in_house},
                        {"lost_write", "acknowledged and lost", in_house},
                        {"early_answer", "acknowledged and lost", in_house},
                        {"blind_replay", "twice", in_house},
                        {"hasty_fence", "past Lull while sealed", in_house}};
    bool all = true;
    for (auto const& [point, as, run] : points) {
        if (!only.empty() && only != point) continue;
        lull::broken_points() = "," + std::string(point) + ",";
        all = is_caught(point, as, run) && all;
    }
    return all ? 0 : 1;
}
#endif

}  // namespace

int main(int argc, char** argv) {
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    char const* const seconds = std::getenv("LULL_SIM_SECONDS");
    std::string const first = argc > 1 ? argv[1] : seconds ? seconds : "5";
    if (first == "seed" && argc > 2) {
        auto const violation = play(std::strtoull(argv[2], nullptr, 10), true);
        std::printf("%s\n", violation.empty() ? "nothing is wrong" : violation.c_str());
        return violation.empty() ? 0 : 1;
    }
#ifdef LULL_BREAK
    if (first == "breaks") return breaks(argc > 2 ? argv[2] : "");
#endif
    auto const now = [] { return std::chrono::steady_clock::now(); };
    auto const end = now() + std::chrono::duration<double>(std::atof(first.c_str()));
    std::uint64_t seed =
        argc > 2   ? std::strtoull(argv[2], nullptr, 10)
        : argc > 1 ? static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count())
                   : 7110000;  // as a test: what differs on one day differs on every day
    std::printf("first seed %llu\n", static_cast<unsigned long long>(seed));
    std::uint64_t runs = 0;
    for (; runs == 0 || now() < end; ++seed, ++runs)
        if (auto const violation = play(seed, false); !violation.empty()) {
            std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), violation.c_str());
            return 1;
        }
    auto const& all = house::count();
    std::printf("%llu seeds; houses: sealed %llu times, killed %llu times, %llu commits\n",
                static_cast<unsigned long long>(runs), static_cast<unsigned long long>(all.sealed),
                static_cast<unsigned long long>(all.crashes), static_cast<unsigned long long>(all.commits));
    return sabotage_is_caught() ? 0 : 1;
}
