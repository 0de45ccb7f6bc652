#include "proxy/stats.hpp"

#include "proxy/console_show.hpp"
#include "proxy/metrics.hpp"
#include "tests/unit/proxy/pg_world.hpp"

#include <doctest/doctest.h>

using namespace lull;
using namespace std::chrono_literals;

namespace {

bool has(std::string const& text, std::string const& line) {
    return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

/// Two workers that have counted something, and one that is silent.
overview some_overview() {
    static wire::pg_world world;
    world.configured().users["app"].name = "app";
    world.flip(routing::mode::read_write);
    overview all;
    all.now = world.context().snapshot;
    all.sites = {{{"site", "shop"},
                  {"mode", "sealed"},
                  {"state", "frozen"},
                  {"epoch", 7},
                  {"seconds", 12.5},
                  {"writing", 0},
                  {"held", {{"count", 3}, {"bytes", 300}, {"max_count", 1000}, {"max_bytes", 4096}}},
                  {"journal",
                   {{"pending", 4}, {"bytes", 400}, {"max_count", 50}, {"max_bytes", 500}, {"kept", 1}, {"problem", "full"}}},
                  {"overdue", true},
                  {"reasons", {{{"as", "a"}, {"lapsed", true}}, {{"as", "b"}, {"lapsed", false}}}},
                  {"error", nullptr}}};
    for (std::size_t i = 0; i < 2; ++i) {
        worker_survey w;
        w.worker = i;
        database_stats& d = w.pg.databases["shop"];
        d.queries = 10;
        d.transactions = 4;
        d.query.add(100us);
        d.wait.add(0us);
        d.executed[0][3] = 2;
        d.refused_by_server[0] = 1;
        d.writes.refused = 5;
        d.timeouts[static_cast<std::size_t>(time_limit::cancel)] = 1;
        d.over_limit[static_cast<std::size_t>(session_limit::waiting_clients)] = 4;
        d.prepared_known = 5;
        d.prepared_parsed = 6;
        w.pg.turned_away[static_cast<std::size_t>(turned_away_by::failed_logins)] = 3;
        d.writes.over_limit = 3;
        w.classifier.exact_hits = 6;
        w.pg.of(routing::backend_id{1}).connect.add(3ms);
        w.pools.push_back({.database = "shop",
                           .user = "app",
                           .clients_active = 2,
                           .servers_idle = 1,
                           .longest_wait = std::chrono::microseconds(1'500'000 * i)});
        all.workers.workers.push_back(w);
    }
    all.workers.workers.emplace_back().worker = 2;  // nothing is known of it
    all.workers.silent = {2};
    all.paused.keep("shop");
    all.auth_query["main"].remembered = 7;
    auto keyring = std::make_shared<tls_keyring>();
    keyring->expiries.push_back({"client_tls.certificate", "/etc/lull.crt", std::chrono::sys_seconds(std::chrono::seconds(12345))});
    all.keyring = keyring;
    return all;
}

}  // namespace

TEST_CASE("durations fall into the bucket whose bound they do not exceed") {
    duration_histogram h;
    for (auto t : {-5us, 0us, 64us, 65us, 128us, 129us}) h.add(t);
    CHECK(h.in(0) == 3);
    CHECK(h.in(1) == 2);
    CHECK(h.in(2) == 1);
    CHECK(h.count() == 6);
    CHECK(h.sum_us() == 386);
    h.add(std::chrono::hours(1));
    CHECK(h.in(duration_histogram::finite) == 1);
    h.add(std::chrono::microseconds(duration_histogram::bound_us(duration_histogram::finite - 1)));
    CHECK(h.in(duration_histogram::finite - 1) == 1);
    duration_histogram sum;
    sum.add(h);
    sum.add(h);
    CHECK(sum.count() == 16);
}

TEST_CASE("metrics add up the workers and name every figure") {
    std::string const text = render_metrics(some_overview());
    CHECK(has(text, "# TYPE lull_queries_total counter"));
    CHECK(has(text, "lull_queries_total{database=\"shop\"} 20"));
    CHECK(has(text, "lull_classifier_refuted_total{database=\"shop\",access=\"read\"} 2"));
    CHECK(has(text, "lull_statements_total{database=\"shop\",access=\"write\",role=\"primary\"} 4"));
    CHECK(has(text, "lull_refused_writes_total{database=\"shop\"} 10"));
    CHECK(has(text, "lull_query_duration_seconds_count{database=\"shop\"} 2"));
    CHECK(has(text, "lull_query_duration_seconds_bucket{database=\"shop\",le=\"0.000128\"} 2"));
    CHECK(has(text, "lull_query_duration_seconds_bucket{database=\"shop\",le=\"6.4e-05\"} 0"));
    CHECK(has(text, "lull_site_mode{site=\"shop\",mode=\"sealed\"} 1"));
    CHECK(has(text, "lull_site_mode{site=\"shop\",mode=\"read_write\"} 0"));
    CHECK(has(text, "lull_site_epoch{site=\"shop\"} 7"));
    CHECK(has(text, "lull_site_held_writes{site=\"shop\"} 3"));
    CHECK(has(text, "lull_site_error{site=\"shop\"} 0"));
    CHECK(has(text, "lull_site_journal_writes{site=\"shop\"} 4"));
    CHECK(has(text, "lull_site_journal_files{site=\"shop\"} 1"));
    CHECK(has(text, "lull_site_journal_problem{site=\"shop\"} 1"));
    CHECK(has(text, "lull_site_overdue{site=\"shop\"} 1"));
    CHECK(has(text, "lull_site_leases_ended{site=\"shop\"} 1"));
    CHECK(has(text, "lull_over_limit_writes_total{database=\"shop\"} 6"));
    for (char const* limit : {"held_writes\"} 1000", "held_bytes\"} 4096", "journal_writes\"} 50", "journal_bytes\"} 500"})
        CHECK(has(text, std::string("lull_site_limit{site=\"shop\",of=\"") + limit));
    CHECK(has(text, "lull_pool_clients{database=\"shop\",user=\"app\",state=\"active\"} 4"));
    CHECK(has(text, "lull_pool_longest_wait_seconds{database=\"shop\",user=\"app\"} 1.5"));
    CHECK(has(text, "lull_classifications_total{by=\"exact\"} 12"));
    CHECK(has(text, "lull_timeouts_total{database=\"shop\",limit=\"cancel\"} 2"));
    CHECK(has(text, "lull_client_connections_turned_away_total{limit=\"failed_logins\"} 6"));
    CHECK(has(text, "lull_over_limit_total{database=\"shop\",limit=\"max_waiting_clients\"} 8"));
    CHECK(has(text, "lull_over_limit_total{database=\"shop\",limit=\"max_notification_bytes\"} 0"));
    CHECK(has(text, "lull_prepared_uses_total{database=\"shop\",by=\"known\"} 10"));
    CHECK(has(text, "lull_prepared_uses_total{database=\"shop\",by=\"parse\"} 12"));
    CHECK(has(text, "lull_auth_query_answers_total{cluster=\"main\",by=\"cache\"} 7"));
    CHECK(has(text, "lull_database_paused{database=\"shop\"} 1"));
    CHECK(has(text, "lull_tls_certificate_not_after_timestamp_seconds{key=\"client_tls.certificate\",file=\"/etc/lull.crt\"} 12345"));
    CHECK(has(text, "lull_workers 3"));
    CHECK(has(text, "lull_workers_silent 1"));
}

TEST_CASE("ready is who answers and has somewhere to read from") {
    overview all = some_overview();
    CHECK(judge_readiness(all, false).text == "worker 2 does not answer");
    all.workers.silent.clear();
    CHECK(judge_readiness(all, false).ready);
    CHECK(judge_readiness(all, true).text == "lull is stopping");
    auto dead = std::make_shared<routing::snapshot>(*all.now);
    for (auto& b : dead->backends) b.healthy = false;
    all.now = dead;
    CHECK(judge_readiness(all, false).text == "cluster main: no server is healthy and up to date; see `lull status`");
}

TEST_CASE("every SHOW has rows as wide as its columns") {
    overview all = some_overview();
    client_row client;
    client.address = "[::1]:5000";
    client.server = 1;
    all.workers.workers[0].clients.push_back(client);
    all.workers.workers[0].servers.push_back({});
    all.workers.workers[0].prepared.push_back({"lull_1", "select 1", 2});
    console_facts facts;
    facts.before_age = 10s;
    for (int t = 0; t <= static_cast<int>(console_topic::version); ++t) {
        auto const table =
            show({.verb = console_verb::show, .topic = static_cast<console_topic>(t)}, all, facts);
        if (static_cast<console_topic>(t) != console_topic::help) CHECK_MESSAGE(!table.rows.empty(), t);
        for (auto const& row : table.rows) CHECK_MESSAGE(row.size() == table.columns.size(), t);
    }
}

TEST_CASE("averages are of the time since the sample, times of one query") {
    overview all = some_overview();
    console_facts facts;
    facts.before_age = 10s;
    facts.before["shop"].queries = 10;
    auto const table = show({.verb = console_verb::show, .topic = console_topic::stats_averages}, all, facts);
    REQUIRE(table.rows.size() == 1);
    CHECK(*table.rows[0][2] == "1");   // ten more queries in ten seconds
    CHECK(*table.rows[0][6] == "20");  // 200 us for ten queries
}
