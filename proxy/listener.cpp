#include "proxy/listener.hpp"

#include "proxy/log.hpp"

#include <boost/asio/ip/address.hpp>

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>

namespace lull {

namespace {

constexpr int backlog = 1024;
constexpr int accepts_a_turn = 64;
constexpr std::chrono::milliseconds without_descriptors{100};

std::string peer_of(sockaddr_storage const& address, socklen_t size) {
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];
    if (::getnameinfo(reinterpret_cast<sockaddr const*>(&address), size, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return "unknown";
    std::string const h = host;
    return h.find(':') == std::string::npos ? h + ":" + port : "[" + h + "]:" + port;
}

}  // namespace

listener::listener(boost::asio::io_context& io, listener_kind kind, config::endpoint const& where,
                   std::vector<std::unique_ptr<worker_port>>& workers)
    : kind_(kind), acceptor_(io), pause_(io), workers_(workers) {
    std::string const name = where.host + ":" + std::to_string(where.port);
    auto fail = [&](std::string const& why) -> void {
        throw std::runtime_error("cannot listen on " + name + ": " + why);
    };
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo* list = nullptr;
    if (int const e = ::getaddrinfo(where.host.c_str(), std::to_string(where.port).c_str(), &hints, &list))
        fail(::gai_strerror(e));
    auto const protocol =
        list->ai_family == AF_INET6 ? boost::asio::ip::tcp::v6() : boost::asio::ip::tcp::v4();
    boost::asio::ip::tcp::endpoint endpoint;
    std::memcpy(endpoint.data(), list->ai_addr, list->ai_addrlen);
    endpoint.resize(list->ai_addrlen);
    ::freeaddrinfo(list);
    boost::system::error_code error;
    acceptor_.open(protocol, error);
    if (!error) acceptor_.set_option(boost::asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(backlog, error);
    if (!error) acceptor_.non_blocking(true, error);
    if (error) fail(error.message());
    port_ = acceptor_.local_endpoint().port();
}

void listener::start() {
    accept();
}

void listener::stop() {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
}

void listener::accept() {
    acceptor_.async_wait(boost::asio::socket_base::wait_read, [this](boost::system::error_code const& error) {
        if (!error) take();
    });
}

void listener::take() {
    for (int n = 0; n < accepts_a_turn; ++n) {
        sockaddr_storage address{};
        socklen_t size = sizeof address;
        int const fd = ::accept4(acceptor_.native_handle(), reinterpret_cast<sockaddr*>(&address), &size,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN) break;
            if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) continue;
            // Those who wait stay in the backlog until descriptors come free.
            if (!complained_)
                log::error("cannot accept connections: {}; raise the limit of open files",
                           std::strerror(errno));
            complained_ = true;
            pause_.expires_after(without_descriptors);
            pause_.async_wait([this](boost::system::error_code const& e) {
                if (!e) accept();
            });
            return;
        }
        complained_ = false;
        int const on = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        auto const least =
            std::min_element(workers_.begin(), workers_.end(),
                             [](auto const& a, auto const& b) { return a->load() < b->load(); });
        (*least)->adopt(kind_, fd, peer_of(address, size));
    }
    accept();
}

}  // namespace lull
