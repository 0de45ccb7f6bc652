// How many clients each user, database and address has, all workers together. Any thread.
#pragma once

#include "config/model.hpp"
#include "proxy/stats.hpp"

#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace lull {

/// Views, for the time of a call.
struct client_origin {
    std::string_view user;
    std::string_view database;
    std::string_view address;  // empty: a Unix socket, which has no limit of its own
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
    struct by_text {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
    };
    using counts = std::unordered_map<std::string, std::size_t, by_text, std::equal_to<>>;
    static std::size_t& place(counts& in, std::string_view key);
    std::mutex mutex_;
    counts users_, databases_, addresses_;
};

}  // namespace lull
