#include "proxy/survey.hpp"

#include "proxy/ports.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>

namespace lull {

namespace {

// A worker's turn is microseconds; one that is silent for so long is stuck, and that is what one wants to
// see.
constexpr std::chrono::seconds patience{2};

}  // namespace

routing::wall_time wall_of(routing::instant then, routing::instant now) {
    return std::chrono::system_clock::now() -
           std::chrono::duration_cast<std::chrono::system_clock::duration>(now - then);
}

struct surveyor::round {
    round(boost::asio::io_context& io, std::vector<worker_survey>& known, answer what)
        : timer(io), counted(known), answered(known.size()), missing(known.size()), done(std::move(what)) {}

    void finish() {
        if (!done) return;
        timer.cancel();
        for (std::size_t i = 0; i < answered.size(); ++i) {
            if (answered[i]) continue;
            result.silent.push_back(i);
            result.workers.push_back(counted[i]);
        }
        std::sort(result.workers.begin(), result.workers.end(),
                  [](worker_survey const& a, worker_survey const& b) { return a.worker < b.worker; });
        std::exchange(done, nullptr)(std::move(result));
    }

    boost::asio::steady_timer timer;
    std::vector<worker_survey>& counted;
    std::vector<bool> answered;
    std::size_t missing;
    answer done;
    survey result;
};

void surveyor::ask(survey_wish wish, answer done) {
    std::size_t const count = workers_ ? workers_->size() : 0;
    for (std::size_t i = counted_.size(); i < count; ++i) counted_.emplace_back().worker = i;
    auto const r = std::make_shared<round>(io_, counted_, std::move(done));
    r->timer.expires_after(count ? std::chrono::milliseconds(patience) : std::chrono::milliseconds(0));
    r->timer.async_wait([r](boost::system::error_code) { r->finish(); });
    for (std::size_t i = 0; i < count; ++i)
        (*workers_)[i]->take_survey(wish, [&io = io_, r, i](worker_survey s) {
            boost::asio::post(io, [r, i, s = std::move(s)]() mutable {
                worker_survey& counted = r->counted[i];
                counted.pg = s.pg;
                counted.http = s.http;
                counted.classifier = s.classifier;
                if (!r->done) return;
                r->answered[i] = true;
                r->result.workers.push_back(std::move(s));
                if (--r->missing == 0) r->finish();
            });
        });
}

std::map<std::string, database_stats> survey::databases() const {
    std::map<std::string, database_stats> all;
    for (worker_survey const& w : workers)
        for (auto const& [name, stats] : w.pg.databases) all[name].add(stats);
    return all;
}

std::vector<pool_row> survey::pools() const {
    std::map<std::pair<std::string, std::string>, pool_row> all;
    for (worker_survey const& w : workers)
        for (pool_row const& p : w.pools) {
            auto [at, fresh] = all.try_emplace({p.database, p.user}, p);
            if (fresh) continue;
            pool_row& sum = at->second;
            sum.clients_active += p.clients_active;
            sum.clients_waiting += p.clients_waiting;
            sum.clients_held += p.clients_held;
            sum.clients_pinned += p.clients_pinned;
            for (std::size_t i = 0; i < p.modes.size(); ++i) sum.modes[i] = sum.modes[i] || p.modes[i];
            sum.servers_active += p.servers_active;
            sum.servers_idle += p.servers_idle;
            sum.servers_login += p.servers_login;
            sum.servers_cancelling += p.servers_cancelling;
            sum.longest_wait = std::max(sum.longest_wait, p.longest_wait);
        }
    std::vector<pool_row> out;
    for (auto& [key, row] : all) out.push_back(std::move(row));
    return out;
}

}  // namespace lull
