// From draining to sealed: nobody writes, the log proves it, the replicas stand still behind it.
#include "routing/maintenance.hpp"
#include "routing/break_points.hpp"

#include <algorithm>

namespace lull::routing {

namespace {

std::string count_of(std::size_t n, char const* one, char const* many) {
    return std::to_string(n) + " " + (n == 1 ? one : many);
}

std::string in_words(config::milliseconds t) {
    if (t.count() < 1000) return std::to_string(t.count()) + " ms";
    return std::to_string(t.count() / 1000) +
           (t.count() % 1000 >= 100 ? "." + std::to_string(t.count() % 1000 / 100) : "") + " s";
}

}  // namespace

void maintenance::entered() {
    phase_ = phase::draining;
    mode_ = mode::draining;
    error_.reset();
    cancelled_ = after_restart_ = adopt_paused_ = false;
    drained_ = proved_ = intended_ = deadline_said_ = writer_said_ = nudge_ = false;
    writing_.clear();
    target_.reset();
    primary_asked_.reset();
    primary_note_.clear();
    outsiders_.clear();
    bypassing_.clear();
    prepared_.clear();
    forget_fence();
    fence_ended_.clear();
    fence_ended_more_ = 0;
    freeze_problem_.clear();
    freeze_fix_.clear();
    freezing_ = !wanted_.empty();
    for (auto const& address : wanted_) at_hand(address, step::catching_up).step = step::catching_up;
    drain_deadline_ = at_.now + record_.request.drain_timeout;
    end_again_ = drain_deadline_;
    shout_at_.reset();
    keep_leases();
    publish_mode();
    tell(effect::turn::entering);
    say(effect::loudness::notice, "draining",
        "no new writes; waiting for those in flight" +
            (record_.request.reason.empty() ? std::string() : " (" + record_.request.reason + ")"));
}

void maintenance::worker_said(event::worker_said const& w) {
    if (w.worker >= seats_.size()) return;
    auto& seat = seats_[w.worker];
    take_broken(w.broken);
    if (w.snapshot < seat.snapshot) return;
    seat = {w.snapshot, w.writers, w.who};
    if (!snapshot_ || w.snapshot < *snapshot_) return;  // speaks of an earlier mode

    switch (phase_) {
        case phase::read_write:
        case phase::reopening:
            return;
        case phase::draining:
        case phase::recovering:
        case phase::sealing:
            for (auto const& who : w.who) wait_for(who);
            if (at_disk_ || pending_) return;
            if (drained_ && w.writers > 0) return back_to_draining();
            return look_whether_drained();
        case phase::sealed:
            if (w.writers > 0 && !writer_said_) {
                writer_said_ = true;
                say(effect::loudness::error, "writer_while_sealed",
                    "a worker reports a write while sealed: " +
                        (w.who.empty() ? std::string("?") : w.who.front()));
            }
            return;
    }
}

bool maintenance::drained() const {
    if (broken("late_seal")) return snapshot_.has_value();
    return snapshot_ && std::all_of(seats_.begin(), seats_.end(), [&](seat const& s) {
               return s.snapshot >= *snapshot_ && s.writers == 0;
           });
}

std::size_t maintenance::writers() const {
    std::size_t sum = 0;
    for (auto const& s : seats_) sum += s.writers;
    return sum;
}

/// The first few, behind a colon.
std::string maintenance::named_writers() const {
    constexpr std::size_t few = 3;
    std::string text;
    std::size_t named = 0;
    for (auto const& s : seats_) {
        for (auto const& who : s.who) {
            if (named++ < few) text += (text.empty() ? " (" : "; ") + who;
        }
    }
    for (auto const& who : suspects()) {
        if (named++ < few) text += (text.empty() ? " (" : "; ") + who;
    }
    if (named > few) text += "; ...";
    return text.empty() ? text : text + ")";
}

void maintenance::tick_draining() {
    look_whether_drained();
    if (phase_ != phase::draining) return;
    watch_primary();
    if (at_.now < drain_deadline_) return;
    std::size_t const count = writers() + suspects().size();
    std::string const late = count_of(count, "write is", "writes are") + " still in flight after " +
                             in_words(record_.request.drain_timeout) + named_writers();
    auto const how = record_.request.on_deadline;
    bool const first = !deadline_said_;
    deadline_said_ = true;
    switch (how) {
        case config::on_deadline::wait:
            if (first)
                say(effect::loudness::warning, "drain_deadline",
                    late + "; waiting on, as on_deadline: wait says");
            return;
        case config::on_deadline::cancel:
        case config::on_deadline::terminate:
            // Again for those that were admitted before the flip but had not begun when the first order came.
            if (at_.now < end_again_) return;
            end_again_ = at_.now + timing_.end_writers_again;
            if (count == 0 && !first) return;
            if (gives_up_on_prepared(late)) return;
            effects_.push_back(effect::end_writers{how == config::on_deadline::terminate});
            end_broken_ = how == config::on_deadline::terminate ? effect::session_end::terminate
                                                                : effect::session_end::cancel;
            return say(effect::loudness::warning, "drain_deadline",
                       late + (how == config::on_deadline::terminate ? "; their sessions are terminated"
                                                                     : "; they are cancelled"));
        case config::on_deadline::abort:
            return fail_entering(
                "gave up entering maintenance: " + late,
                "see who writes (lull status " + site_ +
                    "), then repeat with a longer --drain-timeout or with --on-deadline wait, cancel "
                    "or terminate");
    }
}

void maintenance::look_whether_drained() {
    if (drained_ || !drained()) return;
    drained_ = true;
    looked_for_writing_ = false;
    writing_.clear();
    target_.reset();
    if (!provable_) {
        proved_ = true;
        if (!broken_.empty())
            say(effect::loudness::warning, "broken_unseen",
                "without a `control` role nobody can tell whether the server still works on " +
                    broken_.front().who);
        broken_.clear();
    }
    if (!suspicious()) start_sealing();
    if (!provable_) return go_on_sealing();
    ask_primary(false);
}

void maintenance::start_sealing() {
    if (phase_ == phase::draining) phase_ = phase::sealing;
    deadline_ = at_.now + timing_.seal_timeout;
}

void maintenance::back_to_draining() {
    say(effect::loudness::warning, "draining_again",
        "a write came up after all were gone; the proof starts anew");
    drained_ = proved_ = false;
    writing_.clear();
    target_.reset();
    primary_asked_.reset();
    if (phase_ == phase::sealing) phase_ = phase::draining;
    // Recovering: the replicas stand where the first proof put them.
    if (record_.phase == phase::sealed) return;
    for (auto& r : replicas_) {
        // What was paused already may miss that write: seen_catching_up() resumes it first.
        if (r.step == step::pausing || r.step == step::frozen) r.step = step::catching_up;
    }
}

void maintenance::primary_seen(event::primary_seen const& s) {
    if (primary_asked_ != s.ticket) return;
    primary_asked_.reset();
    primary_note_.clear();
    outsiders_ = s.outsiders;
    bypassing_ = s.bypassing;
    prepared_ = s.prepared;
    suspects_seen(s);
    own_writes_seen(s);
    if (phase_ == phase::sealed) return xids_seen(s);
    if (phase_ == phase::reopening) {
        if (!target_) {
            target_ = s.inserted;
            target_horizon_ = s.horizon;  // before our own message that has the log flushed
        }
        proved_ = proved_ || s.flushed >= *target_;  // what is not flushed is not sent to replicas either
        return go_on_reopening();
    }
    if (refuses_prepared() || !drained_ || proved_) return;
    if (suspicious()) {
        // The deadline for writes in flight goes for these.
        if (phase_ == phase::sealing && record_.phase == phase::draining) phase_ = phase::draining;
        for (auto const& who : suspects()) wait_for(who);
        target_.reset();  // they may write until they are gone: the position must be taken after that
        return;
    }
    if (phase_ == phase::draining) start_sealing();
    if (!fence_stands()) return;
    if (!target_) target_ = s.inserted;
    target_horizon_ = s.horizon;  // behind our own message that has the log flushed
    if (s.flushed < *target_) {
        nudge_ = true;
        return;
    }
    proved_ = true;
    if (!outsiders_.empty())
        say(effect::loudness::warning, "outsiders",
            count_of(outsiders_.size(), "session", "sessions") +
                " past Lull may write, first: " + outsiders_.front());
    go_on_sealing();
}

void maintenance::primary_failed(event::primary_failed const& f) {
    if (primary_asked_ != f.ticket) return;
    primary_asked_.reset();
    primary_note_ = f.error;
}

void maintenance::tick_sealing() {
    if (!drained_) return look_whether_drained();
    if (!suspicious()) {
        raise_fence();
        if (at_.now >= deadline_) give_up_fence();
        if (phase_ != phase::sealing && phase_ != phase::recovering) return;
    }
    // A restarted window has nobody to fall back to: it waits closed for as long as it takes.
    if (at_.now >= deadline_ && !after_restart_) {
        if (!proved_) {
            return fail_entering(
                "could not prove within " + in_words(timing_.seal_timeout) + " that everything is on disk" +
                    (primary_note_.empty() ? std::string() : ": the primary: " + primary_note_),
                "check the primary and the role under `control` in the configuration (lull check), then "
                "repeat");
        }
        for (auto& r : replicas_) {
            if (r.step == step::catching_up || r.step == step::pausing)
                leave_out(r, r.note.empty() ? "not frozen in time" : "not frozen in time: " + r.note);
        }
    }
    if (!proved_ && !primary_asked_ && (fence_stands() || suspicious())) ask_primary(nudge_);
    ask_replicas();
    go_on_sealing();
}

void maintenance::go_on_sealing() {
    if (!proved_ || pending_ || !fence_stands()) return;
    if (any(step::catching_up) && !intended_) {
        maintenance_record r = record_;
        if (phase_ == phase::sealing) r.phase = phase::sealing;
        for (auto const& each : replicas_) {
            bool const known =
                std::any_of(r.replicas.begin(), r.replicas.end(),
                            [&](paused_replica const& p) { return p.address == each.address; });
            if (each.step == step::catching_up && !known) r.replicas.push_back({each.address, std::nullopt});
        }
        return persist(std::move(r), then::intend);
    }
    for (auto& r : replicas_) {
        bool const open_question =
            r.step == step::catching_up || r.step == step::pausing || r.step == step::unknown;
        if (!open_question) continue;
        if (!patience_is_over(r)) return;
        if (r.step != step::unknown) leave_out(r, r.note);
    }
    if (freezing_ && !any(step::frozen) && !after_restart_) {
        return fail_entering(
            "no replica could be frozen: " + freeze_problem_,
            (freeze_fix_.empty() ? std::string("repair the replica") : freeze_fix_) +
                "; or go without: `lull maintenance on " + site_ +
                " --no-freeze`, or `freeze: off` in the configuration (reads then go to the primary "
                "and wait for the migration's locks)");
    }
    seal();
}

void maintenance::seal() {
    if (!drained() || suspicious()) return back_to_draining();
    maintenance_record r = record_;
    if (phase_ == phase::sealing) r.epoch = next_epoch();
    if (record_.phase != phase::sealed) r.since = at_.wall;
    // A window that was sealed before the restart has been closed ever since: its first proof is the stronger
    // one.
    if (!r.sealed_at || record_.phase != phase::sealed) {
        // Where the record was lost, replicas may stand at a better position, which nobody knows any more.
        if (!adopt_paused_) {
            r.sealed_lsn = target_;
            r.at_sealing = provable_ ? target_horizon_ : horizon{};
        }
        r.sealed_at = at_.wall;
        r.sealed_epoch = r.epoch;
    }
    r.phase = phase::sealed;
    r.replicas = held_replicas();
    persist(std::move(r), then::seal);
}

void maintenance::sealed() {
    if (phase_ == phase::sealing) ++generation_;
    phase_ = phase::sealed;
    mode_ = mode::sealed;
    error_.reset();
    publish_mode();
    tell(effect::turn::sealed);
    std::size_t frozen = 0;
    for (auto const& r : replicas_) frozen += r.step == step::frozen;
    say(effect::loudness::notice, "sealed",
        (record_.sealed_lsn ? "sealed at " + format_lsn(*record_.sealed_lsn)
                            : std::string("sealed (without a log position: no `control` role)")) +
            (frozen > 0 ? ", " + count_of(frozen, "replica", "replicas") + " frozen" : "") + ", waited for " +
            count_of(record_.waited_for.size(), "writer", "writers"));
    if (freezing_ && frozen == 0)
        say(effect::loudness::error, "not_frozen",
            "no replica is frozen: reads go to the primary. " + freeze_problem_);
}

void maintenance::fail_entering(std::string text, std::string fix) {
    fail(std::move(text), std::move(fix));
    cancel();
}

}  // namespace lull::routing
