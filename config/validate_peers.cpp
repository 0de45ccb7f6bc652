#include "config/validate_peers.hpp"

#include "config/network.hpp"

#include <set>

namespace lull::config {
namespace {

/// A name would have to be looked up by whoever waits for the cancel.
bool is_address(endpoint const& where) {
    return where.host.starts_with('/') || parse_address(where.host);
}

}  // namespace

void validate_peers(listeners const& listen, refusal const& refuse) {
    if (listen.peer_id == 0 && !listen.peers.empty())
        refuse("listen.peers", "this process has no number, so that no peer could hand anything on to it",
               "add `peer_id: 1` under listen, another number in each process");
    std::set<std::size_t> ids;
    for (std::size_t i = 0; i < listen.peers.size(); ++i) {
        peer const& p = listen.peers[i];
        std::string const path = "listen.peers[" + std::to_string(i) + "]";
        if (p.id == listen.peer_id)
            refuse(path + ".id", "the peer_id of this process", "list the others only");
        else if (!ids.insert(p.id).second)
            refuse(path + ".id", "another peer has the same", "give each process a peer_id of its own");
        if (p.address.port != 0 && !is_address(p.address))
            refuse(path + ".address", "a host name", "write an IP address, or a Unix socket as in /run/lull-2:6432");
    }
}

}  // namespace lull::config
