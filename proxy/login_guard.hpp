// Failed logins, counted by address and user, so that nobody guesses passwords as fast as he can connect. One
// for the whole process; calls lock, which only logins with a password pay.
#pragma once

#include "proxy/login_guard_core.hpp"

#include <chrono>
#include <mutex>

namespace lull {

class shared_login_guard {
  public:
    bool blocked(std::string_view address, std::string_view user, login_limits const& limits) {
        std::lock_guard const lock(mutex_);
        return table_.blocked(address, user, std::chrono::steady_clock::now(), limits);
    }
    void failed(std::string_view address, std::string_view user, login_limits const& limits) {
        std::lock_guard const lock(mutex_);
        table_.failed(address, user, std::chrono::steady_clock::now(), limits);
    }
    bool reserve(std::string_view address, std::string_view user, login_limits const& limits) {
        std::lock_guard const lock(mutex_);
        return table_.reserve(address, user, std::chrono::steady_clock::now(), limits);
    }
    void settle(std::string_view address, std::string_view user, login_outcome outcome, login_limits const& limits) {
        std::lock_guard const lock(mutex_);
        table_.settle(address, user, outcome, std::chrono::steady_clock::now(), limits);
    }

  private:
    std::mutex mutex_;
    login_guard_core table_;
};

}  // namespace lull
