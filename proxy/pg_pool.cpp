#include "proxy/pg_pool.hpp"
#include "proxy/pg_pool_names.hpp"

#include "config/in_force.hpp"
#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_server.hpp"
#include "proxy/pg_service.hpp"

#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include <mutex>
#include <tuple>
#include <utility>

namespace lull {

namespace {

/// One set of permits for the pools of all workers with the same key.
template <class Key>
std::shared_ptr<pool_permits> permits_of(Key const& key) {
    static std::mutex mutex;
    static std::map<Key, std::weak_ptr<pool_permits>> all;
    std::lock_guard const lock(mutex);
    std::weak_ptr<pool_permits>& entry = all[key];
    if (auto existing = entry.lock()) return existing;
    auto made = std::make_shared<pool_permits>();
    entry = made;
    return made;
}

constexpr std::chrono::seconds slow{1};
// Whoever waits for a connection that is being checked is given another where one may be opened.
constexpr std::chrono::milliseconds check_patience{250};

}  // namespace

pg_pool::pg_pool(pg_service& service, pool_key key)
    : service_(service), key_(std::move(key)), permits_(permits_of(key_)), core_(pool_allowance(*permits_)) {
    // Whether of a database, and its name.
    using shared_key = std::tuple<routing::backend_id, bool, std::string>;
    if (key_.use != pool_use::migration)
        shared_permits_ = {permits_of(shared_key(key_.backend, true, key_.database)),
                           permits_of(shared_key(key_.backend, false, key_.user))};
    for (auto const& permits : shared_permits_) core_.allowance().share(*permits, 0);
    count_most();
}

pg_pool::~pg_pool() = default;

std::uint64_t pg_pool::generation() const {
    return service_.snapshot().of(key_.site).generation;
}

void pg_pool::count_most() {
    routing::snapshot const& s = service_.snapshot();
    auto const at = s.config->clusters.find(s.of(key_.backend).cluster);
    if (at == s.config->clusters.end()) return;
    config::cluster const& c = at->second;
    config::pool_bounds const most = config::pool_bounds_of(*s.config, c, key_.database, key_.user);
    sizes_ = {most.pool_size,         c.reserve_pool_size,
              c.reserve_pool_timeout, c.server_idle_timeout,
              c.server_lifetime,      config::time_limits_of(*s.config, key_.database, key_.user).query_wait,
              s.config->limits.server_check_timeout,
              s.config->limits.server_login_retry};
    core_.rest(false);  // what is tried next may be something else
    core_.check_after(s.config->limits.server_check_query == "off" ? pool_core::never : s.config->limits.server_check_delay);
    if (!shared_permits_.empty()) {
        core_.allowance().limit(0, most.of_database);
        core_.allowance().limit(1, most.of_user);
    }
    // The reserve is for those who wait.
    for (pool_core::server name : core_.free()) {
        if (!core_.allowance().exceeded(sizes_.most)) break;
        close_idle(name);
    }
    shrinking_ = has_too_many();
}

std::size_t pg_pool::most() const {
    return service_.paused(key_.database) ? 0 : sizes_.most;
}

pg_server* pg_pool::acquire(pg_client& client, server_credentials const& credentials) {
    if (core_.resting() && credentials != refused_login_.with) core_.rest(false);
    end_rest();
    for (;;) {
        pool_core::acquired const got = core_.acquire(name_of(client), service_.context().now, most());
        switch (got.how) {
            case pool_core::outcome::granted: {
                pg_server& server = server_of(got.what);
                if (server.state().generation == generation()) return &server;
                close_idle(got.what);  // from before a flip
                break;
            }
            case pool_core::outcome::check:
                credentials_ = credentials;
                server_of(got.what).check(service_.limits().server_check_query);
                return nullptr;
            case pool_core::outcome::open:
                credentials_ = credentials;
                open_one();
                return nullptr;
            case pool_core::outcome::wait:
                credentials_ = credentials;
                // From the loop: not within the event of the one who asks.
                if (core_.resting()) boost::asio::post(service_.io(), [this] { tell_turned_away(); });
                return nullptr;
        }
    }
}

pg_server* pg_pool::acquire(value_owner values_of) {
    for (auto const& [server, owner] : servers_) {
        pg_server_state const& state = server->state();
        if (state.values_of == values_of && state.generation == generation() && core_.take(name_of(*server), service_.context().now))
            return server;
    }
    return nullptr;
}

bool pg_pool::is_short() const {
    return core_.starving() || service_.paused(key_.database);
}

pg_server* pg_pool::take_ready() {
    pool_core::server const hottest = core_.ready(service_.context().now);
    if (hottest == 0 || server_of(hottest).state().generation != generation()) return nullptr;
    core_.lend(hottest);
    return &server_of(hottest);
}

void pg_pool::open_one() {
    auto made = std::make_unique<pg_server>(*this);
    pg_server& server = *made;
    servers_.emplace(&server, std::move(made));
    if (unguarded(server)) service_.writer_changed(key_.site, true);  // until it is opened or lost
    // From the loop: a connection that fails at once must not call back into the one who asks.
    boost::asio::post(service_.io(), [this, &server] {
        if (servers_.contains(&server)) server.connect();
    });
}

void pg_pool::cancel(pg_client& client) {
    core_.cancel(name_of(client));
}

void pg_pool::opened(pg_server& server) {
    core_.opened();
    core_.rest(false);
    failure_.clear();
    service_.context().stats.of(key_.backend).connect.add(service_.context().now - server.opened_at());
    bool const counted = unguarded(server);
    release(server);  // first: should it leave at once, that is counted before its login is not any more
    if (counted) service_.writer_changed(key_.site, false);
    while (core_.want_more(most())) open_one();  // whom a refused login has held back
}

void pg_pool::release(pg_server& server) {
    if (server.cancelling()) return;  // not for anybody before the signal has arrived
    if (parked_.contains(&server)) return;
    if (unguarded(server) && service_.snapshot().of(key_.site).mode != routing::mode::read_write) {
        // It may have something temporary that nobody knows of. While draining its end is waited for.
        if (service_.snapshot().of(key_.site).mode == routing::mode::draining) return lost(server, {});
        return park(server);
    }
    bool const old = server.state().generation != generation() && key_.use != pool_use::migration;
    bool const aged = service_.context().now - server.opened_at() > sizes_.lifetime;
    if (shrinking_) shrinking_ = has_too_many();
    if (old || aged || shrinking_ || server.outdated() || service_.paused(key_.database)) {
        lost(server, {});
        return;
    }
    if (auto const grant = core_.available(name_of(server), service_.context().now)) give(*grant);
}

void pg_pool::check_free_ones() {
    routing::instant const now = service_.context().now;
    for (pool_core::server name : core_.checks_since(now - sizes_.check_timeout))
        check_failed(server_of(name), fmt::format("no answer within {} ms", sizes_.check_timeout.count()));
    while (auto const name = core_.start_check(now)) server_of(*name).check(service_.limits().server_check_query);
    core_.lose_hope(now - check_patience);
}

void pg_pool::give(pool_core::granted const& grant) {
    client_of(grant.to).granted(server_of(grant.what));
}

void pg_pool::close_idle(pool_core::server name) {
    lost(server_of(name), {});
}

/// Its login or its end can write: it was begun while the site was open, and is on the primary.
bool pg_pool::unguarded(pg_server& server) const {
    return key_.use == pool_use::normal && server.state().role == routing::role::primary && server.begun_open();
}

/// It does not count in the pool's size any more: readers get in while it waits.
void pg_pool::park(pg_server& server) {
    auto const at = servers_.find(&server);
    if (at == servers_.end()) return;
    // Until then its server may end it of its own accord.
    bool const counted = service_.snapshot().of(key_.site).mode == routing::mode::draining;
    if (counted) service_.writer_changed(key_.site, true);
    parked_.emplace(&server, parked{std::move(at->second), service_.context().now, counted});
    servers_.erase(at);
    server.keep();
    if (core_.gone(name_of(server), false, most(), true)) open_one();
}

void pg_pool::settled(pg_server& server) {
    auto const at = parked_.find(&server);
    if (at != parked_.end() && std::exchange(at->second.counted, false)) service_.writer_changed(key_.site, false);
}

void pg_pool::discard(pg_server& server) {
    bool const open = service_.snapshot().of(key_.site).mode == routing::mode::read_write;
    if (open || !unguarded(server) || !server.state().clean()) return lost(server, {});
    park(server);
}

void pg_pool::dismiss(std::unique_ptr<pg_server> server) {
    pg_server& last = *server;
    if (!unguarded(last) || !last.state().clean() || !last.leave()) return bury(std::move(server));
    leaving_.emplace(&last, leaving{std::move(server), service_.context().now});
    service_.writer_changed(key_.site, true);
}

/// What of it is on the stack unwinds first.
void pg_pool::bury(std::unique_ptr<pg_server> dead) {
    dead->retire();
    boost::asio::post(service_.io(), [dead = std::shared_ptr<pg_server>(std::move(dead))] {});
}

void pg_pool::end_leaving(pg_server& server) {
    auto const at = leaving_.find(&server);
    if (at == leaving_.end()) return;
    bury(std::move(at->second.server));
    leaving_.erase(at);
    service_.writer_changed(key_.site, false);
}

void pg_pool::lost(pg_server& server, std::string error) {
    auto const at = servers_.find(&server);
    if (at == servers_.end()) {
        settled(server);
        if (auto gone = parked_.extract(&server)) return bury(std::move(gone.mapped().server));
        return end_leaving(server);
    }
    bool const opening = !error.empty();
    if (opening) failure_ = error;
    if (opening) ++service_.context().stats.of(key_.backend).failures;
    // Closed by us in the middle of something: the server learns of it when it is done.
    if (!server.opening() && !server.state().clean()) service_.note_broken(server);
    if (opening && unguarded(server)) service_.writer_changed(key_.site, false);
    std::unique_ptr<pg_server> last = std::move(at->second);
    servers_.erase(at);
    dismiss(std::move(last));
    bool const retry = error.empty();
    if (core_.gone(name_of(server), opening, most(), retry)) open_one();
    if (!retry) fail_waiting(error);
}

void pg_pool::add_pids(std::vector<std::uint32_t>& to) const {
    for (auto const& [server, owner] : servers_)
        if (server->state().pid != 0) to.push_back(static_cast<std::uint32_t>(server->state().pid));
    for (auto const& [server, one] : parked_) to.push_back(static_cast<std::uint32_t>(server->state().pid));
    for (auto const& [server, one] : leaving_) to.push_back(static_cast<std::uint32_t>(server->state().pid));
}

std::size_t pg_pool::unsettled(std::vector<writer>& slow_ones) const {
    std::size_t count = 0;
    routing::instant const now = service_.context().now;
    auto const look = [&](pg_server& server, routing::instant since, char const* state) {
        ++count;
        if (now - since < slow) return;
        writer w;
        w.protocol = "postgres";
        w.server_pid = static_cast<std::uint32_t>(server.state().pid);
        w.database = key_.database;
        w.user = key_.user;
        w.state = state;
        w.since = wall_of(since, now);
        slow_ones.push_back(std::move(w));
    };
    for (auto const& [server, owner] : servers_)
        if (server->opening() && unguarded(*server)) look(*server, server->opened_at(), "logging in");
    for (auto const& [server, one] : parked_)
        if (one.counted) look(*server, one.since, "being kept");
    for (auto const& [server, one] : leaving_) look(*server, one.since, "ending its session");
    return count;
}

std::optional<routing::instant> pg_pool::last_heard(pg_server const& server) const {
    return core_.last_heard(server.id());
}

void pg_pool::set_snapshot() {
    bool const open = service_.snapshot().of(key_.site).mode == routing::mode::read_write;
    for (pool_core::server name : core_.free())
        if (server_of(name).state().generation != generation() || (!open && unguarded(server_of(name)))) close_idle(name);
    if (!open) return;
    for (auto& [server, one] : std::exchange(parked_, {})) {
        if (one.counted) service_.writer_changed(key_.site, false);
        dismiss(std::move(one.server));
    }
}

void pg_pool::close_idle_ones() {
    for (pool_core::server name : core_.free()) close_idle(name);
}

void pg_pool::reconnect() {
    for (auto const& [server, owner] : servers_) server->outdate();
    core_.rest(false);
    close_idle_ones();
}

void pg_pool::leave_old_addresses() {
    auto const& where = service_.snapshot().of(key_.backend).address;
    for (auto const& [server, owner] : servers_)
        if (server->address() && !service_.resolver().may_be(where, *server->address())) server->outdate();
    for (pool_core::server name : core_.free())
        if (server_of(name).outdated()) close_idle(name);
}

void pg_pool::tick() {
    routing::instant const now = service_.context().now;
    for (pool_core::client waiting : core_.expired(now - sizes_.query_wait)) {
        ++service_.context().stats.databases[key_.database].timeouts[static_cast<std::size_t>(
            time_limit::query_wait)];
        client_of(waiting).refused(waited_too_long());
    }
    std::vector<pg_server*> stuck;
    for (auto const& [server, owner] : servers_)
        if (server->opening() && now - server->opened_at() > service_.limits().connect_timeout)
            stuck.push_back(server);
    for (pg_server* server : stuck) {
        if (server->logging_in()) service_.note_broken(*server);
        std::string error;
        pg::write_error_response(error,
                                 {.severity = "FATAL",
                                  .sqlstate = pg::sqlstate::sqlclient_unable_to_establish_sqlconnection,
                                  .message = "connecting to the server timed out"});
        lost(*server, error);
    }
    stuck.clear();
    for (auto const& [server, one] : leaving_)
        if (now - one.since > service_.limits().connect_timeout) stuck.push_back(server);
    for (pg_server* server : stuck) {
        service_.note_broken(*server);
        end_leaving(*server);
    }
    for (pool_core::server name : core_.idle_since(now - sizes_.idle_timeout)) close_idle(name);
    for (pool_core::server name : core_.free())
        if (now - server_of(name).opened_at() > sizes_.lifetime) close_idle(name);
    check_free_ones();
    end_rest();
    tell_turned_away();
    if (auto const name = core_.to_give_up()) close_idle(*name);
    while (core_.want_more(most())) open_one();
    if (sizes_.reserve == 0 || most() == 0 || !core_.has_waited_since(now - sizes_.reserve_timeout)) return;
    while (core_.want_more(most() + sizes_.reserve)) open_one();
}

}  // namespace lull
