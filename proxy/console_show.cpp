#include "proxy/console_show.hpp"

#include "config/duration.hpp"
#include "config/endpoint.hpp"
#include "config/in_force.hpp"
#include "config/issue.hpp"
#include "config/print.hpp"
#include "proxy/console_cells.hpp"
#include "proxy/version.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lull {

namespace {

using column_type::int4;
using column_type::int8;
using nlohmann::json;

/// A member of an answer of `lull status` as text; NULL where it is null or not there.
console_table::value member(json const& of, char const* key) {
    auto const at = of.find(key);
    if (at == of.end() || at->is_null()) return std::nullopt;
    return at->is_string() ? at->get<std::string>() : at->dump();
}

console_table pools(overview const& all) {
    console_table t;
    t.columns = {{"database"},
                 {"user"},
                 {"cl_active", int4},
                 {"cl_waiting", int4},
                 {"cl_active_cancel_req", int4},
                 {"cl_waiting_cancel_req", int4},
                 {"sv_active", int4},
                 {"sv_active_cancel", int4},
                 {"sv_being_canceled", int4},
                 {"sv_idle", int4},
                 {"sv_used", int4},
                 {"sv_tested", int4},
                 {"sv_login", int4},
                 {"maxwait", int4},
                 {"maxwait_us", int4},
                 {"pool_mode"},
                 {"cl_held", int4},
                 {"cl_pinned", int4}};
    // What its clients have, who keep the mode of their login; without any, what the next would get.
    auto const mode_of = [&](pool_row const& p) -> console_table::value {
        std::string modes;
        for (std::size_t i = 0; i < p.modes.size(); ++i)
            if (p.modes[i]) modes.append(modes.empty() ? "" : ", ").append(config::name_of(static_cast<config::pool_mode>(i)));
        if (!modes.empty()) return modes;
        auto const at = all.now->by_database.find(p.database);
        if (at == all.now->by_database.end()) return std::nullopt;
        config::site const& site = *all.now->of(at->second).settings;
        return std::string(config::name_of(config::pool_mode_of(*all.now->config, site, p.database, p.user)));
    };
    for (pool_row const& p : all.workers.pools())
        t.rows.push_back({p.database, p.user, number(p.clients_active), number(p.clients_waiting), "0", "0",
                          number(p.servers_active), "0", number(p.servers_cancelling), number(p.servers_idle),
                          "0", "0", number(p.servers_login), number(p.longest_wait.count() / 1'000'000),
                          number(p.longest_wait.count() % 1'000'000), mode_of(p), number(p.clients_held),
                          number(p.clients_pinned)});
    return t;
}

console_table databases(overview const& all) {
    console_table t;
    t.columns = {{"name"},
                 {"host"},
                 {"port", int4},
                 {"database"},
                 {"force_user"},
                 {"pool_size", int4},
                 {"min_pool_size", int4},
                 {"reserve_pool", int4},
                 {"pool_mode"},
                 {"max_connections", int4},
                 {"current_connections", int4},
                 {"paused", int4},
                 {"disabled", int4},
                 {"site"},
                 {"mode"}};
    auto const pools = all.workers.pools();
    for (auto const& [name, id] : all.now->by_database) {
        routing::site const& site = all.now->of(id);
        routing::backend const& primary = all.now->of(site.primary);
        auto const cluster = all.now->config->clusters.find(site.settings->cluster);
        bool const known = cluster != all.now->config->clusters.end();
        config::pool_bounds const most =
            known ? config::pool_bounds_of(*all.now->config, cluster->second, name, {})
                  : config::pool_bounds{0, 0, 0};
        std::size_t const reserve = known ? cluster->second.reserve_pool_size : 0;
        std::size_t connections = 0;
        for (pool_row const& p : pools)
            if (p.database == name)
                connections += p.servers_active + p.servers_idle + p.servers_login + p.servers_cancelling;
        console_table::value mode;
        for (json const& s : all.sites)
            if (s.value("site", "") == site.settings->name) mode = s.value("state", "");
        t.rows.push_back(
            {name, primary.address.host, number(primary.address.port), name, std::nullopt,
             number(most.pool_size), "0", number(reserve),
             std::string(config::name_of(config::pool_mode_of(*all.now->config, *site.settings, name, {}))),
             number(most.of_database), number(connections),
             flag(all.paused.stops(name)), "0", site.settings->name, mode});
    }
    return t;
}

console_table lists(overview const& all) {
    console_table t;
    t.columns = {{"list"}, {"items", int4}};
    auto add = [&](char const* name, std::size_t items) { t.rows.push_back({name, number(items)}); };
    auto const pools = all.workers.pools();
    std::size_t clients = 0, idle = 0, used = 0, login = 0, verdicts = 0, prepared = 0;
    std::set<std::string> users;
    for (auto const& [name, user] : all.now->config->users) users.insert(name);
    for (pool_row const& p : pools) {
        users.insert(p.user);
        clients += p.clients_active + p.clients_waiting;
        idle += p.servers_idle;
        used += p.servers_active + p.servers_cancelling + p.servers_login;
    }
    for (worker_survey const& w : all.workers.workers) {
        login += w.logging_in;
        verdicts += w.cached_verdicts;
        prepared += w.prepared_statements;
    }
    std::size_t const most = all.now->config->limits.max_clients;
    add("databases", all.now->by_database.size());
    add("users", users.size());
    add("pools", pools.size());
    add("free_clients", most - std::min(most, clients + login));
    add("used_clients", clients);
    add("login_clients", login);
    add("free_servers", idle);
    add("used_servers", used);
    add("sites", all.now->sites.size());
    add("backends", all.now->backends.size());
    add("workers", all.workers.workers.size());
    add("cached_verdicts", verdicts);
    add("prepared_statements", prepared);
    return t;
}

console_table sites(overview const& all) {
    console_table t;
    t.columns = {{"site"},        {"state"},         {"since"},         {"reason"},      {"owner"},
                 {"until"},       {"clients", int4}, {"writing", int4}, {"held", int4},  {"refused", int8},
                 {"epoch", int8}, {"sealed_at"},     {"sealed_lsn"},    {"waiting_for"}, {"error"}};
    for (json const& s : all.sites) {
        json const held = s.value("held", json::object());
        json const error = s.value("error", json());
        std::string waiting;
        if (auto const at = s.find("waiting_for"); at != s.end()) {
            if (at->is_string()) waiting = at->get<std::string>();
            if (at->is_array())
                for (json const& w : *at)
                    waiting +=
                        (waiting.empty() ? "" : "; ") + (w.is_string() ? w.get<std::string>() : w.dump());
        }
        t.rows.push_back({member(s, "site"), member(s, "state"), member(s, "since"), member(s, "reason"),
                          member(s, "owner"), member(s, "until"), member(s, "clients"), member(s, "writing"),
                          member(held, "count"), member(s, "refused"), member(s, "epoch"),
                          member(s, "sealed_at"), member(s, "sealed_lsn"), waiting,
                          error.is_object() ? member(error, "text") : std::nullopt});
    }
    return t;
}

console_table backends(overview const& all) {
    console_table t;
    t.columns = {{"cluster"},       {"address"},        {"role"},
                 {"healthy", int4}, {"frozen_for"},     {"lag_ms", int8},
                 {"lsn"},           {"active", int4},   {"idle", int4},
                 {"login", int4},   {"connects", int8}, {"connect_failures", int8},
                 {"trouble"}};
    for (routing::backend const& b : all.now->backends) {
        auto const i = static_cast<std::size_t>(b.id);
        std::string const address = config::format_endpoint(b.address);
        json told = json::object();
        for (json const& s : all.sites)
            for (json const& known : s.value("backends", json::array()))
                if (known.value("address", "") == address) told = known;
        backend_load load;
        backend_stats stats;
        for (worker_survey const& w : all.workers.workers) {
            if (i < w.backends.size()) {
                load.active += w.backends[i].active;
                load.idle += w.backends[i].idle;
                load.login += w.backends[i].login;
            }
            if (i < w.pg.backends.size()) {
                stats.failures += w.pg.backends[i].failures;
                stats.connect.add(w.pg.backends[i].connect);
            }
        }
        auto lsn = member(told, "replay_lsn");
        if (!lsn) lsn = member(told, "insert_lsn");
        t.rows.push_back(
            {b.cluster, address, b.role == routing::role::replica ? "replica" : "primary", flag(b.healthy),
             b.frozen_for ? console_table::value(all.now->of(*b.frozen_for).settings->name) : std::nullopt,
             member(told, "lag_ms"), lsn, number(load.active), number(load.idle), number(load.login),
             number(stats.connect.count()), number(stats.failures), member(told, "trouble")});
    }
    return t;
}

/// Exporters look for some of PgBouncer's keys. Those of a cluster mean the same where there is one.
struct known_key {
    std::string_view theirs;
    std::string_view ours;
    bool of_cluster = false;
};
constexpr known_key known_keys[] = {
    {"client_login_timeout", "limits.login_timeout"},
    {"default_pool_size", "pool_size", true},
    {"dns_max_ttl", "limits.dns_max_ttl"},
    {"max_client_conn", "limits.max_clients"},
    {"max_db_connections", "max_db_connections", true},
    {"max_user_connections", "max_user_connections", true},
    {"query_wait_timeout", "limits.query_wait_timeout"},
    {"reserve_pool_size", "reserve_pool_size", true},
    {"reserve_pool_timeout", "reserve_pool_timeout", true},
    {"server_check_delay", "limits.server_check_delay"},
    {"server_check_query", "limits.server_check_query"},
    {"server_idle_timeout", "server_idle_timeout", true},
    {"server_lifetime", "server_lifetime", true},
    {"server_login_retry", "limits.server_login_retry"},
};

/// As PgBouncer has it: durations are in seconds, texts without quotes.
std::string plain(std::string value) {
    auto const duration = config::parse_duration(value);
    if (auto const* ms = std::get_if<std::chrono::milliseconds>(&duration))
        return fmt::format("{:g}", std::chrono::duration<double>(*ms).count());
    if (value.size() > 1 && value.front() == '"' && value.back() == '"') return value.substr(1, value.size() - 2);
    return value;
}

void add_known_keys(config::config const& c, std::vector<config::effective_key> const& keys, console_table& t) {
    for (known_key const& k : known_keys) {
        if (k.of_cluster && c.clusters.size() != 1) continue;
        std::string const path = k.of_cluster ? config::join_path("clusters", c.clusters.begin()->first) + "." + std::string(k.ours)
                                              : std::string(k.ours);
        auto const at = std::ranges::find(keys, path, &config::effective_key::path);
        if (at == keys.end()) continue;
        t.rows.push_back({std::string(k.theirs), plain(at->value), plain(at->default_value), at->reloadable ? "yes" : "no"});
    }
}

console_table configuration(overview const& all) {
    console_table t;
    t.columns = {{"key"}, {"value"}, {"default"}, {"changeable"}};
    auto const keys = config::effective_keys(*all.now->config);
    for (config::effective_key const& k : keys)
        t.rows.push_back({k.path, k.value, k.default_value, k.reloadable ? "yes" : "no"});
    add_known_keys(*all.now->config, keys, t);
    return t;
}

console_table users(overview const& all) {
    console_table t;
    t.columns = {{"name"}, {"pool_mode"}};
    for (auto const& [name, user] : all.now->config->users)
        t.rows.push_back(
            {name, user.pool_mode == config::user_pool_mode::as_site
                       ? console_table::value()
                       : std::string(config::name_of(config::pool_mode_of(*all.now->config, {}, {}, name)))});
    return t;
}

}  // namespace

survey_wish wish_for(console_topic topic) {
    survey_wish wish;
    wish.clients = topic == console_topic::clients || topic == console_topic::locks;
    wish.servers = topic == console_topic::servers;
    wish.prepared = topic == console_topic::prepared;
    return wish;
}

console_table show(console_command const& what, overview const& all, console_facts const& facts) {
    switch (what.topic) {
        case console_topic::help:
            return {};
        case console_topic::clients:
            return show_clients(all, facts);
        case console_topic::servers:
            return show_servers(all);
        case console_topic::pools:
            return pools(all);
        case console_topic::databases:
            return databases(all);
        case console_topic::stats:
            return show_stats(all, facts, stats_part::both);
        case console_topic::stats_totals:
            return show_stats(all, facts, stats_part::totals);
        case console_topic::stats_averages:
            return show_stats(all, facts, stats_part::averages);
        case console_topic::totals:
            return show_totals(all, facts);
        case console_topic::lists:
            return lists(all);
        case console_topic::users:
            return users(all);
        case console_topic::state:
            return {{{"key"}, {"value"}}, {{"paused", all.paused.all() ? "yes" : "no"}}};
        case console_topic::sites:
            return sites(all);
        case console_topic::backends:
            return backends(all);
        case console_topic::prepared:
            return show_prepared(all, facts);
        case console_topic::config:
            return configuration(all);
        case console_topic::locks:
            return show_locks(all, facts);
        case console_topic::version:
            return {{{"version"}}, {{"Lull " + std::string(version)}}};
        case console_topic::parameter:
            return {{{what.name}}, {{std::string(console_parameter(what.name))}}};
    }
    return {};
}

}  // namespace lull
