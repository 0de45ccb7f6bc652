#include "proxy/replay_connection.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <dlfcn.h>
#include <netdb.h>
#include <string_view>
#include <thread>

using namespace lull;

namespace {

constexpr std::chrono::seconds resolver_time_out{3};

}  // namespace

/// In place of that of libc, in this program: a name server that does not answer for one name.
extern "C" int getaddrinfo(char const* node, char const* service, addrinfo const* hints, addrinfo** found) {
    if (node && std::string_view(node) == "slow.invalid") {
        std::this_thread::sleep_for(resolver_time_out);
        return EAI_AGAIN;
    }
    auto const real = reinterpret_cast<decltype(&getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
    return real(node, service, hints, found);
}

TEST_CASE("a replay that waits for a name server can be stopped, and gives up in time") {
    using clock = std::chrono::steady_clock;
    replay_server server;
    server.where = {"slow.invalid", 5432};
    std::atomic<bool> stop{false};
    replay_connection connection(stop);
    auto begun = clock::now();
    std::thread stopper([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        stop = true;
    });
    CHECK(connection.connect(server, "app", "shop", {}, begun + std::chrono::seconds(30)).what == replay_login::result::failed);
    CHECK(clock::now() - begun < resolver_time_out / 2);
    stopper.join();
    stop = false;
    begun = clock::now();
    CHECK(connection.connect(server, "app", "shop", {}, begun + std::chrono::milliseconds(100)).what ==
          replay_login::result::failed);
    CHECK(clock::now() - begun < resolver_time_out / 2);
}
