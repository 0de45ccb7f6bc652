#include "proxy/descriptor_marks_core.hpp"

#include <doctest/doctest.h>

using namespace lull;

TEST_CASE("file descriptors: whatever the limit is, each use leaves some to those behind it") {
    for (std::size_t limit = 64; limit < 2'000'000; limit += limit / 7) {
        CAPTURE(limit);
        std::size_t const clients = descriptors_below(descriptor_use::client, limit);
        std::size_t const refusals = descriptors_below(descriptor_use::refusal, limit);
        std::size_t const servers = descriptors_below(descriptor_use::server, limit);
        std::size_t const metrics = descriptors_below(descriptor_use::metrics, limit);
        std::size_t const admin = descriptors_below(descriptor_use::admin, limit);
        CHECK(clients >= limit * 3 / 8);
        CHECK(refusals >= clients + 2);
        CHECK(servers >= refusals + 6);
        CHECK(metrics >= servers + 16);
        CHECK(admin >= metrics + 8);
        CHECK(limit >= admin + 8);
    }
    CHECK(descriptors_below(descriptor_use::client, 1024) == 672);
    CHECK(descriptors_below(descriptor_use::client, 1'048'576) > 786'000);
    for (std::size_t limit = 0; limit < 64; ++limit) CHECK(descriptors_below(descriptor_use::admin, limit) <= limit);
}
