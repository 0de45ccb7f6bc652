// How often the log is told of what goes on being so. Any thread: for what is rare.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>

namespace lull {

class warning_pace {
  public:
    using instant = std::chrono::steady_clock::time_point;
    static constexpr std::chrono::minutes least_between{1};
    static constexpr std::size_t most_remembered = 1'000;

    /// Whether a warning of this may be written now; it is, then.
    bool due(std::string const& of_what, instant now) {
        std::lock_guard const lock(mutex_);
        if (auto const at = last_.find(of_what); at != last_.end() && now - at->second < least_between) return false;
        if (last_.size() >= most_remembered) last_.clear();
        last_.insert_or_assign(of_what, now);
        return true;
    }

  private:
    std::mutex mutex_;
    std::map<std::string, instant> last_;
};

}  // namespace lull
