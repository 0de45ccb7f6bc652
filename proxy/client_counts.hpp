// How many clients each user, database and address has, all workers together. Any thread.
#pragma once

#include "config/model.hpp"
#include "proxy/stats.hpp"

#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace lull {

struct client_origin {
    std::string user;
    std::string database;
    std::string address;  // empty: a Unix socket, which has no limit of its own
};

class client_counts {
  public:
    /// Which limit is reached: in PostgreSQL's words, and the key that says it.
    struct full {
        turned_away_by limit;
        std::string message;
        std::string key;
    };
    /// Counts one more, or says why not.
    std::optional<full> enter(client_origin const& who, config::config const& all);
    /// Once for each enter() that counted.
    void leave(client_origin const& who);

  private:
    using counts = std::unordered_map<std::string, std::size_t>;
    std::mutex mutex_;
    counts users_, databases_, addresses_;
};

}  // namespace lull
