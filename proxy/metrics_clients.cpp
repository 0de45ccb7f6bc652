// Clients of PostgreSQL, and the pools of servers that they share.
#include "proxy/metrics_of.hpp"

#include <array>

namespace lull {

void write_clients(metric_page& out, overview const& all) {
    using count = std::uint64_t;
    out.counter("lull_client_connections_total", "PostgreSQL connections accepted.")
        .add({}, sum<count>(all, [](worker_survey const& w) { return w.pg.accepted; }));
    {
        static constexpr std::array<char const*, turned_away_kinds> names{
            "stopping", "clients", "user", "database", "address", "open_files", "failed_logins"};
        auto f = out.counter("lull_client_connections_turned_away_total",
                         "Of these, over a limit of clients, or of failed logins, by which, or while stopping.");
        for (std::size_t t = 0; t < turned_away_kinds; ++t) {
            count turned_away = 0;
            for (worker_survey const& w : all.workers.workers) turned_away += w.pg.turned_away[t];
            f.add({{"limit", names[t]}}, turned_away);
        }
    }
    out.counter("lull_login_timeouts_total",
            "Of these, ended because logging in took longer than limits.login_timeout.")
        .add({}, sum<count>(all, [](worker_survey const& w) { return w.pg.login_timeouts; }));
    out.counter("lull_failed_passwords_total", "Of these, ended by a wrong password, or one of a user who does not exist.")
        .add({}, sum<count>(all, [](worker_survey const& w) { return w.pg.failed_passwords; }));
    out.counter("lull_client_sessions_total", "Of these, logged in.")
        .add({}, sum<count>(all, [](worker_survey const& w) { return w.pg.sessions; }));
    out.counter("lull_client_connections_without_session_total",
            "Of these, ended without a session: failed logins, cancel requests, health checks.")
        .add({}, sum<count>(all, [](worker_survey const& w) { return w.pg.without_session; }));
    out.gauge("lull_clients_logging_in", "Clients that have not logged in yet.")
        .add({}, sum<std::size_t>(all, [](worker_survey const& w) { return w.logging_in; }));
}

void write_pools(metric_page& out, overview const& all) {
    auto const pools = all.workers.pools();
    auto where = [](pool_row const& p, char const* state) {
        return metric_labels{{"database", p.database}, {"user", p.user}, {"state", state}};
    };
    {
        auto f = out.gauge("lull_pool_clients",
                       "Clients of a database and user; held and pinned ones count under active, too.");
        for (pool_row const& p : pools)
            f.add(where(p, "active"), p.clients_active)
                .add(where(p, "waiting"), p.clients_waiting)
                .add(where(p, "held"), p.clients_held)
                .add(where(p, "pinned"), p.clients_pinned);
    }
    {
        auto f = out.gauge("lull_pool_servers", "Server connections of a database and user.");
        for (pool_row const& p : pools)
            f.add(where(p, "active"), p.servers_active)
                .add(where(p, "idle"), p.servers_idle)
                .add(where(p, "login"), p.servers_login)
                .add(where(p, "cancelling"), p.servers_cancelling);
    }
    auto f =
        out.gauge("lull_pool_longest_wait_seconds", "How long the client that waits longest has waited.");
    for (pool_row const& p : pools)
        f.add({{"database", p.database}, {"user", p.user}},
              static_cast<double>(p.longest_wait.count()) / 1e6);
}

/// What auth_query has said of those who log in, and how much of that was known already.
void write_secrets(metric_page& out, overview const& all) {
    auto f = out.counter("lull_auth_query_answers_total",
                         "Secrets of users that logins asked for: remembered (cache_time), of the server, or of nobody because it could "
                         "not be asked.");
    for (auto const& [cluster, answers] : all.auth_query) {
        auto const by = [&](char const* what) { return metric_labels{{"cluster", cluster}, {"by", what}}; };
        f.add(by("cache"), answers.remembered).add(by("server"), answers.server).add(by("nobody"), answers.nobody);
    }
}

void write_listeners(metric_page& out, overview const& all) {
    std::map<std::string, std::size_t> sums;
    for (worker_survey const& w : all.workers.workers)
        for (auto const& [database, listening] : w.listening) sums[database] += listening;
    auto f = out.gauge("lull_listening", "LISTENs of clients that the shared listener serves.");
    for (auto const& [database, listening] : sums) f.add({{"database", database}}, listening);
}

}  // namespace lull
