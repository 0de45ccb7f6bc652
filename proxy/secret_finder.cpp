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
    if (q.then) q.then(std::nullopt, "too many logins wait for it");
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
    if (auto const* known = book_.find(q.user, now)) return q.then(*known, {});
    std::string error;
    if (!pg_usable(connection_)) {
        if (connection_) pg_close(connection_);
        connection_ = pg_connect(primary_, query_.role, tls_, error);
        if (!connection_) return q.then(std::nullopt, error);
    }
    pg_result const r = pg_query(connection_, query_.query.c_str(), {q.user});
    if (!r.ok()) return q.then(std::nullopt, r.error());
    if (r.columns() < 2)
        return q.then(std::nullopt, "auth_query must give two columns, the user and the secret");
    secret_book::secret found;
    if (r.rows() > 0 && !r.null(0, 1)) found = std::string(r.text(0, 1));
    book_.keep(q.user, found, now);
    q.then(std::move(found), {});
}

}  // namespace lull
