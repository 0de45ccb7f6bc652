// Accepts connections and hands each to the least loaded worker. Owned by the supervisor, used on the control
// thread.
#pragma once

#include "config/model.hpp"
#include "proxy/ports.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <string>
#include <vector>

namespace lull {

/// Sockets that listen, non-blocking. They throw std::runtime_error, with address and reason, where that is
/// not possible.
int listen_tcp(config::endpoint const& where);
/// Takes away a socket file that nobody listens on any more. `permissions` as for chmod.
int listen_unix(std::string const& path, unsigned permissions);

class listener {
  public:
    /// Takes ownership of `fd`. `path`: the socket's file, removed by stop(); empty: none. `workers` outlives
    /// it.
    listener(boost::asio::io_context& io, listener_kind kind, int fd, std::string path,
             std::vector<std::unique_ptr<worker_port>>& workers);
    void start();
    /// No more connections.
    void stop();

  private:
    void accept();
    void take();

    listener_kind const kind_;
    boost::asio::posix::stream_descriptor socket_;
    std::string path_;
    boost::asio::steady_timer pause_;
    std::vector<std::unique_ptr<worker_port>>& workers_;
    bool complained_ = false;
};

}  // namespace lull
