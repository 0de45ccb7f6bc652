// How our READ ONLY transaction begins around what a client says, and what is asked before it ends as the client's COMMIT.
#include "protocol/pg/frontend.hpp"
#include "proxy/pg_refusal_core.hpp"
#include "proxy/pg_session_core.hpp"

#include <algorithm>

namespace lull {

/// A statement that may write is not sent along with the BEGIN that is to keep it from writing: that could
/// fail alone. True: our READ ONLY transaction is being opened, and the unit comes again when it is.
bool pg_session_core::opens_guard_first(routing::access access, session_step& step) {
    if (access < routing::access::unknown || segment_open_ || in_guard() || !guard_needed() || passing_)
        return false;
    if (server_->status != 'I' || !server_->owed.empty() || (client_status_ == 'E' && !deferred_))
        return false;
    bool const blocks = deferred_ && !aside_;
    block_options_ = blocks ? *deferred_ : routing::begin_options{};
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

/// The same where it is on its way already: until it is answered nobody knows that it is there.
bool pg_session_core::waits_for_guard(routing::access access, session_step& step) {
    if (access < routing::access::unknown) return false;
    bool on_its_way = false;
    for (std::size_t i = 0; i < server_->owed.size(); ++i) on_its_way = on_its_way || server_->owed.at(i).guards;
    if (!on_its_way) return false;
    await_answers(blocked::barrier, step);
    return true;
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
