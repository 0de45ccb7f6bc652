// Work posted to a worker from other threads. The worker's io_context takes no posts from outside (it is made
// without locks), so the mailbox has a lock of its own and wakes the worker through an eventfd.
#pragma once

#include "proxy/edge_socket.hpp"

#include <functional>
#include <mutex>
#include <vector>

namespace lull {

class mailbox final : public socket_events {
  public:
    using letter = std::function<void()>;

    /// On the worker's thread; letters are carried out on it, in order.
    explicit mailbox(boost::asio::io_context& io);
    /// Any thread.
    void post(letter what);

    void on_readable() override;
    void on_writable() override {}

  private:
    std::mutex mutex_;
    std::vector<letter> letters_;
    edge_socket event_;
};

}  // namespace lull
