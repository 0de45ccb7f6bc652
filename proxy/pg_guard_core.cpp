// What a session may not do while its site is sealed, and how it is told.
#include "protocol/pg/frontend.hpp"
#include "proxy/pg_refusal_core.hpp"
#include "proxy/pg_session_core.hpp"
#include "routing/break_points.hpp"

#include <algorithm>

namespace lull {

using routing::statement_kind;

namespace {

/// By what is known of it; where the catalog may have changed since, it may still read.
bool may_call_anything(routing::operation const& op) {
    return std::ranges::any_of(
        op.statements, [](routing::statement const& s) { return s.access >= routing::access::unknown; });
}

// CommandComplete of what begins a block.
constexpr char const* begin_tag = "BEGIN";
constexpr char const* start_transaction_tag = "START TRANSACTION";

constexpr std::string_view failing_portal = "lull";

}  // namespace

std::string_view pg_session_core::refusal_code() const {
    return refusal_sqlstate(*context_.snapshot->config, site(), identity_.user);
}

/// A NOTIFY that is answered and goes nowhere. (One of a transaction that may still write is sent.)
bool pg_session_core::discards_notify(routing::operation const& op) const {
    return op.statements.size() == 1 && op.statements.front().kind == statement_kind::notify &&
           !identity_.migration && !may_write_ && !passing_ && (!read_write() || in_guard());
}

routing::session_facts pg_session_core::facts() const {
    routing::session_facts f;
    f.migration = identity_.migration;
    f.may_write = may_write_;
    f.block_open = server_ && server_->status != 'I';
    // What is in flight may be over when its turn comes, and is judged again then.
    bool const in_flight = server_ && !server_->owed.empty() && !server_->copy_in;
    f.nothing_sent = !server_ || (!segment_open_ && (server_->clean() || in_flight));
    f.deferred_block = deferred_.has_value();
    f.read_only_block = deferred_ && deferred_->read_only.value_or(false) && !is_serializable_block();
    f.guarded = in_guard();
    f.privileged = superuser_ || privileged_role_;
    if (deferred_) f.route = block_route_;
    if (f.route == routing::route::automatic) f.route = wanted_->route;
    f.keeps_temporary = temporary_written_;
    if (read_write()) return f;
    f.kept_over = is_kept_over();
    bool const tables = site().settings->guard.temporary_tables == config::temporary_policy::write;
    if (!tables || !pins_ || may_write_ || !server_ || server_->role != routing::role::primary) return f;
    bool const known = catalog_.facts && catalog_.fresh && !catalog_.facts->nameless();
    f.has_temporary = known && !called_unknown_ && (temporary_checked_ || !segment_open_);
    f.in_block = client_status_ == 'T';
    return f;
}

routing::session_facts pg_session_core::facts(std::string_view text) const {
    routing::session_facts f = facts();
    if (routing::route const asked = routing::route_of_comment(text); asked != routing::route::automatic) f.route = asked;
    if (to_primary_) f.route = routing::route::primary;
    return f;
}

/// A block that is answered and not begun, and that no standby can have.
bool pg_session_core::is_serializable_block() const {
    if (deferred_->isolation == routing::isolation::unspecified) return wanted_->serializable;
    return deferred_->isolation == routing::isolation::serializable;
}

/// A primary's session that may write must not see a statement of a client that may not, unless our READ ONLY
/// transaction is around it.
bool pg_session_core::guard_needed() const {
    return !read_write() && !identity_.migration && !may_write_ && server_->role == routing::role::primary;
}

/// SET TRANSACTION READ ONLY behind a savepoint ends with it (CommitSubTransaction, AbortSubTransaction), and what
/// AND CHAIN hands on is whatever the transaction was in the end.
void pg_session_core::loosen_guard(routing::statement const& s) {
    using routing::statement_kind;
    if (!block_guarded_ || (s.kind != statement_kind::release && s.kind != statement_kind::rollback_to && !s.chain)) return;
    guard_loose_ = true;
    if (server_->stays == 'T') server_->stays = '?';  // likewise
}

/// Behind it the transaction that it ran in, or what was set in it, may be no more.
bool pg_session_core::ends_guard(routing::statement const& s) {
    return s.kind == statement_kind::commit || s.kind == statement_kind::rollback || s.kind == statement_kind::release ||
           s.kind == statement_kind::rollback_to || s.kind == statement_kind::prepare_transaction;
}

/// Of what PostgreSQL runs in a failed block (IsTransactionExitStmt). PREPARE TRANSACTION would roll it back, too.
bool pg_session_core::ends_failed_block(routing::operation const& op) {
    if (op.statements.size() != 1) return false;
    statement_kind const kind = op.statements.front().kind;
    return kind == statement_kind::commit || kind == statement_kind::rollback || kind == statement_kind::rollback_to;
}

/// What a Parse (be_read), a Bind or an Execute (run) of this is answered with because of where it would be run, whatever
/// the statement may do; empty: it has its place. In a failed block only what Lull knows to end it, or to go back within
/// it, goes out; behind the end of a guarded transaction, and where nothing of ours is around a segment, nothing does,
/// but for what reads in a segment that sealing waits for.
std::string pg_session_core::out_of_place(routing::operation const& op, sent_to what) const {
    if (!(in_guard() || guard_needed()) || passing_) return {};
    if (is_dead_block()) {
        bool const nothing = what == sent_to::be_read && op.statements.size() == 1 &&
                             op.statements.front().kind == statement_kind::empty;
        return nothing || ends_failed_block(op) ? std::string() : failed_block_error();
    }
    if (guard_ended_) return transaction_control_refusal(site(), refusal_code());
    if (in_guard()) return {};
    // What only its session knows, and outlives our ROLLBACK: nothing of ours is around it.
    if (op.statements.size() == 1 && op.statements.front().kind == statement_kind::unlisten) return {};
    if (begun_open_ && site().mode == routing::mode::draining && (what == sent_to::be_read || !may_call_anything(op)))
        return {};
    return refusal(&op, nullptr);
}

/// The same for a Bind or an Execute, with what it may do. `breaks_guard`: it would end or loosen what is of ours.
/// `heard`: it is a LISTEN, and the listener has heard it.
std::string pg_session_core::kept_from_server(prepared const& statement, routing::operation const& op,
                                              bool breaks_guard, bool heard) {
    if (read_write() && !in_guard()) return {};
    bool const dead = is_dead_block();
    std::string out = out_of_place(op, sent_to::run);
    if (!out.empty()) {
        if (!dead) count(&write_fates::refused);
        return out;
    }
    if (passing_ || (heard && !dead)) return {};
    // The right to write of a transaction that is being waited for ends with it.
    if (segment_finished_ && site().mode == routing::mode::draining && !identity_.migration &&
        op.access >= routing::access::unknown) {
        count(&write_fates::refused);
        return refusal(&op, nullptr);
    }
    routing::decision const d = routing::decide(op, facts(statement->text), site());
    bool const refused = d.verdict == routing::verdict::refuse;
    if (dead) return refused && !ends_failed_block(op) ? failed_block_error() : std::string();
    if (!refused && !breaks_guard) return {};
    count(&write_fates::refused);
    return refused ? refusal(&op, d.offender) : transaction_control_refusal(site(), refusal_code());
}

/// PREPARE, EXECUTE and DEALLOCATE of what Lull has prepared there for its clients, and the savepoint that there is never to be.
bool pg_session_core::touches_own_names(routing::operation const& op) const {
    return std::ranges::any_of(op.statements, [&](routing::statement const& s) {
        if (s.kind == statement_kind::savepoint) return s.name == failing_savepoint;
        return uses_name(s) && s.name.starts_with(context_.statements.prefix());
    });
}

/// The same for a Parse, or a Describe that comes to one. To understand a text the server makes values of its constants;
/// where they belong to a domain, its CHECK runs. So what would be refused is not read either. (A write may be prepared,
/// where nothing but the text says that it is one.)
std::string pg_session_core::kept_unread(prepared const& statement) {
    if (read_write() && !in_guard()) return {};
    bool const dead = is_dead_block();
    if (std::string out = out_of_place(*statement->operation, sent_to::be_read); !out.empty()) {
        if (!dead) count(&write_fates::refused);
        return out;
    }
    if (!guard_needed() || passing_ || dead) return {};
    auto const& alone = statement->operation;
    if (alone->statements.size() == 1 && heard(&alone->statements.front())) return {};
    auto const judged = judge(alone);
    bool refused = false;
    routing::statement const* offender = nullptr;
    if (alone->access < routing::access::write) {
        routing::decision const d = routing::decide(*judged, facts(statement->text), site());
        refused = d.verdict == routing::verdict::refuse;
        offender = d.offender;
    } else {
        bool const none = site().settings->guard.functions == config::function_policy::refuse;
        for (std::size_t i = 0; i < alone->statements.size() && i < judged->statements.size() && !offender; ++i)
            if (none ? judged->statements[i].access >= routing::access::write
                     : judged->statements[i].beside > alone->statements[i].beside)
                offender = &judged->statements[i];
        refused = none || offender;
    }
    if (!refused) return {};
    count(&write_fates::refused);
    return refusal(judged.get(), offender);
}

/// What a server has under the names of Lull's is certain only as long as nobody but Lull made it: before the flip, and by
/// a function that nobody knows, SQL may have made another statement of such a name. So on a server that is not of the
/// guarded ones each is prepared anew in a window, on a standby too: what it runs there may reach the primary.
void pg_session_core::doubt_names() {
    if (read_write() || identity_.migration || may_write_ || wish_.guarded || server_->certain_in == site().epoch) return;
    server_->certain_in = site().epoch;
    server_->doubtful.add_all(server_->statements);
    server_->statements.clear();
    // Window by window they would become more; a new connection has none.
    if (server_->doubtful.size() > limits().max_server_prepared_statements) server_->tainted = true;
}

/// Whether the open segment, begun before the flip, can be ended by a Sync of ours and nobody sees it: nothing has run in
/// it, or it is within a block, which goes on.
bool pg_session_core::may_cut() const {
    if (discarding_ || server_->copy_in) return false;
    return !segment_runs_ || (server_->status != 'I' && server_->owed.empty() && !segment_ends_);
}

/// Before the next message of such a segment. True: it waits until that has been done.
bool pg_session_core::cuts_segment(session_step& step) {
    if (!segment_open_ || !begun_open_ || !server_ || !guard_needed() || in_guard() || !may_cut()) return false;
    blocked_ = blocked::barrier;
    if (!server_->owed.empty()) {  // one of them may yet fail, and the rest of the segment with it
        step.server.write([](std::string& out) { pg::write_flush(out); });
        return true;
    }
    step.server.write([](std::string& out) { pg::write_sync(out); });
    server_->owed.push(owed_kind::sync).ours = true;
    forget_segment();
    return true;
}

/// What runs in place of transaction control while our own READ ONLY transaction is around it.
prepared pg_session_core::substitute(prepared const& statement, char const*& retag) {
    auto const& statements = statement->operation->statements;
    routing::statement const* s = statements.size() == 1 ? &statements.front() : nullptr;
    // (In a failed block it fails like everything else, and takes nothing away.)
    if (s && s->kind == statement_kind::deallocate && !is_dead_block() && statements_.contains(s->name)) {
        retag = "DEALLOCATE";  // one of the protocol level; the server knows it by another name
        return own_statement(nothing_statement);
    }
    if (discards_notify(*statement->operation)) {
        retag = "NOTIFY";
        return own_statement(nothing_statement);
    }
    if (heard(s)) {
        retag = listen_tag;
        return own_statement(nothing_statement);
    }
    if (!s || !in_guard()) return statement;
    switch (s->kind) {
        case statement_kind::begin:
            if (block_guarded_) return statement;  // a second BEGIN: PostgreSQL's own warning
            block_guarded_ = block_seen_ = true;
            retag = s->command == begin_tag ? begin_tag : start_transaction_tag;
            return own_statement("SET LOCAL lull.block TO 'begun'");
        case statement_kind::commit:
            if (keeps_temporary()) return statement;
            if (server_->status != 'E' && client_status_ != 'E') retag = "COMMIT";
            return own_statement(broken("commit_block") ? "COMMIT" : "ROLLBACK");
        default:
            return statement;
    }
}

std::string pg_session_core::refusal(routing::operation const* op, routing::statement const* offender) const {
    bool const strict = site().settings->guard.privileged == config::privileged_policy::refuse;
    if (strict && facts().privileged) return privileged_refusal(site());
    return refusal_error(site(), refusal_code(), op, offender);
}

void pg_session_core::look_up_catalog() {
    routing::snapshot const& now = *context_.snapshot;
    catalog_of_ = now.number;
    auto const at = now.catalogs.find(identity_.database);
    catalog_ = at == now.catalogs.end() ? routing::catalog_state{} : at->second;
    // Who is privileged is among the facts; where such roles are refused and nobody knows them, everybody may be one.
    bool const refused = site().settings->guard.privileged == config::privileged_policy::refuse;
    privileged_role_ = catalog_.facts ? catalog_.facts->privileged(identity_.user) : refused && !read_write();
}

/// With what the catalog says of what it names. The reference lives until the next call.
std::shared_ptr<routing::operation const> const& pg_session_core::judge(
    std::shared_ptr<routing::operation const> const& op) {
    if (catalog_of_ != context_.snapshot->number) look_up_catalog();
    // Where a write may go matters only to sessions that may not write.
    if (identity_.migration || !(op->has_names || (op->has_targets && !read_write()))) return op;
    // A temporary table of its own may stand behind any name, with a policy that the facts do not know.
    routing::standing const while_open = made_state_ ? routing::standing::stale : routing::standing::open;
    routing::standing const how = read_write()     ? while_open
                                  : catalog_.fresh ? routing::standing::fresh
                                                   : routing::standing::stale;
    return context_.resolver.resolve(op, catalog_.facts, how);
}

/// The segment fails at this point, on the server too; the client sees `error`.
void pg_session_core::fail_extended(std::string const& error, session_step& step) {
    parse_unnamed(*own_statement(failing_statement), step);
    // (A cursor of SQL's may have its name: that will do as well.)
    run_own(failing_portal, {}, error, step).text = error;
}

}  // namespace lull
