// How a pg_client comes in; behind it stands pg_login_core.
#include "config/issue.hpp"
#include "config/network.hpp"
#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "protocol/proxy_header.hpp"
#include "proxy/log.hpp"
#include "proxy/peer.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_service.hpp"
#include "proxy/tls_context.hpp"
#include "proxy/warning_pace.hpp"

#include <algorithm>
#include <array>
#include <pwd.h>
#include <sys/socket.h>

namespace lull {

namespace {

/// The name of the user whose process has connected; empty: not known.
std::string os_user_of(int fd) {
    ucred who{};
    socklen_t size = sizeof who;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return {};
    passwd entry{};
    passwd* found = nullptr;
    std::array<char, 4096> text;
    if (::getpwuid_r(who.uid, &entry, text.data(), text.size(), &found) != 0 || !found) return {};
    return found->pw_name;
}

/// Whether some rule asks for it; looking it up is not free.
bool asks_for_peer(config::config const& config) {
    return std::any_of(config.hba_rules.begin(), config.hba_rules.end(),
                       [](auto const& rule) { return rule.method == config::auth_method::peer; });
}

bool asks_for_own_addresses(config::config const& config) {
    return std::any_of(config.hba_rules.begin(), config.hba_rules.end(),
                       [](auto const& rule) { return rule.near != config::hba_near::anywhere; });
}

}  // namespace

void pg_client::prepare_login() {
    config::config const& config = *service_.snapshot().config;
    login_channel channel;
    channel.local = peer_ == local_peer;
    channel.tls = !channel.local && service_.tls()->clients;
    if (!channel.local) {
        channel.address = host_of_peer(peer_);
        if (asks_for_own_addresses(config)) channel.own = [this] { return service_.own_networks(); };
        auto const& trusted = config.listen.proxy_networks;
        auto const address = trusted.empty() ? std::nullopt : config::parse_peer_address(channel.address);
        awaits_proxy_header_ =
            address && std::any_of(trusted.begin(), trusted.end(),
                                   [&](auto const& network) { return network.contains(*address); });
    } else if (asks_for_peer(config)) {
        channel.os_user = os_user_of(socket_->fd());
    }
    login_ = std::make_unique<pg_login_core>(service_.context().snapshot, migration_, std::move(channel),
                                             service_.new_login(), service_.verifiers(), service_.startups(), service_.guard());
}

/// Whose connection the load balancer says that it is. False: not all of it has come, or it is wrong.
bool pg_client::take_proxy_header() {
    auto const result = parse_proxy_header(pg::as_bytes(in_));
    if (std::holds_alternative<need_more>(result)) return false;
    auto const* header = std::get_if<proxy_header>(&result);
    auto const address = header ? config::parse_peer_address(header->host) : std::nullopt;
    if (!header || (!header->host.empty() && !address)) {
        log::warning("{} is in listen.proxy_protocol, but began with no PROXY header", peer_);
        refuse(pg::sqlstate::protocol_violation, "expected a PROXY protocol header");
        return false;
    }
    awaits_proxy_header_ = false;
    in_.erase(0, header->bytes);
    if (header->host.empty()) return !in_.empty();  // the load balancer's own connection
    bool const v6 = header->host.find(':') != std::string::npos;
    peer_ = (v6 ? "[" + header->host + "]" : header->host) + ":" + std::to_string(header->port);
    login_->set_address(std::string(host_of_peer(peer_)));
    return !in_.empty();
}

void pg_client::flush_text(std::string& text) {
    if (!socket_) return;
    gather& out = service_.step().client;
    out.text(text);
    text.clear();
    switch (put(out)) {
        case outbox::result::sent:
            if (closing_) gone();
            break;
        case outbox::result::later:
            socket_->wait_writable();
            break;
        case outbox::result::failed:
            gone();
            break;
    }
}

void pg_client::refuse(std::string_view sqlstate, std::string_view message, std::string_view hint,
                       std::string before) {
    std::string text = std::move(before);
    pg::write_error_response(text,
                             {.severity = "FATAL", .sqlstate = sqlstate, .message = message, .hint = hint});
    closing_ = true;
    flush_text(text);
}

void pg_client::end_login() {
    closing_ = true;
    if (auto const why = login_->turned_away()) ++service_.context().stats.turned_away[static_cast<std::size_t>(*why)];
    if (login_->doubts_secret()) service_.doubt_secret(login_->cluster(), login_->user());
    if (!login_->refusal().empty()) service_.login_refused(login_->user(), login_->database(), peer_, login_->refusal());
}

void pg_client::log_in() {
    if (awaits_proxy_header_ && !take_proxy_header()) return;
    std::string out;
    std::size_t const used = login_->on_client(pg::as_bytes(in_), out);
    in_.erase(0, used);
    follow_login(std::move(out));
}

/// `out` is what the login has to say so far.
void pg_client::follow_login(std::string out) {
    switch (login_->needs()) {
        case pg_login_core::need::input:
            break;
        case pg_login_core::need::tls:
            if (!out.empty()) flush_text(out);
            return begin_tls();
        case pg_login_core::need::secret:
            if (login_->doubts_secret()) service_.doubt_secret(login_->cluster(), login_->user());
            service_.ask_secret(*this, login_->cluster(), login_->user());
            break;
        case pg_login_core::need::cancel:
            // Closed when the signal has been sent, as PostgreSQL does: what the client asks next is not what it means.
            closing_ = true;
            return service_.route_cancel(login_->cancel_pid(), login_->cancel_secret(),
                                         service_.receipt([this, alive = weak_from_this()] {
                                             if (alive.lock() && !finished_) gone();
                                         }));
        case pg_login_core::need::close:
            end_login();
            break;
        case pg_login_core::need::console:
            flush_text(out);
            if (!finished_) begin_console();
            return;
        case pg_login_core::need::session:
            if (login_->replication() == replication_kind::none) return begin_session(std::move(out));
            flush_text(out);
            if (!finished_) begin_replication();
            return;
    }
    if (!out.empty() || closing_) flush_text(out);
}

std::string_view pg_client::secret() const {
    if (replication_) return replication_->identity().key_secret;
    return session_ ? session_->identity().key_secret : console_ ? console_->key_secret : std::string_view();
}

/// Among the clients of its user, database and address. False: there are too many, and it has been told so.
bool pg_client::count_in(session_identity const& who, std::string_view before) {
    if (migration_) return true;
    std::string_view const address = peer_ == local_peer ? std::string_view() : host_of_peer(peer_);
    auto const counted = service_.counts().enter({who.user, who.database, address}, *service_.snapshot().config);
    if (auto const* full = std::get_if<client_counts::full>(&counted)) {
        ++service_.context().stats.turned_away[static_cast<std::size_t>(full->limit)];
        refuse(pg::sqlstate::too_many_connections, full->message,
               "The limit of the proxy is " + full->key + ".", std::string(before));
        return false;
    }
    counted_ = std::get<client_counts::place>(counted);
    return true;
}

/// `before` goes out with the first that the session says: one send.
void pg_client::begin_session(std::string before) {
    server_credentials credentials = login_->credentials();
    std::size_t const secret_bytes = login_->secret_bytes();
    session_identity who = login_->identity();
    if (!count_in(who, before)) return;
    login_.reset();
    credentials_ = service_.share(who.site, who.user, std::move(credentials));
    who.key_secret = service_.random(secret_bytes);
    site_ = who.site;
    key_pid_ = service_.enlist(*this);
    who.key_pid = key_pid_;
    ++service_.context().stats.sessions;
    session_.emplace(service_.context(), std::move(who));
    service_.session_begun(*site_);
    start_session(before);
}

void pg_client::secret_found(std::optional<std::string> secret, std::string const& error) {
    if (!login_ || finished_) return;
    static warning_pace pace;  // anybody may ask to be let in, as often as he likes
    if (!error.empty() && pace.due(login_->cluster(), service_.context().now))
        log::warning("cannot look up user {}: {}", config::shown(login_->user()), error);
    std::string out;
    login_->on_secret(std::move(secret), error, out);
    follow_login(std::move(out));
    if (login_ && !finished_ && !closing_ && !in_.empty()) log_in();
    if (!finished_) resume_reading();
}

}  // namespace lull
