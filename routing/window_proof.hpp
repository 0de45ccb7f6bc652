// What the server's transactions say about a window: whether anybody but the migration committed between its
// sealing and its end. Pure: the evidence is gathered elsewhere (proxy/probes_proof.cpp).
#pragma once

#include "routing/maintenance_record.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lull::routing {

/// Of the window itself.
struct window_facts {
    bool over = false;
    std::optional<lsn> sealed_lsn;
    std::optional<lsn> finish_lsn;
    horizon at_sealing;
    horizon at_end;  // where it is over
    std::vector<xid_mark> marks;
};

struct committed_xid {
    std::uint64_t xid = 0;
    std::string at;  // with track_commit_timestamp
};

/// Asked of the server afterwards. An id is "of the window" when it was given out in it, or was in use when
/// it was sealed.
struct window_evidence {
    std::string trouble;                        // not empty: the server could not be asked
    std::uint64_t ids = 0;                      // of the window
    std::string server;                         // as in horizon
    bool behind = false;                        // fewer ids have been given out than at sealing, or its end
    bool too_many = false;                      // more than one looks at
    std::vector<committed_xid> committed;       // of the window, before its end
    std::size_t unknown = 0;                    // the server has forgotten what became of them
    std::size_t unfinished = 0;                 // not decided at its end
    bool timestamps = false;                    // track_commit_timestamp
    std::optional<database_activity> activity;  // now; where the window is not over
};

enum class proof : std::uint8_t { proved, violated, not_proved };

struct window_verdict {
    lull::routing::proof proof = proof::not_proved;
    std::vector<std::string> shown;      // sentences
    std::vector<std::string> not_shown;  // likewise: what nobody can tell, and why
};

[[nodiscard]] window_verdict judge(window_facts const& facts, window_evidence const& evidence);

}  // namespace lull::routing
