#include "routing/maintenance.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace lull::routing {

namespace {

template <class... F>
struct overloaded : F... {
    using F::operator()...;
};
template <class... F>
overloaded(F...) -> overloaded<F...>;

constexpr char disk_fix[] = "make room or repair the rights in the state folder (state_dir)";

/// `verb`: on, off.
std::string then_run(char const* verb, std::string const& site) {
    return std::string(disk_fix) + ", then run `lull maintenance " + verb + " " + site + "` again";
}

}  // namespace

maintenance::maintenance(std::string site, std::size_t workers, timing t)
    : site_(std::move(site)), timing_(t), seats_(workers) {}

std::vector<maintenance_effect> maintenance::on(maintenance_event const& e, moment m) {
    at_ = m;
    effects_.clear();
    std::visit(overloaded{
                   [&](event::begin const& b) { begin(b); },
                   [&](event::finish const& f) { finish(f); },
                   [&](event::renew const& r) { renew(r.as); },
                   [&](event::restart const& r) { restart(r); },
                   [&](event::end_told const&) { end_told(); },
                   [&](event::tick const&) { tick(); },
                   [&](event::persisted const&) { persisted(); },
                   [&](event::persist_failed const& f) { persist_failed(f); },
                   [&](event::published const& p) {
                       if (!snapshot_) snapshot_ = p.snapshot;
                   },
                   [&](event::worker_said const& w) { worker_said(w); },
                   [&](event::primary_seen const& s) { primary_seen(s); },
                   [&](event::primary_failed const& f) { primary_failed(f); },
                   [&](event::fence_seen const& s) { fence_seen(s); },
                   [&](event::fence_failed const& f) { fence_failed(f); },
                   [&](event::replica_seen const& s) { replica_seen(s); },
                   [&](event::replica_failed const& f) { replica_failed(f); },
               },
               e);
    return std::exchange(effects_, {});
}

void maintenance::begin(event::begin const& b) {
    if (at_disk_) return;
    if (phase_ != phase::read_write) return claim(b.request);
    wanted_ = b.replicas;
    provable_ = b.provable;
    fence_policy_ = b.fence;
    prepared_policy_ = b.prepared;
    maintenance_record r = record_;
    r.phase = phase::draining;
    r.epoch = next_epoch();
    r.request = b.request;
    r.request.since = r.since = at_.wall;
    r.others.clear();
    r.replicas = held_replicas();
    r.sealed_lsn.reset();
    r.sealed_at.reset();
    r.sealed_epoch = {};
    r.waited_for.clear();
    r.at_sealing = {};
    r.marks.clear();
    r.untold.reset();  // it will be told of the end of this one
    persist(std::move(r), then::entered);
}

void maintenance::finish(event::finish const& f) {
    if (at_disk_ || drop_claim(f.as)) return;
    switch (phase_) {
        case phase::read_write:
        case phase::reopening:
            return;
        case phase::draining:
        case phase::sealing:
            say(effect::loudness::notice, "cancelled", "entering maintenance was cancelled");
            return cancel();
        case phase::sealed:
        case phase::recovering: {
            // What a restart has to write comes first: nobody would repeat it.
            if (pending_ && pending_->then == then::restarted)
                return fail(error_ ? error_->text : "the state file cannot be written yet; " + site_ + " stays closed",
                            then_run("off", site_));
            wanted_ = f.replicas;
            maintenance_record r = record_;
            r.phase = phase::reopening;
            r.epoch = next_epoch();
            r.since = at_.wall;
            r.replicas = held_replicas();
            return persist(std::move(r), then::reopen);
        }
    }
}

void maintenance::restart(event::restart const& e) {
    record_ = e.record;
    provable_ = e.provable;
    if (provable_) leftovers_before_ = at_.now;
    adopt_paused_ = e.adopt_paused;
    fence_policy_ = e.fence;
    prepared_policy_ = e.prepared;
    fence_tried_ = !record_.fence.empty();
    wanted_ =
        record_.phase == phase::reopening || record_.request.freeze ? e.replicas : std::vector<std::string>{};
    if (adopt_paused_) {
        // What epochs there were is not known any more: begin where none grown one a change can have come to.
        auto const seconds =
            std::chrono::duration_cast<std::chrono::seconds>(at_.wall.time_since_epoch()).count();
        record_.epoch =
            std::max(record_.epoch, epoch{static_cast<std::uint64_t>(std::max<long long>(seconds, 0))});
        for (auto const& address : e.replicas) record_.replicas.push_back({address, std::nullopt});
    }
    auto const keep = [&](step s) {
        for (auto const& p : record_.replicas) {
            auto& r = at_hand(p.address, s);
            r.touched = r.ordered = true;
            r.at = p.at;
        }
    };
    switch (record_.phase) {
        case phase::read_write:
            keep(step::resuming);
            if (record_.untold) tell(effect::turn::opened);
            return;
        case phase::recovering:  // never written; treated as what it would have become
        case phase::draining:
        case phase::sealing:
            phase_ = phase::recovering;
            mode_ = mode::sealed;
            keep(step::catching_up);
            for (auto const& address : wanted_) at_hand(address, step::catching_up);
            break;
        case phase::sealed:
            phase_ = phase::recovering;
            mode_ = mode::sealed;
            keep(step::unknown);
            break;
        case phase::reopening:
            phase_ = phase::reopening;
            mode_ = mode::reopening;
            keep(step::resuming);
            for (auto const& address : wanted_) at_hand(address, step::following);
            fresh_floor_ = at_.now;
            deadline_ = at_.now + timing_.seal_timeout;
            break;
    }
    freezing_ = !replicas_.empty();
    after_restart_ = true;
    keep_leases();
    say(effect::loudness::warning, "recovering",
        mode_ == mode::reopening
            ? "was being reopened when Lull stopped; goes on with it"
            : "was not open when Lull stopped; stays closed. To open it: lull maintenance off " + site_);
    // Clients of the new process must not take this closed state for the one before the stop.
    maintenance_record r = record_;
    r.epoch = next_epoch();
    persist(std::move(r), then::restarted);
}

bool maintenance::at_rest() const {
    return phase_ == phase::read_write && !at_disk_ && !pending_ && !suspicious() && record_.fence.empty() &&
           replicas_.empty() && record_.replicas.empty();
}

void maintenance::tick() {
    if (at_disk_) return;
    watch_claims();
    if (pending_) {
        if (persist_at_ && at_.now >= *persist_at_) persist(std::move(pending_->record), pending_->then);
        return;
    }
    switch (phase_) {
        case phase::read_write:
            ask_replicas();
            if (suspicious()) watch_primary();
            owed_fence();
            return owed_tick();
        case phase::draining:
            return tick_draining();
        case phase::sealing:
        case phase::recovering:
            return tick_sealing();
        case phase::sealed:
            watch_primary();
            raise_fence();
            return ask_replicas();
        case phase::reopening:
            return tick_reopening();
    }
}

void maintenance::end_told() {
    if (!record_.untold || phase_ != phase::read_write) return;
    record_.untold.reset();
    if (!pending_) persist(record_, then::nothing);
}

void maintenance::persist(maintenance_record r, then what) {
    pending_ = pending{std::move(r), what};
    persist_at_.reset();
    at_disk_ = true;
    effects_.push_back(effect::persist{pending_->record});
}

void maintenance::persisted() {
    if (!at_disk_) return;
    at_disk_ = false;
    auto done = std::move(*pending_);
    pending_.reset();
    set_record(std::move(done.record));
    switch (done.then) {
        case then::restarted:
            return publish_mode();
        case then::entered:
            return entered();
        case then::claims:
            keep_leases();
            return publish();
        case then::fence:
            return fence_recorded();
        case then::intend:
            intended_ = true;
            for (auto& r : replicas_) {
                if (r.step == step::catching_up) r.touched = true;
            }
            return ask_replicas();
        case then::seal:
            return sealed();
        case then::reopen:
            return start_reopening();
        case then::open:
            return opened();
        case then::nothing:
            return;
    }
}

void maintenance::persist_failed(event::persist_failed const& f) {
    if (!at_disk_) return;
    if (f.in_place && opens(record_, pending_->record)) {
        // "It stays closed" would not be true: whatever kills Lull now, the next one opens.
        say(effect::loudness::warning, "not_flushed",
            f.error + "; goes on to open " + site_ + ". After a loss of power it may be found closed");
        return persisted();
    }
    at_disk_ = false;
    std::string const text = "cannot write the state file: " + f.error;
    switch (pending_->then) {
        case then::entered:
            pending_.reset();
            return fail(text + "; nothing was changed", then_run("on", site_));
        case then::reopen:
            pending_.reset();
            return fail(text + "; " + site_ + " stays closed", then_run("off", site_));
        case then::claims:
            pending_.reset();
            return fail(text + "; the reasons for " + site_ + " to be closed are as before",
                        std::string(disk_fix) + ", then repeat the command");
        case then::fence:
        case then::intend:
        case then::seal:
            if (phase_ == phase::sealing) {
                pending_.reset();
                return fail_entering(text, then_run("on", site_));
            }
            break;
        case then::restarted:
        case then::open:
        case then::nothing:
            break;
    }
    // Nobody would repeat these; and until they are written nothing may open.
    persist_at_ = at_.now + timing_.persist_again;
    std::string const told = text + "; " + site_ + " stays as it is, and this is tried again each second";
    if (!error_ || error_->text != told) fail(told, disk_fix);
}

void maintenance::set_record(maintenance_record r) {
    // What became known while the disk was busy is not in the copy.
    r.waited_for = record_.phase == phase::read_write || r.phase == phase::read_write
                       ? std::move(r.waited_for)
                       : record_.waited_for;
    if (r.phase == record_.phase) {
        r.marks = record_.marks;
        r.untold = record_.untold;
    }
    record_ = std::move(r);
}

void maintenance::publish() {
    effects_.push_back(effect::publish{});
}

void maintenance::publish_mode() {
    snapshot_.reset();
    publish();
}

void maintenance::say(effect::loudness l, std::string name, std::string text) {
    effects_.push_back(effect::say{l, std::move(name), std::move(text)});
}

void maintenance::fail(std::string text, std::string fix) {
    say(effect::loudness::error, "error", fix.empty() ? text : text + ". To do: " + fix);
    error_ = maintenance_error{std::move(text), std::move(fix), ++errors_};
}

epoch maintenance::next_epoch() const {
    return epoch{static_cast<std::uint64_t>(record_.epoch) + 1};
}

maintenance_view maintenance::view() const {
    maintenance_view v{.phase = phase_,
                       .mode = mode_,
                       .epoch = record_.epoch,
                       .generation = generation_,
                       .frozen = mode_ == mode::sealed && any(step::frozen),
                       .fresh_floor = fresh_floor_,
                       .replicas = {}};
    for (auto const& r : replicas_) {
        bool const before_pause = r.step == step::catching_up || r.step == step::pausing;
        v.replicas.push_back({.address = r.address,
                              .reserved = r.touched || before_pause,

                              .held = r.ordered,
                              .readable = r.step == step::frozen,
                              .at = r.at,
                              .note = r.note});
    }
    return v;
}

std::vector<std::string> maintenance::waiting_for() const {
    std::vector<std::string> lines;
    bool const before_proof =
        phase_ == phase::draining || phase_ == phase::sealing || phase_ == phase::recovering;
    if (before_proof && !drained_) {
        std::size_t silent = 0;
        for (auto const& s : seats_) {
            if (!snapshot_ || s.snapshot < *snapshot_) ++silent;
            lines.insert(lines.end(), s.who.begin(), s.who.end());
        }
        if (silent > 0) lines.push_back(std::to_string(silent) + " worker(s) to take over the new mode");
    }
    if (before_proof && !proved_)
        for (auto& s : suspects()) lines.push_back(std::move(s));
    if (before_proof && drained_ && !proved_) {
        if (target_) lines.push_back("the primary to flush its log up to " + format_lsn(*target_));
        if (!primary_note_.empty()) lines.push_back("the primary: " + primary_note_);
    }
    if (before_proof && drained_ && !fence_stands()) {
        for (auto const& l : fence_left_) lines.push_back("the end of a session past Lull: " + l);
        if (fence_left_.empty())
            lines.push_back("the fence on the server" + (fence_note_.empty() ? "" : ": " + fence_note_));
    }
    if (fence() == fence_state::lowering)
        lines.push_back("the fence on the server to be taken away" +
                        (fence_note_.empty() ? "" : ": " + fence_note_));
    for (auto const& r : replicas_) {
        bool const waited = r.step == step::catching_up || r.step == step::pausing ||
                            r.step == step::unknown || r.step == step::resuming || r.step == step::following;
        if (waited && !r.note.empty()) lines.push_back("replica " + r.address + ": " + r.note);
    }
    if (pending_ && !at_disk_) lines.push_back("the state file to become writable");
    return lines;
}

bool maintenance::any(step s) const {
    return std::any_of(replicas_.begin(), replicas_.end(), [&](replica const& r) { return r.step == s; });
}

}  // namespace lull::routing
