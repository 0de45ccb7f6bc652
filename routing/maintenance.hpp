// THE state machine of a site's maintenance: events in, effects out. Pure: no clock, no sockets, no files;
// time arrives with each event. One per site, owned by the control thread, which carries out the effects in
// order and feeds back what came of them.
//
//  read_write --begin--> draining --no write in flight on any worker--> sealing --proof, freeze--> sealed
//      ^                    |  deadline: wait|cancel|terminate|abort       |                         |
//      |                    +-------------cancel, failure------------------+                         |
//      +<---- replicas resumed and caught up ------ reopening <---------------------finish-----------+
//                                                       ^                                            ^
//  restart: the file says anything but read_write --> recovering (closed) --leftovers gone, proof----+
//
// What a client may do follows from view().mode alone. Rules that hold at every step (and are tested so):
// - A record is persisted before what it says is published; `publish` never follows a failed persist.
// - read_write is published only after a record that says read_write is on disk, and then only once. (A record
//   that opens, is in its place and could not be flushed counts: a power cut then finds the site closed.)
// - Sealed is reached only after every worker has taken over a snapshot of this epoch and reported no writer,
//   and, where the control role can see the primary, with an LSN that covers every commit and is flushed.
// - Replicas that may have been paused are in the record until a resume was confirmed.
// - Epochs only grow; each change of `mode` has its own.
#pragma once

#include "routing/maintenance_events.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace lull::routing {

/// What went wrong last, in words for the operator.
struct maintenance_error {
    std::string text;
    std::string fix;           // what to do or to run; may be empty
    std::uint64_t number = 0;  // grows with each
};

struct replica_view {
    std::string address;
    bool reserved = false;  // no other site may freeze it
    bool held = false;      // may be paused: nobody reads from it, unless `readable`, and then only this site
    bool readable = false;  // stands frozen where it should
    std::optional<lsn> at;
    std::string note;  // why not, "waits for 0/3000148"
};

/// One reason for the site to be closed.
struct claim_view {
    window_request claim;
    std::optional<config::milliseconds> lease_left;  // nothing: it has no lease
    bool lapsed = false;                             // its lease has ended
};

enum class fence_state : std::uint8_t {
    none,
    raising,
    up,
    missing,   // it could not be put up, and the site is sealed all the same
    lowering,
    owed,      // the site is open, and it could not be taken away yet
};

struct maintenance_view {
    lull::routing::phase phase = phase::read_write;
    lull::routing::mode mode = mode::read_write;
    lull::routing::epoch epoch{};
    std::uint64_t generation = 0;
    bool frozen = false;
    instant fresh_floor{};
    std::vector<replica_view> replicas;
};

struct moment {
    instant now;
    wall_time wall;
};

class maintenance {
  public:
    /// Times that are the same for all windows of a site; may change with a reload.
    struct timing {
        config::milliseconds seal_timeout{60'000};
        config::milliseconds end_writers_again{5'000};
        config::milliseconds replica_patience{5'000};  // an unreachable replica is left out after this
        config::milliseconds persist_again{1'000};
        config::milliseconds watch{200};            // how often a frozen replica is looked at
        config::milliseconds watch_primary{1'000};  // how often one looks who else writes
        config::milliseconds shout_again{60'000};   // how often an overdue window is told of
    };

    maintenance(std::string site, std::size_t workers, timing t);

    [[nodiscard]] std::vector<maintenance_effect> on(maintenance_event const&, moment);

    [[nodiscard]] maintenance_view view() const;
    [[nodiscard]] maintenance_record const& record() const { return record_; }
    [[nodiscard]] std::optional<maintenance_error> const& error() const { return error_; }
    /// What the machine waits for now, one line each, for status.
    [[nodiscard]] std::vector<std::string> waiting_for() const;
    [[nodiscard]] std::vector<std::string> const& outsiders() const { return outsiders_; }
    [[nodiscard]] std::vector<std::string> const& bypassing() const { return bypassing_; }
    /// Backends that may write although nobody is connected to them any more, one line each.
    [[nodiscard]] std::vector<std::string> suspects() const;
    /// Why the site is closed; empty where it is open.
    [[nodiscard]] std::vector<claim_view> claims(instant now) const;
    /// Past its expected end.
    [[nodiscard]] bool overdue(wall_time now) const;
    [[nodiscard]] fence_state fence() const;
    /// Why it does not stand, or is not gone; may be empty.
    [[nodiscard]] std::string const& fence_note() const { return fence_note_; }
    /// Whose sessions it has ended in this window, in this process; the last line may be "... and 7 more".
    [[nodiscard]] std::vector<std::string> fence_ended() const;
    [[nodiscard]] std::vector<std::string> const& prepared() const { return prepared_; }
    void set_timing(timing t) { timing_ = t; }
    /// Open, and nothing is owed: ticks do nothing until another event comes.
    [[nodiscard]] bool at_rest() const;

  private:
    enum class step : std::uint8_t {
        catching_up,  // sealing: until it has replayed the sealed LSN
        pausing,      // sealing: ordered, until it says `paused`
        unknown,      // recovering: the record says that it was paused; look first
        frozen,
        thawed,     // was frozen, moved on: not read from
        left_out,   // could not be frozen; never paused by us, or resumed
        resuming,   // until it says that it is not paused
        following,  // reopening: until it has replayed the finish LSN
        done,       // resumed and, where that was waited for, caught up
    };
    struct replica {
        std::string address;
        maintenance::step step = step::catching_up;
        bool touched = false;  // belongs in the record
        bool ordered = false;  // may be paused: an order was given, by this process or the one before
        std::optional<lsn> at;
        std::optional<ticket> asked;
        instant ask_at{};  // not before
        std::optional<instant> failing_since;
        bool hopeless = false;  // failed for want of rights: not waited for
        std::string note;
    };
    enum class then : std::uint8_t { restarted, entered, claims, fence, intend, seal, reopen, open, nothing };
    struct pending {
        maintenance_record record;
        maintenance::then then = then::entered;
    };
    struct seat {  // what a worker said last
        std::uint64_t snapshot = 0;
        std::size_t writers = 0;
        std::vector<std::string> who;
    };

    // maintenance.cpp: events, and what is common to all steps
    void begin(event::begin const&);
    void finish(event::finish const&);
    void restart(event::restart const&);
    void tick();
    void persisted();
    void persist_failed(event::persist_failed const& f);
    void end_told();
    void persist(maintenance_record, then);
    void publish();       // what workers see changed, but not the mode
    void publish_mode();  // workers must acknowledge it
    void say(effect::loudness, std::string event, std::string text);
    void fail(std::string text, std::string fix);
    void set_record(maintenance_record);
    [[nodiscard]] lull::routing::epoch next_epoch() const;
    // maintenance_seal.cpp: from draining to sealed
    void worker_said(event::worker_said const&);
    void entered();
    void tick_draining();
    void tick_sealing();
    void look_whether_drained();
    void start_sealing();
    void back_to_draining();
    void primary_seen(event::primary_seen const&);
    void primary_failed(event::primary_failed const&);
    void go_on_sealing();
    void seal();
    void sealed();
    void fail_entering(std::string text, std::string fix);
    [[nodiscard]] bool drained() const;
    [[nodiscard]] std::size_t writers() const;
    [[nodiscard]] std::string named_writers() const;
    // maintenance_claims.cpp: why it is closed, and who says so
    void claim(window_request const&);
    bool drop_claim(std::string const& as);
    void renew(std::string const& as);
    void keep_leases();
    void watch_claims();
    void tell(effect::turn);
    // maintenance_suspects.cpp: backends that nobody is connected to any more; watching the primary
    void take_broken(std::vector<broken_session> const&);
    void ask_primary(bool nudge);
    void watch_primary();
    void suspects_seen(event::primary_seen const&);
    void xids_seen(event::primary_seen const&);
    void own_writes_seen(event::primary_seen const&);
    void wait_for(std::string const& who);
    [[nodiscard]] bool suspicious() const;
    // maintenance_fence.cpp: those who do not come through Lull
    [[nodiscard]] bool fence_stands() const;
    void forget_fence();
    void ask_fence(effect::fence_order);
    void raise_fence();
    bool lower_fence();
    void owed_fence();
    void fence_seen(event::fence_seen const&);
    void fence_failed(event::fence_failed const&);
    void learn_settings(std::vector<fence_setting> const&);
    void ended(std::vector<std::string> const& sessions);
    void fence_recorded();
    void fence_lowered();
    void give_up_fence();
    void fence_is_owed();
    bool refuses_prepared();
    bool gives_up_on_prepared(std::string const& late);
    // maintenance_replicas.cpp: one replica's way
    void replica_seen(event::replica_seen const&);
    void replica_failed(event::replica_failed const&);
    void seen_catching_up(replica&, event::replica_seen const&);
    void seen_unknown(replica&, event::replica_seen const&);
    void seen_frozen(replica&, event::replica_seen const&);
    void seen_resuming(replica&, event::replica_seen const&);
    void leave_out(replica&, std::string why);
    void lose_freeze(replica&, std::string why);
    void set_frozen(replica&, lsn at);
    void ask_replicas();
    void ask(replica&, replica_order);
    void go_on();
    [[nodiscard]] bool patience_is_over(replica const&) const;
    [[nodiscard]] replica* find(std::string const& address);
    replica& at_hand(std::string const& address, step);
    [[nodiscard]] bool any(step) const;
    [[nodiscard]] std::vector<paused_replica> held_replicas() const;
    // maintenance_reopen.cpp: from sealed, or from a failed entering, to read_write
    void cancel();
    void start_reopening();
    void tick_reopening();
    void go_on_reopening();
    void open();
    void opened();
    void owed_tick();

    std::string site_;
    timing timing_;
    maintenance_record record_;  // as persisted
    lull::routing::phase phase_ = phase::read_write;
    lull::routing::mode mode_ = mode::read_write;
    std::uint64_t generation_ = 0;
    instant fresh_floor_{};
    std::vector<replica> replicas_;
    std::vector<seat> seats_;
    std::optional<std::uint64_t> snapshot_;  // the first that carries this mode
    std::vector<std::string> outsiders_;
    std::vector<std::string> bypassing_;
    std::vector<std::string> prepared_;
    config::prepared_policy prepared_policy_ = config::prepared_policy::report;
    config::fence_policy fence_policy_ = config::fence_policy::off;
    bool fence_tried_ = false;  // an order to raise it may have been carried out
    bool fence_up_ = false;    // confirmed
    bool unfenced_ = false;    // given up
    bool fence_gone_ = false;  // taken away; the record does not say so yet
    std::optional<ticket> fence_asked_;
    effect::fence_order fence_order_ = effect::fence_order::raise;  // what was asked
    instant fence_at_{};                                            // not before
    std::optional<instant> fence_failing_since_;
    instant fence_shout_at_{};
    std::string fence_note_;
    std::string fence_fix_;
    std::vector<std::string> fence_left_;   // sessions from before it that have not ended yet
    std::vector<std::string> fence_ended_;  // at most 50
    std::size_t fence_ended_more_ = 0;
    std::vector<std::string> leftovers_;
    std::optional<instant> leftovers_before_;  // nobody has looked yet whether they are gone
    std::optional<instant> leftovers_asked_;   // in the question under way
    std::vector<broken_session> broken_;
    std::vector<event::writing_session> writing_;  // taken for readers, while the server says otherwise
    bool looked_for_writing_ = false;              // since the last writer was gone
    std::size_t broken_asked_ = 0;  // so many of them, from the first on, are in the question under way
    effect::session_end end_broken_ = effect::session_end::no;  // goes with the next question
    instant watch_at_{};
    std::optional<maintenance_error> error_;

    struct lease {
        instant ends{};
        instant shout_at{};
        bool lapsed = false;
    };
    std::map<std::string, lease> leases_;  // by claim
    std::optional<instant> shout_at_;      // overdue: not before

    std::vector<std::string> wanted_;  // replicas to freeze, or at the end to wait for
    bool provable_ = true;
    bool after_restart_ = false;  // nobody opened this window in this process: never falls back to read_write
    bool adopt_paused_ = false;
    bool cancelled_ = false;  // reopening from an entering: nothing to catch up with
    bool drained_ = false;    // no writer was left; sealing goes on
    bool proved_ = false;     // everything up to target_ is flushed
    bool intended_ = false;   // the record names the replicas that may be paused from now on
    bool freezing_ = false;   // replicas were to be frozen
    bool deadline_said_ = false;
    bool writer_said_ = false;
    std::string freeze_problem_;  // the last reason why a replica was left out, and its repair
    std::string freeze_fix_;
    horizon target_horizon_;     // of target_
    std::optional<lsn> target_;  // sealing: the sealed LSN to be; reopening: the finish LSN
    std::optional<ticket> primary_asked_;
    std::string primary_note_;
    bool nudge_ = false;
    instant drain_deadline_{};
    instant end_again_{};
    instant deadline_{};                 // of sealing or reopening
    std::optional<instant> persist_at_;  // try `pending_` again then
    std::optional<pending> pending_;
    bool at_disk_ = false;  // `pending_` is handed out and not answered yet
    std::uint64_t tickets_ = 0;
    std::uint64_t errors_ = 0;

    moment at_{};                              // of the event in hand
    std::vector<maintenance_effect> effects_;  // of the event in hand
};

}  // namespace lull::routing
