#include "proxy/journal_replay.hpp"

#include "routing/break_points.hpp"

namespace lull {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds between_tries{250};
constexpr milliseconds connecting{5000};
constexpr int most_tries = 5;
// Of the time without progress after which all is given up: how long one entry alone may meet a failing server.
constexpr int parts_for_one = 10;

// As its client's session would not have it: read-only by the role's settings, or with limits for a server that
// somebody waits for. How long it may take is bounded by the replay itself.
constexpr std::string_view begin_entry =
    "BEGIN READ WRITE; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; "
    "SET LOCAL idle_in_transaction_session_timeout = 0";

// What ask_origin() needs.
constexpr char const* needed_grant =
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system(), pg_catalog.pg_walfile_name(pg_lsn), "
    "pg_catalog.pg_current_wal_insert_lsn() TO PUBLIC";

/// The statement is not to blame: the same may succeed in a moment.
bool is_of_the_moment(std::string_view sqlstate) {
    return sqlstate == "40001" || sqlstate == "40P01" || sqlstate == "55P03" || sqlstate == "57014";
}
/// The server is not as it should be, or ends: nothing is known about the statement.
bool is_of_the_server(std::string_view sqlstate) {
    return sqlstate.starts_with("57P") || sqlstate.starts_with("08") || sqlstate.starts_with("53") ||
           sqlstate == "25006";
}

}  // namespace

journal_replay::journal_replay(journals& books, job what, std::function<void(replay_report)> over)
    : books_(books),
      job_(std::move(what)),
      over_(std::move(over)),
      until_(std::chrono::steady_clock::now() + job_.timeout),
      intent_(job_.contents.intent) {
    report_.left = job_.contents.pending();
    // A process before us may have come this far.
    for (auto const& [number, verdict] : job_.contents.verdicts) count(verdict.result);
    thread_ = std::thread([this] { run(); });
}

journal_replay::~journal_replay() {
    stop_ = true;
    thread_.join();
}

replay_report journal_replay::progress() const {
    std::lock_guard const lock(mutex_);
    return report_;
}

void journal_replay::run() {
    for (journal_entry const& entry : job_.contents.entries) {
        if (job_.contents.verdicts.contains(entry.number)) continue;
        tries_ = 0;
        trouble_ = {};
        step next = step::again;
        while (next == step::again && !stop_)
            next = intent_ && intent_->number == entry.number && !broken("blind_replay") ? find_out(entry, *intent_)
                                                                                         : run_one(entry);
        if (next == step::give_up || stop_) break;
        if (broken("replayed_twice", 5)) run_one(entry);
    }
    if (stop_) return;
    std::string const problem = books_.record(job_.site, {}, true);
    if (!problem.empty()) {
        std::lock_guard const lock(mutex_);
        report_.problem = problem;
    }
    connection_.close();
    second_.close();
    over_(progress());
}

/// The server, or something else that entries are not to blame for, is in the way.
journal_replay::step journal_replay::wait(std::string problem) {
    {
        std::lock_guard const lock(mutex_);
        report_.problem = std::move(problem);
    }
    auto const next = std::chrono::steady_clock::now() + between_tries;
    if (next > until_) return step::give_up;
    while (!stop_ && std::chrono::steady_clock::now() < next) std::this_thread::sleep_for(milliseconds(20));
    return step::again;
}

journal_replay::step journal_replay::settle(journal_entry const& entry, journal_result result,
                                            std::string sqlstate, std::string message) {
    std::string bytes;
    write_verdict(bytes, {entry.number, result, std::move(sqlstate), std::move(message)});
    // It is flushed with the next intent. Until then the intent before it tells the same.
    if (std::string const problem = books_.record(job_.site, bytes, false); !problem.empty())
        return wait(problem);
    intent_.reset();
    // Not where the server failed: with it out of order, each of many would take its time before all is given up.
    if (!(result == journal_result::failed && trouble_.times >= most_tries))
        until_ = std::chrono::steady_clock::now() + job_.timeout;
    std::lock_guard const lock(mutex_);
    --report_.left;
    report_.problem.clear();
    count(result);
    return step::settled;
}

void journal_replay::count(journal_result result) {
    switch (result) {
        case journal_result::done:
            ++report_.done;
            break;
        case journal_result::differs:
            ++report_.done;
            ++report_.differs;
            break;
        case journal_result::failed:
            ++report_.failed;
            break;
        case journal_result::unknown:
            ++report_.unknown;
            break;
    }
}

/// A connection as the entry's user with the settings of its session. False: wait() has been told.
bool journal_replay::prepare(journal_entry const& e) {
    std::string const as = e.database + '\0' + e.user;
    auto fail = [&](std::string problem) {
        connection_.close();
        std::lock_guard const lock(mutex_);
        report_.problem = std::move(problem);
        return false;
    };
    if (!connection_.open() || connected_as_ != as) {
        auto const credentials = job_.credentials(e.user);
        if (!credentials)
            return fail(
                "the password of role \"" + e.user +
                "\" is not known: it has to log in through Lull once, or needs a password under users");
        second_.close();
        std::string const why =
            connection_.connect(job_.primary, e.user, e.database, *credentials,
                                std::min(until_, std::chrono::steady_clock::now() + connecting));
        if (!why.empty()) return fail("no connection to the primary as " + e.user + ": " + why);
        connected_as_ = as;
        made_.clear();
        dirty_ = false;
    }
    if (made_ == e.settings && !dirty_) return true;
    made_.clear();
    if (!connection_.query("DISCARD ALL", until_).ok()) return fail("the connection to the primary broke");
    dirty_ = false;
    return true;
}

/// What the server has in memory of the transaction goes to its disk: after a crash of the server its id is
/// not given to another one, whose fate would be taken for this one's.
bool journal_replay::flush_log(journal_entry const& e) {
    if (!second_.open()) {
        auto const credentials = job_.credentials(e.user);
        if (!credentials || !second_
                                 .connect(job_.primary, e.user, e.database, *credentials,
                                          std::min(until_, std::chrono::steady_clock::now() + connecting))
                                 .empty())
            return false;
        if (!second_.query("SET synchronous_commit TO on", until_).ok()) return false;
    }
    answer const a =
        second_.query("SELECT pg_catalog.pg_logical_emit_message(true, 'lull', 'journal')", until_);
    if (a.ok()) return true;
    if (a.lost) return false;
    // It may not be called here: the server flushes by itself within its wal_writer_delay.
    if (!second_.query("SELECT pg_catalog.pg_current_xact_id()", until_).ok()) return false;
    answer const end = second_.query("SELECT pg_catalog.pg_current_wal_insert_lsn()", until_);
    while (!stop_ && end.ok() && end.value && std::chrono::steady_clock::now() < until_) {
        answer const flushed =
            second_.query("SELECT pg_catalog.pg_current_wal_flush_lsn() OPERATOR(pg_catalog.>=) '" +
                              *end.value + "'::pg_lsn",
                          until_);
        if (!flushed.ok()) return false;
        if (flushed.value == "t") return true;
        std::this_thread::sleep_for(milliseconds(20));
    }
    return false;
}

void journal_replay::note_trouble(answer const& a) {
    if (trouble_.times++ == 0) trouble_.since = std::chrono::steady_clock::now();
    trouble_.last = a;
}

/// The entry met a failing server often and long enough, while this new connection to it says that it is well:
/// the entry is what is wrong (a trigger that raises such an error, or ends its backend), and others must not
/// wait for it.
bool journal_replay::is_poison() {
    if (trouble_.times < most_tries ||
        std::chrono::steady_clock::now() - trouble_.since < job_.timeout / parts_for_one)
        return false;
    answer const a = connection_.query("SELECT pg_catalog.pg_is_in_recovery()", until_);
    return a.ok() && a.value == "f";
}

journal_replay::step journal_replay::server_failed(journal_entry const& entry, answer const& a, blame whose) {
    if (a.lost || is_of_the_server(a.sqlstate)) {
        connection_.close();
        note_trouble(a);
        return wait(a.lost ? "the connection to the primary broke" : a.message);
    }
    if (!connection_.query("ROLLBACK", until_).ok()) connection_.close();
    if (is_of_the_moment(a.sqlstate) && ++tries_ < most_tries) return wait(a.message);
    if (whose == blame::lull && !is_of_the_moment(a.sqlstate))
        return wait("what Lull itself has to ask the primary, as " + entry.user + " in " + entry.database +
                    ", failed: " + (a.sqlstate.empty() ? "no answer" : a.sqlstate + " " + a.message) +
                    (a.sqlstate == "42501" ? std::string(". As a superuser there: ") + needed_grant : ""));
    return settle(entry, journal_result::failed, a.sqlstate, a.message);
}

journal_replay::step journal_replay::run_one(journal_entry const& e) {
    if (!prepare(e)) return wait(problem());
    if (is_poison())
        return settle(e, journal_result::failed, trouble_.last.lost ? "08006" : trouble_.last.sqlstate,
                      trouble_.last.lost ? "each time the connection to the primary broke while it ran"
                                         : trouble_.last.message);
    dirty_ = true;  // until COMMIT
    if (made_ != e.settings) {
        for (std::string const& sql : e.settings)
            if (answer const a = connection_.query(sql, until_); !a.ok())
                return server_failed(e, a, blame::entry);
        made_ = e.settings;
    }
    if (answer const a = connection_.query(begin_entry, until_); !a.ok())
        return server_failed(e, a, blame::lull);
    answer const ran = connection_.run(e, until_);
    if (!ran.ok()) return server_failed(e, ran, blame::entry);
    ran_as_ = ran.tag;
    // A session may have asked for commits that a crash can lose; this one must not be.
    answer const x = connection_.query(
        "SELECT pg_catalog.set_config('synchronous_commit', CASE "
        "pg_catalog.current_setting('synchronous_commit') "
        "WHEN 'off' THEN 'on' ELSE pg_catalog.current_setting('synchronous_commit') END, true);"
        "SELECT 1",
        until_);
    if (!x.ok()) return server_failed(e, x, blame::lull);
    answer const xid = connection_.query("SELECT pg_catalog.pg_current_xact_id()::text", until_);
    if (!xid.ok() || !xid.value) return server_failed(e, xid, blame::lull);
    answer const origin = ask_origin();
    if (!origin.ok() || !origin.value) return server_failed(e, origin, blame::lull);
    if (!flush_log(e)) {
        second_.close();
        connection_.close();
        return wait("the primary did not flush its log");
    }
    return commit(e, {e.number, *xid.value, *origin.value});
}

/// Where transaction ids mean what they do: a promoted standby goes on with the same ones on another
/// timeline.
journal_replay::answer journal_replay::ask_origin() {
    return connection_.query(
        "SELECT system_identifier || '/' || "
        "pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) "
        "FROM pg_catalog.pg_control_system()",
        until_);
}

journal_replay::step journal_replay::commit(journal_entry const& e, journal_intent intent) {
    std::string bytes;
    write_intent(bytes, intent);
    if (std::string const problem = books_.record(job_.site, bytes, true); !problem.empty()) {
        connection_.close();
        return wait(problem);
    }
    intent_ = std::move(intent);
    answer const a = connection_.query("COMMIT", until_);
    if (a.ok() && a.tag == "COMMIT") {
        dirty_ = false;
        if (ran_as_ == e.tag) return settle(e, journal_result::done);
        return settle(e, journal_result::differs, "02000",
                      "its client was told " + e.tag + ", and it was " + ran_as_);
    }
    if (a.lost || is_of_the_server(a.sqlstate)) {
        connection_.close();
        note_trouble(a);
        return wait("the connection to the primary broke while a COMMIT was on its way");
    }
    intent_.reset();  // it has failed for certain, and nothing of it is there
    if (is_of_the_moment(a.sqlstate) && ++tries_ < most_tries) return wait(a.message);
    return settle(e, journal_result::failed, a.sqlstate, a.message);
}

/// Its COMMIT was on its way: did it happen?
journal_replay::step journal_replay::find_out(journal_entry const& e, journal_intent const& intent) {
    if (!prepare(e)) return wait(problem());
    answer const origin = ask_origin();
    if (!origin.ok() || !origin.value) {
        connection_.close();
        return wait(origin.lost ? "the connection to the primary broke" : origin.message);
    }
    std::string const xid = intent.xid;
    if (*origin.value != intent.origin)
        return settle(
            e, journal_result::unknown, "08007",
            "the primary was replaced by another server, or by itself at another point in time, while "
            "transaction " +
                xid + " was being committed");
    answer const a = connection_.query("SELECT pg_catalog.pg_xact_status('" + xid + "'::xid8)", until_);
    if (a.ok() && a.value == "committed") return settle(e, journal_result::done);
    if (a.ok() && a.value == "in progress") return wait("transaction " + xid + " is still being committed");
    // Aborted; or its id was never on the server's disk, and so neither was its commit.
    if ((a.ok() && a.value == "aborted") || a.sqlstate == "22023") {
        intent_.reset();
        return step::again;
    }
    if (a.ok())
        return settle(e, journal_result::unknown, "08007",
                      "the server no longer knows whether transaction " + xid + " was committed");
    connection_.close();
    return wait(a.lost ? "the connection to the primary broke" : a.message);
}

}  // namespace lull
