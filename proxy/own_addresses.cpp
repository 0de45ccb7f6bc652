#include "proxy/own_addresses.hpp"

#include "proxy/log.hpp"
#include "proxy/warning_pace.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace lull {

namespace {

std::optional<config::ip_address> ip_of(sockaddr const* from) {
    config::ip_address to;
    if (from && from->sa_family == AF_INET6) {
        to.v6 = true;
        std::memcpy(to.bytes.data(), &reinterpret_cast<sockaddr_in6 const*>(from)->sin6_addr, 16);
    } else if (from && from->sa_family == AF_INET) {
        std::memcpy(to.bytes.data(), &reinterpret_cast<sockaddr_in const*>(from)->sin_addr, 4);
    } else {
        return std::nullopt;
    }
    return to;
}

}  // namespace

std::optional<config::ip_network> interface_network(sockaddr const* address, sockaddr const* mask) {
    auto const base = ip_of(address);
    if (!base) return std::nullopt;
    auto const told = ip_of(mask);
    if (told && told->v6 == base->v6 && *told != config::ip_address{.v6 = base->v6}) return config::ip_network{*base, *told};
    config::ip_address whole{.v6 = base->v6};
    std::fill_n(whole.bytes.begin(), base->v6 ? 16 : 4, std::uint8_t{0xff});
    return config::ip_network{*base, whole};
}

std::span<config::ip_network const> own_addresses::at(instant now) {
    if (asked_ && now - *asked_ < good_for) return known_;
    asked_ = now;
    known_.clear();
    ifaddrs* all = nullptr;
    if (::getifaddrs(&all) != 0) {
        int const error = errno;
        static warning_pace pace;
        if (pace.due("", now))
            log::warning("cannot list the addresses of this machine, and no rule of samehost or samenet fits: {}", std::strerror(error));
        return known_;
    }
    for (ifaddrs const* one = all; one; one = one->ifa_next)
        if (auto const network = interface_network(one->ifa_addr, one->ifa_netmask)) known_.push_back(*network);
    ::freeifaddrs(all);
    return known_;
}

}  // namespace lull
