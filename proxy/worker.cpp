// A worker: one thread, one io_context, the sessions of its clients. Everything in it but the mailbox belongs
// to that thread.
#include "proxy/descriptors.hpp"
#include "proxy/http_session.hpp"
#include "proxy/listener.hpp"
#include "proxy/log.hpp"
#include "proxy/mailbox.hpp"
#include "proxy/pg_service.hpp"
#include "proxy/ports.hpp"
#include "routing/break_points.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <atomic>
#include <future>
#include <mutex>
#include <optional>
#include <pthread.h>
#include <string>
#include <thread>
#include <vector>

namespace lull {

namespace {

constexpr std::chrono::milliseconds tick_interval{100};
constexpr std::chrono::milliseconds idle_interval{1000};

shared_limits& shared() {
    static shared_limits all;
    return all;
}

class worker;

/// Whom a cancel request may have to be handed to. Filled as workers start, read by all.
struct worker_directory {
    std::atomic<worker*> workers[256] = {};
};

worker_directory& directory() {
    static worker_directory d;
    return d;
}

class worker final : public worker_port {
  public:
    worker(worker_id id, std::shared_ptr<routing::snapshot const> initial, control_port& control)
        : id_(id), control_(control), snapshot_(std::move(initial)) {
        std::promise<void> started;
        auto ready = started.get_future();
        thread_ = std::thread([this, &started] { run(started); });
        ready.get();  // rethrows what went wrong
        directory().workers[static_cast<std::size_t>(id_) & 255] = this;
    }

    ~worker() override {
        directory().workers[static_cast<std::size_t>(id_) & 255] = nullptr;
        if (thread_.joinable()) {
            stop(false);
            thread_.join();
        }
    }

    void publish(std::shared_ptr<routing::snapshot const> next) override {
        mail_->post([this, next = std::move(next)] {
            snapshot_ = next;
            hurry();
            telling_ = true;
            if (!broken("deaf_worker")) pg_->set_snapshot(next);
            http_->set_snapshot(next);
            telling_ = false;
            report();
        });
    }
    void end_writers(routing::site_id site, end_writers_how how) override {
        mail_->post([this, site, how] {
            pg_->end_writers(site, how);
            http_->end_writers(site);
        });
    }
    void take_survey(survey_wish wish, std::function<void(worker_survey)> answer) override {
        {
            std::lock_guard const lock(last_mutex_);
            if (!last_) {
                asked_.emplace_back(wish, std::move(answer));
                mail_->post([this] { answer_surveys(); });
                return;
            }
        }
        answer(*last_);  // it stays as it is
    }
    void listen(listener_kind kind, int fd, socket_family family,
                std::vector<std::unique_ptr<worker_port>> const& workers) override {
        mail_->post([this, kind, fd, family, &workers] {
            listeners_.push_back(std::make_unique<listener>(*io_, fd, family, [&, kind](int peer_fd, std::string peer) {
                auto const least =
                    std::min_element(workers.begin(), workers.end(),
                                     [](auto const& a, auto const& b) { return a->load() < b->load(); });
                // Who is to be turned away must not wait in a mailbox, with descriptors that are for others.
                bool const room = would_have_room(descriptor_use::client, peer_fd);
                if (room && least->get() != this) return (*least)->adopt(kind, peer_fd, std::move(peer));
                ++load_;
                take_in(kind, peer_fd, std::move(peer));
            }));
        });
    }
    void adopt(listener_kind kind, int fd, std::string peer) override {
        ++load_;
        mail_->post([this, kind, fd, peer = std::move(peer)] { take_in(kind, fd, peer); });
    }
    void secret_found(std::uint64_t request, std::optional<std::string> secret, std::string error) override {
        mail_->post([this, request, secret = std::move(secret), error = std::move(error)] {
            pg_->secret_found(request, secret, error);
        });
    }
    void answer_console(std::uint64_t request, std::string messages, bool last) override {
        mail_->post([this, request, messages = std::move(messages), last] {
            pg_->console_answered(request, messages, last);
        });
    }
    void channel_answered(channel_answer answer) override {
        mail_->post([this, answer = std::move(answer)] { pg_->channel_answered(answer); });
    }
    void notified(std::string database, std::vector<notification> what) override {
        mail_->post([this, database = std::move(database), what = std::move(what)] { pg_->notified(database, what); });
    }
    void channels_lost(std::string database) override {
        mail_->post([this, database = std::move(database)] { pg_->channels_lost(database); });
    }
    void rule_pools(pool_order order, std::string database) override {
        mail_->post([this, order, database = std::move(database)] {
            switch (order) {
                case pool_order::pause:
                    return pg_->pause(database);
                case pool_order::resume:
                    return pg_->resume(database);
                case pool_order::resume_rest:
                    return pg_->resume_rest();
                case pool_order::reconnect:
                    return pg_->reconnect(database);
                case pool_order::kill:
                    return pg_->kill(database);
            }
        });
    }
    std::size_t load() const override { return load_.load(std::memory_order_relaxed); }
    void stop(bool graceful) override {
        mail_->post([this, graceful] { begin_stop(graceful); });
    }
    void join() override {
        if (thread_.joinable()) thread_.join();
    }
    void cancel(std::int32_t pid, std::string secret, std::shared_ptr<void> receipt) {
        mail_->post([this, pid, secret = std::move(secret), receipt = std::move(receipt)] { pg_->cancel(pid, secret, receipt); });
    }

  private:
    void run(std::promise<void>& started) {
        std::string const name = "worker" + std::to_string(static_cast<unsigned>(id_));
        ::pthread_setname_np(::pthread_self(), name.c_str());  // as top -H and strace show it
        try {
            io_.emplace(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
            mail_.emplace(*io_);
            timer_.emplace(*io_);
            pg_.emplace(*io_, *mail_, id_, snapshot_, control_, shared());
            http_.emplace(*io_, snapshot_, static_cast<unsigned>(id_));
            // What is reported under a snapshot's number says that every session has been told of it.
            pg_->on_drained = [this] {
                if (!telling_) report();
            };
            pg_->on_busy = [this] { hurry(); };
            pg_->on_removed = [this] { count_load(); };
            pg_->on_starving = [this] {
                for (auto const& other : directory().workers)
                    if (worker* const w = other.load(); w && w != this) w->mail_->post([w] { w->hurry(); });
            };
            pg_->route_cancel = [this](std::int32_t pid, std::string secret, std::shared_ptr<void> receipt) {
                if (pg_->pass_on(pid, secret, receipt)) return;
                std::size_t const index = pg_service::worker_of(pid);
                worker* to = index < 256 ? directory().workers[index].load() : nullptr;
                if (to) to->cancel(pid, std::move(secret), std::move(receipt));
            };
            next_tick_ = std::chrono::steady_clock::now() + tick_interval;
            arm_tick();
        } catch (...) {
            started.set_exception(std::current_exception());
            return;
        }
        started.set_value();
        io_->run();
        end_surveys();
        listeners_.clear();
        http_.reset();
        pg_.reset();
    }

    worker_survey look(survey_wish const& wish) {
        worker_survey s;
        s.worker = static_cast<std::size_t>(id_);
        pg_->touch_clock();
        pg_->take_survey(wish, s);
        s.http = http_->stats();
        return s;
    }
    void answer_surveys() {
        std::vector<std::pair<survey_wish, survey_answer>> due;
        {
            std::lock_guard const lock(last_mutex_);
            due.swap(asked_);
        }
        for (auto const& [wish, answer] : due) answer(look(wish));
    }
    /// While other workers have sessions to end, what this one has counted is asked for, and must not be missing.
    void end_surveys() {
        std::vector<std::pair<survey_wish, survey_answer>> due;
        {
            std::lock_guard const lock(last_mutex_);
            last_ = look({});
            due.swap(asked_);
        }
        for (auto const& [wish, answer] : due) answer(*last_);
    }

    void take_in(listener_kind kind, int fd, std::string peer) {
        hurry();
        if (kind == listener_kind::http)
            http_->accept(fd, std::move(peer), snapshot_->config->listen.http ? snapshot_->config->listen.http->port : 0);
        else
            pg_->accept(fd, std::move(peer), kind == listener_kind::migration);
    }

    /// Whether something may be due with each tick. Where nothing is, an idle process costs next to nothing.
    bool busy() const {
        return stop_by_ || !pg_->quiet() || http_->open_clients() > 0 || any_closed();
    }
    bool any_closed() const {
        return std::any_of(snapshot_->sites.begin(), snapshot_->sites.end(),
                           [](routing::site const& s) { return s.mode != routing::mode::read_write; });
    }

    void count_load() { load_ = pg_->clients() + http_->open_clients(); }

    /// What came up does not wait for a rare tick.
    void hurry() {
        auto const soon = std::chrono::steady_clock::now() + tick_interval;
        if (next_tick_ <= soon) return;
        next_tick_ = soon;
        arm_tick();
    }

    void arm_tick() {
        timer_->expires_at(next_tick_);
        timer_->async_wait([this](boost::system::error_code const& error) {
            if (!error) tick();
        });
    }

    void tick() {
        auto const now = std::chrono::steady_clock::now();
        pg_->tick(now);
        http_->tick(now);
        count_load();
        bool const idle = !busy();
        if (idle || any_closed() || ++quiet_ticks_ >= 10) report();
        if (stop_by_) http_->close_idle();
        bool const nobody = pg_->empty() && http_->open_clients() == 0;
        if (stop_by_ && (nobody || now >= *stop_by_)) {
            if (std::string const left = pg_->sessions(); !left.empty()) log::warning("lull: ending {}", left);
            pg_->close_all(false);
            http_->close_all();
            io_->stop();
            return;
        }
        next_tick_ = std::max(next_tick_ + (idle ? idle_interval : tick_interval), now);
        arm_tick();
    }

    void report() {
        quiet_ticks_ = 0;
        worker_report r;
        r.worker = id_;
        r.snapshot_number = snapshot_->number;
        r.sites.resize(snapshot_->sites.size());
        for (std::size_t i = 0; i < r.sites.size(); ++i) r.sites[i].site = snapshot_->sites[i].id;
        pg_->add_load(r.sites);
        http_->add_writers(r.sites);
        // The same again says nothing where nobody waits for it, and would only wake the control thread.
        if (r == reported_ && !any_closed()) return;
        reported_ = r;
        control_.report(std::move(r));
    }

    void begin_stop(bool graceful) {
        auto const now = std::chrono::steady_clock::now();
        auto const patience = snapshot_->config->limits.shutdown_timeout;
        stop_by_ = graceful ? now + patience : now;
        listeners_.clear();
        hurry();
        pg_->close_all(graceful);
        if (std::string const left = pg_->sessions(); graceful && !left.empty())
            log::notice("lull: waiting at most {} ms (limits.shutdown_timeout) for {}", patience.count(), left);
    }

    worker_id const id_;
    control_port& control_;
    std::shared_ptr<routing::snapshot const> snapshot_;
    std::optional<boost::asio::io_context> io_;
    std::optional<mailbox> mail_;
    std::optional<boost::asio::steady_timer> timer_;
    std::optional<pg_service> pg_;
    std::optional<http_service> http_;
    std::vector<std::unique_ptr<listener>> listeners_;
    std::chrono::steady_clock::time_point next_tick_;
    std::optional<std::chrono::steady_clock::time_point> stop_by_;
    bool telling_ = false;  // its sessions of a new snapshot, one after the other
    int quiet_ticks_ = 0;
    worker_report reported_;  // the last
    using survey_answer = std::function<void(worker_survey)>;
    std::mutex last_mutex_;
    std::vector<std::pair<survey_wish, survey_answer>> asked_;
    std::optional<worker_survey> last_;  // of a worker that has ended
    std::atomic<std::size_t> load_{0};
    std::thread thread_;
};

}  // namespace

std::unique_ptr<worker_port> start_worker(worker_id id, std::size_t,
                                          std::shared_ptr<routing::snapshot const> initial,
                                          control_port& control) {
    return std::make_unique<worker>(id, std::move(initial), control);
}

}  // namespace lull
