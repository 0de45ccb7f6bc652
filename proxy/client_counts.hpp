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
    using counts = std::unordered_map<std::string, std::size_t>;
    /// What all clients of one user, database and address have in common.
    struct seat {
        std::size_t clients = 0;
        std::size_t* user = nullptr;
        std::size_t* database = nullptr;
        std::size_t* address = nullptr;
    };

  public:
    /// Where a client is counted, so that it is not looked up again when it leaves.
    class place {
      public:
        explicit operator bool() const { return at_ != nullptr; }

      private:
        friend client_counts;
        seat* at_ = nullptr;
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
    struct key {
        std::string user, database, address;
    };
    struct by_origin {
        using is_transparent = void;
        std::size_t operator()(auto const& who) const {
            std::hash<std::string_view> const hash;
            return (hash(who.user) * 31 + hash(who.database)) * 31 + hash(who.address);
        }
        bool operator()(auto const& a, auto const& b) const {
            return a.user == b.user && a.database == b.database && a.address == b.address;
        }
    };
    seat& seat_of(client_origin const& who);
    void forget_unused();

    mutable std::mutex mutex_;
    counts users_, databases_, addresses_;
    std::unordered_map<key, seat, by_origin, by_origin> seats_;
    std::size_t unused_ = 0;  // seats: whoever has been here comes again, as a rule
};

}  // namespace lull
