// The address that a socket is at, as text: "192.0.2.1:5432", "[2001:db8::1]:5432". Any thread.
#pragma once

#include <string>
#include <sys/socket.h>

namespace lull {

std::string text_of(sockaddr_storage const& address, socklen_t size);
/// Of this end of a connection; a Unix socket is local_peer.
std::string local_name(int fd);

}  // namespace lull
