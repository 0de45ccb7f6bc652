// Which statements are worth a line in the log: slow ones, and one of so many. A worker's sessions fill it,
// its service empties it each tick and hands the lines to the control thread. Bounded: over the budget of a
// second, statements are only counted.
#pragma once

#include "routing/operation.hpp"
#include "routing/snapshot.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lull {

struct finished_query {
    bool slow = false;  // otherwise sampled
    std::chrono::microseconds took{};
    std::chrono::microseconds waited{};  // for a server, before that
    std::string user;
    std::string database;
    std::uint64_t client = 0;
    std::uint32_t server_pid = 0;  // 0: answered by Lull
    std::optional<routing::backend_id> backend;
    std::optional<routing::access> said;  // by the classifier
    std::string statement;  // its first 200 bytes, as the client sent it: not for a log as it is
};

struct statement_watch {
    std::chrono::nanoseconds slow_from = std::chrono::nanoseconds::max();
    std::size_t one_in = 0;  // 0: no samples
    std::size_t until_sample = 0;
    std::size_t budget = 0;  // lines left in this second
    std::size_t dropped = 0;
    std::vector<finished_query> found;

    /// Whether this query is to be kept, and why. Counts it.
    bool takes(std::chrono::nanoseconds took, bool& slow) {
        slow = took >= slow_from;
        bool sampled = false;
        if (one_in > 0 && ++until_sample >= one_in) {
            until_sample = 0;
            sampled = true;
        }
        if (!slow && !sampled) return false;
        if (budget == 0) {
            ++dropped;
            return false;
        }
        --budget;
        return true;
    }
};

}  // namespace lull
