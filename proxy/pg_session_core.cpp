#include "proxy/pg_session_core.hpp"

#include "protocol/pg/backend.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "routing/backends.hpp"

#include <algorithm>

namespace lull {

namespace {

constexpr std::string_view read_only_parameter = "default_transaction_read_only";

}  // namespace

pg_session_core::pg_session_core(session_context& context, session_identity identity)
    : context_(context),
      identity_(std::move(identity)),
      stats_(context.stats.databases[identity_.database]),
      startup_(identity_.startup ? std::move(identity_.startup) : context.settings.none()),
      wanted_(startup_),
      reported_(context.settings.none()),
      was_open_(read_write()),
      sequences_(context.sequences.of(identity_.database, identity_.user)) {}

std::string pg_session_core::application_name() const {
    std::string const* name = find_setting(reported_, "application_name");
    return name ? *name : std::string();
}

void pg_session_core::start(session_step& step) {
    greeting const* const known = identity_.migration ? nullptr : context_.greetings.find(as_guest());
    if (known) {
        reported_ = known->reported;
        return welcome(*known, step);
    }
    want(routing::verdict::to_reader, step);
    blocked_ = blocked::welcome;
}

greeting_book::guest pg_session_core::as_guest() const {
    return {site().settings->cluster, identity_.database, identity_.user, wanted_};
}

greeting const& pg_session_core::remember_welcome() {
    greeting made{.reported = reported_};
    for (auto const& [name, value] : *reported_) pg::write_parameter_status(made.messages, name, value);
    pg::write_parameter_status(made.messages, "in_hot_standby", "off");
    made.read_only = made.messages;
    pg::write_parameter_status(made.messages, read_only_parameter, "off");
    pg::write_parameter_status(made.read_only, read_only_parameter, "on");
    return context_.greetings.keep(as_guest(), std::move(made));
}

void pg_session_core::welcome(greeting const& known, session_step& step) {
    started_ = true;
    answered_ = context_.now;
    told_read_only_ = site().settings->report_read_only && !identity_.migration && !read_write();
    step.client.write([&](std::string& out) {
        out += told_read_only_ ? known.read_only : known.messages;
        pg::write_backend_key_data(out, identity_.key_pid, pg::as_bytes(identity_.key_secret));
    });
    tell_reported(step);
    step.client.write([&](std::string& out) { pg::write_ready_for_query(out, client_status_); });
}

/// ReadyForQuery with what the client has to believe.
void pg_session_core::ready(session_step& step) {
    count_answered();
    step.client.write([&](std::string& out) { pg::write_ready_for_query(out, client_status_); });
}

void pg_session_core::ready(pg::bytes as_it_came, session_step& step) {
    count_answered();
    step.client.view(as_it_came);
}

/// How the server will read what is sent now. While a change of that is under way it may be read either way.
routing::text_facts pg_session_core::facts_amid_changes() const {
    for (pending_setting const& p : pending_) {
        using what = pending_setting::what;
        bool const all = p.kind == what::reset_all || p.kind == what::discard_all;
        bool const one = (p.kind == what::make || p.kind == what::reset) &&
                         (p.name == "standard_conforming_strings" || p.name == "client_encoding");
        if (!p.confirmed && (one || (all && !wanted_->empty())))
            return {.standard_conforming_strings = false, .unsafe_encoding = true};
    }
    return facts_;
}

void pg_session_core::want(routing::verdict verdict, session_step& step) {
    routing::backend_id backend = site().primary;
    // No standby can be serializable (manual, "Serializable Isolation Level"), so such sessions read on the primary.
    if (read_write() && wanted_->serializable) verdict = routing::verdict::to_primary;
    // What it stays with has to be able to do everything.
    if (read_write() && identity_.pool_mode == config::pool_mode::session) verdict = routing::verdict::to_primary;
    // Behind ROLLBACK AND CHAIN a failed block goes on where it is, and may come to write.
    if (read_write() && client_status_ == 'E') verdict = routing::verdict::to_primary;
    if (verdict == routing::verdict::to_reader && !identity_.migration)
        backend =
            routing::choose_reader(*context_.snapshot, identity_.site, wrote_at_,
                                   context_.now, context_.seed++);
    auto const index = static_cast<std::size_t>(backend);
    if (index < context_.avoid_until.size() && context_.now < context_.avoid_until[index])
        backend = site().primary;
    bool const primary = context_.snapshot->of(backend).role == routing::role::primary;
    // What listens is not taken from the guarded ones: it stays there, also when the site is open again.
    wish_ = {backend, primary && !read_write() && !identity_.migration && !passing_, sequences_.sought()};
    step.want = wish_;
    blocked_ = blocked::server;
    if (waits_since_ == routing::instant{}) waits_since_ = context_.now;
}

/// Whether the server that is ours can serve a unit without giving it back first.
bool pg_session_core::matches(routing::verdict verdict) const {
    if (aside_under_way_) return false;
    if (!segment_open_ && !server_->owed.empty()) {
        // What is under way may end the transaction. Behind its end the right to write is over, and the next
        // unit needs a READ ONLY block of its own, or another server.
        bool const subject = !read_write() && !identity_.migration && server_->role == routing::role::primary;
        if (subject || block_guarded_ || wiping_) return false;
        if (server_->role == routing::role::replica || wish_.guarded)
            for (std::size_t i = 0; i < server_->owed.size(); ++i)
                if (server_->owed.at(i).ends) return false;
    }
    if (pins_ || segment_open_ || server_->status != 'I') return true;
    if (!server_->owed.empty())
        // What is in flight ends where it is; a unit may only join it where it could have gone itself, and
        // where its place does not depend on how the transaction in flight ends.
        return read_write() && server_->role == routing::role::primary && !wish_.guarded;
    if (read_write() && wish_.guarded) return false;
    bool const primary = server_->role == routing::role::primary;
    if (passing_) return primary && !wish_.guarded;
    return verdict == routing::verdict::to_primary ? primary && !wish_.guarded
                                                   : !primary || wish_.guarded || read_write();
}

/// True: the unit may go to server_ now. False: it has to wait, and blocked_ says for what.
bool pg_session_core::place(routing::verdict verdict, session_step& step) {
    if (server_ && server_->cancelling) {  // meant for what went before
        blocked_ = blocked::cancel;
        return false;
    }
    bool const reader = server_ && (wish_.guarded || server_->role == routing::role::replica);
    bool const given_up = reader && pins_ && read_write() && !identity_.migration && !segment_open_;
    if (given_up && !server_->owed.empty() && !server_->copy_in) {  // also our question; behind it a write would fail there
        blocked_ = blocked::barrier;
        return false;
    }
    if (given_up && server_->clean()) {
        // It was pinned while it could only read. That state is given up: on this server it could never
        // write. But somebody else can have its lock then, and with other settings it may see other rows, so it has to know.
        if (pins_.has(pin::lock) && pins_due_) {
            ask_what_pins(step);
            blocked_ = blocked::barrier;
            return false;
        }
        if (pins_.has(pin::lock) || pins_.has(pin::settings)) {
            fatal(pg::sqlstate::admin_shutdown,
                  pins_.has(pin::lock) ? "an advisory lock that was taken while the site was closed is lost: connect again"
                                       : "settings that were made while the site was closed are lost: connect again", step);
            return false;
        }
        unlink();
        step.discard = true;
    }
    if (server_ && !matches(verdict)) {
        if (!server_->owed.empty() || !server_->clean()) {
            blocked_ = blocked::barrier;
            return false;
        }
        bool const used_up = server_->tainted;
        unlink();
        (used_up ? step.discard : step.release) = true;
    }
    if (!server_) {
        want(verdict, step);
        return is_lent(step);
    }
    if (server_->owed.size() >= limits().max_pipeline) {
        await_answers(blocked::pipeline, step);
        return false;
    }
    return !(server_->clean() && !segment_open_ && sync_settings(step));
}

/// A server keeps its answers until it is asked for them, and without them we would wait for ever.
void pg_session_core::await_answers(blocked what, session_step& step) {
    if (segment_open_) step.server.write([](std::string& out) { pg::write_flush(out); });
    blocked_ = what;
}

/// What step.want asks for is there at once, and ready for the unit in hand.
bool pg_session_core::is_lent(session_step& step) {
    if (!step.lender || step.release || step.discard) return false;
    pg_server_state* const server = step.lender->lend(wish_);
    if (!server) return false;
    step.want.reset();
    bool const again = step.retry_input;
    routing::text_facts const read_as = text_facts();
    bool const superuser = superuser_;
    on_linked(*server, step);
    if (blocked_ != blocked::no) return false;  // its settings are made first
    // It reads text otherwise than the unit was judged by, or knows the client for another: judged again.
    if (text_facts() != read_as || superuser_ != superuser) {
        step.retry_input = true;
        return false;
    }
    step.retry_input = again;
    return true;
}

void pg_session_core::on_linked(pg_server_state& server, session_step& step) {
    server_ = &server;
    server.begun_closed = !was_open_;
    count_linked();
    wish_.backend = server.backend;
    if (keeps_server()) pins_.add(pin::mode);
    bool const welcoming = blocked_ == blocked::welcome;
    blocked_ = blocked::no;
    if (sync_settings(step)) return;
    tell_reported(step);
    if (welcoming || !started_) welcome(remember_welcome(), step);
    step.retry_input = true;  // also without input: what is not needed goes back then
}

/// Makes the server's settings those of the client. True: the unit has to wait for that.
bool pg_session_core::sync_settings(session_step& step) {
    bool const sealed = !read_write() && !identity_.migration;
    if (!sealed && wanted_ == server_->actual) return false;
    session_settings goal = wanted_;
    auto allowed = [&](std::pair<std::string, std::string> const& setting) {
        auto const& [name, value] = setting;
        if (name == default_isolation && server_->role == routing::role::replica && wanted_->serializable)
            return false;  // sealed: with what stands still there, its own default does as well
        return !sealed || routing::is_harmless_setting(name, value);
    };
    if (!std::ranges::all_of(*goal, allowed)) {
        setting_map harmless;
        for (auto const& s : *wanted_)
            if (allowed(s)) harmless.push_back(s);
        goal = context_.settings.intern(std::move(harmless));
    }
    if (sealed && is_kept_over()) goal = with_staying(context_.settings, goal, *server_->reported);
    if (goal == server_->actual) return false;
    std::string const sql = setting_difference(*server_->actual, *goal);
    server_->actual = goal;
    if (sql.empty()) return false;
    send_own_query(sql, step).settings = true;
    blocked_ = blocked::settings;
    return true;
}

/// The client learns where its server differs from what it was told.
void pg_session_core::tell_reported(session_step& step) {
    if (server_ && server_->reported != reported_) {
        setting_map const& now = *server_->reported;
        step.client.write([&](std::string& out) {
            for (auto const& [name, value] : now) {
                std::string const* told = find_setting(reported_, name);
                if (started_ && (!told || *told != value)) pg::write_parameter_status(out, name, value);
            }
        });
        reported_ = server_->reported;
    }
    if (facts_of_ == reported_) return;
    facts_of_ = reported_;
    // SET ROLE hides it, and a function may undo that: once a superuser, always one.
    superuser_ = superuser_ || reported_->superuser;
    facts_.standard_conforming_strings = reported_->standard_conforming_strings;
    facts_.unsafe_encoding = reported_->unsafe_encoding;
}

owed_reply& pg_session_core::send_own_query(std::string_view sql, session_step& step) {
    step.server.write([&](std::string& out) { pg::write_query(out, sql); });
    server_->unnamed = nullptr;
    owed_reply& owed = server_->owed.push(owed_kind::query);
    owed.ours = true;
    return owed;
}

std::string pg_session_core::begin_sql(bool read_only, bool with_snapshot) const {
    std::string sql = "BEGIN";
    switch (block_options_.isolation) {
        case routing::isolation::unspecified:
            break;
        case routing::isolation::read_uncommitted:
            sql += " ISOLATION LEVEL READ UNCOMMITTED";
            break;
        case routing::isolation::read_committed:
            sql += " ISOLATION LEVEL READ COMMITTED";
            break;
        case routing::isolation::repeatable_read:
            sql += " ISOLATION LEVEL REPEATABLE READ";
            break;
        case routing::isolation::serializable:
            // A standby refuses it; there, one snapshot for the block is what a reader can have of it.
            sql += server_ && server_->role == routing::role::replica ? " ISOLATION LEVEL REPEATABLE READ"
                                                                      : " ISOLATION LEVEL SERIALIZABLE";
            break;
    }
    if (read_only)
        sql += " READ ONLY";
    else if (block_options_.read_only.has_value())
        sql += " READ WRITE";
    if (block_options_.deferrable && !with_snapshot)
        sql += *block_options_.deferrable ? " DEFERRABLE" : " NOT DEFERRABLE";
    // Before the first snapshot the client could switch the mode back; behind it PostgreSQL refuses.
    if (with_snapshot) sql += ";SELECT 1";
    return sql;
}

/// What has to stand before the first statement of a unit on this server.
void pg_session_core::prologue(session_step& step) {
    doubt_names();
    if (segment_open_) return;
    if (client_status_ == 'E' && server_->clean() && !deferred_) {
        // The client's block failed and lost its server: make that true on this one, so that it answers as it
        // would have.
        // With its own options, which AND CHAIN hands on.
        bool const closed = !read_write() && !identity_.migration;
        send_own_query(begin_sql(closed || block_options_.read_only.value_or(false), false), step);
        owed_reply& owed = send_own_query("ROLLBACK TO SAVEPOINT \"lull: this block has failed\"", step);
        owed.text = "-";  // an error is what we want
        block_seen_ = true;
        block_guarded_ = guard_needed();
        return;
    }
    bool const guard = guard_needed();
    if (deferred_ && !aside_) {
        block_options_ = *deferred_;
        bool const read_only =
            !read_write() && !identity_.migration ? true : block_options_.read_only.value_or(false);
        send_own_query(begin_sql(read_only, guard), step).guards = guard;
        deferred_.reset();
        block_seen_ = true;
        block_guarded_ = guard;
        bool const asked = block_route_ == routing::route::replica || wanted_->route == routing::route::replica;
        block_moves_ = read_only && read_write() && server_->role == routing::role::replica && !asked &&
                       block_options_.isolation != routing::isolation::repeatable_read && !wanted_->repeatable;
    } else if (guard && server_->status == 'T' && server_->owed.empty() && (!in_guard() || guard_loose_)) {
        // A block from before the flip that has only read goes on, and can no longer do anything else.
        send_own_query("SET TRANSACTION READ ONLY", step).guards = true;
        began_unguarded_ = began_unguarded_ || !in_guard();
        block_guarded_ = true;
        guard_loose_ = false;
    }
}

/// A READ ONLY block reads on a replica until it comes to do what is only the primary's: to take an advisory lock, say. As each
/// statement sees what is there by then, it goes on as one on the primary. True: it waits until it has left the replica.
bool pg_session_core::moves_block(routing::operation const& op, session_step& step) {
    if (!server_ || server_->status != 'T' || segment_open_ || !read_write() || !routing::needs_primary(op)) return false;
    // Behind a query that is an error, as it is there.
    auto const sets_mode = [](routing::statement const& s) {
        return s.kind == routing::statement_kind::set_transaction || s.name == "transaction_read_only";
    };
    if (std::ranges::any_of(op.statements, sets_mode)) return false;
    blocked_ = blocked::barrier;
    if (!server_->owed.empty()) return true;
    block_moves_ = block_seen_ = false;
    deferred_ = block_options_;  // it has not begun, again
    send_own_query("ROLLBACK", step);
    return true;
}

/// What was prepared in SQL may have become something else on its server: made by a function, say.
bool pg_session_core::began_writing(routing::operation const& op, session_step& step) {
    bool const executes = op.statements.size() == 1 && op.statements.front().kind == routing::statement_kind::execute;
    return began_writing(executes ? std::max(op.access, routing::access::unknown) : op.access, step);
}

/// True: what is sent now may write; the debt that it leaves has to remember that.
bool pg_session_core::began_writing(routing::access access, session_step& step) {
    // Where a guard is needed and is not there, the block has failed: it is on its way to its error only.
    // (Of what a standby has refused nobody knows that it only reads.)
    if ((access < routing::access::unknown && !to_primary_) || in_guard() || guard_needed() ||
        server_->role != routing::role::primary || wish_.guarded)
        return false;
    if (may_write_) return true;
    writes_since_ = context_.now;
    if (!sequences_.are_at(server_->values_of) || sequences_.use() != sequence_use::none) note_sequences(step);
    return may_write_ = true;
}

void pg_session_core::on_no_server(std::string error, session_step& step) {
    if (blocked_ == blocked::welcome || !started_) {
        step.client.text(pg::with_severity(error, "FATAL"));
        closing_ = step.close_client = true;
        return;
    }
    blocked_ = blocked::no;
    fail_next_ = pg::with_severity(error, "ERROR");  // the session lives on
    step.retry_input = true;
}

void pg_session_core::unlink() {
    // With this server goes what it has heard of, and nobody can tell what is notified from now.
    if (channels_ && pins_.has(pin::listen) && !client_gone_) {
        channels_->own.clear();
        channels_->end = session_channels::ending::lost;
    }
    server_->looked = nullptr;
    server_ = nullptr;
    forget_transaction();
    forget_segment();
    sequences_.goes_out();
    guard_ended_ = wrap_open_ = aside_ = aside_under_way_ = in_flight_ = pins_due_ = made_state_ = false;
    pins_.clear();
    pending_.clear();
    portals_.clear();
}

void pg_session_core::fatal(std::string_view sqlstate, std::string_view message, session_step& step, std::string_view hint) {
    // In the middle of a server's message nothing can be said.
    bool const amid = server_ && server_->body_left > 0 && !server_->body_swallowed;
    if (!amid)
        step.client.write([&](std::string& out) {
            pg::write_error_response(out, {.severity = "FATAL", .sqlstate = sqlstate, .message = message, .hint = hint});
        });
    closing_ = step.close_client = true;
}

}  // namespace lull
