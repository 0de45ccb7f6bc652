#include "proxy/pg_login_core.hpp"

#include "protocol/pg/md5.hpp"
#include "proxy/login_guard_core.hpp"
#include "proxy/secret_book_core.hpp"

#include <doctest/doctest.h>

using namespace lull;

namespace {

struct test_guard final : login_guard {
    login_guard_core table;
    login_limits limits{0, std::chrono::minutes(1), 100};  // nobody is blocked
    int failures = 0;
    bool blocked(std::string_view address, std::string_view user) override { return table.blocked(address, user, {}, limits); }
    void failed(std::string_view address, std::string_view user) override {
        table.failed(address, user, {}, limits);
        ++failures;
    }
    bool reserve(std::string_view address, std::string_view user) override { return table.reserve(address, user, {}, limits); }
    void settle(std::string_view address, std::string_view user, login_outcome outcome) override {
        table.settle(address, user, outcome, {}, limits);
        if (outcome == login_outcome::failed) ++failures;
    }
};

/// What somebody is told in answer to the first packet.
struct newcomer {
    explicit newcomer(config::auth_method auth = config::auth_method::scram_sha_256, std::size_t asking_clusters = 0,
                      test_guard* shared = nullptr)
        : guard(shared ? *shared : own_guard) {
        config->auth = auth;
        config->console.admins = {"ops"};
        for (std::size_t i = 0; i < asking_clusters; ++i)
            config->clusters["c" + std::to_string(i)].auth_query.emplace();
        auto made = std::make_shared<routing::snapshot>();
        made->config = config;
        snapshot = made;
        login.emplace(snapshot, false, login_channel{}, entropy, verifiers, startups, guard);
    }
    std::string says(pg::parameter_list const& parameters) {
        std::string packet, out;
        pg::write_startup(packet, parameters);
        login->on_client(pg::as_bytes(packet), out);
        return out;
    }

    std::string answers(std::string const& password) {
        std::string packet = "p", out;
        auto const size = static_cast<char>(password.size() + 5);
        packet.append("\0\0\0", 3).append(1, size).append(password).append(1, '\0');
        login->on_client(pg::as_bytes(packet), out);
        return out;
    }
    std::string finds(std::optional<std::string> secret, std::string const& error = {}) {
        std::string out;
        login->on_secret(std::move(secret), error, out);
        return out;
    }

    std::shared_ptr<config::config> config = std::make_shared<config::config>();
    std::shared_ptr<routing::snapshot const> snapshot;
    setting_interner settings;
    startup_book startups{settings};
    verifier_cache verifiers;
    login_entropy entropy;
    test_guard own_guard;
    test_guard& guard;
    std::optional<pg_login_core> login;
};

std::string verifier(std::string_view password) {
    auto const made = pg::make_verifier(password, pg::as_bytes("salt"));
    return pg::format_verifier(std::get<pg::scram_verifier>(made));
}

/// To a database of no site, of which only he hears who has shown who he is.
bool lets_in(std::string const& told) {
    return told.find("3D000") != std::string::npos;
}

using need = pg_login_core::need;

}  // namespace

TEST_CASE("a password that was changed behind the answer at hand lets in at once, and is asked for once more only") {
    newcomer n(config::auth_method::password, 1);
    n.says({{"user", "ops"}, {"database", "nowhere"}});
    REQUIRE(n.login->needs() == need::secret);
    CHECK(n.login->cluster() == "c0");
    CHECK_FALSE(n.login->doubts_secret());
    n.finds(verifier("old"));
    SUBCASE("it is the new one") {
        CHECK(n.answers("new").empty());
        REQUIRE(n.login->needs() == need::secret);
        CHECK(n.login->doubts_secret());
        CHECK(lets_in(n.finds(verifier("new"))));
        CHECK(n.guard.failures == 0);
        return;
    }
    SUBCASE("it is now an md5 hash") {
        n.answers("new");
        CHECK(lets_in(n.finds(pg::md5_hash("new", "ops"))));
        CHECK(n.guard.failures == 0);
        return;
    }
    SUBCASE("he goes before he is told") {
        n.answers("other");
        n.login.reset();
    }
    SUBCASE("it is wrong by the new one, too") {
        n.answers("other");
        CHECK(n.finds(verifier("new")).find("28P01") != std::string::npos);
        CHECK(n.login->needs() == need::close);
    }
    SUBCASE("it was not changed") {
        n.answers("other");
        CHECK(n.finds(verifier("old")).find("28P01") != std::string::npos);
        CHECK(n.login->needs() == need::close);
    }
    SUBCASE("there is nobody to ask any more") {
        n.answers("other");
        CHECK(n.finds(std::nullopt, "down").find("28P01") != std::string::npos);
    }
    SUBCASE("the right one is not doubted") {
        CHECK(lets_in(n.answers("old")));
        CHECK_FALSE(n.login->doubts_secret());
        CHECK(n.guard.failures == 0);
        return;
    }
    CHECK(n.guard.failures == 1);
}

TEST_CASE("many are in flight with one answer: the right one lets all of them in, a wrong one is so many guesses as may fail") {
    for (std::size_t const most : {1u, 30u}) {
        CAPTURE(most);
        for (bool const right : {true, false}) {
            CAPTURE(right);
            test_guard guard;
            guard.limits.most = most;
            std::vector<std::unique_ptr<newcomer>> all;
            for (int i = 0; i < 60; ++i) {
                all.push_back(std::make_unique<newcomer>(config::auth_method::password, 1, &guard));
                newcomer& n = *all.back();
                n.says({{"user", "app"}, {"database", "nowhere"}});
                n.finds(verifier("old"));
            }
            std::size_t in = 0, wrong = 0, refused = 0;
            for (auto& n : all) {
                CHECK(n->answers(right ? "new" : "guess").empty());
                CHECK(n->login->needs() == need::secret);
                CHECK(n->login->doubts_secret());
            }
            for (auto& n : all) {
                std::string const told = n->finds(verifier("new"));
                in += lets_in(told);
                wrong += told.find("28P01") != std::string::npos;
                refused += told.find("too many failed authentication attempts") != std::string::npos;
            }
            CHECK(in == (right ? 60 : 0));
            CHECK(wrong == (right ? 0 : most));
            CHECK(refused == (right ? 0 : 60 - most));
            CHECK(guard.failures == static_cast<int>(wrong));
        }
    }
}

TEST_CASE("who may not log in is told by which limit, and when to come again") {
    auto const hint = [](std::size_t most, config::milliseconds window) {
        newcomer n;
        config::limits& l = n.config->limits;
        l.max_failed_logins = n.guard.limits.most = most;
        l.failed_login_window = n.guard.limits.window = window;
        for (std::size_t i = 0; i < most; ++i) n.guard.failed({}, "app");
        return n.says({{"user", "app"}, {"database", "nowhere"}});
    };
    using namespace std::chrono_literals;
    CHECK(hint(30, 60s).find("Wait 3s, then") != std::string::npos);
    CHECK(hint(3, 1h).find("Wait 1201s, then") != std::string::npos);
    CHECK(hint(1, 1s).find("Wait 2s, then") != std::string::npos);
    newcomer n;
    std::string out;
    n.login->on_timeout(out);
    CHECK(out.find("C57014") != std::string::npos);
    CHECK(out.find("limits.login_timeout") != std::string::npos);
}

TEST_CASE("who has no place is held against the answer at hand where there is no other") {
    for (bool const right : {true, false}) {
        test_guard guard;
        guard.limits.most = 1;
        newcomer first(config::auth_method::password, 1, &guard), second(config::auth_method::password, 1, &guard);
        for (newcomer* n : {&first, &second}) {
            n->says({{"user", "app"}, {"database", "nowhere"}});
            n->finds(verifier("old"));
        }
        first.answers("guess");
        CHECK(second.answers(right ? "old" : "other").empty());
        CHECK(lets_in(second.finds(std::nullopt, "down")) == right);
        CHECK(guard.failures == (right ? 0 : 1));
    }
}

TEST_CASE("a stranger is asked for once more as anybody is") {
    newcomer n(config::auth_method::password, 1);
    n.says({{"user", "ops"}, {"database", "nowhere"}});
    n.finds(std::nullopt);
    CHECK(n.answers("guess").empty());
    CHECK(n.login->needs() == need::secret);
    CHECK(n.finds(std::nullopt).find("28P01") != std::string::npos);
    CHECK(n.guard.failures == 1);
}

TEST_CASE("who logs in to a database of no site is asked for where there is one server to ask") {
    for (std::size_t const clusters : {0u, 1u, 2u}) {
        CAPTURE(clusters);
        newcomer n(config::auth_method::password, clusters);
        n.says({{"user", "app"}, {"database", "nowhere"}});
        REQUIRE((n.login->needs() == need::secret) == (clusters == 1));
        if (clusters == 1) n.finds(verifier("right"));
        CHECK(n.answers("right").find(clusters == 1 ? "3D000" : "28P01") != std::string::npos);
    }
    newcomer stranger(config::auth_method::password, 1);
    stranger.says({{"user", "app"}, {"database", "nowhere"}});
    stranger.finds(verifier("right"));
    stranger.answers("wrong");
    CHECK(stranger.finds(verifier("right")).find("3D000") == std::string::npos);
}

TEST_CASE("no server is asked for who wants the console: who may create roles there would be its admin") {
    newcomer n(config::auth_method::password, 1);
    n.says({{"user", "ops"}, {"database", "lull"}});
    CHECK(n.login->needs() == need::input);
    CHECK(n.answers("right").find("28P01") != std::string::npos);
    CHECK(n.login->needs() == need::close);
}

TEST_CASE("what auth_query said counts for its time, and what failed somebody for a second") {
    using namespace std::chrono_literals;
    secret_book::instant const start{};
    secret_book book(10s);
    CHECK(!book.find("a", start));
    book.keep("a", "x", start);
    book.keep("nobody", std::nullopt, start);
    for (char const* who : {"a", "nobody"}) {
        CAPTURE(who);
        CHECK(book.find(who, start + 9999ms));
        CHECK(!book.find(who, start + 10s));
        book.doubt(who);
        CHECK(book.find(who, start + 999ms));
        CHECK(!book.find(who, start + 1s));
    }
    book.keep("a", std::nullopt, start + 1s);
    REQUIRE(book.find("a", start + 5s));
    CHECK(!*book.find("a", start + 5s));
    book.doubt("somebody else");
    CHECK(!book.find("somebody else", start));
    secret_book none(0s);
    none.keep("a", "x", start);
    CHECK(!none.find("a", start));
}

TEST_CASE("what is doubted counts for its time where the server cannot be asked, which is not tried again for a second") {
    using namespace std::chrono_literals;
    secret_book::instant const start = secret_book::instant{} + 1h;
    secret_book book(10s);
    book.keep("a", "x", start);
    book.doubt("a");
    CHECK(!book.find("a", start + 9999ms));
    REQUIRE(book.find_doubted("a", start + 9999ms));
    CHECK(*book.find_doubted("a", start + 9999ms) == "x");
    CHECK(!book.find_doubted("a", start + 10s));
    CHECK(!book.find_doubted("b", start));
    CHECK(book.unreachable(start).empty());
    book.failed("refused", start);
    CHECK(book.unreachable(start + 999ms) == "refused");
    CHECK(book.unreachable(start + 1s).empty());
}

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
