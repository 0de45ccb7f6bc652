// What happens to a session from outside its two byte streams: flips, deadlines, cancels, losses.
#include "protocol/pg/backend.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_refusal_core.hpp"
#include "proxy/pg_session_core.hpp"

#include <algorithm>
#include <utility>

namespace lull {

std::size_t pg_session_core::on_client(pg::bytes in, session_step& step) {
    std::size_t used = 0;
    while (used < in.size() && takes_input()) {
        pg::bytes const rest = in.subspan(used);
        if (client_body_left_ == 0) count_begin(static_cast<char>(rest.front()));
        std::size_t const n = client_body_left_ > 0 ? stream_client(rest, step) : unit(rest, step);
        if (n == 0) break;
        used += n;
    }
    after_event(step);
    return used;
}

/// The rest of a message that is longer than what was here when it was judged.
std::size_t pg_session_core::stream_client(pg::bytes in, session_step& step) {
    std::size_t const n = std::min(in.size(), client_body_left_);
    patience_.note_progress();
    if (!client_body_dropped_ && server_) step.server.view(in.first(n));
    client_body_left_ -= n;
    return n;
}

/// At the end of every event: what has become due.
void pg_session_core::after_event(session_step& step) {
    if (mode_due_) report_mode(step);
    if (server_) answer_local(step);
    if (cancel_due_ && blocked_ != blocked::cancel && (!server_ || server_->owed.empty() || !server_->owed.front().ours)) {
        cancel_due_ = false;
        bool const goes_on = (blocked_ == blocked::no && step.retry_input) || is_in_order();
        // Of a segment that has failed only the end is waited for: it has its error.
        bool const comes_next = goes_on && !client_gone_ && !discarding_ && began_ != routing::instant{} &&
                                (!server_ || server_->owed.empty());
        if (comes_next && server_ && segment_open_)
            fail_extended(canceled_error(), step);  // on the server: its Sync would commit what came before
        else if (comes_next && (!server_ || server_->status == 'I'))
            fail_next_ = canceled_error();  // it has waited for what was ours
        else if (comes_next && server_->status == 'T')
            fail_block(canceled_error(), step);
        else
            on_cancel(step);  // what was held back has gone out, or waits for something else now
    }
    if (in_flight_) {
        // keep_session() is still to come, and cannot in the middle of a message.
        bool const kept_later = client_body_left_ > 0 && is_kept_over() && server_->stays == 0 && (server_->status != 'I' || pins_);
        in_flight_ = at_work_unguarded() || kept_later;
    }
    if (client_gone_) {
        wind_down(step);
        return;
    }
    // Before anything more is asked in it: what it has locked may be in the migration's way.
    if (begun_open_ && !read_write() && blocked_ == blocked::no && client_body_left_ == 0 && server_ &&
        server_->owed.empty() && cuts_segment(step))
        blocked_ = blocked::no;  // nothing waits for it
    bool const has_room =
        blocked_ == blocked::pipeline && server_ && server_->owed.size() < limits().max_pipeline;
    bool const canceled = blocked_ == blocked::cancel && !(server_ && server_->cancelling);
    if (canceled && server_ && server_->owed.empty()) began_ = {};  // it begins now
    if (has_room || is_in_order() || canceled) {
        blocked_ = blocked::no;
        step.retry_input = true;
    }
    if (!was_open_ && server_) {
        pins_.remove(pin::sequences);  // others than the primary read now
        keep_session(step);
    }
    bool const amid = client_body_left_ > 0 && !client_body_dropped_;
    if (!server_ || !server_->clean() || segment_open_ || client_body_left_ > 0) {
        if (server_ && abort_due_ && server_->owed.empty() && server_->status != 'I' && !segment_open_ &&
            !amid && !server_->cancelling) {
            // The deadline has passed: the block ends on the server, and has failed for the client.
            // What was told of a statement behind which the client has gone back to a savepoint is not of the block.
            if (abort_reason_ == abort_reason::told && server_->status == 'T') abort_reason_ = abort_reason::transaction_timeout;
            send_own_query("ROLLBACK", step).ends_alone = true;
            abort_due_ = false;
            client_status_ = 'E';
            // A COMMIT must not be answered before the client has been told that there is nothing to commit.
            fail_next_ = abort_error();
        }
        return;
    }
    if (blocked_ == blocked::settings || step.retry_input) return;
    if (pins_) {
        if (!server_->cancelling) ask_for_pins(step);
        return;
    }
    bool const used_up = server_->tainted;
    unlink();
    (used_up ? step.discard : step.release) = true;
    if (blocked_ != blocked::cancel) return;
    blocked_ = blocked::no;  // what waits for the end of a cancel there gets another server
    step.retry_input = true;
}

/// What waits for all answers has them. In a block, too: its server is never clean, and what waits belongs to it.
bool pg_session_core::is_in_order() const {
    return blocked_ == blocked::barrier && server_ && server_->owed.empty() && server_->body_left == 0 && !server_->copy_in;
}

/// The unit that comes next fails, and with it its block, on the server first.
void pg_session_core::fail_block(std::string error, session_step& step) {
    owed_reply& owed = send_own_query(failing_statement, step);
    owed.opens = true;
    owed.text = std::move(error);
    blocked_ = blocked::settings;
    step.retry_input = false;
}

/// Without its client a session ends what it began: a running statement is let end, a block is rolled back.
void pg_session_core::wind_down(session_step& step) {
    if (!server_) return;
    if (client_body_left_ > 0 && !client_body_dropped_) {
        // What came before it, and ends by itself, may still write. The last debt is that of the half
        // message.
        for (std::size_t i = 0; i + 1 < server_->owed.size(); ++i) {
            if (ends_ready(server_->owed.at(i).kind)) return;
        }
        // Half a message has gone out. PostgreSQL rolls back when the rest does not come.
        unlink();
        step.discard = true;
        return;
    }
    if (server_->copy_in) {
        step.server.write([](std::string& out) { pg::write_copy_fail(out, "the client is gone"); });
        server_->copy_in = false;
    }
    if (segment_open_) {
        // PostgreSQL does nothing of a segment whose Sync never comes, and a Sync of ours would commit it: also what
        // was taken for a read.
        if (segment_runs_) {
            std::string gone;
            pg::write_error_response(gone, {.sqlstate = pg::sqlstate::connection_failure, .message = "the client is gone"});
            fail_extended(std::move(gone), step);
        }
        step.server.write([](std::string& out) { pg::write_sync(out); });
        server_->owed.push(owed_kind::sync).ours = true;
        segment_open_ = begun_open_ = false;
        return;
    }
    if (!server_->owed.empty()) return;
    if (server_->status != 'I') {
        send_own_query("ROLLBACK", step).ends_alone = true;
        return;
    }
    // To drop what is temporary is a write while the site is closed: a server from before the flip is given up as it is.
    bool const from_before = !read_write() && server_->role == routing::role::primary && !wish_.guarded;
    if (identity_.pool_mode == config::pool_mode::session && !identity_.migration && !server_->tainted && !from_before) {
        if (!resetting_) {
            resetting_ = true;
            send_own_query("DISCARD ALL", step);
            return;
        }
        server_->statements.clear();
        server_->values_of = no_values;
        server_->actual = context_.settings.none();
        pins_.clear();
    }
    bool const given_up = from_before && identity_.pool_mode == config::pool_mode::session && !identity_.migration;
    bool const used_up = pins_.beside(pin::sequences) || server_->tainted || given_up;
    unlink();
    (used_up ? step.discard : step.release) = true;
}

void pg_session_core::on_client_gone(session_step& step) {
    if (client_gone_) return;
    leave_hold();
    leave_channels();
    client_gone_ = closing_ = true;
    if (blocked_ != blocked::settings) blocked_ = blocked::no;
    wind_down(step);
}

void pg_session_core::report_mode(session_step& step) {
    mode_due_ = false;
    if (!started_ || client_gone_ || identity_.migration || !site().settings->report_read_only) return;
    bool const read_only = !read_write();
    if (read_only == told_read_only_) return;
    if (server_ && server_->body_left > 0) {  // in the middle of a message to the client
        mode_due_ = true;
        return;
    }
    told_read_only_ = read_only;
    step.client.write([&](std::string& out) {
        pg::write_parameter_status(out, "default_transaction_read_only", read_only ? "on" : "off");
    });
}

bool pg_session_core::at_work_unguarded() const {
    return server_ && server_->role == routing::role::primary && !wish_.guarded && !identity_.migration &&
           (may_write_ || segment_open_ || !server_->owed.empty());
}

/// What was taken for a read runs without our READ ONLY transaction where the site was open. That it will not come to
/// write nobody can prove (what it calls may have been changed in the moment before), so its end is waited for as that
/// of a write is.
void pg_session_core::note_flip() {
    bool const open = read_write();
    if (!std::exchange(was_open_, open) || open || !at_work_unguarded()) return;
    in_flight_ = true;
    if (!may_write_) writes_since_ = began_ == routing::instant{} ? context_.now : began_;
}

void pg_session_core::on_snapshot(session_step& step) {
    note_flip();
    if (server_ && was_open_) {
        server_->begun_closed = false;
        if (std::exchange(server_->stays, '\0') == 'I')
            server_->actual = with_staying(context_.settings, server_->actual, *server_->reported);
    }
    if (client_gone_) return;
    report_mode(step);
    if (blocked_ == blocked::welcome) return on_choose_again(step);
    if (blocked_ == blocked::server && started_) {
        // What it waits for was chosen under another mode; choose again. The driver drops the old wish.
        blocked_ = blocked::no;
        step.retry_input = true;
    }
    if (begun_open_ || (server_ && !was_open_)) after_event(step);
}

void pg_session_core::on_choose_again(session_step& step) {
    if (client_gone_) return;
    if (!started_) {
        want(routing::verdict::to_reader, step);
        blocked_ = blocked::welcome;
        return;
    }
    blocked_ = blocked::no;
    step.retry_input = true;
}

void pg_session_core::on_tick(session_step& step) {
    // Where the site is open its turn comes. While it reopens that may take long: journaled writes are run before it.
    if (blocked_ == blocked::held && !read_write() &&
        context_.now - held_since_ > site().settings->hold.max_age) {
        leave_hold();
        hold_exhausted_ = true;
        count(&write_fates::over_limit);
        step.retry_input = true;
    }
}

void pg_session_core::on_cancel(session_step& step) {
    if (client_gone_ || !started_) return;
    if (blocked_ == blocked::held || blocked_ == blocked::server || blocked_ == blocked::channel) {
        if (blocked_ == blocked::channel) return stop_waiting_for_listener(canceled_error(), step);
        leave_hold();
        blocked_ = blocked::no;
        fail_next_ = canceled_error();
        step.want.reset();
        step.retry_input = true;
        return;
    }
    if (!server_) return;
    // What it has asked is held back, or stands behind what is ours: without our BEGIN it would run outside of it.
    if (server_->owed.empty() ? blocked_ == blocked::cancel : server_->owed.front().ours)
        cancel_due_ = true;
    else if (!server_->owed.empty())
        step.cancel(*server_);
}

void pg_session_core::end_writing(bool terminate, session_step& step) {
    if (!writes() || !server_) return;
    // What no cancel has reached until the order comes again: who does not read, or has sent half of something.
    if (abort_due_ && abort_reason_ == abort_reason::maintenance) terminate = true;
    if (!server_->owed.empty()) step.cancel(*server_);
    abort_due_ = true;
    abort_reason_ = abort_reason::maintenance;
    // Behind a segment without its Sync, or in the middle of a message, nothing of ours can stand: only the
    // end of the session ends it.
    bool const amid = client_body_left_ > 0 && !client_body_dropped_;
    if ((segment_open_ || amid) && server_->owed.empty()) terminate = true;
    if (terminate && !client_gone_) return this->terminate(step);
    after_event(step);
}

void pg_session_core::terminate(session_step& step) {
    if (!client_gone_) fatal(pg::sqlstate::admin_shutdown, "terminating connection due to administrator command", step);
    on_client_gone(step);
}

void pg_session_core::on_server_lost(std::string_view why, session_step& step) {
    if (!server_) return;
    leave_hold();  // it is judged again, and held again
    pg_server_state& lost = *server_;
    bool const half_told = lost.body_left > 0 && !lost.body_swallowed;
    // A transaction that is only ours, around one statement, is no block of the client's.
    bool const in_block = block_seen_ || (client_status_ != 'I' && !deferred_);
    bool owes = false;
    for (std::size_t i = 0; i < lost.owed.size(); ++i) owes = owes || !lost.owed.at(i).ours;
    bool const unresolved = commit_sent_ && owes;  // a ROLLBACK of ours on its way is no doubt
    bool const was_welcoming = !started_;
    // What it had there is gone with it: temporary tables, locks, cursors. PostgreSQL's own client would be gone, too.
    // In session pooling that is known of one that has made such a thing; the others do not notice.
    bool const kept_there = started_ && (made_state_ || (pins_.beside(pin::sequences) && !keeps_server()));
    std::string error = server_fatal_.take();
    if (unresolved) {
        error.clear();
        pg::write_error_response(
            error, {.sqlstate = pg::sqlstate::transaction_resolution_unknown,
                    .message = "connection to the server was lost while a COMMIT was on its way",
                    .detail = why,
                    .hint = "The transaction may or may not have been committed."});
    } else if (error.empty()) {
        pg::write_error_response(error, {.sqlstate = pg::sqlstate::connection_failure,
                                         .message = "server closed the connection unexpectedly",
                                         .detail = why});
    }
    if (kept_there && !client_gone_) {
        if (!half_told) step.client.text(pg::with_severity(error, "FATAL"));
        unlink();
        closing_ = step.close_client = true;
        return;
    }
    // What was to come again has not been answered.
    if (!lost.owed.empty() && lost.owed.front().again && lost.owed.front().ours) {
        lost.owed.front().ours = false;
        owes = true;
    }
    // A PREPARE or DEALLOCATE that nobody can know of has not been.
    for (std::size_t i = lost.owed.size(); i-- > 0;) {
        owed_reply const& owed = lost.owed.at(i);
        bool const by_sql = owed.kind == owed_kind::query || owed.kind == owed_kind::execute;
        if (by_sql && !owed.ours && !owed.name.empty()) restore_name(owed, lost.owed.size());
    }
    bool told = false, answered = false;  // the error of this segment or query; one or more of them
    // What was on its way ahead of a block that is answered and not begun fails that block too.
    bool const ahead = deferred_ && (owes || segment_open_);
    if (ahead) fail_deferred();
    char const status = ahead || (in_block && !unresolved) ? 'E' : 'I';
    for (std::size_t i = 0; i < lost.owed.size() && !client_gone_ && !half_told; ++i) {
        owed_reply const& owed = lost.owed.at(i);
        if (owed.ours) continue;
        if (!told && !owed.failed) step.client.text(error);
        told = true;
        if (ends_ready(owed.kind) || owed.ready) {
            bool const in_dead_block = owed.failed && client_status_ == 'E';  // it was not what ends it
            if (!in_dead_block) client_status_ = status;
            ready(step);
            told = false;
            answered = true;
        }
    }
    bool const segment = segment_open_;
    if (segment && !told && !discarding_ && !client_gone_ && !half_told) step.client.text(error);
    if (client_body_left_ > 0) client_body_dropped_ = true;
    unlink();
    if (client_gone_) return;
    if (half_told) {
        closing_ = step.close_client = true;
        return;
    }
    if (was_welcoming) {
        on_no_server(std::move(error), step);
        return;
    }
    discarding_ = discarding_ || segment;
    if (!answered && (owes || segment || in_block || ahead)) client_status_ = status;
    if (!owes && !segment && status == 'E') fail_next_ = std::move(error);
    if (blocked_ == blocked::journal) return;  // what is on its way to the disk needs no server
    blocked_ = blocked::no;
    step.retry_input = true;
}

}  // namespace lull
