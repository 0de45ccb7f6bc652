// Connections to applications: making them, keeping idle ones for the next request, dropping those that the
// application has closed. One pool a worker; the worker's thread only.
#pragma once

#include "config/model.hpp"
#include "proxy/edge_socket.hpp"
#include "proxy/resolver.hpp"
#include "routing/snapshot.hpp"

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lull {

class http_upstream_pool;

/// Who uses a connection. Each call is the last thing that the connection does in that event: it may be
/// destroyed within.
class http_upstream_owner {
  public:
    virtual void upstream_opened() = 0;
    virtual void upstream_not_opened() = 0;
    virtual void upstream_readable() = 0;
    virtual void upstream_writable() = 0;

  protected:
    ~http_upstream_owner() = default;
};

class http_upstream final : public socket_events {
  public:
    http_upstream(http_upstream_pool& pool, std::vector<config::endpoint> candidates);
    ~http_upstream();

    /// Tries the candidates in turn; tells `owner` which way it went, possibly before this returns.
    /// It has not been opened in time: others are tried before it for a while.
    void give_up();
    void open(http_upstream_owner& owner);
    bool is_open() const { return open_; }
    int fd() const { return socket_->fd(); }
    void wait_readable() { socket_->wait_readable(); }
    void wait_writable() { socket_->wait_writable(); }

    void on_readable() override;
    void on_writable() override;

  private:
    friend class http_upstream_pool;
    void next_candidate();
    void next_address();
    void address_failed();

    http_upstream_pool& pool_;
    http_upstream_owner* owner_ = nullptr;
    std::vector<config::endpoint> candidates_;  // the last one is tried next; while open: the one in use
    std::vector<socket_address> addresses_;     // of it, the last one is tried next
    std::unique_ptr<edge_socket> socket_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    bool open_ = false;
    bool end_unseen_ = false;  // the last receive did not look whether an end follows the bytes
    routing::instant idle_since_{};
};

class http_upstream_pool {
  public:
    http_upstream_pool(boost::asio::io_context& io, host_resolver& names, std::size_t max_idle,
                       std::chrono::milliseconds idle_timeout)
        : io_(io), names_(names), max_idle_(max_idle), idle_timeout_(idle_timeout) {}

    enum class reuse : std::uint8_t { yes, checked, no };

    /// An open connection that waits to become readable, or one that is still to be opened.
    std::unique_ptr<http_upstream> take(config::site const&, reuse, http_upstream_owner&);
    /// `drained`: its last receive returned EAGAIN. `full`: it may have more to say, so look first.
    enum class last_receive : std::uint8_t { drained, partial, full };
    void give_back(std::unique_ptr<http_upstream>, last_receive);
    void tick(routing::instant now);
    std::size_t idle() const;
    void clear() { idle_.clear(); }

  private:
    friend class http_upstream;
    using key = std::pair<std::string, std::uint16_t>;
    static key key_of(config::endpoint const& e) { return {e.host, e.port}; }
    void forget(http_upstream& gone);
    void mark_down(config::endpoint const& e);

    boost::asio::io_context& io_;
    host_resolver& names_;
    std::size_t const max_idle_;
    std::chrono::milliseconds const idle_timeout_;
    routing::instant now_{};
    std::size_t turn_ = 0;
    std::map<key, std::vector<std::unique_ptr<http_upstream>>> idle_;
    std::map<key, routing::instant> down_until_;
};

}  // namespace lull
