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
// - read_write is published only after a record that says read_write is on disk, and then only once.
// - Sealed is reached only after every worker has taken over a snapshot of this epoch and reported no writer,
//   and, where the control role can see the primary, with an LSN that covers every commit and is flushed.
// - Replicas that may have been paused are in the record until a resume was confirmed.
// - Epochs only grow; each change of `mode` has its own.
#pragma once

#include "config/model.hpp"
#include "routing/lsn.hpp"
#include "routing/snapshot.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace lull::routing {

enum class phase : std::uint8_t {
    read_write,
    draining,  // waiting for the writes in flight
    sealing,   // none in flight; proof, replicas catch up and are frozen
    sealed,
    reopening,   // replicas are resumed and catch up; also the way back from a cancelled entering
    recovering,  // after a restart: closed, finding out what is true
};

/// What an operator asks for.
struct window_request {
    std::string reason;
    std::string owner;
    std::optional<wall_time> until;
    config::milliseconds drain_timeout{30'000};
    config::on_deadline on_deadline = config::on_deadline::wait;
    bool freeze = true;  // false: leave the replicas alone
    friend bool operator==(window_request const&, window_request const&) = default;
};

/// A replica whose replay this window has paused, or may have. Named by address: ids die with the process.
struct paused_replica {
    std::string address;
    std::optional<lsn> at;  // where its replay stands; nothing: the order to pause may have reached it or not
    friend bool operator==(paused_replica const&, paused_replica const&) = default;
};

struct past_window {
    lull::routing::epoch epoch{};  // of its sealing
    std::string reason;
    std::string owner;
    std::optional<lsn> sealed_lsn;
    wall_time sealed_at;
    std::optional<lsn> finish_lsn;
    wall_time reopened_at;
    std::vector<std::string> waited_for;
    friend bool operator==(past_window const&, past_window const&) = default;
};

/// What outlives the process. `phase` is never `recovering`.
struct maintenance_record {
    lull::routing::phase phase = phase::read_write;
    lull::routing::epoch epoch{};
    window_request request;
    wall_time since;  // of the phase's mode
    std::optional<lsn> sealed_lsn;
    std::optional<wall_time> sealed_at;
    lull::routing::epoch sealed_epoch{};
    std::vector<paused_replica> replicas;  // in read_write: those whose resume is still owed
    std::vector<std::string> waited_for;   // at most 50
    std::optional<past_window> last_window;
    friend bool operator==(maintenance_record const&, maintenance_record const&) = default;
};

enum class pause_state : std::uint8_t { not_paused, pause_requested, paused };
enum class replica_order : std::uint8_t { look, pause, resume };

/// Which ask an answer belongs to; others are stale and ignored.
enum class ticket : std::uint64_t {};

namespace event {

/// `replicas`: addresses of those to freeze, healthy now; empty: do not freeze. `provable`: there is a role
/// that can ask the primary.
struct begin {
    window_request request;
    std::vector<std::string> replicas;
    bool provable = true;
};
/// Ends a window, or cancels one that is being entered. `replicas`: the healthy ones, to be waited for.
struct finish {
    std::vector<std::string> replicas;
};
/// First event of a machine. `replicas`: all of the site; `provable` as in begin. `adopt_paused`: the record
/// is a guess, because the file was lost: it says sealed, its epoch is of no account, and whichever replica
/// is found paused is taken for ours.
struct restart {
    maintenance_record record;
    std::vector<std::string> replicas;
    bool provable = true;
    bool adopt_paused = false;
};
struct tick {};
struct persisted {};
struct persist_failed {
    std::string error;
};
/// The site as of now is in this snapshot and in all later ones.
struct published {
    std::uint64_t snapshot = 0;
};
struct worker_said {
    std::size_t worker = 0;
    std::uint64_t snapshot = 0;
    std::size_t writers = 0;
    std::vector<std::string> who;  // one line each, for the record
};
struct primary_seen {
    lull::routing::ticket ticket{};
    lsn inserted{};  // without_page_header()
    lsn flushed{};
    std::vector<std::string>
        leftovers;  // only if asked: sessions older than this process that may still write
    std::vector<std::string> outsiders;  // who writes past Lull; reported, not waited for
};
struct primary_failed {
    lull::routing::ticket ticket{};
    std::string error;
};
struct replica_seen {
    std::string address;
    lull::routing::ticket ticket{};
    lsn replayed{};
    pause_state state = pause_state::not_paused;
};
enum class failure : std::uint8_t {
    unreachable,  // may pass
    rights,       // will not pass by itself
    gone,         // no longer in the configuration: forget it
};
struct replica_failed {
    std::string address;
    lull::routing::ticket ticket{};
    std::string error;
    std::string fix;  // may be empty
    failure why = failure::unreachable;
};

}  // namespace event

using maintenance_event =
    std::variant<event::begin, event::finish, event::restart, event::tick, event::persisted,
                 event::persist_failed, event::published, event::worker_said, event::primary_seen,
                 event::primary_failed, event::replica_seen, event::replica_failed>;

namespace effect {

/// Write it durably, then answer persisted or persist_failed before anything else is fed in.
struct persist {
    maintenance_record record;
};
/// Build a snapshot with view() in it, post it to the workers, answer published.
struct publish {};
struct ask_primary {
    lull::routing::ticket ticket{};
    bool leftovers = false;
    /// The end of the log is not flushed yet: have it flushed rather than wait for the next commit.
    bool nudge = false;
};
struct ask_replica {
    std::string address;
    lull::routing::ticket ticket{};
    replica_order order = replica_order::look;
};
struct end_writers {
    bool terminate = false;  // else cancel
};
enum class loudness : std::uint8_t { info, notice, warning, error };
/// For the log and the audit file.
struct say {
    loudness level = loudness::info;
    std::string event;  // "sealed", "drain_deadline", ...
    std::string text;
};

}  // namespace effect

using maintenance_effect = std::variant<effect::persist, effect::publish, effect::ask_primary,
                                        effect::ask_replica, effect::end_writers, effect::say>;

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
        config::milliseconds watch{200};  // how often a frozen replica is looked at
    };

    maintenance(std::string site, std::size_t workers, timing t);

    [[nodiscard]] std::vector<maintenance_effect> on(maintenance_event const&, moment);

    [[nodiscard]] maintenance_view view() const;
    [[nodiscard]] maintenance_record const& record() const { return record_; }
    [[nodiscard]] std::optional<maintenance_error> const& error() const { return error_; }
    /// What the machine waits for now, one line each, for status.
    [[nodiscard]] std::vector<std::string> waiting_for() const;
    [[nodiscard]] std::vector<std::string> const& outsiders() const { return outsiders_; }
    void set_timing(timing t) { timing_ = t; }

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
    enum class then : std::uint8_t { restarted, entered, intend, seal, reopen, open, forget_owed };
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
    void persist_failed(std::string const& error);
    void persist(maintenance_record, then);
    void publish();       // what workers see changed, but not the mode
    void publish_mode();  // workers must acknowledge it
    void say(effect::loudness, std::string event, std::string text);
    void fail(std::string text, std::string fix);
    void ask_primary(bool leftovers, bool nudge);
    void set_record(maintenance_record);
    [[nodiscard]] lull::routing::epoch next_epoch() const;
    // maintenance_seal.cpp: from draining to sealed
    void worker_said(event::worker_said const&);
    void entered();
    void tick_draining();
    void tick_sealing();
    void look_whether_drained();
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
    std::vector<std::string> leftovers_;
    std::optional<maintenance_error> error_;

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
