// What a primary is asked about its sessions: who writes past Lull, and who still does for a connection that
// is lost. Asked once a second while a site is not open, and to prove that it is sealed.
#include "proxy/pg_query.hpp"
#include "proxy/probes.hpp"
#include "proxy/session_sql.hpp"

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

// A walsender of a database runs SQL, too.
#define LULL_NOT_REPORTED                                                                      \
    " a.datname = ANY ($1::text[]) AND a.pid <> pg_backend_pid() AND a.pid <> ALL ($2::int[])" \
    " AND a.backend_type NOT IN ('autovacuum worker', 'parallel worker')"

// Neither Lull's own nor one that it has just opened and not told of yet: $3, the age of what it told.
#define LULL_NOT_OURS                                               \
    LULL_NOT_REPORTED " AND NOT (" LULL_HERE                        \
                      " AND a.backend_start > clock_timestamp() - " \
                      "$3::text::interval)"

// Who has a transaction id has written; who has such a lock is about to, or means to.
#define LULL_WRITES                                                                                   \
    " (a.backend_xid IS NOT NULL OR EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted" \
    " AND l.locktype = 'relation' AND l.relation >= 16384 AND l.mode IN ('RowExclusiveLock',"         \
    " 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')))"

constexpr char const* prepared_sql =
    "SELECT format('prepared transaction %s of %s in %s, since %s', gid, owner, database,"
    " to_char(prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"'))"
    " FROM pg_prepared_xacts WHERE database = ANY ($1::text[]) ORDER BY prepared LIMIT 50";

constexpr char const* outsiders_sql =
    "SELECT " LULL_SESSION " FROM pg_stat_activity a WHERE" LULL_NOT_OURS " AND" LULL_WRITES
    " LIMIT 50";

constexpr char const* bypassing_sql =
    "SELECT format('%s %s of %s@%s, %s', count(*), CASE WHEN count(*) = 1 THEN 'session' ELSE 'sessions' END,"
    " coalesce(a.usename, '-'), a.datname, coalesce(nullif(a.application_name, ''), a.backend_type))"
    " FROM pg_stat_activity a WHERE" LULL_NOT_OURS " AND a.backend_type <> 'walsender' AND NOT" LULL_WRITES
    " GROUP BY a.usename, a.datname, coalesce(nullif(a.application_name, ''), a.backend_type) ORDER BY 1 "
    "LIMIT 20";

// Of the process before: from the same place, and begun before this process, which is $3 old. What a dead
// process leaves ends itself once it has read what was sent to it and then the end; until then it may be at
// work, in a transaction, or idle with a write unread. Whoever is quiet for a second has a client.
// Another Lull's control session looks on, and leaves nothing behind.
constexpr char const* leftovers_sql =
    "SELECT a.pid || '/' || a.backend_start, " LULL_SESSION
    ", a.state = 'idle' AND a.backend_xid IS NULL"
    " AND a.state_change < clock_timestamp() - interval '1 second'"
    " FROM pg_stat_activity a WHERE" LULL_NOT_REPORTED
    " AND (a.backend_type = 'client backend'"
    // One of a database runs any SQL, but none while it streams.
    " OR a.backend_type = 'walsender' AND a.query NOT ILIKE 'START_REPLICATION%') AND" LULL_HERE
    " AND NOT (a.usename = current_user AND a.application_name = 'lull control' AND a.backend_xid IS NULL)"
    " AND a.backend_start < clock_timestamp() - $3::text::interval LIMIT 5000";
constexpr std::size_t most_leftovers = 50;
// So long after the process before ended, one that has been idle for a second has nothing unread.
constexpr std::chrono::milliseconds leftovers_settle{3000};

constexpr char const* rights_sql = "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')";

// A pid alone could be somebody else's by now: the backend must have begun before its connection was lost.
#define LULL_BROKEN                                                                                        \
    " FROM unnest($1::int[], $2::float8[]) WITH ORDINALITY AS b(pid, lost, n) JOIN pg_stat_activity a"     \
    " ON a.pid = b.pid AND coalesce(a.backend_start <= clock_timestamp() - b.lost * interval '1 second', " \
    "true)"

constexpr char const* broken_sql = "SELECT b.n, " LULL_SESSION ", a.state" LULL_BROKEN;
constexpr char const* cancel_broken_sql = "SELECT pg_cancel_backend(a.pid)" LULL_BROKEN;
constexpr char const* terminate_broken_sql = "SELECT pg_terminate_backend(a.pid)" LULL_BROKEN;
constexpr char const* terminate_idle_sql = "SELECT pg_terminate_backend(a.pid)" LULL_BROKEN
                                           " WHERE a.state IN ('idle', 'idle in transaction',"
                                           " 'idle in transaction (aborted)')";

// Whose transaction ids are in use: the migration's ($2), Lull's other sessions' ($3) and all others.
constexpr char const* xids_sql =
    "SELECT a.backend_xid::text, a.pid = ANY ($2::int[]), " LULL_SESSION
    ", a.pid = ANY ($3::int[]), a.pid"
    " FROM pg_stat_activity a WHERE a.datname = ANY ($1::text[]) AND a.pid <> pg_backend_pid()"
    " AND a.backend_xid IS NOT NULL AND a.backend_type <> 'autovacuum worker'"
    " AND (a.pid = ANY ($2::int[]) OR a.pid = ANY ($3::int[])"
    " OR NOT (" LULL_HERE
    " AND a.backend_start > clock_timestamp() - $4::text::interval))"
    " UNION ALL SELECT p.transaction::text, false, format('prepared transaction %s of %s in %s', gid, owner, "
    "database), false, 0"
    " FROM pg_prepared_xacts p WHERE database = ANY ($1::text[]) LIMIT 200";

/// A transaction id with its epoch: the one nearest to the horizon of `snapshot`, "xmin:xmax:...".
std::uint64_t whole_xid(std::uint32_t xid, std::string const& snapshot) {
    std::size_t const colon = snapshot.find(':');
    if (colon == std::string::npos) return xid;
    std::uint64_t const horizon = std::strtoull(snapshot.c_str() + colon + 1, nullptr, 10);
    auto const away = static_cast<std::int32_t>(xid - static_cast<std::uint32_t>(horizon));
    return horizon + static_cast<std::uint64_t>(static_cast<std::int64_t>(away));
}

std::string in_milliseconds(std::chrono::milliseconds t) {
    return std::to_string(t.count()) + " milliseconds";
}

/// Whoever began within this may be Lull's own: the question names those that were told of when it was asked.
std::string told_within(primary_question const& question) {
    constexpr std::chrono::milliseconds until_told{2000};
    return in_milliseconds(until_told + std::chrono::duration_cast<std::chrono::milliseconds>(
                                            std::chrono::steady_clock::now() - question.asked));
}

std::string array_of(std::vector<std::uint32_t> const& numbers) {
    return fmt::format("{{{}}}", fmt::join(numbers, ","));
}

std::vector<std::uint32_t> with_control_pids(std::vector<std::uint32_t> pids, config::endpoint const& where) {
    for (std::uint32_t const pid : control_pids(where)) pids.push_back(pid);
    return pids;
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
    // One that is idle, in a transaction or not, only waits for what will never come, or comes too late.
    bool idle = false;
    for (int i = 0; i < r.rows(); ++i) idle = idle || r.text(i, 2).starts_with("idle");
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
    std::string const ours = array_of(with_control_pids(question.ours, where_));
    pg_result const writing = pg_query(connection_, outsiders_sql, {names, ours, told_within(question)});
    if (!writing.ok()) return writing.error();
    for (int i = 0; i < writing.rows(); ++i) seen.outsiders.push_back(writing.text(i, 0));
    pg_result const prepared = pg_query(connection_, prepared_sql, {names});
    if (!prepared.ok()) return prepared.error();
    for (int i = 0; i < prepared.rows(); ++i) seen.prepared.push_back(prepared.text(i, 0));
    seen.outsiders.insert(seen.outsiders.end(), seen.prepared.begin(), seen.prepared.end());
    pg_result const others = pg_query(connection_, bypassing_sql, {names, ours, told_within(question)});
    if (!others.ok()) return others.error();
    for (int i = 0; i < others.rows(); ++i) seen.bypassing.push_back(others.text(i, 0));
    return {};
}

std::string probe::look_for_leftovers(primary_question const& question, routing::event::primary_seen& seen) {
    if (!question.older_than) return {};
    auto const age = *question.older_than + std::chrono::duration_cast<std::chrono::milliseconds>(
                                                std::chrono::steady_clock::now() - question.asked);
    if (age < leftovers_settle) settled_.clear();
    pg_result const r = pg_query(connection_, leftovers_sql,
                                 {array_of(question.databases),
                                  array_of(with_control_pids(question.ours, where_)), in_milliseconds(age)});
    if (!r.ok()) return r.error();
    for (int i = 0; i < r.rows(); ++i) {
        std::string const name = r.text(i, 0);
        if (age >= leftovers_settle && r.text(i, 2) == "t") settled_.insert(name);
        if (!settled_.contains(name) && seen.leftovers.size() < most_leftovers)
            seen.leftovers.push_back(r.text(i, 1));
    }
    return {};
}

/// Ids as the server shows them, without their epoch: the horizon is not known yet.
std::string probe::look_for_xids(primary_question const& question, routing::event::primary_seen& seen) {
    pg_result const r = pg_query(connection_, xids_sql,
                                 {array_of(question.databases), array_of(question.migration),
                                  array_of(question.ours), told_within(question)});
    if (!r.ok()) return r.error();
    for (int i = 0; i < r.rows(); ++i) {
        bool const migration = r.text(i, 1) == "t";
        bool const own = r.text(i, 3) == "t" && !migration;
        auto const xid = static_cast<std::uint32_t>(std::strtoul(r.text(i, 0).c_str(), nullptr, 10));
        seen.xids.push_back({xid, migration, r.text(i, 2), own});
        if (own)
            seen.writing.push_back(
                {static_cast<std::uint32_t>(std::strtoul(r.text(i, 4).c_str(), nullptr, 10)), xid,
                 r.text(i, 2)});
    }
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
    pg_result const rights = pg_query(connection_, rights_sql);
    if (rights.rows() != 1) return failed(rights.error());
    if (rights.text(0, 0) != "t")
        return failure("the control role cannot see what others do there: GRANT pg_monitor TO \"" +
                       role_->user + "\"");
    routing::event::primary_seen seen;
    if (std::string const why = look_for_leftovers(question, seen); !why.empty()) return failed(why);
    if (std::string const why = look_for_broken(question, seen); !why.empty()) return failed(why);
    if (std::string const why = look_for_xids(question, seen); !why.empty()) return failed(why);
    // The position after the looks at who is left over and who writes: what they committed is below it.
    pg_result const position = pg_query(connection_, position_sql, {array_of(question.databases)});
    if (position.rows() != 1) return failed(position.error());
    if (position.text(0, 0) == "t") return failure("the primary is in recovery: it is a standby");
    seen.inserted = routing::without_page_header(position.lsn(0, 1), segment_bytes_);
    seen.flushed = position.lsn(0, 2);
    seen.horizon.snapshot = position.text(0, 3);
    seen.horizon.activity = {std::strtoll(position.text(0, 4).c_str(), nullptr, 10),
                             std::strtoll(position.text(0, 5).c_str(), nullptr, 10)};
    seen.horizon.server = server_identity();
    for (routing::xid_mark& m : seen.xids)
        m.xid = whole_xid(static_cast<std::uint32_t>(m.xid), seen.horizon.snapshot);
    if (std::string const why = look_for_outsiders(question, seen); !why.empty()) return failed(why);
    return seen;
}

}  // namespace lull
