// The listener of one cluster: one thread with a libpq connection to each database of the primary in which clients
// LISTEN, as the cluster's control role. It LISTENs to what any of them wants, once, and hands on what it is told.
// A connection that breaks is reported and forgotten: the next who asks gets a new one, and waits for it while the server
// cannot be reached. Owned by control.
#pragma once

#include "config/model.hpp"
#include "proxy/channel_book_core.hpp"
#include "proxy/ports.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

struct pg_conn;

namespace lull {

/// Called on the listener's thread.
class channel_audience {
  public:
    virtual ~channel_audience() = default;
    virtual void channel_answered(std::size_t worker, channel_answer answer) = 0;
    /// In the order in which the server told them.
    virtual void notified(std::size_t worker, std::string const& database, std::vector<notification> what) = 0;
    virtual void channels_lost(std::size_t worker, std::string const& database) = 0;
};

class channel_watch {
  public:
    channel_watch(config::endpoint primary, config::login_role role, config::server_tls tls, std::size_t most,
                  channel_audience& audience);
    ~channel_watch();

    // Any thread.
    void listen(std::size_t worker, std::string const& database, std::string const& channel, std::uint64_t ticket);
    void unlisten(std::size_t worker, std::string const& database, std::string const& channel);
    /// Channels of one database.
    void set_most(std::size_t most) { most_ = most; }

  private:
    struct order {
        std::size_t worker = 0;
        std::string database;
        std::string channel;
        std::uint64_t ticket = 0;  // 0: unlisten
    };
    struct watched {
        pg_conn* connection = nullptr;
        routing::wall_time connected;
        std::chrono::steady_clock::time_point not_before;  // of the next attempt to connect
        std::chrono::milliseconds pause{0};                // between the last two; 0: the last has succeeded
        bool refused = false;  // the server does not take this login
        std::vector<order> waiting;  // for a connection; of each worker and channel one at most
        channel_union channels;
    };
    void give(order what);
    void wake();
    void run();
    bool take(std::deque<order>& orders);
    void wait();
    void carry_out(order const& what);
    void carry_out_what_waits();
    int patience(bool looks) const;
    bool connect(std::string const& database, watched& at);
    std::optional<channel_outcome> begin(order const& what, watched& at);
    void end(order const& what, watched& at);
    void pass_on(std::string const& database, watched& at);
    void lose(std::string const& database, watched& at, std::string const& why);
    bool wait_on(int socket);

    config::endpoint const where_;
    config::login_role const role_;
    config::server_tls const tls_;
    channel_audience& audience_;
    std::atomic<std::size_t> most_;
    int const wake_;  // an eventfd

    std::mutex mutex_;
    std::deque<order> orders_;
    bool stop_ = false;
    int socket_ = -1;  // that is being waited for: ending this object does not

    std::map<std::string, watched> databases_;  // this thread's only
    std::thread thread_;
};

}  // namespace lull
