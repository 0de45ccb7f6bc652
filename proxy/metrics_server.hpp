// GET /metrics, /healthz and /readyz over plain HTTP/1.1, for whoever reaches the address. Control thread.
//
//   /healthz  200 while the control thread answers
//   /readyz   200, or 503 with a line for each reason
#pragma once

#include "config/model.hpp"
#include "proxy/overview.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <memory>

namespace lull {

class metrics_server {
  public:
    /// Throws std::runtime_error, with address and reason, where it cannot listen. `all` outlives it.
    metrics_server(boost::asio::io_context& io, config::endpoint const& where, observer& all);
    ~metrics_server();
    metrics_server(metrics_server const&) = delete;
    metrics_server& operator=(metrics_server const&) = delete;

    /// From here on /readyz says no: new clients should go elsewhere.
    void stopping();
    std::uint16_t port() const;

  private:
    struct shared;
    void accept();

    std::shared_ptr<shared> shared_;
    boost::asio::io_context& io_;
    boost::asio::ip::tcp::acceptor acceptor_;
};

}  // namespace lull
