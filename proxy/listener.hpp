// Accepts connections and hands each to the least loaded worker. Owned by a worker and used on its thread, so that
// what that worker keeps for itself wakes no other thread.
#pragma once

#include "config/model.hpp"
#include "proxy/edge_socket.hpp"
#include "proxy/ports.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace lull {

/// Sockets that listen, non-blocking. They throw as fail_to_listen() where that is not possible.
int listen_tcp(std::string_view key, config::endpoint const& where, config::limits const& limits, bool reuse_port);
/// Takes away a socket file that nobody listens on any more. `permissions` as for chmod.
int listen_unix(std::string_view key, std::string const& path, unsigned permissions);

class listener final : public socket_events {
  public:
    /// Given a connected, non-blocking socket, which is the receiver's from then on, and who is at its other end.
    using take = std::function<void(int fd, std::string peer)>;

    /// Takes ownership of `fd`, and accepts until it is destroyed.
    listener(boost::asio::io_context& io, int fd, socket_family family, take taker);
    void on_readable() override;
    void on_writable() override {}

  private:
    void go_on_later(std::chrono::milliseconds pause);

    socket_family const family_;
    edge_socket socket_;
    boost::asio::steady_timer pause_;
    take const take_;
    bool complained_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // a timer that has ended cannot be called back
};

}  // namespace lull
