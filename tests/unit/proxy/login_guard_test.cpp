#include "proxy/login_guard_core.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace lull;
using namespace std::chrono_literals;

TEST_CASE("failed logins: so many in a window, by address and user, and time heals") {
    login_guard_core guard;
    login_limits const limits{3, 60s, 100};
    login_guard_core::instant now{};
    for (int i = 0; i < 3; ++i) {
        CHECK(!guard.blocked("192.0.2.1", "app", now, limits));
        guard.failed("192.0.2.1", "app", now, limits);
    }
    CHECK(guard.blocked("192.0.2.1", "app", now, limits));
    CHECK(!guard.blocked("192.0.2.1", "other", now, limits));
    CHECK(!guard.blocked("192.0.2.2", "app", now, limits));
    CHECK(guard.blocked("192.0.2.1", "app", now + 19s, limits));
    CHECK(!guard.blocked("192.0.2.1", "app", now + 21s, limits));  // one attempt each 20 seconds
    guard.failed("192.0.2.1", "app", now + 21s, limits);
    CHECK(guard.blocked("192.0.2.1", "app", now + 22s, limits));
    CHECK(!guard.blocked("192.0.2.1", "app", now + 200s, limits));
    CHECK(!guard.blocked("192.0.2.1", "app", now, login_limits{0, 60s, 100}));
}

TEST_CASE("failed logins: what is not settled takes a place, and does not block who has not failed") {
    login_guard_core guard;
    login_limits const limits{2, 60s, 100};
    login_guard_core::instant now{};
    auto const reserve = [&] { return guard.reserve("a", "app", now, limits); };
    auto const settle = [&](login_outcome outcome) { guard.settle("a", "app", outcome, now, limits); };
    CHECK(reserve());
    CHECK(reserve());
    CHECK(!reserve());
    CHECK(guard.reserve("b", "app", now, limits));
    CHECK(!guard.blocked("a", "app", now, limits));
    settle(login_outcome::right);
    CHECK(reserve());
    settle(login_outcome::failed);
    CHECK(!reserve());
    CHECK(!guard.blocked("a", "app", now, limits));
    settle(login_outcome::failed);
    CHECK(guard.blocked("a", "app", now, limits));
    guard.settle("b", "app", login_outcome::right, now, limits);
    CHECK(guard.size() == 1);  // who has not failed is not remembered
}

TEST_CASE("failed logins: the table is bounded, and who has not failed for longest is forgotten first") {
    login_guard_core guard;
    login_limits const limits{1, 60s, 10};
    login_guard_core::instant now{};
    guard.failed("a", "first", now, limits);
    for (int i = 0; i < 9; ++i) guard.failed("a", std::to_string(i), now, limits);
    guard.failed("a", "first", now, limits);  // again: no longer the oldest
    for (int i = 9; i < 18; ++i) guard.failed("a", std::to_string(i), now, limits);
    CHECK(guard.size() == 10);
    CHECK(guard.blocked("a", "first", now, limits));
    CHECK(!guard.blocked("a", "0", now, limits));
}

TEST_CASE("failed logins: who holds a place makes no room") {
    login_guard_core guard;
    login_limits const limits{1, 60s, 2};
    login_guard_core::instant now{};
    CHECK(guard.reserve("a", "holds", now, limits));
    for (int i = 0; i < 5; ++i) guard.failed("a", std::to_string(i), now, limits);
    CHECK(!guard.reserve("a", "holds", now, limits));
    guard.settle("a", "holds", login_outcome::failed, now, limits);
    CHECK(guard.blocked("a", "holds", now, limits));
    CHECK(guard.size() == 2);
}
