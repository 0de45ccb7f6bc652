#include "proxy/channel_watch.hpp"

#include "protocol/pg/backend.hpp"
#include "proxy/log.hpp"
#include "proxy/pg_query.hpp"
#include "routing/quoted.hpp"

#include <libpq-fe.h>

#include <algorithm>
#include <iterator>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace lull {

namespace {

// Where there is no connection: the second attempt comes so long behind the first, and each as long again, up to the last.
constexpr std::chrono::milliseconds first_pause{200};
constexpr std::chrono::milliseconds longest_pause{5000};

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
        carry_out_what_waits();
        wait();
    }
}

/// Until something happens, or the next attempt to connect is due. In milliseconds; -1: for ever.
int channel_watch::patience(bool looks) const {
    auto const now = std::chrono::steady_clock::now();
    int wait = looks ? look_every : -1;
    for (auto const& [database, at] : databases_) {
        if (at.waiting.empty()) continue;
        auto const left = std::chrono::ceil<std::chrono::milliseconds>(at.not_before - now);
        int const due = static_cast<int>(std::clamp(left, std::chrono::milliseconds(0), longest_pause).count());
        wait = wait < 0 ? due : std::min(wait, due);
    }
    return wait;
}

void channel_watch::wait() {
    std::vector<pollfd> sockets{{wake_, POLLIN, 0}};
    std::vector<std::string> names;
    for (auto const& [database, at] : databases_) {
        if (!at.connection) continue;
        sockets.push_back({PQsocket(at.connection), POLLIN, 0});
        names.push_back(database);
    }
    if (::poll(sockets.data(), sockets.size(), patience(!names.empty())) < 0) return;
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
    std::optional<channel_outcome> const outcome = begin(what, at);
    if (!outcome) return at.waiting.push_back(what);
    channel_answer answer{what.database, what.channel, what.ticket, *outcome, {}};
    if (at.connection)
        answer.listener = {static_cast<std::uint32_t>(PQbackendPID(at.connection)), role_.user,
                           PQsslInUse(at.connection) != 0, at.connected};
    audience_.channel_answered(what.worker, std::move(answer));
    // What came along with the answer of the server is of after the LISTEN, and for who has just been told.
    if (at.connection) pass_on(what.database, at);
}

/// What has waited for a connection: the first of them makes it, or all wait on.
void channel_watch::carry_out_what_waits() {
    std::vector<order> due;
    for (auto& [database, at] : databases_)
        if (at.connection || std::chrono::steady_clock::now() >= at.not_before)
            std::ranges::move(std::exchange(at.waiting, {}), std::back_inserter(due));
    for (order const& what : due) carry_out(what);
}

bool channel_watch::connect(std::string const& database, watched& at) {
    if (at.connection) return true;
    auto const now = std::chrono::steady_clock::now();
    if (now < at.not_before) return false;
    config::login_role role = role_;
    role.database = database;
    std::string trouble;
    bool refused = false;
    at.connection = pg_connect(where_, role, tls_, trouble, &refused);
    if (at.connection) {
        at.connected = std::chrono::system_clock::now();
        at.pause = {};
        return true;
    }
    // Not each time that it is tried.
    if (at.pause.count() == 0 || refused != at.refused)
        log::warning("database {}: no connection to LISTEN with, so {}: {}", database,
                     refused ? "clients keep servers of their own" : "clients that LISTEN wait", trouble);
    at.refused = refused;
    at.pause = std::clamp(at.pause * 2, first_pause, longest_pause);
    at.not_before = std::chrono::steady_clock::now() + at.pause;
    return false;
}

/// Nothing: there is no connection now, and there may be one soon. A server that only restarts would otherwise find that
/// those who come first keep all servers of their pool.
std::optional<channel_outcome> channel_watch::begin(order const& what, watched& at) {
    switch (at.channels.ask(what.channel, what.worker, most_)) {
        case channel_union::verdict::has:
            return channel_outcome::listening;
        case channel_union::verdict::full:
            return channel_outcome::full;
        case channel_union::verdict::make:
            break;
    }
    if (!connect(what.database, at)) {
        if (at.refused) return channel_outcome::unavailable;
        return std::nullopt;
    }
    if (!wait_on(PQsocket(at.connection))) return channel_outcome::unavailable;
    pg_result const result = pg_query(at.connection, ("LISTEN " + routing::quoted(what.channel, '"')).c_str());
    wait_on(-1);
    if (result.ok()) {
        at.channels.keep(what.channel, what.worker);
        return channel_outcome::listening;
    }
    if (PQstatus(at.connection) != CONNECTION_OK) {
        lose(what.database, at, result.error());
        return std::nullopt;
    }
    log::warning("database {}: LISTEN failed, so a client keeps a server of its own: {}", what.database,
                 result.error());
    return channel_outcome::unavailable;
}

void channel_watch::end(order const& what, watched& at) {
    std::erase_if(at.waiting, [&](order const& one) { return one.worker == what.worker && one.channel == what.channel; });
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
    at.refused = false;
    at.not_before = {};
    for (std::size_t worker : at.channels.all_workers()) audience_.channels_lost(worker, database);
    at.channels.clear();
}

}  // namespace lull
