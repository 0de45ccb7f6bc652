#include "proxy/pg_login_core.hpp"

#include <doctest/doctest.h>

using namespace lull;

namespace {

struct nobody_fails final : login_guard {
    bool blocked(std::string_view, std::string_view) override { return false; }
    void failed(std::string_view, std::string_view) override {}
};

/// What somebody is told in answer to the first packet.
struct newcomer {
    newcomer() {
        auto settings = std::make_shared<config::config>();
        settings->console.admins = {"ops"};
        auto made = std::make_shared<routing::snapshot>();
        made->config = settings;
        snapshot = made;
        login.emplace(snapshot, false, login_channel{}, entropy, verifiers, startups, guard);
    }
    std::string says(pg::parameter_list const& parameters) {
        std::string packet, out;
        pg::write_startup(packet, parameters);
        login->on_client(pg::as_bytes(packet), out);
        return out;
    }

    std::shared_ptr<routing::snapshot const> snapshot;
    setting_interner settings;
    startup_book startups{settings};
    verifier_cache verifiers;
    login_entropy entropy;
    nobody_fails guard;
    std::optional<pg_login_core> login;
};

}  // namespace

TEST_CASE("where there are too many clients the console is open, and nothing else") {
    newcomer client, walsender, operators;
    for (newcomer* n : {&client, &walsender, &operators}) n->login->crowded(turned_away_by::clients);
    CHECK(client.says({{"user", "ops"}, {"database", "shop"}}).find("53300") != std::string::npos);
    CHECK(client.login->turned_away());
    CHECK(client.login->needs() == pg_login_core::need::close);
    CHECK(walsender.says({{"user", "ops"}, {"database", "lull"}, {"replication", "true"}}).find("53300") !=
          std::string::npos);
    CHECK(operators.says({{"user", "ops"}, {"database", "lull"}}).find("53300") == std::string::npos);
    CHECK_FALSE(operators.login->turned_away());
}

TEST_CASE("where there are no file descriptors a client is told which limit that is") {
    newcomer client;
    client.login->crowded(turned_away_by::open_files);
    std::string const said = client.says({{"user", "ops"}, {"database", "shop"}});
    CHECK(said.find("sorry, too many clients already") != std::string::npos);
    CHECK(said.find("open files") != std::string::npos);
    CHECK(client.login->turned_away() == turned_away_by::open_files);
}

TEST_CASE("where there is room nobody is turned away") {
    newcomer client;
    CHECK(client.says({{"user", "ops"}, {"database", "shop"}}).find("53300") == std::string::npos);
    CHECK_FALSE(client.login->turned_away());
}
