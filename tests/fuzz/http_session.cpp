// A whole session against two hostile peers. Each record: one byte that says which event, one for how many
// bytes follow. Nothing may be left behind, buffers stay bounded, and a malformed request ends the
// connection.
#include "proxy/http_session_core.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

using namespace lull;

namespace {

struct world {
    http_env env;
    std::unique_ptr<http_session_core> core;
    bool connected = false;
    bool wanted = false;

    world() {
        auto settings = std::make_shared<config::site>();
        settings->name = "shop";
        settings->http_rules = {{{"POST"}, "/s/**", true}};
        settings_ = settings;
        env.head_limits = {2048, 1024, 20};
        flip(routing::mode::read_write);
        core = std::make_unique<http_session_core>(env, "192.0.2.7", 80);
    }
    void flip(routing::mode m) {
        auto next = std::make_shared<routing::snapshot>();
        routing::site site;
        site.settings = settings_;
        site.mode = m;
        next->sites.push_back(site);
        next->by_host["a"] = site.id;
        env.snapshot = next;
    }
    void settle(std::size_t width) {
        for (bool moved = true; moved;) {
            moved = false;
            auto const a = core->take_actions();
            if (a.release_upstream && !connected) std::abort();
            if (a.release_upstream || a.drop_upstream) connected = wanted = false;
            if (a.connect) {
                if (connected) std::abort();
                wanted = true;
            }
            auto const out = core->client_output();
            if (out.size() > 300'000) std::abort();
            if (std::size_t const n = std::min(width, out.size())) {
                core->client_sent(n);
                moved = true;
            }
            if (!connected) continue;
            auto const up = core->upstream_output();
            if (std::size_t const n = std::min(width, up[0].size() + up[1].size())) {
                core->upstream_sent(n);
                moved = true;
            }
        }
    }

  private:
    std::shared_ptr<config::site const> settings_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    world w;
    while (size >= 2) {
        unsigned const event = data[0] % 16;
        std::size_t const width = data[0] & 0x80 ? 3 : 100'000;
        std::size_t const n = std::min<std::size_t>(data[1], size - 2);
        std::string_view const bytes(reinterpret_cast<char const*>(data) + 2, n);
        data += 2 + n;
        size -= 2 + n;
        if (event < 6) {
            auto const space = w.core->client_space();
            std::size_t const take = std::min(space.size(), n);
            std::copy_n(bytes.begin(), take, space.begin());
            w.core->client_received(take);
        } else if (event < 10) {
            if (w.wanted && !w.connected) {
                w.connected = true;
                w.wanted = false;
                w.core->upstream_connected(event == 6);
                w.settle(width);
            }
            if (w.connected) {
                auto const space = w.core->upstream_space();
                std::size_t const take = std::min(space.size(), n);
                std::copy_n(bytes.begin(), take, space.begin());
                w.core->upstream_received(take);
            }
        } else if (event == 10) {
            if (w.connected) w.core->upstream_ended();
        } else if (event == 11) {
            if (w.wanted && !w.connected) {
                w.wanted = false;
                w.core->upstream_failed(upstream_failure::unreachable);
            }
        } else if (event == 12) {
            w.core->client_ended();
        } else if (event == 13) {
            if (w.connected) n % 2 ? w.core->upstream_lost() : w.core->upstream_write_failed();
        } else if (event == 14) {
            w.flip(static_cast<routing::mode>(n % 4));
        } else {
            w.env.now += std::chrono::seconds(n);
            w.core->tick();
        }
        w.settle(width);
    }
    w.core->client_lost();
    w.core.reset();
    if (w.env.writes_of(routing::site_id{}) != 0 || w.env.stats.open_tunnels != 0) std::abort();
    return 0;
}
