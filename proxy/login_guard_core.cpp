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

/// Made if it is not there, and the last to make room, of which nobody holds a place.
login_guard_core::entry& login_guard_core::entry_of(std::string key, instant now, login_limits const& limits) {
    if (auto const at = by_key_.find(key); at != by_key_.end()) {
        entries_.splice(entries_.begin(), entries_, at->second);
        return *at->second;
    }
    for (auto last = entries_.end(); entries_.size() >= limits.table && last != entries_.begin();) {
        --last;
        if (last->reserved > 0) continue;
        by_key_.erase(last->key);
        last = entries_.erase(last);
    }
    entries_.push_front({.key = std::move(key), .when = now});
    by_key_[entries_.front().key] = entries_.begin();
    return entries_.front();
}

void login_guard_core::failed(std::string_view address, std::string_view user, instant now,
                              login_limits const& limits) {
    if (limits.most == 0 || limits.table == 0) return;
    entry& e = entry_of(key_of(address, user), now, limits);
    e.level = level_at(e, now, limits) + 1;
    e.when = now;
}

bool login_guard_core::reserve(std::string_view address, std::string_view user, instant now,
                               login_limits const& limits) {
    if (limits.most == 0 || limits.table == 0) return true;
    entry& e = entry_of(key_of(address, user), now, limits);
    if (level_at(e, now, limits) + static_cast<double>(e.reserved) > static_cast<double>(limits.most) - 1) return false;
    ++e.reserved;
    return true;
}

void login_guard_core::settle(std::string_view address, std::string_view user, login_outcome outcome, instant now,
                              login_limits const& limits) {
    if (auto const at = by_key_.find(key_of(address, user)); at != by_key_.end()) {
        entry& e = *at->second;
        if (e.reserved > 0) --e.reserved;  // none: there was no limit then
        if (outcome == login_outcome::right && e.reserved == 0 && e.level == 0) {
            entries_.erase(at->second);
            by_key_.erase(at);
        }
    }
    if (outcome == login_outcome::failed) failed(address, user, now, limits);
}

}  // namespace lull
