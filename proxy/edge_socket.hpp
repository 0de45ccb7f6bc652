// One non-blocking socket on a worker's io_context (BOOST_ASIO_CONCURRENCY_HINT_UNSAFE), registered with its epoll once
// (edge-triggered) and never again: waiting costs no system call and no allocation. Owned by a connection, used on its worker
// only.
//
// Contract of an edge: wait_readable() only directly after a recv() that returned EAGAIN or was short. After
// any other pause call recv() first; an edge that arrived while nobody waited is gone.
//
// Asio's public calls cost two system calls a query more (a speculative recv or an epoll_ctl for each wait),
// so this uses boost::asio::detail::reactor_op, which is not a public API: hence the version check below, and
// the same interface through posix::stream_descriptor with LULL_PUBLIC_ASIO_ONLY.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/version.hpp>

#ifndef LULL_PUBLIC_ASIO_ONLY
#include <boost/asio/detail/reactor.hpp>
#include <boost/asio/detail/reactor_op.hpp>
static_assert(BOOST_VERSION / 100 == 1081,
              "read reactor_op of this Boost before trusting it; or LULL_PUBLIC_ASIO_ONLY");
#else
#include <boost/asio/posix/stream_descriptor.hpp>
#endif

namespace lull {

/// Told when a wait ends. Called on the worker's thread, from its loop, never from within a wait call. There may be nothing to
/// read after all. The socket may be destroyed from within.
class socket_events {
  public:
    virtual void on_readable() = 0;
    virtual void on_writable() = 0;

  protected:
    ~socket_events() = default;
};

class edge_socket {
  public:
    /// Takes ownership of `fd`.
    edge_socket(boost::asio::io_context& io, int fd, socket_events& events);
    ~edge_socket();
    edge_socket(edge_socket const&) = delete;
    edge_socket& operator=(edge_socket const&) = delete;

    int fd() const;
    /// At most one wait of each kind at a time; a second one is ignored.
    void wait_readable();
    void wait_writable();

  private:
    struct state;
    state* state_;  // outlives us while an operation is queued in the reactor
};

}  // namespace lull
