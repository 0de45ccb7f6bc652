// auth_query: asks a cluster's primary for users' passwords or verifiers, on a thread of its own, so that a
// slow server holds up logins only. Owned by the control thread; positive answers are remembered for 10 s at
// most.
#pragma once

#include "config/model.hpp"

#include <boost/asio/io_context.hpp>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

struct pg_conn;

namespace lull {

class secrets {
  public:
    /// No secret and no error: there is no such user, or none who may log in with a password.
    using answer = std::function<void(std::optional<std::string> secret, std::string error)>;

    secrets(boost::asio::io_context& io, config::endpoint primary, config::auth_query query);
    ~secrets();

    /// Control thread; so is `then`, which may run before this returns. Bounded: 1000 questions may wait.
    void ask(std::string const& user, answer then);

  private:
    struct question {
        std::string user;
        answer then;
    };
    struct known {
        std::string secret;
        std::chrono::steady_clock::time_point until;
    };
    void run();
    std::optional<std::string> look_up(std::string const& user, std::string& error);

    boost::asio::io_context& io_;
    config::endpoint const primary_;
    config::auth_query const query_;
    std::map<std::string, known> known_;  // control thread
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<question> questions_;
    bool stop_ = false;
    pg_conn* connection_ = nullptr;  // the thread's
    std::thread thread_;
};

}  // namespace lull
