// A world for the maintenance machine: a disk, workers, a primary and replicas that behave, or do not. It
// carries out effects as the control thread does, and checks after each what must always hold.
#pragma once

#include "routing/maintenance.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace world_test {

using namespace lull::routing;
namespace config = lull::config;
using std::chrono::milliseconds;

struct model_replica {
    lsn replayed{};
    pause_state state = pause_state::not_paused;
    bool up = true;
    bool rights = true;
    bool follows = true;  // replays what the primary has flushed, unless paused
    bool stuck = false;   // stays at pause_requested
};

struct model_worker {
    std::uint64_t snapshot = 0;
    mode seen = mode::read_write;
    int writers = 0;
    bool silent = false;
    std::vector<broken_session> broken;  // not reported yet
};

/// What a fence changes on the server: default_transaction_read_only of a database and of two roles in it.
struct model_fence {
    std::map<std::string, std::string> settings;   // by role; the database's own under ""
    std::vector<std::string> own{""};              // what a fence has to set
    bool up = true;                                // the server answers
    bool rights = true;
    int outsiders = 0;                             // sessions past Lull
    bool stubborn = false;                         // they do not end
    int inside = 0;                                // came while it was up, and would stay read-only
};

class world {
  public:
    explicit world(std::size_t workers = 2)
        : machine(std::make_unique<maintenance>("shop", workers, timing)) {
        this->workers.resize(workers);
    }

    maintenance::timing timing{};
    std::unique_ptr<maintenance> machine;
    std::vector<model_worker> workers;
    std::map<std::string, model_replica> replicas{{"r1:1", {}}, {"r2:1", {}}};
    std::uint64_t inserted = 1000, flushed = 1000;
    bool primary_up = true, nudge_works = true;
    bool disk_works = true;
    bool disk_flushes = true;  // else a record is in its place, or the one before is put back, with an error
    std::vector<std::string> leftovers;
    std::vector<event::writing_session> misjudged;  // sessions of Lull's that no worker takes for writers
    bool hooks_end = true;
    std::uint64_t asked_primary = 1;
    std::vector<broken_session> running;  // whose connections broke, and which write on
    std::uint32_t next_pid = 1000;
    maintenance_record disk;
    bool lost = false;  // the disk does not tell what was
    bool provable = true;
    config::fence_policy fence_policy = config::fence_policy::off;
    config::prepared_policy prepared_policy = config::prepared_policy::report;
    model_fence fence;
    bool nobody_mends = false;  // nobody but Lull changes what a fence does
    std::vector<std::string> prepared;

    std::uint64_t snapshots = 0;
    maintenance_view seen;  // last published
    std::vector<mode> modes;
    std::vector<effect::end_writers> ended;
    std::vector<std::string> said;
    std::vector<effect::turn> told;
    instant now = instant{} + std::chrono::hours(1);
    std::deque<maintenance_event> answers;  // not delivered yet
    unsigned persists = 0;
    unsigned fail_persist_number = 0;  // 0: none

    moment at() const { return {now, wall_time{} + std::chrono::seconds(1'700'000'000) + (now - instant{})}; }

    std::vector<std::string> healthy() const {
        std::vector<std::string> list;
        for (auto const& [address, r] : replicas)
            if (r.up) list.push_back(address);
        return list;
    }

    void feed(maintenance_event const& e) {
        std::deque<maintenance_effect> todo;
        auto const take = [&](std::vector<maintenance_effect> effects) {
            for (auto& each : effects) todo.push_back(std::move(each));
        };
        take(machine->on(e, at()));
        while (!todo.empty()) {
            auto const effect = std::move(todo.front());
            todo.pop_front();
            if (auto const* p = std::get_if<effect::persist>(&effect)) {
                ++persists;
                if (!disk_works || persists == fail_persist_number) {
                    take(machine->on(event::persist_failed{"No space left on device"}, at()));
                } else if (!disk_flushes) {
                    if (opens(machine->record(), p->record)) disk = p->record;
                    take(machine->on(event::persist_failed{"cannot flush", true}, at()));
                } else {
                    CHECK(p->record.epoch >= disk.epoch);
                    disk = p->record;
                    lost = false;
                    take(machine->on(event::persisted{}, at()));
                }
            } else if (std::holds_alternative<effect::publish>(effect)) {
                publish();
                take(machine->on(event::published{snapshots}, at()));
            } else if (auto const* a = std::get_if<effect::ask_primary>(&effect)) {
                answers.push_back(primary_answer(*a));
            } else if (auto const* a = std::get_if<effect::ask_replica>(&effect)) {
                answers.push_back(replica_answer(*a));
            } else if (auto const* f = std::get_if<effect::ask_fence>(&effect)) {
                answers.push_back(fence_answer(*f));
            } else if (auto const* w = std::get_if<effect::end_writers>(&effect)) {
                ended.push_back(*w);
                for (auto& worker : workers) worker.writers = 0;
            } else if (auto const* l = std::get_if<effect::let_go>(&effect)) {
                take(machine->on(event::finish{healthy(), l->as}, at()));
            } else if (auto const* t = std::get_if<effect::tell>(&effect)) {
                told.push_back(t->turn);
                if (t->turn == effect::turn::opened && hooks_end) take(machine->on(event::end_told{}, at()));
            } else if (auto const* s = std::get_if<effect::say>(&effect)) {
                said.push_back(s->event);
            }
            check();
        }
    }

    void publish() {
        auto const v = machine->view();
        ++snapshots;
        if (v.mode == mode::read_write) CHECK(disk.phase == phase::read_write);
        CHECK(v.epoch == disk.epoch);  // what clients hear is on disk
        CHECK(v.epoch >= seen.epoch);
        if (v.mode != seen.mode) CHECK(v.epoch > seen.epoch);
        if (v.phase == phase::sealed && seen.mode == mode::draining) {
            CHECK(disk.phase == phase::sealed);
            for (auto const& w : workers) {
                CHECK(w.writers == 0);
                CHECK(w.seen == mode::draining);
            }
            if (provable) {
                CHECK(running.empty());
                CHECK(leftovers.empty());
                CHECK(disk.sealed_lsn);
                CHECK(flushed >= static_cast<std::uint64_t>(*disk.sealed_lsn));
            }
            CHECK(v.generation > seen.generation);
            if (fence_policy == config::fence_policy::required) {
                for (auto const& role : fence.own) CHECK(fence.settings[role] == "on");
                CHECK(fence.outsiders == 0);
            }
            if (prepared_policy == config::prepared_policy::wait) CHECK(prepared.empty());
        }
        for (auto const& r : v.replicas)
            if (r.readable && v.mode == mode::sealed) {
                CHECK(r.held);
                if (disk.sealed_lsn) CHECK(*r.at >= *disk.sealed_lsn);
            }
        if (modes.empty() || modes.back() != v.mode) modes.push_back(v.mode);
        seen = v;
    }

    maintenance_event fence_answer(effect::ask_fence const& a) {
        if (!fence.up || !fence.rights)
            return event::fence_failed{a.ticket, fence.up ? "permission denied" : "connection refused", "",
                                       fence.up ? event::failure::rights : event::failure::unreachable};
        event::fence_seen answer{.ticket = a.ticket};
        auto const recorded = [&](std::string const& role) {
            return std::find_if(a.settings.begin(), a.settings.end(), [&](auto const& s) { return s.role == role; });
        };
        if (a.order == effect::fence_order::raise) {
            for (auto const& role : fence.own)
                if (recorded(role) == a.settings.end()) {
                    fence_setting s{.database = "shop", .role = role};
                    if (auto const now = fence.settings.find(role); now != fence.settings.end()) s.before = now->second;
                    s.read_only = s.before == "on";
                    answer.unknown.push_back(s);
                }
            if (!answer.unknown.empty()) return answer;
            for (auto const& role : fence.own) {
                // Before anything is changed the disk knows how it was.
                CHECK(std::any_of(disk.fence.begin(), disk.fence.end(), [&](auto const& s) { return s.role == role; }));
                answer.changed = answer.changed || fence.settings[role] != "on";
                fence.settings[role] = "on";
            }
            for (; !fence.stubborn && fence.outsiders > 0; --fence.outsiders)
                answer.ended.push_back("pid " + std::to_string(74 - fence.outsiders));
            if (fence.outsiders > 0) answer.left.push_back("pid 77");
            return answer;
        }
        for (auto const& s : a.settings) {
            auto const now = fence.settings.find(s.role);
            bool const as_before = now == fence.settings.end() ? !s.before : s.before == now->second;
            if (as_before) continue;
            answer.changed = true;
            if (s.before)
                fence.settings[s.role] = *s.before;
            else
                fence.settings.erase(s.role);
        }
        if (answer.changed || a.order == effect::fence_order::lower_unsure) fence.inside = 0;
        return answer;
    }

    /// Whatever stands still by our order is named on the disk.
    void check() {
        if (lost) return;
        if (nobody_mends && seen.phase == phase::sealed && fence_policy == config::fence_policy::required) {
            for (auto const& role : fence.own) CHECK(fence.settings[role] == "on");
            CHECK(fence.outsiders == 0);
        }
        for (auto const& [address, r] : replicas) {
            if (r.state == pause_state::not_paused) continue;
            CHECK_MESSAGE(std::any_of(disk.replicas.begin(), disk.replicas.end(),
                                      [&](paused_replica const& p) { return p.address == address; }),
                          address);
        }
    }

    maintenance_event primary_answer(effect::ask_primary const& a) {
        if (!primary_up) return event::primary_failed{a.ticket, "connection refused"};
        if (a.nudge && nudge_works) flushed = inserted;
        if (a.end_broken == effect::session_end::terminate) {
            running.clear();
            std::erase_if(misjudged, [&](auto const& m) {
                return std::any_of(a.broken.begin(), a.broken.end(), [&](auto const& b) { return b.pid == m.pid; });
            });
        }
        event::primary_seen seen{.ticket = a.ticket, .inserted = lsn{inserted}, .flushed = lsn{flushed}};
        if (a.leftovers_before) seen.leftovers = leftovers;
        seen.writing = misjudged;
        seen.horizon.snapshot = std::to_string(asked_primary) + ":" + std::to_string(asked_primary) + ":";
        ++asked_primary;
        seen.prepared = prepared;
        for (auto const& b : a.broken)
            if (std::find(running.begin(), running.end(), b) != running.end()) seen.broken.push_back(b);
        return seen;
    }

    maintenance_event replica_answer(effect::ask_replica const& a) {
        auto const it = replicas.find(a.address);
        if (it == replicas.end())
            return event::replica_failed{a.address, a.ticket, "gone", "", event::failure::gone};
        auto& r = it->second;
        if (!r.up)
            return event::replica_failed{a.address, a.ticket, "connection refused", "",
                                         event::failure::unreachable};
        if (a.order != replica_order::look && !r.rights)
            return event::replica_failed{a.address, a.ticket, "permission denied", "GRANT EXECUTE",
                                         event::failure::rights};
        if (a.order == replica_order::pause && r.state == pause_state::not_paused)
            r.state = r.stuck ? pause_state::pause_requested : pause_state::paused;
        if (a.order == replica_order::resume) r.state = pause_state::not_paused;
        replay(r);
        return event::replica_seen{a.address, a.ticket, r.replayed, r.state};
    }

    void replay(model_replica& r) {
        if (r.up && r.follows && r.state == pause_state::not_paused) r.replayed = lsn{flushed};
    }

    void migrate(std::uint64_t bytes = 500) {
        inserted += bytes;
        flushed = inserted;
        for (auto& [address, r] : replicas) replay(r);
    }

    void restart_replica(std::string const& address) {
        auto& r = replicas.at(address);
        r.state = pause_state::not_paused;
        r.up = true;
        replay(r);
    }

    void report(std::size_t i) {
        auto& w = workers[i];
        if (w.silent) return;
        w.snapshot = snapshots;
        w.seen = seen.mode;
        std::vector<std::string> who;
        for (int n = 0; n < w.writers; ++n)
            who.push_back("pid " + std::to_string(100 * i + static_cast<unsigned>(n)));
        feed(event::worker_said{i, w.snapshot, static_cast<std::size_t>(w.writers), who,
                                std::exchange(w.broken, {})});
    }

    /// The connection of one of its writers is lost; the server goes on with what it was told.
    void break_writer(std::size_t i) {
        auto& w = workers[i];
        if (w.writers == 0) return;
        --w.writers;
        broken_session const b{next_pid++, now, "pid of a broken one"};
        w.broken.push_back(b);
        running.push_back(b);
    }

    void deliver() {
        for (std::size_t n = answers.size(); n > 0; --n) {
            auto const e = answers.front();
            answers.pop_front();
            feed(e);
        }
    }

    void pass(milliseconds t) {
        for (milliseconds done{0}; done < t; done += milliseconds(50)) {
            now += milliseconds(50);
            for (std::size_t i = 0; i < workers.size(); ++i) report(i);
            deliver();
            feed(event::tick{});
        }
    }

    void begin(window_request request = {}) {
        feed(event::begin{request, request.freeze ? healthy() : std::vector<std::string>{}, provable, fence_policy,
                          prepared_policy});
    }
    void finish() { feed(event::finish{healthy(), ""}); }
    /// Clears one reason. While there are others nothing opens.
    void finish(std::string const& as) {
        auto const before = machine->record();
        bool const only = before.others.empty();
        auto const was = machine->view().phase;
        bool const closed = was != phase::read_write && was != phase::reopening;
        feed(event::finish{healthy(), as});
        if (!only && closed) {
            CHECK(machine->view().phase != phase::reopening);
            CHECK(machine->view().mode != mode::read_write);
        }
    }

    /// kill -9 and a new process that finds what is on the disk.
    void crash(bool adopt = false) {
        machine = std::make_unique<maintenance>("shop", workers.size(), timing);
        answers.clear();
        // What still runs for the process before cannot be told from what else it has left.
        bool const writing = std::any_of(workers.begin(), workers.end(), [](auto& w) { return w.writers > 0; });
        if (!running.empty() || writing) leftovers.push_back("pid of before");
        running.clear();
        for (auto& w : workers) w = {};
        seen = {};
        seen.epoch = disk.epoch;
        auto const record = disk;
        lost = adopt;
        snapshots = 0;
        seen.mode = record.phase == phase::read_write ? mode::read_write : mode::sealed;
        std::vector<std::string> all;
        for (auto const& [address, r] : replicas) all.push_back(address);
        feed(event::restart{record, all, provable, adopt, fence_policy, prepared_policy});
        publish_first();
    }

    phase state() const { return machine->view().phase; }
    bool paused(std::string const& address) const {
        return replicas.at(address).state == pause_state::paused;
    }
    bool heard(std::string const& name) const { return std::count(said.begin(), said.end(), name) > 0; }

  private:
    void publish_first() {
        auto const v = machine->view();
        if (disk.phase != phase::read_write) CHECK(v.mode != mode::read_write);
        seen = v;
        if (snapshots == 0) ++snapshots;
        feed(event::published{snapshots});
    }
};

}  // namespace world_test
