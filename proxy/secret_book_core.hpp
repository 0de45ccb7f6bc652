// What auth_query has said of users, for as long as it counts. Sans-io; one thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace lull {

class secret_book {
  public:
    using instant = std::chrono::steady_clock::time_point;
    /// Nothing: there is no such user.
    using secret = std::optional<std::string>;

    /// What has failed somebody counts for so long all the same: failing logins are not more questions than that.
    static constexpr std::chrono::seconds least_between_doubts{1};
    /// A server that cannot be asked is not asked again for so long: nobody waits behind each attempt to connect.
    static constexpr std::chrono::seconds least_between_attempts{1};
    static constexpr std::size_t most_remembered = 10'000;

    /// 0: each is asked for anew.
    explicit secret_book(std::chrono::milliseconds good_for) : good_for_(good_for) {}

    /// Null: the server is to be asked. Lives until the next call.
    secret const* find(std::string const& user, instant now) const {
        entry const* const e = entry_of(user);
        bool const counts = e && now - e->asked < (e->doubted ? std::min<std::chrono::milliseconds>(good_for_, least_between_doubts) : good_for_);
        return counts ? &e->what : nullptr;
    }
    /// Where the server cannot be asked: also what is doubted, or a wrong password would keep out whoever has the right one.
    secret const* find_doubted(std::string const& user, instant now) const {
        entry const* const e = entry_of(user);
        return e && now - e->asked < good_for_ ? &e->what : nullptr;
    }

    /// Why the server is not to be asked now; empty: it may be.
    std::string const& unreachable(instant now) const {
        static std::string const reachable;
        return now - failed_at_ < least_between_attempts ? failure_ : reachable;
    }
    void failed(std::string why, instant now) {
        failure_ = std::move(why);
        failed_at_ = now;
    }

    /// Who is not there is remembered as well: the time that an answer takes would tell him from the others.
    void keep(std::string const& user, secret what, instant now) {
        if (good_for_.count() == 0) return;
        auto& pages = what ? known_ : strangers_;
        if (pages.size() >= most_remembered) pages.clear();
        (what ? strangers_ : known_).erase(user);
        pages.insert_or_assign(user, entry{std::move(what), now, false});
    }

    /// A login with it has failed: perhaps it has been changed.
    void doubt(std::string const& user) {
        for (auto* pages : {&known_, &strangers_})
            if (auto const at = pages->find(user); at != pages->end()) at->second.doubted = true;
    }

  private:
    struct entry {
        secret what;
        instant asked;
        bool doubted;
    };

    entry const* entry_of(std::string const& user) const {
        for (auto const* pages : {&known_, &strangers_})
            if (auto const at = pages->find(user); at != pages->end()) return &at->second;
        return nullptr;
    }

    std::chrono::milliseconds const good_for_;
    std::map<std::string, entry> known_;
    std::map<std::string, entry> strangers_;  // apart, so that invented names drive nobody out
    std::string failure_;  // to ask the server; empty: none yet
    instant failed_at_{};
};

}  // namespace lull
