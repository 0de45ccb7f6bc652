// A CancelRequest on a connection of its own (manual, "Canceling Requests in Progress").
#pragma once

#include "proxy/resolver.hpp"

#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <functional>
#include <string>

namespace lull {

/// `done` runs when the server has closed the connection, that is, after it has sent the signal; or when it
/// could not be reached. On the worker's thread, never before this returns.
void send_cancel(boost::asio::io_context& io, socket_address const& to, std::int32_t pid,
                 std::string const& secret, std::function<void()> done);

}  // namespace lull
