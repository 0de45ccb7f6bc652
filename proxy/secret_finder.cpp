#include "proxy/secret_finder.hpp"

#include "proxy/pg_query.hpp"

#include <libpq-fe.h>

namespace lull {

namespace {

constexpr std::chrono::seconds remembered{10};
constexpr std::size_t most_remembered = 10'000;
constexpr std::size_t most_questions = 10'000;

}  // namespace

secret_finder::secret_finder(config::endpoint primary, config::auth_query query, config::server_tls tls)
    : primary_(std::move(primary)),
      query_(std::move(query)),
      tls_(std::move(tls)),
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
    {
        std::lock_guard const lock(mutex_);
        if (questions_.size() < most_questions) {
            questions_.push_back({std::move(user), std::move(then)});
            wake_.notify_one();
            return;
        }
    }
    then(std::nullopt, "too many logins wait for it");
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
    auto const now = std::chrono::steady_clock::now();
    for (auto const* book : {&known_, &strangers_})
        if (auto const at = book->find(q.user); at != book->end() && at->second.until > now)
            return q.then(at->second.secret, {});
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
    // Who is not there is remembered as well: the time that an answer takes would tell him from the others.
    bool const none = r.rows() == 0 || r.null(0, 1);
    auto& book = none ? strangers_ : known_;
    if (book.size() >= most_remembered) book.clear();
    known const found{none ? std::nullopt : std::optional<std::string>(r.text(0, 1)), now + remembered};
    (none ? known_ : strangers_).erase(q.user);
    book[q.user] = found;
    q.then(found.secret, {});
}

}  // namespace lull
