// What a worker's PostgreSQL half has open, copied for the control thread.
#include "protocol/utf8.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_pool.hpp"
#include "proxy/pg_server.hpp"
#include "proxy/pg_service.hpp"
#include "proxy/socket_name.hpp"
#include "proxy/survey.hpp"

#include <algorithm>

namespace lull {

namespace {

std::chrono::microseconds since(routing::instant then, routing::instant now) {
    return then == routing::instant{} ? std::chrono::microseconds{}
                                      : std::chrono::duration_cast<std::chrono::microseconds>(now - then);
}

char const* name_of(pool_use use) {
    switch (use) {
        case pool_use::normal:
            return "normal";
        case pool_use::guarded:
            return "guarded";
        case pool_use::migration:
            return "migration";
    }
    return "";
}

}  // namespace

client_row pg_client::row() const {
    client_row r;
    if (socket_) r.local = local_name(socket_->fd());
    if (replication_) {
        replication_identity const& who = replication_->identity();
        r.id = static_cast<std::uint32_t>(key_pid_);
        r.user = who.user;
        r.database = who.database;
        r.address = peer_;
        r.application_name = who.application_name;
        r.site = service_.snapshot().of(who.site).settings->name;
        r.state = "replication";
        r.transaction = "idle";
        r.pinned = true;
        r.tls = tls_ != nullptr;
        r.connected = r.asked = wall_of(since_, service_.context().now);
        r.server_pid = replication_->server_pid();
        return r;
    }
    routing::instant const now = service_.context().now;
    session_identity const& who = session_->identity();
    r.id = static_cast<std::uint32_t>(key_pid_);
    r.user = who.user;
    r.database = who.database;
    r.address = peer_;
    r.application_name = session_->application_name();
    r.site = service_.snapshot().of(who.site).settings->name;
    r.state = session_->held() ? "held" : waiting_in_ ? "waiting" : "active";
    r.transaction = session_->status() == 'I' ? "idle" : session_->status() == 'T' ? "block" : "failed";
    r.pinned = session_->pinned();
    r.pinned_by = session_->pins().text();
    r.writes = session_->writes();
    r.migration = who.migration;
    r.tls = tls_ != nullptr;
    r.connected = wall_of(since_, now);
    r.asked = session_->asked() == routing::instant{} ? r.connected : wall_of(session_->asked(), now);
    r.waiting = session_->held() ? since(session_->held_since(), now) : since(session_->waits_since(), now);
    r.statement = whole_characters(session_->last_statement());
    r.channels = session_->channels();
    if (server_) {
        r.server = server_->id();
        r.server_pid = static_cast<std::uint32_t>(server_->state().pid);
        r.has_server = since(session_->linked_since(), now);
    }
    return r;
}

server_row pg_server::row() const {
    server_row r;
    r.id = id();
    r.user = pool_.key().user;
    r.database = pool_.key().database;
    r.backend = state_.backend;
    r.state = opening() ? "login" : client_ ? "active" : kept_ ? "kept" : "idle";
    r.use = name_of(pool_.key().use);
    r.pid = static_cast<std::uint32_t>(state_.pid);
    r.prepared = state_.statements.size();
    r.outdated = outdated_;
    r.tls = tls_ != nullptr;
    if (socket_) r.local = local_name(socket_->fd());
    r.connected = wall_of(since_, service_.context().now);
    routing::instant asked = pool_.last_heard(*this).value_or(since_);
    if (client_) {
        r.client = static_cast<std::uint32_t>(client_->key());
        if (pg_session_core const* session = client_->session()) {
            r.application_name = session->application_name();
            asked = std::max(asked, session->asked());
        }
    }
    r.asked = wall_of(asked, service_.context().now);
    return r;
}

/// The same connection serves all workers, and each tells of it.
server_row pg_service::listener_row(std::string const& database, listener_facts const& listener) const {
    server_row r;
    r.user = listener.user;
    r.database = database;
    r.backend = snapshot().of(snapshot().by_database.at(database)).primary;
    r.state = "active";
    r.use = "listener";
    r.pid = listener.pid;
    r.tls = listener.tls;
    r.application_name = "lull control";
    r.connected = r.asked = listener.connected;
    return r;
}

void pg_service::take_survey(survey_wish const& wish, worker_survey& out) const {
    std::map<std::pair<std::string_view, std::string_view>, pool_row> pools;
    auto pool_of = [&](std::string const& database, std::string const& user) -> pool_row& {
        auto [at, fresh] = pools.try_emplace({database, user});
        if (fresh) {
            at->second.database = database;
            at->second.user = user;
        }
        return at->second;
    };
    out.pg = context_.stats;
    out.classifier = classifier_.stats();
    out.cached_verdicts = classifier_.cached();
    out.prepared_statements = statements_.size();
    for (auto const& [client, owner] : clients_) {
        pg_session_core const* session = client->session();
        pg_replication const* replication = client->replication();
        if (!session && !replication) {
            if (!client->at_console()) ++out.logging_in;
            continue;
        }
        if (replication) {
            pool_row& pool = pool_of(replication->identity().database, replication->identity().user);
            ++pool.clients_active;
            ++pool.clients_pinned;
        } else {
            pool_row& pool = pool_of(session->identity().database, session->identity().user);
            bool const waits = session->waits_for_server();
            ++(waits ? pool.clients_waiting : pool.clients_active);
            if (session->held()) ++pool.clients_held;
            if (session->pinned()) ++pool.clients_pinned;
            pool.modes[static_cast<std::size_t>(session->identity().pool_mode)] = true;
            if (waits)
                pool.longest_wait = std::max(pool.longest_wait, since(session->waits_since(), context_.now));
        }
        if (!wish.clients) continue;
        if (out.clients.size() < wish.most)
            out.clients.push_back(client->row());
        else
            ++out.not_shown;
    }
    out.backends.resize(snapshot().backends.size());
    for (auto const& [key, pool] : pools_)
        pool->each_server([&](pg_server const& server) {
            pool_row& row = pool_of(key.database, key.user);
            auto const index = static_cast<std::size_t>(key.backend);
            backend_load nowhere;
            backend_load& load = index < out.backends.size() ? out.backends[index] : nowhere;
            if (server.opening()) {
                ++row.servers_login, ++load.login;
            } else if (server.client()) {
                ++row.servers_active, ++load.active;
            } else if (server.cancelling()) {
                ++row.servers_cancelling, ++load.active;
            } else {
                ++row.servers_idle, ++load.idle;
            }
            if (!wish.servers) return;
            if (out.servers.size() < wish.most)
                out.servers.push_back(server.row());
            else
                ++out.not_shown;
        });
    for (auto& [key, row] : pools) out.pools.push_back(std::move(row));
    out.listening = channels_.listening();
    if (wish.servers)
        for (auto const& [database, listener] : listeners_) out.servers.push_back(listener_row(database, listener));
    if (wish.prepared)
        statements_.each([&](prepared_text const& text, std::size_t uses) {
            if (out.prepared.size() < wish.most)
                out.prepared.push_back({text.server_name, std::string(whole_characters(std::string_view(text.text).substr(0, 1000))), uses});
            else
                ++out.not_shown;
        });
}

}  // namespace lull
