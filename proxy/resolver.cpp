#include "proxy/resolver.hpp"

#include "config/endpoint.hpp"

#include <cstring>
#include <netdb.h>
#include <sys/un.h>
#include <thread>

namespace lull {

namespace {

constexpr std::chrono::seconds remembered{10};

struct lookup {
    std::vector<socket_address> addresses;
    std::string error;
};

lookup unix_socket(config::endpoint const& where) {
    lookup result;
    std::string const path = config::unix_socket_path(where.host, where.port);
    socket_address address;
    auto* const un = reinterpret_cast<sockaddr_un*>(&address.storage);
    un->sun_family = AF_UNIX;
    std::strncpy(un->sun_path, path.c_str(), sizeof un->sun_path - 1);
    address.size = sizeof(sockaddr_un);
    result.addresses.push_back(address);
    return result;
}

lookup look_up(std::string const& host, std::string const& port, int flags) {
    lookup result;
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | AI_NUMERICSERV;
    addrinfo* list = nullptr;
    if (int const e = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &list)) {
        result.error = ::gai_strerror(e);
        return result;
    }
    for (addrinfo const* a = list; a; a = a->ai_next) {
        socket_address address;
        std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
        address.size = a->ai_addrlen;
        result.addresses.push_back(address);
    }
    ::freeaddrinfo(list);
    return result;
}

}  // namespace

void host_resolver::resolve(config::endpoint const& where, done then) {
    std::string const port = std::to_string(where.port);
    std::string const key = where.host + " " + port;
    auto const now = std::chrono::steady_clock::now();
    if (auto const at = cache_.find(key); at != cache_.end() && at->second.until > now)
        return then(at->second.addresses, {});
    lookup numeric =
        where.host.starts_with('/') ? unix_socket(where) : look_up(where.host, port, AI_NUMERICHOST);
    if (!numeric.addresses.empty()) {
        cache_[key] = {numeric.addresses, std::chrono::steady_clock::time_point::max()};
        return then(std::move(numeric.addresses), {});
    }
    // getaddrinfo() may take seconds; its thread owns all that it needs and posts back.
    std::thread([host = where.host, port, key, then = std::move(then), back = way_back_, this]() mutable {
        lookup found = look_up(host, port, 0);
        std::lock_guard const lock(back->mutex);
        if (!back->mail) return;
        back->mail->post([found = std::move(found), key, then = std::move(then), back, this]() mutable {
            if (!back->mail) return;  // on the worker's thread, which is the one that clears it
            auto const until = std::chrono::steady_clock::now() + remembered;
            if (!found.addresses.empty()) {
                cache_[key] = {found.addresses, until};
            } else if (auto const last = cache_.find(key); last != cache_.end()) {
                last->second.until = until;  // where nobody answers for the name, what was found last is used on
                found = {last->second.addresses, {}};
            }
            then(std::move(found.addresses), std::move(found.error));
        });
    }).detach();
}

}  // namespace lull
