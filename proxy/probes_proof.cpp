// What the server can tell afterwards of the transactions of a window.
#include "proxy/pg_query.hpp"
#include "proxy/probes.hpp"

#include <boost/asio/post.hpp>
#include <libpq-fe.h>

namespace lull {

namespace {

// Each costs the server about a microsecond and a page of pg_xact or pg_commit_ts.
constexpr std::uint64_t most_ids = 500'000;
constexpr int most_listed = 10'000;

// $1: the snapshot at sealing, $2: at the end, or empty for now. Ids of the window: given out since the
// first, or in use then.
#define LULL_WINDOW                                        \
    "WITH w AS MATERIALIZED (SELECT $1::pg_snapshot AS a," \
    " coalesce(nullif($2, '')::pg_snapshot, pg_current_snapshot()) AS b) "

constexpr char const* size_sql = LULL_WINDOW
    "SELECT pg_snapshot_xmax(b)::text::bigint - pg_snapshot_xmax(a)::text::bigint"
    " + (SELECT count(*) FROM pg_snapshot_xip(a)), current_setting('track_commit_timestamp') = 'on',"
    " pg_snapshot_xmax(b) < pg_snapshot_xmax(a)"
    " OR pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax(b) FROM w";

#define LULL_IDS                                                                                     \
    LULL_WINDOW                                                                                      \
    ", x AS (SELECT n::text::xid8 AS xid FROM w, generate_series(pg_snapshot_xmax(a)::text::bigint," \
    " pg_snapshot_xmax(b)::text::bigint - 1) n UNION SELECT i FROM w, pg_snapshot_xip(a) i),"        \
    " s AS MATERIALIZED (SELECT xid, CASE WHEN pg_visible_in_snapshot(xid, b)"                       \
    " THEN coalesce(pg_xact_status(xid), 'unknown') ELSE 'in progress' END AS status FROM x, w) "

constexpr char const* committed_sql =
    LULL_IDS "SELECT xid::text, '' FROM s WHERE status = 'committed' ORDER BY xid LIMIT 10000";
constexpr char const* committed_when_sql = LULL_IDS
    "SELECT xid::text, to_char(pg_xact_commit_timestamp(xid::xid) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US\"Z\"')"
    " FROM s WHERE status = 'committed' ORDER BY xid LIMIT 10000";
constexpr char const* others_sql = LULL_IDS
    "SELECT count(*) FILTER (WHERE status = 'unknown'), count(*) FILTER (WHERE status = 'in progress') FROM "
    "s";
constexpr char const* activity_sql =
    "SELECT coalesce(sum(xact_commit), 0), coalesce(sum(tup_inserted + tup_updated + tup_deleted), 0)"
    " FROM pg_stat_database WHERE datname = ANY ($1::text[])";

constexpr char const* identity_sql =
    "SELECT system_identifier || ', timeline '"
    " || ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int FROM "
    "pg_control_system()";

std::int64_t number(pg_result const& r, int column) {
    return std::strtoll(r.text(0, column).c_str(), nullptr, 10);
}

}  // namespace

void probe::ask_window(std::vector<std::string> databases, routing::window_facts facts,
                       std::function<void(routing::window_evidence)> then) {
    post_job([this, databases = std::move(databases), facts = std::move(facts), then = std::move(then)] {
        routing::window_evidence evidence = do_window(databases, facts);
        boost::asio::post(io_, [alive = alive_, then, evidence = std::move(evidence)] {
            if (*alive) then(evidence);
        });
    });
}

std::string probe::server_identity() {
    // By itself: where a provider keeps pg_control_system() from the role, all else must still work.
    pg_result const r = pg_query(connection_, identity_sql);
    return r.rows() == 1 ? r.text(0, 0) : std::string();
}

routing::window_evidence probe::do_window(std::vector<std::string> const& databases,
                                          routing::window_facts const& facts) {
    routing::window_evidence out;
    auto const failed = [&](std::string const& why) {
        if (connection_ && PQstatus(connection_) != CONNECTION_OK) disconnect();
        out.trouble = why;
        return out;
    };
    if (!role_) return failed("no control role is configured for the cluster");
    if (!connect(out.trouble)) return out;
    std::vector<std::string> const span{facts.at_sealing.snapshot, facts.over ? facts.at_end.snapshot : ""};
    pg_result const size = pg_query(connection_, size_sql, span);
    if (size.rows() != 1) return failed(size.error());
    out.server = server_identity();
    out.behind = size.text(0, 2) == "t";
    if (out.behind) return out;
    out.ids = static_cast<std::uint64_t>(number(size, 0));
    out.timestamps = size.text(0, 1) == "t";
    out.too_many = out.ids > most_ids;
    if (!out.too_many) {
        pg_result const committed =
            pg_query(connection_, out.timestamps ? committed_when_sql : committed_sql, span);
        if (!committed.ok()) return failed(committed.error());
        out.too_many = committed.rows() >= most_listed;
        for (int i = 0; i < committed.rows(); ++i)
            out.committed.push_back({std::strtoull(committed.text(i, 0).c_str(), nullptr, 10),
                                     committed.null(i, 1) ? "" : committed.text(i, 1)});
        pg_result const others = pg_query(connection_, others_sql, span);
        if (others.rows() != 1) return failed(others.error());
        out.unknown = static_cast<std::size_t>(number(others, 0));
        out.unfinished = static_cast<std::size_t>(number(others, 1));
    }
    pg_result const activity = pg_query(connection_, activity_sql, {array_of(databases)});
    if (activity.rows() != 1) return failed(activity.error());
    out.activity = {number(activity, 0), number(activity, 1)};
    return out;
}

}  // namespace lull
