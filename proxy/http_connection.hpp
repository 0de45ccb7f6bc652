// Drives one http_session_core: its actions and bytes to the sockets, their events to it. Owned by the
// worker's http_service; the worker's thread only.
#pragma once

#include "proxy/edge_socket.hpp"
#include "proxy/http_session_core.hpp"
#include "proxy/http_upstream_pool.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace lull {

class http_connection final : public socket_events, public http_upstream_owner {
  public:
    /// `gone` is called once, when it has nothing left to do, and may destroy it.
    http_connection(boost::asio::io_context& io, int fd, http_env& env, http_upstream_pool& pool,
                    std::string peer, std::uint16_t local_port, std::function<void(http_connection&)> gone);
    ~http_connection();

    /// Of all workers: what limits.max_http_clients counts.
    static std::size_t open_in_process();

    void start() { run(); }
    void tick();
    void close_when_idle();
    void end_writing(routing::site_id site);
    http_session_core const& core() const { return core_; }

    void on_readable() override;
    void on_writable() override;
    void upstream_opened() override;
    void upstream_not_opened() override;
    void upstream_readable() override;
    void upstream_writable() override;

    std::size_t index = 0;  // its place in the service's list

  private:
    void run();
    bool carry_out(http_actions const&);
    bool connect(http_actions const&);
    void release();
    bool flush_client();
    bool flush_upstream();
    bool read_client();
    bool read_upstream();

    boost::asio::io_context& io_;
    http_env& env_;
    http_upstream_pool& pool_;
    std::function<void(http_connection&)> gone_;
    http_session_core core_;
    edge_socket client_;
    std::unique_ptr<http_upstream> upstream_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

    // Readable: a receive may succeed. Otherwise a wait is under way, or the peer has ended.
    bool client_readable_ = true;
    bool client_writable_ = true;
    bool client_end_unseen_ = false;  // the last receive did not look whether an end follows the bytes
    bool upstream_readable_ = false;
    bool upstream_writable_ = true;
    http_upstream_pool::last_receive upstream_last_ = http_upstream_pool::last_receive::drained;
    bool running_ = false;
    bool again_ = false;
};

}  // namespace lull
