// TLS of a client: its tls_filter stands between socket and session. A client without it never comes here.
#include "proxy/log.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_service.hpp"
#include "proxy/tls_context.hpp"

#include <sys/socket.h>

namespace lull {

/// What the client sent behind its request, if that was allowed, is the beginning of its handshake.
void pg_client::begin_tls() {
    if (finished_ || !socket_) return;
    auto const keyring = service_.tls();
    if (keyring->clients) tls_ = keyring->clients->accept();
    if (!tls_) return gone();  // a reload took the certificate away meanwhile
    login_->tls_begun();
    std::string const first = std::exchange(in_, {});
    std::span<std::byte const> fresh = pg::as_bytes(first);
    if (!fresh.empty() && decrypt(fresh) && !fresh.empty()) feed(fresh);
}

/// Turns what was read into what the client said. False: the connection is over.
bool pg_client::decrypt(std::span<std::byte const>& fresh) {
    fresh = service_.open_sealed(*tls_, fresh, out_, *socket_);
    if (tls_->where() == tls_filter::state::failed) {
        log::info("could not accept a TLS connection of {}: {}", peer_, tls_->error());
        gone();
        return false;
    }
    if (tls_->where() == tls_filter::state::handshake || tls_told_ || !login_) return true;
    tls_told_ = true;
    std::string out;
    login_->on_tls({.alpn = tls_->spoke_alpn(),
                    .verified = tls_->peer_verified(),
                    .common_name = tls_->peer_common_name(),
                    .end_point = tls_->own_end_point()},
                   out);
    if (login_->needs() != pg_login_core::need::close) return true;
    end_login();
    flush_text(out);
    return false;
}

outbox::result pg_client::put(gather& bytes) {
    if (!tls_ || bytes.empty()) return out_.send(socket_->fd(), bytes);
    return service_.send_sealed(*tls_, bytes, out_, socket_->fd());
}

/// close_notify, so that the client can tell an end from a connection that was cut.
void pg_client::say_goodbye() {
    if (!tls_ || !socket_) return;
    std::string last;
    tls_->close(last);
    if (out_.empty() && !last.empty())
        (void)!::send(socket_->fd(), last.data(), last.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    tls_.reset();
}

}  // namespace lull
