// The extended query protocol (manual, "Extended Query"): a segment that pg_plan_core.cpp has planned goes
// out, with names that servers know, and with what must stand before, behind or in place of its messages.
#include "protocol/pg/backend.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_refusal_core.hpp"
#include "proxy/pg_session_core.hpp"
#include "routing/break_points.hpp"

#include <algorithm>

namespace lull {

using routing::statement_kind;

namespace {

routing::statement const* only_statement(prepared const& p) {
    return p && p->operation->statements.size() == 1 ? &p->operation->statements.front() : nullptr;
}

std::string error(std::string_view sqlstate, std::string_view message, std::string_view hint = {}) {
    std::string out;
    pg::write_error_response(out, {.sqlstate = sqlstate, .message = message, .hint = hint});
    return out;
}

bool is_tag(char const* retag, std::string_view tag) {
    return retag && retag == tag;
}

std::string unknown_statement(std::string_view name) {
    return error(pg::sqlstate::invalid_sql_statement_name,
                 name.empty() ? std::string("unnamed prepared statement does not exist")
                              : "prepared statement \"" + std::string(name) + "\" does not exist");
}

std::string unknown_portal(std::string_view name) {
    return error(pg::sqlstate::invalid_cursor_name, "portal \"" + std::string(name) + "\" does not exist");
}

}  // namespace

std::size_t pg_session_core::extended(pg::bytes in, session_step& step) {
    if (discarding_) {
        auto const header = pg::parse_header(in.first<pg::header_bytes>());
        if (header->type != pg::frontend::sync) return drop(in, pg::header_bytes + header->body_bytes);
        if (server_ && segment_open_) {
            forward_sync(step);  // it failed there, and is skipped there too
        } else {
            discarding_ = false;
            ready(step);
        }
        return pg::header_bytes;
    }
    if (server_ && server_->copy_in) {
        // PostgreSQL ignores them in copy-in mode, and answers none.
        auto const header = pg::parse_header(in.first<pg::header_bytes>());
        if (header->type == pg::frontend::sync || header->type == pg::frontend::flush)
            return pg::header_bytes;
    }
    if (auto const segment = find_plain(in)) return forward_plain(in, *segment, step);
    if (static_cast<char>(in.front()) != pg::frontend::sync && cuts_segment(step)) return 0;
    unit_plan const plan = this->plan(in);
    if (plan.wait) return 0;
    if (plan.messages.empty() || plan.messages.back().type == 0) {
        fatal(pg::sqlstate::protocol_violation, "invalid message format", step);
        return in.size();
    }
    if (!server_ && is_local(in, plan)) return extended_locally(plan, step);

    routing::verdict verdict = plan.verdict;
    bool passes = false;
    if (verdict == routing::verdict::refuse && plan.offender) {
        std::size_t const size = plan.messages.back().offset + plan.messages.back().size;
        auto const judged = judge(plan.offender->operation);
        switch (instead_of({*judged, plan.offender->text, size, plan.closed, &plan}, in, step)) {
            case instead::refuse:
                break;
            case instead::later:
                return 0;
            case instead::answered:
                return size;
            case instead::pass:
                passes = true;
                verdict = routing::verdict::to_primary;
                break;
        }
    }
    if (verdict == routing::verdict::refuse) {
        sharing_ = false;
    } else if (join_channels(plan) == joining::waits) {
        return 0;
    } else if (passes && sharing_) {
        passing_ = false;  // what it needs a server for, a reader can do
        verdict = routing::verdict::to_reader;
    }
    if (verdict == routing::verdict::refuse)
        verdict = routing::verdict::to_reader;  // its error is made there
    // Without an end in sight anything may still follow, and only the primary can do everything.
    bool const ends = !plan.messages.empty() && plan.messages.back().type == pg::frontend::sync;
    if (!ends && read_write()) verdict = routing::verdict::to_primary;
    sequences_.note_unit(plan.asks_sequences);
    if (!place(verdict, step)) return 0;

    aside_ = aside_ || prepares_aside(plan);
    // Also what will be refused: what stands before it runs, and it is read. (A LISTEN that is shared goes out as nothing.)
    if (!(passes && sharing_) && (guard_needed() || in_guard()) && waits_for_guard(plan, step)) return 0;
    if (server_->status == 'T') {
        for (unit_message const& m : plan.messages)
            if (m.statement && m.type != pg::frontend::parse && proves_first(*m.statement->operation, step)) return 0;
        for (unit_message const& m : plan.messages)
            if (m.statement && m.type == pg::frontend::bind && plan.verdict != routing::verdict::refuse &&
                checks_temporary_first(*judge(m.statement->operation), step))
                return 0;
    }
    if (plan.asks_sequences && waits_for_sequences(may_write_ || plan.asks_behind_write, plan.asking, step)) return 0;
    bool const idle = server_->status == 'I' && server_->owed.empty() && !segment_open_;
    if (passes) count(&write_fates::passed);
    prologue(step);
    if (idle && !block_guarded_ && guard_needed() && !passing_ && !only_unlistens(plan)) {
        block_options_ = first_options(plan);
        send_own_query(begin_sql(true, true), step).guards = true;
        wrap_open_ = true;
    }
    if (plan.writes && !segment_open_ && !may_write_ && sequences_.use() != sequence_use::none && read_write()) note_sequences(step);
    if (!segment_open_) begun_open_ = read_write();
    segment_open_ = true;
    server_->copy_in = false;  // what is no CopyData ends it with an error
    std::size_t used = 0;
    for (unit_message const& m : plan.messages) {
        if (!forward_extended(in, m, step)) return in.size();
        used = std::min(in.size(), m.offset + m.size);
    }
    forget_refusal();
    if (idle && plan.messages.front().type != pg::frontend::parse && !server_->owed.empty() &&
        !server_->owed.front().ours)
        keep_unit(in.first(used), plan);
    return used;
}

bool pg_session_core::forward_extended(pg::bytes in, unit_message const& m, session_step& step) {
    pg::bytes const whole = in.subspan(m.offset, std::min(m.size, in.size() - m.offset));
    auto verbatim = [&](owed_kind kind) {
        step.server.view(whole);
        server_->owed.push(kind);
    };
    switch (m.type) {
        case pg::frontend::parse:
            forward_parse(in, m, step);
            return true;
        case pg::frontend::bind:
            forward_bind(in, m, step);
            return true;
        case pg::frontend::execute:
            forward_execute(in, m, step);
            return true;
        case pg::frontend::describe:
            if (m.of_statement && !m.statement) {
                fail_extended(unknown_statement(pg::parse_describe(whole.subspan(pg::header_bytes))->name), step);
                return true;
            }
            // In a failed block the server parses nothing but what ends that, and describes what it has.
            if (auto const* only = only_statement(m.statement); m.of_statement && is_dead_block() && only &&
                only->kind == statement_kind::begin && !server_->statements.has(m.statement->id)) {
                owed_reply& owed = server_->owed.push(owed_kind::local);
                pg::write_parameter_description(owed.text);
                pg::write_no_data(owed.text);
                return true;
            }
            // Its text may be read anew, as by Parse.
            if (m.of_statement && !is_dead_block())
                if (std::string refusal = kept_unread(m.statement); !refusal.empty()) {
                    fail_extended(std::move(refusal), step);
                    return true;
                }
            if (m.of_statement &&
                (!m.name.empty() || server_->unnamed != m.statement || !unnamed_is_certain())) {
                ensure_prepared(m.statement, step);  // also an unnamed one that was left on another server
                step.server.write([&](std::string& out) {
                    pg::write_describe(out, pg::target_kind::statement, m.statement->server_name);
                });
                server_->owed.push(owed_kind::describe);
                return true;
            }
            verbatim(owed_kind::describe);
            return true;
        case pg::frontend::close:
            if (whole[pg::header_bytes] == std::byte{'S'} && !m.name.empty()) {
                owed_reply& owed = server_->owed.push(owed_kind::local);
                pg::write_close_complete(owed.text);
                owed.name = m.name;
                owed.before = statements_.take(owed.name);
                return true;
            }
            verbatim(owed_kind::close);
            if (m.of_statement) {
                server_->owed.at(server_->owed.size() - 1).before = std::exchange(unnamed_, nullptr);
                server_->unnamed = nullptr;
            } else {
                server_->owed.at(server_->owed.size() - 1).portal = portals_.close(m.name);
            }
            return true;
        case pg::frontend::flush:
            step.server.view(whole);
            return true;
        case pg::frontend::sync:
            forward_sync(step);
            return true;
        default:
            return false;
    }
}

void pg_session_core::forward_sync(session_step& step) {
    step.server.write([](std::string& out) { pg::write_sync(out); });
    owed_reply& owed = server_->owed.push(owed_kind::sync);
    owed.aside = aside_under_way_ = std::exchange(aside_, false);
    owed.ends = segment_finished_;
    owed.writes = wrote_behind_;
    owed.failed = std::exchange(discarding_, false);
    forget_segment();
    guard_ended_ = false;
    if (!wrap_open_) return;
    wrap_open_ = false;
    if (block_guarded_) return;  // BEGIN came within: the wrap is the client's block now
    owed.idle_after = true;
    send_own_query(keeps_temporary() || broken("commit_segment") ? "COMMIT" : "ROLLBACK", step);
}

void pg_session_core::forward_parse(pg::bytes in, unit_message const& m, session_step& step) {
    if (!m.whole) {
        fail_extended(
            error(pg::sqlstate::program_limit_exceeded, "statement is longer than the limit of the proxy",
                  "The limit is limits.max_statement_bytes."),
            step);
        client_body_left_ = m.size - (in.size() - m.offset);
        client_body_dropped_ = true;
        return;
    }
    note_statement(m.statement->text);
    if (refuses_block(*m.statement->operation)) {
        std::string refusal;
        pg::write_error_response(refusal, block_in_statement_mode());
        return fail_extended(std::move(refusal), step);
    }
    if (touches_own_names(*m.statement->operation)) return fail_extended(reserved_name_error(), step);
    bool const dead = is_dead_block();
    if (std::string refusal = kept_unread(m.statement); !refusal.empty()) return fail_extended(std::move(refusal), step);
    // What it returns is looked up when it is parsed. (It will not be run where our guard is, and what it names is not
    // to be read there for that.)
    if (auto const* only = only_statement(m.statement); only && !only->name.empty() && !in_guard() && !guard_needed())
        put_in_place(*only, step);
    if (m.name.empty()) {
        prepared before = std::exchange(unnamed_, m.statement);
        server_->unnamed = m.statement;
        step.server.view(in.subspan(m.offset, m.size));
        server_->owed.push(owed_kind::parse).before = std::move(before);
        return;
    }
    std::string name(m.name);
    if (statements_.contains(name) && !frees_names()) {
        std::string_view const said = pg::parse_parse(in.subspan(m.offset + pg::header_bytes, m.size - pg::header_bytes))->statement;
        fail_extended(error(pg::sqlstate::duplicate_prepared_statement,
                            "prepared statement \"" + std::string(said) + "\" already exists"),
                      step);
        return;
    }
    if (std::string refusal = book_refusal(statements_, statement_book::bytes_of(name, *m.statement), limits()); !refusal.empty())
        return fail_extended(std::move(refusal), step);
    if (server_->statements.has(m.statement->id)) {
        server_->statements.use(m.statement->id);
        if (dead && !ends_failed_block(*m.statement->operation)) return fail_extended(failed_block_error(), step);
        owed_reply& owed = server_->owed.push(owed_kind::local);
        pg::write_parse_complete(owed.text);
        owed.before = statements_.put(name, m.statement);
        owed.name = std::move(name);
        return;
    }
    ensure_prepared(m.statement, step);
    owed_reply& owed = server_->owed.at(server_->owed.size() - 1);
    owed.ours = false;
    owed.before = statements_.put(name, m.statement);
    owed.name = std::move(name);
}

void pg_session_core::forward_bind(pg::bytes in, unit_message const& m, session_step& step) {
    pg::bytes const whole = in.subspan(m.offset, std::min(m.size, in.size() - m.offset));
    pg::bytes const body = whole.subspan(pg::header_bytes);
    auto const names = std::get<pg::bind_names>(pg::parse_bind_names(body, m.size - pg::header_bytes));
    auto skip_rest = [&] {
        client_body_left_ = m.size - whole.size();
        client_body_dropped_ = true;
    };
    if (!m.statement) {
        fail_extended(unknown_statement(names.statement), step);
        return skip_rest();
    }
    auto const judged = judge(m.statement->operation);
    routing::operation const& op = *judged;
    note_statement(m.statement->text);
    routing::statement const* only = only_statement(m.statement);
    bool const chains = in_guard() && op.transaction_control && (!only || only->chain);
    if (std::string refusal = kept_from_server(m.statement, op, chains, heard(only)); !refusal.empty()) {
        fail_extended(std::move(refusal), step);
        return skip_rest();
    }
    if (asks_sequences(op) && !sequences_.may_be_told(server_->values_of)) {
        fail_extended(failed_block_error(), step);
        return skip_rest();
    }
    bool const ours_around = guard_needed() || in_guard();
    if (ours_around && !is_certain_name(names.portal)) {
        fail_extended(error(pg::sqlstate::feature_not_supported,
                            "portal names that are not ASCII are not supported in a read-only transaction"),
                      step);
        return skip_rest();
    }
    if (heard(only) && !channels_->refusal.empty()) {
        fail_extended(std::exchange(channels_->refusal, {}), step);
        return skip_rest();
    }
    if (only && !only->name.empty() && !m.statement->by_sql) {
        put_in_place(*only, step);
        if (only->kind == statement_kind::prepare && !is_dead_block())
            if (std::string refusal = refuses_to_prepare(*only, m.statement->text.size()); !refusal.empty()) {
                fail_extended(std::move(refusal), step);
                return skip_rest();
            }
    }
    note_purity(op);
    char const* retag = nullptr;
    prepared const statement = substitute(m.statement, retag);
    bool const unnamed_here = names.statement.empty() && statement == m.statement &&
                              server_->unnamed == statement && unnamed_is_certain();
    // By a name SQL could have another statement there: with nothing of ours around it, it runs by its text; and so does
    // what Lull itself puts in the place of the client's, and what is to end a block of which nobody has seen that it began.
    bool const certain = in_guard() && statement == m.statement && !is_dead_block();
    bool const by_text = !unnamed_here && (passing_ || (guard_needed() && !certain));
    if (by_text)
        parse_unnamed(*statement, step);
    else if (!unnamed_here)
        ensure_prepared(statement, step);
    std::unique_ptr<portal_change> portal = portals_.bind(m.name, {m.statement, retag, in_guard()});
    segment_runs_ = true;
    bool const writes = began_writing(op, step);
    if (unnamed_here) {
        step.server.view(whole);
    } else {
        step.server.write([&](std::string& out) {
            pg::write_bind_renamed_header(out, m.size - pg::header_bytes - names.rest, names.portal,
                                          by_text ? std::string_view() : statement->server_name);
        });
        step.server.view(body.subspan(names.rest));
    }
    client_body_left_ = m.size - whole.size();
    client_body_dropped_ = false;
    owed_reply& owed = server_->owed.push(owed_kind::bind);
    owed.writes = writes;
    owed.said = op.access;
    owed.portal = std::move(portal);
    if (!only || only->kind != statement_kind::deallocate || statement == m.statement) return;
    // Gone, unless the server comes to skip this.
    owed.name = only->name;
    owed.before = statements_.take(only->name);
}

void pg_session_core::forward_execute(pg::bytes in, unit_message const& m, session_step& step) {
    // What the plan says was bound may have been refused since.
    bound_portal const* const portal = portals_.find(m.name);
    bool const ours_around = guard_needed() || in_guard();
    if (ours_around && (!portal || !is_certain_name(m.name))) {
        pg::bytes const body = in.subspan(m.offset + pg::header_bytes, m.size - pg::header_bytes);
        return fail_extended(unknown_portal(pg::parse_execute(body)->portal), step);
    }
    prepared const statement = portal ? portal->statement : nullptr;
    char const* retag = nullptr;
    std::uint16_t made = 0;
    bool writes = false;
    bool commits = false;
    bool ends = false;
    bool hears = false;
    routing::access said = routing::access::unknown;
    segment_runs_ = true;
    if (statement) {
        auto const judged = judge(statement->operation);
        routing::operation const& op = *judged;
        // A portal may be from before the flip; where Bind was refused this is never reached.
        bool const breaks_guard = in_guard() && (guard_loose_ || (op.transaction_control && !portal->guarded));
        hears = is_tag(portal->retag, listen_tag);
        if (std::string refusal = kept_from_server(statement, op, breaks_guard, hears); !refusal.empty())
            return fail_extended(std::move(refusal), step);
        note_purity(op);
        retag = portal->retag;
        if (!op.is_query()) {
            made = record_settings(op, statement->text, hears ? listener::shared : listener::own_server);
            taint_by(op, statement->text, true);
        }
        // What the rest of the segment needs is parsed again, whether this succeeds or not.
        if (wiping_ && made > 0) server_->doubtful.add_all(std::exchange(server_->statements, {}));
        for (routing::statement const& s : op.statements) {
            note_end_of_pins(s);
            if (s.pins && !hears) pin_by(s);
            if (s.kind == statement_kind::begin) block_options_ = s.begin;
            if (s.kind == statement_kind::commit) commits = commit_sent_ = true;
            ends = op.transaction_control;
            loosen_guard(s);
            // Behind it nothing of ours is around what the rest of the segment does.
            guard_ended_ = guard_ended_ || (ours_around && ends_guard(s));
            if (s.kind != statement_kind::commit && s.kind != statement_kind::rollback) continue;
            segment_finished_ = true;
            wrote_behind_ = false;
        }
        segment_ends_ = segment_ends_ || may_end_block(op);
        writes = began_writing(op, step);
        wrote_behind_ = wrote_behind_ || (segment_finished_ && writes);
        said = op.access;
    } else {
        // A cursor that SQL has made, as far as anybody can tell.
        segment_ends_ = ends = true;
        writes = began_writing(routing::access::unknown, step);
    }
    auto const* only = only_statement(statement);
    prepared const making =
        only && only->kind == statement_kind::prepare ? sql_prepared(*only, statement->text) : nullptr;
    if (making) begin_prepare(making, step);
    step.server.view(in.subspan(m.offset, m.size));
    owed_reply& owed = server_->owed.push(owed_kind::execute);
    if (making) {
        owed.parsed = making;
        owed.name = only->name;
        owed.before = statements_.put(owed.name, making);
    }
    owed.retag = retag;
    owed.writes = writes;
    owed.commits = commits;
    if (statement) count_executed(said, owed);
    if (statement && statement->operation->asks_sequences) owed.hints_values = sequences_.lost();
    owed.ends = ends;
    if (only)
        owed.ends_alone = only->kind == statement_kind::commit || only->kind == statement_kind::rollback;
    owed.settings = made > 0;
    owed.settings_count = made;
}

}  // namespace lull
