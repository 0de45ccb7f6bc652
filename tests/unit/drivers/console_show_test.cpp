#include "proxy/console_show.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace lull;

namespace {

std::string cell(console_table const& t, std::string_view column) {
    auto const at = std::ranges::find(t.columns, column, &console_column::name);
    REQUIRE(at != t.columns.end());
    REQUIRE(t.rows.size() == 1);
    return t.rows[0][static_cast<std::size_t>(at - t.columns.begin())].value_or("NULL");
}

overview of_one_client() {
    overview all;
    auto snapshot = std::make_shared<routing::snapshot>();
    snapshot->config = std::make_shared<config::config const>();
    all.now = snapshot;
    worker_survey& w = all.workers.workers.emplace_back();
    client_row& c = w.clients.emplace_back();
    c.server = 1;
    c.statement = "UPDATE t SET a = 'secret'";
    w.prepared.push_back({"lull_1", "SELECT 'secret'", 1});
    return all;
}

}  // namespace

TEST_CASE("constants of statements are shown to admins of the console only") {
    overview const all = of_one_client();
    console_facts facts;
    for (auto show : {&show_clients, &show_locks}) CHECK(cell(show(all, facts), "statement") == "UPDATE t SET a = ?");
    CHECK(cell(show_prepared(all, facts), "statement") == "SELECT ?");
    facts.whole_statements = true;
    for (auto show : {&show_clients, &show_locks})
        CHECK(cell(show(all, facts), "statement") == "UPDATE t SET a = 'secret'");
    CHECK(cell(show_prepared(all, facts), "statement") == "SELECT 'secret'");
}

TEST_CASE("SHOW CONFIG has PgBouncer's keys where they mean the same, in its units") {
    overview all;
    auto settings = std::make_shared<config::config>();
    settings->limits.query_wait_timeout = std::chrono::milliseconds(1500);
    settings->clusters["main"].max_user_connections = 7;
    auto snapshot = std::make_shared<routing::snapshot>();
    snapshot->config = settings;
    all.now = snapshot;
    auto const value = [&](std::string const& key, std::size_t column) {
        console_table const t = show({.verb = console_verb::show, .topic = console_topic::config}, all, {});
        for (auto const& row : t.rows)
            if (row[0] == key) return row[column].value_or("NULL");
        return std::string("none");
    };
    CHECK(value("max_client_conn", 1) == "5000");
    CHECK(value("query_wait_timeout", 1) == "1.5");
    CHECK(value("query_wait_timeout", 2) == "120");
    CHECK(value("max_user_connections", 1) == "7");
    CHECK(value("server_check_query", 1) == ";");
    settings->clusters["other"];
    CHECK(value("max_user_connections", 1) == "none");
}

TEST_CASE("times and addresses of connections are their own") {
    overview all = of_one_client();
    worker_survey& w = all.workers.workers[0];
    auto snapshot = std::make_shared<routing::snapshot>(*all.now);
    snapshot->backends.emplace_back();
    all.now = snapshot;
    w.clients[0].local = "192.0.2.1:6432";
    server_row& s = w.servers.emplace_back();
    s.local = "[2001:db8::1]:40000";
    s.connected = routing::wall_time{} + std::chrono::hours(1);
    s.asked = s.connected + std::chrono::seconds(5);
    CHECK(cell(show_clients(all, {}), "local_addr") == "192.0.2.1");
    CHECK(cell(show_clients(all, {}), "local_port") == "6432");
    console_table const t = show_servers(all);
    CHECK(cell(t, "local_addr") == "2001:db8::1");
    CHECK(cell(t, "local_port") == "40000");
    CHECK(cell(t, "connect_time") == "1970-01-01 01:00:00 UTC");
    CHECK(cell(t, "request_time") == "1970-01-01 01:00:05 UTC");
}
