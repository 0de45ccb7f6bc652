#include "proxy/pool_core.hpp"

#include <doctest/doctest.h>

using namespace lull;
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
    CHECK(!core.take(100));
    CHECK(!core.available(100, {}));
    CHECK(!core.take(101));
    CHECK(core.take(100));
    CHECK(!core.take(100));
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
