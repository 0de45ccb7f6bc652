// Which server a read may use, and how fresh a replica is. Pure; any thread (choose_reader runs on workers
// for every read, freshness on the control thread).
#pragma once

#include "routing/lsn.hpp"
#include "routing/snapshot.hpp"

#include <chrono>
#include <cstdint>
#include <deque>

namespace lull::routing {

/// May `replica` answer a read of this site, for a client whose own last write ended at `wrote_at`
/// (instant{}: it has not written)? A frozen site reads from its frozen replicas whatever the client wrote:
/// all of it was replayed before the freeze. Otherwise the replica must be healthy, not frozen for anybody,
/// within its cluster's lag, and have replayed everything up to `wrote_at` and up to the end of the site's
/// last window.
[[nodiscard]] bool may_read(snapshot const&, site const&, backend const& replica, instant wrote_at,
                            instant now);

/// The server for a read outside a writing transaction. `seed` chooses among those that may (a counter gives
/// round robin). Falls back to the primary; to a replica that has lost its freeze only where the primary is
/// not healthy either. Whether the read must be wrapped READ ONLY there is not its business.
[[nodiscard]] backend_id choose_reader(snapshot const&, site_id, instant wrote_at, instant now,
                                       std::uint64_t seed);

/// Turns pairs of (when asked, how far the primary's log reached) and a replica's replay positions into "has
/// replayed everything committed before ...". One per replica; the samples of its primary are given to each.
/// Bounded: 64 samples.
class freshness {
  public:
    /// `asked` must be taken BEFORE the primary was asked: a commit that ended before it is then at or below
    /// `inserted`.
    ///
    /// A log whose tail is not a commit (pruning by a reader writes such records) stays unflushed, and so
    /// unreplayed, until PostgreSQL's next running-xacts record, up to 15 s. Once nothing was inserted for
    /// `settled` (choose several wal_writer_delay: within three of them asynchronous commits are flushed),
    /// the flushed position is all there is to replay.
    void sampled(instant asked, lsn inserted, lsn flushed, instant::duration settled);
    void replayed(lsn);

    /// instant{}: not known yet.
    [[nodiscard]] instant through() const { return through_; }
    [[nodiscard]] lsn position() const { return position_; }

    /// After a promotion or a change of primary: the samples mean nothing any more.
    void forget();

  private:
    struct sample {
        instant asked;
        lsn reached;
    };
    void settle();

    std::deque<sample> waiting_;  // ascending in both members
    instant through_{};
    lsn position_{};
    lsn last_inserted_{};
    instant unmoved_since_{};
};

}  // namespace lull::routing
