// Plays a script of bytes and events against http_session_core, as its driver would, cut into any pieces,
// with any width of the sockets, and with a failure at any step.
#pragma once

#include "protocol/http/body.hpp"
#include "proxy/http_session_core.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lull::test {

struct http_step {
    enum class kind { client, client_end, upstream, upstream_end, upstream_lost, refuse_next, mode, wait };
    kind what;
    std::string bytes;
    routing::mode mode{};
    std::chrono::milliseconds time{};
};

/// What both peers saw, apart from how it was cut.
struct http_outcome {
    std::string client;                 // heads as they are, chunked bodies without their framing
    std::vector<std::string> upstream;  // by connection, likewise
    bool closed = false;
    bool reset = false;
    bool client_finished = false;
    std::size_t writes_open = 0;
    friend bool operator==(http_outcome const&, http_outcome const&) = default;
};

/// Chunk lines depend on how the bytes arrive; everything else must not.
inline std::string without_chunks(std::string_view in, bool responses) {
    std::string out;
    http::head_limits limits{1 << 20, 1 << 20, 1000};
    while (!in.empty()) {
        http::head_scanner scanner;
        auto const found = scanner.scan(in, limits);
        auto const* size = std::get_if<std::size_t>(&found);
        if (!size) return out.append(in);
        out.append(in.substr(0, *size));
        http::request_head request;
        http::response_head response;
        auto const e = responses ? http::parse_response_head(in.substr(0, *size), limits,
                                                             http::answered::other, response)
                                 : http::parse_request_head(in.substr(0, *size), limits, request);
        REQUIRE(e == http::errc::none);
        in.remove_prefix(*size);
        auto const how = responses ? response.framing : request.framing;
        if (how == http::framing::until_close ||
            (responses ? response.status == 101 : !request.upgrade.empty()))
            return out.append(in);
        http::body_reader body(how, responses ? response.content_length : request.content_length);
        while (true) {
            auto const step = body.next(in, {});
            REQUIRE(step.what != http::body_step::kind::error);
            out.append(step.data);
            if (step.what == http::body_step::kind::trailer)
                out.append("[").append(step.trailer.name).append("=").append(step.trailer.value).append("]");
            in.remove_prefix(step.consumed);
            if (step.what == http::body_step::kind::need_more)
                return out.append("[...").append(in).append("]");
            if (step.what == http::body_step::kind::end) break;
        }
        out.append("[end]");
    }
    return out;
}

/// How a script is cut.
struct http_manner {
    std::size_t piece = std::string::npos;  // bytes of a step that arrive at once
    std::size_t first = 0;                  // of each step: the first piece, when not 0
    std::size_t width = std::string::npos;  // bytes that a socket takes at once
};

class http_script {
  public:
    using kind = http_step::kind;
    std::vector<config::http_rule> rules;
    config::write_policy writes = config::write_policy::refuse;
    routing::mode mode = routing::mode::read_write;
    bool head_requests = false;  // responses cannot be read without knowing what they answer

    http_script& client(std::string bytes) { return add({kind::client, std::move(bytes), {}, {}}); }
    http_script& client_end() { return add({kind::client_end, {}, {}, {}}); }
    http_script& upstream(std::string bytes) { return add({kind::upstream, std::move(bytes), {}, {}}); }
    http_script& upstream_end() { return add({kind::upstream_end, {}, {}, {}}); }
    http_script& upstream_lost() { return add({kind::upstream_lost, {}, {}, {}}); }
    /// The next connection is not accepted.
    http_script& refuse_next() { return add({kind::refuse_next, {}, {}, {}}); }
    http_script& flip(routing::mode m) { return add({kind::mode, {}, m, {}}); }
    http_script& wait(std::chrono::milliseconds t) { return add({kind::wait, {}, {}, t}); }

    enum class failure { none, client_lost, client_end, upstream_end, upstream_lost, upstream_deaf, silence };

    http_outcome play(http_manner how = {}, std::size_t fail_at = std::string::npos,
                      failure why = failure::none) const;
    /// At every split, byte by byte, through narrow sockets: the same outcome, which is returned.
    http_outcome play_all() const;
    /// Whatever fails at whatever step: nothing is left behind.
    void fail_everywhere() const;

  private:
    http_script& add(http_step s) {
        steps_.push_back(std::move(s));
        return *this;
    }
    std::vector<http_step> steps_;
};

class http_world {
  public:
    explicit http_world(http_script const& s) {
        settings_ = std::make_shared<config::site>();
        settings_->name = "shop";
        settings_->http_rules = s.rules;
        settings_->writes = s.writes;
        flip(s.mode);
        env.wall = std::chrono::system_clock::from_time_t(784111777);
        env.now = routing::instant(std::chrono::hours(1));
        core = std::make_unique<http_session_core>(env, "192.0.2.7", 8080);
    }
    void flip(routing::mode m) {
        auto next = std::make_shared<routing::snapshot>();
        routing::site site;
        site.settings = settings_;
        site.mode = m;
        site.epoch = routing::epoch{7};
        site.reason = "new column";
        site.until = std::chrono::system_clock::from_time_t(784111777 + 90);
        next->sites.push_back(site);
        next->by_host["shop"] = site.id;
        env.snapshot = next;
    }
    /// As the driver: until nothing moves.
    void settle() {
        for (bool moved = true; moved;) {
            moved = false;
            auto const a = core->take_actions();
            REQUIRE(!(a.release_upstream && !connected_));
            if (a.release_upstream) {
                ++idle_;
                connected_ = false;
            }
            if (a.drop_upstream) connected_ = false;
            outcome.client_finished = outcome.client_finished || a.finish_client;
            outcome.closed = outcome.closed || a.close_client || a.reset_client;
            outcome.reset = outcome.reset || a.reset_client;
            if (a.connect) {
                REQUIRE_FALSE(connected_);
                moved = true;
                if (refuse_) {
                    refuse_ = false;
                    core->upstream_failed(upstream_failure::unreachable);
                } else {
                    bool const reused = idle_ > 0 && a.choice != upstream_choice::fresh;
                    if (reused)
                        --idle_;
                    else
                        outcome.upstream.emplace_back();
                    connected_ = true;
                    core->upstream_connected(reused);
                }
            }
            if (connected_) {
                std::string both;
                for (auto const piece : core->upstream_output()) both += piece;
                both = both.substr(0, width);
                if (!both.empty()) {
                    outcome.upstream.back() += both;
                    core->upstream_sent(both.size());
                    moved = true;
                }
            }
            std::string const out(core->client_output().substr(0, width));
            if (!out.empty()) {
                outcome.client += out;
                core->client_sent(out.size());
                moved = true;
            }
            CHECK(core->client_output().size() < 4 * http_block_bytes);
        }
    }
    void feed(std::string_view bytes, bool from_client) {
        while (!bytes.empty()) {
            auto const space = from_client ? core->client_space() : core->upstream_space();
            std::size_t const n = std::min(space.size(), bytes.size());
            std::copy_n(bytes.begin(), n, space.begin());
            from_client ? core->client_received(n) : core->upstream_received(n);
            settle();
            if (n == 0) return;  // nobody reads any more
            bytes.remove_prefix(n);
        }
    }
    bool connected() const { return connected_; }

    http_env env;
    std::unique_ptr<http_session_core> core;
    http_outcome outcome;
    std::size_t width = std::string::npos;
    bool refuse_ = false;

  private:
    std::shared_ptr<config::site> settings_;
    bool connected_ = false;
    int idle_ = 0;
};

inline http_outcome http_script::play(http_manner how, std::size_t fail_at, failure why) const {
    http_world w(*this);
    w.width = how.width;
    std::size_t at = 0;
    for (http_step const& s : steps_) {
        if (at++ == fail_at) break;
        switch (s.what) {
            case kind::client:
            case kind::upstream: {
                std::string_view rest = s.bytes;
                std::size_t n = how.first ? how.first : how.piece;
                while (!rest.empty()) {
                    w.feed(rest.substr(0, n), s.what == kind::client);
                    rest.remove_prefix(std::min(n, rest.size()));
                    n = how.piece;
                }
                break;
            }
            case kind::client_end:
                w.core->client_ended();
                break;
            case kind::upstream_end:
                w.core->upstream_ended();
                break;
            case kind::upstream_lost:
                w.core->upstream_lost();
                break;
            case kind::refuse_next:
                w.refuse_ = true;
                break;
            case kind::mode:
                w.flip(s.mode);
                break;
            case kind::wait:
                w.env.now += s.time;
                w.core->tick();
                break;
        }
        w.settle();
    }
    switch (why) {
        case failure::none:
            break;
        case failure::client_lost:
            w.core->client_lost();
            break;
        case failure::client_end:
            w.core->client_ended();
            break;
        case failure::upstream_end:
            if (w.connected()) w.core->upstream_ended();
            break;
        case failure::upstream_lost:
            if (w.connected()) w.core->upstream_lost();
            break;
        case failure::upstream_deaf:
            if (w.connected()) w.core->upstream_write_failed();
            break;
        case failure::silence:
            break;
    }
    w.settle();
    if (why != failure::none) {
        // Deadlines end whatever the failure has left.
        for (int i = 0; i < 2000; ++i) {
            w.env.now += std::chrono::seconds(1);
            w.core->tick();
            w.settle();
        }
        bool const tunnel = w.env.stats.open_tunnels > 0;
        CHECK((w.outcome.closed || tunnel));
        CHECK((!w.connected() || tunnel));
    }
    http_outcome result = w.outcome;
    result.client = head_requests ? result.client : without_chunks(result.client, true);
    for (std::string& u : result.upstream) u = without_chunks(u, false);
    result.writes_open = w.env.writes_of(routing::site_id{});
    w.core.reset();
    CHECK(w.env.writes_of(routing::site_id{}) == 0);
    CHECK(w.env.stats.open_tunnels == 0);
    return result;
}

inline http_outcome http_script::play_all() const {
    http_outcome const whole = play();
    std::size_t longest = 0;
    for (http_step const& s : steps_) longest = std::max(longest, s.bytes.size());
    for (std::size_t const width : {std::string::npos, std::size_t{1}, std::size_t{7}}) {
        CHECK(play({1, 0, width}) == whole);
        CHECK(play({3, 0, width}) == whole);
    }
    for (std::size_t first = 1; first < std::min<std::size_t>(longest, 600); ++first) {
        CAPTURE(first);
        CHECK(play({std::string::npos, first, std::string::npos}) == whole);
    }
    return whole;
}

inline void http_script::fail_everywhere() const {
    for (std::size_t at = 0; at <= steps_.size(); ++at)
        for (failure const why : {failure::client_lost, failure::client_end, failure::upstream_end,
                                  failure::upstream_lost, failure::upstream_deaf, failure::silence}) {
            CAPTURE(at);
            CAPTURE(static_cast<int>(why));
            CHECK(play({}, at, why).writes_open == 0);
            play({1, 0, 1}, at, why);
        }
}

}  // namespace lull::test
