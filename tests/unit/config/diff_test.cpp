#include "config/diff.hpp"

#include "tests/unit/config/support.hpp"

#include <chrono>

using namespace lull::config;
using namespace config_test;
using namespace std::chrono_literals;

namespace {

config base() {
    return good(
        "listen: {postgres: 127.0.0.1:6432}\n"
        "clusters: {main: {primary: 127.0.0.1:5432, control: {user: lull, password: old}}}\n"
        "sites: {shop: {databases: [shop, archive]}, blog: {}}\n"
        "users: {app: {password: old-secret}}\n");
}

/// The only change that `edit` makes.
template <class Edit>
change only(Edit edit) {
    auto c = base();
    edit(c);
    auto const changes = diff(base(), c);
    REQUIRE(changes.size() == 1);
    return changes.front();
}

}  // namespace

TEST_CASE("the same configuration has no differences, whatever file it came from") {
    auto c = base();
    c.file = "other.yaml";
    CHECK(diff(base(), c).empty());
}

TEST_CASE("policies, users, limits and auth are taken over") {
    auto const age = only([](config& c) { c.sites["shop"].hold.max_age = 30s; });
    CHECK(age == change{"sites.shop.hold.max_age", true, "1min -> 30s"});
    CHECK(only([](config& c) { c.limits.max_clients = 1; }) ==
          change{"limits.max_clients", true, "5000 -> 1"});
    CHECK(only([](config& c) { c.auth = auth_method::trust; }) ==
          change{"auth", true, "scram-sha-256 -> trust"});
    CHECK(only([](config& c) { c.sites["shop"].writes = write_policy::hold; }).reloadable);
    CHECK(only([](config& c) {
              c.sites["shop"].http_rules.push_back({{"POST"}, "/search", true});
          }) ==
          change{"sites.shop.http_rules", true, "[] -> [{methods: [POST], path: /search, action: allow}]"});
    CHECK(only([](config& c) { c.clusters["main"].pool_size = 1; }).reloadable);
    CHECK(only([](config& c) { c.sites["shop"].databases.push_back("more"); }).reloadable);
}

TEST_CASE("rules that come from included files change under the key that includes them") {
    auto const rules = [](auto set_source) {
        auto before = base();
        set_source(before);
        before.hba_rules.resize(1);
        auto after = before;
        after.hba_rules.resize(2);
        auto const changes = diff(before, after);
        REQUIRE(changes.size() == 1);
        return changes.front();
    };
    CHECK(rules([](config& c) { c.hba = {"include rules"}; }) == change{"hba", true, "1 rules -> 2 rules"});
    CHECK(rules([](config& c) { c.hba_file = "rules"; }) == change{"hba_file", true, "1 rules -> 2 rules"});
}

TEST_CASE("what is bound at the start is not") {
    CHECK_FALSE(only([](config& c) { c.listen.postgres->port = 1; }).reloadable);
    CHECK(has(only([](config& c) {
                  c.listen.http = endpoint{"127.0.0.1", 8080};
              }).note,
              "not set -> 127.0.0.1:8080"));
    CHECK_FALSE(only([](config& c) { c.admin_socket = "/a"; }).reloadable);
    CHECK_FALSE(only([](config& c) { c.state_dir = "/a"; }).reloadable);
    CHECK_FALSE(only([](config& c) { c.workers = 3; }).reloadable);
    CHECK_FALSE(only([](config& c) { c.clusters["main"].primary.port = 1; }).reloadable);
    CHECK_FALSE(only([](config& c) { c.clusters["main"].replicas.push_back({"127.0.0.1", 2}); }).reloadable);
    CHECK_FALSE(only([](config& c) { c.sites["shop"].cluster = "x"; }).reloadable);
    CHECK_FALSE(only([](config& c) { c.sites["shop"].databases = {"shop"}; }).reloadable);
}

TEST_CASE("elements come and go as one change") {
    CHECK(only([](config& c) { c.sites["new"].cluster = "main"; }) == change{"sites.new", true, "added"});
    auto const gone = only([](config& c) { c.sites.erase("blog"); });
    CHECK(gone.what == "sites.blog");
    CHECK_FALSE(gone.reloadable);
    CHECK(has(gone.note, "removed"));
    CHECK(only([](config& c) { c.users["b"].password = "x"; }) == change{"users.b", true, "added"});
    CHECK(only([](config& c) { c.users.erase("app"); }).reloadable);
    CHECK_FALSE(only([](config& c) { c.clusters["b"].primary.port = 3; }).reloadable);
    CHECK(only([](config& c) {
              c.clusters["main"].control.reset(),
                  c.clusters["main"].control = login_role{"lull", "new", "postgres"};
          }).what == "clusters.main.control.password");
}

TEST_CASE("a site that comes with its cluster waits for the restart that the cluster waits for") {
    auto c = base();
    c.clusters["two"].primary.port = 3;
    c.sites["new"].cluster = "two";
    auto const changes = diff(base(), c);
    REQUIRE(changes.size() == 2);
    CHECK(changes[1].what == "sites.new");
    CHECK_FALSE(changes[1].reloadable);
    CHECK(has(changes[1].note, "its cluster is new"));
}

TEST_CASE("what is set up once for a cluster is not said to be applied, its pools are") {
    CHECK_FALSE(only([](config& c) { c.clusters["main"].control->password = "new"; }).reloadable);
    CHECK(only([](config& c) { c.clusters["main"].pool_size = 3; }).reloadable);
    CHECK_FALSE(only([](config& c) { c.clusters["main"].tls.mode = server_tls_mode::require; }).reloadable);
}

TEST_CASE("what a client has from its login is in force for those who come") {
    CHECK(only([](config& c) { c.sites["shop"].pool_mode = pool_mode::session; }) ==
          change{"sites.shop.pool_mode", true, "transaction -> session", true});
    CHECK(only([](config& c) { c.users["app"].pool_mode = user_pool_mode::statement; }).at_login);
    CHECK(only([](config& c) { c.users["b"].pool_mode = user_pool_mode::statement; }).at_login);
    CHECK(only([](config& c) { c.databases["shop"].pool_mode = user_pool_mode::session; }).at_login);
    CHECK_FALSE(only([](config& c) { c.databases["shop"].own.pool_size = 1; }).at_login);
    CHECK_FALSE(only([](config& c) { c.limits.max_clients = 1; }).at_login);
}

TEST_CASE("secrets are compared but not shown") {
    auto const c = only([](config& c) { c.users["app"].password = "new-secret"; });
    CHECK(c == change{"users.app.password", true, "changed"});
}
