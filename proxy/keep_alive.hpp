// How a TCP connection is noticed to be broken whose other end says nothing any more (tcp(7)).
#pragma once

#include "config/model.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace lull {

/// A socket that listens hands these on to what it accepts (Linux).
inline void keep_alive(int fd, config::limits const& limits) {
    auto const seconds = [](config::milliseconds time) { return static_cast<int>(time.count() / 1000); };
    auto const set = [fd](int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof value); };
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, seconds(limits.tcp_keepalives_idle));
    set(IPPROTO_TCP, TCP_KEEPINTVL, seconds(limits.tcp_keepalives_interval));
    set(IPPROTO_TCP, TCP_KEEPCNT, static_cast<int>(limits.tcp_keepalives_count));
    set(IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(limits.tcp_user_timeout.count()));
}

}  // namespace lull
