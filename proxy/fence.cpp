#include "proxy/fence.hpp"

#include "proxy/session_sql.hpp"

#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <libpq-fe.h>

#include <algorithm>
#include <cstdlib>

namespace lull {

namespace {

// Of the site's databases ($1), and of those that the record names ($2), whatever they are called now: what
// is set for the database, and for each role that has a setting of its own, which would win.
// $3: superusers, too. One who was none when the fence went up still has it.
constexpr char const* settings_sql =
    "WITH s AS (SELECT setdatabase, setrole, split_part(c, '=', 2) AS value"
    " FROM pg_db_role_setting, unnest(setconfig) c WHERE split_part(c, '=', 1) = "
    "'default_transaction_read_only'),"
    " d AS (SELECT oid, datname FROM pg_database WHERE datname = ANY ($1::text[]) OR oid = ANY ($2::oid[]))"
    " SELECT d.datname, '', d.oid, 0, here.value, coalesce(here.value, everywhere.value, 'off')::boolean,"
    " coalesce(here.value::boolean, false)"
    " FROM d LEFT JOIN s here ON here.setdatabase = d.oid AND here.setrole = 0"
    " LEFT JOIN s everywhere ON everywhere.setdatabase = 0 AND everywhere.setrole = 0"
    " UNION ALL SELECT d.datname, r.rolname, d.oid, r.oid, here.value,"
    " coalesce(here.value, anywhere.value)::boolean, coalesce(here.value::boolean, false)"
    " FROM d CROSS JOIN pg_roles r LEFT JOIN s here ON here.setdatabase = d.oid AND here.setrole = r.oid"
    " LEFT JOIN s anywhere ON anywhere.setdatabase = 0 AND anywhere.setrole = r.oid"
    " WHERE coalesce(here.value, anywhere.value) IS NOT NULL AND ($3::boolean OR NOT r.rolsuper)"
    " ORDER BY 1, 2 LIMIT 5000";

constexpr char const* rights_sql =
    "SELECT pg_is_in_recovery(), pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),"
    " pg_has_role(current_user, 'pg_signal_backend', 'USAGE'),"
    " has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')"
    " FROM (VALUES (1)) one LEFT JOIN (pg_namespace n JOIN pg_proc p ON p.pronamespace = n.oid)"
    " ON n.nspname = 'lull' AND p.proname = 'set_read_only' AND p.pronargs = 3";

constexpr char const* set_sql = "SELECT lull.set_read_only($1::name, $2::name, nullif($3, ''))";

// Sessions past Lull of anybody but superusers; also those that replicate from one of the databases, for they can run
// SQL: whoever subscribes comes again. Those from before $3, and while $5 those that write in spite of
// the fence, are ended, but for a young one from Lull's own address: it may be one that it has just opened and
// not told of.
#define LULL_PAST                                                                               \
    " FROM pg_stat_activity a WHERE a.datname = ANY ($1::text[]) AND a.pid <> pg_backend_pid()" \
    " AND a.pid <> ALL ($2::int[]) AND a.backend_type IN ('client backend', 'walsender')"       \
    " AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = a.usesysid AND r.rolsuper)"
constexpr char const* end_sql =
    "SELECT " LULL_SESSION ", pg_terminate_backend(a.pid)" LULL_PAST
    " AND (a.backend_start <= $3::timestamptz OR ($5::boolean AND a.backend_xid IS NOT NULL))"
    " AND NOT (" LULL_HERE " AND a.backend_start > clock_timestamp() - $4::text::interval)";
constexpr char const* left_sql =
    "SELECT " LULL_SESSION LULL_PAST " AND a.backend_start <= $3::timestamptz LIMIT 20";

std::uint32_t oid_of(std::string const& text) {
    return static_cast<std::uint32_t>(std::strtoul(text.c_str(), nullptr, 10));
}

bool same(routing::fence_setting const& a, routing::fence_setting const& b) {
    return a.database_oid == b.database_oid && a.role_oid == b.role_oid;
}

}  // namespace

fence_keeper::fence_keeper(boost::asio::io_context& io, config::endpoint primary, config::login_role role,
                           config::server_tls tls)
    : io_(io), primary_(std::move(primary)), role_(std::move(role)), tls_(std::move(tls)), thread_([this] {
          run();
      }) {}

fence_keeper::~fence_keeper() {
    *alive_ = false;
    {
        std::lock_guard const lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
    if (connection_) pg_close(connection_);
}

void fence_keeper::ask(fence_question question, std::function<void(answer)> then) {
    {
        std::lock_guard const lock(mutex_);
        jobs_.push_back({std::move(question), std::move(then)});
    }
    wake_.notify_all();
}

void fence_keeper::run() {
    for (;;) {
        job todo;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
            if (stop_) return;
            todo = std::move(jobs_.front());
            jobs_.pop_front();
        }
        answer known = carry_out(todo.question);
        // A connection that is not sound is not used again: what was under way on it is undone with it.
        if (connection_ &&
            (PQstatus(connection_) != CONNECTION_OK || PQtransactionStatus(connection_) != PQTRANS_IDLE)) {
            pg_close(connection_);
            connection_ = nullptr;
        }
        boost::asio::post(io_, [alive = alive_, then = std::move(todo.then), known = std::move(known)] {
            if (*alive) then(known);
        });
    }
}

order_failure fence_keeper::failure(std::string what) const {
    return {.error = std::move(what), .fix = {}, .rights = false};
}

order_failure fence_keeper::rights_failure(std::string what) const {
    return {.error = std::move(what),
            .fix = fmt::format(
                "run deploy/fence-role.sql in database \"{}\" of the primary, which gives the role \"{}\" "
                "what it needs; or go without: `fence: wanted` or `fence: off` for the site",
                role_.database, role_.user),
            .rights = true};
}

order_failure fence_keeper::failure(pg_result const& of) const {
    return of.sqlstate() == "42501" ? rights_failure(of.error()) : failure(of.error());
}

fence_keeper::answer fence_keeper::carry_out(fence_question const& question) {
    if (!pg_usable(connection_)) {
        if (connection_) pg_close(connection_);
        std::string error;
        connection_ = pg_connect(primary_, role_, tls_, error);
        if (!connection_) return failure(error);
        if (pg_result const r = pg_query(connection_, "SET default_transaction_read_only = off"); !r.ok()) {
            pg_close(connection_);
            connection_ = nullptr;
            return failure(r);
        }
    }
    if (auto failed = look_at_rights()) return *std::move(failed);
    std::vector<found_setting> found;
    if (auto failed = look(question, found)) return *std::move(failed);
    switch (question.order) {
        case routing::effect::fence_order::raise:
            return raise(question, found);
        case routing::effect::fence_order::lower:
        case routing::effect::fence_order::lower_unsure:
            return lower(question, found);
    }
    std::abort();
}

/// Asked for first: without them sessions are not seen, and nobody would know.
fence_keeper::trouble fence_keeper::look_at_rights() {
    pg_result const r = pg_query(connection_, rights_sql);
    if (r.rows() != 1) return failure(r);
    if (r.text(0, 0) == "t") return failure("the primary is in recovery: it is a standby");
    if (r.text(0, 1) != "t")
        return rights_failure(fmt::format("the role \"{}\" may not see sessions (pg_monitor)", role_.user));
    if (r.text(0, 2) != "t")
        return rights_failure(
            fmt::format("the role \"{}\" may not end sessions (pg_signal_backend)", role_.user));
    if (r.null(0, 3))
        return rights_failure(fmt::format(
            "there is no function lull.set_read_only(name, name, text) in database \"{}\"", role_.database));
    if (r.text(0, 3) != "t")
        return rights_failure(
            fmt::format("the role \"{}\" may not call lull.set_read_only(name, name, text)", role_.user));
    return std::nullopt;
}

fence_keeper::trouble fence_keeper::look(fence_question const& question, std::vector<found_setting>& found) {
    std::string oids;
    for (routing::fence_setting const& s : question.settings)
        oids += (oids.empty() ? "" : ",") + std::to_string(s.database_oid);
    pg_result const r = pg_query(connection_, settings_sql,
                                  {array_of(question.databases), "{" + oids + "}",
                                   question.order == routing::effect::fence_order::raise ? "off" : "on"});
    if (!r.ok()) return failure(r);
    for (int i = 0; i < r.rows(); ++i) {
        found_setting f;
        f.setting.database = r.text(i, 0);
        f.setting.role = r.text(i, 1);
        f.setting.database_oid = oid_of(r.text(i, 2));
        f.setting.role_oid = oid_of(r.text(i, 3));
        if (!r.null(i, 4)) f.setting.before = r.text(i, 4);
        f.setting.read_only = r.text(i, 5) == "t";
        f.on = r.text(i, 6) == "t";
        found.push_back(std::move(f));
    }
    return std::nullopt;
}

/// All of them or none.
fence_keeper::trouble fence_keeper::make(std::vector<change> const& changes) {
    if (changes.empty()) return std::nullopt;
    pg_result const begun = pg_query(connection_, "BEGIN");
    if (!begun.ok()) return failure(begun);
    for (change const& c : changes) {
        pg_result const r =
            pg_query(connection_, set_sql, {c.what->database, c.what->role, c.value.value_or(std::string())});
        if (r.ok()) continue;
        order_failure failed = failure(r);
        failed.error = routing::alter(*c.what, c.value) + ": " + failed.error;
        pg_query(connection_, "ROLLBACK");
        return failed;
    }
    pg_result const done = pg_query(connection_, "COMMIT");
    if (!done.ok()) return failure(done);
    return std::nullopt;
}

fence_keeper::trouble fence_keeper::ask_the_time(std::string& to) {
    pg_result const now = pg_query(connection_, "SELECT clock_timestamp()");
    if (now.rows() != 1) return failure(now);
    to = now.text(0, 0);
    return std::nullopt;
}

fence_keeper::answer fence_keeper::raise(fence_question const& question,
                                         std::vector<found_setting> const& found) {
    routing::event::fence_seen seen;
    std::vector<change> changes;
    for (found_setting const& f : found) {
        bool const known = std::any_of(question.settings.begin(), question.settings.end(),
                                       [&](auto const& s) { return same(s, f.setting); });
        if (!known)
            seen.unknown.push_back(f.setting);
        else if (!f.on)
            changes.push_back({&f.setting, "on"});
    }
    for (std::string const& database : question.databases)
        if (std::none_of(found.begin(), found.end(),
                         [&](auto const& f) { return f.setting.database == database; }))
            return failure(fmt::format("there is no database \"{}\"", database));
    if (!seen.unknown.empty()) return seen;
    if (auto failed = make(changes)) return *std::move(failed);
    seen.changed = !changes.empty();
    lowered_at_.erase(question.databases);
    std::string& since = raised_at_[question.databases];
    if (seen.changed || since.empty())
        if (auto failed = ask_the_time(since)) return *std::move(failed);
    if (auto failed = end_sessions(question, since, writers::ended, seen)) return *std::move(failed);
    return seen;
}

/// What somebody else has set since stays as it is.
fence_keeper::answer fence_keeper::lower(fence_question const& question,
                                         std::vector<found_setting> const& found) {
    routing::event::fence_seen seen;
    std::vector<change> changes;
    for (routing::fence_setting const& recorded : question.settings) {
        auto at = std::find_if(found.begin(), found.end(),
                               [&](auto const& f) { return same(f.setting, recorded); });
        // Restored from a dump, it has the same name and another number.
        if (at == found.end())
            at = std::find_if(found.begin(), found.end(), [&](auto const& f) {
                return f.setting.database == recorded.database && f.setting.role == recorded.role;
            });
        if (at == found.end() || !at->on || at->setting.before == recorded.before) continue;
        changes.push_back({&at->setting, recorded.before});
    }
    if (auto failed = make(changes)) return *std::move(failed);
    raised_at_.erase(question.databases);
    seen.changed = !changes.empty();
    // Whoever came in while the fence was up would have it as long as he stays.
    std::string& since = lowered_at_[question.databases];
    bool const perhaps = question.order == routing::effect::fence_order::lower_unsure && since.empty();
    if (seen.changed || perhaps)
        if (auto failed = ask_the_time(since)) return *std::move(failed);
    if (!since.empty())
        if (auto failed = end_sessions(question, since, writers::left, seen)) return *std::move(failed);
    if (seen.left.empty()) lowered_at_.erase(question.databases);
    return seen;
}

fence_keeper::trouble fence_keeper::end_sessions(fence_question const& question,
                                                 std::string const& began_before, writers young_ones,
                                                 routing::event::fence_seen& seen) {
    constexpr std::chrono::milliseconds until_told{2000};
    auto const young = until_told + std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::steady_clock::now() - question.asked);
    std::vector<std::uint32_t> ours = question.ours;
    for (std::uint32_t const pid : control_pids(primary_)) ours.push_back(pid);
    std::string const databases = array_of(question.databases);
    std::string const own = fmt::format("{{{}}}", fmt::join(ours, ","));
    pg_result const ended =
        pg_query(connection_, end_sql,
                 {databases, own, began_before, std::to_string(young.count()) + " milliseconds",
                  young_ones == writers::ended ? "on" : "off"});
    if (!ended.ok()) return failure(ended);
    for (int i = 0; i < ended.rows(); ++i) seen.ended.push_back(ended.text(i, 0));
    pg_result const left = pg_query(connection_, left_sql, {databases, own, began_before});
    if (!left.ok()) return failure(left);
    for (int i = 0; i < left.rows(); ++i) seen.left.push_back(left.text(i, 0));
    return std::nullopt;
}

}  // namespace lull
