#include "proxy/pool_core.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace lull;
using namespace std::chrono_literals;
using outcome = pool_core::outcome;

namespace {

/// A pool of a user on a database; both share with other pools.
struct pool {
    pool_permits own;
    pool_core core{pool_allowance(own)};

    pool(pool_permits& of_database, std::size_t most_of_database, pool_permits& of_user,
         std::size_t most_of_user) {
        core.allowance().share(of_database, most_of_database);
        core.allowance().share(of_user, most_of_user);
    }
    outcome acquire(pool_core::client who) { return core.acquire(who, {}, 10).how; }
};

}  // namespace

TEST_CASE("pools: one that somebody asks for by its name is granted where it is idle") {
    pool_permits own;
    pool_core core{pool_allowance(own)};
    CHECK(core.acquire(1, {}, 2).how == outcome::open);
    core.opened();
    CHECK(core.available(100, {}));  // the client has waited for it
    CHECK(!core.take(100, {}));
    CHECK(!core.available(100, {}));
    CHECK(!core.take(101, {}));
    CHECK(core.take(100, {}));
    CHECK(!core.take(100, {}));
    CHECK(core.acquire(2, {}, 1).how == outcome::wait);
    CHECK(core.starving());
}

TEST_CASE(
    "pools: what they share is bounded for all of them together, and nothing is kept where something is "
    "short") {
    pool_permits database, app, other;
    pool one(database, 2, app, 0), two(database, 2, other, 1);
    CHECK(one.acquire(1) == outcome::open);
    CHECK(two.acquire(2) == outcome::open);
    CHECK(one.acquire(3) == outcome::wait);  // two of the database
    CHECK(two.acquire(4) == outcome::wait);
    // One less of the database: the user of the second pool has no more, the first may have one.
    CHECK(!one.core.gone(100, true, 10, false));
    CHECK(!two.core.want_more(10));
    CHECK(one.core.want_more(10));
    CHECK(!one.core.want_more(10));
}

TEST_CASE(
    "pools: whoever starves for what is shared has another pool's idle connection given up, and not its own "
    "kind's") {
    pool_permits database, app, other;
    pool one(database, 1, app, 0), two(database, 1, other, 0);
    CHECK(one.acquire(1) == outcome::open);
    one.core.opened();
    CHECK(one.core.available(100, {})->to == 1);
    CHECK(!one.core.available(100, {}));  // given back: idle
    CHECK(!one.core.to_give_up());
    CHECK(two.acquire(2) == outcome::wait);
    REQUIRE(one.core.to_give_up());
    CHECK(*one.core.to_give_up() == 100);
    one.core.gone(100, false, 10, true);
    CHECK(two.core.want_more(10));
    CHECK(!database.starving());
    // Who leaves does not starve on.
    CHECK(two.acquire(3) == outcome::wait);
    CHECK(database.starving());
    CHECK(two.core.cancel(3));
    CHECK(!database.starving());
}

TEST_CASE("pools: what was taken while there was no limit counts once there is one") {
    pool_permits database, app;
    pool one(database, 0, app, 0);
    CHECK(one.acquire(1) == outcome::open);
    CHECK(one.acquire(2) == outcome::open);
    one.core.allowance().limit(0, 2);
    CHECK(one.acquire(3) == outcome::wait);
    one.core.allowance().limit(0, 3);
    CHECK(one.core.want_more(10));
}

TEST_CASE("pools: what is more than the limits allow is seen, whichever has become less, and whoever has taken it") {
    pool_permits database, app, other;
    pool one(database, 0, app, 0), two(database, 0, other, 3);
    CHECK(one.acquire(1) == outcome::open);
    CHECK(two.acquire(2) == outcome::open);
    CHECK(two.acquire(3) == outcome::open);
    CHECK(!two.core.allowance().exceeded(2));
    CHECK(two.core.allowance().exceeded(1));
    CHECK(!one.core.allowance().exceeded(1));
    one.core.allowance().limit(0, 2);
    CHECK(one.core.allowance().exceeded(10));
    CHECK(!two.core.gone(100, true, 10, false));
    CHECK(!one.core.allowance().exceeded(10));
    one.core.allowance().limit(0, 0);
    two.core.allowance().limit(1, 1);
    CHECK(!two.core.allowance().exceeded(1));
    CHECK(two.acquire(4) == outcome::wait);
}

TEST_CASE("pools: one that rests opens nothing, lends what it has, and has nobody give anything up for it") {
    pool_permits database, app, other;
    pool one(database, 2, app, 0), two(database, 2, other, 0);
    CHECK(two.acquire(1) == outcome::open);
    two.core.opened();
    CHECK(two.core.available(200, {})->to == 1);
    CHECK(!two.core.available(200, {}));
    CHECK(one.acquire(2) == outcome::open);
    one.core.opened();
    CHECK(one.core.available(100, {})->to == 2);
    one.core.rest(true);
    CHECK(one.acquire(3) == outcome::wait);
    CHECK(!one.core.want_more(10));
    CHECK(!database.starving());
    CHECK(one.core.available(100, {})->to == 3);
    CHECK(one.acquire(4) == outcome::wait);
    CHECK(!one.core.gone(100, false, 10, true));
    one.core.rest(false);
    CHECK(one.core.want_more(10));
    // Many who wait do not ask the server all at once.
    CHECK(one.acquire(5) == outcome::wait);
    CHECK(!database.starving());
    CHECK(!one.core.gone(101, true, 10, false));
    CHECK(one.core.want_more(10));
    CHECK(!one.core.want_more(10));
    one.core.opened();
    CHECK(one.core.available(102, {})->to == 4);
    CHECK(!one.core.want_more(10));
    CHECK(database.starving());
    one.core.rest(true);
    CHECK(!database.starving());
}

namespace {

/// A pool alone whose connections are checked after 30 s.
struct checked_pool {
    pool_permits own;
    pool_core core{pool_allowance(own)};
    routing::instant const begin{std::chrono::hours(1)};

    explicit checked_pool(std::size_t connections, std::chrono::seconds delay = 30s) {
        core.check_after(delay);
        for (pool_core::server name = 1; name <= connections; ++name) {
            CHECK(core.acquire(900 + name, begin, 10).how == outcome::open);
            core.opened();
            REQUIRE(core.available(name, begin));
        }
        for (pool_core::server name = 1; name <= connections; ++name)
            CHECK(!core.available(name, begin - std::chrono::milliseconds(connections - name)));
    }
    std::vector<pool_core::server> start_checks(routing::instant now) {
        std::vector<pool_core::server> out;
        while (auto const name = core.start_check(now)) out.push_back(*name);
        return out;
    }
};

using servers = std::vector<pool_core::server>;

}  // namespace

TEST_CASE("pools: free connections are checked where nobody waits, the coldest first, and half of them stay for whoever comes") {
    checked_pool p(4);
    CHECK(p.start_checks(p.begin + 29s).empty());
    CHECK(p.start_checks(p.begin + 30s) == servers{1, 2});
    CHECK(p.core.idle() == 2);
    CHECK(!p.core.available(2, p.begin + 30s));
    CHECK(!p.core.available(1, p.begin + 30s));
    CHECK(p.start_checks(p.begin + 30s) == servers{3, 4});
    CHECK(!p.core.available(3, p.begin + 31s));
    // They have stood there for as long as before, and in the same order.
    CHECK(p.core.idle_since(p.begin + 1s) == servers{1, 2, 3});
    CHECK(p.core.free() == servers{1, 2, 3, 4});
    CHECK(!p.core.available(4, p.begin + 31s));
    CHECK(p.start_checks(p.begin + 59s).empty());
    CHECK(p.start_checks(p.begin + 60s) == servers{1, 2});
    CHECK(p.core.checks_since(p.begin + 60s).empty());
    CHECK(p.core.checks_since(p.begin + 61s) == servers{1, 2});
}

TEST_CASE("pools: one that is due is not lent; a colder one that was checked is, and if there is none it is checked first") {
    checked_pool p(2);
    auto const later = p.begin + 40s;
    CHECK(p.start_checks(later) == servers{1});
    CHECK(!p.core.ready(later));
    CHECK(!p.core.available(1, later));
    CHECK(p.core.ready(later) == 1);
    CHECK(p.core.acquire(5, later, 2).what == 1);
    auto const asked = p.core.acquire(6, later, 2);
    CHECK(asked.how == outcome::check);
    CHECK(asked.what == 2);
    CHECK(p.core.acquire(7, later, 2).how == outcome::wait);
    auto const grant = p.core.available(2, later);
    REQUIRE(grant);
    CHECK(grant->to == 6);
    CHECK(grant->what == 2);
    CHECK(p.core.available(1, later)->to == 7);
}

TEST_CASE("pools: who waits for one check does not wait for it alone") {
    for (auto const delay : {30s, 0s}) {
        checked_pool p(3, delay);
        auto const later = p.begin + 40s;
        auto const asked = p.core.acquire(5, later, 3);
        CHECK(asked.how == outcome::check);
        CHECK(asked.what == 3);
        CHECK(p.start_checks(later + 100ms) == servers{1, 2});
        auto const grant = p.core.available(2, later + 101ms);
        REQUIRE(grant);
        CHECK(grant->to == 5);
        CHECK(!p.core.available(1, later + 102ms));
    }
}

TEST_CASE("pools: with a delay of 0 each free one is checked before it is lent, and only then; with never none is") {
    checked_pool p(1, 0s);
    CHECK(p.start_checks(p.begin + 1h).empty());
    CHECK(!p.core.ready(p.begin));
    CHECK(p.core.acquire(5, p.begin, 1).how == outcome::check);
    CHECK(p.core.available(1, p.begin)->to == 5);
    CHECK(!p.core.available(1, p.begin));
    p.core.check_after(pool_core::never);
    CHECK(p.start_checks(p.begin + 1h).empty());
    CHECK(p.core.acquire(5, p.begin + 1h, 1).how == outcome::granted);
}

TEST_CASE("pools: whoever waits for one whose check takes long gets another, and one that fails makes room for the next") {
    checked_pool p(1);
    auto const later = p.begin + 40s;
    CHECK(p.core.acquire(5, later, 2).how == outcome::check);
    CHECK(!p.core.want_more(2));
    p.core.lose_hope(later);
    CHECK(!p.core.want_more(2));
    p.core.lose_hope(later + 1s);
    CHECK(p.core.want_more(2));
    CHECK(!p.core.want_more(2));
    p.core.opened();
    CHECK(p.core.available(2, later + 1s)->to == 5);
    CHECK(p.core.acquire(6, later + 1s, 2).how == outcome::wait);
    CHECK(p.core.gone(1, false, 2, true));  // another is opened for it
    CHECK(p.core.open() == 2);
    CHECK(p.core.free().empty());
}

TEST_CASE("pools: after one has failed, those of which nothing was heard since its check began are due") {
    checked_pool p(3);
    auto const later = p.begin + 10s;
    p.core.check_after(10s);
    CHECK(p.start_checks(later) == servers{1, 2});
    p.core.check_after(30s);
    CHECK(!p.core.available(2, later + 1s));
    CHECK(p.core.ready(later + 1s) == 3);
    p.core.doubt(1, later + 2s);
    p.core.gone(1, false, 3, true);
    CHECK(p.core.ready(later + 2s) == 2);
    CHECK(p.start_checks(later + 2s) == servers{3});
}
