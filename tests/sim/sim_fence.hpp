// What a fence changes on the primary of the house, and the sessions past Lull that it is for: each has the default that
// was in force when it began, and writes now and then where that is not read-only.
#pragma once

#include "routing/maintenance_events.hpp"
#include "tests/sim/pg_scenario.hpp"

#include <string>
#include <vector>

namespace lull::sim {

class sim_fence {
  public:
    /// As the keeper of the fence does it on a server that can be reached. `calm`: every session ends when it is told to.
    routing::maintenance_event carry_out(routing::effect::ask_fence const& order, dice& dice, bool calm);
    /// Somebody past Lull comes, begins to write, commits or leaves. True: something was committed.
    bool outsider(dice& dice);
    /// default_transaction_read_only of the database.
    bool stands() const { return stands_; }

  private:
    struct session {
        int number = 0;
        bool read_only = false;
        bool writes = false;
    };
    void end(bool read_only_ones, routing::event::fence_seen& seen, dice& dice, bool calm);

    bool stands_ = false;
    int numbers_ = 0;
    std::vector<session> sessions_;
    std::vector<int> to_end_;  // those that were there when it was lowered
};

}  // namespace lull::sim
