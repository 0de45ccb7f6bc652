// What a primary is asked about its sessions: who writes past Lull, and who still does for a connection that
// is lost. Asked once a second while a site is not open, and to prove that it is sealed.
#include "proxy/pg_query.hpp"
#include "proxy/probes.hpp"

#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <libpq-fe.h>

namespace lull {

namespace {

constexpr char const* position_sql =
    "SELECT pg_is_in_recovery(),"
    " CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END,"
    " CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END,"
    " CASE WHEN NOT pg_is_in_recovery() THEN pg_current_snapshot()::text END,"
    " a.commits, a.rows FROM (SELECT coalesce(sum(xact_commit), 0) AS commits,"
    " coalesce(sum(tup_inserted + tup_updated + tup_deleted), 0) AS rows"
    " FROM pg_stat_database WHERE datname = ANY ($1::text[])) a";

// How one session is told of.
#define LULL_SESSION                                                                        \
    "format('pid %s %s@%s %s, %s since %s: %s', a.pid, a.usename, a.datname,"               \
    " coalesce(nullif(a.application_name, ''), '-'), coalesce(a.state, a.backend_type),"    \
    " to_char(coalesce(a.xact_start, a.state_change, a.backend_start) AT TIME ZONE 'UTC', " \
    "'HH24:MI:SS\"Z\"'),"                                                                   \
    " left(a.query, 80))"

#define LULL_NOT_REPORTED                                                                      \
    " a.datname = ANY ($1::text[]) AND a.pid <> pg_backend_pid() AND a.pid <> ALL ($2::int[])" \
    " AND a.backend_type NOT IN ('autovacuum worker', 'walsender', 'parallel worker')"

// Neither Lull's own nor one that it has just opened and not told of yet.
#define LULL_NOT_OURS                                                     \
    LULL_NOT_REPORTED                                                     \
        " AND NOT (a.client_addr IS NOT DISTINCT FROM inet_client_addr()" \
        " AND a.backend_start > clock_timestamp() - interval '2 seconds')"

// Who has a transaction id has written; who has such a lock is about to, or means to.
#define LULL_WRITES                                                                                   \
    " (a.backend_xid IS NOT NULL OR EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted" \
    " AND l.locktype = 'relation' AND l.relation >= 16384 AND l.mode IN ('RowExclusiveLock',"         \
    " 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')))"

constexpr char const* outsiders_sql =
    "SELECT " LULL_SESSION " FROM pg_stat_activity a WHERE" LULL_NOT_OURS " AND" LULL_WRITES
    " UNION ALL SELECT format('prepared transaction %s of %s in %s, since %s', gid, owner, database,"
    " to_char(prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"'))"
    " FROM pg_prepared_xacts WHERE database = ANY ($1::text[]) LIMIT 50";

constexpr char const* bypassing_sql =
    "SELECT format('%s %s of %s@%s, %s', count(*), CASE WHEN count(*) = 1 THEN 'session' ELSE 'sessions' END,"
    " coalesce(a.usename, '-'), a.datname, coalesce(nullif(a.application_name, ''), a.backend_type))"
    " FROM pg_stat_activity a WHERE" LULL_NOT_OURS " AND NOT" LULL_WRITES
    " GROUP BY a.usename, a.datname, coalesce(nullif(a.application_name, ''), a.backend_type) ORDER BY 1 "
    "LIMIT 20";

// Of the process before: from the same address, and either at work or with something to commit. However
// young: what this process has opened began later.
constexpr char const* leftovers_sql =
    "SELECT " LULL_SESSION " FROM pg_stat_activity a WHERE" LULL_NOT_REPORTED
    " AND a.client_addr IS NOT DISTINCT FROM inet_client_addr()"
    " AND (a.state IN ('active', 'fastpath function call') OR a.backend_xid IS NOT NULL)"
    " AND a.backend_start < clock_timestamp() - $3::text::interval LIMIT 50";

// A pid alone could be somebody else's by now: the backend must have begun before its connection was lost.
#define LULL_BROKEN                                                                                        \
    " FROM unnest($1::int[], $2::float8[]) WITH ORDINALITY AS b(pid, lost, n) JOIN pg_stat_activity a"     \
    " ON a.pid = b.pid AND coalesce(a.backend_start <= clock_timestamp() - b.lost * interval '1 second', " \
    "true)"

constexpr char const* broken_sql = "SELECT b.n, " LULL_SESSION ", a.state" LULL_BROKEN;
constexpr char const* cancel_broken_sql = "SELECT pg_cancel_backend(a.pid)" LULL_BROKEN;
constexpr char const* terminate_broken_sql = "SELECT pg_terminate_backend(a.pid)" LULL_BROKEN;
constexpr char const* terminate_idle_sql =
    "SELECT pg_terminate_backend(a.pid)" LULL_BROKEN " WHERE a.state = 'idle'";

// Whose transaction ids are in use: the migration's ($2), Lull's other sessions' ($3) and all others.
constexpr char const* xids_sql =
    "SELECT a.backend_xid::text, a.pid = ANY ($2::int[]),"
    " CASE WHEN a.pid = ANY ($3::int[]) THEN 'THROUGH LULL: ' ELSE '' END || " LULL_SESSION
    " FROM pg_stat_activity a WHERE a.datname = ANY ($1::text[]) AND a.pid <> pg_backend_pid()"
    " AND a.backend_xid IS NOT NULL AND a.backend_type <> 'autovacuum worker'"
    " AND (a.pid = ANY ($2::int[]) OR a.pid = ANY ($3::int[])"
    " OR NOT (a.client_addr IS NOT DISTINCT FROM inet_client_addr()"
    " AND a.backend_start > clock_timestamp() - interval '2 seconds'))"
    " UNION ALL SELECT p.transaction::text, false, format('prepared transaction %s of %s in %s', gid, owner, "
    "database)"
    " FROM pg_prepared_xacts p WHERE database = ANY ($1::text[]) LIMIT 200";

/// A transaction id with its epoch: the one nearest to the horizon of `snapshot`, "xmin:xmax:...".
std::uint64_t whole_xid(std::uint32_t xid, std::string const& snapshot) {
    std::size_t const colon = snapshot.find(':');
    if (colon == std::string::npos) return xid;
    std::uint64_t const horizon = std::strtoull(snapshot.c_str() + colon + 1, nullptr, 10);
    auto const away = static_cast<std::int32_t>(xid - static_cast<std::uint32_t>(horizon));
    return horizon + static_cast<std::uint64_t>(static_cast<std::int64_t>(away));
}

std::string array_of(std::vector<std::uint32_t> const& numbers) {
    return fmt::format("{{{}}}", fmt::join(numbers, ","));
}

}  // namespace

void probe::ask_primary(primary_question question, std::function<void(primary_answer)> then) {
    post_job([this, question = std::move(question), then = std::move(then)] {
        primary_answer answer = do_primary(question);
        boost::asio::post(io_, [alive = alive_, then, answer = std::move(answer)] {
            if (*alive) then(answer);
        });
    });
}

/// Empty, or why the server could not be asked.
std::string probe::look_for_broken(primary_question const& question, routing::event::primary_seen& seen) {
    if (question.broken.empty()) return {};
    auto const now = std::chrono::steady_clock::now();
    std::string pids = "{", lost = "{";
    for (routing::broken_session const& b : question.broken) {
        char const* const comma = pids.size() > 1 ? "," : "";
        pids += fmt::format("{}{}", comma, b.pid);
        lost += fmt::format("{}{:.6f}", comma, std::chrono::duration<double>(now - b.at).count());
    }
    pids += "}";
    lost += "}";
    pg_result const r = pg_query(connection_, broken_sql, {pids, lost});
    if (!r.ok()) return r.error();
    std::string trouble;
    auto const end = [&](char const* sql) {
        pg_result const ended = pg_query(connection_, sql, {pids, lost});
        if (ended.sqlstate() == "42501")
            trouble = fmt::format(
                " (Lull may not end it: GRANT pg_signal_backend TO \"{}\", or end it yourself)", role_->user);
        return ended.ok() || !trouble.empty() ? std::string() : ended.error();
    };
    std::string failed;
    switch (question.end_broken) {
        case routing::effect::session_end::no:
            break;
        case routing::effect::session_end::cancel:
            failed = end(cancel_broken_sql);
            break;
        case routing::effect::session_end::terminate:
            failed = end(terminate_broken_sql);
            break;
    }
    // One that is idle has nothing to lose, and only waits for what will never come, or comes too late.
    bool idle = false;
    for (int i = 0; i < r.rows(); ++i) idle = idle || r.text(i, 2) == "idle";
    if (idle && failed.empty() && question.end_broken != routing::effect::session_end::terminate)
        failed = end(terminate_idle_sql);
    if (!failed.empty()) return failed;
    for (int i = 0; i < r.rows(); ++i) {
        auto const index = std::strtoull(r.text(i, 0).c_str(), nullptr, 10) - 1;
        if (index >= question.broken.size()) continue;
        seen.broken.push_back(question.broken[index]);
        seen.broken.back().who = r.text(i, 1) + trouble;
    }
    return {};
}

std::string probe::look_for_outsiders(primary_question const& question, routing::event::primary_seen& seen) {
    std::string const names = array_of(question.databases);
    std::string const ours = array_of(question.ours);
    pg_result const writing = pg_query(connection_, outsiders_sql, {names, ours});
    if (!writing.ok()) return writing.error();
    for (int i = 0; i < writing.rows(); ++i) seen.outsiders.push_back(writing.text(i, 0));
    pg_result const others = pg_query(connection_, bypassing_sql, {names, ours});
    if (!others.ok()) return others.error();
    for (int i = 0; i < others.rows(); ++i) seen.bypassing.push_back(others.text(i, 0));
    return {};
}

std::string probe::look_for_xids(primary_question const& question, routing::event::primary_seen& seen) {
    pg_result const r =
        pg_query(connection_, xids_sql,
                 {array_of(question.databases), array_of(question.migration), array_of(question.ours)});
    if (!r.ok()) return r.error();
    for (int i = 0; i < r.rows(); ++i)
        seen.xids.push_back(
            {whole_xid(static_cast<std::uint32_t>(std::strtoul(r.text(i, 0).c_str(), nullptr, 10)),
                       seen.horizon.snapshot),
             r.text(i, 1) == "t", r.text(i, 2)});
    return {};
}

probe::primary_answer probe::do_primary(primary_question const& question) {
    std::string error;
    if (!role_) return failure("no control role is configured for the cluster");
    if (!connect(error)) return failure(error);
    auto const failed = [&](std::string const& why) {
        if (PQstatus(connection_) != CONNECTION_OK) disconnect();
        return failure(why);
    };
    if (question.nudge) {
        // A synchronous commit flushes the log up to itself, and with it every asynchronous commit before it.
        pg_result const r = pg_query(connection_, "SELECT pg_logical_emit_message(true, 'lull', 'flush')");
        if (!r.ok()) return failed(r.error());
    }
    routing::event::primary_seen seen;
    if (question.older_than) {
        pg_result const r = pg_query(connection_, leftovers_sql,
                                     {array_of(question.databases), array_of(question.ours),
                                      std::to_string(question.older_than->count()) + " milliseconds"});
        if (!r.ok()) return failed(r.error());
        for (int i = 0; i < r.rows(); ++i) seen.leftovers.push_back(r.text(i, 0));
    }
    if (std::string const why = look_for_broken(question, seen); !why.empty()) return failed(why);
    // The position after the look at who is left over: what they committed until then is below it.
    pg_result const position = pg_query(connection_, position_sql, {array_of(question.databases)});
    if (position.rows() != 1) return failed(position.error());
    if (position.text(0, 0) == "t") return failure("the primary is in recovery: it is a standby");
    seen.inserted = routing::without_page_header(position.lsn(0, 1), segment_bytes_);
    seen.flushed = position.lsn(0, 2);
    seen.horizon.snapshot = position.text(0, 3);
    seen.horizon.activity = {std::strtoll(position.text(0, 4).c_str(), nullptr, 10),
                             std::strtoll(position.text(0, 5).c_str(), nullptr, 10)};
    if (std::string const why = look_for_xids(question, seen); !why.empty()) return failed(why);
    if (std::string const why = look_for_outsiders(question, seen); !why.empty()) return failed(why);
    return seen;
}

}  // namespace lull
