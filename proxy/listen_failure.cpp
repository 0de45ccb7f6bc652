#include "proxy/listen_failure.hpp"

#include <cerrno>
#include <stdexcept>

namespace lull {

void fail_to_listen(std::string_view key, std::string const& where, std::string_view why, std::string_view fix) {
    throw std::runtime_error(std::string(key) + ": cannot listen on " + where + ": " + std::string(why) + " (fix: " + std::string(fix) + ")");
}

std::string_view fix_for_bind(int error) {
    switch (error) {
        case EADDRINUSE:
            return "end the process that listens there (`ss -ltnp` names it), or choose another port; processes of lull share one with "
                   "listen.reuse_port";
        case EADDRNOTAVAIL:
            return "name an address of this machine, or 0.0.0.0 for all";
        case EACCES:
            return "let the user that runs lull have it (ports below 1024 need CAP_NET_BIND_SERVICE, a socket the right to write in its "
                   "folder), or choose another";
        case ENOENT:
            return "make the folder, or name another";
        default:
            return "choose another address";
    }
}

}  // namespace lull
