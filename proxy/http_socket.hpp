// Options of the TCP sockets of the HTTP half.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace lull {

/// No delay, because every send is a whole event's worth; keep-alive probes, because a tunnel has no deadline
/// and a peer that vanished must be noticed.
inline void prepare_http_socket(int fd) {
    int const one = 1;
    int const idle_seconds = 60;
    int const interval_seconds = 10;
    int const probes = 3;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof idle_seconds);
    ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_seconds, sizeof interval_seconds);
    ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

}  // namespace lull
