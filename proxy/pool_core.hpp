// Who gets which server connection: the books of one pool (a server, a database, a user, guarded or not) on
// one worker. Pure: servers and clients are only names here. The hottest server first (LIFO), the longest
// waiting client first (FIFO).
#pragma once

#include "routing/snapshot.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <vector>

namespace lull {

/// Server connections that all workers together may have in one pool. Any thread.
class pool_permits {
  public:
    bool take(std::size_t most) {
        if (open_.fetch_add(1) < most) return true;
        open_.fetch_sub(1);
        return false;
    }
    void give_back() { open_.fetch_sub(1); }
    /// Some worker has clients waiting and may not open a connection: those who have idle ones give one up.
    void starve(int change) { starving_.fetch_add(change); }
    bool starving() const { return starving_.load(std::memory_order_relaxed) > 0; }

  private:
    std::atomic<std::size_t> open_{0};
    std::atomic<int> starving_{0};
};

/// What one pool may take from: its own permits first, then those that it shares with other pools of its
/// database and of its user. Of one worker; the permits outlive it.
class pool_allowance {
  public:
    explicit pool_allowance(pool_permits& own) : levels_{{&own, 0}} {}

    /// 0: no limit, and what is taken counts all the same, for the day when there is one.
    void share(pool_permits& permits, std::size_t most) { levels_.push_back({&permits, most}); }
    /// Of the shared ones, in the order of share().
    void limit(std::size_t index, std::size_t most) { levels_[index + 1].most = most; }

    /// `most` is the limit of the pool's own permits.
    bool take(std::size_t most) {
        levels_.front().most = most;
        for (std::size_t i = 0; i < levels_.size(); ++i) {
            bool const unlimited = i > 0 && levels_[i].most == 0;
            if (levels_[i].permits->take(unlimited ? std::numeric_limits<std::size_t>::max()
                                                   : levels_[i].most))
                continue;
            short_of_ = levels_[i].permits;
            while (i-- > 0) levels_[i].permits->give_back();
            return false;
        }
        return true;
    }
    void give_back() {
        for (level const& l : levels_) l.permits->give_back();
    }
    /// Of which the last take() found none.
    pool_permits& short_of() const { return short_of_ ? *short_of_ : *levels_.front().permits; }
    /// Others wait for what this pool has taken, too.
    bool starving() const {
        return std::any_of(levels_.begin(), levels_.end(),
                           [](level const& l) { return l.permits->starving(); });
    }

  private:
    struct level {
        pool_permits* permits;
        std::size_t most;
    };
    std::vector<level> levels_;
    pool_permits* short_of_ = nullptr;
};

class pool_core {
  public:
    using server = std::uintptr_t;
    using client = std::uintptr_t;
    struct granted {
        client to;
        server what;
    };
    enum class outcome : std::uint8_t { granted, open, wait };
    struct acquired {
        outcome how;
        server what = 0;
    };

    explicit pool_core(pool_allowance allowance) : allowance_(std::move(allowance)) {}
    ~pool_core() {
        if (starving_) starving_->starve(-1);
    }
    pool_allowance& allowance() { return allowance_; }
    pool_core(pool_core const&) = delete;
    pool_core& operator=(pool_core const&) = delete;

    /// granted: `what` is the client's. open: it waits, and the caller opens a connection (opened() or gone()
    /// follows). wait: it waits.
    acquired acquire(client who, routing::instant now, std::size_t most) {
        if (!idle_.empty()) {
            server const hottest = idle_.back().name;
            idle_.pop_back();
            return {outcome::granted, hottest};
        }
        waiting_.push_back({who, now});
        // One connection under way for each that waits is enough.
        if (opening_ < waiting_.size() && allowance_.take(most)) {
            ++opening_;
            ++open_;
            return {outcome::open};
        }
        note_starving();
        return {outcome::wait};
    }

    /// Just this one, if it is idle.
    bool take(server what) {
        return std::erase_if(idle_, [&](entry const& e) { return e.name == what; }) > 0;
    }
    /// Clients wait, here or in a pool that it shares with, for what there is not.
    bool starving() const { return allowance_.starving(); }

    /// What acquire() would grant now.
    std::optional<server> hottest() const {
        return idle_.empty() ? std::nullopt : std::optional(idle_.back().name);
    }

    /// A connection is ready, or has been given back clean.
    std::optional<granted> available(server what, routing::instant now) {
        if (waiting_.empty()) {
            idle_.push_back({what, now});
            return std::nullopt;
        }
        client const next = waiting_.front().who;
        waiting_.pop_front();
        note_starving();
        return granted{next, what};
    }
    void opened() { --opening_; }

    /// A connection is no more; `was_opening`: it never became ready. True: the caller opens another for
    /// those who wait.
    bool gone(server what, bool was_opening, std::size_t most, bool retry) {
        std::erase_if(idle_, [&](entry const& e) { return e.name == what; });
        --open_;
        if (was_opening) --opening_;
        allowance_.give_back();
        return retry && want_more(most);
    }
    /// Opens one more where clients wait and the cap allows it; asked at each tick.
    bool want_more(std::size_t most) {
        if (waiting_.size() <= opening_) return false;
        if (!allowance_.take(most)) {
            note_starving();
            return false;
        }
        ++opening_;
        ++open_;
        note_starving();
        return true;
    }

    bool cancel(client who) {
        bool const found = std::erase_if(waiting_, [&](waiter const& w) { return w.who == who; }) > 0;
        note_starving();
        return found;
    }
    /// Clients that have waited since before `limit`.
    std::vector<client> expired(routing::instant limit) {
        std::vector<client> out;
        while (!waiting_.empty() && waiting_.front().since < limit) {
            out.push_back(waiting_.front().who);
            waiting_.pop_front();
        }
        note_starving();
        return out;
    }
    std::vector<client> all_waiting() {
        std::vector<client> out;
        for (waiter const& w : waiting_) out.push_back(w.who);
        waiting_.clear();
        note_starving();
        return out;
    }
    /// Idle connections, coldest first, those unused since before `limit`.
    std::vector<server> idle_since(routing::instant limit) const {
        std::vector<server> out;
        for (entry const& e : idle_)
            if (e.since < limit) out.push_back(e.name);
        return out;
    }
    /// Whether the client that has waited longest has done so since before `limit`.
    bool has_waited_since(routing::instant limit) const { return !waiting_.empty() && waiting_.front().since < limit; }
    std::optional<server> to_give_up() const {
        bool const wanted = !starving_ && !idle_.empty() && allowance_.starving();
        return wanted ? std::optional(idle_.front().name) : std::nullopt;
    }

    std::size_t idle() const { return idle_.size(); }
    std::size_t open() const { return open_; }
    std::size_t waiting() const { return waiting_.size(); }

  private:
    void note_starving() {
        pool_permits* const now = waiting_.size() > opening_ ? &allowance_.short_of() : nullptr;
        if (now == starving_) return;
        if (starving_) starving_->starve(-1);
        if (now) now->starve(1);
        starving_ = now;
    }
    struct entry {
        server name;
        routing::instant since;
    };
    struct waiter {
        client who;
        routing::instant since;
    };
    pool_allowance allowance_;
    std::vector<entry> idle_;  // hottest last
    std::deque<waiter> waiting_;
    std::size_t opening_ = 0;
    std::size_t open_ = 0;
    pool_permits* starving_ = nullptr;  // of what there is none for those who wait
};

}  // namespace lull
