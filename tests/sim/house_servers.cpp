// The primary and the standby of the house: what they are asked, and the servers of connections that are gone.
#include "tests/sim/house.hpp"

#include <algorithm>

namespace lull::sim {

using namespace routing;

/// A server whose client has died, or whose connection broke, sees the last bytes, and then the end.
void house::bury(std::list<std::unique_ptr<sim_server>>& dead) {
    if (dead.empty()) return;
    auto const at = std::next(dead.begin(), static_cast<std::ptrdiff_t>(dice_.roll(dead.size())));
    (*at)->model.receive((*at)->received);
    (*at)->model.lose();
    dead.erase(at);
}

std::vector<std::string> house::leftovers() const {
    std::vector<std::string> out;
    for (auto const& s : orphans_)
        if (!s->received.empty() || s->model.busy()) out.push_back("server " + std::to_string(s->number));
    return out;
}

void house::ask_primary(effect::ask_primary const& what) {
    process_->jobs.push_back([this, what] {
        if (!primary_up_) {
            process_->arrived.push_back(event::primary_failed{what.ticket, "connection refused"});
            return;
        }
        event::primary_seen seen{.ticket = what.ticket};
        if (what.leftovers_before) seen.leftovers = leftovers();
        seen.broken = still_there(what);
        for (auto const& w : process_->workers)
            for (auto const& s : w->servers())
                if (auto const xid = s->model.transaction_that_writes(); xid && !s->migration)
                    seen.writing.push_back({static_cast<std::uint32_t>(s->number), *xid, "server " + std::to_string(s->number)});
        seen.inserted = seen.flushed = lsn{1000 + book_.commits};
        process_->arrived.push_back(std::move(seen));
    });
}

/// Who of those asked about is still there; whom it is told to end it ends.
std::vector<broken_session> house::still_there(effect::ask_primary const& what) {
    std::vector<broken_session> there;
    bool const terminate = what.end_broken == effect::session_end::terminate;
    for (broken_session const& b : what.broken) {
        auto const at = std::find_if(strays_.begin(), strays_.end(), [&](auto const& s) {
            return static_cast<std::uint32_t>(s->number) == b.pid;
        });
        if (at != strays_.end()) {
            there.push_back(b);
            if (!terminate) continue;
            (*at)->model.lose();
            strays_.erase(at);
        } else if (terminate) {  // one that was taken for a reader, and writes
            for (auto const& w : process_->workers) w->end_server(static_cast<int>(b.pid));
        }
    }
    return there;
}

void house::ask_standby(effect::ask_replica const& what) {
    process_->jobs.push_back([this, what] {
        if (!standby_.up) {
            process_->arrived.push_back(
                event::replica_failed{what.address, what.ticket, "refused", "", event::failure::unreachable});
            return;
        }
        if (what.order == replica_order::pause) standby_.state = pause_state::paused;
        if (what.order == replica_order::resume) standby_.state = pause_state::not_paused;
        replay();
        process_->arrived.push_back(
            event::replica_seen{what.address, what.ticket, standby_.replayed, standby_.state});
    });
}

void house::ask_fence(effect::ask_fence const& what) {
    process_->jobs.push_back([this, what] {
        if (!primary_up_) {
            process_->arrived.push_back(event::fence_failed{what.ticket, "refused", "", event::failure::unreachable});
            return;
        }
        if (!how_.faults_over && dice_.one_in(50)) {
            process_->arrived.push_back(event::fence_failed{what.ticket, "permission denied", "", event::failure::rights});
            return;
        }
        process_->arrived.push_back(fence_.carry_out(what, dice_, how_.faults_over));
    });
}

void house::outsider() {
    if (!primary_up_ || !fence_.outsider(dice_)) return;
    say("a commit past Lull");
    if (book_.sealed && fence_policy_ == config::fence_policy::required)
        violations_.push_back("committed past Lull while sealed behind a fence");
}

void house::replay() {
    if (standby_.up && standby_.state == pause_state::not_paused)
        standby_.replayed = lsn{1000 + book_.commits};
}

}  // namespace lull::sim
