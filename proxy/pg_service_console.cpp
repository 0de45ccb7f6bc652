// What operators make a worker's pools do, the way of their questions, and the statements that they want to
// read of.
#include "proxy/pg_client.hpp"
#include "proxy/pg_pool.hpp"
#include "proxy/pg_server.hpp"
#include "proxy/pg_service.hpp"

#include <algorithm>
#include <thread>

namespace lull {

std::uint64_t pg_service::ask_console(pg_client& client, console_command question, std::string user) {
    std::uint64_t const request = next_request_++;
    asked_[request] = &client;
    control_.ask_console(id_, request, std::move(question), std::move(user));
    return request;
}

void pg_service::console_begun() {
    shared_.consoles.fetch_add(1);
    shared_.clients.fetch_sub(1);
}

void pg_service::cancel_console(std::uint64_t request) {
    asked_.erase(request);
    control_.cancel_console(id_, request);
}

void pg_service::console_answered(std::uint64_t request, std::string const& messages, bool last) {
    auto const at = asked_.find(request);
    if (at == asked_.end()) return;
    pg_client& client = *at->second;
    if (last) asked_.erase(at);
    touch_clock();
    client.console_answered(messages, last);
}

void pg_service::watch_statements() {
    config::logging const& log = snapshot().config->log;
    statement_watch& watch = context_.watch;
    watch.slow_from = log.slow_query.count() > 0 ? std::chrono::nanoseconds(log.slow_query)
                                                 : std::chrono::nanoseconds::max();
    watch.one_in = log.sample;
    budgeted_ = {};
}

/// At each tick.
void pg_service::report_statements() {
    statement_watch& watch = context_.watch;
    if (context_.now - budgeted_ >= std::chrono::seconds(1)) {
        budgeted_ = context_.now;
        config::config const& c = *snapshot().config;
        std::size_t const workers =
            c.workers > 0 ? c.workers : std::max(1U, std::thread::hardware_concurrency());
        watch.budget = std::max<std::size_t>(1, c.log.statements_per_second / workers);
    }
    if (watch.found.empty() && watch.dropped == 0) return;
    control_.log_statements(std::exchange(watch.found, {}), std::exchange(watch.dropped, 0));
}

void pg_service::pause(std::string const& database) {
    touch_clock();
    if (database.empty())
        paused_all_ = true;
    else
        paused_.insert(database);
    for (auto const& [key, pool] : pools_)
        if (paused(key.database)) pool->close_idle_ones();
}

void pg_service::resume(std::string const& database) {
    touch_clock();
    if (database.empty()) {
        paused_all_ = false;
        paused_.clear();
    } else {
        paused_.erase(database);
    }
    for (auto const& [key, pool] : pools_) pool->tick();  // opens what is waited for
}

void pg_service::resume_rest() {
    touch_clock();
    paused_all_ = false;
    for (auto const& [key, pool] : pools_) pool->tick();
}

void pg_service::reconnect(std::string const& database) {
    touch_clock();
    for (auto const& [key, pool] : pools_)
        if (database.empty() || key.database == database) pool->reconnect();
}

void pg_service::kill(std::string const& database) {
    touch_clock();
    std::vector<pg_client*> all;
    for (auto const& [client, owner] : clients_)
        if ((client->session() && client->session()->identity().database == database) ||
            (client->replication() && client->replication()->identity().database == database))
            all.push_back(client);
    for (pg_client* client : all)
        if (clients_.contains(client)) client->kill();
}

}  // namespace lull
