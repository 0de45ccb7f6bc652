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
            if (hurry_)
                for (auto& [database, at] : databases_) at.owed = true;
            hurry_ = false;
            todo = orders_;
        }
        if (!look_at_all(todo)) return;
        next = std::chrono::steady_clock::now() + interval_;
    }
}

/// False: this object ends.
bool catalog_watch::look_at_all(std::map<std::string, order> const& todo) {
    auto const asked = std::chrono::steady_clock::now();
    catalog_moment const now = moment(todo);
    for (auto const& [database, what] : todo) {
        watched& at = databases_[database];
        auto const before = at.facts;
        bool const as_before = at.facts && at.made_for == what && !now.snapshot.empty() && now == at.digested;
        std::string const trouble = as_before ? std::string() : ask(database, what, at, now);
        if (as_before) at.known = asked;
        bool const found = trouble.empty();
        if (at.owed || !found || at.facts != before) {
            catalog_look look{database, found ? at.facts : nullptr, at.known, trouble};
            boost::asio::post(io_, [this, alive = alive_, look = std::move(look)] {
                if (*alive) look_(look);
            });
        }
        at.owed = !found;
        std::lock_guard const lock(mutex_);
        if (stop_) return false;
    }
    return true;
}

/// By the first of these connections that there is. Empty: not known.
catalog_moment catalog_watch::moment(std::map<std::string, order> const& todo) {
    for (auto const& [database, what] : todo) {
        watched& at = databases_[database];
        if (!pg_usable(at.connection)) continue;
        if (!wait_on(PQsocket(at.connection))) return {};
        catalog_moment const now = read_moment(at.connection);
        wait_on(-1);
        if (PQstatus(at.connection) != CONNECTION_OK) disconnect(at);
        return now;
    }
    return {};
}

/// With synchronous_commit off a server that has crashed may have lost what was seen in it, and gives the same transaction ids
/// again: nothing is as before where a connection has broken.
void catalog_watch::disconnect(watched& at) {
    if (!at.connection) return;
    pg_close(at.connection);
    at.connection = nullptr;
    for (auto& [database, other] : databases_) other.digested = {};
}

bool catalog_watch::connect(std::string const& database, watched& at, std::string& trouble) {
    if (pg_usable(at.connection)) return wait_on(PQsocket(at.connection));
    disconnect(at);
    config::login_role role = role_;
    role.database = database;
    at.connection = pg_connect(where_, role, tls_, trouble);
    if (!at.connection || !wait_on(PQsocket(at.connection))) return false;
    // Reading all of a large catalog may take longer than what else is asked of servers.
    pg_query(at.connection, "SET statement_timeout = '25s'");
    at.server = read_moment(at.connection).server;
    return true;
}

/// Why it is not known; empty: it is.
std::string catalog_watch::ask(std::string const& database, order const& what, watched& at, catalog_moment const& now) {
    std::string trouble;
    // A connection that has not been used for long may have been ended meanwhile, which says nothing of the catalog.
    for (bool once_more = at.connection != nullptr;; once_more = false) {
        trouble.clear();
        bool const known_before = pg_usable(at.connection);
        if (!connect(database, at, trouble)) return trouble.empty() ? "it is not watched any more" : trouble;
        read(what, at, known_before ? now : catalog_moment{}, trouble);
        if (!wait_on(-1) || PQstatus(at.connection) == CONNECTION_OK) return trouble;
        disconnect(at);
        if (trouble.empty() || !once_more) return trouble;
    }
}

/// False: this object ends.
bool catalog_watch::wait_on(int socket) {
    std::lock_guard const lock(mutex_);
    socket_ = socket;
    return !stop_;
}

void catalog_watch::read(order const& what, watched& at, catalog_moment const& now, std::string& trouble) {
    auto const asked = std::chrono::steady_clock::now();
    auto const digest = catalog_digest(at.connection, trouble);
    if (!digest) return;
    if (!at.facts || *digest != at.digest || at.made_for != what) {
        auto const rows = read_catalog(at.connection, what.max_objects, trouble);
        at.facts.reset();
        if (!rows) return;
        // Read after the digest: whatever changed in between is found again by the next one.
        at.facts = routing::catalog_facts::make(*rows, what.guard);
        at.digest = *digest;
        at.made_for = what;
    }
    at.known = asked;
    // Asked for before the digest, and of this server: another connection may still be to the one before it.
    at.digested = now.server == at.server ? now : catalog_moment{};
}

}  // namespace lull
