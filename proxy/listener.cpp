#include "proxy/listener.hpp"

#include "config/endpoint.hpp"
#include "proxy/descriptors.hpp"
#include "proxy/keep_alive.hpp"
#include "proxy/listen_failure.hpp"
#include "proxy/log.hpp"
#include "proxy/peer.hpp"
#include "proxy/socket_name.hpp"

#include <cerrno>
#include <cstring>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace lull {

namespace {

constexpr int backlog = 1024;
constexpr int accepts_a_turn = 64;
constexpr std::chrono::milliseconds without_descriptors{100};

/// An accept4() that finds nobody has made a socket and a file before it looks, which costs ten times this question.
bool somebody_waits(int fd) {
    pollfd listening{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&listening, 1, 0) != 0;
}

[[noreturn]] void fail(std::string_view key, int fd, std::string const& where) {
    int const error = errno;
    if (fd >= 0) ::close(fd);
    fail_to_listen(key, where, std::strerror(error), fix_for_bind(error));
}

}  // namespace

int listen_tcp(std::string_view key, config::endpoint const& where, config::limits const& limits, bool reuse_port) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo* list = nullptr;
    std::string const name = config::format_endpoint(where);
    if (int const e = ::getaddrinfo(where.host.c_str(), std::to_string(where.port).c_str(), &hints, &list))
        fail_to_listen(key, name, ::gai_strerror(e), "write an address of this machine, or a name that has one");
    int const fd = ::socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int const on = 1;
    // The last ones are handed on to every connection that it accepts (Linux), which need no calls for them then.
    if (fd >= 0) {
        ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (reuse_port) ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        keep_alive(fd, limits);
        // In all that is spoken here the client begins: whoever says nothing wakes us only after a second (tcp(7)). Not where another
        // process is to take over: who is waited for in that way is not in the queue, and gets an RST when this listener closes.
        if (!reuse_port) ::setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof on);
    }
    bool const bound = fd >= 0 && ::bind(fd, list->ai_addr, list->ai_addrlen) == 0;
    ::freeaddrinfo(list);
    if (!bound || ::listen(fd, backlog) != 0) fail(key, fd, name);
    return fd;
}

int listen_unix(std::string_view key, std::string const& path, unsigned permissions) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        fail_to_listen(key, path, "the path is too long", "name a folder with a shorter path");
    std::memcpy(address.sun_path, path.data(), path.size());
    auto const* const where = reinterpret_cast<sockaddr const*>(&address);
    int const fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail(key, fd, path);
    // A file that was left behind answers nobody; one that answers is somebody's.
    if (::connect(fd, where, sizeof address) == 0 || errno == EAGAIN) {
        ::close(fd);
        fail_to_listen(key, path, "another process does", "end it, or choose another port or folder");
    }
    if (errno == ECONNREFUSED) ::unlink(path.c_str());
    // Before bind: nobody may come in earlier than he may.
    ::fchmod(fd, permissions);
    if (::bind(fd, where, sizeof address) != 0) fail(key, fd, path);
    ::chmod(path.c_str(), permissions);
    if (::listen(fd, backlog) != 0) fail(key, fd, path);
    return fd;
}

listener::listener(boost::asio::io_context& io, int fd, socket_family family, take taker)
    : family_(family), socket_(io, fd, *this), pause_(io), take_(std::move(taker)) {
    on_readable();  // somebody may have come before us
}

void listener::on_readable() {
    for (int n = 0; n < accepts_a_turn; ++n) {
        sockaddr_storage address{};
        socklen_t size = sizeof address;
        int const fd =
            ::accept4(socket_.fd(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN) return socket_.wait_readable();
            if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) continue;
            // Those who wait stay in the backlog until descriptors come free. (As a rule nobody comes here: has_room().)
            descriptor_limit();  // somebody may have lowered it
            if (!complained_)
                log::error("cannot accept connections: {}; raise the limit of open files", std::strerror(errno));
            complained_ = true;
            return go_on_later(without_descriptors);
        }
        complained_ = false;
        take_(fd, family_ == socket_family::local ? std::string(local_peer) : text_of(address, size));
        if (!somebody_waits(socket_.fd())) return socket_.wait_readable();
    }
    go_on_later(std::chrono::milliseconds(0));  // what else this thread has to do comes first
}

void listener::go_on_later(std::chrono::milliseconds pause) {
    pause_.expires_after(pause);
    pause_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](boost::system::error_code const& error) {
        if (!error && alive.lock()) on_readable();
    });
}

}  // namespace lull
