// The simple query protocol (manual, "Simple Query"), and the messages that are neither it nor the extended
// one.
#include "protocol/pg/backend.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_refusal_core.hpp"
#include "proxy/pg_session_core.hpp"
#include "routing/break_points.hpp"

#include <algorithm>
#include <utility>

namespace lull {

using routing::statement_kind;

namespace {

routing::operation const& unread_operation() {
    static routing::operation const op = [] {
        routing::operation o;
        o.access = routing::access::unknown;
        o.why = routing::why::too_long;
        o.statements.emplace_back();
        return o;
    }();
    return op;
}

bool is_one(routing::operation const& op, statement_kind kind) {
    return op.statements.size() == 1 && op.statements.front().kind == kind;
}

}  // namespace

std::size_t pg_session_core::unit(pg::bytes in, session_step& step) {
    if (in.size() < pg::header_bytes) return 0;
    auto const header = pg::parse_header(in.first<pg::header_bytes>());
    if (!header || !pg::is_frontend_type(header->type)) {
        fatal(pg::sqlstate::protocol_violation,
              header ? "invalid frontend message type " +
                           std::to_string(static_cast<unsigned char>(header->type))
                     : std::string("invalid message length"),
              step);
        return in.size();
    }
    judged_text const again = std::exchange(waiting_, {});  // whatever comes now, what waited has had its turn
    passing_ = false;
    // (A segment that has failed has its error; this is the next one's.)
    if (!fail_next_.empty() && !discarding_) return fail_unit(in, *header, step);
    if (journal_done_) return finish_journaled(in, step);
    if (server_ && !server_->owed.empty() && is_apart()) {
        blocked_ = blocked::barrier;
        return 0;
    }
    switch (header->type) {
        case pg::frontend::terminate:
            // In its turn: what came before is answered first. (A segment without its Sync is not.)
            if (server_ && !server_->owed.empty() && !segment_open_ && !server_->copy_in) {
                blocked_ = blocked::barrier;
                return 0;
            }
            closing_ = step.close_client = true;
            return in.size();
        case pg::frontend::query:
            return simple(in, *header, again, step);
        case pg::frontend::function_call:
            return function_call(in, *header, step);
        case pg::frontend::copy_data:
        case pg::frontend::copy_done:
        case pg::frontend::copy_fail:
            return copy_data(in, *header, step);
        case pg::frontend::password:
            fatal(pg::sqlstate::protocol_violation, "unexpected password message", step);
            return in.size();
        default:
            return extended(in, step);
    }
}

/// What is under way on its server is not in the client's block, or ends it: nothing may go out, or fail, there as if it were.
bool pg_session_core::is_apart() const {
    owed_reply const& front = server_->owed.front();
    // A ROLLBACK of ours is sent where nothing is owed.
    if (front.ours && front.ends_alone) return true;
    bool const failed_before_it_began = client_status_ == 'E' && !block_seen_;
    return !segment_open_ && (aside_under_way_ || failed_before_it_began);
}

/// Consumes a message of `size` bytes without sending it.
std::size_t pg_session_core::drop(pg::bytes in, std::size_t size) {
    std::size_t const here = std::min(in.size(), size);
    client_body_left_ = size - here;
    client_body_dropped_ = true;
    return here;
}

std::size_t pg_session_core::simple(pg::bytes in, pg::frame_header header, judged_text const& again, session_step& step) {
    std::size_t const size = pg::header_bytes + header.body_bytes;
    bool const whole = in.size() >= size;
    if (!whole && header.body_bytes <= limits().max_parse_bytes + 1) return 0;
    if (discarding_) return drop(in, size);  // PostgreSQL skips everything to Sync, this too
    if (cuts_segment(step)) return 0;
    if (!fits_segment(step)) return in.size();

    std::string_view text;
    std::shared_ptr<routing::operation const> in_catalog;
    judged_text judged{.op = {}, .facts = text_facts(), .size = static_cast<std::uint32_t>(size)};
    // What was judged and then had to wait, for its server as a rule, comes again as it was.
    bool const comes_again = again.op && again.size == size && again.facts == judged.facts;
    if (whole) {
        auto const parsed = pg::parse_query(in.subspan(pg::header_bytes, header.body_bytes));
        if (!parsed) {
            fatal(pg::sqlstate::protocol_violation, "invalid message format", step);
            return in.size();
        }
        text = *parsed;
        if (!comes_again) {
            auto const& op = context_.classifier.classify(text, judged.facts);
            if (is_plain_query(*op)) return forward_plain(in, size, text, op, step);
            judged.op = op;
        } else {
            judged.op = again.op;
        }
        if (is_one(*judged.op, statement_kind::execute)) {
            // What its name means may have changed while it waited.
            if (comes_again) judged.op = context_.classifier.classify(text, judged.facts);
            if (!names_are_open()) {
                judged.op = execution_of(judged.op);
            } else if (!segment_open_) {
                blocked_ = blocked::barrier;
                return 0;
            }
        }
        in_catalog = judge(judged.op);
    } else {
        text = pg::as_text(in.subspan(pg::header_bytes));
    }
    routing::operation const& op = in_catalog ? *in_catalog : unread_operation();
    if (!comes_again) note_statement(text);
    auto const later = [&] {
        waiting_ = judged;
        return std::size_t{0};
    };

    bool const query = op.is_query();  // many questions do not arise then
    if (refuses_block(op)) {
        std::string error;
        pg::write_error_response(error, block_in_statement_mode());
        return fail_simple(in, size, std::move(error), step);
    }
    if (!query && touches_own_names(op)) return fail_simple(in, size, reserved_name_error(), step);
    if ((is_one(op, statement_kind::prepare) || is_one(op, statement_kind::deallocate)) && is_open(op.statements.front().name)) {
        blocked_ = blocked::barrier;
        return later();
    }
    if (!server_ && ((!query && answer_locally(op, text, step)) ||
                     (client_status_ == 'E' && !deferred_ && answer_failed(op, step)))) {
        unnamed_ = nullptr;  // as every Query drops it
        return drop(in, size);
    }

    if (!query && discards_pinned(op)) {
        if (op.statements.front().name != "ALL")
            return refuse_simple(in, size, refusal(&op, &op.statements.front()), step);
        discard_pinned(step);
        return drop(in, size);
    }

    bool const shares = !query && shares_query(op);
    bool passes = false;
    routing::decision decision = routing::decide(op, facts(text), site());
    if (op.access == routing::access::read && broken("failed_read", 10)) decision.verdict = routing::verdict::refuse;
    if (decision.verdict == routing::verdict::refuse) {
        switch (instead_of({op, whole ? text : std::string_view{}, size, whole}, in, step)) {
            case instead::refuse:
                break;
            case instead::later:
                return later();
            case instead::answered:
                return drop(in, size);
            case instead::pass:
                passes = true;
                if (shares) passing_ = false;  // what it needs a server for, a reader can do
                decision.verdict = shares ? routing::verdict::to_reader : routing::verdict::to_primary;
                break;
        }
    }
    bool const failed = in_failed_block();
    // Nothing whose effect is not known goes out: there may be a ROLLBACK in it, and what stands behind that would run.
    auto const fail = [&] {
        forget_refusal();
        return fail_simple(in, size, failed_block_error(), step);
    };
    if (decision.verdict == routing::verdict::refuse)
        return failed ? fail() : refuse_simple(in, size, refusal(&op, decision.offender), step);
    if (shares && !failed) {
        if (join_channels(op) == joining::waits) return later();
        if (!channels_->refusal.empty())
            return fail_simple(in, size, std::exchange(channels_->refusal, {}), step);
    }
    bool const asks = asks_sequences(op);
    sequences_.note_unit(asks);
    if (block_moves_ && moves_block(op, step)) return later();
    if (!place(decision.verdict, step)) return later();
    if (!query && shares != shares_query(op)) {  // its server says that the client's encoding is another
        step.retry_input = true;
        return later();
    }
    // Inside our own READ ONLY transaction a text that ends it would run its rest outside.
    bool const guard = guard_needed() || block_guarded_;
    if (guard && op.transaction_control && op.statements.size() > 1)
        return refuse_simple(in, size, transaction_control_refusal(site(), refusal_code()), step);

    routing::statement const* const prepares = is_one(op, statement_kind::prepare) ? &op.statements.front() : nullptr;
    if (prepares && !in_failed_block())
        if (std::string error = refuses_to_prepare(*prepares, text.size()); !error.empty())
            return fail_simple(in, size, std::move(error), step);
    auto const ends_subtransaction = [](routing::statement const& s) {
        return s.kind == statement_kind::release || s.kind == statement_kind::rollback_to;
    };
    if (guard && op.statements.size() > 1 && std::ranges::any_of(op.statements, ends_subtransaction))
        return refuse_simple(in, size, transaction_control_refusal(site(), refusal_code()), step);
    if (failed && guard && op.access >= routing::access::unknown) return fail();
    if (guard && waits_for_guard(op, step)) return later();
    if (proves_first(op, step) || checks_temporary_first(op, step)) return later();
    if (asks) {
        bool const writes = op.statements.size() > 1 && op.statements.front().access >= routing::access::unknown;
        if (waits_for_sequences(may_write_ || writes, text, step)) return later();
        if (!sequences_.may_be_told(server_->values_of) && !server_->copy_in) return fail();
    }
    forget_refusal();
    if (passes) count(&write_fates::passed);
    prologue(step);
    if (query && !guard && !wrap_open_) {
        forward_query(in, size, text, op, step);
    } else {
        taint_by(op, text, whole);
        forward_simple(in, size, whole ? text : std::string_view{}, op, step);
    }
    return std::min(in.size(), size);
}

/// The server said so, and nothing that was sent since can have changed it.
bool pg_session_core::in_failed_block() const {
    return server_ && server_->status == 'E' && server_->owed.empty() && !segment_ends_;
}

bool pg_session_core::may_end_block(routing::operation const& op) {
    return op.transaction_control || (op.statements.empty() && op.access >= routing::access::unknown) ||
           std::ranges::any_of(op.statements, [](routing::statement const& s) {
               return s.kind == statement_kind::unknown;
           });
}

/// A Query amid a segment of the extended protocol ends the transaction of that segment, which must not be
/// ours. No client library sends that.
bool pg_session_core::fits_segment(session_step& step) {
    if (!segment_open_ || !server_ || !(guard_needed() || in_guard())) return true;
    fatal(pg::sqlstate::feature_not_supported,
          "a simple query before the Sync of extended ones is not supported in a read-only transaction",
          step);
    return false;
}

void pg_session_core::send_message(pg::bytes in, std::size_t size, session_step& step) {
    std::size_t const here = std::min(in.size(), size);
    step.server.view(in.first(here));
    client_body_left_ = size - here;
    client_body_dropped_ = false;
}

/// Where nothing of ours is around it: what a query can do to a session.
void pg_session_core::forward_query(pg::bytes in, std::size_t size, std::string_view text, routing::operation const& op,
                                    session_step& step) {
    routing::statement const& only = op.statements.front();
    bool const breakable = only.kind == statement_kind::dml && server_->clean();
    unnamed_ = nullptr;
    server_->unnamed = nullptr;
    server_->copy_in = false;  // what is no CopyData ends it with an error
    if (breakable && broken("lost_write", 10)) {
        owed_reply& owed = send_own_query(nothing_statement, step);
        owed.ours = false;
        owed.retag = "INSERT 0 1";
        return;
    }
    note_purity(op);
    if (only.pins) pin_by(only);
    bool const writes = began_writing(op.access, step);
    if (breakable && broken("sent_twice", 10)) send_own_query(text, step);
    send_message(in, size, step);
    owed_reply& owed = count_executed(op.access, server_->owed.push(owed_kind::query));
    owed.writes = writes;
    owed.plain = true;
    if (op.asks_sequences) owed.hints_values = sequences_.lost();
    if (in.size() >= size) keep_read(in.first(size), text);
}

void pg_session_core::forward_simple(pg::bytes in, std::size_t size, std::string_view text,
                                     routing::operation const& op, session_step& step) {
    routing::statement const* only = op.statements.size() == 1 ? &op.statements.front() : nullptr;
    bool const idle = server_->status == 'I' && server_->owed.empty();
    bool const guard = guard_needed();
    unnamed_ = nullptr;
    server_->unnamed = nullptr;
    server_->copy_in = false;  // what is no CopyData ends it with an error

    if (only && guard && idle && only->kind == statement_kind::begin) {
        block_options_ = only->begin;
        send_own_query(begin_sql(true, true), step).guards = true;
        owed_reply& owed = server_->owed.push(owed_kind::local);
        pg::write_command_complete(owed.text, only->command);
        pg::write_ready_for_query(owed.text, 'T');
        owed.ready = true;
        block_guarded_ = block_seen_ = true;
        client_status_ = 'T';
        return;
    }
    if (only && block_guarded_ &&
        (only->kind == statement_kind::commit || only->kind == statement_kind::rollback)) {
        // A transaction that may not write has nothing to commit, and ROLLBACK undoes what slipped in.
        bool const chain = only->chain;
        bool const commits = only->kind == statement_kind::commit;
        bool const keeps = commits && keeps_temporary();
        owed_reply& owed = send_own_query(keeps || (commits && broken("commit_block")) ? "COMMIT" : "ROLLBACK", step);
        owed.ours = false;
        bool const failed = server_->status == 'E' || client_status_ == 'E';  // where it is the client's, the server is about to be told
        owed.retag = commits && !keeps && !failed ? "COMMIT" : nullptr;
        owed.block_after = chain;
        owed.ends_alone = true;
        if (!chain) return;
        send_own_query(begin_sql(true, true), step).guards = true;
        if (server_->stays == 'T') server_->stays = '?';
        return;
    }
    if (only && only->kind == statement_kind::deallocate && !is_dead_block()) {
        if (prepared gone = statements_.take(only->name)) {
            owed_reply& owed = send_own_query(nothing_statement, step);
            owed.ours = false;
            owed.retag = "DEALLOCATE";
            // Unless it comes to fail, for what is under way may fail its block.
            owed.name = only->name;
            owed.before = std::move(gone);
            return;
        }
    }
    if (shares_query(op)) {
        std::string sql;
        for (std::size_t i = 0; i < op.statements.size(); ++i) sql.append(nothing_statement).append(";");
        std::uint16_t const made = record_settings(op, text, listener::shared);
        owed_reply& owed = send_own_query(sql, step);
        owed.ours = false;
        owed.retag = listen_tag;
        owed.settings = made > 0;
        owed.settings_count = made;
        return;
    }
    if (discards_notify(op)) {
        owed_reply& owed = send_own_query(nothing_statement, step);
        owed.ours = false;
        owed.retag = "NOTIFY";
        return;
    }
    bool const opened = wrap_open_ && !segment_open_;  // by opens_guard_first()
    bool const wrap = opened || (guard && idle && !stands_alone(op));
    if (wrap && !opened) {
        block_options_ = {};
        send_own_query(begin_sql(true, true), step).guards = true;
    }
    block_moves_ = false;
    note_purity(op);
    bool const prepares = only && only->kind == statement_kind::prepare && !in_failed_block();
    prepared const making = prepares ? sql_prepared(*only, text) : nullptr;
    if (making)
        begin_prepare(making, step);
    else if (!only || !only->name.empty())
        note_names(op, step);
    bool const apart = is_told_apart(op);
    std::uint16_t const made = record_settings(op, text, listener::own_server, apart);
    bool commits = false;
    for (routing::statement const& s : op.statements) {
        note_end_of_pins(s);
        if (s.pins) pin_by(s);
        if (s.kind == statement_kind::begin) block_options_ = s.begin;
        // (Of what was not understood nobody knows what is in it.)
        if (s.kind == statement_kind::commit || s.kind == statement_kind::unknown) commits = true;
        loosen_guard(s);
    }
    commit_sent_ = commit_sent_ || commits;
    bool const writes = !wrap && began_writing(op, step);
    send_message(in, size, step);
    owed_reply& owed = server_->owed.push(owed_kind::query);
    if (making) {
        owed.name = only->name;
        owed.parsed = making;
        owed.before = statements_.put(only->name, making);
    }
    count_executed(op.access, owed).writes = writes;
    if (op.asks_sequences) owed.hints_values = sequences_.lost();
    owed.commits = commits;
    owed.ends = op.transaction_control;
    owed.ends_alone = only && (only->kind == statement_kind::commit || only->kind == statement_kind::rollback);
    owed.settings = made > 0;
    owed.settings_count = made;
    owed.apart = apart;
    owed.idle_after = wrap;
    if (only && only->kind == statement_kind::reset && only->name.empty() && is_kept_over()) {
        // It has undone what keeps the session: again, before the server waits for anything else.
        send_own_query(staying_sql(*server_->reported, server_->status), step).keeps = true;
        server_->stays = server_->status;
        return;
    }
    if (!wrap) return;
    send_own_query(keeps_temporary() || broken("commit_guard") ? "COMMIT" : "ROLLBACK", step);
    wrap_open_ = false;
}

/// Fastpath: a function by its OID, which nobody can judge here; so a write.
std::size_t pg_session_core::function_call(pg::bytes in, pg::frame_header header, session_step& step) {
    std::size_t const size = pg::header_bytes + header.body_bytes;
    if (discarding_) return drop(in, size);
    if (cuts_segment(step)) return 0;
    if (!fits_segment(step)) return in.size();
    if (!server_ && client_status_ == 'E' && !deferred_) {
        step.client.text(failed_block_error());
        ready(step);
        return drop(in, size);
    }
    routing::decision const decision = routing::decide(unread_operation(), facts(), site());
    if (decision.verdict == routing::verdict::refuse)
        return refuse_simple(in, size, refusal(&unread_operation(), decision.offender), step);
    if (!place(routing::verdict::to_primary, step)) return 0;
    prologue(step);
    block_moves_ = false;
    began_writing(routing::access::unknown, step);
    note_statement("function call");
    send_message(in, size, step);
    count_executed(routing::access::unknown, server_->owed.push(owed_kind::function_call)).writes = may_write_;
    return std::min(in.size(), size);
}

}  // namespace lull
