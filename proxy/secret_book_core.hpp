// What auth_query has said of users, for as long as it counts. Sans-io; one thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>

namespace lull {

class secret_book {
  public:
    using instant = std::chrono::steady_clock::time_point;
    /// Nothing: there is no such user.
    using secret = std::optional<std::string>;

    /// What has failed somebody counts for so long all the same: failing logins are not more questions than that.
    static constexpr std::chrono::seconds least_between_doubts{1};
    static constexpr std::size_t most_remembered = 10'000;

    /// 0: each is asked for anew.
    explicit secret_book(std::chrono::milliseconds good_for) : good_for_(good_for) {}

    /// Null: the server is to be asked. Lives until the next call.
    secret const* find(std::string const& user, instant now) const {
        for (auto const* pages : {&known_, &strangers_}) {
            auto const at = pages->find(user);
            if (at == pages->end()) continue;
            auto const good_for = at->second.doubted ? std::min<std::chrono::milliseconds>(good_for_, least_between_doubts) : good_for_;
            if (now - at->second.asked < good_for) return &at->second.what;
        }
        return nullptr;
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

    std::chrono::milliseconds const good_for_;
    std::map<std::string, entry> known_;
    std::map<std::string, entry> strangers_;  // apart, so that invented names drive nobody out
};

}  // namespace lull
