#include "proxy/client_counts.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <variant>

using namespace lull;

namespace {

struct counted {
    client_counts counts;
    config::config config;
    std::string refused;  // by which key
    std::optional<client_counts::place> enter(std::string const& user, std::string const& database, std::string_view address) {
        auto result = counts.enter({user, database, address}, config);
        refused.clear();
        if (auto const* full = std::get_if<client_counts::full>(&result)) {
            refused = full->key;
            return std::nullopt;
        }
        return std::get<client_counts::place>(result);
    }
};

}  // namespace

TEST_CASE("client counts: each limit is reached by itself, and a place that is left is free") {
    counted c;
    c.config.limits.max_clients_per_user = 2;
    c.config.limits.max_clients_per_database = 3;
    c.config.limits.max_clients_per_address = 4;
    auto a1 = c.enter("a", "x", "192.0.2.1");
    auto a2 = c.enter("a", "y", "192.0.2.1");
    REQUIRE((a1 && a2));
    CHECK(!c.enter("a", "z", "192.0.2.2"));
    CHECK(c.refused == "limits.max_clients_per_user");
    auto b1 = c.enter("b", "x", "192.0.2.1");
    auto c1 = c.enter("c", "x", "192.0.2.1");
    REQUIRE((b1 && c1));
    CHECK(!c.enter("d", "x", "192.0.2.2"));
    CHECK(c.refused == "limits.max_clients_per_database");
    CHECK(!c.enter("d", "z", "192.0.2.1"));
    CHECK(c.refused == "limits.max_clients_per_address");
    CHECK(c.enter("d", "z", ""));  // a Unix socket has no address
    c.counts.leave(*a1);
    CHECK(!*a1);
    c.counts.leave(*a1);  // counts once
    CHECK(c.enter("a", "z", "192.0.2.2"));
    CHECK(!c.enter("a", "z", "192.0.2.2"));
}

TEST_CASE("client counts: who was refused is not counted anywhere") {
    counted c;
    c.config.limits.max_clients_per_address = 1;
    c.config.limits.max_clients_per_user = 1;
    REQUIRE(c.enter("a", "x", "192.0.2.1"));
    CHECK(!c.enter("b", "x", "192.0.2.1"));
    CHECK(c.enter("b", "x", "192.0.2.2"));
}

TEST_CASE("client counts: whoever was here once is forgotten, whoever is here is not") {
    counted c;
    c.config.limits.max_clients_per_user = 1;
    auto stays = c.enter("stays", "x", "192.0.2.1");
    for (int i = 0; i < 20'000; ++i) {
        auto one = c.enter("user" + std::to_string(i), "x", "192.0.2.1");
        REQUIRE(one);
        c.counts.leave(*one);
    }
    CHECK(c.counts.known() < 2'100);  // the seats and the users
    CHECK(!c.enter("stays", "x", "192.0.2.1"));
    c.counts.leave(*stays);
    CHECK(c.enter("stays", "x", "192.0.2.1"));
}
