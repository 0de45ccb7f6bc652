// The fence on the server: put up between the last write through Lull and the proof, watched while the site
// is closed, taken away before writes open. Where it cannot be taken away the site opens all the same, since
// Lull's own connections do not mind it, and the debt is in the record until it is paid.
#include "routing/break_points.hpp"
#include "routing/maintenance.hpp"

#include <algorithm>

namespace lull::routing {

namespace {

constexpr std::size_t max_settings = 2000;
constexpr std::size_t max_told = 20;
constexpr std::size_t max_ended = 50;
constexpr config::milliseconds look_again{200};

constexpr char const* fence_fix =
    "see that the primary and the role under `fence` in the configuration work (deploy/fence-role.sql makes "
    "it); or go "
    "without: `fence: wanted` or `fence: off` for the site";
constexpr char const* prepared_fix =
    "end them in their database with COMMIT PREPARED 'gid' or ROLLBACK PREPARED 'gid', then repeat";

std::string count_of(std::size_t n, char const* one, char const* many) {
    return std::to_string(n) + " " + (n == 1 ? one : many);
}

}  // namespace

/// The proof need not wait for it.
bool maintenance::fence_stands() const {
    return broken("hasty_fence") || fence_policy_ == config::fence_policy::off || fence_up_ || unfenced_;
}

fence_state maintenance::fence() const {
    if (phase_ == phase::read_write) return record_.fence.empty() ? fence_state::none : fence_state::owed;
    if (phase_ == phase::reopening)
        return record_.fence.empty() || fence_gone_ ? fence_state::none : fence_state::lowering;
    if (fence_policy_ == config::fence_policy::off) return fence_state::none;
    return fence_up_ ? fence_state::up : unfenced_ ? fence_state::missing : fence_state::raising;
}

void maintenance::forget_fence() {
    fence_up_ = unfenced_ = fence_gone_ = false;
    fence_asked_.reset();
    fence_at_ = {};
    fence_failing_since_.reset();
    fence_shout_at_ = {};
    fence_note_.clear();
    fence_fix_.clear();
    fence_left_.clear();
}

void maintenance::ask_fence(effect::fence_order order) {
    fence_asked_ = ticket{++tickets_};
    fence_order_ = order;
    if (order == effect::fence_order::raise && !record_.fence.empty()) fence_tried_ = true;
    effects_.push_back(effect::ask_fence{*fence_asked_, order, record_.fence});
}

/// While the site is closed: until it stands, and then again and again.
void maintenance::raise_fence() {
    if (fence_policy_ == config::fence_policy::off || unfenced_) return;
    if (fence_asked_ || pending_ || at_.now < fence_at_) return;
    // Connections that workers open from now on are not to be fenced in: they must have heard of it.
    if (!fence_up_ && !drained()) return;
    ask_fence(effect::fence_order::raise);
}

/// In reopening. True: it is gone, or does not keep the site from opening any more.
bool maintenance::lower_fence() {
    // The record was lost, and nobody has asked the server since: a fence that stands there is ours.
    bool const unread = adopt_paused_ && record_.fence.empty() && fence_policy_ != config::fence_policy::off;
    if ((record_.fence.empty() && !unread) || fence_gone_) return true;
    bool const hopeless = fence_failing_since_ && at_.now - *fence_failing_since_ >= timing_.replica_patience;
    if (at_.now >= deadline_ || hopeless) return true;
    if (!unread)
        owed_fence();
    else if (!fence_asked_ && !pending_ && at_.now >= fence_at_)
        ask_fence(effect::fence_order::raise);  // of what is not known yet it changes nothing
    return false;
}

/// In read_write: still to be taken away.
void maintenance::owed_fence() {
    if (record_.fence.empty() || fence_asked_ || pending_ || at_.now < fence_at_) return;
    ask_fence(fence_tried_ ? effect::fence_order::lower_unsure : effect::fence_order::lower);
}

void maintenance::fence_seen(event::fence_seen const& s) {
    if (fence_asked_ != s.ticket) return;
    fence_asked_.reset();
    fence_failing_since_.reset();
    fence_note_.clear();
    ended(s.ended);
    fence_left_ = s.left;
    if (fence_order_ != effect::fence_order::raise) {
        fence_at_ = at_.now + look_again;
        return s.left.empty() ? fence_lowered() : void();
    }
    if (!s.unknown.empty()) return learn_settings(s.unknown);
    if (phase_ == phase::reopening) return;
    fence_at_ = at_.now + (s.left.empty() ? timing_.watch_primary : look_again);
    if (fence_up_) {
        if (s.changed)
            say(effect::loudness::warning, "fence_mended",
                "somebody had taken the fence on the server away; it is up again");
        return;
    }
    if (!s.left.empty()) return;
    fence_up_ = true;
    say(effect::loudness::notice, "fenced",
        "the server refuses writes past Lull: default_transaction_read_only is on for " +
            count_of(record_.fence.size(), "database or role", "databases and roles"));
    target_.reset();  // what outsiders have committed until now must be below it
    primary_asked_.reset();
    if (provable_)
        ask_primary(false);
    else
        go_on_sealing();
}

void maintenance::ended(std::vector<std::string> const& sessions) {
    for (std::size_t i = 0; i < sessions.size(); ++i) {
        if (i < max_told)
            say(effect::loudness::warning, "outsider_ended", "ended past Lull: " + sessions[i]);
        if (fence_ended_.size() < max_ended)
            fence_ended_.push_back(sessions[i]);
        else
            ++fence_ended_more_;
    }
    if (sessions.size() > max_told)
        say(effect::loudness::warning, "outsider_ended",
            "ended past Lull: " + std::to_string(sessions.size() - max_told) + " more");
}

std::vector<std::string> maintenance::fence_ended() const {
    auto lines = fence_ended_;
    if (fence_ended_more_ > 0) lines.push_back("... and " + std::to_string(fence_ended_more_) + " more");
    return lines;
}

/// What is changed is on the disk before.
void maintenance::learn_settings(std::vector<fence_setting> const& unknown) {
    if (pending_) return;
    maintenance_record r = record_;
    for (fence_setting s : unknown) {
        // The record was lost: what is on now is as likely ours as a replica that stands still.
        if (adopt_paused_ && s.read_only) {
            s.before.reset();
            s.read_only = false;
        }
        r.fence.push_back(std::move(s));
    }
    if (r.fence.size() > max_settings) {
        fence_note_ = "more than " + std::to_string(max_settings) +
                      " roles have a default_transaction_read_only of their own";
        fence_at_ = at_.now + timing_.watch_primary;
        return give_up_fence();
    }
    persist(std::move(r), then::fence);
}

void maintenance::fence_recorded() {
    fence_at_ = {};
    if (phase_ == phase::sealed || phase_ == phase::read_write)
        publish();
    else
        publish_mode();
}

void maintenance::fence_lowered() {
    fence_gone_ = true;
    fence_up_ = fence_tried_ = false;
    say(effect::loudness::notice, "unfenced", "the fence on the server is gone");
    if (phase_ != phase::read_write) return go_on_reopening();
    error_.reset();
    maintenance_record r = record_;
    r.fence.clear();
    persist(std::move(r), then::fence);
}

void maintenance::fence_failed(event::fence_failed const& f) {
    if (fence_asked_ != f.ticket) return;
    fence_asked_.reset();
    fence_at_ = at_.now + timing_.watch_primary;
    fence_note_ = f.error;
    fence_fix_ = f.fix;
    if (fence_order_ == effect::fence_order::raise && phase_ != phase::reopening) {
        if (f.why == event::failure::rights) {
            // The server refused it as a whole. Where it stood before, it does still.
            if (!fence_up_ && !after_restart_) fence_tried_ = false;
            give_up_fence();
        }
        return;
    }
    if (!fence_failing_since_) fence_failing_since_ = at_.now;
    if (phase_ == phase::read_write) fence_is_owed();
}

/// It cannot be put up.
void maintenance::give_up_fence() {
    if (fence_stands()) return;
    std::string const left =
        fence_left_.empty() ? std::string() : "a session does not end: " + fence_left_.front();
    std::string const text = "the server cannot be fenced: " + (fence_note_.empty() ? left : fence_note_);
    switch (fence_policy_) {
        case config::fence_policy::off:
            return;
        case config::fence_policy::wanted:
            unfenced_ = true;
            say(effect::loudness::warning, "not_fenced",
                text + ". Sealed without: who goes past Lull is not stopped");
            target_.reset();
            primary_asked_.reset();
            deadline_ = at_.now + timing_.seal_timeout;
            if (!provable_) go_on_sealing();
            return;
        case config::fence_policy::automatic:  // who asks for a window has decided which it is
        case config::fence_policy::required:
            if (!after_restart_) return fail_entering(text, fence_fix_.empty() ? fence_fix : fence_fix_);
            // A restarted window has nobody to fall back to: it waits closed.
            if (at_.now < fence_shout_at_) return;
            fence_shout_at_ = at_.now + timing_.shout_again;
            return fail(text + ". The site stays closed, and it is tried again each second",
                        fence_fix_.empty() ? fence_fix : fence_fix_);
    }
}

void maintenance::fence_is_owed() {
    if (at_.now < fence_shout_at_) return;
    fence_shout_at_ = at_.now + timing_.shout_again;
    fail("THE FENCE ON THE SERVER IS STILL UP" + (fence_note_.empty() ? std::string() : ": " + fence_note_) +
             ". Writes past Lull are refused, those through Lull are not. It is tried again each second",
         "by hand, as a superuser: " + undoing(record_.fence, 5));
}

/// Entering has come to nothing.
bool maintenance::refuses_prepared() {
    if (prepared_policy_ != config::prepared_policy::refuse || prepared_.empty() || after_restart_)
        return false;
    if (phase_ != phase::draining && phase_ != phase::sealing) return false;
    fail_entering(count_of(prepared_.size(), "prepared transaction is", "prepared transactions are") +
                      " open, and `prepared_transactions: refuse` says not to seal then: " +
                      prepared_.front() + (prepared_.size() > 1 ? ", ..." : ""),
                  prepared_fix);
    return true;
}

/// At the deadline: nothing that Lull may cancel or terminate ends a prepared transaction.
bool maintenance::gives_up_on_prepared(std::string const& late) {
    bool const only = prepared_policy_ == config::prepared_policy::wait && !prepared_.empty() &&
                      writers() == 0 && suspects().size() == prepared_.size();
    if (only) fail_entering("gave up entering maintenance: " + late, prepared_fix);
    return only;
}

}  // namespace lull::routing
