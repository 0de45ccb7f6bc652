#include "proxy/control.hpp"

#include "config/endpoint.hpp"
#include "proxy/log.hpp"
#include "proxy/record_homes_core.hpp"
#include "routing/break_points.hpp"

#include <boost/asio/post.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <stdexcept>

namespace lull {

namespace {

constexpr std::chrono::milliseconds tick_interval{100};
constexpr std::chrono::milliseconds alone_interval{1000};

template <class... Cases>
struct overloaded : Cases... {
    using Cases::operator()...;
};

}  // namespace

control::control(boost::asio::io_context& io, std::shared_ptr<config::config const> config,
                 std::shared_ptr<tls_keyring const> keyring, std::size_t workers, state_file& state)
    : io_(io),
      config_(std::move(config)),
      workers_count_(workers),
      state_(state),
      timer_(io),
      journals_(config_->state_dir) {
    tls_.put(std::move(keyring));
    for (auto const& [name, cluster] : config_->clusters) {
        add_server(name, cluster.primary, routing::role::primary);
        for (config::endpoint const& replica : cluster.replicas)
            add_server(name, replica, routing::role::replica);
        if (cluster.fence)
            fences_[name] = std::make_unique<fence_keeper>(io_, cluster.primary, *cluster.fence, cluster.tls);
        if (cluster.auth_query)
            finders_[name] =
                std::make_unique<secret_finder>(cluster.primary, *cluster.auth_query, cluster.tls);
    }
    state_file::loaded stored = state_.load();
    record_homes homes = find_homes(std::move(stored.records), config_->sites);
    if (!homes.problem.empty()) throw std::runtime_error(homes.problem + "; " + homes.fix);
    refuse_to_leave_journals(homes.adopted);
    for (std::string const& note : homes.notes) log::warning("{}", note);
    records_ = stored.records = std::move(homes.records);
    if (!stored.problem.empty()) {
        std::string commands;
        for (auto const& [name, settings] : config_->sites)
            commands += (commands.empty() ? "`lull maintenance off " : ", `lull maintenance off ") + name + "`";
        log::error("{}. Every site starts closed; look at the databases, then open each: {}", stored.problem, commands);
    }
    for (auto const& [name, settings] : config_->sites) restart_site(add_site(settings), stored);
    note_databases();
    shout_about_strays();
    watch_catalogs();
    start_listeners();
    share_settings();
}

control::~control() = default;

void control::add_server(std::string const& cluster, config::endpoint const& where, routing::role role) {
    config::cluster const& c = config_->clusters.at(cluster);
    auto made = std::make_unique<server>();
    server& s = *made;
    s.value.id = static_cast<routing::backend_id>(servers_.size());
    s.value.cluster = cluster;
    s.value.address = where;
    s.value.role = role;
    s.value.max_lag = c.max_replica_lag;
    // Nothing is known yet. A primary is tried; a replica must first have shown that it is fresh.
    s.value.healthy = role == routing::role::primary;
    servers_.push_back(std::move(made));
    // Where there is no replica, nobody compares positions.
    bool const alone = c.replicas.empty();
    probe::pace const pace{.interval = c.probe_interval,
                           .calm = alone ? std::max<config::milliseconds>(c.probe_interval, alone_interval) : c.probe_interval,
                           .only_what_is_new = alone};
    s.watch = std::make_unique<probe>(io_, where, c.control, c.tls, pace,
                                      [this, &s](server_look const& look) { looked(s, look); });
}

routing::maintenance::timing control::timing_of(config::site const& settings) {
    routing::maintenance::timing timing;
    timing.seal_timeout = settings.seal_timeout;
    timing.shout_again = settings.overdue_again;
    return timing;
}

control::managed_site& control::add_site(config::site const& settings) {
    auto made = std::make_unique<managed_site>();
    managed_site& s = *made;
    s.id = static_cast<routing::site_id>(sites_.size());
    s.name = settings.name;
    s.settings = std::make_shared<config::site const>(settings);
    s.machine = std::make_unique<routing::maintenance>(settings.name, workers_count_, timing_of(settings));
    s.loads.resize(workers_count_);
    s.hooks = std::make_unique<hook_runner>(
        io_, [this, &s](hook_outcome const& outcome) { hook_ended(s, outcome); });
    s.reported.resize(workers_count_);
    sites_.push_back(std::move(made));
    load_journal(s);
    return s;
}

void control::restart_site(managed_site& s, state_file::loaded const& stored) {
    routing::event::restart event;
    event.provable = provable(s);
    event.fence = fence_of(s);
    event.prepared = s.settings->prepared;
    auto const known = stored.records.find(s.name);
    if (known != stored.records.end()) {
        event.record = known->second;
        if (broken("crash_reopens")) event.record.phase = routing::phase::read_write;
    } else if (stored.problem.empty()) {
        event.record.epoch = routing::epoch{highest_epoch(stored.records)};
        event.record.since = now().wall;
    } else {
        event.record.phase = routing::phase::sealed;
        event.record.request.reason = "the state of this site could not be read";
        event.record.since = now().wall;
        event.adopt_paused = true;
    }
    for (auto const& server : servers_)
        if (server->value.cluster == s.settings->cluster && server->value.role == routing::role::replica)
            event.replicas.push_back(config::format_endpoint(server->value.address));
    feed(s, std::move(event));
}

std::shared_ptr<routing::snapshot const> control::first_snapshot() {
    publish();
    return snapshot_;
}

void control::start(std::vector<std::unique_ptr<worker_port>>& workers) {
    workers_ = &workers;
    publish();
    tick();
}

void control::stop() {
    stopping_ = true;
    timer_.cancel();
    for (auto const& s : sites_) s->journal.replay.reset();
    for (auto const& s : servers_) s->watch.reset();
    for (auto const& s : sites_) s->hooks.reset();
    finders_.clear();
    fences_.clear();
    catalog_watches_.clear();
    listeners_.clear();
}

routing::moment control::now() const {
    return {std::chrono::steady_clock::now(), std::chrono::system_clock::now()};
}

void control::tick() {
    for (auto const& s : sites_) feed(*s, routing::event::tick{});
    arm_tick();
}

/// Where no site needs ticks, what happens to one of them comes as an event, and begins them again.
void control::arm_tick() {
    resting_ = std::ranges::all_of(sites_, [](auto const& s) { return s->machine->at_rest(); });
    if (resting_) return;
    timer_.expires_after(tick_interval);
    timer_.async_wait([this](boost::system::error_code const& error) {
        if (!error && !stopping_) tick();
    });
}

/// One event at a time; what it leads to is fed behind it, but what became of a persist before all else.
void control::feed(managed_site& s, routing::maintenance_event event) {
    s.events.push_back(std::move(event));
    if (s.feeding) return;
    s.feeding = true;
    while (!s.events.empty()) {
        routing::maintenance_event const next = std::move(s.events.front());
        s.events.pop_front();
        for (routing::maintenance_effect const& effect : s.machine->on(next, now())) carry_out(s, effect);
    }
    s.feeding = false;
    if (resting_ && !s.machine->at_rest() && !stopping_) arm_tick();
}

void control::carry_out(managed_site& s, routing::maintenance_effect const& effect) {
    std::visit(overloaded{
                   [&](routing::effect::persist const& e) { persist(s, e.record); },
                   [&](routing::effect::publish const&) {
                       s.events.push_back(routing::event::published{publish()});
                   },
                   [&](routing::effect::ask_primary const& e) { ask_primary(s, e); },
                   [&](routing::effect::ask_replica const& e) { ask_replica(s, e); },
                   [&](routing::effect::ask_fence const& e) { ask_fence(s, e); },
                   [&](routing::effect::end_writers const& e) {
                       if (!workers_) return;
                       for (auto const& w : *workers_)
                           w->end_writers(s.id,
                                          e.terminate ? end_writers_how::terminate : end_writers_how::cancel);
                   },
                   [&](routing::effect::let_go const& e) {
                       s.events.push_back(routing::event::finish{healthy_replicas(s), e.as});
                   },
                   [&](routing::effect::tell const& e) { call_hook(s, e.turn); },
                   [&](routing::effect::say const& e) { say(s, e); },
               },
               effect);
}

void control::persist(managed_site& s, routing::maintenance_record const& record) {
    maintenance_records next = records_;
    routing::maintenance_record& written = next[s.name];
    std::vector<std::string> before = std::move(written.databases);
    if (record.phase == routing::phase::read_write) before.clear();
    written = record;
    written.databases = databases_to_keep(*s.settings, before, config_->sites);
    state_file::saved const saved = state_.save(next);
    if (saved.error.empty()) {
        records_ = std::move(next);
        s.events.push_front(routing::event::persisted{});
        return;
    }
    log::error("site {}: the state could not be written: {}", s.name, saved.error);
    if (saved.in_place) {
        // What a restart finds is to be what is told: the new state, or the one before again. Where not even
        // that can be written, the new one is the more closed.
        if (routing::opens(s.machine->record(), record))
            records_ = std::move(next);
        else
            state_.save(records_);
    }
    s.events.push_front(routing::event::persist_failed{saved.error, saved.in_place});
}

/// Wherever the configuration puts them while their site is closed, they are to be found closed.
void control::note_databases() {
    maintenance_records next = records_;
    for (auto& [name, record] : next)
        if (auto const at = config_->sites.find(name); at != config_->sites.end() && record.phase != routing::phase::read_write)
            record.databases = databases_to_keep(at->second, record.databases, config_->sites);
    if (next == records_) return;
    state_file::saved const saved = state_.save(next);
    if (!saved.error.empty()) return log::error("the databases of the sites that are closed could not be noted: {}", saved.error);
    records_ = std::move(next);
}

void control::say(managed_site& s, routing::effect::say const& said) {
    using routing::effect::loudness;
    routing::effect::say what = said;
    if (what.event == "reopened" && closed_by_replay(s)) what.text += ", once journaled writes have been run";
    switch (what.level) {
        case loudness::info:
            log::info("site {}: {}", s.name, what.text);
            break;
        case loudness::notice:
            log::notice("site {}: {}", s.name, what.text);
            break;
        case loudness::warning:
            log::warning("site {}: {}", s.name, what.text);
            break;
        case loudness::error:
            log::error("site {}: {}", s.name, what.text);
            break;
    }
    audit(audit_line(s, what));
    if (what.event == "reopened") boost::asio::post(io_, [this, name = s.name] { prove(name); });
}

control::server* control::find_server(std::string const& address) {
    for (auto const& s : servers_)
        if (config::format_endpoint(s->value.address) == address) return s.get();
    return nullptr;
}

control::server& control::primary_of(managed_site const& s) {
    for (auto const& server : servers_)
        if (server->value.cluster == s.settings->cluster && server->value.role == routing::role::primary)
            return *server;
    std::abort();  // validate() lets no site without a cluster pass, and no cluster without a primary
}

bool control::provable(managed_site const& s) const {
    return config_->clusters.at(s.settings->cluster).control.has_value();
}

/// Replicas that could be frozen: healthy, and not in another site's hands.
std::vector<std::string> control::freezable(managed_site const& s) const {
    std::vector<std::string> out;
    if (s.settings->freeze == config::freeze_policy::off) return out;
    for (auto const& server : servers_) {
        if (server->value.cluster != s.settings->cluster || server->value.role != routing::role::replica)
            continue;
        if (!server->value.healthy) continue;
        std::string const address = config::format_endpoint(server->value.address);
        bool taken = false;
        for (auto const& other : sites_)
            if (other.get() != &s)
                for (routing::replica_view const& r : other->machine->view().replicas)
                    taken = taken || (r.reserved && r.address == address);
        if (!taken) out.push_back(address);
    }
    return out;
}

void control::ask_primary(managed_site& s, routing::effect::ask_primary const& what) {
    primary_question question;
    question.databases = s.settings->databases;
    question.asked = std::chrono::steady_clock::now();
    if (what.leftovers_before)
        question.older_than =
            std::chrono::duration_cast<std::chrono::milliseconds>(question.asked - *what.leftovers_before);
    question.broken = what.broken;
    question.end_broken = what.end_broken;
    question.nudge = what.nudge;
    for (site_load const& load : s.loads) {
        question.ours.insert(question.ours.end(), load.server_pids.begin(), load.server_pids.end());
        question.migration.insert(question.migration.end(), load.migration_pids.begin(),
                                  load.migration_pids.end());
    }
    primary_of(s).watch->ask_primary(
        std::move(question), [this, &s, ticket = what.ticket](probe::primary_answer answer) {
            if (auto* seen = std::get_if<routing::event::primary_seen>(&answer)) {
                seen->ticket = ticket;
                feed(s, std::move(*seen));
            } else {
                feed(s, routing::event::primary_failed{ticket, std::get<order_failure>(answer).error});
            }
        });
}

config::fence_policy control::fence_of(managed_site const& s) const {
    if (!fences_.contains(s.settings->cluster)) return config::fence_policy::off;
    return s.settings->fence == config::fence_policy::automatic ? config::fence_policy::required : s.settings->fence;
}

void control::ask_fence(managed_site& s, routing::effect::ask_fence const& what) {
    auto const keeper = fences_.find(s.settings->cluster);
    if (keeper == fences_.end()) {
        s.events.push_back(routing::event::fence_failed{what.ticket, "the cluster has no `fence` role any more",
                                                        "give it back its `fence` role in the configuration and restart",
                                                        routing::event::failure::rights});
        return;
    }
    fence_question question{.order = what.order,
                            .settings = what.settings,
                            .databases = s.settings->databases,
                            .asked = std::chrono::steady_clock::now()};
    for (site_load const& load : s.loads)
        question.ours.insert(question.ours.end(), load.server_pids.begin(), load.server_pids.end());
    keeper->second->ask(std::move(question), [this, &s, ticket = what.ticket](fence_keeper::answer answer) {
        if (auto* seen = std::get_if<routing::event::fence_seen>(&answer)) {
            seen->ticket = ticket;
            return feed(s, std::move(*seen));
        }
        auto const& failed = std::get<order_failure>(answer);
        feed(s, routing::event::fence_failed{
                    ticket, failed.error, failed.fix,
                    failed.rights ? routing::event::failure::rights : routing::event::failure::unreachable});
    });
}

void control::ask_replica(managed_site& s, routing::effect::ask_replica const& what) {
    server* const to = find_server(what.address);
    if (!to) {
        s.events.push_back(routing::event::replica_failed{what.address, what.ticket,
                                                          "it is no longer in the configuration", "",
                                                          routing::event::failure::gone});
        return;
    }
    to->watch->ask_replica(what.order, [this, &s, what](probe::replica_answer answer) {
        if (auto* seen = std::get_if<routing::event::replica_seen>(&answer)) {
            seen->ticket = what.ticket;
            seen->address = what.address;
            feed(s, std::move(*seen));
            return;
        }
        auto const& failed = std::get<order_failure>(answer);
        feed(s, routing::event::replica_failed{
                    what.address, what.ticket, failed.error, failed.fix,
                    failed.rights ? routing::event::failure::rights : routing::event::failure::unreachable});
    });
}

}  // namespace lull
