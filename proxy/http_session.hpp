// The HTTP half of one worker: its clients, their sessions, and the idle connections to the upstreams. The
// worker owns it and calls everything on its own thread; the io_context runs there too.
//
// An upstream's host may be an address or a name; names are looked up by host_resolver when a connection is
// made, on a thread of its own.
#pragma once

#include "proxy/http_stats.hpp"
#include "proxy/ports.hpp"
#include "routing/snapshot.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace boost::asio {
class io_context;
}

namespace lull {

/// What the configuration does not name. Tests shorten it.
struct http_tuning {
    std::chrono::milliseconds response_timeout{120'000};  // silence of an upstream that owes a response: 504
    std::chrono::milliseconds upstream_idle_timeout{30'000};  // an unused connection to an upstream
    std::size_t max_idle_upstreams = 128;                     // for each upstream
};

class http_service {
  public:
    http_service(boost::asio::io_context& io, std::shared_ptr<routing::snapshot const> initial,
                 unsigned worker_index, http_tuning tuning = {});
    ~http_service();
    http_service(http_service const&) = delete;
    http_service& operator=(http_service const&) = delete;

    /// Takes ownership of `fd`, a connected, non-blocking socket. `peer` is an address, with or without a
    /// port.
    void accept(int fd, std::string const& peer, std::uint16_t local_port);
    void set_snapshot(std::shared_ptr<routing::snapshot const> next);
    /// About every 100 ms: deadlines, and the time that everything else goes by.
    void tick(routing::instant now);
    http_stats stats() const;
    std::size_t open_clients() const;
    /// Unsafe requests that began while the site was read_write and are not answered yet.
    std::size_t writes_in_flight(routing::site_id site) const;
    /// Adds them to what the worker says of its sites, the longest by name.
    void add_writers(std::vector<site_load>& loads) const;
    /// The drain deadline of a site has passed: its writes in flight end.
    void end_writers(routing::site_id site);
    /// Between requests connections end now, others after their response.
    void close_idle();
    void close_all();

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace lull
