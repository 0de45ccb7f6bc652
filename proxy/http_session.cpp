#include "proxy/http_session.hpp"

#include "proxy/descriptors.hpp"
#include "proxy/http_connection.hpp"
#include "proxy/http_env.hpp"
#include "proxy/http_socket.hpp"
#include "proxy/http_upstream_pool.hpp"
#include "proxy/mailbox.hpp"
#include "proxy/resolver.hpp"

#include <boost/asio/io_context.hpp>
#include <fmt/format.h>

#include <random>
#include <string_view>
#include <utility>
#include <vector>

namespace lull {
namespace {

constexpr std::size_t most_named_writers = 50;  // as site_load::longest says

/// For one too many: an answer to whatever he asks.
void turn_away(int fd, std::string_view detail) {
    std::string const body =
        fmt::format("{{\"type\":\"urn:lull:problem:too_many_clients\",\"title\":\"Too many clients\",\"status\":503,\"detail\":\"{}\"}}\n", detail);
    std::string const answer = fmt::format(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n"
        "Cache-Control: no-store\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        body.size(), body);
    [[maybe_unused]] ssize_t const sent = ::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
    // With his request unread the connection would end by a reset, which may overtake the answer.
    constexpr std::size_t as_much_as_there_is = std::size_t{1} << 30;
    [[maybe_unused]] ssize_t const dropped = ::recv(fd, nullptr, as_much_as_there_is, MSG_TRUNC | MSG_DONTWAIT);
    ::close(fd);
}

/// `192.0.2.1:1234`, `[2001:db8::1]:1234` and IPv4 in IPv6 as the address alone.
std::string address_of(std::string const& peer) {
    std::string_view text = peer;
    if (text.starts_with('[')) {
        text = text.substr(1, text.find(']') - 1);
    } else if (text.find(':') != std::string_view::npos && text.find(':') == text.rfind(':')) {
        text = text.substr(0, text.find(':'));
    }
    if (text.starts_with("::ffff:") && text.find('.') != std::string_view::npos) text.remove_prefix(7);
    return std::string(text);
}

}  // namespace

struct http_service::impl {
    impl(boost::asio::io_context& io, http_tuning const& tuning)
        : io(io),
          mail(io),
          names(mail),
          pool(io, names, tuning.max_idle_upstreams, tuning.upstream_idle_timeout) {}

    void remove(http_connection& gone) {
        std::size_t const i = gone.index;
        std::unique_ptr<http_connection> const removed = std::move(clients[i]);
        if (i + 1 != clients.size()) {
            clients[i] = std::move(clients.back());
            clients[i]->index = i;
        }
        clients.pop_back();
    }

    boost::asio::io_context& io;
    mailbox mail;
    host_resolver names;
    http_env env;
    http_upstream_pool pool;
    std::vector<std::unique_ptr<http_connection>> clients;
};

http_service::http_service(boost::asio::io_context& io, std::shared_ptr<routing::snapshot const> initial,
                           unsigned worker_index, http_tuning tuning)
    : impl_(std::make_unique<impl>(io, tuning)) {
    std::random_device seed;
    impl_->env.random = (static_cast<std::uint64_t>(seed()) << 32 | seed()) + worker_index;
    impl_->env.timeouts.response = tuning.response_timeout;
    set_snapshot(std::move(initial));
    tick(std::chrono::steady_clock::now());
}

http_service::~http_service() {
    close_all();
}

void http_service::accept(int fd, std::string const& peer, std::uint16_t local_port) {
    http_env& env = impl_->env;
    ++env.stats.accepted;
    bool const full = http_connection::open_in_process() >= env.snapshot->config->limits.max_http_clients;
    if (full || !has_room(descriptor_use::client, fd)) {
        ++env.stats.turned_away;
        return turn_away(fd, full ? "the limit max_http_clients is reached" : "the limit of open files is reached");
    }
    prepare_http_socket(fd);
    impl* const self = impl_.get();
    self->clients.push_back(
        std::make_unique<http_connection>(self->io, fd, env, self->pool, address_of(peer), local_port,
                                          [self](http_connection& gone) { self->remove(gone); }));
    http_connection& added = *self->clients.back();
    added.index = self->clients.size() - 1;
    added.start();
}

void http_service::set_snapshot(std::shared_ptr<routing::snapshot const> next) {
    http_env& env = impl_->env;
    env.snapshot = std::move(next);
    config::limits const& limits = env.snapshot->config->limits;
    env.head_limits.head_bytes = limits.max_http_head_bytes;
    env.head_limits.target_bytes = limits.max_http_head_bytes / 2;
    env.head_limits.fields = limits.max_http_headers;
    env.timeouts.head = limits.http_head_timeout;
    env.timeouts.idle = limits.http_idle_timeout;
    env.timeouts.connect = limits.connect_timeout;
    impl_->names.set_max_ttl(limits.dns_max_ttl);
}

void http_service::tick(routing::instant now) {
    http_env& env = impl_->env;
    env.now = now;
    env.wall = std::chrono::system_clock::now();
    impl_->pool.tick(now);
    // Backwards: one that ends now is replaced by the last, which has had its turn.
    for (std::size_t i = impl_->clients.size(); i-- > 0;)
        if (i < impl_->clients.size()) impl_->clients[i]->tick();
}

std::size_t http_service::open_clients() const { return impl_->clients.size(); }

http_stats http_service::stats() const {
    http_stats all = impl_->env.stats;
    all.open_clients = open_clients();
    all.idle_upstreams = impl_->pool.idle();
    all.refused.resize(impl_->env.snapshot->sites.size());
    return all;
}

std::size_t http_service::writes_in_flight(routing::site_id site) const {
    auto const i = static_cast<std::size_t>(site);
    return i < impl_->env.writes_open.size() ? impl_->env.writes_open[i] : 0;
}

void http_service::add_writers(std::vector<site_load>& loads) const {
    for (site_load& load : loads) load.writers += writes_in_flight(load.site);
    for (auto const& client : impl_->clients) {
        auto const w = client->core().writes();
        auto const load = std::find_if(loads.begin(), loads.end(),
                                       [&](site_load const& l) { return w.under_way && l.site == w.site; });
        if (load == loads.end() || load->longest.size() >= most_named_writers) continue;
        load->longest.push_back(
            {.protocol = "http",
             .address = std::string(w.peer),
             .state = "active",
             .statement = std::string(w.what),
             .since = impl_->env.wall -
                      std::chrono::duration_cast<routing::wall_time::duration>(impl_->env.now - w.since)});
    }
}

void http_service::end_writers(routing::site_id site) {
    for (std::size_t i = impl_->clients.size(); i-- > 0;)
        if (i < impl_->clients.size()) impl_->clients[i]->end_writing(site);
}

void http_service::close_idle() {
    for (std::size_t i = impl_->clients.size(); i-- > 0;)
        if (i < impl_->clients.size()) impl_->clients[i]->close_when_idle();
}

void http_service::close_all() {
    impl_->clients.clear();
    impl_->pool.clear();
}

}  // namespace lull
