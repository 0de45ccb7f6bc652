// One replica's way through a window: catch up, stand still, be watched, go on.
#include "routing/maintenance.hpp"

#include <algorithm>
#include <chrono>

namespace lull::routing {

maintenance::replica* maintenance::find(std::string const& address) {
    auto const it = std::find_if(replicas_.begin(), replicas_.end(),
                                 [&](replica const& r) { return r.address == address; });
    return it == replicas_.end() ? nullptr : &*it;
}

/// The one of that address, or a new one in step `s`.
maintenance::replica& maintenance::at_hand(std::string const& address, step s) {
    if (auto* const known = find(address)) return *known;
    replica r;
    r.address = address;
    r.step = s;
    replicas_.push_back(std::move(r));
    return replicas_.back();
}

std::vector<paused_replica> maintenance::held_replicas() const {
    std::vector<paused_replica> held;
    for (auto const& r : replicas_) {
        if (r.touched) held.push_back({r.address, r.at});
    }
    return held;
}

bool maintenance::patience_is_over(replica const& r) const {
    return r.hopeless || (r.failing_since && at_.now - *r.failing_since >= timing_.replica_patience);
}

void maintenance::ask(replica& r, replica_order order) {
    r.asked = ticket{++tickets_};
    if (order == replica_order::pause) r.ordered = true;
    effects_.push_back(effect::ask_replica{r.address, *r.asked, order});
}

void maintenance::ask_replicas() {
    for (auto& r : replicas_) {
        if (r.asked || at_.now < r.ask_at) continue;
        switch (r.step) {
            case step::catching_up:
                if (proved_ && intended_) ask(r, replica_order::look);
                break;
            case step::pausing:
                ask(r, replica_order::pause);
                break;  // again: the first order may have been lost
            case step::unknown:
            case step::frozen:
            case step::following:
                ask(r, replica_order::look);
                break;
            case step::resuming:
                ask(r, replica_order::resume);
                break;
            case step::thawed:
            case step::left_out:
            case step::done:
                break;
        }
    }
}

void maintenance::replica_seen(event::replica_seen const& s) {
    auto* const r = find(s.address);
    if (!r || r->asked != s.ticket) return;
    r->asked.reset();
    r->failing_since.reset();
    r->hopeless = false;
    if (r->step == step::frozen || r->step == step::unknown) r->ask_at = at_.now + timing_.watch;
    switch (r->step) {
        case step::catching_up:
        case step::pausing:
            seen_catching_up(*r, s);
            break;
        case step::unknown:
            seen_unknown(*r, s);
            break;
        case step::frozen:
            seen_frozen(*r, s);
            break;
        case step::resuming:
            seen_resuming(*r, s);
            break;
        case step::following:
            if (target_ && s.replayed >= *target_) {
                r->step = step::done;
                r->note.clear();
            } else {
                r->note = "has replayed " + format_lsn(s.replayed) +
                          (target_ ? ", is to replay " + format_lsn(*target_) : std::string());
            }
            break;
        case step::thawed:
        case step::left_out:
        case step::done:
            break;
    }
    go_on();
}

void maintenance::replica_failed(event::replica_failed const& f) {
    auto* const r = find(f.address);
    if (!r || r->asked != f.ticket) return;
    r->asked.reset();
    r->ask_at = at_.now + (phase_ == phase::read_write ? timing_.persist_again : timing_.watch);
    if (!r->failing_since) r->failing_since = at_.now;
    r->hopeless = f.why == event::failure::rights;
    r->note = f.error;
    freeze_problem_ = f.address + ": " + f.error;
    freeze_fix_ = f.fix;
    if (f.why == event::failure::gone) {
        r->touched = r->ordered = false;
        r->step = step::done;
    } else if (r->step == step::frozen) {
        // It may come back thawed: nobody reads there until it was seen standing where it stood.
        r->step = step::unknown;
        say(effect::loudness::warning, "replica_lost",
            "frozen replica " + r->address + " cannot be asked: " + f.error);
        publish();
    }
    go_on();
}

void maintenance::go_on() {
    if (at_disk_) return;
    switch (phase_) {
        case phase::sealing:
        case phase::recovering:
            return go_on_sealing();
        case phase::reopening:
            return go_on_reopening();
        case phase::read_write:
            return owed_tick();
        case phase::draining:
        case phase::sealed:
            return;
    }
}

void maintenance::seen_catching_up(replica& r, event::replica_seen const& s) {
    if (!target_ || !intended_) return;
    if (s.replayed < *target_) {
        r.step = step::catching_up;
        r.note = "has replayed " + format_lsn(s.replayed) + ", is to replay " + format_lsn(*target_);
        // Paused too early, by an earlier try or by somebody else: what is missing would never come.
        if (s.state != pause_state::not_paused) ask(r, replica_order::resume);
        return;
    }
    if (s.state == pause_state::paused) return set_frozen(r, s.replayed);
    if (r.step == step::catching_up) {
        r.step = step::pausing;
        ask(r, replica_order::pause);
    }
    r.note = "is asked to pause its replay";
}

void maintenance::seen_unknown(replica& r, event::replica_seen const& s) {
    if (r.at && s.replayed > *r.at)
        return lose_freeze(r, "it has replayed " + format_lsn(s.replayed) + ", past " + format_lsn(*r.at) +
                                  " where it stood");
    switch (s.state) {
        case pause_state::pause_requested:
            return;
        case pause_state::paused:
            if (record_.sealed_lsn && s.replayed < *record_.sealed_lsn)
                return lose_freeze(r,
                                   "it stands at " + format_lsn(s.replayed) + ", before the sealed position");
            return set_frozen(r, s.replayed);
        case pause_state::not_paused:
            if (adopt_paused_ && !r.at) {  // nobody knows that it ever was
                r.touched = r.ordered = false;
                r.step = step::left_out;
                return;
            }
            // A restart forgets the pause. Nothing was replayed since: stop it again before something is.
            if (r.at) return ask(r, replica_order::pause);
            return lose_freeze(r, "its replay goes on");
    }
}

void maintenance::set_frozen(replica& r, lsn at) {
    bool const told = phase_ == phase::sealed || phase_ == phase::recovering;
    r.step = step::frozen;
    r.touched = r.ordered = true;
    r.at = at;
    r.note.clear();
    r.ask_at = at_.now + timing_.watch;
    if (told) {
        say(effect::loudness::notice, "replica_frozen",
            "replica " + r.address + " stands at " + format_lsn(at));
        publish();
    }
}

void maintenance::seen_frozen(replica& r, event::replica_seen const& s) {
    if (s.state == pause_state::paused && s.replayed == r.at) return;
    r.step = step::unknown;
    say(effect::loudness::warning, "replica_thawed",
        "replica " + r.address + " does not stand still any more (restarted?)");
    publish();
    seen_unknown(r, s);
}

void maintenance::lose_freeze(replica& r, std::string why) {
    r.note = "lost its freeze: " + why;
    freeze_problem_ = r.address + ": " + r.note;
    freeze_fix_.clear();
    r.at.reset();
    r.step = step::resuming;  // standing still at the wrong place serves nobody
    say(effect::loudness::error, "freeze_lost",
        "replica " + r.address + " " + r.note + ". It is not read from any more in this window");
    publish();
}

void maintenance::leave_out(replica& r, std::string why) {
    freeze_problem_ = r.address + ": " + why;
    say(effect::loudness::warning, "replica_left_out",
        "replica " + r.address + " is left out of this window: " + why);
    r.note = std::move(why);
    if (r.ordered) {
        r.step = step::resuming;  // the order may be carried out later: "pause requested"
    } else {
        r.step = step::left_out;
        r.touched = false;
    }
}

void maintenance::seen_resuming(replica& r, event::replica_seen const& s) {
    if (s.state != pause_state::not_paused) return;
    r.touched = r.ordered = false;
    r.at.reset();
    switch (phase_) {
        case phase::reopening:
            r.step = cancelled_ ? step::done : step::following;
            r.note.clear();
            return;
        case phase::sealed:
        case phase::sealing:
        case phase::draining:
        case phase::recovering:
            r.step = step::thawed;
            return publish();
        case phase::read_write:
            r.step = step::done;
            return;
    }
}

}  // namespace lull::routing
