#include "proxy/socket_name.hpp"

#include "proxy/peer.hpp"

#include <arpa/inet.h>
#include <array>
#include <charconv>
#include <cstdint>
#include <netdb.h>
#include <netinet/in.h>

namespace lull {

std::string text_of(sockaddr_storage const& address, socklen_t size) {
    if (address.ss_family == AF_INET) {  // without the C library's sprintf(): each connection comes by here
        auto const& v4 = reinterpret_cast<sockaddr_in const&>(address);
        std::uint32_t const host = ntohl(v4.sin_addr.s_addr);
        std::array<char, sizeof "255.255.255.255:65535"> text;
        char* at = text.data();
        auto const put = [&](unsigned number, char behind) {
            at = std::to_chars(at, text.data() + text.size() - 1, number).ptr;
            *at++ = behind;
        };
        for (int shift = 24; shift > 0; shift -= 8) put(host >> shift & 255, '.');
        put(host & 255, ':');
        put(ntohs(v4.sin_port), '\0');
        return text.data();
    }
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];
    if (::getnameinfo(reinterpret_cast<sockaddr const*>(&address), size, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return "unknown";
    std::string const h = host;
    return h.find(':') == std::string::npos ? h + ":" + port : "[" + h + "]:" + port;
}

std::string local_name(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
    return address.ss_family == AF_UNIX ? std::string(local_peer) : text_of(address, size);
}

}  // namespace lull
