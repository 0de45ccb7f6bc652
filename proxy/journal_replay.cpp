#include "proxy/journal_replay.hpp"

#include <algorithm>
#include <utility>

namespace lull {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds connecting{5000};
constexpr milliseconds look_at_stop{20};
constexpr std::size_t most_broken = 100;

template <class... Cases>
struct overloaded : Cases... {
    using Cases::operator()...;
};

}  // namespace

journal_replay::journal_replay(journals& books, job what, std::function<void(replay_report)> over)
    : books_(books),
      job_(std::move(what)),
      over_(std::move(over)),
      core_(std::move(job_.contents), job_.timeout, steady_clock::now()),
      report_(core_.report()) {
    thread_ = std::thread([this] { run(); });
}

journal_replay::~journal_replay() {
    (void)stop();
}

std::vector<routing::broken_session> journal_replay::stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return std::exchange(broken_, {});
}

replay_report journal_replay::progress() const {
    std::lock_guard const lock(mutex_);
    return report_;
}

void journal_replay::run() {
    while (!stop_) {
        replay_next const next = core_.next();
        bool const over = std::holds_alternative<replay_act::over>(next);
        if (!over) carry_out(next);
        {
            std::lock_guard const lock(mutex_);
            report_ = core_.report();
        }
        if (!over) continue;
        writes_.close();
        flushes_.close();
        return over_(progress());
    }
}

void journal_replay::carry_out(replay_next const& next) {
    auto const answered = [&](replay_connection& on, replay_answer const& answer) {
        note_lost(on, answer);
        core_.answered(answer, steady_clock::now());
    };
    std::visit(
        overloaded{
            [&](replay_act::connect const& c) {
                auto const credentials = job_.credentials(c.user);
                replay_login login{.what = replay_login::result::no_credentials};
                if (credentials)
                    login = line(c.line).connect(job_.primary, c.user, c.database, *credentials,
                                                 std::min(core_.until(), steady_clock::now() + connecting));
                core_.connected(login, steady_clock::now());
            },
            [&](replay_act::ask const& a) {
                answered(line(a.line), line(a.line).query(a.sql, core_.until()));
            },
            [&](replay_act::run const& r) { answered(writes_, writes_.run(*r.entry, core_.until())); },
            [&](replay_act::record const& r) {
                core_.recorded(books_.record(job_.site, r.bytes, r.durable), steady_clock::now());
            },
            [&](replay_act::pause const& p) {
                if (p.hang_up) {
                    writes_.close();
                    flushes_.close();
                }
                auto const until = steady_clock::now() + p.time;
                while (!stop_ && steady_clock::now() < until)
                    std::this_thread::sleep_for(std::min<milliseconds>(look_at_stop, p.time));
                core_.paused(steady_clock::now());
            },
            [](replay_act::over const&) {},
        },
        next);
}

void journal_replay::note_lost(replay_connection& on, replay_answer const& answer) {
    if (!answer.lost || on.pid() == 0 || broken_.size() >= most_broken) return;
    broken_.push_back({on.pid(), steady_clock::now(), "the replay of the journal of " + job_.site});
}

}  // namespace lull
