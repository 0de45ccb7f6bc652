// The replay of a journal against a server and a disk that are models: whatever fails at whichever step, each
// entry is committed once or not at all and named, in order.
#include "proxy/journal_replay_core.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

using namespace lull;
using std::chrono::milliseconds;

namespace {

constexpr config::milliseconds timeout{60'000};

struct model_server {
    enum class fate : std::uint8_t { running, committed, aborted };
    struct transaction {
        bool connected = false;
        bool open = false;
        std::string xid;
        std::string text;
    };
    std::map<std::string, fate> fates;  // by transaction id
    std::vector<std::string> committed;  // texts, in order
    std::map<std::string, std::string> refuses;  // text: SQLSTATE
    std::map<std::string, std::string> tags;     // text: what it comes to, if not "INSERT 0 1"
    std::set<std::string> kept_out;              // users
    std::string keeps_out_with = "28000";
    std::set<std::string> forgotten;  // transaction ids
    std::string origin = "77/00000001";
    bool promoted_when_lost = false;
    bool breaks_with_rollback = false;
    bool newest = false;      // has transaction_timeout
    bool may_flush = true;    // pg_logical_emit_message() may be called
    int late = 0;             // so many looks pass until a COMMIT that was under way is through
    std::uint64_t next_xid = 700;
    transaction now;
    std::string pending_xid, pending_text;  // the COMMIT that is under way without its connection
    std::vector<std::string> asked;
    std::vector<std::string> made;  // settings of the session

    void drop() {
        if (now.open && !now.xid.empty() && fates[now.xid] == fate::running) fates[now.xid] = fate::aborted;
        now = {};
    }
    void commit() {
        fates[now.xid] = fate::committed;
        committed.push_back(now.text);
        now = {.connected = true};
    }
    /// It was sent, and nobody waits for it any more.
    void commit_slowly(int looks) {
        if (promoted_when_lost) {
            // It never came there, and its id is given to somebody else.
            origin = "77/00000002";
            fates[now.xid] = fate::committed;
            now = {};
            return;
        }
        late = looks;
        pending_xid = now.xid;
        pending_text = now.text;
        now = {};
    }
    replay_answer ask(replay_line line, std::string const& sql) {
        asked.push_back(sql);
        auto const is = [&](char const* what) { return sql.find(what) != std::string::npos; };
        if (line == replay_line::flushes) {
            if (is("pg_logical_emit_message") && !may_flush) return {.sqlstate = "42501"};
            if (is("pg_current_wal_flush_lsn")) return {.value = "t"};
            return {.value = "0/700"};
        }
        if (!now.connected) return {.lost = true};
        if (is("DISCARD ALL")) made.clear();
        if (is("SET ") && !is("LOCAL")) made.push_back(sql);
        if (is("BEGIN")) {
            if (is("transaction_timeout") && is(" transaction_timeout") && !newest) return {.sqlstate = "42704"};
            now.open = true;
            return {.tag = "SET"};
        }
        if (is("ROLLBACK")) {
            drop();
            if (breaks_with_rollback) return {.lost = true};
            now.connected = true;
            return {.tag = "ROLLBACK"};
        }
        if (is("COMMIT")) {
            CHECK(now.open);
            commit();
            return {.tag = "COMMIT"};
        }
        if (is("pg_xact_status")) {
            std::string const xid = sql.substr(sql.find('\'') + 1, 3);
            if (xid == pending_xid && late-- <= 0) {
                fates[xid] = fate::committed;
                committed.push_back(pending_text);
                pending_xid.clear();
            }
            if (forgotten.contains(xid)) return {};
            auto const at = fates.find(xid);
            if (at == fates.end()) return {.sqlstate = "22023"};
            return {.value = at->second == fate::running     ? "in progress"
                             : at->second == fate::committed ? "committed"
                                                             : "aborted"};
        }
        if (is("pg_current_xact_id")) {
            now.xid = std::to_string(next_xid++);
            fates[now.xid] = fate::running;
            return {.value = now.xid};
        }
        if (is("pg_control_system")) return {.value = origin};
        if (is("current_setting('transaction_timeout'")) return newest ? replay_answer{.value = "0"} : replay_answer{};
        if (is("pg_is_in_recovery")) return {.value = "f"};
        return {};
    }
    replay_answer run(journal_entry const& e) {
        if (!now.connected) return {.lost = true};
        CHECK(now.open);
        CHECK(made == e.settings);
        if (auto const at = refuses.find(e.text); at != refuses.end())
            return {.sqlstate = at->second, .message = "refused"};
        now.text = e.text;
        auto const at = tags.find(e.text);
        return {.tag = at == tags.end() ? "INSERT 0 1" : at->second};
    }
};

struct model_disk {
    std::string bytes{journal_header};
    std::size_t durable = 0;
};

enum class fault : std::uint8_t {
    none,
    lost_before,   // the connection breaks, and the server has not got it
    lost_behind,   // ... and has
    lost_slowly,   // ... and is still at it
    refused,       // an error of the statement's
    of_the_moment,
    of_the_server,
    disk,          // a record is not written
    killed_before, // kill -9
    killed_behind,
    crashed_behind,  // the machine: what was not flushed is gone
    how_many,
};

struct play {
    model_server server;
    model_disk disk;
    std::map<std::size_t, fault> faults;  // by step
    std::size_t step = 0, pauses = 0;
    routing::instant now{};
    std::optional<replay_report> report;

    /// To the end. `most`: so many steps mean that it does not come to one.
    void run(std::size_t most = 5000) {
        while (!report && step < most) one_process(most);
        REQUIRE(report);
    }
    void one_process(std::size_t most) {
        disk.bytes.resize(read_journal(disk.bytes).good_bytes);
        journal_contents const contents = read_journal(disk.bytes);
        REQUIRE(contents.damage.empty());
        journal_replay_core core(contents, timeout, now);
        for (; step < most; ++step) {
            now += milliseconds(1);
            replay_next const next = core.next();
            fault const f = faults.contains(step) ? faults[step] : fault::none;
            if (std::holds_alternative<replay_act::over>(next)) {
                report = core.report();
                return;
            }
            if (f == fault::killed_before) return die(false);
            bool const dies = f == fault::killed_behind || f == fault::crashed_behind;
            carry_out(core, next, dies ? fault::none : f);
            if (dies) return die(f == fault::crashed_behind);
        }
    }
    void die(bool machine) {
        ++step;
        if (machine) disk.bytes.resize(std::max(disk.durable, journal_header.size()));
        server.drop();
    }
    void carry_out(journal_replay_core& core, replay_next const& next, fault f) {
        if (auto const* c = std::get_if<replay_act::connect>(&next)) {
            if (c->line == replay_line::writes) server.drop();
            replay_login login;
            if (f != fault::none)
                login = {replay_login::result::failed, "57P03", "the database system is starting up"};
            else if (server.kept_out.contains(c->user))
                login = {replay_login::result::failed, server.keeps_out_with, "role is not permitted to log in"};
            if (c->line == replay_line::writes && login.what == replay_login::result::in) {
                server.now.connected = true;
                server.made.clear();
            }
            core.connected(login, now);
        } else if (auto const* a = std::get_if<replay_act::ask>(&next)) {
            core.answered(with(f, a->line, a->sql == "COMMIT", [&] { return server.ask(a->line, a->sql); }), now);
        } else if (auto const* r = std::get_if<replay_act::run>(&next)) {
            core.answered(with(f, replay_line::writes, false, [&] { return server.run(*r->entry); }), now);
        } else if (auto const* w = std::get_if<replay_act::record>(&next)) {
            if (f != fault::none) return core.recorded("the disk is full", now);
            disk.bytes += w->bytes;
            if (w->durable) disk.durable = disk.bytes.size();
            core.recorded({}, now);
        } else if (auto const* p = std::get_if<replay_act::pause>(&next)) {
            ++pauses;
            if (p->hang_up) server.drop();
            now += p->time;
            core.paused(now);
        }
    }
    template <class Ask>
    replay_answer with(fault f, replay_line line, bool commits, Ask const& ask) {
        auto const drop = [&] {
            if (line == replay_line::writes) server.drop();
        };
        auto const fail = [&] {  // a failed COMMIT ends its transaction
            if (!commits) return;
            server.drop();
            server.now.connected = true;
        };
        switch (f) {
            case fault::lost_behind:
                (void)ask();
                drop();
                return {.lost = true};
            case fault::lost_slowly:
                if (commits && server.now.open)
                    server.commit_slowly(3);
                else
                    drop();
                return {.lost = true};
            case fault::lost_before:
                drop();
                return {.lost = true};
            case fault::refused:
                fail();
                return {.sqlstate = "23505", .message = "duplicate"};
            case fault::of_the_moment:
                fail();
                return {.sqlstate = "40001", .message = "serialize"};
            case fault::of_the_server:
                drop();
                return {.sqlstate = "57P01", .message = "shutting down"};
            case fault::none:
            case fault::disk:
            case fault::killed_before:
            case fault::killed_behind:
            case fault::crashed_behind:
            case fault::how_many:
                break;
        }
        return ask();
    }
    /// Of the file, as it is in the end.
    journal_contents contents() const { return read_journal(disk.bytes); }
    journal_result verdict(std::uint64_t number) const {
        journal_contents const c = contents();
        REQUIRE(c.verdicts.contains(number));
        return c.verdicts.at(number).result;
    }
};

void add(play& p, std::uint64_t number, std::string text, std::string user = "app",
         std::vector<std::string> settings = {}) {
    write_entry(p.disk.bytes, {.number = number,
                               .received_us = 1,
                               .database = "shop",
                               .user = std::move(user),
                               .settings = std::move(settings),
                               .text = std::move(text),
                               .tag = "INSERT 0 1"});
    p.disk.durable = p.disk.bytes.size();
}

play three() {
    play p;
    add(p, 1, "a");
    add(p, 2, "b", "app", {"SET search_path TO x", "SET timezone TO y"});
    add(p, 3, "c", "other");
    return p;
}

using texts = std::vector<std::string>;

/// Once each, in order; an entry that an error of its own was put upon may be missing, and is then named.
void check(play const& p) {
    CHECK(p.report->left == 0);
    CHECK(p.report->unknown == 0);
    CHECK(p.contents().pending() == 0);
    texts expected;
    for (journal_entry const& e : p.contents().entries)
        if (p.verdict(e.number) != journal_result::failed) expected.push_back(e.text);
    CHECK(p.server.committed == expected);
    CHECK(p.report->done == expected.size());
    bool const refused = std::ranges::any_of(p.faults, [](auto const& f) { return f.second == fault::refused; });
    CHECK((refused || expected.size() == p.contents().entries.size()));
}

}  // namespace

TEST_CASE("entries run once, in order, each as its user and with the settings of its session") {
    for (bool const newest : {false, true}) {
        play p = three();
        p.server.newest = newest;
        p.run();
        CHECK(p.server.committed == texts{"a", "b", "c"});
        CHECK(p.report->done == 3);
        bool lifted = false;
        for (std::string const& sql : p.server.asked)
            lifted = lifted || sql.find("SET LOCAL transaction_timeout = 0") != std::string::npos;
        CHECK(lifted == newest);
    }
}

TEST_CASE("nothing that it asks a server is to be found by the search_path of the entry's session") {
    play p = three();
    p.server.may_flush = false;
    p.faults[14] = fault::lost_behind;
    p.run();
    for (std::string const& sql : p.server.asked) {
        CAPTURE(sql);
        CHECK(sql.find("||") == sql.find(".||") + (sql.find("||") == std::string::npos ? 0 : 1));
        CHECK(sql.find("::text") == std::string::npos);
        CHECK(sql.find("::pg_lsn") == std::string::npos);
        CHECK(sql.find("::xid8") == std::string::npos);
    }
}

TEST_CASE("whatever fails at one step, or a little later again, nothing is run twice, forgotten or overtaken") {
    constexpr std::size_t again_within = 14;
    auto const many = static_cast<std::size_t>(fault::how_many);
    std::size_t plain = 0;
    {
        play p = three();
        p.run();
        plain = p.step;
    }
    for (std::size_t at = 0; at < plain; ++at)
        for (std::size_t f = 1; f < many; ++f)
            for (std::size_t later = 0; later <= again_within; ++later) {
                play p = three();
                p.faults[at] = static_cast<fault>(f);
                // The second is another kind each time, and so each pair is met at some step.
                fault const second = later == 0 ? fault::none : static_cast<fault>(1 + (at + f + later) % (many - 1));
                if (later > 0) p.faults[at + later] = second;
                CAPTURE(at);
                CAPTURE(f);
                CAPTURE(later);
                CAPTURE(static_cast<int>(second));
                p.run();
                check(p);
            }
}

TEST_CASE("a server without the right to flush its log is waited for until it has flushed it") {
    play p = three();
    p.server.may_flush = false;
    p.run();
    check(p);
}

TEST_CASE("what the server refuses is not run again, and the others go on") {
    play p = three();
    p.server.refuses["b"] = "23505";
    p.run();
    CHECK(p.server.committed == texts{"a", "c"});
    CHECK(p.verdict(2) == journal_result::failed);
    CHECK(p.report->failed == 1);
}

TEST_CASE("a connection that breaks with the ROLLBACK behind a refused entry is made anew at once") {
    play p = three();
    p.server.refuses["a"] = "23505";
    p.server.breaks_with_rollback = true;
    p.run();
    CHECK(p.server.committed == texts{"b", "c"});
    CHECK(p.contents().verdicts.at(1).sqlstate == "23505");
    CHECK(p.pauses == 0);  // nothing is asked of a connection that is gone
}

TEST_CASE("an entry that makes a healthy server fail is given up alone") {
    for (std::string const code : {"57P01", "25006"}) {
        play p = three();
        p.server.refuses["b"] = code;
        p.run();
        CHECK(p.server.committed == texts{"a", "c"});
        CHECK(p.verdict(2) == journal_result::failed);
        CHECK(p.contents().verdicts.at(2).sqlstate == code);
    }
}

TEST_CASE("another number of rows is told, also where nobody heard how the COMMIT ended") {
    for (fault const f : {fault::none, fault::lost_behind, fault::killed_behind, fault::crashed_behind}) {
        CAPTURE(static_cast<int>(f));
        play p;
        add(p, 1, "a");
        p.server.tags["a"] = "INSERT 0 2";
        play first = p;
        first.run();
        for (std::size_t at = 0; at < first.step; ++at) {
            play one = p;
            one.faults[at] = f;
            one.run();
            CHECK(one.server.committed == texts{"a"});
            CHECK(one.verdict(1) == journal_result::differs);
            CHECK(one.contents().verdicts.at(1).message.find("INSERT 0 2") != std::string::npos);
        }
    }
}

TEST_CASE("another server, or one that has forgotten, is not asked to run what it may have") {
    play p;
    add(p, 1, "a");
    add(p, 2, "b");
    write_intent(p.disk.bytes, {1, "650", "77/00000001", "INSERT 0 1"});
    SUBCASE("a standby was promoted") {
        p.server.origin = "77/00000002";
        p.server.fates["650"] = model_server::fate::aborted;  // another one of that id
    }
    SUBCASE("too old") {
        p.server.forgotten = {"650"};
    }
    p.run();
    CHECK(p.server.committed == texts{"b"});
    CHECK(p.verdict(1) == journal_result::unknown);
    CHECK(p.report->unknown == 1);
}

TEST_CASE("a standby that takes over while a COMMIT is on its way is not believed of an id that is another's there") {
    play p = three();
    p.run();
    for (std::size_t at = 0; at < p.step; ++at) {
        play one = three();
        one.faults[at] = fault::lost_slowly;
        one.server.promoted_when_lost = true;
        one.run();
        CAPTURE(at);
        CHECK(one.report->left == 0);
        CHECK(one.report->done + one.report->unknown == 3);
        CHECK(one.server.committed.size() == one.report->done);
    }
}

TEST_CASE("the entry in doubt is asked for before the earlier ones that are to be run again") {
    // As a kept file is: 1 had failed, and nobody has heard of the COMMIT of 2.
    for (auto const fate : {model_server::fate::committed, model_server::fate::aborted}) {
        play p = three();
        write_intent(p.disk.bytes, {2, "650", "77/00000001", "INSERT 0 1"});
        p.server.fates["650"] = fate;
        bool const there = fate == model_server::fate::committed;
        if (there) p.server.committed = {"b"};
        p.run();
        CHECK(p.server.committed == (there ? texts{"b", "a", "c"} : texts{"a", "b", "c"}));
        CHECK(p.report->done == 3);
    }
}

TEST_CASE("a role that the server keeps out does not stop those of others, and costs its grace once") {
    play p;
    for (std::uint64_t n = 1; n <= 20; ++n) add(p, n, "x" + std::to_string(n), n % 2 ? "gone" : "app");
    p.server.kept_out = {"gone"};
    p.run();
    CHECK(p.server.committed.size() == 10);
    CHECK(p.report->failed == 10);
    CHECK(p.contents().verdicts.at(1).sqlstate == "28000");
    CHECK(p.now - routing::instant{} < timeout / 5);
}

TEST_CASE("a server that lets nobody in because it is starting is waited for, and then all is left") {
    play p = three();
    p.server.kept_out = {"app", "other"};
    p.server.keeps_out_with = "57P03";
    p.run();
    CHECK(p.report->left == 3);
    CHECK(p.report->failed == 0);
    CHECK(p.server.committed.empty());
    CHECK(p.report->problem.find("not permitted") != std::string::npos);
}

TEST_CASE("what a process before had settled is not run again") {
    play p = three();
    write_verdict(p.disk.bytes, {1, journal_result::done, "", ""});
    write_verdict(p.disk.bytes, {2, journal_result::failed, "23505", "x"});
    p.run();
    CHECK(p.server.committed == texts{"c"});
    CHECK(p.report->done == 2);
    CHECK(p.report->failed == 1);
}
