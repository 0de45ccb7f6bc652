// What is to become of a statement: where it goes, or that it may not run. Pure and total; decided
// from the snapshot of the moment at which it would be executed, so a statement prepared yesterday is judged
// today.
#pragma once

#include "routing/operation.hpp"
#include "routing/route.hpp"
#include "routing/snapshot.hpp"

#include <cstdint>

namespace lull::routing {

/// What the session is in the middle of.
struct session_facts {
    bool migration = false;        // came through the migration port: exempt
    bool may_write = false;        // its transaction began to write before the flip and keeps that right
    bool block_open = false;       // a transaction block is open on a server
    bool nothing_sent = true;      // no byte of this transaction has reached a server
    bool read_only_block = false;  // BEGIN READ ONLY
    bool deferred_block = false;   // BEGIN was answered, nothing else yet
    bool guarded = false;          // a READ ONLY transaction of ours is around it, also beyond the window
    bool privileged = false;       // its role has rights that no READ ONLY transaction stops
    bool has_temporary = false;    // may have temporary tables, and nothing unknown has run in its transaction
    bool in_block = false;         // of the client's
    bool keeps_temporary = false;  // its transaction has written to them, and is to be committed
    bool kept_over = false;        // its server session is from before the flip, and is not to end
    lull::routing::route route = routing::route::automatic;  // that the client asked for
};

enum class verdict : std::uint8_t {
    to_reader,  // a replica if one is fresh enough, else the primary
    to_primary,
    refuse,  // it may not run now; what happens instead say the site's rules (write_rules.hpp)
};

struct decision {
    lull::routing::verdict verdict = verdict::refuse;
    statement const* offender = nullptr;  // for refuse: the first statement that may not run
};

/// Whether it is for the primary also within a READ ONLY block of an open site: it takes advisory locks, say, or may do what a
/// standby cannot.
bool needs_primary(operation const& what);

/// The migration, and transactions that already write, are not subject to the mode; everybody else is.
decision decide(operation const& what, session_facts const& facts, site const& site);

/// A write to a table of the session's own, as far as text and catalog tell: the server, which lets a READ ONLY
/// transaction write to nothing else, sees that it is one.
bool writes_temporary(statement const& s, session_facts const& facts);

/// Whether a session that may not write may be given this statement. A READ ONLY transaction or a standby is
/// around it; this refuses what those let through, what would lift them, and what `guard` says.
bool passes_read_only(statement const& what, config::guard const& guard);

}  // namespace lull::routing
