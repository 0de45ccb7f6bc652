#include "routing/backends.hpp"

#include <algorithm>

namespace lull::routing {

namespace {

constexpr std::size_t max_samples = 64;

bool fresh_enough(site const& site, backend const& replica, instant wrote_at, instant now) {
    return replica.healthy && !replica.frozen_for && now - replica.fresh_through <= replica.max_lag &&
           replica.fresh_through >= std::max(wrote_at, site.fresh_floor);
}

}  // namespace

bool may_read(snapshot const&, site const& site, backend const& replica, instant wrote_at, instant now) {
    if (replica.role != role::replica) return false;
    switch (site.mode) {
        case mode::sealed:
            if (site.frozen) return replica.healthy && replica.frozen_for == site.id;
            return fresh_enough(site, replica, wrote_at, now);
        case mode::read_write:
        case mode::draining:
        case mode::reopening:
            return fresh_enough(site, replica, wrote_at, now);
    }
    return false;
}

backend_id choose_reader(snapshot const& s, site_id id, instant wrote_at, instant now, std::uint64_t seed) {
    auto const& site = s.of(id);
    std::size_t const count = site.replicas.size();
    for (std::size_t i = 0; i < count; ++i) {
        auto const replica = site.replicas[(seed + i) % count];
        if (may_read(s, site, s.of(replica), wrote_at, now)) return replica;
    }
    if (!s.of(site.primary).healthy && site.mode == mode::sealed && site.frozen) {
        // The primary is gone and the freeze is lost: what a replica has seen of the migration is better than
        // nothing. A replica that is frozen for another site is as old as that site's window, and stays out.
        for (std::size_t i = 0; i < count; ++i) {
            auto const& replica = s.of(site.replicas[(seed + i) % count]);
            if (replica.healthy && !replica.frozen_for) return replica.id;
        }
    }
    return site.primary;
}

void freshness::sampled(instant asked, lsn inserted, lsn flushed, instant::duration settled) {
    if (inserted < last_inserted_) forget();  // another timeline, or another server behind the address
    if (inserted != last_inserted_ || unmoved_since_ == instant{}) {
        last_inserted_ = inserted;
        unmoved_since_ = asked;
    }
    lsn const reached = asked - unmoved_since_ >= settled ? std::min(inserted, flushed) : inserted;
    if (reached < inserted) {
        // Older samples of the same, never flushed tail would wait in vain.
        std::erase_if(waiting_, [&](sample const& s) { return s.reached > reached; });
    }
    if (!waiting_.empty() && waiting_.back().reached == reached) {
        waiting_.back().asked = asked;  // nothing was written in between: the later instant is as good
    } else {
        // Full: the newest gives way to the new one, so that the oldest is still reached and `through` moves.
        if (waiting_.size() == max_samples) waiting_.pop_back();
        waiting_.push_back({asked, reached});
    }
    settle();
}

void freshness::replayed(lsn position) {
    position_ = position;
    settle();
}

void freshness::settle() {
    while (!waiting_.empty() && waiting_.front().reached <= position_) {
        through_ = std::max(through_, waiting_.front().asked);
        waiting_.pop_front();
    }
}

void freshness::forget() {
    waiting_.clear();
    through_ = {};
    position_ = {};
    last_inserted_ = {};
    unmoved_since_ = {};
}

}  // namespace lull::routing
