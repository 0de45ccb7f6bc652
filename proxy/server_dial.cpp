#include "proxy/server_dial.hpp"

#include "proxy/descriptors.hpp"
#include "proxy/keep_alive.hpp"
#include "proxy/log.hpp"
#include "proxy/warning_pace.hpp"

#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace lull {

int dial(std::vector<socket_address> const& addresses, std::size_t& next, config::limits const& limits, int& error) {
    while (next < addresses.size()) {
        socket_address const& to = addresses[next++];
        int const fd = server_socket(to.storage.ss_family);
        if (fd < 0) {
            error = errno;
            continue;
        }
        int const on = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (to.storage.ss_family != AF_UNIX) keep_alive(fd, limits);
        if (::connect(fd, reinterpret_cast<sockaddr const*>(&to.storage), to.size) == 0 || errno == EINPROGRESS) return fd;
        error = errno;
        ::close(fd);
    }
    return -1;
}

int connect_error(int fd) {
    // Who waited may have been woken by an edge of the socket that had this place in the reactor before.
    pollfd one{fd, POLLOUT, 0};
    if (::poll(&one, 1, 0) == 0) return EINPROGRESS;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
}

std::string place_of(routing::snapshot const& snapshot, routing::backend_id server) {
    auto const& address = snapshot.of(server).address;
    return "\"" + address.host + "\", port " + std::to_string(address.port);
}

std::string connect_failure(routing::snapshot const& snapshot, routing::backend_id server, int error) {
    return "connection to server at " + place_of(snapshot, server) + " failed: " + std::strerror(error);
}

server_tls_wish tls_wish_of(routing::snapshot const& s, routing::backend_id server) {
    routing::backend const& backend = s.of(server);
    auto const cluster = s.config->clusters.find(backend.cluster);
    using mode = config::server_tls_mode;
    if (cluster == s.config->clusters.end() || cluster->second.tls.mode == mode::disable)
        return server_tls_wish::none;
    // As libpq: what a Unix socket carries does not leave the machine.
    if (backend.address.host.starts_with('/')) return server_tls_wish::none;
    if (cluster->second.tls.mode == mode::prefer) return server_tls_wish::prefer;
    return cluster->second.tls.direct ? server_tls_wish::direct : server_tls_wish::require;
}

void log_plain_text(routing::snapshot const& snapshot, routing::backend_id server, std::string_view why,
                    std::chrono::steady_clock::time_point now) {
    static warning_pace pace;
    std::string const place = place_of(snapshot, server);
    if (pace.due(place, now))
        log::warning("TLS to the server at {} failed, and is only preferred: it goes on in plain text: {}", place, why);
}

}  // namespace lull
