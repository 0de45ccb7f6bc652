// A CancelRequest on a connection of its own (manual, "Canceling Requests in Progress"), encrypted where the
// cluster's connections are.
#pragma once

#include "proxy/pg_server_login_core.hpp"
#include "proxy/resolver.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace lull {

class pg_service;

/// Where the request goes, and how. Of a host name that has several addresses it is the one of the connection
/// whose statement is meant.
struct cancel_target {
    routing::backend_id server{};
    socket_address address;
    server_tls_wish tls = server_tls_wish::none;
};

enum class cancel_end : std::uint8_t {
    over,     // the server has closed the connection, that is, it has sent the signal; or the request never left
    unknown,  // the request is on its way: it may yet hit whatever runs there by then
};

/// `done` runs on the worker's thread, never before this returns.
void send_cancel(pg_service& service, cancel_target const& to, std::int32_t pid, std::string const& secret,
                 std::function<void(cancel_end)> done);

}  // namespace lull
