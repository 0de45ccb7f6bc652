// The extended query protocol (manual, "Extended Query"): a segment that pg_plan_core.cpp has planned gets its place and
// goes out, message by message (pg_extended_core.cpp).
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_session_core.hpp"
#include "routing/break_points.hpp"

#include <algorithm>

namespace lull {

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
    return this->segment(in, step);
}

std::size_t pg_session_core::segment(pg::bytes in, session_step& step) {
    patience_.note_progress();
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
    auto const binds = [](unit_message const& m) { return m.type == pg::frontend::bind && m.statement; };
    if (block_moves_)
        for (unit_message const& m : plan.messages)
            if (binds(m) && moves_block(*judge(m.statement->operation), step)) return 0;
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
    // What it leaves there cannot move along.
    if (block_moves_)
        for (unit_message const& m : plan.messages)
            if (binds(m) && (!m.statement->operation->is_query() || !m.name.empty() || routing::needs_primary(*judge(m.statement->operation))))
                block_moves_ = false;
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
        if (!forward_extended(in, m, is_described(m, plan, in), step)) return m.offset;
        used = std::min(in.size(), m.offset + m.size);
    }
    forget_refusal();
    if (idle && plan.messages.front().type != pg::frontend::parse && !server_->owed.empty() &&
        !server_->owed.front().ours)
        keep_unit(in.first(used), plan);
    return used;
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

}  // namespace lull
