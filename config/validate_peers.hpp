// What of `listen.peer_id` and `listen.peers` cannot be carried out.
#pragma once

#include "config/validate_guard.hpp"

namespace lull::config {

void validate_peers(listeners const& listen, refusal const& refuse);

}  // namespace lull::config
