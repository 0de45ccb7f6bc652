#include "proxy/pg_server.hpp"

#include "protocol/pg/backend.hpp"
#include "protocol/pg/frame.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/log.hpp"
#include "proxy/pg_cancel.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_service.hpp"
#include "proxy/server_dial.hpp"
#include "proxy/tls_filter.hpp"

#include <boost/asio/post.hpp>

#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace lull {

namespace {

constexpr int blocks_a_turn = 16;
constexpr int most_asks_to_stay = 5;

/// Where that is a part of a row that looks like it, an end behind it is heard of when the rest does not come.
bool ends_ready_for_query(std::span<std::byte const> bytes) {
    constexpr std::string_view head{"Z\0\0\0\5", 5};
    return bytes.size() > head.size() && pg::as_text(bytes.last(head.size() + 1)).starts_with(head);
}

bool answers_a_query(char type) {
    return type == pg::backend::row_description || type == pg::backend::data_row || type == pg::backend::command_complete ||
           type == pg::backend::empty_query_response || type == pg::backend::error_response ||
           type == pg::backend::ready_for_query;
}

std::string failure(std::string_view sqlstate, std::string const& message, std::string_view hint = {}) {
    std::string out;
    pg::write_error_response(out,
                             {.severity = "FATAL", .sqlstate = sqlstate, .message = message, .hint = hint});
    return out;
}

}  // namespace

pg_server::pg_server(pg_pool& pool)
    : pool_(pool),
      service_(pool.service()),
      begun_open_(service_.snapshot().of(pool.key().site).mode == routing::mode::read_write),
      since_(service_.context().now),
      alive_(std::make_shared<bool>(true)) {
    routing::backend const& backend = service_.snapshot().of(pool.key().backend);
    state_.backend = backend.id;
    state_.role = backend.role;
    state_.generation = pool.generation();
    state_.actual = service_.context().settings.none();
    state_.reported = state_.actual;
}

pg_server::~pg_server() = default;

void pg_server::connect() {
    auto const& where = service_.snapshot().of(state_.backend).address;
    service_.resolver().resolve(
        where, [this, alive = std::weak_ptr<bool>(alive_)](auto addresses, std::string error) {
            if (!alive.lock()) return;
            addresses_ = std::move(addresses);
            if (addresses_.empty())
                fail("could not translate host name: " + error,
                     pg::sqlstate::sqlclient_unable_to_establish_sqlconnection);
            else
                connect_next();
        });
}

void pg_server::connect_next() {
    stage_ = stage::connecting;
    int error = 0;
    int const fd = dial(addresses_, next_address_, service_.limits(), error);
    if (fd < 0)
        return fail(connect_failure(service_.snapshot(), state_.backend, error),
                    pg::sqlstate::sqlclient_unable_to_establish_sqlconnection);
    socket_.emplace(service_.io(), fd, *this);
    socket_->wait_writable();
}

void pg_server::start_login() {
    stage_ = stage::login;
    pool_key const& key = pool_.key();
    // A fence on the server is for those who do not come through Lull.
    auto const unfenced = routing::read_only_without(service_.snapshot().of(key.site).fence, key.database, key.user);
    session_default const mode = key.use == pool_use::guarded ? session_default::read_only
                                 : !unfenced                  ? session_default::as_server
                                 : *unfenced                  ? session_default::read_only
                                                              : session_default::read_write;
    login_.emplace(key.user, key.database, mode, pool_.credentials(),
                   pg::make_nonce(pg::as_bytes(service_.random(pg::nonce_bytes))),
                   tls_wish());
    gather& out = service_.step().server;
    out.write([&](std::string& text) { login_->start(text); });
    send(out);
    if (login_->where() == pg_server_login_core::state::tls) begin_tls();
    if (stage_ == stage::closed) return;
    reading_ = true;
    if (socket_) socket_->wait_readable();
}

void pg_server::fail(std::string const& why, std::string_view sqlstate, std::string_view hint) {
    stage_ = stage::closed;
    pool_.lost(*this, failure(sqlstate, why, hint));
}

void pg_server::send(gather& bytes) {
    if (!socket_) return;
    if (bulk_) bulk_->end();
    switch (put(bytes)) {
        case outbox::result::sent:
            break;
        case outbox::result::later:
            socket_->wait_writable();
            break;
        case outbox::result::failed:
            break;  // its end will be read
    }
}

void pg_server::on_writable() {
    service_.touch_clock();
    if (!socket_) return;
    if (stage_ == stage::connecting) {
        int const error = connect_error(socket_->fd());
        if (error == 0) return start_login();
        if (error == EINPROGRESS) return socket_->wait_writable();
        socket_.reset();
        if (next_address_ < addresses_.size()) return connect_next();
        return fail(connect_failure(service_.snapshot(), state_.backend, error),
                    pg::sqlstate::sqlclient_unable_to_establish_sqlconnection);
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
    if (client_) client_->server_drained();
}

void pg_server::resume_reading() {
    if (!paused_) return;
    paused_ = false;
    if (reading_) return;
    boost::asio::post(service_.io(), [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.lock() && socket_ && !paused_ && !reading_) read();
    });
}

void pg_server::on_readable() {
    reading_ = false;
    if (paused_) return;  // resume_reading() reads first, as an edge demands
    read();
}

void pg_server::read() {
    std::weak_ptr<bool> const alive = alive_;
    for (int turn = 0; !paused_; ++turn) {
        if (turn == blocks_a_turn) {
            boost::asio::post(service_.io(), [this, alive] {
                if (alive.lock() && socket_ && !paused_ && !reading_) read();
            });
            return;
        }
        std::span<std::byte> const block = service_.block();
        ssize_t const n = receive_now(socket_->fd(), block);
        service_.touch_clock();  // a write that these bytes confirm has ended by now, not when the turn began
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) break;
        if (n <= 0 && connect_in_plain("the server closed the connection")) return;
        if (n <= 0) return lose(n == 0 ? "the server closed the connection" : std::strerror(errno));
        note_read(static_cast<std::size_t>(n));
        std::span<std::byte const> fresh = block.first(static_cast<std::size_t>(n));
        if (tls_ && !decrypt(fresh)) return;
        if (!fresh.empty()) take(fresh);
        if (alive.expired() || !socket_ || stage_ == stage::closed) return;
        if (tls_ && tls_->where() == tls_filter::state::closed)
            return lose("the server closed the connection");
        // A short read has emptied the socket, but an end that came with these bytes makes no edge of its own. It is looked
        // for where the server has not just said that it is ready, and may have said farewell; amid a bulk the timer does so.
        bool const in_bulk = bulk_ && bulk_->on();
        if (static_cast<std::size_t>(n) < block.size() && !state_.ending && (in_bulk || ends_ready_for_query(fresh))) break;
    }
    if (paused_) return;
    reading_ = true;
    socket_->wait_readable();
}

void pg_server::note_read(std::size_t bytes) {
    if (bulk_ && bulk_->on()) return bulk_->note_read(bytes);
    if (!bulk_watch_.note(bytes)) return;
    if (!bulk_)
        bulk_ = std::make_unique<bulk_reading>(service_.io(), socket_->fd(), [this] {
            service_.touch_clock();
            if (!socket_ || stage_ == stage::closed || paused_) return;
            reading_ = false;
            read();
        });
    bulk_->begin();
}

void pg_server::take(std::span<std::byte const> fresh) {
    std::size_t used;
    std::weak_ptr<bool> const alive = alive_;
    if (in_.empty()) {
        used = on_bytes(fresh);
        if (alive.expired()) return;
        if (used < fresh.size())
            in_.assign(reinterpret_cast<char const*>(fresh.data()) + used, fresh.size() - used);
    } else {
        in_.append(reinterpret_cast<char const*>(fresh.data()), fresh.size());
        used = on_bytes({reinterpret_cast<std::byte const*>(in_.data()), in_.size()});
        if (alive.expired()) return;
        in_.erase(0, used);
        if (in_.empty()) std::string().swap(in_);
    }
    if (client_) client_->after_server_bytes();
}

std::size_t pg_server::on_bytes(std::span<std::byte const> in) {
    if (stage_ == stage::login) {
        std::string out;
        std::size_t const used = login_->on_server(in, state_, service_.context().settings, out);
        if (!out.empty()) {
            gather& bytes = service_.step().server;
            bytes.text(out);
            send(bytes);
        }
        if (login_->where() == pg_server_login_core::state::tls) {
            begin_tls();
        } else if (login_->where() == pg_server_login_core::state::failed) {
            stage_ = stage::closed;
            std::string error = login_->error();
            pool_.turned_away(*this, std::move(error));
        } else if (login_->where() == pg_server_login_core::state::ready) {
            login_.reset();
            stage_ = stage::ready;
            pool_.opened(*this);
        }
        return used;
    }
    if (stage_ == stage::leaving) return in.size();
    if (client_) return client_->on_server_bytes(in);
    return on_idle_bytes(in);
}

bool pg_server::leave() {
    if (!socket_ || stage_ != stage::ready) return false;
    stage_ = stage::leaving;
    client_ = nullptr;
    gather out;  // not the one of the event that this is a part of
    out.write(pg::write_terminate);
    send(out);
    resume_reading();
    return true;
}

void pg_server::check(std::string_view sql) {
    checking_ = true;
    state_.unnamed = nullptr;  // as every Query drops it
    gather out;  // not the one of the event that this is a part of
    out.write([&](std::string& text) { pg::write_query(text, sql); });
    send(out);
    resume_reading();
}

/// Also one that errs is there. (Where it ends with that, its end is read next.)
void pg_server::on_answer_to_check(char type) {
    if (type != pg::backend::ready_for_query) return;
    checking_ = false;
    pool_.release(*this);
}

void pg_server::keep() {
    kept_ = true;
    resume_reading();
    ask_to_stay();
}

/// Nothing of it writes or drops anything, and no name in it is looked for in the session's search_path.
void pg_server::ask_to_stay() {
    ++asks_to_stay_;
    stay_pending_ = true;
    stay_failed_ = false;
    gather out;  // not the one of the event that this is a part of
    out.write([&](std::string& text) {
        pg::write_query(text, staying_sql(*state_.reported, 'I') + "SELECT pg_catalog.pg_advisory_unlock_all()");
    });
    send(out);
}

/// A late cancel of the last client's, say, may have hit it.
void pg_server::on_answer_to_stay(char type) {
    stay_failed_ = stay_failed_ || type == pg::backend::error_response;
    if (type != pg::backend::ready_for_query) return;
    if (stay_failed_ && asks_to_stay_ < most_asks_to_stay) return ask_to_stay();
    if (stay_failed_)
        log::warning("pid {} of {}@{}: its session is kept until the site is open, and does not give up its advisory locks",
                     state_.pid, pool_.key().user, pool_.key().database);
    stay_pending_ = false;
    pool_.settled(*this);
}

/// Nobody has asked it anything, but to stay or whether it is there: a change of its configuration may be told, all else ends it.
std::size_t pg_server::on_idle_bytes(std::span<std::byte const> in) {
    std::size_t used = 0;
    for (;;) {
        pg::frame_result const next = pg::next_frame(in.subspan(used), 64 * 1024);
        if (std::holds_alternative<need_more>(next)) return used;
        auto const* frame = std::get_if<pg::frame>(&next);
        if (frame && stay_pending_ && answers_a_query(frame->type)) {
            on_answer_to_stay(frame->type);
            used += frame->whole.size();
            continue;
        }
        if (frame && checking_ && answers_a_query(frame->type)) {
            used += frame->whole.size();
            on_answer_to_check(frame->type);
            if (!checking_) return used;  // it may be somebody's now, and what follows is his
            continue;
        }
        if (!frame ||
            (frame->type != pg::backend::parameter_status && frame->type != pg::backend::notice_response &&
             frame->type != pg::backend::notification_response)) {
            lose("the server ended an idle connection");
            return in.size();
        }
        if (auto const p = frame->type == pg::backend::parameter_status
                               ? pg::parse_parameter_status(frame->body)
                               : std::nullopt;
            p && p->name != "in_hot_standby" && p->name != "default_transaction_read_only")
            state_.reported = service_.context().settings.with(state_.reported, p->name, p->value);
        used += frame->whole.size();
    }
}

void pg_server::lose(std::string_view why) {
    if (stage_ == stage::closed) return;
    if (stage_ == stage::leaving) {
        stage_ = stage::closed;
        return pool_.lost(*this, {});
    }
    bool const was_ready = stage_ == stage::ready;
    if (was_ready && client_ && client_->session() && client_->session()->at_work_unguarded())
        service_.note_broken(*this);
    stage_ = stage::closed;
    pg_client* client = client_;
    client_ = nullptr;
    std::string error;
    if (!was_ready)
        error = failure(pg::sqlstate::connection_failure, "server closed the connection unexpectedly");
    std::weak_ptr<bool> const alive = alive_;
    if (client) client->server_lost(why);
    if (alive.expired()) return;
    if (checking_) return pool_.check_failed(*this, why);
    service_.control().suspect(state_.backend);
    pool_.lost(*this, std::move(error));
}

void pg_server::drop_unsent() {
    linger const at_once{1, 0};
    if (socket_) ::setsockopt(socket_->fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void pg_server::cancel() {
    if (cancelling_) return;  // it serves them all
    if (state_.pid == 0 || !address()) return end_cancel();
    cancelling_ = true;
    cancel_target const to{state_.backend, *address(), tls_wish()};
    send_cancel(service_, to, state_.pid, state_.secret,
                [this, alive = std::weak_ptr<bool>(alive_)](cancel_end how) {
                    if (!alive.lock()) return;
                    service_.touch_clock();
                    cancelling_ = false;
                    receipts_.clear();
                    if (how == cancel_end::unknown) outdate();  // whoever came next could be hit
                    end_cancel();
                });
}

void pg_server::end_cancel() {
    state_.cancelling = false;
    if (client_)
        client_->cancel_ended();
    else if (stage_ == stage::ready)
        pool_.release(*this);
}

void pg_server::hold_until_canceled(std::shared_ptr<void> receipt) {
    if (cancelling_) receipts_.push_back(std::move(receipt));
}

}  // namespace lull
