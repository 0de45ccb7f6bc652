#include "proxy/journal_replay_core.hpp"

#include "routing/break_points.hpp"

#include <algorithm>
#include <utility>

namespace lull {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds between_looks{20};

// Everything is named with its schema: what its client's search_path has first may be anything.
constexpr char const* limits_sql = "SELECT pg_catalog.current_setting('transaction_timeout', true)";
// As its client's session would not have it: read-only by the role's settings, or with limits for a server that
// somebody waits for. How long it may take is bounded by the replay itself.
constexpr char const* begin_sql =
    "BEGIN READ WRITE; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; "
    "SET LOCAL idle_in_transaction_session_timeout = 0";
constexpr char const* no_transaction_timeout = "; SET LOCAL transaction_timeout = 0";
// A session may have asked for commits that a crash can lose; this one must not be.
constexpr char const* synchronous_sql =
    "SELECT pg_catalog.set_config('synchronous_commit', 'on', true) "
    "WHERE pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off'";
constexpr char const* xid_sql = "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text";
// Where transaction ids mean what they do: a promoted standby goes on with the same ones on another timeline.
constexpr char const* origin_sql =
    "SELECT system_identifier::pg_catalog.text OPERATOR(pg_catalog.||) '/' OPERATOR(pg_catalog.||) "
    "pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) "
    "FROM pg_catalog.pg_control_system()";
// After a crash of the server the id of a transaction that it had in memory only is given to another one, whose
// fate would be taken for this one's. So it has to be on its disk; behind this commit it is.
constexpr char const* flush_sql = "SELECT pg_catalog.pg_logical_emit_message(true, 'lull', 'journal')";
constexpr char const* log_end_sql = "SELECT pg_catalog.pg_current_wal_insert_lsn()";

}  // namespace

journal_replay_core::journal_replay_core(journal_contents contents, config::milliseconds timeout,
                                         routing::instant now)
    : contents_(std::move(contents)),
      timeout_(timeout),
      now_(now),
      until_(now + timeout),
      intent_(contents_.intent) {
    report_.left = contents_.pending();
    // A process before us may have come this far.
    for (auto const& [number, verdict] : contents_.verdicts) count(verdict.result);
    choose();
}

replay_next journal_replay_core::next() const {
    using namespace replay_act;
    auto const writer = [](std::string sql) { return ask{replay_line::writes, std::move(sql)}; };
    auto const flusher = [](std::string sql) { return ask{replay_line::flushes, std::move(sql)}; };
    switch (at_) {
        case at::connect:
            return connect{replay_line::writes, entry().database, entry().user};
        case at::limits:
            return writer(limits_sql);
        case at::discard:
            return writer("DISCARD ALL");
        case at::health:
            return writer("SELECT pg_catalog.pg_is_in_recovery()");
        case at::settings:
            return writer(entry().settings[setting_]);
        case at::begin:
            return writer(std::string(begin_sql) + (has_transaction_timeout_ ? no_transaction_timeout : ""));
        case at::run:
            return run{&entry()};
        case at::synchronous:
            return writer(synchronous_sql);
        case at::xid:
            return writer(xid_sql);
        case at::origin:
            return writer(origin_sql);
        case at::flush_connect:
            return connect{replay_line::flushes, entry().database, entry().user};
        case at::flush_settings:
            return flusher("SET synchronous_commit TO on");
        case at::flush:
            return flusher(flush_sql);
        case at::flush_xid:
            return flusher("SELECT pg_catalog.pg_current_xact_id()");
        case at::flush_end:
            return flusher(log_end_sql);
        case at::flush_look:
            return flusher("SELECT pg_catalog.pg_current_wal_flush_lsn() OPERATOR(pg_catalog.>=) '" + log_end_ +
                           "'::pg_catalog.pg_lsn");
        case at::flush_pause:
            return pause{between_looks};
        case at::intend: {
            replay_act::record out{.bytes = {}, .durable = true};
            write_intent(out.bytes, next_intent_);
            return out;
        }
        case at::commit:
            return writer("COMMIT");
        case at::rollback:
            return writer("ROLLBACK");
        case at::fate:
            return writer("SELECT pg_catalog.pg_xact_status('" + intent_->xid + "'::pg_catalog.xid8)");
        case at::settle: {
            // It is flushed with the next intent. Until then the intent before it tells the same.
            replay_act::record out{.bytes = {}, .durable = false};
            write_verdict(out.bytes, verdict_);
            return out;
        }
        case at::pause:
            return pause{between_tries, hang_up_};
        case at::last_flush:
            return replay_act::record{.bytes = {}, .durable = true};
        case at::over:
            return over{};
    }
    return over{};
}

bool journal_replay_core::in_doubt() const {
    return intent_ && intent_->number == entry().number && !broken("blind_replay");
}

/// Which entry is next. The one in doubt before all others: the next intent takes the place of its own.
void journal_replay_core::choose() {
    auto const& all = contents_.entries;
    auto const waits = [&](journal_entry const& e) { return !contents_.verdicts.contains(e.number); };
    auto const doubtful = [&](journal_entry const& e) { return intent_ && e.number == intent_->number && waits(e); };
    auto at = std::find_if(all.begin(), all.end(), doubtful);
    if (at == all.end()) at = std::find_if(all.begin(), all.end(), waits);
    if (at == all.end()) {
        at_ = at::last_flush;
        return;
    }
    index_ = static_cast<std::size_t>(at - all.begin());
    tries_ = 0;
    trouble_ = {};
    attempt();
}

/// The entry in hand, from its beginning.
void journal_replay_core::attempt() {
    if (logged_in_as_ == who()) return with_session();
    logged_in_as_.clear();
    at_ = at::connect;
}

void journal_replay_core::answered(replay_answer const& a, routing::instant now) {
    now_ = now;
    switch (at_) {
        case at::limits:
            if (!a.ok()) return server_failed(a, blame::lull);
            has_transaction_timeout_ = a.value.has_value();
            return with_session();
        case at::discard:
            if (!a.ok()) return wait("the session on the primary could not be reset: " + a.message, then::hang_up);
            dirty_ = false;
            return with_clean_session();
        case at::health:
            if (a.ok() && a.value == "f")
                // The entry is what is wrong: a trigger that raises such an error, or ends its backend.
                return settle(journal_result::failed,
                              trouble_.last.lost ? "08006" : trouble_.last.sqlstate,
                              trouble_.last.lost ? "each time the connection to the primary broke while it ran"
                                                 : trouble_.last.message);
            if (!a.ok()) return server_failed(a, blame::lull);
            return start();
        case at::settings:
            if (!a.ok()) return server_failed(a, blame::entry);
            if (++setting_ < entry().settings.size()) return;
            made_ = entry().settings;
            at_ = at::begin;
            return;
        case at::begin:
            if (!a.ok()) return server_failed(a, blame::lull);
            at_ = at::run;
            return;
        case at::run:
            if (!a.ok()) return server_failed(a, blame::entry);
            ran_as_ = a.tag;
            at_ = at::synchronous;
            return;
        case at::synchronous:
            if (!a.ok()) return server_failed(a, blame::lull);
            at_ = at::xid;
            return;
        case at::xid:
            if (!a.ok() || !a.value) return server_failed(a, blame::lull);
            next_intent_ = {entry().number, *a.value, {}, ran_as_};
            if (!origin_.empty()) return with_transaction_id();
            at_ = at::origin;
            return;
        case at::origin:
            if (!a.ok() || !a.value) return server_failed(a, blame::lull);
            origin_ = *a.value;
            return in_doubt() ? find_out() : with_transaction_id();
        case at::flush_settings:
            if (!a.ok()) return not_flushed();
            at_ = at::flush;
            return;
        case at::flush:
            if (a.ok()) {
                at_ = at::intend;
                return;
            }
            return flush_refused(a);
        case at::flush_xid:
            if (!a.ok()) return not_flushed();
            at_ = at::flush_end;
            return;
        case at::flush_end:
            if (!a.ok() || !a.value) return not_flushed();
            log_end_ = *a.value;
            at_ = at::flush_look;
            return;
        case at::flush_look:
            if (!a.ok()) return not_flushed();
            at_ = a.value == "t" ? at::intend : at::flush_pause;
            return;
        case at::commit:
            return committed(a);
        case at::rollback:
            return rolled_back(a.ok());
        case at::fate:
            return fate_told(a);
        case at::connect:
        case at::flush_connect:
        case at::flush_pause:
        case at::intend:
        case at::settle:
        case at::pause:
        case at::last_flush:
        case at::over:
            return;
    }
}

/// As the entry's user.
void journal_replay_core::with_session() {
    if (!dirty_ && (made_.empty() || made_ == entry().settings)) return with_clean_session();
    made_.clear();
    at_ = at::discard;
}

void journal_replay_core::with_clean_session() {
    if (in_doubt()) {
        if (!origin_.empty()) return find_out();
        at_ = at::origin;
        return;
    }
    if (had_its_time()) {
        at_ = at::health;  // as this new connection to the server says
        return;
    }
    start();
}

void journal_replay_core::start() {
    dirty_ = true;  // until COMMIT
    setting_ = 0;
    at_ = made_ == entry().settings ? at::begin : at::settings;
}

void journal_replay_core::with_transaction_id() {
    next_intent_.origin = origin_;
    at_ = flushes_as_ == who() ? at::flush : at::flush_connect;
}

void journal_replay_core::recorded(std::string const& problem, routing::instant now) {
    now_ = now;
    if (at_ == at::intend) {
        if (!problem.empty()) return wait(problem, then::hang_up);  // with it the transaction ends
        intent_ = next_intent_;
        at_ = at::commit;
    } else if (at_ == at::settle) {
        // What is decided is found out again: by the intent, or by running what has left nothing there.
        if (!problem.empty()) return wait(problem, then::stay);
        settled();
    } else if (at_ == at::last_flush) {
        if (!problem.empty()) report_.problem = problem;
        at_ = at::over;
    }
}

void journal_replay_core::paused(routing::instant now) {
    now_ = now;
    if (at_ != at::flush_pause) return attempt();
    if (now > until_) return not_flushed();
    at_ = at::flush_look;
}

}  // namespace lull
