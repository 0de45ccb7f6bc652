#include "proxy/journal_rights.hpp"

#include "proxy/log.hpp"

#include <utility>

namespace lull {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds connecting{3000};
// So long a right that is missing, or a primary that cannot be asked, is not asked for again.
constexpr milliseconds again_after{5000};
constexpr std::size_t most_expected = 200;
// Beyond it those of the login role alone are looked at.
constexpr std::size_t most_standings = 10'000;

// What journal_replay_core asks, as the role whose writes it runs.
constexpr char const* rights_sql =
    "SELECT pg_catalog.string_agg(f, ', ') OPERATOR(pg_catalog.||) ' TO ' OPERATOR(pg_catalog.||)"
    " pg_catalog.quote_ident(current_user) FROM pg_catalog.unnest(ARRAY["
    "'pg_catalog.pg_control_system()', 'pg_catalog.pg_walfile_name(pg_catalog.pg_lsn)',"
    " 'pg_catalog.pg_current_wal_insert_lsn()', 'pg_catalog.pg_current_xact_id()',"
    " 'pg_catalog.pg_xact_status(pg_catalog.xid8)', 'pg_catalog.pg_current_wal_flush_lsn()']) AS f WHERE NOT"
    " COALESCE(pg_catalog.has_function_privilege(pg_catalog.to_regprocedure(f), 'EXECUTE'), false)";

/// The server knows this role, and says that it cannot come in.
bool is_refused(std::string_view sqlstate) {
    return sqlstate.starts_with("28") || sqlstate == "3D000" || sqlstate == "42501";
}

}  // namespace

journal_rights::journal_rights() : thread_([this] { run(); }) {}

journal_rights::~journal_rights() {
    {
        std::lock_guard const lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

void journal_rights::enqueue(question q, eagerness how) {
    jobs_.push_back({std::move(q), how});
    wake_.notify_one();
}

journal_rights::standing& journal_rights::standing_of(question& q) {
    if (auto const at = standings_.find({q.site, q.database, q.user, q.roles}); at != standings_.end()) return at->second;
    if (standings_.size() >= most_standings) q.roles.clear();
    return standings_[{q.site, q.database, q.user, q.roles}];
}

void journal_rights::ask(question q, then known) {
    std::string why_not;
    {
        std::lock_guard const lock(mutex_);
        standing& s = standing_of(q);
        bool const stale = !s.known || steady_clock::now() - s.asked > again_after;
        if (stale) {
            s.waiting.push_back(std::move(known));
            if (!std::exchange(s.asking, true)) enqueue(std::move(q), eagerness::wanted);
            return;
        }
        why_not = s.why_not;
    }
    known(why_not);
}

void journal_rights::expect(question q) {
    std::lock_guard const lock(mutex_);
    if (jobs_.size() >= most_expected) return;  // they are asked for when they come
    if (!std::exchange(standing_of(q).asking, true))
        enqueue(std::move(q), eagerness::expected);
}

void journal_rights::forget(routing::site_id site) {
    std::lock_guard const lock(mutex_);
    for (auto& [key, s] : standings_) {
        if (key.site != site) continue;
        s.known = false;
        s.why_not.clear();
    }
}

std::vector<std::string> journal_rights::problems(routing::site_id site) const {
    std::lock_guard const lock(mutex_);
    std::vector<std::string> out;
    for (auto const& [key, s] : standings_)
        if (key.site == site && !s.why_not.empty())
            out.push_back("writes of " + key.user + (key.roles.empty() ? "" : " (" + key.roles.front() + ")") + " in " +
                          key.database + " are refused: " + s.why_not);
    return out;
}

void journal_rights::run() {
    for (;;) {
        job next;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
            if (stop_) return;
            next = std::move(jobs_.front());
            jobs_.pop_front();
        }
        question& q = next.what;
        finding const found = look(q);
        std::vector<then> waiting;
        {
            std::lock_guard const lock(mutex_);
            standing& s = standing_of(q);
            waiting = std::exchange(s.waiting, {});
            s.asking = false;
            s.known = found.logged_in || !waiting.empty();
            std::string const why_not = s.known && found.reached ? found.why_not : std::string();
            // A right that is there is there for the window; all else may be otherwise in a moment.
            s.asked = found.reached && why_not.empty() ? routing::instant::max() : steady_clock::now();
            if (!why_not.empty() && why_not != s.why_not)
                log::error("site {}: nothing of {} in {} is journaled, because it could not be run: {}", q.site_name,
                           q.user, q.database, why_not);
            s.why_not = why_not;
        }
        for (then const& known : waiting) known(found.why_not);
    }
}

journal_rights::finding journal_rights::look(question const& q) {
    replay_connection writes{stop_}, flushes{stop_};
    auto const until = steady_clock::now() + connecting;
    for (replay_connection* one : {&writes, &flushes}) {
        replay_login const login = one->connect(q.primary, q.user, q.database, q.credentials, until);
        if (login.what == replay_login::result::in) continue;
        std::string const why = "it may not log in to the primary: " + login.message;
        if (is_refused(login.sqlstate)) return {true, false, why};
        if (login.sqlstate == "53300")
            return {true, true, "two connections of it are needed to run the journal: " + login.message};
        return {.reached = false};
    }
    for (std::string const& sql : q.roles) {
        replay_answer const a = writes.query(sql, until);
        if (a.lost) return {.reached = false};
        if (!a.ok()) return {true, true, sql + " fails there: " + a.sqlstate + " " + a.message};
    }
    replay_answer const a = writes.query(rights_sql, until);
    if (a.lost) return {.reached = false};
    if (!a.ok()) return {true, true, "its rights cannot be asked for: " + a.sqlstate + " " + a.message};
    if (!a.value) return {};
    return {true, true,
            "it may not call what the replay has to. As a superuser in " + q.database +
                ": GRANT EXECUTE ON FUNCTION " + *a.value};
}

}  // namespace lull
