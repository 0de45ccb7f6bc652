// What a socket did not take at once. Empty, and without memory, nearly always.
#pragma once

#include "proxy/gather.hpp"
#include "proxy/socket_io.hpp"

#include <algorithm>
#include <span>
#include <string>

namespace lull {

class outbox {
  public:
    enum class result : std::uint8_t { sent, later, failed };

    bool empty() const { return sent_ == waiting_.size(); }
    std::size_t size() const { return waiting_.size() - sent_; }

    /// One send for all of it. later: keep the rest and wait for the socket.
    result send(int fd, gather& bytes) {
        if (bytes.empty()) return empty() ? result::sent : result::later;
        if (!empty()) {
            waiting_ += bytes.copy();
            return result::later;
        }
        std::span<iovec const> const pieces = bytes.vectors();
        ssize_t const n = pieces.size() == 1 ? send_now(fd, pieces[0].iov_base, pieces[0].iov_len) : send_all(fd, pieces);
        if (n < 0 && errno != EAGAIN && errno != EINTR) return result::failed;
        std::size_t const done = n < 0 ? 0 : static_cast<std::size_t>(n);
        if (done == bytes.size()) return result::sent;
        waiting_ = bytes.copy(done);
        sent_ = 0;
        return result::later;
    }

    /// The socket is writable.
    result flush(int fd) {
        while (!empty()) {
            ssize_t const n = send_now(fd, waiting_.data() + sent_, waiting_.size() - sent_);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return errno == EAGAIN ? result::later : result::failed;
            sent_ += static_cast<std::size_t>(n);
        }
        std::string().swap(waiting_);
        sent_ = 0;
        return result::sent;
    }

  private:
    static ssize_t send_all(int fd, std::span<iovec const> pieces) {
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(pieces.data());
        message.msg_iovlen = std::min<std::size_t>(pieces.size(), 1024);
        return ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }

    std::string waiting_;
    std::size_t sent_ = 0;
};

}  // namespace lull
