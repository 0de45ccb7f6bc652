// TLS to a server: as pg_client_tls.cpp, the other way round.
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_server.hpp"
#include "proxy/pg_service.hpp"
#include "proxy/tls_context.hpp"

namespace lull {

void pg_server::begin_tls() {
    routing::backend const& backend = service_.snapshot().of(state_.backend);
    auto const keyring = service_.tls();
    auto const at = keyring->servers.find(backend.cluster);
    if (at != keyring->servers.end()) tls_ = at->second->connect(backend.address.host);
    if (!tls_)
        return fail("no TLS for this cluster", pg::sqlstate::sqlclient_unable_to_establish_sqlconnection);
    gather& first = service_.sealed();
    first.write([&](std::string& out) { tls_->start(out); });
    if (out_.send(socket_->fd(), first) == outbox::result::later) socket_->wait_writable();
}

/// False: the connection is over.
bool pg_server::decrypt(std::span<std::byte const>& fresh) {
    std::span<std::byte> const plain = service_.plain();
    gather& answers = service_.sealed();
    std::size_t got = 0;
    bool const shaking_hands = tls_->where() == tls_filter::state::handshake;
    answers.write([&](std::string& out) { got = tls_->open(fresh, plain, out); });
    if (!answers.empty() && out_.send(socket_->fd(), answers) == outbox::result::later)
        socket_->wait_writable();
    fresh = plain.first(got);
    if (tls_->where() == tls_filter::state::failed) {
        if (!shaking_hands) {
            lose(tls_->error());
            return false;
        }
        auto const& where = service_.snapshot().of(state_.backend).address;
        fail("TLS to the server at \"" + where.host + "\", port " + std::to_string(where.port) +
                 " failed: " + tls_->error(),
             pg::sqlstate::sqlclient_unable_to_establish_sqlconnection,
             "The proxy's configuration has it under tls of the cluster.");
        return false;
    }
    if (!shaking_hands || tls_->where() == tls_filter::state::handshake || !login_) return true;
    std::string text;
    login_->on_tls(tls_->spoke_alpn(), tls_->peer_end_point(), text);
    if (login_->where() == pg_server_login_core::state::failed) {
        stage_ = stage::closed;
        pool_.lost(*this, login_->error());
        return false;
    }
    gather& out = service_.step().server;
    out.text(text);
    send(out);
    return true;
}

outbox::result pg_server::put(gather& bytes) {
    if (!tls_ || bytes.empty()) return out_.send(socket_->fd(), bytes);
    gather& sealed = service_.sealed();
    bool good = false;
    sealed.write([&](std::string& out) { good = tls_->seal(bytes.vectors(), out); });
    return good ? out_.send(socket_->fd(), sealed) : outbox::result::failed;
}

}  // namespace lull
