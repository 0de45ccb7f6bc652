// How our READ ONLY transaction begins around what a client says, and what is asked before it ends as the client's COMMIT.
#include "protocol/pg/frontend.hpp"
#include "proxy/pg_refusal_core.hpp"
#include "proxy/pg_session_core.hpp"

#include <algorithm>

namespace lull {

namespace {

using routing::statement_kind;

bool prepares(routing::operation const& op) {
    return std::ranges::any_of(op.statements, [](auto const& s) { return s.kind == statement_kind::prepare; });
}

/// What it runs on the server, be it only to be read there, may make another statement of a name.
bool opens_names(routing::access access, bool prepares) {
    return access >= routing::access::unknown || prepares;
}

/// A BEGIN of ours: until it is answered nobody knows that our transaction is there.
bool is_on_its_way(owed_queue& owed) {
    for (std::size_t i = 0; i < owed.size(); ++i)
        if (owed.at(i).guards) return true;
    return false;
}

}  // namespace

/// A statement that may write is not sent along with the BEGIN that is to keep it from writing: that could
/// fail alone. True: our READ ONLY transaction is being opened, and the unit comes again when it is.
bool pg_session_core::opens_guard_first(routing::begin_options const& options, session_step& step) {
    if (segment_open_ || in_guard() || !guard_needed() || passing_) return false;
    if (server_->status != 'I' || !server_->owed.empty() || (client_status_ == 'E' && !deferred_))
        return false;
    bool const blocks = deferred_ && !aside_;
    block_options_ = blocks ? *deferred_ : options;
    send_own_query(begin_sql(true, true), step).opens = true;
    if (blocks) {
        deferred_.reset();
        block_seen_ = block_guarded_ = true;
    } else {
        wrap_open_ = true;
    }
    blocked_ = blocked::settings;
    return true;
}

/// A Query that is to run in our READ ONLY transaction waits for it where it may write; and where it may be another than the
/// one that was judged: an EXECUTE, behind which something unknown has run, and all that a session from before the flip may
/// have temporary objects in the way of.
bool pg_session_core::waits_for_guard(routing::operation const& op, session_step& step) {
    bool const by_name = op.statements.size() == 1 && op.statements.front().kind == statement_kind::execute;
    bool const certain = op.access < routing::access::unknown && wish_.guarded && !(by_name && server_->names_open);
    server_->names_open = server_->names_open || opens_names(op.access, prepares(op));
    if (certain) return false;
    if (!stands_alone(op) && opens_guard_first({}, step)) return true;
    if (!is_on_its_way(server_->owed)) return false;
    await_answers(blocked::barrier, step);
    return true;
}

/// A segment likewise: what it binds goes by a name.
bool pg_session_core::waits_for_guard(unit_plan const& plan, session_step& step) {
    bool const certain = plan.strictest < routing::access::unknown && wish_.guarded && !server_->names_open;
    bool names = false;
    bool makes = false;
    for (unit_message const& m : plan.messages) {
        names = names || m.statement;
        makes = makes || (m.statement && prepares(*m.statement->operation));
    }
    server_->names_open = server_->names_open || opens_names(plan.strictest, makes);
    if (certain || !names) return false;
    if (!only_unlistens(plan) && opens_guard_first(first_options(plan), step)) return true;
    if (!is_on_its_way(server_->owed)) return false;
    await_answers(blocked::barrier, step);
    return true;
}

/// Nothing of ours is put around it: it is a BEGIN, is answered in the server's place, or has to outlive our ROLLBACK. Not a
/// SELECT, which could call anybody's set_config(): what that sets is made again from its constants.
bool pg_session_core::stands_alone(routing::operation const& op) const {
    if (passing_ || discards_notify(op) || shares_query(op)) return true;
    if (op.statements.size() != 1) return false;
    routing::statement const& s = op.statements.front();
    return (s.kind == statement_kind::set && !s.by_query) || s.kind == statement_kind::reset || s.kind == statement_kind::begin ||
           s.kind == statement_kind::discard || s.kind == statement_kind::deallocate || s.kind == statement_kind::unlisten;
}

/// A block from before the flip that was taken for a reader ends with ROLLBACK. That may be told as COMMIT only where
/// nothing is lost by it: it has written nothing. True: the server is being asked, and the unit comes again.
bool pg_session_core::proves_first(routing::operation const& op, session_step& step) {
    if (server_->status != 'T' || wrote_nothing_) return false;
    bool const from_before = began_unguarded_ || (guard_needed() && !in_guard());
    if (!from_before || std::ranges::none_of(op.statements, [](routing::statement const& s) {
            return s.kind == routing::statement_kind::commit;
        }))
        return false;
    if (!server_->owed.empty()) {
        await_answers(blocked::barrier, step);
        return true;
    }
    // (No operator and no function of somebody's search_path.)
    owed_reply& owed = send_own_query(
        kept_by_commit_ ? "SELECT 1 OPERATOR(pg_catalog./) 0"
                        : "SELECT 1 OPERATOR(pg_catalog./) "
                          "CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NULL THEN 1 ELSE 0 END",
        step);
    owed.opens = owed.proves = true;
    owed.text = unread_write_refusal(site(), refusal_code());
    if (segment_open_) portals_.drop_unnamed();
    blocked_ = blocked::settings;
    return true;
}

}  // namespace lull
