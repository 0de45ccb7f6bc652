#include "proxy/pg_cancel.hpp"

#include "protocol/pg/startup.hpp"
#include "proxy/edge_socket.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cerrno>
#include <memory>
#include <optional>
#include <sys/socket.h>

namespace lull {

namespace {

constexpr std::chrono::seconds patience{5};

/// Owns itself until the request is over.
class request final : public socket_events, public std::enable_shared_from_this<request> {
  public:
    request(boost::asio::io_context& io, std::function<void()> done)
        : io_(io), timer_(io), done_(std::move(done)) {}

    void start(socket_address const& to, std::string packet) {
        packet_ = std::move(packet);
        self_ = shared_from_this();
        int const fd = ::socket(to.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) return finish();
        int const made = ::connect(fd, reinterpret_cast<sockaddr const*>(&to.storage), to.size);
        bool const failed = made != 0 && errno != EINPROGRESS;
        socket_.emplace(io_, fd, *this);
        if (failed) return finish();
        timer_.expires_after(patience);
        timer_.async_wait([self = shared_from_this()](auto) { self->finish(); });
        socket_->wait_writable();
    }

    void on_writable() override {
        if (::send(socket_->fd(), packet_.data(), packet_.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            return finish();
        socket_->wait_readable();
    }
    void on_readable() override { finish(); }

  private:
    void finish() {
        if (!self_) return;
        socket_.reset();
        timer_.cancel();
        boost::asio::post(io_, [self = std::move(self_)] { self->done_(); });
    }

    boost::asio::io_context& io_;
    boost::asio::steady_timer timer_;
    std::function<void()> done_;
    std::optional<edge_socket> socket_;
    std::string packet_;
    std::shared_ptr<request> self_;
};

}  // namespace

void send_cancel(boost::asio::io_context& io, socket_address const& to, std::int32_t pid,
                 std::string const& secret, std::function<void()> done) {
    std::string packet;
    pg::write_cancel_request(packet, pid, pg::as_bytes(secret));
    std::make_shared<request>(io, std::move(done))->start(to, std::move(packet));
}

}  // namespace lull
