// How many logins have failed, by address and user: at most `most` in `window`. Bounded: when the table is
// full, the entry whose last failure is the oldest makes room. Pure.
#pragma once

#include "proxy/login_charge.hpp"

#include <chrono>
#include <cstddef>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

namespace lull {

struct login_limits {
    std::size_t most = 0;  // 0: no limit
    std::chrono::milliseconds window{0};
    std::size_t table = 0;  // entries at most
};

class login_guard_core {
  public:
    using instant = std::chrono::steady_clock::time_point;

    /// Whether another attempt has to wait.
    bool blocked(std::string_view address, std::string_view user, instant now, login_limits const& limits);
    void failed(std::string_view address, std::string_view user, instant now, login_limits const& limits);
    /// Room for one more that may fail, kept until settle(): false if those that have failed, or may yet, fill it.
    bool reserve(std::string_view address, std::string_view user, instant now, login_limits const& limits);
    void settle(std::string_view address, std::string_view user, login_outcome outcome, instant now, login_limits const& limits);
    std::size_t size() const { return entries_.size(); }

  private:
    /// A bucket that leaks: `level` failures, as of `when`, and those that are reserved.
    struct entry {
        std::string key;
        double level = 0;
        instant when;
        std::size_t reserved = 0;
    };
    using place = std::list<entry>::iterator;

    static double level_at(entry const& e, instant now, login_limits const& limits);
    entry& entry_of(std::string key, instant now, login_limits const& limits);

    std::list<entry> entries_;  // the last failure first
    std::unordered_map<std::string, place> by_key_;
};

}  // namespace lull
