// How many clients each user, database and address has, all workers together. Any thread.
#pragma once

#include "config/model.hpp"
#include "proxy/stats.hpp"

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>

namespace lull {

/// For the time of a call.
struct client_origin {
    std::string const& user;
    std::string const& database;
    std::string_view address;  // empty: a Unix socket, which has no limit of its own
};

class client_counts {
    struct by_text {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
    };
    using counts = std::unordered_map<std::string, std::size_t, by_text, std::equal_to<>>;

  public:
    /// Where a client is counted, so that it is not looked up again when it leaves.
    class place {
      public:
        explicit operator bool() const { return user_ != nullptr; }

      private:
        friend client_counts;
        std::size_t* user_ = nullptr;
        std::size_t* database_ = nullptr;
        std::size_t* address_ = nullptr;
    };
    /// Which limit is reached: in PostgreSQL's words, and the key that says it.
    struct full {
        turned_away_by limit;
        std::string message;
        std::string key;
    };
    /// Counts one more, or says why not.
    std::variant<place, full> enter(client_origin const& who, config::config const& all);
    /// `from` is empty then.
    void leave(place& from);
    /// What has an entry, for tests.
    std::size_t known() const;

  private:
    std::size_t& find(counts& in, std::string_view key);
    void take(std::size_t* count);
    void give_back(std::size_t* count);
    void forget_unused();

    mutable std::mutex mutex_;
    counts users_, databases_, addresses_;
    std::size_t unused_ = 0;  // of them stand at 0: whoever has been here comes again, as a rule
};

}  // namespace lull
