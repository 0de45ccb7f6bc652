// Whether what a role's clients write could be run when the window is over: asked of the primary, as that role,
// before anything of it is kept. What can never be run is better refused. A thread of its own asks, one after the
// other; nothing is written there. Any thread.
#pragma once

#include "proxy/replay_connection.hpp"
#include "routing/named.hpp"
#include "routing/snapshot.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace lull {

class journal_rights {
  public:
    struct question {
        routing::site_id site{};
        std::string site_name;
        replay_server primary;
        std::string database;
        std::string user;
        server_credentials credentials;
        std::vector<std::string> roles;  // SQL of the client's session that makes it another role
    };
    /// Empty: it can be run, or the primary cannot be asked now, which says nothing. Otherwise why not, and what to do.
    using then = std::function<void(std::string const& why_not)>;

    journal_rights();
    ~journal_rights();
    journal_rights(journal_rights const&) = delete;
    journal_rights& operator=(journal_rights const&) = delete;

    /// `known` is called at once where the answer is known, else on the thread that asks.
    void ask(question q, then known);
    /// For a window that begins: `q` will be wanted, perhaps. That its role may not log in there is no news.
    void expect(question q);
    /// All is asked anew.
    void forget(routing::site_id site);
    /// A line for each role whose writes are refused.
    std::vector<std::string> problems(routing::site_id site) const;

  private:
    struct key {
        routing::site_id site{};
        std::string database;
        std::string user;
        std::vector<std::string> roles;
        friend auto operator<=>(key const&, key const&) = default;
    };
    struct standing {
        bool known = false;
        bool asking = false;
        std::string why_not;
        routing::instant asked{};
        std::vector<then> waiting;
    };
    enum class eagerness : std::uint8_t { wanted, expected };
    struct job {
        question what;
        eagerness how = eagerness::wanted;
    };
    struct finding {
        bool reached = true;
        bool logged_in = true;
        std::string why_not;
    };
    void enqueue(question q, eagerness how);
    void run();
    finding look(question const& q);
    standing& standing_of(question& q);

    std::atomic<bool> stop_{false};
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::map<key, standing> standings_;
    std::deque<job> jobs_;
    std::thread thread_;
};

}  // namespace lull
