#include "proxy/own_addresses.hpp"

#include "config/network.hpp"

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <vector>

using namespace lull;

namespace {

struct address {
    sockaddr_storage storage{};

    explicit address(char const* text) {
        auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
        auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
        if (::inet_pton(AF_INET, text, &v4.sin_addr) == 1)
            storage.ss_family = AF_INET;
        else if (::inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
            storage.ss_family = AF_INET6;
        else
            storage.ss_family = AF_UNIX;
    }
    sockaddr const* get() const { return reinterpret_cast<sockaddr const*>(&storage); }
};

std::optional<config::ip_network> network(char const* of, char const* mask) {
    return interface_network(address(of).get(), mask ? address(mask).get() : nullptr);
}

}  // namespace

TEST_CASE("an interface's network is that of its mask") {
    CHECK(network("192.0.2.1", "255.255.255.0")->contains(*config::parse_address("192.0.2.77")));
    CHECK(!network("192.0.2.1", "255.255.255.0")->contains(*config::parse_address("192.0.3.1")));
    CHECK(network("2001:db8::1", "ffff:ffff::")->contains(*config::parse_address("2001:db8::77")));
    CHECK(!network("nothing of IP", "255.0.0.0"));
    CHECK(!interface_network(nullptr, nullptr));
}

TEST_CASE("an interface whose mask is missing, of another family or without a bit lets in its own address only") {
    for (char const* mask : {static_cast<char const*>(nullptr), "0.0.0.0", "ffff::", "nothing of IP"}) {
        auto const own = network("192.0.2.1", mask);
        REQUIRE(own);
        CHECK(own->contains(*config::parse_address("192.0.2.1")));
        CHECK(!own->contains(*config::parse_address("192.0.2.2")));
        CHECK(!own->contains(*config::parse_address("203.0.113.9")));
    }
    for (char const* mask : {static_cast<char const*>(nullptr), "::", "255.0.0.0", "nothing of IP"}) {
        auto const own = network("2001:db8::1", mask);
        REQUIRE(own);
        CHECK(own->contains(*config::parse_address("2001:db8::1")));
        CHECK(!own->contains(*config::parse_address("2001:db8::2")));
    }
}

TEST_CASE("this machine's addresses are asked for once a second") {
    using namespace std::chrono_literals;
    own_addresses mine;
    own_addresses::instant const start{};
    auto const first = mine.at(start);
    CHECK(mine.at(start + 999ms).data() == first.data());
    auto const loopback = *config::parse_address("127.0.0.1");
    bool found = false;
    for (auto const& one : mine.at(start + 1s)) found = found || one.contains(loopback);
    CHECK(found);
}
