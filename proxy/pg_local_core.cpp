// What is answered without a server: the beginning of a block, its end where nothing was sent, names of
// prepared statements, and units that failed before they could go out.
#include "protocol/pg/backend.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_refusal_core.hpp"
#include "proxy/pg_session_core.hpp"

#include <algorithm>

namespace lull {

using routing::statement_kind;

/// The unit that waited is answered with fail_next_ instead of being sent.
std::size_t pg_session_core::fail_unit(pg::bytes in, pg::frame_header header, session_step& step) {
    std::size_t const size = pg::header_bytes + header.body_bytes;
    if (header.type == pg::frontend::copy_data || header.type == pg::frontend::copy_done ||
        header.type == pg::frontend::copy_fail)
        return drop(in, size);  // the rest of a COPY that has failed; nobody waits for an answer to it
    // Whether it ends a block is in its text.
    if (header.type == pg::frontend::query && in.size() < size && header.body_bytes <= limits().max_parse_bytes + 1) return 0;
    std::string const error = fail_next_.take();
    forget_refusal();
    char status = deferred_.has_value() || client_status_ != 'I' ? 'E' : 'I';
    switch (header.type) {
        case pg::frontend::terminate:
            closing_ = step.close_client = true;
            return in.size();
        case pg::frontend::query: {
            // A COMMIT that fails ends its block; and a block that has failed is what ROLLBACK is for.
            statement_kind const end = status == 'E' ? end_of_block(in, header) : statement_kind::unknown;
            bool const ends = end == statement_kind::rollback || end == statement_kind::commit;
            if (ends && server_ && server_->status != 'I' && server_->owed.empty()) send_own_query("ROLLBACK", step).ends_alone = true;
            if (end == statement_kind::rollback) {
                step.client.write([](std::string& out) { pg::write_command_complete(out, "ROLLBACK"); });
                deferred_.reset();
                client_status_ = 'I';
                ready(step);
                return drop(in, size);
            }
            if (end == statement_kind::commit) status = 'I';
            break;
        }
        case pg::frontend::function_call:
        case pg::frontend::sync:
            break;
        default:
            discarding_ = true;
            break;
    }
    step.client.text(error);
    if (deferred_) fail_deferred();
    client_status_ = status;
    if (!discarding_) ready(step);
    return drop(in, size);
}

std::size_t pg_session_core::refuse_simple(pg::bytes in, std::size_t size, std::string error,
                                           session_step& step) {
    count(&write_fates::refused);
    forget_refusal();
    return fail_simple(in, size, std::move(error), step);
}

std::size_t pg_session_core::fail_simple(pg::bytes in, std::size_t size, std::string error, session_step& step) {
    unnamed_ = nullptr;
    if (server_ && (!server_->owed.empty() || server_->status != 'I')) {
        // The server must see what the client sees: this statement fails there too, and with it the block.
        owed_reply& owed = send_own_query(failing_statement, step);
        owed.ours = false;
        owed.text = std::move(error);
        if (wrap_open_ && !segment_open_) {  // opened for this unit, which was let through then
            owed.idle_after = true;
            send_own_query("ROLLBACK", step);
            wrap_open_ = false;
        }
        return drop(in, size);
    }
    step.client.text(error);
    if (deferred_) {
        fail_deferred();
        client_status_ = 'E';
    }
    if (channels_ && client_status_ == 'I') settle_channels();  // what it has joined for this is not listened to
    ready(step);
    return drop(in, size);
}

/// commit or rollback, where a Query is that and no more.
statement_kind pg_session_core::end_of_block(pg::bytes in, pg::frame_header header) {
    if (in.size() < pg::header_bytes + header.body_bytes) return statement_kind::unknown;
    auto const text = pg::parse_query(in.subspan(pg::header_bytes, header.body_bytes));
    if (!text) return statement_kind::unknown;
    auto const op = context_.classifier.classify(*text, text_facts());
    bool const plain = op->statements.size() == 1 && !op->statements.front().chain;
    return plain ? op->statements.front().kind : statement_kind::unknown;
}

/// What needs no server: the beginning of a block, and its end where nothing was sent.
bool pg_session_core::answer_locally(routing::operation const& op, std::string_view text, session_step& step) {
    if (op.statements.size() != 1) return false;
    routing::statement const& s = op.statements.front();
    auto answer = [&](std::string_view tag, char status) {
        client_status_ = status;
        step.client.write([&](std::string& out) { pg::write_command_complete(out, tag); });
        ready(step);
        return true;
    };
    if (s.kind == statement_kind::deallocate && client_status_ != 'E' && statements_.take(s.name))
        return answer("DEALLOCATE", client_status_);  // one of the protocol level; the server knows it by another name
    if (client_status_ == 'I' && s.kind == statement_kind::begin) {
        if (routing::decide(op, facts(), site()).verdict == routing::verdict::refuse) return false;
        deferred_ = s.begin;
        block_route_ = routing::route_of_comment(text);
        return answer(s.command, 'T');
    }
    if (!deferred_) return false;
    if (s.kind == statement_kind::commit || s.kind == statement_kind::rollback) {
        if (!s.chain) deferred_.reset();
        return answer(s.kind == statement_kind::commit ? "COMMIT" : "ROLLBACK", s.chain ? 'T' : 'I');
    }
    if (s.kind == statement_kind::set_transaction && !s.to_default && s.name.empty() &&
        s.begin != routing::begin_options{}) {
        if (routing::decide(op, facts(), site()).verdict == routing::verdict::refuse) return false;
        if (s.begin.isolation != routing::isolation::unspecified) deferred_->isolation = s.begin.isolation;
        if (s.begin.read_only) deferred_->read_only = s.begin.read_only;
        if (s.begin.deferrable) deferred_->deferrable = s.begin.deferrable;
        return answer("SET", 'T');
    }
    return false;
}

/// Temporary tables from before the flip: dropping them is a write, so that their server is given up instead.
bool pg_session_core::discards_pinned(routing::operation const& op) const {
    if (read_write() || identity_.migration || !pins_ || !server_ || !server_->clean()) return false;
    if (server_->role != routing::role::primary || op.statements.size() != 1) return false;
    routing::statement const& s = op.statements.front();
    return s.kind == statement_kind::discard && (s.name == "ALL" || s.name == "TEMP");
}

void pg_session_core::discard_pinned(session_step& step) {
    leave_channels();
    pins_.clear();  // it has ended its LISTEN by itself, and is not to be told that it has lost it
    unlink();
    step.discard = true;
    statements_.clear();
    unnamed_ = nullptr;
    wanted_ = startup_;
    step.client.write([](std::string& out) { pg::write_command_complete(out, "DISCARD ALL"); });
    ready(step);
}

/// A failed block without a server: only its end is awaited.
bool pg_session_core::answer_failed(routing::operation const& op, session_step& step) {
    if (op.statements.size() != 1) return false;
    routing::statement const& s = op.statements.front();
    if (s.kind == statement_kind::commit || s.kind == statement_kind::rollback) {
        if (s.chain) deferred_ = block_options_;
        client_status_ = s.chain ? 'T' : 'I';
        step.client.write([](std::string& out) { pg::write_command_complete(out, "ROLLBACK"); });
    } else if (s.kind == statement_kind::empty) {
        step.client.write([](std::string& out) { pg::write_empty_query_response(out); });
    } else if (s.kind == statement_kind::rollback_to) {
        // There was none, or it is gone with its server.
        step.client.write([&](std::string& out) {
            pg::write_error_response(out, {.sqlstate = pg::sqlstate::invalid_savepoint_specification,
                                           .message = "savepoint \"" + s.name + "\" does not exist"});
        });
    } else {
        step.client.text(failed_block_error());
    }
    ready(step);
    return true;
}

/// Whether no server has to hear of a segment: names that end, and one beginning or end of a block.
bool pg_session_core::is_local(pg::bytes in, unit_plan const& plan) const {
    if (!plan.closed || plan.messages.back().type != pg::frontend::sync) return false;
    bool const aborted = client_status_ == 'E' && !deferred_;
    std::size_t executes = 0;
    bool bound = false;
    for (unit_message const& m : plan.messages) {
        pg::bytes const body = in.subspan(m.offset + pg::header_bytes, m.size - pg::header_bytes);
        switch (m.type) {
            case pg::frontend::sync:
                break;
            case pg::frontend::close:
                if (!m.of_statement) return false;
                break;
            case pg::frontend::parse:
                // Names that are taken, and too many of them, are refused where all the others are.
                if (aborted || !bounds_block(m.statement) || !m.name.empty() || bound) return false;
                break;
            case pg::frontend::bind: {
                auto const names = std::get<pg::bind_names>(pg::parse_bind_names(body, body.size()));
                static constexpr std::byte none[4] = {};
                if (bound || aborted || !bounds_block(m.statement) || !m.name.empty()) return false;
                if (body.size() < names.rest + 4 || !std::ranges::equal(body.subspan(names.rest, 4), none))
                    return false;  // it has parameters, which is an error
                bound = true;
                break;
            }
            case pg::frontend::describe:
                if (!bound || m.of_statement || !m.name.empty()) return false;
                break;
            case pg::frontend::execute:
                if (!bound || !m.name.empty() || ++executes > 1) return false;
                break;
            default:
                return false;
        }
    }
    return bound ? executes == 1 : true;
}

/// A statement that answer_locally() would answer now.
bool pg_session_core::bounds_block(prepared const& statement) const {
    if (!statement || !statement->types.empty() || statement->operation->statements.size() != 1) return false;
    routing::statement const& s = statement->operation->statements.front();
    bool const ends = s.kind == statement_kind::commit || s.kind == statement_kind::rollback;
    if (refuses_block(*statement->operation)) return false;
    if (deferred_) return ends && !s.chain;
    return client_status_ == 'I' && s.kind == statement_kind::begin &&
           routing::decide(*statement->operation, facts(), site()).verdict != routing::verdict::refuse;
}

std::size_t pg_session_core::extended_locally(unit_plan const& plan, session_step& step) {
    auto answer = [&](auto write) { step.client.write([&](std::string& out) { write(out); }); };
    for (unit_message const& m : plan.messages) {
        switch (m.type) {
            case pg::frontend::parse:
                unnamed_ = m.statement;
                statements_.parse_unnamed();
                answer(pg::write_parse_complete);
                break;
            case pg::frontend::bind:
                answer(pg::write_bind_complete);
                break;
            case pg::frontend::describe:
                answer(pg::write_no_data);
                break;
            case pg::frontend::execute: {
                routing::statement const& s = m.statement->operation->statements.front();
                bool const begins = s.kind == statement_kind::begin;
                deferred_ = begins ? std::optional(s.begin) : std::nullopt;
                if (begins) block_route_ = routing::route_of_comment(m.statement->text);
                client_status_ = begins ? 'T' : 'I';
                answer([&](std::string& out) { pg::write_command_complete(out, s.command); });
                break;
            }
            case pg::frontend::close:
                statements_.take(std::string(m.name));
                if (m.name.empty()) unnamed_ = nullptr;
                answer(pg::write_close_complete);
                break;
            default:
                ready(step);
                break;
        }
    }
    return plan.messages.back().offset + plan.messages.back().size;
}

}  // namespace lull
