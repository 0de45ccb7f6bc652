// What the replay makes of logins, errors and COMMITs: whose fault it is, what may be tried again, and what became of an
// entry.
#include "proxy/journal_replay_core.hpp"
#include "routing/break_points.hpp"

#include <utility>

namespace lull {

namespace {

constexpr int most_tries = 5;
// Of the time without progress after which all is given up: how long one entry alone may meet a failing server.
constexpr int parts_for_one = 10;

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
/// The server lives, and has nothing against anybody but this role: it, its password or its database is gone.
bool keeps_role_out(std::string_view sqlstate) {
    return sqlstate.starts_with("28") || sqlstate == "3D000" || sqlstate == "42501";
}

}  // namespace

void journal_replay_core::connected(replay_login const& login, routing::instant now) {
    now_ = now;
    if (login.what != replay_login::result::in) return login_failed(login);
    if (at_ == at::flush_connect) {
        flushes_as_ = who();
        at_ = at::flush_settings;
        return;
    }
    logged_in_as_ = who();
    barred_.erase(logged_in_as_);
    if (keeps_role_out(trouble_.last.sqlstate)) trouble_ = {};
    origin_.clear();
    made_.clear();
    dirty_ = false;
    at_ = at::limits;
}

void journal_replay_core::login_failed(replay_login const& login) {
    lost();
    if (login.what == replay_login::result::no_credentials)
        return wait("the password of role \"" + entry().user +
                        "\" is not known: it has to log in through Lull once, or needs a password under users",
                    then::hang_up);
    if (keeps_role_out(login.sqlstate)) {
        note_trouble({.sqlstate = login.sqlstate, .message = login.message});
        if (had_its_time() || barred_.contains(who())) {
            barred_.insert(who());
            if (in_doubt())
                return settle(journal_result::unknown, login.sqlstate,
                              "nobody could ask whether transaction " + intent_->xid +
                                  " was committed: " + login.message);
            return settle(journal_result::failed, login.sqlstate, login.message);
        }
    }
    wait("no connection to the primary as " + entry().user + ": " + login.message, then::hang_up);
}

/// Where it may not be called here: the server flushes by itself within its wal_writer_delay.
void journal_replay_core::flush_refused(replay_answer const& a) {
    if (a.lost || is_of_the_server(a.sqlstate)) return not_flushed();
    at_ = at::flush_xid;
}

void journal_replay_core::not_flushed() {
    wait("the primary did not flush its log", then::hang_up);
}

/// Its COMMIT was on its way: did it happen?
void journal_replay_core::find_out() {
    if (origin_ == intent_->origin) {
        at_ = at::fate;
        return;
    }
    settle(journal_result::unknown, "08007",
           "the primary was replaced by another server, or by itself at another point in time, while "
           "transaction " +
               intent_->xid + " was being committed");
}

void journal_replay_core::fate_told(replay_answer const& a) {
    std::string const xid = intent_->xid;
    if (a.ok() && a.value == "committed") {
        if (intent_->tag.empty() || intent_->tag == entry().tag) return settle(journal_result::done);
        return settle(journal_result::differs, "02000",
                      "its client was told " + entry().tag + ", and it was " + intent_->tag);
    }
    if (a.ok() && a.value == "in progress")
        return wait("transaction " + xid + " is still being committed", then::stay);
    // Aborted; or its id was never on the server's disk, and so neither was its commit.
    if ((a.ok() && a.value == "aborted") || a.sqlstate == "22023") {
        intent_.reset();
        return choose();
    }
    if (a.ok())
        return settle(journal_result::unknown, "08007",
                      "the server no longer knows whether transaction " + xid + " was committed");
    wait(a.lost ? "the connection to the primary broke" : a.message, then::hang_up);
}

void journal_replay_core::committed(replay_answer const& a) {
    if (a.ok() && a.tag == "COMMIT") {
        dirty_ = false;
        if (ran_as_ == entry().tag) return settle(journal_result::done);
        return settle(journal_result::differs, "02000",
                      "its client was told " + entry().tag + ", and it was " + ran_as_);
    }
    if (a.lost || is_of_the_server(a.sqlstate)) {
        note_trouble(a);
        return wait("the connection to the primary broke while a COMMIT was on its way", then::hang_up);
    }
    intent_.reset();  // it has failed for certain, and nothing of it is there
    if (is_of_the_moment(a.sqlstate) && ++tries_ < most_tries) return wait(a.message, then::stay);
    if (a.ok()) return settle(journal_result::failed, "40000", "the server rolled it back");
    settle(journal_result::failed, a.sqlstate, a.message);
}

void journal_replay_core::server_failed(replay_answer const& a, blame whose) {
    if (a.lost || is_of_the_server(a.sqlstate)) {
        note_trouble(a);
        return wait(a.lost ? "the connection to the primary broke" : a.message, then::hang_up);
    }
    failure_ = {a, whose};
    at_ = at::rollback;
}

/// Behind an error, so that nothing of the entry is there.
void journal_replay_core::rolled_back(bool ok) {
    if (!ok) lost();
    auto const [a, whose] = failure_;
    if (is_of_the_moment(a.sqlstate) && ++tries_ < most_tries) return wait(a.message, then::stay);
    if (whose == blame::lull && !is_of_the_moment(a.sqlstate))
        return wait("what Lull itself has to ask the primary, as " + entry().user + " in " + entry().database +
                        ", failed: " + (a.sqlstate.empty() ? "no answer" : a.sqlstate + " " + a.message) +
                        (a.sqlstate == "42501" ? std::string(". As a superuser there: ") + needed_grant : ""),
                    then::stay);
    settle(journal_result::failed, a.sqlstate, a.message);
}

void journal_replay_core::note_trouble(replay_answer const& a) {
    if (trouble_.times++ == 0) trouble_.since = now_;
    trouble_.last = a;
}

/// The entry met a failing server, or one that keeps its role out, often and long enough: others must not wait for it.
bool journal_replay_core::had_its_time() const {
    return trouble_.times >= most_tries && now_ - trouble_.since >= timeout_ / parts_for_one;
}

void journal_replay_core::settle(journal_result result, std::string sqlstate, std::string message) {
    verdict_ = {entry().number, result, std::move(sqlstate), std::move(message)};
    at_ = at::settle;
}

void journal_replay_core::settled() {
    intent_.reset();
    // Not where the server failed: with it out of order, each of many would take its time before all is given up.
    if (!(verdict_.result == journal_result::failed && trouble_.times >= most_tries)) until_ = now_ + timeout_;
    --report_.left;
    report_.problem.clear();
    count(verdict_.result);
    if (broken("replayed_twice", 5)) return attempt();
    contents_.verdicts.emplace(verdict_.number, verdict_);
    choose();
}

/// Something that entries are not to blame for is in the way.
void journal_replay_core::wait(std::string problem, then what) {
    report_.problem = std::move(problem);
    hang_up_ = what == then::hang_up;
    if (hang_up_) lost();
    at_ = now_ + between_tries > until_ ? at::last_flush : at::pause;
}

void journal_replay_core::lost() {
    logged_in_as_.clear();
    flushes_as_.clear();
}

void journal_replay_core::count(journal_result result) {
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

}  // namespace lull
