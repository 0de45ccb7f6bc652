// What a session may take in time, and how it ends what takes longer: as an ERROR wherever the session can go on.
#include "config/in_force.hpp"
#include "protocol/pg/backend.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_session_core.hpp"

#include <algorithm>
#include <utility>

namespace lull {

namespace {

void count_timeout(database_stats& stats, time_limit which) {
    ++stats.timeouts[static_cast<std::size_t>(which)];
}

std::string hint_of(config::config const& all, session_identity const& who,
                    std::optional<config::milliseconds> config::overrides::*which, std::string_view name) {
    return "The limit of the proxy is " + config::key_in_force(all, who.database, who.user, which, name) +
           ".";
}

bool longer(routing::instant since, routing::instant now, config::milliseconds limit) {
    return limit.count() > 0 && since != routing::instant{} && now - since > limit;
}

bool longer(routing::instant since, routing::instant now, config::milliseconds limit, config::milliseconds grace) {
    return limit.count() > 0 && grace.count() > 0 && longer(since, now, limit + grace);
}

/// Something that the client waits for stands before what it is amid.
bool answers_come_first(owed_queue& owed) {
    for (std::size_t i = 0; i + 1 < owed.size(); ++i)
        if (ends_ready(owed.at(i).kind)) return true;
    return false;
}

}  // namespace

void pg_session_core::check_timeouts(session_step& step, reading how) {
    if (!started_ || (closing_ && !client_gone_) || identity_.migration) return;
    config::time_limits const most =
        config::time_limits_of(*context_.snapshot->config, identity_.database, identity_.user);
    routing::instant const now = context_.now;
    bool const runs = server_ && !server_->owed.empty();
    bool const in_block = server_ && server_->status != 'I';
    config::milliseconds const grace = limits().cancel_timeout;
    bool const aborts = abort_due_ && abort_reason_ == abort_reason::transaction_timeout;
    if (runs && how == reading::all &&
        (longer(began_, now, most.statement, grace) || (aborts && longer(transaction_began_, now, most.transaction, grace))))
        return give_up_server(step);
    if (runs && !server_->owed.front().ours && !statement_timed_out_ && longer(began_, now, most.statement)) {
        statement_timed_out_ = true;  // the server's error will be told as what it is
        count_timeout(stats_, time_limit::statement);
        step.cancel(*server_);
        return;
    }
    if (client_gone_) return;
    if (most.idle_in_transaction.count() > 0 &&
        longer(patience_.look(waits_for_client(how, step), now), now, most.idle_in_transaction))
        return end_patience(how, step);
    bool const at_rest = !runs && !segment_open_ && client_body_left_ == 0;
    bool const waits_for_server = blocked_ == blocked::server;
    bool const only_answered = deferred_ && at_rest && (blocked_ == blocked::no || waits_for_server);
    // A statement outside of a block is a transaction, too, and one that runs may have begun the block.
    bool const works = runs && !server_->owed.front().ours;
    if (((in_block || works) && !abort_due_) || only_answered) {
        bool const idle = at_rest && !waits_for_server && blocked_ != blocked::cancel;
        if (longer(transaction_began_, now, most.transaction))
            return abort_block(abort_reason::transaction_timeout, step);
        if (idle && longer(answered_, now, most.idle_in_transaction))
            return abort_block(abort_reason::idle_in_transaction, step);
    }
    if (blocked_ == blocked::channel && longer(channels_->asked_since, now, most.query_wait)) {
        count_timeout(stats_, time_limit::query_wait);
        std::string error;
        pg::write_error_response(
            error, {.sqlstate = pg::sqlstate::cannot_connect_now,
                    .message = "timed out waiting for the server connection that listens",
                    .hint = hint_of(*context_.snapshot->config, identity_, &config::overrides::query_wait_timeout,
                                    "query_wait_timeout")});
        return stop_waiting_for_listener(std::move(error), step);
    }
    bool const waits = !runs && !segment_open_ && client_status_ == 'I' && blocked_ == blocked::no && !deferred_;
    if (waits && longer(answered_, now, most.idle_session)) {
        count_timeout(stats_, time_limit::idle_session);
        fatal(pg::sqlstate::idle_session_timeout, "terminating connection due to idle-session timeout", step,
              hint_of(*context_.snapshot->config, identity_, &config::overrides::idle_session_timeout, "idle_session_timeout"));
        on_client_gone(step);
    }
}

/// Whether it has a server that does nothing, and is nobody else's, until it sends more or reads what is there. (In a block it
/// may be at rest besides.)
bool pg_session_core::waits_for_client(reading how, session_step& step) {
    if (!server_ || server_->cancelling) return false;
    if (how == reading::stopped) return true;
    if (blocked_ != blocked::no) return false;
    if (client_body_left_ > 0 && !client_body_dropped_) return !answers_come_first(server_->owed);
    if (server_->copy_in) return true;
    if (!segment_open_) return false;
    // Of what has neither a Sync nor a Flush behind it nobody knows whether it still runs before that is told.
    if (!server_->owed.empty() && patience_.asks_for_answers())
        step.server.write([](std::string& out) { pg::write_flush(out); });
    return server_->owed.empty();
}

/// A COPY can be made to fail, and the session goes on. Otherwise the server's or the client's stream ends amid something.
void pg_session_core::end_patience(reading how, session_step& step) {
    count_timeout(stats_, time_limit::idle_in_transaction);
    owed_queue& owed = server_->owed;
    bool const amid = client_body_left_ > 0 && !client_body_dropped_;
    bool const fails = how == reading::all && server_->copy_in && !amid && !segment_open_ && owed.size() == 1;
    bool const tells = server_->body_left == 0 || server_->body_swallowed;
    std::string const hint = hint_of(*context_.snapshot->config, identity_, &config::overrides::idle_in_transaction_timeout,
                                     "idle_in_transaction_timeout");
    std::string error;
    pg::write_error_response(
        error, {.severity = fails ? "ERROR" : "FATAL",
                .sqlstate = pg::sqlstate::idle_in_transaction_session_timeout,
                .message = fails ? "COPY canceled due to idle-in-transaction timeout"
                                 : "terminating connection due to idle-in-transaction timeout",
                .detail = how == reading::stopped ? "It kept a server connection and did not read what that had answered."
                          : server_->copy_in      ? "It kept a server connection and sent no more of what is to be copied."
                          : amid                  ? "It kept a server connection and did not send the rest of a message."
                                                  : "It kept a server connection and sent no Sync.",
                .hint = hint});
    if (fails) {
        step.server.write([](std::string& out) { pg::write_copy_fail(out, "idle-in-transaction timeout of the proxy"); });
        server_->copy_in = false;
        owed.front().copy_ended = true;
        owed.front().text = std::move(error);
        return;
    }
    if (tells) step.client.text(error);
    closing_ = step.close_client = true;
    if (!owed.empty() && !owed.front().ours) step.cancel(*server_);  // nobody reads what it would yet say
    on_client_gone(step);
}

void pg_session_core::abort_block(abort_reason why, session_step& step) {
    count_timeout(stats_, why == abort_reason::transaction_timeout ? time_limit::transaction
                                                                   : time_limit::idle_in_transaction);
    abort_reason_ = why;
    if (deferred_) {  // no server has to hear of it
        fail_deferred();
        client_status_ = 'E';
        fail_next_ = abort_error();
        if (blocked_ != blocked::server) return;
        blocked_ = blocked::no;
        step.retry_input = true;
        return;
    }
    abort_due_ = true;
    if (!server_->owed.empty()) step.cancel(*server_);
    after_event(step);
}

/// It has not obeyed the cancel, or could not be sent one for what of ours stands before the statement: it hangs, or what it
/// runs cannot be interrupted. Whoever waits for the end of broken connections' work waits for this one's.
void pg_session_core::give_up_server(session_step& step) {
    if (!std::exchange(statement_timed_out_, true) && !abort_due_) count_timeout(stats_, time_limit::statement);
    count_timeout(stats_, time_limit::cancel);
    std::string hint = hint_of(*context_.snapshot->config, identity_,
                               abort_due_ ? &config::overrides::transaction_timeout : &config::overrides::statement_timeout,
                               abort_due_ ? "transaction_timeout" : "statement_timeout");
    hint.insert(hint.size() - 1, ", and behind it limits.cancel_timeout");
    server_fatal_.clear();
    server_fatal_.append([&](std::string& out) {
        pg::write_error_response(
            out, {.sqlstate = pg::sqlstate::connection_failure,
                  .message = "the server did not end the statement in time: the connection to it was closed",
                  .detail = "What it was asked to do may still run there, and may yet be done and committed, or not.",
                  .hint = hint});
    });
    statement_timed_out_ = abort_due_ = false;
    step.discard = true;
    on_server_lost("the server did not end the statement in time, and may yet do so", step);
}

/// In place of the server's error, which knows nothing of our time-out.
void pg_session_core::tell_timed_out(session_step& step) {
    std::string const hint = hint_of(*context_.snapshot->config, identity_,
                                     &config::overrides::statement_timeout, "statement_timeout");
    step.client.write([&](std::string& out) {
        pg::write_error_response(out, {.sqlstate = pg::sqlstate::query_canceled,
                                       .message = "canceling statement due to statement timeout",
                                       .hint = hint});
    });
}

/// The server says that a block is open: where none may be, it ends.
void pg_session_core::note_block() {
    if (identity_.pool_mode != config::pool_mode::statement || identity_.migration) return;
    abort_due_ = true;
    abort_reason_ = abort_reason::statement_pooling;
}

/// What the client is told, instead of an answer to what it asks next. Empty: it knows.
std::string pg_session_core::abort_error() const {
    std::string out;
    config::config const& all = *context_.snapshot->config;
    switch (abort_reason_) {
        case abort_reason::maintenance:
            pg::write_error_response(
                out, {.sqlstate = pg::sqlstate::query_canceled,
                      .message = "transaction rolled back: it still wrote when the maintenance of site \"" +
                                 site().settings->name + "\" had waited long enough",
                      .hint = "Run it again when the maintenance is over."});
            break;
        case abort_reason::transaction_timeout:
            pg::write_error_response(out,
                                     {.sqlstate = pg::sqlstate::transaction_timeout,
                                      .message = "transaction rolled back due to transaction timeout",
                                      .hint = hint_of(all, identity_, &config::overrides::transaction_timeout,
                                                      "transaction_timeout")});
            break;
        case abort_reason::idle_in_transaction:
            pg::write_error_response(
                out, {.sqlstate = pg::sqlstate::idle_in_transaction_session_timeout,
                      .message = "transaction rolled back due to idle-in-transaction timeout",
                      .hint = hint_of(all, identity_, &config::overrides::idle_in_transaction_timeout,
                                      "idle_in_transaction_timeout")});
            break;
        case abort_reason::canceled:
            pg::write_error_response(
                out, {.sqlstate = pg::sqlstate::query_canceled,
                      .message = "transaction rolled back: it was canceled, or took too long, while the maintenance of site \"" +
                                 site().settings->name + "\" began"});
            break;
        case abort_reason::statement_pooling:
            pg::write_error_response(out, block_in_statement_mode());
            break;
        case abort_reason::told:
            break;
    }
    return out;
}

/// What is not understood may begin one as well: the server will say so, and it is rolled back.
bool pg_session_core::refuses_block(routing::operation const& op) const {
    if (identity_.pool_mode != config::pool_mode::statement || identity_.migration) return false;
    return std::ranges::any_of(op.statements, [](routing::statement const& s) {
        return s.kind == routing::statement_kind::begin;
    });
}

pg::error_fields_out pg_session_core::block_in_statement_mode() {
    return {.sqlstate = pg::sqlstate::feature_not_supported,
            .message = "transaction blocks are not allowed in statement pooling mode",
            .hint = "The site, the database or the user has pool_mode: statement."};
}

/// Its server session is from before the flip. With its end would go what is temporary there, and with that what is
/// permanent and depends on it: so it is not to end before the site is open.
bool pg_session_core::is_kept_over() const {
    return server_ && !wish_.guarded && server_->role == routing::role::primary && !server_->begun_closed && !read_write() &&
           !identity_.migration;
}

/// What would have the server end it is turned off, whoever has set it; and once more where that has been undone by the end
/// of the block in which it was done. When the site is open, the client gets its own again.
void pg_session_core::keep_session(session_step& step) {
    pg_server_state& s = *server_;
    bool const amid = segment_open_ || client_body_left_ > 0 || s.body_left > 0 || s.copy_in || !s.owed.empty();
    if (s.stays == 'I' || s.stays == s.status || amid || may_write_ || !is_kept_over()) return;
    if (s.status == 'I' && !pins_) return;  // it is given back
    bool const at_flip = std::exchange(s.stays, s.status) == 0;
    if (s.status == 'E') {
        // In a failed block nothing can be turned off: it ends there. To its client it has failed as before; or it has to be
        // told now, where a late cancel, or a time-out, has met what was to turn it off.
        send_own_query("ROLLBACK", step).ends_alone = true;
        if (client_status_ == 'T' && fail_next_.empty()) {
            abort_reason_ = abort_reason::canceled;
            client_status_ = 'E';
            fail_next_ = abort_error();
        }
    } else {
        if (s.status == 'I') s.actual = with_staying(context_.settings, s.actual, *s.reported);
        send_own_query(staying_sql(*s.reported, s.status), step).keeps = true;
    }
    if (!at_flip || site().mode != routing::mode::draining) return;  // sealing waits for the first
    in_flight_ = true;
    writes_since_ = context_.now;
}

}  // namespace lull
