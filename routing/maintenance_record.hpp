// What is known of a site's maintenance window and outlives the process. Plain values;
// proxy/state_format_core writes and reads them.
#pragma once

#include "config/model.hpp"
#include "routing/lsn.hpp"
#include "routing/snapshot.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
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

/// What becomes of a reason to be closed whose lease nobody renews any more.
enum class lease_end : std::uint8_t { stay, reopen };

/// Who is not named says this.
inline constexpr char default_claim[] = "operator";

/// What an operator asks for: one reason for a site to be closed. Reasons have names and are set and cleared
/// each for itself; a site is open when none is left.
struct window_request {
    std::string as = default_claim;
    std::string reason;
    std::string owner;
    wall_time since;
    /// 0: none. Otherwise whoever holds it has to say so again within this.
    config::milliseconds lease{0};
    lull::routing::lease_end on_lease_end = lease_end::stay;
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

/// A transaction id that was seen in use while the site was sealed: the migration's,
/// somebody's past Lull, or somebody's through it.
struct xid_mark {
    std::uint64_t xid = 0;
    bool migration = false;
    std::string who;            // one line
    bool through_lull = false;  // of a session of Lull's that is not the migration's
    friend bool operator==(xid_mark const&, xid_mark const&) = default;
};

/// pg_stat_database, the site's databases together: counters that only grow, a little behind the facts.
struct database_activity {
    std::int64_t commits = 0;  // of reads too
    std::int64_t rows = 0;     // inserted, updated or deleted, in the catalog too
    friend bool operator==(database_activity const&, database_activity const&) = default;
};

/// What the server said of its transactions at one moment.
struct horizon {
    std::string snapshot;  // pg_current_snapshot(), "xmin:xmax:xip,..."; empty: not known
    database_activity activity;
    std::string server = {};  // its system_identifier and timeline; empty: not known
    friend bool operator==(horizon const&, horizon const&) = default;
};

/// An end of a window, or of entering one, of which the hook has not been told yet, as far as one knows.
struct untold_end {
    std::string reason;
    std::string owner;
    std::optional<lsn> sealed_lsn;
    friend bool operator==(untold_end const&, untold_end const&) = default;
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
    horizon at_sealing;
    horizon at_end;
    std::vector<xid_mark> marks;
    friend bool operator==(past_window const&, past_window const&) = default;
};

/// What outlives the process. `phase` is never `recovering`.
struct maintenance_record {
    lull::routing::phase phase = phase::read_write;
    lull::routing::epoch epoch{};
    window_request request;              // the foremost: it decides how the site is entered
    std::vector<window_request> others;  // further reasons to be closed, in the order in which they came
    wall_time since;                     // of the phase's mode
    std::optional<lsn> sealed_lsn;
    std::optional<wall_time> sealed_at;
    lull::routing::epoch sealed_epoch{};
    std::vector<paused_replica> replicas;  // in read_write: those whose resume is still owed
    std::vector<fence_setting> fence;      // may be up; in read_write: is still to be taken away
    std::vector<std::string> waited_for;   // at most 50
    horizon at_sealing;                    // taken with sealed_lsn
    std::vector<xid_mark> marks;           // at most 200 of each kind, in the order in which they were seen
    std::optional<past_window> last_window;
    std::optional<untold_end> untold;
    std::vector<std::string> databases;    // of the site; noted by who stores this
    friend bool operator==(maintenance_record const&, maintenance_record const&) = default;
};

/// Whether a restart with `after` leads to an open site where one with `before` would stay closed, or sooner.
[[nodiscard]] bool opens(maintenance_record const& before, maintenance_record const& after);
/// When all reasons are expected to be gone; nothing where one of them does not say.
[[nodiscard]] std::optional<wall_time> expected_end(maintenance_record const& r);
/// Null: there is no reason of that name.
[[nodiscard]] window_request const* find_claim(maintenance_record const& r, std::string_view as);

}  // namespace lull::routing
