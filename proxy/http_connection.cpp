#include "proxy/http_connection.hpp"

#include "proxy/http_socket.hpp"

#include <atomic>
#include <boost/asio/post.hpp>

#include <cerrno>
#include <sys/socket.h>
#include <sys/uio.h>

namespace lull {
namespace {

/// Receives and sends of one session before others have their turn.
constexpr int max_rounds = 16;

std::atomic<std::size_t> open_connections{0};

bool would_block(int error) {
    return error == EAGAIN || error == EWOULDBLOCK;
}

}  // namespace

http_connection::http_connection(boost::asio::io_context& io, int fd, http_env& env, http_upstream_pool& pool,
                                 std::string peer, std::uint16_t local_port,
                                 std::function<void(http_connection&)> gone)
    : io_(io),
      env_(env),
      pool_(pool),
      gone_(std::move(gone)),
      core_(env, std::move(peer), local_port),
      client_(io, fd, *this) {
    open_connections.fetch_add(1, std::memory_order_relaxed);
}

http_connection::~http_connection() {
    open_connections.fetch_sub(1, std::memory_order_relaxed);
    *alive_ = false;
}

std::size_t http_connection::open_in_process() {
    return open_connections.load(std::memory_order_relaxed);
}

void http_connection::on_readable() {
    client_readable_ = true;
    run();
}

void http_connection::on_writable() {
    client_writable_ = true;
    run();
}

void http_connection::upstream_opened() {
    upstream_readable_ = upstream_writable_ = true;
    core_.upstream_connected(false);
    run();
}

void http_connection::upstream_not_opened() {
    upstream_.reset();
    core_.upstream_failed(upstream_failure::unreachable);
    run();
}

void http_connection::upstream_readable() {
    upstream_readable_ = true;
    run();
}

void http_connection::upstream_writable() {
    upstream_writable_ = true;
    run();
}

void http_connection::tick() {
    core_.tick();
    if (client_end_unseen_) {
        client_end_unseen_ = false;
        client_readable_ = true;
    }
    // Likewise of an upstream that was used again right after a receive that did not look for its end.
    if (core_.in_exchange()) upstream_readable_ = true;
    run();
}

void http_connection::end_writing(routing::site_id site) {
    core_.end_writing(site);
    run();
}

void http_connection::close_when_idle() {
    core_.close_when_idle();
    run();
}

/// Until nothing moves. Order: what is ready is sent before more is read, so that output stays within a
/// block.
void http_connection::run() {
    again_ = true;
    if (running_) return;
    running_ = true;
    int rounds = 0;
    while (again_ && rounds++ < max_rounds) {
        again_ = false;
        bool moved = carry_out(core_.take_actions());
        moved = flush_upstream() || moved;
        moved = flush_client() || moved;
        if (core_.closed()) {
            // What the last event asked for is still to be done.
            carry_out(core_.take_actions());
            // Ends this object, and with it the function that does so.
            auto const gone = std::move(gone_);
            return gone(*this);
        }
        if (!moved) moved = read_upstream() || read_client();
        again_ = again_ || moved;
    }
    running_ = false;
    if (again_)
        boost::asio::post(io_, [this, alive = alive_] {
            if (*alive) run();
        });
}

bool http_connection::carry_out(http_actions const& a) {
    if (a.release_upstream) release();
    if (a.upstream_is_down && upstream_) upstream_->give_up();
    if (a.drop_upstream) upstream_.reset();
    if (a.finish_upstream && upstream_) ::shutdown(upstream_->fd(), SHUT_WR);
    if (a.finish_client) ::shutdown(client_.fd(), SHUT_WR);
    if (a.reset_client) {
        linger const now{1, 0};
        ::setsockopt(client_.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    return a.connect && connect(a);
}

bool http_connection::connect(http_actions const& a) {
    routing::site const* const site = env_.find(a.site);
    if (!site) {
        core_.upstream_failed(upstream_failure::unreachable);
        return true;
    }
    auto reuse = http_upstream_pool::reuse::yes;
    switch (a.choice) {
        case upstream_choice::any:
            break;
        case upstream_choice::checked:
            reuse = http_upstream_pool::reuse::checked;
            break;
        case upstream_choice::fresh:
            reuse = http_upstream_pool::reuse::no;
            break;
    }
    upstream_ = pool_.take(*site->settings, reuse, *this);
    upstream_readable_ = false;
    upstream_writable_ = true;
    upstream_last_ = http_upstream_pool::last_receive::drained;
    if (upstream_->is_open())
        core_.upstream_connected(true);
    else
        upstream_->open(*this);
    return true;
}

void http_connection::release() {
    pool_.give_back(std::move(upstream_), upstream_last_);
    upstream_.reset();
}

bool http_connection::flush_client() {
    std::string_view const out = core_.client_output();
    if (out.empty() || !client_writable_) return false;
    ssize_t const n = ::send(client_.fd(), out.data(), out.size(), MSG_NOSIGNAL);
    if (n < 0) {
        if (errno == EINTR) return true;
        if (!would_block(errno)) {
            core_.client_lost();
            return true;
        }
    }
    if (n < static_cast<ssize_t>(out.size())) {
        client_writable_ = false;
        client_.wait_writable();
    }
    if (n <= 0) return false;
    core_.client_sent(static_cast<std::size_t>(n));
    return true;
}

bool http_connection::flush_upstream() {
    if (!upstream_ || !upstream_->is_open() || !upstream_writable_) return false;
    auto const out = core_.upstream_output();
    std::size_t const total = out[0].size() + out[1].size();
    if (total == 0) return false;
    iovec pieces[2];
    int count = 0;
    for (std::string_view const piece : out)
        if (!piece.empty()) pieces[count++] = {const_cast<char*>(piece.data()), piece.size()};
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = static_cast<std::size_t>(count);
    ssize_t const n = ::sendmsg(upstream_->fd(), &message, MSG_NOSIGNAL);
    if (n < 0) {
        if (errno == EINTR) return true;
        if (!would_block(errno)) {
            core_.upstream_write_failed();
            upstream_readable_ = true;
            return true;
        }
    }
    if (n < static_cast<ssize_t>(total)) {
        upstream_writable_ = false;
        upstream_->wait_writable();
    }
    if (n <= 0) return false;
    core_.upstream_sent(static_cast<std::size_t>(n));
    return true;
}

bool http_connection::read_client() {
    if (!client_readable_) return false;
    auto const space = core_.client_space();
    if (space.empty()) return false;  // paused: readable stays set, and we come back when there is room
    ssize_t const n = ::recv(client_.fd(), space.data(), space.size(), 0);
    int const error = errno;
    core_.client_received(n > 0 ? static_cast<std::size_t>(n) : 0);
    if (n > 0) {
        if (n == static_cast<ssize_t>(space.size())) return true;
        // It is not asked again whether there is more: mostly there is not. An end that came together with
        // these bytes would be missed, so the next tick looks.
        client_end_unseen_ = true;
        client_readable_ = false;
        client_.wait_readable();
        return true;
    }
    if (n == 0) {
        client_readable_ = client_end_unseen_ = false;
        core_.client_ended();
        return true;
    }
    if (error == EINTR) return true;
    if (would_block(error)) {
        client_readable_ = client_end_unseen_ = false;
        client_.wait_readable();
        return false;
    }
    core_.client_lost();
    return true;
}

bool http_connection::read_upstream() {
    if (!upstream_ || !upstream_->is_open() || !upstream_readable_) return false;
    auto const space = core_.upstream_space();
    if (space.empty()) return false;
    ssize_t const n = ::recv(upstream_->fd(), space.data(), space.size(), 0);
    int const error = errno;
    // Before the core hears of it: it may give the connection back.
    if (n < 0 && would_block(error)) {
        upstream_last_ = http_upstream_pool::last_receive::drained;
        upstream_readable_ = false;
        upstream_->wait_readable();
    } else {
        upstream_last_ = n == static_cast<ssize_t>(space.size()) ? http_upstream_pool::last_receive::full
                                                                 : http_upstream_pool::last_receive::partial;
    }
    core_.upstream_received(n > 0 ? static_cast<std::size_t>(n) : 0);
    // A response that is not complete is read until nothing is left: its end may have come with these bytes,
    // and nothing would tell us later.
    if (n > 0) return true;
    if (n == 0) {
        upstream_readable_ = false;
        core_.upstream_ended();
        return true;
    }
    if (error == EINTR) return true;
    if (would_block(error)) return false;
    upstream_readable_ = false;
    core_.upstream_lost();
    return true;
}

}  // namespace lull
