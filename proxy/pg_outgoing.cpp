#include "proxy/pg_outgoing.hpp"

#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_service.hpp"
#include "proxy/server_dial.hpp"
#include "proxy/tls_filter.hpp"

#include <boost/asio/post.hpp>

#include <sys/socket.h>

namespace lull {

namespace {

constexpr int blocks_a_turn = 16;

}  // namespace

pg_outgoing::pg_outgoing(pg_service& service, routing::backend_id server, std::string user,
                         server_credentials credentials, std::string packet, owner& told)
    : service_(service),
      owner_(told),
      login_(std::move(user), {}, session_default::as_server, std::move(credentials),
             pg::make_nonce(pg::as_bytes(service.random(pg::nonce_bytes))),
             tls_wish_of(service.snapshot(), server)) {
    login_.send_instead(std::move(packet));
    state_.backend = server;
    state_.actual = service_.context().settings.none();
    state_.reported = state_.actual;
}

pg_outgoing::~pg_outgoing() = default;

void pg_outgoing::connect(std::vector<socket_address> addresses) {
    addresses_ = std::move(addresses);
    connect_next();
}

void pg_outgoing::connect_next() {
    connecting_ = true;
    int error = 0;
    if (int const fd = dial(addresses_, next_address_, service_.limits(), error); fd >= 0) {
        socket_.emplace(service_.io(), fd, *this);
        socket_->wait_writable();
        return;
    }
    // From the loop: whoever asked is still in the middle of it.
    boost::asio::post(service_.io(), [this, error, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.lock()) fail(connect_failure(service_.snapshot(), state_.backend, error));
    });
}

server_tls_wish pg_outgoing::tls_wish() const {
    return plain_address_ == next_address_ ? server_tls_wish::none : tls_wish_of(service_.snapshot(), state_.backend);
}

/// As pg_server: once more at the same address, without TLS. False: TLS was not under way, or is more than preferred.
bool pg_outgoing::connect_in_plain(std::string_view why) {
    if (open_ || login_.where() != pg_server_login_core::state::tls || tls_wish() != server_tls_wish::prefer) return false;
    log_plain_text(service_.snapshot(), state_.backend, why, service_.context().now);
    plain_address_ = next_address_;
    tls_.reset();
    socket_.reset();
    out_ = outbox();
    in_.clear();
    reading_ = asked_ = false;
    --next_address_;
    connect_next();
    return true;
}

void pg_outgoing::drop_unsent() {
    linger const at_once{1, 0};
    if (socket_) ::setsockopt(socket_->fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void pg_outgoing::close() {
    closed_ = true;
    socket_.reset();
    tls_.reset();
}

void pg_outgoing::end(std::string error) {
    if (closed_) return;
    close();
    owner_.on_end(std::move(error));
}

void pg_outgoing::fail(std::string const& why, std::string_view hint) {
    std::string error;
    pg::write_error_response(error, {.severity = "FATAL",
                                     .sqlstate = pg::sqlstate::sqlclient_unable_to_establish_sqlconnection,
                                     .message = why,
                                     .hint = hint});
    end(std::move(error));
}

void pg_outgoing::start_login() {
    connecting_ = false;
    asked_ = true;
    login_.wish(tls_wish());
    gather& out = service_.step().server;
    out.write([&](std::string& text) { login_.start(text); });
    send(out);
    if (login_.where() == pg_server_login_core::state::tls) begin_tls();
    if (closed_) return;
    reading_ = true;
    socket_->wait_readable();
}

void pg_outgoing::begin_tls() {
    tls_ = service_.tls_to(state_.backend);
    if (!tls_) return fail("no TLS for this cluster");
    gather& first = service_.sealed();
    first.write([&](std::string& out) { tls_->start(out); });
    if (out_.send(socket_->fd(), first) == outbox::result::later) socket_->wait_writable();
}

/// False: the connection is over.
bool pg_outgoing::decrypt(std::span<std::byte const>& fresh) {
    bool const shaking_hands = tls_->where() == tls_filter::state::handshake;
    fresh = service_.open_sealed(*tls_, fresh, out_, *socket_);
    if (tls_->where() == tls_filter::state::failed) {
        if (open_)
            end({});
        else if (!connect_in_plain(tls_->error()))
            fail("TLS to the server at " + place_of(service_.snapshot(), state_.backend) + " failed: " + tls_->error(),
                 "The proxy's configuration has it under tls of the cluster.");
        return false;
    }
    if (!shaking_hands || tls_->where() == tls_filter::state::handshake) return true;
    std::string text;
    login_.on_tls(tls_->spoke_alpn(), tls_->peer_end_point(), text);
    if (login_.where() == pg_server_login_core::state::failed) {
        end(login_.error());
        return false;
    }
    gather& out = service_.step().server;
    out.text(text);
    send(out);
    return true;
}

outbox::result pg_outgoing::put(gather& bytes) {
    if (!tls_ || bytes.empty()) return out_.send(socket_->fd(), bytes);
    return service_.send_sealed(*tls_, bytes, out_, socket_->fd());
}

void pg_outgoing::send(gather& bytes) {
    // A failure is read as the end.
    if (socket_ && put(bytes) == outbox::result::later) socket_->wait_writable();
}

void pg_outgoing::on_writable() {
    service_.touch_clock();
    if (!socket_) return;
    if (connecting_) {
        int const error = connect_error(socket_->fd());
        if (error == 0) return start_login();
        if (error == EINPROGRESS) return socket_->wait_writable();
        socket_.reset();
        if (next_address_ < addresses_.size()) return connect_next();
        return fail(connect_failure(service_.snapshot(), state_.backend, error));
    }
    switch (out_.flush(socket_->fd())) {
        case outbox::result::later:
            socket_->wait_writable();
            return;
        case outbox::result::failed:
            return;
        case outbox::result::sent:
            break;
    }
    if (open_) owner_.on_sent();
}

void pg_outgoing::resume() {
    if (!paused_) return;
    paused_ = false;
    if (!reading_) read_later();
}

void pg_outgoing::read_later() {
    boost::asio::post(service_.io(), [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.lock() && socket_ && !paused_ && !reading_) read();
    });
}

void pg_outgoing::on_readable() {
    service_.touch_clock();
    reading_ = false;
    if (!paused_) read();  // else resume() reads first, as an edge demands
}

void pg_outgoing::read() {
    std::weak_ptr<bool> const alive = alive_;
    for (int turn = 0; !paused_; ++turn) {
        if (turn == blocks_a_turn) return read_later();
        std::span<std::byte> const block = service_.block();
        ssize_t const n = ::recv(socket_->fd(), block.data(), block.size(), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) {
            reading_ = true;
            return socket_->wait_readable();
        }
        if (n <= 0) break;
        std::span<std::byte const> fresh = block.first(static_cast<std::size_t>(n));
        if (tls_ && !decrypt(fresh)) return;
        if (!fresh.empty()) take(fresh);
        if (alive.expired() || !socket_) return;
        if (tls_ && tls_->where() == tls_filter::state::closed) break;
    }
    if (paused_) return;
    if (open_) return end({});
    if (connect_in_plain("the server closed the connection")) return;
    fail("server closed the connection unexpectedly");
}

void pg_outgoing::take(std::span<std::byte const> fresh) {
    if (open_) return owner_.on_bytes(fresh);
    in_.append(reinterpret_cast<char const*>(fresh.data()), fresh.size());
    std::string out;
    std::size_t const used = login_.on_server(pg::as_bytes(in_), state_, service_.context().settings, out);
    in_.erase(0, used);
    if (!out.empty()) {
        gather& bytes = service_.step().server;
        bytes.text(out);
        send(bytes);
    }
    switch (login_.where()) {
        case pg_server_login_core::state::asking:
        case pg_server_login_core::state::going:
            return;
        case pg_server_login_core::state::tls:
            return begin_tls();
        case pg_server_login_core::state::failed:
            return end(login_.error());
        case pg_server_login_core::state::ready:
            break;
    }
    open_ = true;
    std::weak_ptr<bool> const alive = alive_;
    owner_.on_open();
    std::string const rest = std::exchange(in_, {});
    if (!alive.expired() && !closed_ && !rest.empty()) owner_.on_bytes(pg::as_bytes(rest));
}

}  // namespace lull
