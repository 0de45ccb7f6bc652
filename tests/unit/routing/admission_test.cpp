#include "routing/admission.hpp"

#include <doctest/doctest.h>

using namespace lull;
using namespace lull::routing;
using config::auth_method;
using config::hba_connection;

namespace {

config::hba_rule rule(hba_connection connection, std::vector<config::hba_name> databases,
                      std::vector<config::hba_name> users, auth_method method) {
    config::hba_rule r;
    r.connection = connection;
    r.databases = std::move(databases);
    r.users = std::move(users);
    r.method = method;
    return r;
}

struct begins_with_shop final : config::name_pattern {
    bool matches(std::string_view name) const override { return name.starts_with("shop_"); }
};

config::ip_address v4(std::uint8_t a, std::uint8_t d) {
    config::ip_address out;
    out.bytes = {a, 0, 0, d};
    return out;
}

newcomer over_tcp(bool tls, std::string_view user = "app", std::string_view database = "shop") {
    newcomer who;
    who.tls = tls;
    who.address = v4(10, 1);
    who.user = user;
    who.database = database;
    return who;
}

}  // namespace

TEST_CASE("admission: the first rule that fits decides, and without one nobody comes in") {
    std::vector<config::hba_rule> rules{
        rule(hba_connection::host, {{"shop"}}, {{"evil"}}, auth_method::reject),
        rule(hba_connection::host, {{"shop"}, {"held"}}, {{"all"}}, auth_method::scram_sha_256)};
    CHECK(admit(rules, over_tcp(false, "evil"))->method == auth_method::reject);
    CHECK(admit(rules, over_tcp(false))->method == auth_method::scram_sha_256);
    CHECK(admit(rules, over_tcp(false, "app", "held")));
    CHECK(!admit(rules, over_tcp(false, "app", "other")));
    CHECK(!admit({}, over_tcp(false)));
}

TEST_CASE("admission: kinds of connection") {
    auto const fits = [](hba_connection kind, newcomer const& who) {
        std::vector<config::hba_rule> const rules{rule(kind, {{"all"}}, {{"all"}}, auth_method::trust)};
        return admit(rules, who) != nullptr;
    };
    newcomer local;
    local.local = true;
    local.user = "app";
    local.database = "shop";
    CHECK(fits(hba_connection::local, local));
    CHECK(!fits(hba_connection::host, local));
    CHECK(!fits(hba_connection::hostnossl, local));
    CHECK(!fits(hba_connection::local, over_tcp(false)));
    CHECK(fits(hba_connection::host, over_tcp(false)));
    CHECK(fits(hba_connection::host, over_tcp(true)));
    CHECK(fits(hba_connection::hostssl, over_tcp(true)));
    CHECK(!fits(hba_connection::hostssl, over_tcp(false)));
    CHECK(fits(hba_connection::hostnossl, over_tcp(false)));
    CHECK(!fits(hba_connection::hostnossl, over_tcp(true)));
    newcomer nowhere = over_tcp(false);
    nowhere.address.reset();  // an address that could not be read is in no network, not in every one
    CHECK(!fits(hba_connection::host, nowhere));
}

TEST_CASE("admission: networks") {
    std::vector<config::hba_rule> rules{rule(hba_connection::host, {{"all"}}, {{"all"}}, auth_method::trust)};
    rules[0].network = config::ip_network{v4(10, 0), v4(255, 0)};
    newcomer who = over_tcp(false);
    CHECK(admit(rules, who));
    who.address = v4(11, 1);
    CHECK(!admit(rules, who));
    who.address->v6 = true;
    who.address->bytes[0] = 10;
    CHECK(!admit(rules, who));
}

TEST_CASE("admission: who comes from this machine, or from a network of it") {
    std::vector<config::ip_network> const own{{v4(127, 1), v4(255, 0)}, {v4(10, 7), v4(255, 0)}};
    auto const fits = [&](config::hba_near near, std::uint8_t a, std::uint8_t d) {
        std::vector<config::hba_rule> rules{rule(hba_connection::host, {{"all"}}, {{"all"}}, auth_method::trust)};
        rules[0].near = near;
        newcomer who = over_tcp(false);
        who.address = v4(a, d);
        who.own = own;
        return admit(rules, who) != nullptr;
    };
    CHECK(fits(config::hba_near::same_host, 10, 7));
    CHECK(!fits(config::hba_near::same_host, 10, 8));
    CHECK(fits(config::hba_near::same_net, 10, 8));
    CHECK(!fits(config::hba_near::same_net, 11, 8));
    CHECK(fits(config::hba_near::anywhere, 11, 8));
}

TEST_CASE("admission: a pattern fits databases and users, and physical replication never") {
    config::hba_name pattern{"/^shop_", true};
    pattern.pattern = std::make_shared<begins_with_shop const>();
    std::vector<config::hba_rule> const databases{rule(hba_connection::host, {pattern}, {{"all"}}, auth_method::trust)};
    CHECK(admit(databases, over_tcp(false, "app", "shop_1")));
    CHECK(!admit(databases, over_tcp(false, "app", "myshop_1")));
    newcomer replica = over_tcp(false, "app", "shop_1");
    replica.replication = true;
    CHECK(!admit(databases, replica));
    std::vector<config::hba_rule> const users{rule(hba_connection::host, {{"all"}}, {pattern}, auth_method::trust)};
    CHECK(admit(users, over_tcp(false, "shop_a", "x")));
    CHECK(!admit(users, over_tcp(false, "a", "x")));
}

TEST_CASE("admission: keywords, unless quoted, and physical replication") {
    auto const fits = [](config::hba_name database, newcomer const& who) {
        std::vector<config::hba_rule> const rules{
            rule(hba_connection::host, {std::move(database)}, {{"all"}}, auth_method::trust)};
        return admit(rules, who) != nullptr;
    };
    CHECK(fits({"sameuser"}, over_tcp(false, "shop", "shop")));
    CHECK(!fits({"sameuser"}, over_tcp(false, "app", "shop")));
    CHECK(!fits({"all", true}, over_tcp(false)));
    CHECK(fits({"all", true}, over_tcp(false, "app", "all")));
    CHECK(!fits({"replication"}, over_tcp(false, "app", "replication")));
    CHECK(fits({"replication", true}, over_tcp(false, "app", "replication")));
    newcomer replica = over_tcp(false);
    replica.replication = true;
    CHECK(fits({"replication"}, replica));
    CHECK(!fits({"all"}, replica));
    CHECK(!fits({"shop"}, replica));
    std::vector<config::hba_rule> const quoted{
        rule(hba_connection::host, {{"all"}}, {{"all", true}}, auth_method::trust)};
    CHECK(!admit(quoted, over_tcp(false)));
    CHECK(admit(quoted, over_tcp(false, "all")));
}
