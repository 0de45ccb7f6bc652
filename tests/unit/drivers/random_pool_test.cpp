#include "proxy/random_pool.hpp"

#include <doctest/doctest.h>

#include <array>
#include <set>
#include <vector>

using namespace lull;

TEST_CASE("nothing is handed out twice, also where the pool is filled again in between") {
    random_pool pool;
    std::set<std::array<std::byte, 24>> seen;
    for (int i = 0; i < 500; ++i) {
        std::array<std::byte, 24> one{};
        pool.fill(one);
        CHECK(one != std::array<std::byte, 24>{});
        CHECK(seen.insert(one).second);
    }
}

TEST_CASE("what is longer than the pool is filled to its end") {
    random_pool pool;
    std::vector<std::byte> much(10'000);
    pool.fill(much);
    std::set<std::byte> const values(much.end() - 1000, much.end());
    CHECK(values.size() > 100);
    pool.fill({});
}
