#include "routing/backends.hpp"

#include <doctest/doctest.h>

using namespace lull;
using namespace lull::routing;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

instant at(int ms) {
    return instant{} + std::chrono::hours(1) + milliseconds(ms);
}

/// One site; a primary (0) and two replicas (1, 2) that have replayed up to 100 s.
snapshot two_replicas() {
    snapshot s;
    site shop;
    shop.primary = backend_id{0};
    shop.replicas = {backend_id{1}, backend_id{2}};
    s.sites = {shop};
    for (unsigned i = 0; i < 3; ++i) {
        backend b;
        b.id = backend_id{static_cast<std::uint16_t>(i)};
        b.role = i == 0 ? role::primary : role::replica;
        b.healthy = true;
        b.fresh_through = at(100'000);
        s.backends.push_back(b);
    }
    return s;
}

unsigned reader(snapshot const& s, instant wrote, instant now, unsigned seed = 0) {
    return static_cast<unsigned>(choose_reader(s, site_id{0}, wrote, now, seed));
}

}  // namespace

TEST_CASE("readers are spread over the replicas that may serve them") {
    auto s = two_replicas();
    CHECK(reader(s, {}, at(100'100), 0) == 1);
    CHECK(reader(s, {}, at(100'100), 1) == 2);
    s.backends[1].healthy = false;
    CHECK(reader(s, {}, at(100'100), 0) == 2);
    s.backends[2].healthy = false;
    CHECK(reader(s, {}, at(100'100), 0) == 0);
}

TEST_CASE("who has written reads his write") {
    auto s = two_replicas();
    CHECK(reader(s, at(100'001), at(100'100)) == 0);
    s.backends[2].fresh_through = at(100'001);
    CHECK(reader(s, at(100'001), at(100'100)) == 2);
    CHECK(reader(s, at(99'000), at(100'100)) == 1);
}

TEST_CASE("a replica behind its cluster's limit is not read from") {
    auto s = two_replicas();
    s.backends[1].max_lag = milliseconds(500);
    CHECK(reader(s, {}, at(100'500)) == 1);
    CHECK(reader(s, {}, at(100'501)) == 2);
    CHECK(reader(s, {}, at(110'001)) == 0);
}

TEST_CASE("nobody reads a replica that has not seen the migration of the last window") {
    auto s = two_replicas();
    s.sites[0].fresh_floor = at(100'001);
    CHECK(reader(s, {}, at(100'100)) == 0);
    s.backends[1].fresh_through = at(100'001);
    CHECK(reader(s, {}, at(100'100)) == 1);
}

TEST_CASE("a frozen site reads from what is frozen for it, however old") {
    auto s = two_replicas();
    s.sites[0].mode = mode::sealed;
    s.sites[0].frozen = true;
    s.backends[2].frozen_for = site_id{0};
    for (unsigned seed = 0; seed < 4; ++seed) CHECK(reader(s, at(100'500), at(900'000), seed) == 2);
    SUBCASE("and from the primary where none is left") {
        s.backends[2].healthy = false;
        CHECK(reader(s, {}, at(100'100)) == 0);
    }
    SUBCASE("and from one that follows only when the primary is gone too") {
        s.backends[2].healthy = false;
        s.backends[0].healthy = false;
        CHECK(reader(s, {}, at(100'100)) == 1);
        s.backends[1].frozen_for = site_id{1};
        CHECK(reader(s, {}, at(100'100)) == 0);
    }
}

TEST_CASE("a replica that is frozen for another site is nobody else's") {
    auto s = two_replicas();
    s.backends[1].frozen_for = site_id{1};
    for (unsigned seed = 0; seed < 4; ++seed) CHECK(reader(s, {}, at(100'100), seed) == 2);
}

TEST_CASE("while reopening, reads leave a replica that is still held") {
    auto s = two_replicas();
    s.sites[0].mode = mode::reopening;
    s.backends[1].frozen_for = site_id{0};
    s.backends[2].frozen_for = site_id{0};
    CHECK(reader(s, {}, at(100'100)) == 0);
}

TEST_CASE("a replica is fresh through the last sample that it has replayed") {
    freshness f;
    auto const settled = seconds(1);
    CHECK(f.through() == instant{});
    f.sampled(at(0), lsn{100}, lsn{100}, settled);
    f.replayed(lsn{99});
    CHECK(f.through() == instant{});
    f.sampled(at(100), lsn{200}, lsn{200}, settled);
    f.replayed(lsn{150});
    CHECK(f.through() == at(0));
    f.replayed(lsn{200});
    CHECK(f.through() == at(100));
    SUBCASE("an idle primary keeps it fresh") {
        f.sampled(at(200), lsn{200}, lsn{200}, settled);
        CHECK(f.through() == at(200));
    }
    SUBCASE("a tail that is not flushed holds it up, until it has settled") {
        f.sampled(at(200), lsn{300}, lsn{200}, settled);
        f.sampled(at(1100), lsn{300}, lsn{200}, settled);
        CHECK(f.through() == at(100));
        f.sampled(at(1200), lsn{300}, lsn{200}, settled);
        CHECK(f.through() == at(1200));
        f.sampled(at(1300), lsn{400}, lsn{200}, settled);
        CHECK(f.through() == at(1200));
        f.replayed(lsn{400});
        CHECK(f.through() == at(1300));
    }
    SUBCASE("a log that goes back is another server's") {
        f.sampled(at(200), lsn{50}, lsn{50}, settled);
        CHECK(f.through() == instant{});
    }
    SUBCASE("a busy primary never stops it from moving") {
        for (int i = 0; i < 1000; ++i)
            f.sampled(at(200 + i), lsn{static_cast<std::uint64_t>(300 + i)}, lsn{0}, settled);
        f.replayed(lsn{310});
        CHECK(f.through() == at(210));
    }
}

TEST_CASE("log positions are read and written as PostgreSQL does") {
    CHECK(parse_lsn("16/B374D848") == lsn{0x16B374D848});
    CHECK(parse_lsn("0/0") == lsn{0});
    CHECK(parse_lsn("FFFFFFFF/FFFFFFFF") == lsn{0xFFFFFFFFFFFFFFFF});
    for (char const* bad : {"", "/", "0/", "/0", "0/0/0", "0/G", " 0/0", "0/0 ", "123456789/0", "0/-1"})
        CHECK_FALSE(parse_lsn(bad));
    CHECK(format_lsn(lsn{0x16B374D848}) == "16/B374D848");
    CHECK(format_lsn(lsn{0xA0313E0}) == "0/A0313E0");
}

TEST_CASE("a position behind a page header is that of the page") {
    constexpr std::uint64_t segment = 16 * 1024 * 1024;
    CHECK(without_page_header(lsn{8192 + 24}, segment) == lsn{8192});
    CHECK(without_page_header(lsn{segment + 40}, segment) == lsn{segment});
    CHECK(without_page_header(lsn{segment + 24}, segment) == lsn{segment + 24});
    CHECK(without_page_header(lsn{8192 + 40}, segment) == lsn{8192 + 40});
    CHECK(without_page_header(lsn{8192}, segment) == lsn{8192});
    CHECK(without_page_header(lsn{8192 + 32}, segment) == lsn{8192 + 32});
}
