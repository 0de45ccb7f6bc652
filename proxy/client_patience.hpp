// For how long nothing has come of a session that only its client could go on with. Owned by a pg_session_core; pure.
#pragma once

#include "routing/snapshot.hpp"

#include <cstdint>
#include <utility>

namespace lull {

/// What a client does with what it is told: takes it, or lets it wait.
enum class reading : std::uint8_t { all, stopped };

class client_patience {
  public:
    /// The client has sent something, or taken something; or it cannot, for want of room on its server's side.
    void note_progress() {
        moved_ = true;
        asked_ = false;
    }
    /// About once a second. Since when it has been waited for in vain, as seen by these looks; instant{}: it is not.
    routing::instant look(bool waits, routing::instant now) {
        if (std::exchange(moved_, false) || !waits)
            since_ = {};
        else if (since_ == routing::instant{})
            since_ = now;
        return since_;
    }
    /// Whether the server is to be asked for what it keeps to itself: once, when the client has gone quiet.
    bool asks_for_answers() { return !moved_ && !std::exchange(asked_, true); }

  private:
    routing::instant since_{};
    bool moved_ = false;
    bool asked_ = false;
};

}  // namespace lull
