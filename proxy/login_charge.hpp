// Who counts failed logins, and one attempt of which it is not known yet whether it has failed. A login's thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace lull {

enum class login_outcome : std::uint8_t { right, failed };

/// Counts failed logins, of all workers; bounds how fast passwords can be guessed.
class login_guard {
  public:
    /// Whether this address has failed so often as this user that it has to wait.
    virtual bool blocked(std::string_view address, std::string_view user) = 0;
    virtual void failed(std::string_view address, std::string_view user) = 0;
    /// Takes a place among those that may fail, until settle(). False: there is none, by those that have failed and those
    /// that are not settled.
    virtual bool reserve(std::string_view address, std::string_view user) = 0;
    virtual void settle(std::string_view address, std::string_view user, login_outcome outcome) = 0;

  protected:
    ~login_guard() = default;
};

/// A place that was reserved. It has failed unless it is taken back: who goes before he is told has had his guess.
class login_charge {
  public:
    login_charge(login_guard& guard, std::string address, std::string user)
        : guard_(guard), address_(std::move(address)), user_(std::move(user)) {}
    login_charge(login_charge const&) = delete;
    login_charge& operator=(login_charge const&) = delete;
    ~login_charge() { guard_.settle(address_, user_, outcome_); }

    void take_back() { outcome_ = login_outcome::right; }

  private:
    login_guard& guard_;
    std::string const address_;
    std::string const user_;
    login_outcome outcome_ = login_outcome::failed;
};

}  // namespace lull
