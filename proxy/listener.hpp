// Accepts connections and hands each to the least loaded worker. Owned by the supervisor, used on the control
// thread.
#pragma once

#include "config/model.hpp"
#include "proxy/ports.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <string>
#include <vector>

namespace lull {

class listener {
  public:
    /// Throws std::runtime_error, with address and reason, where it cannot listen. `workers` outlives it.
    listener(boost::asio::io_context& io, listener_kind kind, config::endpoint const& where,
             std::vector<std::unique_ptr<worker_port>>& workers);
    void start();
    /// No more connections.
    void stop();
    std::uint16_t port() const { return port_; }

  private:
    void accept();
    void take();

    listener_kind const kind_;
    boost::asio::ip::tcp::acceptor acceptor_;
    boost::asio::steady_timer pause_;
    std::vector<std::unique_ptr<worker_port>>& workers_;
    std::uint16_t port_ = 0;
    bool complained_ = false;
};

}  // namespace lull
