#include "proxy/tls_doubts.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace lull;
using namespace std::chrono_literals;

TEST_CASE("a certificate is doubted when it counts no more, soon no more, or not yet") {
    std::chrono::sys_seconds const now(std::chrono::seconds(1'700'000'000));
    using std::chrono::days;
    auto const doubt = [&](certificate_period const& period) {
        auto const found = doubt_period("a.crt", period, now);
        return found ? found->what : std::string();
    };
    CHECK(doubt({now - days(1), now + days(15)}).empty());
    CHECK(doubt({now, now + days(14)}).empty());
    CHECK(doubt({now - days(1), now + days(14) - 1s}) == "a.crt: it expires soon, on 2023-11-28T22:13:19Z");
    CHECK(doubt({now - days(9), now}) == "a.crt: it has expired, on 2023-11-14T22:13:20Z");
    CHECK(doubt({now + 1s, now + days(90)}) == "a.crt: it is not valid before 2023-11-14T22:13:21Z");
}

TEST_CASE("a private key is doubted that others than its owner can read") {
    char name[] = "/tmp/lull-key-XXXXXX";
    int const fd = ::mkstemp(name);
    REQUIRE(fd >= 0);
    auto const doubted = [&](mode_t mode) {
        REQUIRE(::fchmod(fd, mode) == 0);
        return doubt_key_file(name).has_value();
    };
    CHECK_FALSE(doubted(0600));
    CHECK_FALSE(doubted(0400));
    CHECK(doubted(0604));
    CHECK(doubted(0660));
    CHECK(doubted(0640) == (::geteuid() != 0));  // root's may be read by a group
    ::close(fd);
    ::unlink(name);
}
