// What happens to the maintenance machine, and what it wants done: plain values.
#pragma once

#include "routing/maintenance_record.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace lull::routing {

/// A server session that was lost in the middle of something: the server may still carry that out.
struct broken_session {
    std::uint32_t pid = 0;  // 0: not known, it was lost while it logged in
    instant at{};     // when it was lost; the backend began before that, another one with this pid after it
    std::string who;  // one line
    friend bool operator==(broken_session const&, broken_session const&) = default;
};

enum class pause_state : std::uint8_t { not_paused, pause_requested, paused };
enum class replica_order : std::uint8_t { look, pause, resume };

/// Which ask an answer belongs to; others are stale and ignored.
enum class ticket : std::uint64_t {};

namespace event {

/// Where the site is closed or closing already: one more reason, or a new holder of one that is there.
/// `replicas`: addresses of those to freeze, healthy now; empty: do not freeze. `provable`: there is a role
/// that can ask the primary.
struct begin {
    window_request request;
    std::vector<std::string> replicas;
    bool provable = true;
    config::fence_policy fence = config::fence_policy::off;
    config::prepared_policy prepared = config::prepared_policy::report;
};
/// Ends a window, or cancels one that is being entered. `replicas`: the healthy ones, to be waited for. `as`:
/// clears that reason alone; others keep the site closed. Empty: all of them.
struct finish {
    std::vector<std::string> replicas;
    std::string as;
};
/// The holder of that reason is alive.
struct renew {
    std::string as;
};
/// First event of a machine. `replicas`: all of the site; `provable` as in begin. `adopt_paused`: the record
/// is a guess, because the file was lost: it says sealed, its epoch is of no account, and whichever replica
/// is found paused is taken for ours.
struct restart {
    maintenance_record record;
    std::vector<std::string> replicas;
    bool provable = true;
    bool adopt_paused = false;
    config::fence_policy fence = config::fence_policy::off;
    config::prepared_policy prepared = config::prepared_policy::report;
};
/// The hook was called that tells of the end of a window.
struct end_told {};
struct tick {};
struct persisted {};
/// `in_place`: only a loss of power can bring the old record back.
struct persist_failed {
    std::string error;
    bool in_place = false;
};
/// The site as of now is in this snapshot and in all later ones.
struct published {
    std::uint64_t snapshot = 0;
};
struct worker_said {
    std::size_t worker = 0;
    std::uint64_t snapshot = 0;
    std::size_t writers = 0;
    std::vector<std::string> who;        // one line each, for the record
    std::vector<broken_session> broken;  // since it last said something
};
/// A session of Lull's own, not the migration's, that has a transaction id: it has written something.
struct writing_session {
    std::uint32_t pid = 0;
    std::uint32_t xid = 0;  // without its epoch
    std::string who;        // one line
};
struct primary_seen {
    lull::routing::ticket ticket{};
    lsn inserted{};  // without_page_header()
    lsn flushed{};
    std::vector<std::string> leftovers;  // only if asked: sessions from before that may still write
    std::vector<broken_session> broken;  // of those asked about: who is still there
    std::vector<std::string> outsiders;  // who writes past Lull; reported, not waited for
    std::vector<std::string> prepared;   // two-phase transactions that are open
    std::vector<std::string> bypassing;  // who else is in the databases without Lull; likewise
    lull::routing::horizon horizon;      // taken with `inserted`
    std::vector<xid_mark> xids;          // in use just before `inserted` was taken
    /// Likewise.
    std::vector<writing_session> writing;
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

/// `unknown`: settings that are not in the question; then nothing was changed. `left`: sessions from before the
/// fence that have not ended yet.
struct fence_seen {
    lull::routing::ticket ticket{};
    std::vector<fence_setting> unknown;
    bool changed = false;  // something had to be set, or put back
    std::vector<std::string> left;
    std::vector<std::string> ended;  // sessions past Lull, one line each
};
struct fence_failed {
    lull::routing::ticket ticket{};
    std::string error;
    std::string fix;        // may be empty
    failure why = failure::unreachable;
};

}  // namespace event

using maintenance_event =
    std::variant<event::begin, event::finish, event::renew, event::restart, event::end_told, event::tick,
                 event::persisted, event::persist_failed, event::published, event::worker_said,
                 event::primary_seen, event::primary_failed, event::replica_seen, event::replica_failed,
                 event::fence_seen, event::fence_failed>;

namespace effect {

/// Write it durably, then answer persisted or persist_failed before anything else is fed in.
struct persist {
    maintenance_record record;
};
/// Build a snapshot with view() in it, post it to the workers, answer published.
struct publish {};
enum class session_end : std::uint8_t { no, cancel, terminate };
struct ask_primary {
    lull::routing::ticket ticket{};
    /// Whether sessions of Lull's that began before this are still in the middle of something.
    std::optional<instant> leftovers_before;
    /// Whether these are still there.
    std::vector<broken_session> broken;
    session_end end_broken = session_end::no;
    /// The end of the log is not flushed yet: have it flushed rather than wait for the next commit.
    bool nudge = false;
};
struct ask_replica {
    std::string address;
    lull::routing::ticket ticket{};
    replica_order order = replica_order::look;
};
/// lower_unsure: an order to raise it was given, by this process or one before, and nobody knows whether it has been
/// taken away since: who is connected may have it.
enum class fence_order : std::uint8_t { raise, lower, lower_unsure };
struct ask_fence {
    lull::routing::ticket ticket{};
    fence_order order = fence_order::raise;
    std::vector<fence_setting> settings;  // these and no others
};
struct end_writers {
    bool terminate = false;  // else cancel
};
/// A lease has ended, and its reason is to go: answer with finish.
struct let_go {
    std::string as;
};
/// Turns of a window that others are told of.
enum class turn : std::uint8_t { entering, sealed, opened, overdue };
struct tell {
    effect::turn turn = turn::entering;
};
enum class loudness : std::uint8_t { info, notice, warning, error };
/// For the log and the audit file.
struct say {
    loudness level = loudness::info;
    std::string event;  // "sealed", "drain_deadline", ...
    std::string text;
};

}  // namespace effect

using maintenance_effect =
    std::variant<effect::persist, effect::publish, effect::ask_primary, effect::ask_replica,
                 effect::ask_fence, effect::end_writers, effect::let_go, effect::tell, effect::say>;

}  // namespace lull::routing
