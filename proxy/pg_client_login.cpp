// How a pg_client comes in; behind it stands pg_login_core.
#include "protocol/pg/backend.hpp"
#include "proxy/peer.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_service.hpp"
#include "proxy/tls_context.hpp"

namespace lull {

void pg_client::prepare_login() {
    login_channel channel;
    channel.local = peer_ == local_peer;
    channel.tls = !channel.local && service_.tls()->clients;
    if (!channel.local) channel.address = host_of_peer(peer_);
    login_.emplace(service_.context().snapshot, migration_, std::move(channel), service_.new_login(),
                   service_.verifiers());
}

void pg_client::refuse(std::string_view sqlstate, std::string_view message) {
    std::string text;
    pg::write_error_response(text, {.severity = "FATAL", .sqlstate = sqlstate, .message = message});
    closing_ = true;
    flush_text(text);
}

void pg_client::log_in() {
    std::string out;
    std::size_t const used = login_->on_client(pg::as_bytes(in_), out);
    in_.erase(0, used);
    switch (login_->needs()) {
        case pg_login_core::need::input:
            break;
        case pg_login_core::need::tls:
            if (!out.empty()) flush_text(out);
            return begin_tls();
        case pg_login_core::need::secret:
            service_.ask_secret(*this, login_->cluster(), login_->user());
            break;
        case pg_login_core::need::cancel:
            service_.route_cancel(login_->cancel_pid(), login_->cancel_secret());
            closing_ = true;
            return gone();
        case pg_login_core::need::close:
            closing_ = true;
            break;
        case pg_login_core::need::session:
            flush_text(out);
            if (!finished_) begin_session();
            return;
    }
    if (!out.empty() || closing_) flush_text(out);
}

void pg_client::begin_session() {
    session_identity who = login_->identity();
    credentials_ = login_->credentials();
    login_.reset();
    site_ = who.site;
    key_pid_ = service_.enlist(*this);
    key_secret_ = service_.random(4);
    who.key_pid = key_pid_;
    who.key_secret = key_secret_;
    session_.emplace(service_.context(), std::move(who));
    start_session();
}

void pg_client::secret_found(std::optional<std::string> secret, std::string const& error) {
    if (!login_ || finished_) return;
    std::string out;
    login_->on_secret(std::move(secret), error, out);
    if (login_->needs() == pg_login_core::need::close) closing_ = true;
    flush_text(out);
    if (!finished_ && !closing_ && !in_.empty()) log_in();
    if (!finished_) resume_reading();
}

}  // namespace lull
