#include "proxy/secret_finder.hpp"

#include "proxy/pg_query.hpp"

#include <libpq-fe.h>

namespace lull {

namespace {

constexpr std::size_t most_questions = 10'000;

}  // namespace

secret_finder::secret_finder(config::endpoint primary, config::auth_query query, config::server_tls tls)
    : primary_(std::move(primary)),
      query_(std::move(query)),
      tls_(std::move(tls)),
      book_(query_.cache_time),
      thread_([this] { run(); }) {}

secret_finder::~secret_finder() {
    {
        std::lock_guard const lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
    if (connection_) pg_close(connection_);
}

void secret_finder::find(std::string user, found then) {
    ask({std::move(user), std::move(then)});
}

void secret_finder::doubt(std::string user) {
    ask({std::move(user), nullptr});
}

void secret_finder::ask(question q) {
    {
        std::lock_guard const lock(mutex_);
        if (questions_.size() < most_questions) {
            questions_.push_back(std::move(q));
            wake_.notify_one();
            return;
        }
    }
    if (!q.then) return;
    ++nobody_;
    q.then(std::nullopt, "too many logins wait for it");
}

void secret_finder::run() {
    for (;;) {
        question next;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [&] { return stop_ || !questions_.empty(); });
            if (stop_) return;
            next = std::move(questions_.front());
            questions_.pop_front();
        }
        answer(next);
    }
}

void secret_finder::answer(question const& q) {
    if (!q.then) return book_.doubt(q.user);
    auto const now = std::chrono::steady_clock::now();
    if (auto const* known = book_.find(q.user, now)) {
        ++remembered_;
        return q.then(*known, {});
    }
    std::string error = book_.unreachable(now);
    secret_book::secret found;
    if (error.empty() && look_up(q.user, found, error)) {
        book_.keep(q.user, found, now);
        ++server_;
        return q.then(std::move(found), {});
    }
    ++nobody_;
    if (auto const* doubted = book_.find_doubted(q.user, now)) return q.then(*doubted, {});
    q.then(std::nullopt, std::move(error));
}

bool secret_finder::connect(std::string& error) {
    if (connection_) pg_close(connection_);
    connection_ = pg_connect(primary_, query_.role, tls_, error);
    if (!connection_) book_.failed(error, std::chrono::steady_clock::now());
    return connection_ != nullptr;
}

bool secret_finder::look_up(std::string const& user, secret_book::secret& found, std::string& error) {
    bool const kept = pg_usable(connection_);
    if (!kept && !connect(error)) return false;
    auto const ask = [&] { return pg_query(connection_, query_.query.c_str(), {user}); };
    auto const since = std::chrono::steady_clock::now();
    auto const took_long = [&] { return std::chrono::steady_clock::now() - since > secret_book::least_between_attempts; };
    pg_result r = ask();
    // Lost since the last question, perhaps by a restart; not by its own time-out.
    if (!r.ok() && kept && !pg_usable(connection_) && !took_long()) {
        if (!connect(error)) return false;
        r = ask();
    }
    if (!r.ok()) {
        error = r.error();
        // A server that takes its time to fail keeps waiting who is behind in the queue. (What fails at once is of this user.)
        if (took_long()) book_.failed(error, std::chrono::steady_clock::now());
        return false;
    }
    if (r.columns() < 2) {
        error = "auth_query must give two columns, the user and the secret";
        return false;
    }
    if (r.rows() > 0 && !r.null(0, 1)) found = std::string(r.text(0, 1));
    return true;
}

}  // namespace lull
