#include "proxy/channel_watch.hpp"

#include "protocol/pg/backend.hpp"
#include "proxy/log.hpp"
#include "proxy/pg_query.hpp"
#include "routing/quoted.hpp"

#include <libpq-fe.h>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace lull {

namespace {

// Meanwhile whoever wants to LISTEN does not wait for what has just failed.
constexpr std::chrono::seconds try_again_after{5};

// In milliseconds: whether the server is still where its name says.
constexpr int look_every = 1000;

int make_event() {
    int const fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::system_category(), "eventfd");
    return fd;
}

}  // namespace

channel_watch::channel_watch(config::endpoint primary, config::login_role role, config::server_tls tls,
                             std::size_t most, channel_audience& audience)
    : where_(std::move(primary)),
      role_(std::move(role)),
      tls_(std::move(tls)),
      audience_(audience),
      most_(most),
      wake_(make_event()),
      thread_([this] { run(); }) {}

channel_watch::~channel_watch() {
    {
        std::lock_guard const lock(mutex_);
        stop_ = true;
        if (socket_ >= 0) ::shutdown(socket_, SHUT_RDWR);
    }
    wake();
    thread_.join();
    for (auto& [database, at] : databases_)
        if (at.connection) pg_close(at.connection);
    ::close(wake_);
}

void channel_watch::wake() {
    std::uint64_t const one = 1;
    [[maybe_unused]] ssize_t const n = ::write(wake_, &one, sizeof one);
}

void channel_watch::listen(std::size_t worker, std::string const& database, std::string const& channel,
                           std::uint64_t ticket) {
    give({worker, database, channel, ticket});
}

void channel_watch::unlisten(std::size_t worker, std::string const& database, std::string const& channel) {
    give({worker, database, channel, 0});
}

void channel_watch::give(order what) {
    {
        std::lock_guard const lock(mutex_);
        orders_.push_back(std::move(what));
    }
    wake();
}

/// False: this object ends.
bool channel_watch::take(std::deque<order>& orders) {
    std::lock_guard const lock(mutex_);
    orders = std::exchange(orders_, {});
    return !stop_;
}

/// False: this object ends.
bool channel_watch::wait_on(int socket) {
    std::lock_guard const lock(mutex_);
    socket_ = socket;
    return !stop_;
}

void channel_watch::run() {
    std::deque<order> orders;
    while (take(orders)) {
        for (order const& what : orders) carry_out(what);
        wait();
    }
}

void channel_watch::wait() {
    std::vector<pollfd> sockets{{wake_, POLLIN, 0}};
    std::vector<std::string> names;
    for (auto const& [database, at] : databases_) {
        if (!at.connection) continue;
        sockets.push_back({PQsocket(at.connection), POLLIN, 0});
        names.push_back(database);
    }
    if (::poll(sockets.data(), sockets.size(), names.empty() ? -1 : look_every) < 0) return;
    std::uint64_t count;
    while (::read(wake_, &count, sizeof count) > 0) {
    }
    for (std::size_t i = 0; i < names.size(); ++i)
        if (sockets[i + 1].revents != 0) pass_on(names[i], databases_[names[i]]);
    for (std::string const& name : names)
        if (watched& at = databases_[name]; at.connection && !pg_usable(at.connection))
            lose(name, at, "its server's name has other addresses now");
}

void channel_watch::carry_out(order const& what) {
    watched& at = databases_[what.database];
    if (what.ticket == 0) return end(what, at);
    channel_answer answer{what.database, what.channel, what.ticket, begin(what, at), {}};
    if (at.connection)
        answer.listener = {static_cast<std::uint32_t>(PQbackendPID(at.connection)), role_.user,
                           PQsslInUse(at.connection) != 0, at.connected};
    audience_.channel_answered(what.worker, std::move(answer));
    // What came along with the answer of the server is of after the LISTEN, and for who has just been told.
    if (at.connection) pass_on(what.database, at);
}

channel_outcome channel_watch::begin(order const& what, watched& at) {
    switch (at.channels.ask(what.channel, what.worker, most_)) {
        case channel_union::verdict::has:
            return channel_outcome::listening;
        case channel_union::verdict::full:
            return channel_outcome::full;
        case channel_union::verdict::make:
            break;
    }
    if (!at.connection) {
        if (std::chrono::steady_clock::now() < at.not_before) return channel_outcome::unavailable;
        config::login_role role = role_;
        role.database = what.database;
        std::string trouble;
        at.connection = pg_connect(where_, role, tls_, trouble);
        if (!at.connection) {
            at.not_before = std::chrono::steady_clock::now() + try_again_after;
            log::warning("database {}: no connection to LISTEN with, so clients keep servers of their own: {}",
                         what.database, trouble);
            return channel_outcome::unavailable;
        }
        at.connected = std::chrono::system_clock::now();
    }
    if (!wait_on(PQsocket(at.connection))) return channel_outcome::unavailable;
    pg_result const result = pg_query(at.connection, ("LISTEN " + routing::quoted(what.channel, '"')).c_str());
    wait_on(-1);
    if (result.ok()) {
        at.channels.keep(what.channel, what.worker);
        return channel_outcome::listening;
    }
    log::warning("database {}: LISTEN failed, so a client keeps a server of its own: {}", what.database,
                 result.error());
    if (PQstatus(at.connection) != CONNECTION_OK) lose(what.database, at, result.error());
    return channel_outcome::unavailable;
}

void channel_watch::end(order const& what, watched& at) {
    if (!at.channels.drop(what.channel, what.worker) || !at.connection) return;
    if (at.channels.empty()) {
        pg_close(at.connection);
        databases_.erase(what.database);
        return;
    }
    if (!wait_on(PQsocket(at.connection))) return;
    pg_result const result = pg_query(at.connection, ("UNLISTEN " + routing::quoted(what.channel, '"')).c_str());
    wait_on(-1);
    if (result.ok()) return pass_on(what.database, at);
    // Also where the connection lives on: then the server would go on telling us what nobody wants.
    lose(what.database, at, result.error());
}

void channel_watch::pass_on(std::string const& database, watched& at) {
    bool const alive = PQconsumeInput(at.connection) != 0;
    std::map<std::size_t, std::vector<notification>> told;
    while (PGnotify* n = PQnotifies(at.connection)) {
        auto made = std::make_shared<notification_text>();
        made->channel = n->relname;
        pg::write_notification_response(made->message, n->be_pid, n->relname, n->extra);
        PQfreemem(n);
        auto const* workers = at.channels.workers_of(made->channel);
        if (!workers) continue;
        for (std::size_t worker : *workers) told[worker].push_back(made);
    }
    for (auto& [worker, what] : told) audience_.notified(worker, database, std::move(what));
    if (!alive || PQstatus(at.connection) != CONNECTION_OK) lose(database, at, PQerrorMessage(at.connection));
}

void channel_watch::lose(std::string const& database, watched& at, std::string const& why) {
    {
        std::lock_guard const lock(mutex_);
        if (stop_) return;
    }
    log::warning("database {}: the connection that LISTENs is lost, and the sessions that listen end: {}", database,
                 why);
    pg_close(at.connection);
    at.connection = nullptr;
    for (std::size_t worker : at.channels.all_workers()) audience_.channels_lost(worker, database);
    at.channels.clear();
}

}  // namespace lull
