// The HTTP half alone: one http_service with a snapshot given by flags, for tests/integration/test_http.py
// and for measuring. Signals: USR1 seals the site, USR2 opens it, TERM ends. Prints "ready PORT" when it
// listens.
#include "proxy/http_session.hpp"

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <arpa/inet.h>
#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

lull::config::endpoint parse_endpoint(std::string const& text) {
    std::size_t const colon = text.rfind(':');
    return {text.substr(0, colon), static_cast<std::uint16_t>(std::stoi(text.substr(colon + 1)))};
}

/// `METHODS PATH allow|refuse`, methods separated by commas or `*`.
lull::config::http_rule parse_rule(std::string const& text) {
    lull::config::http_rule rule;
    std::size_t const first = text.find(' ');
    std::size_t const last = text.rfind(' ');
    std::string methods = text.substr(0, first);
    while (methods != "*" && !methods.empty()) {
        std::size_t const comma = methods.find(',');
        rule.methods.push_back(methods.substr(0, comma));
        methods = comma == std::string::npos ? "" : methods.substr(comma + 1);
    }
    rule.path = text.substr(first + 1, last - first - 1);
    rule.allow = text.substr(last + 1) == "allow";
    return rule;
}

struct options {
    std::string listen = "127.0.0.1:0";
    std::vector<std::string> upstreams;
    std::vector<std::string> hosts;
    std::vector<std::string> rules;
    bool sealed = false;
    bool hold = false;
    std::string reason;
    int until_seconds = 0;
    int head_timeout_ms = 30'000;
    int idle_timeout_ms = 75'000;
    int response_timeout_ms = 120'000;
    int connect_timeout_ms = 10'000;
    std::size_t max_clients = 5000;
};

std::shared_ptr<lull::routing::snapshot const> make_snapshot(options const& o, bool sealed,
                                                             std::uint64_t number) {
    using namespace lull;
    auto config = std::make_shared<config::config>();
    config->limits.http_head_timeout = std::chrono::milliseconds(o.head_timeout_ms);
    config->limits.http_idle_timeout = std::chrono::milliseconds(o.idle_timeout_ms);
    config->limits.connect_timeout = std::chrono::milliseconds(o.connect_timeout_ms);
    config->limits.max_http_clients = o.max_clients;
    auto settings = std::make_shared<config::site>();
    settings->name = "shop";
    settings->hosts = o.hosts;
    settings->writes = o.hold ? config::write_policy::hold : config::write_policy::refuse;
    for (std::string const& u : o.upstreams) settings->upstreams.push_back(parse_endpoint(u));
    for (std::string const& r : o.rules) settings->http_rules.push_back(parse_rule(r));

    auto next = std::make_shared<routing::snapshot>();
    next->number = number;
    next->config = config;
    routing::site site;
    site.settings = settings;
    site.mode = sealed ? routing::mode::sealed : routing::mode::read_write;
    site.epoch = routing::epoch{number};
    site.reason = o.reason;
    if (o.until_seconds > 0)
        site.until = std::chrono::system_clock::now() + std::chrono::seconds(o.until_seconds);
    next->sites.push_back(site);
    for (std::string const& h : o.hosts) next->by_host[h] = site.id;
    return next;
}

int listen_on(lull::config::endpoint const& where) {
    int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int const one = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(where.port);
    ::inet_pton(AF_INET, where.host.c_str(), &name.sin_addr);
    if (::bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof name) < 0 || ::listen(fd, 4096) < 0) {
        std::perror("listen");
        std::exit(1);
    }
    return fd;
}

}  // namespace

int main(int argc, char** argv) {
    options o;
    CLI::App app("The HTTP half of Lull alone, for tests");
    app.add_option("--listen", o.listen);
    app.add_option("--upstream", o.upstreams)->required();
    app.add_option("--host", o.hosts)->required();
    app.add_option("--rule", o.rules);
    app.add_flag("--sealed", o.sealed);
    app.add_flag("--hold", o.hold);
    app.add_option("--reason", o.reason);
    app.add_option("--until", o.until_seconds);
    app.add_option("--head-timeout", o.head_timeout_ms);
    app.add_option("--idle-timeout", o.idle_timeout_ms);
    app.add_option("--response-timeout", o.response_timeout_ms);
    app.add_option("--connect-timeout", o.connect_timeout_ms);
    app.add_option("--max-clients", o.max_clients);
    CLI11_PARSE(app, argc, argv);

    boost::asio::io_context io(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
    lull::http_tuning tuning;
    tuning.response_timeout = std::chrono::milliseconds(o.response_timeout_ms);
    std::uint64_t number = 1;
    lull::http_service service(io, make_snapshot(o, o.sealed, number), 0, tuning);

    int const listener = listen_on(parse_endpoint(o.listen));
    sockaddr_in bound{};
    socklen_t size = sizeof bound;
    ::getsockname(listener, reinterpret_cast<sockaddr*>(&bound), &size);
    std::uint16_t const port = ntohs(bound.sin_port);
    boost::asio::posix::stream_descriptor acceptor(io, listener);
    std::function<void()> wait_accept = [&] {
        acceptor.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                            [&](boost::system::error_code e) {
                                if (e) return;
                                sockaddr_in peer{};
                                socklen_t peer_size = sizeof peer;
                                int fd;
                                while ((fd = ::accept4(listener, reinterpret_cast<sockaddr*>(&peer),
                                                       &peer_size, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                                    char text[INET_ADDRSTRLEN];
                                    ::inet_ntop(AF_INET, &peer.sin_addr, text, sizeof text);
                                    service.accept(fd, text, port);
                                }
                                wait_accept();
                            });
    };
    wait_accept();

    boost::asio::steady_timer timer(io);
    std::function<void()> wait_tick = [&] {
        timer.expires_after(std::chrono::milliseconds(100));
        timer.async_wait([&](boost::system::error_code e) {
            if (e) return;
            service.tick(std::chrono::steady_clock::now());
            wait_tick();
        });
    };
    wait_tick();

    boost::asio::signal_set signals(io, SIGTERM, SIGUSR1, SIGUSR2);
    std::function<void()> wait_signal = [&] {
        signals.async_wait([&](boost::system::error_code e, int which) {
            if (e) return;
            if (which == SIGTERM) {
                service.close_all();
                return io.stop();
            }
            service.set_snapshot(make_snapshot(o, which == SIGUSR1, ++number));
            auto const s = service.stats();
            std::printf("flip %llu writes %zu requests %llu open %zu idle_upstreams %zu retries %llu\n",
                        static_cast<unsigned long long>(number),
                        service.writes_in_flight(lull::routing::site_id{}),
                        static_cast<unsigned long long>(s.requests), s.open_clients, s.idle_upstreams,
                        static_cast<unsigned long long>(s.retries));
            std::fflush(stdout);
            wait_signal();
        });
    };
    wait_signal();

    std::printf("ready %u\n", static_cast<unsigned>(port));
    std::fflush(stdout);
    io.run();
}
