// Seeded simulation of sessions, pools and servers in virtual time (no threads, no sockets, no clock):
// clients that send in pieces, pipeline, leave and cancel; servers that answer late and break; a site that
// flips. After every event the watch of each session judges its streams, and the ledger of the model servers
// says what was done. The seed is printed; `sim_pg SECONDS SEED` plays it again.
#include "tests/sim/pg_sim.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

using namespace lull::sim;

namespace {

int report(char const* what, std::uint64_t seed, std::string const& violation) {
    std::printf("%s: seed %llu: %s\n", what, static_cast<unsigned long long>(seed), violation.c_str());
    return 1;
}

/// A simulation that cannot fail proves nothing: with the guard broken on purpose it has to.
bool is_caught(sabotage how, char const* name) {
    for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
        simulation s(seed, {.broken = how});
        if (auto const violation = s.run(); !violation.empty()) {
            std::printf("broken on purpose (%s), caught with seed %llu: %s\n", name,
                        static_cast<unsigned long long>(seed), violation.c_str());
            return true;
        }
    }
    std::printf("broken on purpose (%s), and nobody noticed\n", name);
    return false;
}

}  // namespace

int main(int argc, char** argv) {
    double const seconds = argc > 1 ? std::atof(argv[1]) : 5;
    auto const now = [] { return std::chrono::steady_clock::now(); };
    auto const end = now() + std::chrono::duration<double>(seconds);
    bool const one = argc > 2;
    std::uint64_t const first =
        one ? std::strtoull(argv[2], nullptr, 10)
            : static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
    if (!one) std::printf("first seed %llu\n", static_cast<unsigned long long>(first));
    std::uint64_t runs = 0;
    for (std::uint64_t seed = first; runs == 0 || now() < end; ++seed, ++runs) {
        if (auto const difference = compare_with_direct(seed, one); !difference.empty())
            return report("different from a direct session", seed, difference);
        simulation calm(seed, {.faults = false, .verbose = one});
        if (auto const violation = calm.run(); !violation.empty())
            return report("without faults", seed, violation);
        simulation wild(seed, {.verbose = one});
        if (auto const violation = wild.run(); !violation.empty())
            return report("with faults", seed, violation);
        if (one) break;
    }
    std::printf("%llu runs\n", static_cast<unsigned long long>(runs));
    if (one) return 0;
    return is_caught(sabotage::commit_for_rollback, "COMMIT sent for our ROLLBACK") &&
                   is_caught(sabotage::stale_snapshot, "a worker that does not hear of the flip")
               ? 0
               : 1;
}
