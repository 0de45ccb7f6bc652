// The messages of a segment of the extended query protocol (manual, "Extended Query"), one by one: each goes out with names
// that servers know, and with what must stand before, behind or in place of it. The segment is pg_segment_core.cpp's.
#include "protocol/pg/backend.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_refusal_core.hpp"
#include "proxy/pg_session_core.hpp"

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

std::string changed_result() {
    std::string out;
    pg::write_error_response(out, {.sqlstate = pg::sqlstate::feature_not_supported,
                                   .message = "cached plan must not change result type",
                                   .hint = "Prepare the statement anew.",
                                   .routine = "RevalidateCachedQuery"});
    return out;
}

}  // namespace

/// `described`: what it binds is described behind it. False: it waits, and comes again.
bool pg_session_core::forward_extended(pg::bytes in, unit_message const& m, std::optional<bool> described, session_step& step) {
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
            return forward_bind(in, m, described, step);
        case pg::frontend::execute:
            forward_execute(in, m, step);
            return true;
        case pg::frontend::describe:
            if (m.of_statement && (!m.statement || is_wiped(m.name))) {
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
            if (m.of_statement) {
                // What is told of the unnamed one holds until it is parsed anew, on whichever server it is bound.
                if (m.name.empty() && has_shape(m.statement)) statements_.describe_unnamed();
                std::uint32_t const meaning = has_shape(m.statement) ? meaning_of(m.name, m.statement) : 0;
                if (m.name.empty() && is_unnamed_here(m.statement)) {
                    verbatim(owed_kind::describe);
                    server_->unnamed_meaning = meaning;
                } else {
                    ensure_prepared(m.statement, step);  // also an unnamed one that was left on another server
                    step.server.write([&](std::string& out) {
                        pg::write_describe(out, pg::target_kind::statement, m.statement->server_name);
                    });
                    owed_reply& owed = server_->owed.push(owed_kind::describe);
                    if (has_shape(m.statement)) owed.before = m.statement;
                }
                server_->owed.at(server_->owed.size() - 1).meaning = meaning;
                return true;
            }
            verbatim(owed_kind::describe);
            if (auto const* portal = portals_.find(m.name); portal && portal->meaning != 0 && has_shape(portal->statement)) {
                owed_reply& owed = server_->owed.at(server_->owed.size() - 1);
                owed.before = portal->statement;
                owed.meaning = portal->meaning;
            }
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
        default:  // there is none that the plan does not know
            return true;
    }
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
    auto const refuse = [&](std::string const& error) {
        fail_extended(error, step);
    };
    note_statement(m.statement->text);
    if (refuses_block(*m.statement->operation)) {
        std::string refusal;
        pg::write_error_response(refusal, block_in_statement_mode());
        return refuse(refusal);
    }
    if (touches_own_names(*m.statement->operation)) return refuse(reserved_name_error());
    bool const dead = is_dead_block();
    if (std::string refusal = kept_unread(m.statement); !refusal.empty()) return refuse(refusal);
    // What it returns is looked up when it is parsed. (It will not be run where our guard is, and what it names is not
    // to be read there for that.)
    if (auto const* only = only_statement(m.statement); only && !only->name.empty() && !in_guard() && !guard_needed())
        put_in_place(*only, step);
    if (m.name.empty()) {
        prepared before = std::exchange(unnamed_, m.statement);
        statements_.parse_unnamed();
        server_->unnamed = m.statement;
        server_->unnamed_meaning = 0;
        step.server.view(in.subspan(m.offset, m.size));
        server_->owed.push(owed_kind::parse).before = std::move(before);
        return;
    }
    std::string name(m.name);
    if (statements_.contains(name) && !frees_names()) {
        std::string_view const said = pg::parse_parse(in.subspan(m.offset + pg::header_bytes, m.size - pg::header_bytes))->statement;
        return refuse(error(pg::sqlstate::duplicate_prepared_statement,
                            "prepared statement \"" + std::string(said) + "\" already exists"));
    }
    if (std::string refusal = book_refusal(statements_, statement_book::bytes_of(name, *m.statement), limits()); !refusal.empty())
        return refuse(refusal);
    if (server_->statements.use(m.statement->id)) {
        ++stats_.prepared_known;
        if (dead && !ends_failed_block(*m.statement->operation)) return refuse(failed_block_error());
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

bool pg_session_core::forward_bind(pg::bytes in, unit_message const& m, std::optional<bool> described, session_step& step) {
    pg::bytes const whole = in.subspan(m.offset, std::min(m.size, in.size() - m.offset));
    pg::bytes const body = whole.subspan(pg::header_bytes);
    auto const names = std::get<pg::bind_names>(pg::parse_bind_names(body, m.size - pg::header_bytes));
    auto const refuse = [&](std::string const& error) {
        fail_extended(error, step);
        client_body_left_ = m.size - whole.size();
        client_body_dropped_ = true;
        return true;
    };
    if (!m.statement || is_wiped(known_name(names.statement))) return refuse(unknown_statement(names.statement));
    auto const judged = judge(m.statement->operation);
    routing::operation const& op = *judged;
    note_statement(m.statement->text);
    routing::statement const* only = only_statement(m.statement);
    bool const chains = in_guard() && op.transaction_control && (!only || only->chain);
    if (std::string refusal = kept_from_server(m.statement, op, chains, heard(only)); !refusal.empty()) {
        return refuse(refusal);
    }
    if (asks_sequences(op) && !sequences_.may_be_told(server_->values_of)) {
        return refuse(failed_block_error());
    }
    bool const ours_around = guard_needed() || in_guard();
    if (ours_around && !is_certain_name(names.portal)) {
        return refuse(error(pg::sqlstate::feature_not_supported,
                            "portal names that are not ASCII are not supported in a read-only transaction"));
    }
    if (heard(only) && !channels_->refusal.empty()) {
        return refuse(std::exchange(channels_->refusal, {}));
    }
    if (only && !only->name.empty() && !m.statement->by_sql) {
        put_in_place(*only, step);
        if (only->kind == statement_kind::prepare && !is_dead_block())
            if (std::string refusal = refuses_to_prepare(*only, m.statement->text.size()); !refusal.empty()) {
                return refuse(refusal);
            }
    }
    note_purity(op);
    char const* retag = nullptr;
    prepared const statement = substitute(m.statement, retag);
    std::uint32_t const meaning = meaning_of(known_name(names.statement), statement);
    bool const unnamed_here = names.statement.empty() && statement == m.statement && is_unnamed_here(statement) &&
                              server_->unnamed_meaning == meaning;
    // By a name SQL could have another statement there: with nothing of ours around it, it runs by its text; and so does
    // what Lull itself puts in the place of the client's, and what is to end a block of which nobody has seen that it began.
    bool const certain = in_guard() && statement == m.statement && !is_dead_block();
    bool const by_text = !unnamed_here && (passing_ || (guard_needed() && !certain));
    if (!by_text && !unnamed_here && meaning != 0) {
        pg::bytes const formats = body.subspan(names.rest);
        if (!is_as_told(statement, statements_.told(meaning), described.value_or(false), formats)) {
            if (!described) return false;
            // (Behind a look of long ago it may have gone.)
            if (server_->looked != statement || !server_->statements.has(statement->id)) return look_at(statement, step), false;
            server_->looked = nullptr;
            context_.statements.forget({statement});
            return refuse(changed_result());
        }
        server_->looked = nullptr;
    }
    if (by_text)
        parse_unnamed(*statement, step);
    else if (!unnamed_here)
        ensure_prepared(statement, step);
    std::unique_ptr<portal_change> portal = portals_.bind(m.name, {m.statement, retag, in_guard(), meaning});
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
    if (!only || only->kind != statement_kind::deallocate || statement == m.statement) return true;
    // Gone, unless the server comes to skip this.
    owed.name = only->name;
    owed.before = statements_.take(only->name);
    return true;
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
    owed.wipes = made > 0 && only && (only->kind == statement_kind::discard || only->kind == statement_kind::deallocate);
}

}  // namespace lull
