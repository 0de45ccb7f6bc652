#include "proxy/pg_client.hpp"

#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_client_event.hpp"
#include "proxy/pg_pool.hpp"
#include "proxy/pg_replication.hpp"
#include "proxy/pg_server.hpp"
#include "proxy/pg_service.hpp"
#include "proxy/tls_context.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>

namespace lull {

namespace {

// So that one client's stream does not starve the others of its worker.
constexpr int blocks_a_turn = 8;
constexpr std::chrono::seconds patience_without_room{5};  // with who is to be told so, or opens the console: others wait to be told
constexpr std::chrono::seconds patience_at_end{5};  // for a client to read the last that it is told

}  // namespace

pg_client::pg_client(pg_service& service, int fd, std::string peer, bool migration)
    : service_(service),
      peer_(std::move(peer)),
      since_(service.context().now),
      migration_(migration) {
    socket_.emplace(service.io(), fd, *this);
    prepare_login();
}

pg_client::~pg_client() = default;

/// Who connects speaks first, and as a rule has spoken.
void pg_client::start() {
    service_.note_busy(*this);
    read();
}

void pg_client::start_crowded(turned_away_by why) {
    login_->crowded(why);
    start();
}

void pg_client::send(session_step& step) {
    if (server_ && !step.server.empty()) server_->send(step.server);
    if (!step.give_back.empty()) in_.insert(0, pg::as_text(step.give_back));
    if (!step.client.empty() && socket_) {
        session_->stats().bytes_sent += step.client.size();
        switch (put(step.client)) {
            case outbox::result::sent:
                break;
            case outbox::result::later:
                socket_->wait_writable();
                if (server_ && !closing_) server_->pause_reading();
                break;
            case outbox::result::failed:
                pending_.close_client = true;
                break;
        }
    }
}

void pg_client::follow(session_step& step) {
    if (step.release && server_) {
        pg_server& server = *server_;
        server_ = nullptr;
        server.unlink();
        server.resume_reading();  // for whoever has it next: this client's slowness is over for it
        server.pool().release(server);
    }
    if (step.discard && server_) {
        pg_server& server = *server_;
        server_ = nullptr;
        server.unlink();
        server.pool().discard(server);
    }
    if (step.cancel_server && server_) server_->cancel();
    note_writer();
    if (pending_.close_client) step.close_client = true;
    pending_.close_client = false;
    if (step.close_client) {
        drop_wish();
        close();
    }
    if (session_->finished()) return finish();
    if (waiting_in_ && (!session_->waits_for_server() || step.want)) drop_wish();
    if (step.want) acquire(*step.want);
    if (step.journal) keep(std::move(*step.journal));
    if (step.retry_input) pump();
    if (session_ && session_->may_tell(!out_.empty())) tell_notifications();
    if (stop_when_idle_ && session_ && session_->idle() && !closing_) {
        std::string text;
        pg::write_error_response(text, {.severity = "FATAL",
                                        .sqlstate = pg::sqlstate::admin_shutdown,
                                        .message = "terminating connection due to administrator command"});
        closing_ = true;
        flush_text(text);
    }
}

/// The last byte is out, or never will be: the client's side is over, the session ends what it began.
void pg_client::close() {
    if (!out_.empty() && socket_) {
        closing_ = true;
        if (server_) server_->resume_reading();  // what it still does must come to its end, read or not
        return;
    }
    gone();
}

void pg_client::gone() {
    say_goodbye();
    socket_.reset();
    armed_ = false;
    in_.clear();
    if (server_) server_->resume_reading();  // it may have waited for this client to read
    if (!session_) return finish();
    if (finished_) return;
    drop_wish();
    event([&](session_step& step) { session_->on_client_gone(step); });
    if (session_->finished()) finish();
}

void pg_client::finish() {
    if (finished_) return;
    finished_ = true;
    service_.counts().leave(counted_);
    give_up_console();
    if (replication_) replication_->close();
    if (was_writer_ && site_) service_.writer_changed(*site_, false);
    was_writer_ = false;
    drop_wish();
    say_goodbye();
    socket_.reset();
    service_.remove(*this);
}

void pg_client::note_writer() {
    bool const writes = session_ && session_->writes();
    if (writes == was_writer_ || !site_) return;
    was_writer_ = writes;
    service_.writer_changed(*site_, writes);
}

void pg_client::granted(pg_server& server) {
    if (waiting_in_) service_.waiting(-1);
    waiting_in_ = nullptr;
    server_ = &server;
    server.link(*this);
    event([&](session_step& step) { session_->on_linked(server.state(), step); });
}

void pg_client::refused(std::string error) {
    if (waiting_in_) service_.waiting(-1);
    waiting_in_ = nullptr;
    event([&](session_step& step) { session_->on_no_server(std::move(error), step); });
}

void pg_client::choose_again() {
    if (waiting_in_) service_.waiting(-1);
    waiting_in_ = nullptr;
    event([&](session_step& step) { session_->on_choose_again(step); });
}

bool pg_client::wants_input() const {
    if (!socket_ || closing_ || finished_) return false;
    if (login_) return login_->needs() == pg_login_core::need::input && out_.empty();
    if (console_) return !console_->core.waits() && out_.empty();
    if (replication_) return replication_->takes_input();
    // A client that does not read what it is told has to wait, or its answers would pile up here.
    return session_->takes_input() && out_.empty() && !(server_ && server_->congested());
}

void pg_client::on_readable() {
    pg_service::turn const turn(service_);
    service_.touch_clock();
    service_.note_busy(*this);
    armed_ = false;
    if (!wants_input()) {
        // Somebody who waits and hangs up has to be noticed; what he sends can wait.
        if (has_hung_up() && !may_still_read()) return gone();
        readable_ = true;
        return;
    }
    read();
}

void pg_client::read() {
    readable_ = false;
    bool drained = false;  // the next bytes will make an edge
    for (int turn = 0; !drained && wants_input(); ++turn) {
        if (turn == blocks_a_turn) {
            boost::asio::post(service_.io(), [this, alive = weak_from_this()] {
                if (alive.lock() && socket_ && !armed_) read();
            });
            return;
        }
        std::span<std::byte> const block = service_.block();
        ssize_t const n = receive_now(socket_->fd(), block);
        if (n == 0) return hear_no_more();
        if (n < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) return gone();
            drained = true;
            break;
        }
        drained = static_cast<std::size_t>(n) < block.size();
        if (session_) session_->stats().bytes_received += static_cast<std::size_t>(n);
        std::span<std::byte const> fresh = block.first(static_cast<std::size_t>(n));
        if (tls_ && !decrypt(fresh)) return;
        if (!fresh.empty()) feed(fresh);
        if (finished_ || !socket_) return;
        if (tls_ && tls_->where() == tls_filter::state::closed) return gone();
        // An end that came with these bytes makes no edge of its own: behind a part of a message it is looked for.
        if (!in_.empty() && wants_input()) drained = false;
    }
    if (!drained) {
        readable_ = true;
        return;
    }
    // Waited for also while nothing is wanted: the end of the connection has to be seen.
    armed_ = true;
    socket_->wait_readable();
}

/// Bytes that have just been read, behind those that wait.
void pg_client::feed(std::span<std::byte const> fresh) {
    if (login_) {
        in_.append(reinterpret_cast<char const*>(fresh.data()), fresh.size());
        return log_in();
    }
    if (console_) {
        in_.append(reinterpret_cast<char const*>(fresh.data()), fresh.size());
        return console_input();
    }
    if (replication_) return to_replication(fresh);
    if (!in_.empty()) {
        in_.append(reinterpret_cast<char const*>(fresh.data()), fresh.size());
        return pump();
    }
    session_step step = service_.step();
    step.lender = this;
    std::size_t const used = session_->on_client(fresh, step);
    send(step);
    if (used < fresh.size())
        in_.assign(reinterpret_cast<char const*>(fresh.data()) + used, fresh.size() - used);
    follow(step);
}

/// Feeds what waits for as long as it is taken.
void pg_client::pump() {
    pump_again_ = true;
    if (pumping_) return;
    pumping_ = true;
    while (pump_again_ && session_ && !finished_) {
        pump_again_ = false;
        if (!session_->takes_input()) break;
        // Also without input: what the session no longer needs goes back then.
        bool const slow = !out_.empty();
        session_step step = service_.step();
        step.lender = this;
        std::size_t const used = session_->on_client(slow ? pg::bytes{} : pg::as_bytes(in_), step);
        send(step);
        in_.erase(0, used);
        if (in_.empty() && in_.capacity() > 4096) in_.shrink_to_fit();
        follow(step);
    }
    pumping_ = false;
    resume_reading();
}

void pg_client::resume_reading() {
    if (!readable_ || armed_ || !wants_input()) return;
    boost::asio::post(service_.io(), [this, alive = weak_from_this()] {
        if (alive.lock() && socket_ && readable_ && !armed_ && wants_input()) read();
    });
}

std::size_t pg_client::on_server_bytes(std::span<std::byte const> in) {
    session_step step = service_.step();
    std::size_t const used = session_->on_server(in, step);
    send(step);
    pending_.release |= step.release;
    pending_.discard |= step.discard;
    pending_.cancel_server |= step.cancel_server;
    pending_.close_client |= step.close_client;
    pending_.retry_input |= step.retry_input;
    if (step.want) pending_.want = step.want;
    if (step.journal) pending_.journal = std::move(step.journal);
    return used;
}

void pg_client::after_server_bytes() {
    session_step step = service_.step();
    step.release = pending_.release;
    step.discard = pending_.discard;
    step.cancel_server = pending_.cancel_server;
    step.close_client = pending_.close_client;
    step.retry_input = pending_.retry_input;
    step.want = pending_.want;
    step.journal = std::move(pending_.journal);
    pending_ = {};
    follow(step);
}

void pg_client::server_lost(std::string_view why) {
    server_ = nullptr;
    event([&](session_step& step) { session_->on_server_lost(why, step); });
}

void pg_client::cancel_ended() {
    if (!session_ || finished_) return;
    event([&](session_step& step) { session_->on_cancel_ended(step); });
}

void pg_client::server_drained() {
    if (replication_)
        to_replication({});
    else if (!in_.empty())
        pump();
    resume_reading();
}

void pg_client::on_writable() {
    service_.touch_clock();
    if (!socket_) return;
    closing_since_ = {};  // it reads
    if (session_) session_->note_progress();
    switch (out_.flush(socket_->fd())) {
        case outbox::result::later:
            socket_->wait_writable();
            return;
        case outbox::result::failed:
            gone();
            return;
        case outbox::result::sent:
            break;
    }
    if (closing_) return gone();
    if (server_) server_->resume_reading();
    if (replication_) replication_->client_drained();
    if (session_) tell_notifications();
    if (!in_.empty() && session_) pump();
    if (!in_.empty() && console_) console_input();
    if (!finished_) resume_reading();
}

void pg_client::start_session(std::string_view before) {
    event([&](session_step& step) {
        step.client.text(before);
        session_->start(step);
    });
    if (!finished_ && !in_.empty()) pump();
}

void pg_client::look_at_clock() {
    if (finished_) return;
    if (login_) {
        auto const patience = service_.limits().login_timeout;
        if (service_.context().now - since_ < (login_->is_crowded() ? std::min<routing::instant::duration>(patience, patience_without_room) : patience))
            return;
        std::string out;
        login_->on_timeout(out);
        ++service_.context().stats.login_timeouts;
        end_login();
        return flush_text(out);
    }
    if (closing_) {
        // Who reads nothing any more never will; its server and its place are wanted.
        if (closing_since_ == routing::instant{}) closing_since_ = service_.context().now;
        if (service_.context().now - closing_since_ > patience_at_end) gone();
        return;
    }
    if (replication_) return replication_->look_at_clock();
    if (session_) {
        if (reads_on() || (server_ && server_->congested())) session_->note_progress();
        reading const how = out_.empty() || !socket_ ? reading::all : reading::stopped;
        event([&](session_step& step) { session_->check_timeouts(step, how); });
    }
    if (session_ && server_ && (stop_when_idle_ || server_->outdated() || server_->pool().is_short()))
        event([&](session_step& step) { session_->give_up_sequences(step); });
}

bool pg_client::quiet() const {
    if (finished_ || closing_ || !armed_ || !out_.empty()) return false;
    return session_ ? session_->idle() : console_ && !console_->core.waits();
}

void pg_client::keep(journal_entry entry) {
    service_.keep(session_->identity().site, std::move(entry), *credentials_,
                  [this, alive = weak_from_this()](journal_outcome outcome) {
                      if (!alive.lock() || finished_) return;
                      event([&](session_step& step) { session_->on_journaled(outcome, step); });
                  });
}

void pg_client::cancel(std::shared_ptr<void> receipt) {
    if (console_) return give_up_console();
    if (replication_) return replication_->cancel(std::move(receipt));
    if (!session_ || finished_) return;
    event([&](session_step& step) { session_->on_cancel(step); });
    if (server_) server_->hold_until_canceled(std::move(receipt));
}

void pg_client::end_writing(end_writers_how how) {
    if (!session_ || finished_) return;
    event([&](session_step& step) { session_->end_writing(how == end_writers_how::terminate, step); });
}

void pg_client::stop(bool graceful) {
    if (finished_) return;
    if (replication_) return end_replication();
    if (!session_) {
        closing_ = true;
        std::string nothing;
        return flush_text(nothing);
    }
    if (!graceful) return event([&](session_step& step) { session_->terminate(step); });
    stop_when_idle_ = true;
    event([](session_step&) {});
}

}  // namespace lull
