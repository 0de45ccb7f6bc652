// TLS of a worker's connections: sealed and opened in memory that they share, for one event at a time.
#include "proxy/edge_socket.hpp"
#include "proxy/pg_service.hpp"
#include "proxy/tls_context.hpp"

namespace lull {

std::unique_ptr<tls_filter> pg_service::tls_to(routing::backend_id server) const {
    routing::backend const& backend = snapshot().of(server);
    auto const keyring = tls();
    auto const at = keyring->servers.find(backend.cluster);
    return at == keyring->servers.end() ? nullptr : at->second->connect(backend.address.host);
}

std::span<std::byte const> pg_service::open_sealed(tls_filter& tls, std::span<std::byte const> fresh, outbox& out,
                                                   edge_socket& socket) {
    std::span<std::byte> const said = plain();
    gather& answers = sealed();
    std::size_t got = 0;
    answers.write([&](std::string& text) { got = tls.open(fresh, said, text); });
    if (!answers.empty() && out.send(socket.fd(), answers) == outbox::result::later) socket.wait_writable();
    return said.first(got);
}

outbox::result pg_service::send_sealed(tls_filter& tls, gather& bytes, outbox& out, int fd) {
    gather& what = sealed();
    bool good = false;
    what.write([&](std::string& text) { good = tls.seal(bytes.vectors(), text); });
    return good ? out.send(fd, what) : outbox::result::failed;
}

}  // namespace lull
