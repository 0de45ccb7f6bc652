// How a pg_client does everything that happens to its session; for the files that pg_client is made of.
#pragma once

#include "proxy/pg_client.hpp"
#include "proxy/pg_service.hpp"

namespace lull {

/// Everything that happens to a session: the core decides, both sides are sent to, then the rest follows.
template <class Event>
void pg_client::event(Event&& what) {
    session_step step = service_.step();
    what(step);
    send(step);
    follow(step);
}

}  // namespace lull
