#include "proxy/login_guard_core.hpp"

#include <algorithm>

namespace lull {

namespace {

// An address ends before the first space; users may have any byte but NUL.
std::string key_of(std::string_view address, std::string_view user) {
    return std::string(address).append(" ").append(user);
}

}  // namespace

double login_guard_core::level_at(entry const& e, instant now, login_limits const& limits) {
    double const passed = std::chrono::duration<double>(now - e.when) / limits.window;
    return std::max(0.0, e.level - passed * static_cast<double>(limits.most));
}

bool login_guard_core::blocked(std::string_view address, std::string_view user, instant now,
                               login_limits const& limits) {
    if (limits.most == 0 || entries_.empty()) return false;
    auto const at = by_key_.find(key_of(address, user));
    return at != by_key_.end() && level_at(*at->second, now, limits) > static_cast<double>(limits.most) - 1;
}

void login_guard_core::failed(std::string_view address, std::string_view user, instant now,
                              login_limits const& limits) {
    if (limits.most == 0 || limits.table == 0) return;
    std::string key = key_of(address, user);
    if (auto const at = by_key_.find(key); at != by_key_.end()) {
        entry& e = *at->second;
        e.level = level_at(e, now, limits) + 1;
        e.when = now;
        entries_.splice(entries_.begin(), entries_, at->second);
        return;
    }
    while (entries_.size() >= limits.table) {
        by_key_.erase(entries_.back().key);
        entries_.pop_back();
    }
    entries_.push_front({std::move(key), 1, now});
    by_key_[entries_.front().key] = entries_.begin();
}

}  // namespace lull
