#include "routing/window_proof.hpp"

#include <doctest/doctest.h>

using namespace lull::routing;

namespace {

window_facts past() {
    window_facts f;
    f.over = true;
    f.at_sealing = {"100:100:", {10, 5}};
    f.at_end = {"110:110:", {20, 7}};
    f.marks = {{101, true, ""}, {102, false, "pid 9 cron@shop"}};
    return f;
}

bool says(std::vector<std::string> const& lines, char const* text) {
    for (auto const& l : lines)
        if (l.find(text) != std::string::npos) return true;
    return false;
}

}  // namespace

TEST_CASE("a window in which nothing committed, or the migration alone, is proved") {
    CHECK(judge(past(), {.ids = 3}).proof == proof::proved);
    auto const v = judge(past(), {.ids = 3, .committed = {{101, "12:00"}}});
    CHECK(v.proof == proof::proved);
    CHECK(says(v.shown, "1 commit was the migration's"));
    CHECK(says(v.shown, "2 rows changed"));
    CHECK(v.not_shown.empty());
}

TEST_CASE("a commit past Lull is a violation, and is named") {
    auto const v = judge(past(), {.ids = 3, .committed = {{101, ""}, {102, "12:01"}, {103, ""}}});
    CHECK(v.proof == proof::violated);
    CHECK(says(v.shown, "pid 9 cron@shop"));
    CHECK(says(v.shown, "12:01"));
}

TEST_CASE("what nobody saw is not proved") {
    CHECK(judge(past(), {.ids = 3, .committed = {{105, ""}}}).proof == proof::not_proved);
    CHECK(says(judge(past(), {.ids = 3, .committed = {{105, ""}}}).not_shown, "track_commit_timestamp"));
    CHECK(judge(past(), {.ids = 3, .unknown = 1}).proof == proof::not_proved);
    CHECK(judge(past(), {.ids = 900'000, .too_many = true}).proof == proof::not_proved);
    CHECK(judge(past(), {.trouble = "connection refused"}).proof == proof::not_proved);
    auto f = past();
    f.at_end.snapshot.clear();
    CHECK(judge(f, {}).proof == proof::not_proved);
    f = past();
    f.at_sealing.snapshot.clear();
    CHECK(judge(f, {}).proof == proof::not_proved);
}

TEST_CASE("a part of a transaction that was seen is known by the microsecond of its commit") {
    auto const at = [](std::uint64_t xid, char const* when) { return committed_xid{xid, when}; };
    std::string const now = "2026-11-25 12:00:00.123456Z";
    auto v = judge(past(), {.ids = 4, .committed = {at(101, now.c_str()), at(103, now.c_str()), at(104, now.c_str())}});
    CHECK(v.proof == proof::proved);
    CHECK(says(v.shown, "2 commits were parts"));
    CHECK(says(v.shown, "could not be told from one"));
    // Not without times, not at another time, not an earlier id, and not of one that nobody saw.
    CHECK(judge(past(), {.committed = {at(101, ""), at(103, "")}}).proof == proof::not_proved);
    CHECK(judge(past(), {.committed = {at(101, now.c_str()), at(103, "2026-11-25 12:00:00.123457Z")}}).proof ==
          proof::not_proved);
    CHECK(judge(past(), {.committed = {at(100, now.c_str()), at(101, now.c_str())}}).proof == proof::not_proved);
    CHECK(judge(past(), {.committed = {at(104, now.c_str()), at(105, now.c_str())}}).proof == proof::not_proved);
    // A violation stays one.
    CHECK(judge(past(), {.committed = {at(102, now.c_str()), at(103, now.c_str())}}).proof == proof::violated);
}

TEST_CASE("an open prepared transaction is told of, and is no commit") {
    auto const v = judge(past(), {.ids = 1, .unfinished = 1});
    CHECK(v.proof == proof::proved);
    CHECK(says(v.shown, "not decided"));
}

TEST_CASE("counters that went back tell nothing") {
    auto f = past();
    f.at_end.activity = {};
    CHECK(says(judge(f, {.ids = 0}).not_shown, "reset"));
}

TEST_CASE("another server, or one that was set back, proves nothing") {
    window_evidence set_back{};
    set_back.behind = true;
    CHECK(judge(past(), set_back).proof == proof::not_proved);
    CHECK(says(judge(past(), set_back).not_shown, "not the server that was sealed"));
    auto f = past();
    f.at_sealing.server = f.at_end.server = "7, timeline 1";
    window_evidence now{};
    now.server = "7, timeline 1";
    CHECK(judge(f, now).proof == proof::proved);
    now.server = "7, timeline 2";
    CHECK(judge(f, now).proof == proof::not_proved);
    now.server.clear();
    CHECK(judge(f, now).proof == proof::proved);
    f.at_end.server = "8, timeline 1";
    CHECK(judge(f, now).proof == proof::not_proved);
}

TEST_CASE("what committed through Lull is no violation, and not proved") {
    auto f = past();
    f.marks = {{102, false, "pid 9 app@shop", true}};
    auto const v = judge(f, {.ids = 3, .committed = {{102, "12:01"}}});
    CHECK(v.proof == proof::not_proved);
    CHECK(says(v.not_shown, "through Lull"));
    CHECK(says(v.not_shown, "pid 9 app@shop"));
}
