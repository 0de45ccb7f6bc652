// TLS to a server: as pg_client_tls.cpp, the other way round.
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_server.hpp"
#include "proxy/pg_service.hpp"
#include "proxy/server_dial.hpp"
#include "proxy/tls_filter.hpp"

namespace lull {

void pg_server::begin_tls() {
    tls_ = service_.tls_to(state_.backend);
    if (!tls_)
        return fail("no TLS for this cluster", pg::sqlstate::sqlclient_unable_to_establish_sqlconnection);
    gather& first = service_.sealed();
    first.write([&](std::string& out) { tls_->start(out); });
    if (out_.send(socket_->fd(), first) == outbox::result::later) socket_->wait_writable();
}

/// False: the connection is over.
bool pg_server::decrypt(std::span<std::byte const>& fresh) {
    bool const shaking_hands = tls_->where() == tls_filter::state::handshake;
    fresh = service_.open_sealed(*tls_, fresh, out_, *socket_);
    if (tls_->where() == tls_filter::state::failed) {
        if (!shaking_hands) {
            lose(tls_->error());
            return false;
        }
        if (connect_in_plain(tls_->error())) return false;
        fail("TLS to the server at " + place_of(service_.snapshot(), state_.backend) + " failed: " + tls_->error(),
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

server_tls_wish pg_server::tls_wish() const {
    return plain_address_ == next_address_ ? server_tls_wish::none : tls_wish_of(service_.snapshot(), state_.backend);
}

/// As libpq with sslmode=prefer: a server whose handshake fails is connected to again, at the same address, without TLS.
/// False: TLS was not under way, or is more than preferred.
bool pg_server::connect_in_plain(std::string_view why) {
    if (!login_ || login_->where() != pg_server_login_core::state::tls || tls_wish() != server_tls_wish::prefer) return false;
    log_plain_text(service_.snapshot(), state_.backend, why, service_.context().now);
    plain_address_ = next_address_;
    tls_.reset();
    login_.reset();
    socket_.reset();
    out_ = outbox();
    in_.clear();
    reading_ = false;
    --next_address_;
    connect_next();
    return true;
}

outbox::result pg_server::put(gather& bytes) {
    if (!tls_ || bytes.empty()) return out_.send(socket_->fd(), bytes);
    return service_.send_sealed(*tls_, bytes, out_, socket_->fd());
}

}  // namespace lull
