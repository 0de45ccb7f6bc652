#include "tests/sim/house.hpp"

#include "routing/break_points.hpp"

#include <algorithm>
#include <cstdio>

namespace lull::sim {

using namespace routing;
using std::chrono::milliseconds;

namespace {

constexpr char const* standby_address = "db2:5432";

template <class... Cases>
struct overloaded : Cases... {
    using Cases::operator()...;
};

}  // namespace

house::totals& house::count() {
    static totals all;
    return all;
}

house::house(std::uint64_t seed, options how)
    : dice_(seed),
      how_{.verbose = how.verbose, .strays = true, .sly = how.guards_alone},
      guards_alone_(how.guards_alone),
      fence_policy_(dice_.one_in(2)   ? config::fence_policy::required
                    : dice_.one_in(4) ? config::fence_policy::wanted
                                      : config::fence_policy::off) {
    standby_.up = !guards_alone_;
    boot();
}

void house::say(std::string const& what) const {
    if (how_.verbose) std::printf("  %s\n", what.c_str());
}

moment house::now() const {
    return {now_, wall_time{} + std::chrono::seconds(1'700'000'000) + (now_ - instant{})};
}

/// A process starts and reads what the disk says, as control does.
void house::boot() {
    say("Lull starts");
    process_ = std::make_unique<process>();
    process_->machine = std::make_unique<maintenance>("shop", 2, maintenance::timing{});
    event::restart event;
    event.replicas = {standby_address};
    event.fence = fence_policy_;
    auto const parsed = disk_.empty() ? std::variant<maintenance_records, std::string>(maintenance_records{})
                                      : parse_state(disk_);
    if (auto const* records = std::get_if<maintenance_records>(&parsed)) {
        if (auto const known = records->find("shop"); known != records->end()) event.record = known->second;
        if (broken("crash_reopens")) event.record.phase = phase::read_write;
    } else {
        event.record.phase = phase::sealed;
        event.adopt_paused = true;
        record_lost_ = true;
    }
    feed(event);
    for (auto& w : process_->workers) {
        w = std::make_unique<sim_worker>(book_, journal_, dice_, names_, how_, violations_);
        w->world().pass(std::chrono::duration_cast<milliseconds>(now_ - w->world().context().now));
    }
    settle_journal();
    for (auto& w : process_->workers) {
        maintenance_view seen = process_->machine->view();
        if (process_->replaying) seen.mode = mode::reopening;
        w->world().adopt(seen);
    }
    // Its first snapshot is there before anybody can connect.
    for (std::size_t i = 0; i < 2; ++i) {
        process_->mail[i].clear();
        process_->taken[i] = process_->snapshots;
    }
    publish();
    clients_to_come_ = 2 + dice_.roll(14);
}

/// kill -9. What was sent to servers arrives there, later; orders to the standby may still be carried out.
void house::crash() {
    say("kill -9");
    ++count().crashes;
    dying_ = false;
    effects_to_live_ = 0;
    for (auto& job : process_->jobs)
        if (dice_.one_in(2)) job();
    std::vector<journal_entry> under_way;
    for (auto& w : process_->workers)
        for (auto& e : w->being_kept()) under_way.push_back(std::move(e));
    journal_.crash(under_way.empty() ? nullptr : &under_way[dice_.roll(under_way.size())], book_, dice_);
    for (auto& w : process_->workers) {
        orphans_.splice(orphans_.end(), w->take_servers());
        orphans_.splice(orphans_.end(), w->take_strays());
    }
    orphans_.splice(orphans_.end(), strays_);
    if (!disk_.empty() && dice_.one_in(30)) {
        say("the state file is torn");
        disk_.resize(dice_.roll(disk_.size()));
        if (disk_.empty()) disk_ = "{";
    }
    boot();
}

// -- control
// ---------------------------------------------------------------------------------------------------------

void house::feed(maintenance_event e) {
    process& p = *process_;
    p.events.push_back(std::move(e));
    if (p.feeding) return;
    p.feeding = true;
    while (!p.events.empty() && !dying_) {
        auto const next = std::move(p.events.front());
        p.events.pop_front();
        for (auto const& effect : p.machine->on(next, now())) {
            if (dying_) break;
            carry_out(effect);
            if (effects_to_live_ > 0 && --effects_to_live_ == 0) dying_ = true;
        }
    }
    p.feeding = false;
    look();
}

/// What an operator is told.
void house::look() {
    if (dying_ || process_->machine->view().phase != phase::sealed || book_.sealed) return;
    say("sealed is said");
    ++count().sealed;
    book_.sealed = true;
}

void house::carry_out(maintenance_effect const& effect) {
    std::visit(overloaded{
                   [&](effect::persist const& e) { persist(e.record); },
                   [&](effect::publish const&) { process_->events.push_back(event::published{publish()}); },
                   [&](effect::ask_primary const& e) { ask_primary(e); },
                   [&](effect::ask_replica const& e) { ask_standby(e); },
                   [&](effect::end_writers const& e) {
                       for (auto& mail : process_->mail)
                           mail.push_back(
                               [this, e](std::size_t w) { process_->workers[w]->end_writers(e.terminate); });
                   },
                   [&](effect::ask_fence const& e) { ask_fence(e); },
                   [](auto const&) {},
                   [&](effect::say const& e) { say("machine: " + e.event + ": " + e.text); },
               },
               effect);
}

void house::persist(maintenance_record const& record) {
    if (!disk_works_) {
        // Refused; or in its place and not flushed. Then the one before is put back, if that works and where the
        // new one does not open.
        bool const in_place = dice_.one_in(2);
        if (in_place && (opens(process_->machine->record(), record) || dice_.one_in(2)))
            disk_ = format_state({{"shop", record}});
        return process_->events.push_front(event::persist_failed{"No space left on device", in_place});
    }
    disk_ = format_state({{"shop", record}});
    process_->events.push_front(event::persisted{});
}

/// As control does: entries are taken from before the first worker hears that the site is closed, and no more from
/// before the first hears that it is open; and it is not open before they have run.
void house::settle_journal() {
    process& p = *process_;
    if (p.machine->view().mode != mode::read_write) {
        p.replaying = false;
        if (!p.journal_open) journal_.open();
        p.journal_open = true;
        return;
    }
    if (p.replaying) return;
    p.journal_open = false;
    journal_.close();
    p.replaying = journal_.pending();
}

void house::run_journal() {
    process& p = *process_;
    if (!p.replaying || !primary_up_) return;
    journal_.replay(book_);
    if (journal_.pending()) return;
    say("the journal has run");
    p.replaying = false;
    publish();
}

std::uint64_t house::publish() {
    settle_journal();
    std::uint64_t const number = ++process_->snapshots;
    maintenance_view seen = process_->machine->view();
    if (process_->replaying) seen.mode = mode::reopening;
    for (std::size_t i = 0; i < 2; ++i)
        process_->mail[i].push_back([this, number, view = seen](std::size_t w) {
            process_->taken[w] = number;
            if (!broken("deaf_worker")) process_->workers[w]->world().adopt(view);
            process_->workers[w]->tell_snapshot();
            report(w);
        });
    return number;
}

// -- workers
// ---------------------------------------------------------------------------------------------------------

void house::report(std::size_t worker) {
    event::worker_said said{worker, process_->taken[worker], 0, {}, process_->workers[worker]->take_broken()};
    strays_.splice(strays_.end(), process_->workers[worker]->take_strays());
    for (auto const& c : process_->workers[worker]->clients())
        if (c->driver.core().writes()) {
            ++said.writers;
            said.who.push_back(c->name);
        }
    process_->arrived.push_back(said);
}

void house::read_mail(std::size_t worker) {
    auto& mail = process_->mail[worker];
    if (mail.empty()) return;
    auto const letter = std::move(mail.front());
    mail.pop_front();
    letter(worker);
}

void house::pass(milliseconds time) {
    now_ += time;
    for (std::size_t i = 0; i < 2; ++i) {
        process_->workers[i]->pass(time);
        report(i);
    }
    feed(event::tick{});
}

// -- what happens
// ----------------------------------------------------------------------------------------------------

void house::operate() {
    switch (process_->machine->view().phase) {
        case phase::read_write: {
            if (process_->replaying) return;  // it is told that the journal writes
            window_request request;
            request.reason = "simulated";
            request.drain_timeout = milliseconds(dice_.roll(20'000));
            request.on_deadline = static_cast<config::on_deadline>(dice_.roll(4));
            request.freeze = !guards_alone_ && !dice_.one_in(3);
            say("operator: on");
            return feed(event::begin{request,
                                     request.freeze && standby_.up ? std::vector<std::string>{standby_address}
                                                                   : std::vector<std::string>{},
                                     true, fence_policy_});
        }
        case phase::draining:
        case phase::sealing:
            if (!dice_.one_in(6)) return;
            break;
        case phase::sealed:
        case phase::recovering:
        case phase::reopening:
            break;
    }
    say("operator: off");
    book_.sealed = false;
    feed(event::finish{standby_.up ? std::vector<std::string>{standby_address} : std::vector<std::string>{}});
}

void house::step() {
    std::size_t const who = dice_.roll(2);
    sim_worker& worker = *process_->workers[who];
    if (clients_to_come_ > 0 && dice_.one_in(10)) {
        --clients_to_come_;
        return worker.arrive();
    }
    if (dice_.one_in(20)) outsider();
    switch (dice_.roll(40)) {
        case 0:
            return dice_.one_in(2) ? operate() : void();
        case 1:
            if (dice_.one_in(30)) effects_to_live_ = 1 + dice_.roll(6);  // soon, amid something
            return;
        case 2:
            return dice_.one_in(40) ? void(dying_ = true) : void();
        case 3:
            disk_works_ = !dice_.one_in(8);
            return;
        case 4:
            primary_up_ = !dice_.one_in(8);
            return;
        case 5:
            if (!guards_alone_ && dice_.one_in(4))
                standby_ = {standby_.replayed, pause_state::not_paused, !standby_.up || dice_.one_in(2)};
            return replay();
        case 6:
        case 7:
            if (dice_.one_in(2)) return bury(orphans_);
            return dice_.one_in(12) ? bury(strays_) : void();  // long enough for a window to be entered
        case 8:
        case 9:
            return pass(milliseconds(dice_.one_in(5) ? dice_.roll(10'000) : dice_.roll(200)));
        case 10:
        case 11:
        case 12:
            return read_mail(who);
        case 13:
        case 14:
            if (process_->jobs.empty()) return;
            process_->jobs.front()();
            process_->jobs.pop_front();
            return;
        case 15:
        case 16:
        case 17:
            if (process_->arrived.empty()) return;
            {
                auto e = std::move(process_->arrived.front());
                process_->arrived.pop_front();
                feed(std::move(e));
            }
            return;
        case 18:
            return replay();
        case 19:
        case 20:
            return run_journal();
        default:
            return worker.step();
    }
}

/// Faults stop: the site can be opened, and everybody gets what he waits for.
void house::finish() {
    say("faults stop");
    how_.faults_over = disk_works_ = primary_up_ = true;
    standby_.up = !guards_alone_;
    effects_to_live_ = 0;
    while (!orphans_.empty()) bury(orphans_);
    for (int turn = 0; turn < 3000; ++turn) {
        auto const now = process_->machine->view();
        bool const quiet = process_->jobs.empty() && process_->arrived.empty() && process_->mail[0].empty() &&
                           process_->mail[1].empty();
        if (now.phase == phase::read_write && standby_.state == pause_state::not_paused && quiet &&
            !process_->replaying && (!fence_.stands() || record_lost_))
            break;
        run_journal();
        if (now.phase != phase::read_write && now.phase != phase::reopening && turn % 20 == 0) operate();
        for (std::size_t i = 0; i < 2; ++i) {
            while (!process_->mail[i].empty()) read_mail(i);
            process_->workers[i]->move_all();
        }
        for (auto& job : std::exchange(process_->jobs, {})) job();
        while (!strays_.empty()) bury(strays_);
        while (!process_->arrived.empty()) {
            auto e = std::move(process_->arrived.front());
            process_->arrived.pop_front();
            feed(std::move(e));
        }
        pass(milliseconds(100));
    }
    if (process_->machine->view().phase != phase::read_write)
        violations_.push_back("the site cannot be opened");
    if (standby_.state != pause_state::not_paused) violations_.push_back("the standby stands still for ever");
    // What was lost with the record, and then could not be asked for, is the operator's to take away (README).
    if (fence_.stands() && !record_lost_) violations_.push_back("the fence stays up for ever");
    for (auto& w : process_->workers) w->run_out();
    judge_journal(book_, violations_);
}

std::string house::run() {
    std::size_t const steps = 500 + dice_.roll(4000);
    for (std::size_t i = 0; i < steps && !violated(); ++i) {
        step();
        if (dying_) crash();
    }
    if (!violated()) finish();
    count().commits += book_.commits;
    for (auto const& [what, times] : book_.executed)
        if (times > 1) violations_.push_back("executed twice: " + what);
    if (!book_.violations.empty()) return book_.violations.front();
    return violations_.empty() ? std::string() : violations_.front();
}

}  // namespace lull::sim
