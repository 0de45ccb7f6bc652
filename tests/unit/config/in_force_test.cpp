#include "config/in_force.hpp"

#include "config/print.hpp"
#include "tests/unit/config/support.hpp"

#include <chrono>

using namespace lull::config;
using namespace config_test;
using namespace std::chrono_literals;

namespace {

config with_own() {
    return good(
        "listen: {postgres: 127.0.0.1:6432}\n"
        "clusters: {main: {primary: 127.0.0.1:5432, pool_size: 9, max_user_connections: 30}}\n"
        "sites: {shop: {databases: [shop, reports], pool_mode: statement}}\n"
        "users:\n"
        "  app: {password: x}\n"
        "  slow: {password: x, pool_mode: session, statement_timeout: 0s, pool_size: 2, max_connections: 3}\n"
        "databases:\n"
        "  reports: {pool_mode: transaction, statement_timeout: 1h, idle_session_timeout: 1min, pool_size: "
        "4, max_connections: 5}\n"
        "limits: {statement_timeout: 5s, transaction_timeout: 6s}\n");
}

}  // namespace

TEST_CASE("in force is the user's own, else the database's, else what holds for all") {
    auto const all = with_own();
    site const& shop = all.sites.at("shop");
    CHECK(pool_mode_of(all, shop, "shop", "app") == pool_mode::statement);
    CHECK(pool_mode_of(all, shop, "reports", "app") == pool_mode::transaction);
    CHECK(pool_mode_of(all, shop, "reports", "slow") == pool_mode::session);
    CHECK(pool_mode_of(all, shop, "shop", "nobody") == pool_mode::statement);

    CHECK(time_limits_of(all, "shop", "app").statement == 5s);
    CHECK(time_limits_of(all, "reports", "app").statement == 1h);
    CHECK(time_limits_of(all, "reports", "slow").statement == 0s);  // none is something of its own
    CHECK(time_limits_of(all, "reports", "slow").idle_session == 1min);
    CHECK(time_limits_of(all, "reports", "slow").transaction == 6s);

    auto const bounds = pool_bounds_of(all, all.clusters.at("main"), "reports", "slow");
    CHECK(bounds.pool_size == 2);
    CHECK(bounds.of_database == 5);
    CHECK(bounds.of_user == 3);
    auto const general = pool_bounds_of(all, all.clusters.at("main"), "shop", "app");
    CHECK(general.pool_size == 9);
    CHECK(general.of_database == 0);
    CHECK(general.of_user == 30);
}

TEST_CASE("a hint names the key that is in force") {
    auto const all = with_own();
    auto const key = [&](char const* database, char const* user) {
        return key_in_force(all, database, user, &overrides::statement_timeout, "statement_timeout");
    };
    CHECK(key("shop", "app") == "limits.statement_timeout");
    CHECK(key("reports", "app") == "databases.reports.statement_timeout");
    CHECK(key("reports", "slow") == "users.slow.statement_timeout");
}

TEST_CASE("whether anybody may be too long idle is asked of all") {
    auto all = with_own();
    CHECK(has_idle_session_timeout(all));
    all.databases.at("reports").own.idle_session_timeout = 0s;
    CHECK_FALSE(has_idle_session_timeout(all));
    all.users.at("app").own.idle_session_timeout = 1s;
    CHECK(has_idle_session_timeout(all));
    all.users.at("app").own.idle_session_timeout.reset();
    all.limits.idle_session_timeout = 1s;
    CHECK(has_idle_session_timeout(all));
}

TEST_CASE("what a database has of its own is for one of a site's") {
    auto const issues =
        bad("listen: {postgres: 127.0.0.1:6432}\n"
            "clusters: {main: {primary: 127.0.0.1:5432}}\n"
            "sites: {shop: {databases: [shop]}}\n"
            "databases: {shpo: {pool_size: 1}}\n");
    REQUIRE(issues.size() == 1);
    CHECK(issues.front().path == "databases.shpo");
    CHECK(has(issues.front().message, "no site has this database"));
}

TEST_CASE("what nobody has set of a user or a database is not printed, and comes back as it was") {
    auto const all = with_own();
    std::string const printed = print_effective(all);
    CHECK_FALSE(has(printed, "max_clients:\n"));
    CHECK(has(printed, "    statement_timeout: 0s\n"));
    auto const again = good(printed);
    CHECK(again.databases == all.databases);
    CHECK(again.users.at("slow").own == all.users.at("slow").own);
    CHECK_FALSE(again.users.at("app").own.statement_timeout.has_value());
}
