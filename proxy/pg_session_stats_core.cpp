// What a session counts, and when. Every figure is a plain addition with the time that the event already has.
#include "protocol/pg/sqlstate.hpp"
#include "protocol/pg/types.hpp"
#include "proxy/pg_session_core.hpp"

namespace lull {

/// Something of the client's is taken up: a unit, or its first bytes.
void pg_session_core::count_begin(char type) {
    // Those belong to a query that has begun, or to nothing.
    if (type == pg::frontend::copy_data || type == pg::frontend::copy_done || type == pg::frontend::copy_fail)
        return;
    if (asked_ == routing::instant{}) asked_ = context_.now;
    if (began_ == routing::instant{}) {
        began_ = asked_ = context_.now;
        waited_ = {};
        said_.reset();
    }
    if (transaction_began_ == routing::instant{}) transaction_began_ = context_.now;
}

void pg_session_core::count_linked() {
    linked_since_ = context_.now;
    if (waits_since_ == routing::instant{}) return;
    waited_ = context_.now - waits_since_;
    stats_.wait.add(waited_);
    waits_since_ = {};
    // The time of a query is the server's, as PgBouncer counts it.
    if (began_ != routing::instant{}) began_ = context_.now;
    if (client_status_ == 'I' && transaction_began_ != routing::instant{}) transaction_began_ = context_.now;
}

/// The client is about to get its ReadyForQuery.
void pg_session_core::count_answered() {
    ++stats_.queries;
    waits_since_ = {};
    answered_ = context_.now;
    statement_timed_out_ = to_primary_ = false;
    bool const more = server_ && server_->owed.size() > 1;
    if (began_ != routing::instant{}) {
        stats_.query.add(context_.now - began_);
        watch(context_.now - began_);
    }
    began_ = more ? context_.now : routing::instant{};
    if (client_status_ != 'I') return;
    ++stats_.transactions;
    if (transaction_began_ != routing::instant{})
        stats_.transaction_us += static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::microseconds>(context_.now - transaction_began_).count());
    transaction_began_ = more ? context_.now : routing::instant{};
}

owed_reply& pg_session_core::count_executed(routing::access said, owed_reply& owed) {
    owed.said = said_ = said;
    ++stats_.executed[static_cast<std::size_t>(server_->role)][static_cast<std::size_t>(said)];
    return owed;
}

/// It has not run, and is to come again.
void pg_session_core::uncount_executed(owed_reply const& owed) {
    if (!owed.said || owed.kind == owed_kind::bind) return;  // which says it, too
    --stats_.executed[static_cast<std::size_t>(server_->role)][static_cast<std::size_t>(*owed.said)];
}

/// `owed.text`: the error is one that we have made the server say.
void pg_session_core::count_error(std::optional<pg::error_fields> const& fields, owed_reply const& owed) {
    if (!owed.text.empty()) return;
    ++stats_.errors;
    if (fields) count_refusal(*fields, owed);
}

/// Where the server says that what was taken for a read is none.
void pg_session_core::count_refusal(pg::error_fields const& fields, owed_reply const& owed) {
    if (owed.said && fields.has_sqlstate(pg::sqlstate::read_only_sql_transaction))
        ++stats_.refused_by_server[static_cast<std::size_t>(*owed.said)];
}

void pg_session_core::watch(std::chrono::nanoseconds took) {
    if (took >= context_.watch.slow_from) ++stats_.slow;
    bool slow = false;
    if (!context_.watch.takes(took, slow)) return;
    using std::chrono::duration_cast;
    using std::chrono::microseconds;
    finished_query q{.slow = slow,
                     .took = duration_cast<microseconds>(took),
                     .waited = duration_cast<microseconds>(waited_),
                     .user = identity_.user,
                     .database = identity_.database,
                     .client = static_cast<std::uint32_t>(identity_.key_pid),
                     .said = said_,
                     .statement = last_statement_};
    if (server_) {
        q.server_pid = static_cast<std::uint32_t>(server_->pid);
        q.backend = server_->backend;
    }
    context_.watch.found.push_back(std::move(q));
}

void pg_session_core::count(std::uint64_t write_fates::*what) {
    if (!fates_) fates_ = std::make_unique<write_fates>();
    ++(fates_.get()->*what);
    ++(stats_.writes.*what);
}

}  // namespace lull
