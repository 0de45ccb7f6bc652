// The way back to read_write: after a window, and after an entering that came to nothing.
#include "routing/maintenance.hpp"

#include <algorithm>
#include <string>

namespace lull::routing {

/// From draining or sealing: no migration ran, so nothing has to be caught up with; but what may be paused
/// must go on.
void maintenance::cancel() {
    phase_ = phase::reopening;
    cancelled_ = true;
    writing_.clear();
    drained_ = proved_ = false;
    target_.reset();
    primary_asked_.reset();
    pending_.reset();
    forget_fence();
    deadline_ = at_.now + timing_.replica_patience;
    for (auto& r : replicas_) {
        switch (r.step) {
            case step::pausing:
            case step::frozen:
            case step::unknown:
            case step::resuming:
                r.step = step::resuming;
                r.asked.reset();
                r.ask_at = {};
                break;
            case step::catching_up:
                // Named in the record, perhaps, but never told to pause.
                r.step = r.ordered ? step::resuming : step::done;
                r.touched = r.ordered;
                break;
            case step::thawed:
            case step::left_out:
            case step::following:
            case step::done:
                break;
        }
    }
    ask_replicas();
    go_on_reopening();
}

void maintenance::start_reopening() {
    phase_ = phase::reopening;
    mode_ = mode::reopening;
    cancelled_ = false;
    drained_ = proved_ = intended_ = false;
    forget_fence();
    error_.reset();
    target_.reset();
    primary_asked_.reset();  // an answer under way may have been taken before the migration's last commit
    fresh_floor_ = at_.now;  // the migration ended before this: who has replayed up to here has replayed it
    deadline_ = at_.now + timing_.seal_timeout;
    for (auto& r : replicas_) {
        r.step = r.touched ? step::resuming : step::following;
        r.failing_since.reset();
        r.hopeless = false;
        r.asked.reset();
        r.ask_at = {};
    }
    for (auto const& address : wanted_) at_hand(address, step::following);
    publish_mode();
    say(effect::loudness::notice, "reopening", "the window ends; replicas are to catch up");
    tick_reopening();
}

void maintenance::tick_reopening() {
    if (!cancelled_ && provable_ && !proved_ && !primary_asked_) ask_primary(target_.has_value());
    ask_replicas();
    go_on_reopening();
}

void maintenance::go_on_reopening() {
    if (pending_) return;
    bool const late = at_.now >= deadline_;
    if (!cancelled_ && provable_ && !target_ && !late) return;
    bool const unfenced = lower_fence();
    for (auto const& r : replicas_) {
        bool const open_question = r.step == step::resuming || (r.step == step::following && provable_);
        if (open_question && !late && !patience_is_over(r)) return;
    }
    if (!unfenced) return;
    for (auto& r : replicas_) {
        if (r.step == step::resuming)
            say(effect::loudness::warning, "resume_owed",
                "replica " + r.address + " did not confirm that its replay goes on (" + r.note +
                    "); it is asked again until it does");
        if (r.step == step::following && provable_)
            say(effect::loudness::warning, "replica_behind",
                "replica " + r.address + " has not caught up (" + r.note + "); it is read from once it has");
    }
    open();
}

void maintenance::open() {
    maintenance_record r = record_;
    if (r.sealed_at) {
        r.last_window = past_window{.epoch = r.sealed_epoch,
                                    .reason = r.request.reason,
                                    .owner = r.request.owner,
                                    .sealed_lsn = r.sealed_lsn,
                                    .sealed_at = *r.sealed_at,
                                    .finish_lsn = cancelled_ ? std::nullopt : target_,
                                    .reopened_at = at_.wall,
                                    .waited_for = r.waited_for,
                                    .at_sealing = r.at_sealing,
                                    .at_end = cancelled_ || !target_ ? horizon{} : target_horizon_,
                                    .marks = r.marks};
    }
    r.untold = untold_end{r.request.reason, r.request.owner, r.sealed_lsn};
    r.phase = phase::read_write;
    r.epoch = next_epoch();
    r.since = at_.wall;
    r.request = {};
    r.others.clear();
    r.sealed_lsn.reset();
    r.sealed_at.reset();
    r.sealed_epoch = {};
    r.waited_for.clear();
    r.at_sealing = {};
    r.marks.clear();
    r.replicas = held_replicas();
    if (fence_gone_) r.fence.clear();
    persist(std::move(r), then::open);
}

void maintenance::opened() {
    phase_ = phase::read_write;
    mode_ = mode::read_write;
    if (!cancelled_ || fence_gone_) ++generation_;  // connections opened while the fence went up may have it
    drained_ = proved_ = intended_ = after_restart_ = adopt_paused_ = false;
    outsiders_.clear();
    bypassing_.clear();
    prepared_.clear();
    std::erase_if(replicas_, [](replica const& r) { return !r.touched; });
    leases_.clear();
    publish_mode();
    tell(effect::turn::opened);
    if (cancelled_) {
        say(effect::loudness::notice, "read_write", "writes are open again, as if nothing had happened");
    } else {
        error_.reset();
        say(effect::loudness::notice, "reopened",
            target_ ? "writes are open; the window ended at " + format_lsn(*target_)
                    : std::string("writes are open"));
    }
    if (!record_.fence.empty()) fence_is_owed();
}

/// In read_write: a resume that was owed is confirmed, so the record need not name the replica any more.
void maintenance::owed_tick() {
    auto const settled =
        std::erase_if(replicas_, [](replica const& r) { return !r.touched && r.step == step::done; });
    if (settled > 0) {
        say(effect::loudness::notice, "resumed", "a replica's replay goes on again");
        publish();
    }
    maintenance_record r = record_;
    r.replicas = held_replicas();
    if (r.replicas.size() != record_.replicas.size()) persist(std::move(r), then::nothing);
}

}  // namespace lull::routing
