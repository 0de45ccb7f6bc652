#include "proxy/catalog_watch.hpp"

#include "proxy/catalog_reader.hpp"
#include "proxy/pg_query.hpp"

#include <boost/asio/post.hpp>
#include <libpq-fe.h>

#include <sys/socket.h>

namespace lull {

catalog_watch::catalog_watch(boost::asio::io_context& io, config::endpoint primary, config::login_role role,
                             config::server_tls tls, config::milliseconds interval, on_look look)
    : io_(io),
      where_(std::move(primary)),
      role_(std::move(role)),
      tls_(std::move(tls)),
      interval_(interval),
      look_(std::move(look)),
      thread_([this] { run(); }) {}

catalog_watch::~catalog_watch() {
    *alive_ = false;
    {
        std::lock_guard const lock(mutex_);
        stop_ = true;
        if (socket_ >= 0) ::shutdown(socket_, SHUT_RDWR);
    }
    wake_.notify_all();
    thread_.join();
    for (auto& [name, at] : databases_) disconnect(at);
}

void catalog_watch::watch(std::string const& database, config::guard const& guard, std::size_t max_objects) {
    {
        std::lock_guard const lock(mutex_);
        order const wanted{guard, max_objects};
        auto const [at, fresh] = orders_.try_emplace(database, wanted);
        if (!fresh && at->second == wanted) return;
        at->second = wanted;
        hurry_ = true;
    }
    wake_.notify_all();
}

void catalog_watch::hurry() {
    {
        std::lock_guard const lock(mutex_);
        hurry_ = true;
    }
    wake_.notify_all();
}

void catalog_watch::run() {
    auto next = std::chrono::steady_clock::now();
    for (;;) {
        std::map<std::string, order> todo;
        {
            std::unique_lock lock(mutex_);
            wake_.wait_until(lock, next, [&] { return stop_ || hurry_; });
            if (stop_) return;
            hurry_ = false;
            todo = orders_;
        }
        for (auto const& [database, what] : todo) {
            catalog_look look = look_at(database, what, databases_[database]);
            boost::asio::post(io_, [this, alive = alive_, look = std::move(look)] {
                if (*alive) look_(look);
            });
            std::lock_guard const lock(mutex_);
            if (stop_) return;
        }
        next = std::chrono::steady_clock::now() + interval_;
    }
}

void catalog_watch::disconnect(watched& at) {
    if (at.connection) pg_close(at.connection);
    at.connection = nullptr;
}

catalog_look catalog_watch::look_at(std::string const& database, order const& what, watched& at) {
    catalog_look look{database, nullptr, std::chrono::steady_clock::now(), {}};
    if (!pg_usable(at.connection)) {
        disconnect(at);
        config::login_role role = role_;
        role.database = database;
        at.connection = pg_connect(where_, role, tls_, look.trouble);
        if (!at.connection) return look;
        // Reading all of a large catalog may take longer than what else is asked of servers.
        if (!wait_on(PQsocket(at.connection))) return look;
        pg_query(at.connection, "SET statement_timeout = '25s'");
    }
    if (!wait_on(PQsocket(at.connection))) return look;
    ask(what, at, look);
    wait_on(-1);
    if (PQstatus(at.connection) != CONNECTION_OK) disconnect(at);
    return look;
}

/// False: this object ends.
bool catalog_watch::wait_on(int socket) {
    std::lock_guard const lock(mutex_);
    socket_ = socket;
    return !stop_;
}

void catalog_watch::ask(order const& what, watched& at, catalog_look& look) {
    look.asked = std::chrono::steady_clock::now();
    auto const digest = catalog_digest(at.connection, look.trouble);
    if (!digest) return;
    if (!at.facts || *digest != at.digest || at.made_for != what) {
        auto const rows = read_catalog(at.connection, what.max_objects, look.trouble);
        at.facts.reset();
        if (!rows) return;
        // Read after the digest: whatever changed in between is found again by the next one.
        at.facts = routing::catalog_facts::make(*rows, what.guard);
        at.digest = *digest;
        at.made_for = what;
    }
    look.facts = at.facts;
}

}  // namespace lull
