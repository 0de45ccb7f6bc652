// How a connection to a server begins, whoever it is for. No thread of its own, nothing kept.
#pragma once

#include "proxy/pg_server_login_core.hpp"
#include "proxy/resolver.hpp"

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lull {

/// Begins to connect to the first of `addresses`, from `next` on, that takes it: its non-blocking socket, which becomes
/// writable when that has ended, see connect_error(). `next` is then behind it. -1: none does; `error` is why the last
/// did not.
int dial(std::vector<socket_address> const& addresses, std::size_t& next, config::limits const& limits, int& error);
/// Of a non-blocking socket that has been told to connect; 0: it is connected, EINPROGRESS: it is not over yet.
int connect_error(int fd);
/// "connection to server at ... failed: ..."
std::string connect_failure(routing::snapshot const& snapshot, routing::backend_id server, int error);
/// "\"host\", port 5432"
std::string place_of(routing::snapshot const& snapshot, routing::backend_id server);
/// What the configuration wants of connections to this server.
server_tls_wish tls_wish_of(routing::snapshot const& snapshot, routing::backend_id server);
/// Once a while for a server, of all threads. `why`: the handshake has failed.
void log_plain_text(routing::snapshot const& snapshot, routing::backend_id server, std::string_view why,
                    std::chrono::steady_clock::time_point now);

}  // namespace lull
