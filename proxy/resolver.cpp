#include "proxy/resolver.hpp"

#include "config/endpoint.hpp"

#include <algorithm>
#include <cstring>
#include <netdb.h>
#include <sys/un.h>
#include <system_error>
#include <thread>

namespace lull {

namespace {

struct lookup {
    std::vector<socket_address> addresses;
    std::string error;
};

std::string key_of(config::endpoint const& where) {
    return where.host + " " + std::to_string(where.port);
}

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
    std::string const key = key_of(where);
    if (auto const at = numeric_.find(key); at != numeric_.end()) return then(at->second, {});
    using answer = address_book<socket_address>::answer;
    auto const asked = names_.ask(key, std::chrono::steady_clock::now(), max_ttl_, [&] { return then; });
    switch (asked.what) {
        case answer::known:
            return then(*asked.addresses, {});
        case answer::wait:
            return;
        case answer::stale: {
            std::vector<socket_address> const last = *asked.addresses;
            look_up_later(where);
            return then(last, {});
        }
        case answer::look_up:
            break;
    }
    lookup numeric = where.host.starts_with('/')
                         ? unix_socket(where)
                         : look_up(where.host, std::to_string(where.port), AI_NUMERICHOST);
    if (numeric.addresses.empty()) return look_up_later(where);
    numeric_[key] = numeric.addresses;
    finish(where, std::move(numeric.addresses), {});
}

bool host_resolver::may_be(config::endpoint const& where, socket_address const& address) const {
    auto const* const now = names_.addresses(key_of(where));
    return !now || std::find(now->begin(), now->end(), address) != now->end();
}

/// getaddrinfo() may take seconds; its thread owns all that it needs and posts back.
void host_resolver::look_up_later(config::endpoint const& where) {
    auto work = [where, back = way_back_, this] {
        lookup found = look_up(where.host, std::to_string(where.port), 0);
        std::lock_guard const lock(back->mutex);
        if (!back->mail) return;
        back->mail->post([found = std::move(found), where, back, this]() mutable {
            if (!back->mail) return;  // on the worker's thread, which is the one that clears it
            finish(where, std::move(found.addresses), std::move(found.error));
        });
    };
    try {
        std::thread(std::move(work)).detach();
    } catch (std::system_error const& e) {
        finish(where, {}, e.what());  // no thread to be had: as a look-up that failed
    }
}

void host_resolver::finish(config::endpoint const& where, std::vector<socket_address> addresses,
                           std::string error) {
    auto const out =
        names_.found(key_of(where), std::chrono::steady_clock::now(), std::move(addresses), std::move(error));
    if (out.moved && on_moved) on_moved(where);
    for (auto const& then : out.waiting) then(out.addresses, out.error);
}

}  // namespace lull
