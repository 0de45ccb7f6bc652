// Who gets which server connection: the books of one pool (a server, a database, a user, guarded or not) on
// one worker. Pure: servers and clients are only names here. The hottest server first (LIFO), the longest
// waiting client first (FIFO).
#pragma once

#include "routing/snapshot.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
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
    std::size_t open() const { return open_.load(std::memory_order_relaxed); }
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
    /// More is taken than there may be, since the limits have become less.
    bool exceeded(std::size_t most) const {
        if (levels_.front().permits->open() > most) return true;
        return std::any_of(levels_.begin() + 1, levels_.end(),
                           [](level const& l) { return l.most != 0 && l.permits->open() > l.most; });
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
    enum class outcome : std::uint8_t { granted, check, open, wait };
    static constexpr std::chrono::nanoseconds never = std::chrono::nanoseconds::max();
    struct acquired {
        outcome how;
        server what = 0;
    };

    explicit pool_core(pool_allowance allowance) : allowance_(std::move(allowance)) {}
    ~pool_core() {
        if (starving_) starving_->starve(-1);
    }
    pool_allowance& allowance() { return allowance_; }
    pool_allowance const& allowance() const { return allowance_; }
    pool_core(pool_core const&) = delete;
    pool_core& operator=(pool_core const&) = delete;

    /// While it rests no connection is opened: those who wait get what there is, and are no reason for others to give theirs up.
    /// Behind it one is opened at a time, until one has been.
    void rest(bool resting) {
        resting_ = resting;
        wary_ = wary_ || resting;
        note_starving();
    }
    bool resting() const { return resting_; }

    /// Free connections of which nothing was heard for so long are checked before they are lent.
    void check_after(std::chrono::nanoseconds unheard) { check_after_ = unheard; }

    /// granted: `what` is the client's. check: it waits, and the caller checks `what` (available() or gone() follows). open: it
    /// waits, and the caller opens a connection (opened() or gone() follows). wait: it waits.
    acquired acquire(client who, routing::instant now, std::size_t most) {
        if (server const hottest = ready(now)) {
            lend(hottest);
            return {outcome::granted, hottest};
        }
        waiting_.push_back({who, now});
        // One connection under way for each that waits is enough.
        if (under_way() < waiting_.size()) {
            if (!idle_.empty()) return {outcome::check, begin_check(idle_.end() - 1, now)};
            if (may_open() && allowance_.take(most)) {
                ++opening_;
                ++open_;
                return {outcome::open};
            }
        }
        note_starving();
        return {outcome::wait};
    }

    /// Just this one, if it is idle and not due for a check.
    bool take(server what, routing::instant now) {
        return std::erase_if(idle_, [&](entry const& e) { return e.name == what && heard(e, now); }) > 0;
    }
    /// Clients wait, here or in a pool that it shares with, for what there is not.
    bool starving() const { return allowance_.starving(); }

    /// What acquire() would grant now: as a rule the hottest, a colder one where that is due for a check. 0: nothing.
    server ready(routing::instant now) const {
        if (idle_.empty()) return 0;
        return heard(idle_.back(), now) ? idle_.back().name : colder(now);
    }
    /// What is ready() is lent.
    void lend(server what) {
        if (idle_.back().name == what)
            idle_.pop_back();
        else
            std::erase_if(idle_, [&](entry const& e) { return e.name == what; });
    }

    /// A connection is ready, has been given back clean, or is as free as it was before its check.
    std::optional<granted> available(server what, routing::instant now) {
        entry free{what, now, now};
        if (!checks_.empty()) end_check(free);
        if (!waiting_.empty()) {
            client const next = waiting_.front().who;
            waiting_.pop_front();
            note_starving();
            return granted{next, what};
        }
        if (free.since == now)
            idle_.push_back(free);
        else
            idle_.insert(std::ranges::upper_bound(idle_, free.since, {}, &entry::since), free);
        return std::nullopt;
    }

    /// A free connection that is to be checked now, the coldest that is due; available() or gone() follows. Half of them
    /// stay for whoever comes meanwhile, unless somebody waits.
    std::optional<server> start_check(routing::instant now) {
        if (waiting_.empty() && (check_after_ == check_after_.zero() || checks_.size() >= idle_.size())) return std::nullopt;
        auto const at = std::ranges::find_if(idle_, [&](entry const& e) { return !heard(e, now); });
        if (at == idle_.end()) return std::nullopt;
        return begin_check(at, now);
    }
    /// Checks that began before `limit`.
    std::vector<server> checks_since(routing::instant limit) const {
        std::vector<server> out;
        for (check const& c : checks_)
            if (c.began < limit) out.push_back(c.name);
        return out;
    }
    /// Those who wait do not count on such any more, but on others that may be opened.
    void lose_hope(routing::instant limit) {
        for (check& c : checks_) c.hopeful = c.hopeful && c.began >= limit;
    }
    /// The check of `failed`, which gone() follows, has failed: those of which nothing was heard since it began are checked
    /// before they are lent.
    void doubt(server failed, routing::instant now) {
        auto const at = std::ranges::find(checks_, failed, &check::name);
        if (at == checks_.end() || check_after_ == never) return;
        for (entry& e : idle_)
            if (e.heard < at->began) e.heard = std::min(e.heard, now - check_after_);
    }
    void opened() {
        --opening_;
        wary_ = false;
    }

    /// A connection is no more; `was_opening`: it never became ready. True: the caller opens another for
    /// those who wait.
    bool gone(server what, bool was_opening, std::size_t most, bool retry) {
        std::erase_if(idle_, [&](entry const& e) { return e.name == what; });
        std::erase_if(checks_, [&](check const& c) { return c.name == what; });
        --open_;
        if (was_opening) --opening_;
        allowance_.give_back();
        return retry && want_more(most);
    }
    /// Opens one more where clients wait and the cap allows it; asked at each tick.
    bool want_more(std::size_t most) {
        if (!may_open() || waiting_.size() <= under_way()) return false;
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
    /// Nobody's, also those that are being checked.
    std::vector<server> free() const {
        std::vector<server> out;
        for (entry const& e : idle_) out.push_back(e.name);
        for (check const& c : checks_) out.push_back(c.name);
        return out;
    }
    /// Whether the client that has waited longest has done so since before `limit`.
    bool has_waited_since(routing::instant limit) const { return !waiting_.empty() && waiting_.front().since < limit; }
    std::optional<server> to_give_up() const {
        bool const wanted = !starving_ && !idle_.empty() && allowance_.starving();
        return wanted ? std::optional(idle_.front().name) : std::nullopt;
    }

    /// Of a free one.
    std::optional<routing::instant> last_heard(server what) const {
        auto const at = std::ranges::find(idle_, what, &entry::name);
        return at == idle_.end() ? std::nullopt : std::optional(at->heard);
    }
    std::size_t idle() const { return idle_.size(); }
    std::size_t open() const { return open_; }
    std::size_t waiting() const { return waiting_.size(); }

  private:
    struct entry {
        server name;
        routing::instant since;
        routing::instant heard;  // by then it had answered something
    };
    struct check {
        server name;
        routing::instant since;  // of the entry that it was
        routing::instant began;
        bool hopeful = true;
    };
    bool heard(entry const& e, routing::instant now) const { return now - e.heard < check_after_; }
    server colder(routing::instant now) const {
        for (auto at = idle_.rbegin(); at != idle_.rend(); ++at)
            if (heard(*at, now)) return at->name;
        return 0;
    }
    server begin_check(std::vector<entry>::iterator at, routing::instant now) {
        server const name = at->name;
        checks_.push_back({name, at->since, now});
        idle_.erase(at);
        return name;
    }
    void end_check(entry& free) {
        auto const at = std::ranges::find(checks_, free.name, &check::name);
        if (at == checks_.end()) return;
        free.since = at->since;
        checks_.erase(at);
    }
    /// Connections that those who wait may count on.
    std::size_t under_way() const {
        if (checks_.empty()) return opening_;
        return opening_ + static_cast<std::size_t>(std::ranges::count_if(checks_, &check::hopeful));
    }
    bool may_open() const { return !resting_ && (!wary_ || opening_ == 0); }
    void note_starving() {
        pool_permits* const now = may_open() && waiting_.size() > under_way() ? &allowance_.short_of() : nullptr;
        if (now == starving_) return;
        if (starving_) starving_->starve(-1);
        if (now) now->starve(1);
        starving_ = now;
    }
    struct waiter {
        client who;
        routing::instant since;
    };
    pool_allowance allowance_;
    std::vector<entry> idle_;    // hottest last
    std::vector<check> checks_;  // free, and asked whether they are there
    std::chrono::nanoseconds check_after_ = never;
    std::deque<waiter> waiting_;
    std::size_t opening_ = 0;
    std::size_t open_ = 0;
    bool resting_ = false;
    bool wary_ = false;
    pool_permits* starving_ = nullptr;  // of what there is none for those who wait
};

}  // namespace lull
