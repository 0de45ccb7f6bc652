#include "proxy/pg_service.hpp"

#include "config/in_force.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/descriptors.hpp"
#include "proxy/log.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_pool.hpp"
#include "proxy/pg_query.hpp"
#include "proxy/pg_server.hpp"

#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace lull {

namespace {

constexpr std::size_t block_bytes = 64 * 1024;
constexpr std::chrono::seconds avoid_for{1};
constexpr std::size_t most_listed = 50;
constexpr std::size_t heard_out = 64;  // clients more than may come in: what is refused is told in its own protocol
constexpr std::size_t ticks_a_round = 10;    // through all busy clients: a second
constexpr std::uint32_t rounds_a_look = 10;  // at a client's socket for an end that made no edge

/// Clients share server connections, and SQL could replace there what it knows the name of.
std::string statement_prefix() {
    std::array<std::byte, 6> bytes{};
    random_pool().fill(bytes);
    std::string prefix = "lull_";
    for (std::byte byte : bytes) prefix += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    return prefix + "_";
}

routing::classifier_limits classifier_limits_of(config::limits const& limits) {
    routing::classifier_limits out;
    out.max_parse_bytes = limits.max_parse_bytes;
    return out;
}

}  // namespace

pg_service::pg_service(boost::asio::io_context& io, mailbox& mail, worker_id id,
                       std::shared_ptr<routing::snapshot const> initial, control_port& control,
                       shared_limits& shared)
    : io_(io),
      id_(id),
      control_(control),
      shared_(shared),
      door_(std::make_shared<door>()),
      resolver_(mail),
      classifier_(classifier_limits_of(initial->config->limits)),
      statements_(statement_prefix()),
      context_{initial,  std::chrono::steady_clock::now(), classifier_, statements_, settings_, shared.holds,
               greetings_},
      block_(block_bytes),
      writers_(initial->sites.size()),
      loads_(initial->sites.size()) {
    door_->mail = &mail;
    context_.channels = &channels_;
    salt_logins(initial->config->state_dir);
    peer_id_ = static_cast<std::int32_t>(initial->config->listen.peer_id);
    context_.avoid_until.resize(initial->backends.size());
    resolver_.set_max_ttl(initial->config->limits.dns_max_ttl);
    idle_sessions_end_ = config::has_idle_session_timeout(*initial->config);
    resolver_.on_moved = [this](config::endpoint const& where) { server_moved(where); };
    watch_statements();
}

pg_service::~pg_service() {
    {
        std::lock_guard const lock(door_->mutex);
        door_->mail = nullptr;
    }
    on_drained = on_busy = on_removed = on_starving = nullptr;
    clients_.clear();  // before what they still refer to
    free_removed();
}

void pg_service::accept(int fd, std::string peer, bool migration) {
    touch_clock();
    auto made = std::make_shared<pg_client>(*this, fd, std::move(peer), migration);
    pg_client& client = *made;
    clients_.emplace(&client, std::move(made));
    std::size_t const count = shared_.clients.fetch_add(1);
    bool const room = has_room(migration ? descriptor_use::server : descriptor_use::client, fd);
    ++context_.stats.accepted;
    auto const turn_away = [&](turned_away_by why, std::string_view sqlstate, std::string_view message,
                               std::string_view hint) {
        ++context_.stats.turned_away[static_cast<std::size_t>(why)];
        client.refuse(sqlstate, message, hint);
    };
    if (stopping_)
        turn_away(turned_away_by::stopping, pg::sqlstate::cannot_connect_now, "the proxy is shutting down", {});
    else if (count + shared_.consoles >= limits().max_clients + heard_out && !migration)
        turn_away(turned_away_by::clients, pg::sqlstate::too_many_connections, too_many_clients,
                  too_many_clients_hint);
    else if (!room && !would_have_room(descriptor_use::refusal, fd))
        turn_away(turned_away_by::open_files, pg::sqlstate::too_many_connections, too_many_clients, too_many_files_hint);
    else if (count >= limits().max_clients && !migration)
        client.start_crowded(turned_away_by::clients);
    else if (!room)
        client.start_crowded(turned_away_by::open_files);
    else
        client.start();
}

void pg_service::remove(pg_client& client) {
    auto const at = clients_.find(&client);
    if (at == clients_.end()) return;
    if (client.key() != 0) by_key_.erase(client.key());
    if (routing::site_id const* const site = client.site()) {
        --loads_[static_cast<std::size_t>(*site)].clients;
    } else if (client.key() == 0) {
        ++context_.stats.without_session;
    }
    forget_busy(client);
    std::erase_if(asked_, [&](auto const& entry) { return entry.second == &client; });
    removed_.push_back(std::move(at->second));
    clients_.erase(at);
    (client.at_console() ? shared_.consoles : shared_.clients).fetch_sub(1);
    if (on_removed) on_removed();
    // (It is ours until then: what it refers to is gone where a loop that has been stopped is destroyed.)
    if (!in_turn_) boost::asio::post(io_, [this] { free_removed(); });
}

pg_pool& pg_service::pool(pool_key const& key) {
    auto& entry = pools_[key];
    if (!entry) entry = std::make_unique<pg_pool>(*this, key);
    return *entry;
}

void pg_service::avoid(routing::backend_id backend) {
    auto const index = static_cast<std::size_t>(backend);
    if (index >= context_.avoid_until.size()) context_.avoid_until.resize(index + 1);
    context_.avoid_until[index] = context_.now + avoid_for;
}

std::shared_ptr<void> pg_service::receipt(std::function<void()> then) {
    return {nullptr, [door = door_, then = std::move(then)](void*) {
                std::lock_guard const lock(door->mutex);
                if (door->mail) door->mail->post(then);
            }};
}

void pg_service::keep(routing::site_id site, journal_entry entry, server_credentials const& credentials,
                      std::function<void(journal_outcome)> then) {
    control_.keep(site, std::move(entry), credentials,
                  [this, door = door_, then = std::move(then)](journal_outcome outcome) {
                      std::lock_guard const lock(door->mutex);
                      if (!door->mail) return;
                      door->mail->post([this, then, outcome] {
                          touch_clock();
                          then(outcome);
                      });
                  });
}

void pg_service::writer_changed(routing::site_id site, bool writes) {
    auto const index = static_cast<std::size_t>(site);
    if (index >= writers_.size()) writers_.resize(index + 1);
    writers_[index] += writes ? 1 : std::size_t(-1);
    if (writers_[index] == 0 && snapshot().of(site).mode == routing::mode::draining && on_drained)
        on_drained();
}

void pg_service::note_broken(pg_server& server) {
    pool_key const& key = server.pool().key();
    pg_server_state const& state = server.state();
    // Guarded sessions cannot write, the migration may.
    if (key.use != pool_use::normal || state.role != routing::role::primary) return;
    if (state.pid == 0 && !server.logging_in()) return;
    server.drop_unsent();
    note_broken(key.site, static_cast<std::uint32_t>(state.pid), key.user, key.database);
}

void pg_service::note_broken(routing::site_id site, std::uint32_t pid, std::string const& user,
                             std::string const& database) {
    broken_.push_back({site, {pid, context_.now, fmt::format("pid {} {}@{}", pid, user, database)}});
}

void pg_service::set_snapshot(std::shared_ptr<routing::snapshot const> next) {
    touch_clock();
    std::shared_ptr<routing::snapshot const> const before = std::exchange(context_.snapshot, std::move(next));
    routing::snapshot const& now = snapshot();
    std::vector<routing::catalog_facts const*> facts;
    for (auto const& [database, state] : now.catalogs)
        if (state.facts) facts.push_back(state.facts.get());
    context_.resolver.keep_only(std::move(facts));
    if (before->config != now.config) {
        watch_statements();
        resolver_.set_max_ttl(limits().dns_max_ttl);
        idle_sessions_end_ = config::has_idle_session_timeout(*now.config);
        for (auto const& [key, pool] : pools_) pool->count_most();
        for (auto const& [client, owner] : clients_) note_busy(*client);  // other time-outs
    }
    if (writers_.size() < now.sites.size()) writers_.resize(now.sites.size());
    if (loads_.size() < now.sites.size()) loads_.resize(now.sites.size());
    if (context_.avoid_until.size() < now.backends.size()) context_.avoid_until.resize(now.backends.size());
    auto const changed = [&](routing::site_id id) {
        auto const i = static_cast<std::size_t>(id);
        return i >= before->sites.size() || before->sites[i].mode != now.sites[i].mode ||
               before->sites[i].generation != now.sites[i].generation;
    };
    bool const any =
        std::ranges::any_of(now.sites, [&](routing::site const& site) { return changed(site.id); });
    if (!any) return;
    std::vector<pg_client*> told;
    for (auto const& [client, owner] : clients_)
        if (client->replication() || (client->session() && changed(client->session()->identity().site)))
            told.push_back(client);
    for (auto const& [key, pool] : pools_) pool->set_snapshot();
    for (pg_client* client : told)
        if (clients_.contains(client)) client->snapshot_changed();
    release_held();
}

/// Where sites are open: those that have waited longest, as many as the pace allows, all workers together.
void pg_service::release_held() {
    std::vector<pg_client*> due;
    for (auto const& [client, owner] : clients_)
        if (client->session() && client->session()->releasable()) due.push_back(client);
    std::sort(due.begin(), due.end(), [](pg_client const* a, pg_client const* b) {
        return a->session()->held_since() < b->session()->held_since();
    });
    for (pg_client* client : due) {
        if (!clients_.contains(client) || !client->session() || !client->session()->releasable()) continue;
        routing::site_id const site = client->session()->identity().site;
        std::size_t const pace = snapshot().of(site).settings->hold.release_per_second;
        if (shared_.holds.may_release(static_cast<std::size_t>(site), context_.now, pace)) client->release_held();
    }
}

void pg_service::tick(routing::instant now) {
    context_.now = now;
    if (shared_.holds.any()) {
        std::vector<pg_client*> due;
        for (auto const& [client, owner] : clients_)
            if (client->session() && client->session()->held()) due.push_back(client);
        for (pg_client* client : due)
            if (clients_.contains(client)) client->tick();
        release_held();
    }
    look_at_busy();
    look_at_names();
    for (auto const& [key, pool] : pools_) pool->tick();
    if (waiting_ > 0 && on_starving) on_starving();
    report_statements();
}

/// All of them in a second, some with each tick. Who has become quiet is looked at once more, and then costs nothing.
void pg_service::look_at_busy() {
    std::vector<pg_client*> due;
    for (std::size_t n = busy_.share(ticks_a_round); n > 0; --n) {
        pg_client* const next = busy_.next();
        if (!next) {
            ++rounds_;
            break;
        }
        due.push_back(next);
    }
    bool const quiet_ones_too = idle_sessions_end_;
    for (pg_client* client : due) {
        if (!clients_.contains(client)) continue;
        // Who has hung up while it logged in was never anybody: found within a second.
        bool const look = client->key() == 0 ||
                          static_cast<std::uint32_t>(client->key()) % rounds_a_look == rounds_ % rounds_a_look;
        bool const quiet = client->quiet() && !quiet_ones_too;
        client->look_at_clock();
        if ((look || quiet) && clients_.contains(client)) client->look_for_end();
        if (quiet && clients_.contains(client) && client->quiet()) forget_busy(*client);
    }
}

/// Also where nobody connects: who is connected to an address that a server has left has to come away from
/// it.
void pg_service::look_at_names() {
    if (context_.now - looked_at_names_ < std::chrono::seconds(1)) return;
    looked_at_names_ = context_.now;
    for (routing::backend const& backend : snapshot().backends) resolver_.refresh(backend.address);
}

void pg_service::server_moved(config::endpoint const& where) {
    log::notice(
        "the name {} has other addresses now: connections to those that it has no more are closed when they "
        "are free",
        where.host);
    pg_server_moved(where);
    for (auto const& [key, pool] : pools_)
        if (snapshot().of(key.backend).address == where) pool->leave_old_addresses();
}

void pg_service::note_busy(pg_client& client) {
    if (client.busy_slot != not_busy) return;  // as a rule
    bool const first = quiet();
    busy_.add(client);
    if (first && on_busy) on_busy();
}

void pg_service::forget_busy(pg_client& client) {
    if (pg_session_core* const session = client.session())
        loads_[static_cast<std::size_t>(session->identity().site)].fates += session->take_fates();
    busy_.remove(client);
}

void pg_service::end_writers(routing::site_id site, end_writers_how how) {
    touch_clock();
    std::vector<pg_client*> writing;
    for (auto const& [client, owner] : clients_)
        if (client->session() && client->session()->identity().site == site && client->session()->writes())
            writing.push_back(client);
    for (pg_client* client : writing)
        if (clients_.contains(client)) client->end_writing(how);
}

void pg_service::add_load(std::vector<site_load>& sites) {
    for (auto& [site, session] : std::exchange(broken_, {}))
        sites[static_cast<std::size_t>(site)].broken.push_back(std::move(session));
    for (auto const& [key, pool] : pools_) {
        if (snapshot().of(key.backend).role != routing::role::primary) continue;
        site_load& load = sites[static_cast<std::size_t>(key.site)];
        pool->add_pids(load.server_pids);
        if (key.use == pool_use::migration) pool->add_pids(load.migration_pids);
        if (snapshot().of(key.site).mode != routing::mode::read_write) load.writers += pool->unsettled(load.longest);
        if (load.longest.size() > most_listed) load.longest.resize(most_listed);
    }
    for (pg_client* client : busy_) {
        if (auto const* replication = client->replication(); replication && replication->server_pid() != 0)
            sites[static_cast<std::size_t>(replication->identity().site)].server_pids.push_back(
                replication->server_pid());
        pg_session_core* session = client->session();
        if (!session) continue;
        auto const index = static_cast<std::size_t>(session->identity().site);
        loads_[index].fates += session->take_fates();
        site_load& load = sites[index];
        if (session->held()) {
            ++load.held;
            load.held_bytes += session->held_bytes();
        }
        if (!session->writes()) continue;
        ++load.writers;
        if (load.longest.size() < most_listed) load.longest.push_back(client->describe());
    }
    for (std::size_t i = 0; i < sites.size() && i < loads_.size(); ++i) {
        sites[i].clients += loads_[i].clients;
        sites[i].fates += loads_[i].fates;
    }
}

std::string pg_service::sessions() const {
    constexpr std::size_t most_named = 10;
    std::size_t count = 0;
    std::string named;
    for (auto const& [client, owner] : clients_) {
        if (!client->site() || ++count > most_named) continue;
        client_row const row = client->row();
        std::string_view const why = row.transaction == "idle" ? std::string_view(row.pinned_by) : "an open transaction";
        named += fmt::format("{}{}@{} ({}, pid {}{}{})", named.empty() ? "" : ", ", row.user, row.database, row.address, row.id,
                             why.empty() ? "" : ": ", why);
    }
    if (count > most_named) named += fmt::format(" and {} more", count - most_named);
    return count == 0 ? std::string() : fmt::format("{} session{}: {}", count, count == 1 ? "" : "s", named);
}

void pg_service::close_all(bool graceful) {
    stopping_ = true;
    touch_clock();
    std::vector<pg_client*> all;
    for (auto const& [client, owner] : clients_) all.push_back(client);
    for (pg_client* client : all)
        if (clients_.contains(client)) client->stop(graceful);
}

}  // namespace lull
