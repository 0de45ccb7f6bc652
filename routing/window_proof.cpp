#include "routing/window_proof.hpp"

#include <algorithm>
#include <map>

namespace lull::routing {

namespace {

constexpr std::size_t most_named = 5;

std::string count_of(std::size_t n, char const* one, char const* many) {
    return std::to_string(n) + " " + (n == 1 ? one : many);
}

xid_mark const* mark_of(window_facts const& facts, std::uint64_t xid) {
    auto const it =
        std::find_if(facts.marks.begin(), facts.marks.end(), [&](xid_mark const& m) { return m.xid == xid; });
    return it == facts.marks.end() ? nullptr : &*it;
}

struct seen_commit {
    std::uint64_t xid = 0;
    xid_mark const* mark = nullptr;
};

/// Those that were seen at work, by when they committed. A savepoint or an exception block takes an id of its own, a
/// later one, and the server gives all ids of a transaction the same time to the microsecond.
std::map<std::string, seen_commit> seen_commits(window_facts const& facts, window_evidence const& evidence) {
    std::map<std::string, seen_commit> out;
    for (committed_xid const& c : evidence.committed)
        if (xid_mark const* const m = mark_of(facts, c.xid); m && !c.at.empty()) out.try_emplace(c.at, seen_commit{c.xid, m});
    return out;
}

std::string described(committed_xid const& c) {
    return std::to_string(c.xid) + (c.at.empty() ? "" : " (committed " + c.at + ")");
}

void say_activity(window_facts const& facts, window_evidence const& evidence, window_verdict& out) {
    if (facts.at_sealing.snapshot.empty()) return;
    auto const end = facts.over ? facts.at_end.activity : evidence.activity.value_or(database_activity{});
    auto const rows = end.rows - facts.at_sealing.activity.rows;
    auto const commits = end.commits - facts.at_sealing.activity.commits;
    if (rows < 0 || commits < 0) {
        out.not_shown.push_back("pg_stat_database was reset in between: it tells nothing of this window");
        return;
    }
    out.shown.push_back(
        "pg_stat_database: " + std::to_string(rows) +
        " rows changed in the site's databases, the migration's and the catalog's among them, and " +
        std::to_string(commits) + " transactions, reads among them (counters are late by seconds)");
}

}  // namespace

window_verdict judge(window_facts const& facts, window_evidence const& evidence) {
    window_verdict out;
    if (facts.at_sealing.snapshot.empty()) {
        out.not_shown.push_back(
            "nobody noted the server's transaction ids at sealing: without a `control` role, or with a state "
            "file that was lost, nothing can be proved afterwards");
        return out;
    }
    if (facts.over && facts.at_end.snapshot.empty()) {
        out.not_shown.push_back(
            "the primary could not be asked for its transaction ids when the window ended");
        return out;
    }
    if (!evidence.trouble.empty()) {
        out.not_shown.push_back("the primary cannot be asked: " + evidence.trouble);
        return out;
    }
    // Restored from a backup, or a standby that took over: its ids of then are others'.
    auto const other = [&](std::string const& server) {
        return !server.empty() && !facts.at_sealing.server.empty() && server != facts.at_sealing.server;
    };
    std::string const now = other(evidence.server) ? evidence.server : facts.at_end.server;
    if (evidence.behind || other(now)) {
        out.not_shown.push_back("this is not the server that was sealed: " +
                                (evidence.behind ? std::string("its transaction ids are behind those of then")
                                                 : "system " + facts.at_sealing.server + " then, " + now +
                                                       (other(evidence.server) ? " now" : " at the end")) +
                                "; it was restored from a backup, or a standby took over");
        return out;
    }
    std::string const span = facts.over ? "between sealing and reopening" : "from sealing until now";
    if (evidence.too_many) {
        out.not_shown.push_back(std::to_string(evidence.ids) + " transaction ids were used " + span +
                                ": more than are looked at one by one");
        return out;
    }
    auto const seen = seen_commits(facts, evidence);
    std::size_t migration = 0, parts = 0;
    std::vector<std::string> outsiders, through, others;
    for (auto const& c : evidence.committed) {
        auto const* const m = mark_of(facts, c.xid);
        if (m && m->migration)
            ++migration;
        else if (m && m->through_lull)
            through.push_back(described(c) + ": " + m->who);
        else if (m)
            outsiders.push_back("transaction " + described(c) + ": " + m->who);
        else if (auto const whole = seen.find(c.at); whole != seen.end() && whole->second.xid < c.xid)
            // Of others than the migration all that there is to say is said with the whole.
            parts += whole->second.mark->migration ? 1 : 0;
        else
            others.push_back(described(c));
    }
    out.shown.push_back(std::to_string(evidence.ids) + " transaction ids were used on the server " + span +
                        "; " + std::to_string(evidence.committed.size()) + " of them committed");
    if (migration > 0)
        out.shown.push_back(count_of(migration, "commit was", "commits were") +
                            " the migration's, seen on its port");
    if (parts > 0)
        out.shown.push_back(count_of(parts, "commit was a part", "commits were parts") +
                            " of these (a savepoint, an exception block): later ids, committed in the same microsecond. "
                            "(Somebody else's commit in that very microsecond could not be told from one)");
    for (std::size_t i = 0; i < outsiders.size() && i < most_named; ++i)
        out.shown.push_back("COMMITTED PAST LULL: " + outsiders[i]);
    if (outsiders.size() > most_named)
        out.shown.push_back(std::to_string(outsiders.size() - most_named) + " more committed past Lull");
    for (std::size_t i = 0; i < through.size() && i < most_named; ++i)
        out.not_shown.push_back(
            "what transaction " + through[i] +
            " wrote through Lull: a temporary table or a NOTIFY that the site lets pass, or a "
            "write that was taken for a read");
    if (through.size() > most_named)
        out.not_shown.push_back("likewise of " + std::to_string(through.size() - most_named) + " more");
    if (!others.empty()) {
        std::string names;
        for (std::size_t i = 0; i < others.size() && i < most_named; ++i)
            names += (names.empty() ? "" : ", ") + others[i];
        out.not_shown.push_back(
            count_of(others.size(), "commit was", "commits were") +
            " too short to be seen at work, or beyond the first 200 that were: " + names + (others.size() > most_named ? ", ..." : "") +
            ". They can be the migration's, autovacuum's, or of other databases of the server");
    }
    if (evidence.unknown > 0)
        out.not_shown.push_back("the server has forgotten what became of " +
                                count_of(evidence.unknown, "transaction", "transactions") +
                                ": verify sooner after the window");
    if (evidence.unfinished > 0)
        out.shown.push_back(count_of(evidence.unfinished, "transaction was", "transactions were") +
                            " not decided at the end: a prepared transaction, or somebody at work");
    if (!evidence.timestamps && !others.empty())
        out.not_shown.push_back(
            "when they committed, and which of them are parts of others: track_commit_timestamp is off");
    say_activity(facts, evidence, out);
    bool const all_known = others.empty() && through.empty() && evidence.unknown == 0;
    out.proof = !outsiders.empty() ? proof::violated : all_known ? proof::proved : proof::not_proved;
    return out;
}

}  // namespace lull::routing
