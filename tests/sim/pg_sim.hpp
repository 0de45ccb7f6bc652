// One run of the simulation of sessions; see pg_sim_test.cpp.
#pragma once

#include "tests/sim/sim_worker.hpp"

namespace lull::sim {

class simulation {
  public:
    using options = sim_worker::options;
    simulation(std::uint64_t seed, options how);
    /// The first violation, or nothing.
    std::string run();

  private:
    void step();
    void flip();
    void finish();

    dice dice_;
    options how_;
    ledger book_;
    std::vector<std::string> violations_;
    int names_ = 0;
    sim_journal journal_;
    sim_worker worker_;
    std::size_t clients_to_come_ = 0;
    routing::mode mode_ = routing::mode::read_write;  // what the sessions should know
};

/// The same client bytes to a model server directly and through a session: the answers must be the same.
std::string compare_with_direct(std::uint64_t seed, bool verbose);

}  // namespace lull::sim
