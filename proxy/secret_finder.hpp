// auth_query: asks a cluster's primary for a user's secret, on a thread of its own. Answers are kept for its cache_time,
// so that a storm of logins is one query.
#pragma once

#include "config/model.hpp"
#include "proxy/secret_book_core.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

struct pg_conn;

namespace lull {

/// Questions so far, by what answered them.
struct secret_answers {
    std::uint64_t remembered = 0;
    std::uint64_t server = 0;
    std::uint64_t nobody = 0;  // the server could not be asked
};

class secret_finder {
  public:
    /// Nothing and no error: there is no such user. Called on the finder's thread.
    using found = std::function<void(std::optional<std::string> secret, std::string error)>;

    secret_finder(config::endpoint primary, config::auth_query query, config::server_tls tls);
    ~secret_finder();

    void find(std::string user, found then);
    /// What it has found last may be true no more: the next who asks for this user is not told it again, unless it is
    /// fresh.
    void doubt(std::string user);
    /// Any thread.
    secret_answers answers() const {
        return {remembered_.load(std::memory_order_relaxed), server_.load(std::memory_order_relaxed),
                nobody_.load(std::memory_order_relaxed)};
    }

  private:
    struct question {
        std::string user;
        found then;  // none: it is a doubt
    };
    void ask(question);
    void run();
    void answer(question const& q);
    bool connect(std::string& error);
    bool look_up(std::string const& user, secret_book::secret& found, std::string& error);

    config::endpoint const primary_;
    config::auth_query const query_;
    config::server_tls const tls_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<question> questions_;
    bool stop_ = false;
    std::atomic<std::uint64_t> remembered_{0}, server_{0}, nobody_{0};
    // The finder's thread only.
    secret_book book_;
    pg_conn* connection_ = nullptr;
    std::thread thread_;
};

}  // namespace lull
