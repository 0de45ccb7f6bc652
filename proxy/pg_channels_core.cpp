// LISTEN and NOTIFY of a client whose server is not its own: the worker's listener connection LISTENs for it, so that
// it needs no server while it waits. LISTEN is answered when the server has committed it there, takes effect with the
// client's transaction, and notifications are told between its transactions, as PostgreSQL does.
#include "protocol/pg/backend.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_session_core.hpp"

#include <algorithm>

namespace lull {

using routing::statement_kind;

/// Nothing but LISTENs, of a client whom the listener can serve: it hears in UTF-8. (Not in a segment that has not been
/// answered so far: nobody may have asked the server for that.)
bool pg_session_core::shares_channels(routing::operation const& op) const {
    if (op.statements.empty() || op.statements.front().kind != statement_kind::listen) return false;
    if (!context_.channels || keeps_server() || (channels_ && context_.now < channels_->own_server_until))
        return false;
    if (segment_open_ && server_ && !server_->owed.empty()) return false;
    std::string const* encoding = find_setting(reported_, "client_encoding");
    if (!encoding || *encoding != "UTF8") return false;
    return std::ranges::all_of(op.statements,
                               [](routing::statement const& s) { return s.kind == statement_kind::listen; });
}

/// The listener has to hear all that the unit in hand LISTENs to before it may run. waits: it comes again.
pg_session_core::joining pg_session_core::join_channels(routing::operation const& op) {
    if (!channels_) channels_ = std::make_unique<session_channels>();
    for (routing::statement const& s : op.statements) {
        if (!channels_->refusal.empty()) continue;
        if (server_ && !server_->owed.empty()) {
            // What is under way may end a transaction, and what that has not made active, or has ended, is left then:
            // also a channel that it still listens to.
            blocked_ = blocked::barrier;
            return joining::waits;
        }
        if (channels_->joined.contains(s.name)) continue;
        if (context_.channels->join(identity_.database, s.name, identity_.key_pid) == channel_book::standing::asked) {
            channels_->asked = s.name;
            channels_->asked_since = context_.now;
            blocked_ = blocked::channel;
            return joining::waits;
        }
        channels_->joined.insert(s.name);
    }
    return joining::done;
}

/// Of a segment of the extended protocol; sharing_ says how its LISTENs are to run.
pg_session_core::joining pg_session_core::join_channels(unit_plan const& plan) {
    sharing_ = false;
    for (unit_message const& m : plan.messages) {
        if (m.type != pg::frontend::bind || !m.statement || !shares_channels(*m.statement->operation)) continue;
        if (join_channels(*m.statement->operation) == joining::waits) return joining::waits;
        sharing_ = true;
    }
    return joining::done;
}

void pg_session_core::on_channel(std::string const& channel, channel_outcome outcome, session_step& step) {
    if (client_gone_ || !channels_ || blocked_ != blocked::channel || channels_->asked != channel) {
        // The unit that wanted it has failed meanwhile.
        bool const wanted = channels_ && channels_->joined.contains(channel);
        if (!wanted) context_.channels->leave(identity_.database, channel, identity_.key_pid);
        return;
    }
    channels_->asked.clear();
    blocked_ = blocked::no;
    step.retry_input = true;
    switch (outcome) {
        case channel_outcome::listening:
            channels_->joined.insert(channel);
            break;
        case channel_outcome::full:
            pg::write_error_response(
                channels_->refusal,
                {.sqlstate = pg::sqlstate::program_limit_exceeded,
                 .message = "too many channels are listened to in database \"" + identity_.database + "\"",
                 .hint = "The limit of all clients together is limits.max_listen_channels."});
            break;
        case channel_outcome::unavailable:
            channels_->own_server_until = context_.now + std::chrono::seconds(1);
            break;
    }
}

/// Nobody can know what was notified meanwhile, so the client has to begin anew, as after a restart of PostgreSQL.
void pg_session_core::on_channels_lost() {
    if (!channels_ || client_gone_) return;
    channels_->end = session_channels::ending::lost;
    channels_->joined.clear();
    channels_->active.clear();
    channels_->drop_waiting();
}

void pg_session_core::on_notification(notification const& what) {
    // Also of what its transaction has not made active: that may have committed, and the answer be on its way.
    if (client_gone_ || !channels_ || !channels_->joined.contains(what->channel)) return;
    if (channels_->end != session_channels::ending::no) return;
    channels_->waiting.push_back(what);
    channels_->waiting_bytes += what->message.size();
    if (channels_->waiting_bytes <= limits().max_notification_bytes) return;
    channels_->end = session_channels::ending::too_many;
    ++stats_.over_limit[static_cast<std::size_t>(session_limit::notification_bytes)];
    channels_->drop_waiting();
}

/// Between transactions, and between messages. `slow`: the client does not take what it is sent.
bool pg_session_core::may_tell_notifications(bool slow) const {
    if (slow && channels_->end == session_channels::ending::no) return false;
    if (channels_->waiting.empty() && channels_->end == session_channels::ending::no) return false;
    if (!started_ || client_gone_ || closing_ || client_status_ != 'I' || deferred_ || segment_open_ || discarding_)
        return false;
    return blocked_ == blocked::no && client_body_left_ == 0 && (!server_ || server_->clean());
}

void pg_session_core::tell_notifications(session_step& step) {
    if (channels_->end != session_channels::ending::no) {
        bool const lost = channels_->end == session_channels::ending::lost;
        step.client.write([&](std::string& out) {
            pg::write_error_response(
                out, {.severity = "FATAL",
                      .sqlstate = pg::sqlstate::admin_shutdown,
                      .message = lost ? "terminating connection because the server connection that listens for it was lost"
                                      : "terminating connection because too many notifications wait for it",
                      .detail = "Notifications may have been missed.",
                      .hint = lost ? "Connect and LISTEN again, and look for what has changed meanwhile."
                                   : "The limit is limits.max_notification_bytes."});
        });
        closing_ = step.close_client = true;
        return on_client_gone(step);
    }
    for (notification const& n : std::exchange(channels_->waiting, {})) {
        if (!channels_->active.contains(n->channel)) continue;
        ++stats_.notifications;
        step.client.text(n->message);
    }
    channels_->waiting_bytes = 0;
}

/// Behind a transaction: what it has not made active, or has ended, is nobody's any more.
void pg_session_core::settle_channels() {
    for (auto at = channels_->joined.begin(); at != channels_->joined.end();) {
        if (channels_->active.contains(*at)) {
            ++at;
            continue;
        }
        context_.channels->leave(identity_.database, *at, identity_.key_pid);
        at = channels_->joined.erase(at);
    }
}

void pg_session_core::leave_channels() {
    if (!channels_) return;
    channels_->end_listening({});
    channels_->drop_waiting();
    settle_channels();
    if (!channels_->asked.empty())
        context_.channels->leave(identity_.database, std::exchange(channels_->asked, {}), identity_.key_pid);
}

/// The unit that waits for it fails with this. Whoever has canceled it, or waited long enough, does not listen later.
void pg_session_core::stop_waiting_for_listener(std::string error, session_step& step) {
    context_.channels->leave(identity_.database, std::exchange(channels_->asked, {}), identity_.key_pid);
    blocked_ = blocked::no;
    fail_next_ = std::move(error);
    step.retry_input = true;
}

/// A notification that its server sends to whom it has. Where that has been others', somebody's function may have left
/// a LISTEN there; and what the listener hears is told once.
bool pg_session_core::hears(pg::bytes body) const {
    if (keeps_server()) return true;
    if (!pins_ || !channels_) return false;
    auto const n = pg::parse_notification_response(body);
    bool const asked = channels_->own.contains(n ? n->channel : std::string_view()) || channels_->own.contains("") ||
                       channels_->own.size() >= limits().max_listen_channels;
    return n && asked && !channels_->active.contains(n->channel);
}

/// An UNLISTEN has committed; empty: of all. Where it was its own server that listened, that may not be kept any more.
void pg_session_core::stop_listening(std::string const& channel) {
    bool const all_known = channel.empty() || channels_->own.size() < limits().max_listen_channels;
    channels_->end_listening(channel);
    if (!all_known || !channels_->own.empty()) {
        pins_due_ = pins_due_ || pins_.has(pin::listen);
        return;
    }
    pins_.remove(pin::listen);
    pin_set rest = pins_;
    rest.remove(pin::mode);
    if (!rest.beside(pin::sequences)) made_state_ = false;
}

/// A LISTEN is on its way. Where its server is to hear it, it may do so before it says that it has committed; and what
/// is rolled back is remembered all the same, for nothing will be heard of it.
void pg_session_core::listens(std::string const& channel) {
    if (!channels_) channels_ = std::make_unique<session_channels>();
    if (channels_->own.size() >= limits().max_listen_channels) return;
    channels_->own.insert(channel);
}

}  // namespace lull
