// Errors of servers: what each undoes of what its session and its server were thought to have.
#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_session_core.hpp"

namespace lull {

namespace {

constexpr std::string_view lost_values_hint =
    "What it was to tell is with a server connection that others have had since. Ask in the transaction that writes, use "
    "RETURNING, or pool_mode session.";

}  // namespace

/// What the name meant before this. Where one of the debts from `behind` on has changed it again, it is that one's to say.
void pg_session_core::restore_name(owed_reply const& of, std::size_t behind) {
    for (std::size_t i = behind; i < server_->owed.size(); ++i) {
        owed_reply& later = server_->owed.at(i);
        if (later.name != of.name) continue;
        later.before = of.before;
        return;
    }
    if (of.before)
        statements_.put(of.name, of.before);
    else
        statements_.take(of.name);
}

/// The oldest debt has failed, and those behind it up to Sync are skipped: what they did to the names of
/// statements has not happened.
void pg_session_core::undo_names() {
    owed_queue& owed = server_->owed;
    std::size_t end = 0;
    while (end < owed.size() && !ends_segment(owed.at(end).kind)) ++end;
    if (end < owed.size() && owed.at(end).kind == owed_kind::segment) ++end;
    undo_portals(end);
    // Where to put back what the unnamed statement was: behind these, something may have replaced it again.
    prepared query_drops_it;
    prepared* unnamed = &unnamed_;
    for (std::size_t i = end; i < owed.size() && unnamed == &unnamed_; ++i) {
        owed_reply& later = owed.at(i);
        if (later.kind == owed_kind::query) unnamed = &query_drops_it;
        if (parses_unnamed(later)) unnamed = &later.before;
    }
    for (std::size_t i = end; i-- > 0;) {
        owed_reply const& skipped = owed.at(i);
        if (skipped.ours) continue;
        if (!skipped.name.empty())
            restore_name(skipped, end);
        else if (skipped.kind == owed_kind::close && skipped.before)
            *unnamed = skipped.before;
        else if (skipped.kind == owed_kind::parse || skipped.unparsed)
            *unnamed = i == 0 ? nullptr : skipped.before;  // dropped before the new one failed
    }
}

/// "cached plan must not change result type": who prepares the text once more, as drivers then do, must not get what
/// servers have. Which statement it was is not asked (it may have failed as it was described): preparing others anew, too,
/// costs little.
void pg_session_core::forget_stale_plans(owed_reply const& failed) {
    std::vector<prepared> stale;
    if (auto const* portal = portals_.find(failed.portal ? failed.portal->name : std::string_view()))
        stale.push_back(portal->statement);
    if (unnamed_) stale.push_back(unnamed_);
    statements_.each([&](std::string const&, prepared const& statement) { stale.push_back(statement); });
    context_.statements.forget(std::move(stale));
}

void pg_session_core::reply_error(pg::bytes body, pg::bytes whole, session_step& step) {
    server_->copy_in = false;
    auto const fields = pg::parse_error_fields(body);
    auto const severity = fields && fields->severity_nonlocalized ? *fields->severity_nonlocalized
                          : fields && fields->severity            ? *fields->severity
                                                                  : std::string_view{};
    if (severity == "FATAL" || severity == "PANIC") {
        // The server ends this session, not the client's: told as an ERROR when the connection closes.
        server_->ending = true;
        server_fatal_.clear();
        server_fatal_.append([&](std::string& out) {
            pg::write_error_response(out, {.sqlstate = fields->sqlstate.value_or(pg::sqlstate::connection_failure),
                                           .message = fields->message.value_or("the server ended the session"),
                                           .detail = fields->detail.value_or(""),
                                           .hint = fields->hint.value_or("")});
        });
        return;
    }
    owed_queue& owed = server_->owed;
    if (owed.empty()) return;
    bool const query = owed.front().kind == owed_kind::query || owed.front().kind == owed_kind::function_call;
    if (query && owed.front().ours) {
        own_query_failed(body, whole, step);
        return;
    }
    bool again = false;
    if (fields && fields->has_sqlstate(pg::sqlstate::feature_not_supported) && fields->routine == "RevalidateCachedQuery") {
        forget_stale_plans(owed.front());
        again = gives_back(*fields);
    } else if (fields) {
        again = reads_elsewhere(*fields);
        if (again) count_refusal(*fields, owed.front());
    }
    if (!again) {
        error_seen_ = true;
        count_error(fields, owed.front());
    }
    // A statement that should be there is not: somebody has deallocated it under its name there.
    if (fields && fields->has_sqlstate(pg::sqlstate::invalid_sql_statement_name) && !query &&
        owed.front().text.empty())
        server_->tainted = true;
    if (again || client_gone_) server_->described.clear();
    if (!client_gone_ && !again) {
        tell_described(step);
        bool const canceled = fields && fields->has_sqlstate(pg::sqlstate::query_canceled);
        if (!owed.front().text.empty()) {
            step.client.text(owed.front().text);
        } else if (statement_timed_out_ && canceled) {
            tell_timed_out(step);
        } else if (abort_due_ && abort_reason_ == abort_reason::transaction_timeout && canceled) {
            step.client.text(abort_error());
            abort_reason_ = abort_reason::told;
        } else if (owed.front().hints_values && fields && fields->has_sqlstate(pg::sqlstate::object_not_in_prerequisite_state)) {
            step.client.text(pg::with_hint(pg::as_text(whole), lost_values_hint));
        } else {
            step.client.view(whole);
        }
    }
    if (query) {
        settle_front(true);
        owed.front().failed = !again;
        if (!again) return;
        uncount_executed(owed.front());
        owed.front().ours = owed.front().again = true;
        blocked_ = blocked::barrier;
        return;
    }
    // PostgreSQL skips to Sync; what stood between is not answered.
    undo_names();
    bool front_began = false;
    auto const fail_front = [&] {
        settle_front(true);
        if (again) uncount_executed(owed.front());
    };
    while (!owed.empty() && !ends_segment(owed.front().kind)) {
        fail_front();
        front_began = front_began || (owed.front().kind == owed_kind::execute && owed.front().retag &&
                                      is_begin_tag(owed.front().retag));
        owed.pop();
    }
    if (!owed.empty() && owed.front().kind == owed_kind::segment) fail_front();
    if (!owed.empty()) owed.front().failed = !again;  // its end is still to come
    if (again) {
        owed.front().ours = owed.front().again = true;
        blocked_ = blocked::barrier;
        return;
    }
    if (front_began && client_status_ == 'I') {
        // The BEGIN that was to make our block the client's has not run: the block is only ours again. (Where the client had one
        // already it was one more.)
        block_guarded_ = block_seen_ = false;
        if (!owed.empty()) {
            owed.front().idle_after = true;
            send_own_query("ROLLBACK", step);
        }
    }
    if (owed.empty() && segment_open_) discarding_ = true;  // its Sync has not come yet
    wrap_open_ = wrap_open_ && segment_open_;
}

/// Something of ours went wrong: the settings of this client cannot be made, or our own transaction not
/// begun.
void pg_session_core::own_query_failed(pg::bytes body, pg::bytes whole, session_step& step) {
    owed_reply& front = server_->owed.front();
    front.failed = true;
    // By a late cancel of the client's: once more.
    auto const canceled = [&] {
        auto const fields = pg::parse_error_fields(body);
        return fields && fields->has_sqlstate(pg::sqlstate::query_canceled);
    };
    // What fails for want of it is told why.
    auto const tell_next = [&] {
        for (std::size_t i = 1; i < server_->owed.size(); ++i) {
            owed_reply& next = server_->owed.at(i);
            if (next.ours) continue;
            if (next.text.empty()) next.text = pg::as_text(whole);
            return;
        }
    };
    if (front.forgets_values) {
        server_->values_of = values_of_several;
        if (!front.opens) {  // nobody waits for it, but in a block what comes next fails with it
            if (server_->status != 'I') tell_next();
            return;
        }
        // (In a block that is failed by now what asks would only hear of that.)
        bool const again = server_->status == 'I' && sequences_.forgets_again(canceled());
        if (!again) fail_next_ = pg::with_severity(pg::as_text(whole), "ERROR");
        return;
    }
    if (front.asks_values) {  // and so would what asks
        fail_next_ = pg::with_severity(pg::as_text(whole), "ERROR");
        return;
    }
    if (!front.text.empty() || front.asks_pins) return;  // it had to fail, or may
    if (front.keeps) {
        if (canceled()) server_->stays = '?';
        return;
    }
    if (front.parsed) {
        server_->statements.remove(front.parsed->id);  // a PREPARE for the client's EXECUTE, which is next
        return tell_next();
    }
    if (front.settings) {
        server_->actual = context_.settings.none();
        fail_next_.clear();
        auto const fields = pg::parse_error_fields(body);
        fail_next_.append([&](std::string& out) {
            pg::write_error_response(
                out, {.severity = started_ ? "ERROR" : "FATAL",
                      .sqlstate = fields ? fields->sqlstate.value_or("XX000") : "XX000",
                      .message = fields ? fields->message.value_or("") : "",
                      .detail = fields ? fields->detail.value_or("") : "",
                      .hint = "A setting of this session could not be made on another server connection."});
        });
        return;
    }
    // What follows it on the wire ran without it. Nothing of this server's can be trusted to be what we
    // think.
    step.discard = true;
    on_server_lost("a transaction could not be begun or ended", step);
}

}  // namespace lull
