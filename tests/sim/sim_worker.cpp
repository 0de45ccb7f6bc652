#include "tests/sim/sim_worker.hpp"

#include <algorithm>
#include <cstdio>

namespace lull::sim {

using namespace wire;

namespace {

constexpr std::size_t most_servers = 3;  // of each kind

/// What the server of a session still owes, for the report.
std::string debts(sim_client& c) {
    std::string out = "waits for " + std::to_string(c.driver.watch().waits_for()) + ", " +
                      std::to_string(c.driver.waiting_input()) + " bytes not taken, " +
                      std::to_string(c.unsent.size() + c.operations_left) + " to come" +
                      (c.driver.wish() ? ", wants a server" : "") + (c.driver.core().held() ? ", held" : "") +
                      (c.driver.keeping ? ", journaled" : "") + (c.driver.is_gone() ? ", gone" : "") + "; ";
    if (!c.driver.linked()) return out + "no server";
    pg_server_state& s = c.driver.linked()->state;
    out += std::string("server ") + s.status + (s.copy_in ? " in copy" : "") + " owes";
    for (std::size_t i = 0; i < s.owed.size(); ++i)
        out +=
            " " + std::to_string(static_cast<int>(s.owed.at(i).kind)) + (s.owed.at(i).ours ? "(ours)" : "");
    return out;
}

}  // namespace

sim_worker::sim_worker(ledger& book, sim_journal& journal, dice& d, int& names, options const& how,
                       std::vector<std::string>& violations)
    : book_(book), journal_(journal), dice_(d), names_(names), how_(how), violations_(violations) {
    using config::write_policy;
    static constexpr write_policy policies[] = {write_policy::refuse, write_policy::hold, write_policy::discard,
                                                write_policy::journal, write_policy::journal};
    world_.site().writes = policies[dice_.roll(std::size(policies))];
    world_.configured().limits.max_server_prepared_statements = 4;
    world_.configured().limits.max_prepared_statements = 3;
    if (dice_.one_in(4)) world_.configured().limits.max_pipeline = 6;
    world_.flip(routing::mode::read_write);
}

void sim_worker::say(std::string const& what, sim_client const* who) const {
    if (how_.verbose) std::printf("  %s %s\n", who ? who->name.c_str() : "", what.c_str());
}

void sim_worker::arrive() {
    std::string const name = "c" + std::to_string(++names_);
    auto tell = [this, name](std::string const& what) { violations_.push_back(name + ": " + what); };
    auto made = std::make_unique<sim_client>(world_, world_.identity(dice_.one_in(10)), name,
                                             dice_.roll(1'000'000'000), tell);
    if (how_.sly) made->plan.be_sly();
    made->operations_left = 1 + dice_.roll(25);
    made->driver.lender = [this, c = made.get()](server_wish const& wish) -> test_server* {
        sim_server* const s = dice_.one_in(2) ? hottest(*c, wish) : nullptr;
        if (!s || is_stale(*s)) return nullptr;
        std::erase(idle_, s);
        say("is lent server " + std::to_string(s->number), c);
        return s;
    };
    made->driver.start();
    settle(*made);
    say(name + " comes");
    clients_.push_back(std::move(made));
}

sim_client* sim_worker::any_client() {
    if (clients_.empty()) return nullptr;
    auto at = clients_.begin();
    std::advance(at, dice_.roll(clients_.size()));
    return at->get();
}

bool sim_worker::anyone_writes() const {
    return std::any_of(clients_.begin(), clients_.end(),
                       [](auto const& c) { return c->driver.core().writes(); });
}

void sim_worker::send(sim_client& c) {
    if (c.unsent.empty()) {
        if (c.operations_left == 0 || c.asked.size() > 5) return;
        // Mostly one at a time; sometimes several in one go.
        do {
            --c.operations_left;
            operation op = c.plan.next();
            say("asks " + show(op.bytes, false), &c);
            c.unsent += op.bytes;
            c.asked.push_back(std::move(op));
        } while (c.operations_left > 0 && c.asked.size() < 5 && dice_.one_in(3));
    }
    std::size_t const n = dice_.one_in(2) ? c.unsent.size() : 1 + dice_.roll(c.unsent.size());
    std::string const now = c.unsent.substr(0, n);
    c.unsent.erase(0, n);
    c.driver.client(now);
    settle(c);
}

bool sim_worker::fits(sim_client& c, server_wish const& wish, sim_server const& s) {
    return s.state.backend == wish.backend && s.guarded == wish.guarded &&
           s.migration == c.driver.core().identity().migration;
}

sim_server* sim_worker::hottest(sim_client& c, server_wish const& wish) const {
    auto const at = std::find_if(idle_.rbegin(), idle_.rend(), [&](sim_server const* s) { return fits(c, wish, *s); });
    return at == idle_.rend() ? nullptr : *at;
}

/// From before a flip.
bool sim_worker::is_stale(sim_server const& s) const {
    return s.state.generation != world_.current().generation && !s.migration;
}

bool sim_worker::grant(sim_client& c) {
    if (!c.driver.wish()) return false;
    if (how_.faults && !how_.faults_over && dice_.one_in(40)) {
        say("no server", &c);
        c.driver.no_server(error("08001", "no server"));
        settle(c);
        return true;
    }
    if (how_.faults && !how_.faults_over && dice_.one_in(40)) {
        c.driver.choose_again();
        settle(c);
        return true;
    }
    server_wish const wish = *c.driver.wish();
    bool const migration = c.driver.core().identity().migration;
    if (sim_server* const s = hottest(c, wish)) {
        std::erase(idle_, s);
        if (is_stale(*s)) {
            drop(*s);
            return grant(c);
        }
        say("gets server " + std::to_string(s->number), &c);
        c.driver.link(*s);
        settle(c);
        return true;
    }
    if (static_cast<std::size_t>(std::count_if(servers_.begin(), servers_.end(),
                                               [&](auto const& s) { return fits(c, wish, *s); })) >= most_servers)
        return false;
    bool const standby = world_.context().snapshot->of(wish.backend).role == routing::role::replica;
    auto made = std::make_unique<sim_server>(
        book_,
        model_server::kind{.standby = standby, .read_only_default = wish.guarded, .migration = migration});
    made->number = ++names_;
    made->guarded = wish.guarded;
    made->migration = migration;
    made->state.backend = wish.backend;
    made->state.role = standby ? routing::role::replica : routing::role::primary;
    made->state.generation = world_.current().generation;
    made->state.actual = world_.context().settings.none();
    made->state.reported = world_.context().settings.intern({{"TimeZone", "UTC"},
                                                             {"application_name", ""},
                                                             {"client_encoding", "UTF8"},
                                                             {"standard_conforming_strings", "on"}});
    sim_server& s = *made;
    servers_.push_back(std::move(made));
    say("gets server " + std::to_string(s.number) +
            (standby        ? " (standby)"
             : wish.guarded ? " (guarded)"
                            : ""),
        &c);
    c.driver.link(s);
    settle(c);
    return true;
}

/// What is to be journaled comes to the disk, or not.
void sim_worker::keep(sim_client& c) {
    if (!c.driver.keeping) return;
    journal_outcome const outcome = journal_.keep(*c.driver.keeping, book_, dice_);
    say("journal " + std::to_string(static_cast<int>(outcome)) + " " + c.driver.keeping->text, &c);
    c.driver.kept(outcome);
    settle(c);
}

/// Some of what was sent to a server arrives.
void sim_worker::carry(sim_server& s, std::size_t most) {
    std::string now = s.received.substr(0, most);
    s.received.erase(0, now.size());
    if (how_.broken == sabotage::commit_for_rollback)
        if (auto const at = now.find(query("ROLLBACK")); at != std::string::npos)
            now.replace(at, query("ROLLBACK").size(), query("COMMIT"));
    s.model.receive(now);
    std::string const said = s.model.take_output();
    if (!now.empty())
        say("server " + std::to_string(s.number) + " gets " + show(now, false) + " says " + show(said, true));
    s.answers += said;
}

/// Some of what a server said arrives.
void sim_worker::answer(sim_client& c, std::size_t most) {
    auto* const s = static_cast<sim_server*>(c.driver.linked());
    if (!s) return;
    std::string const now = s->answers.substr(0, most);
    s->answers.erase(0, now.size());
    c.driver.server(now);
    settle(c);
}

void sim_worker::drop(sim_server& s) {
    // What has been sent arrives before the end of the connection does.
    s.model.receive(std::exchange(s.received, {}));
    s.model.lose();
    std::erase(idle_, &s);
    std::erase_if(servers_, [&](auto const& p) { return p.get() == &s; });
}

/// The connection is gone, and the server does not know: what has arrived there is carried out, sooner or
/// later.
void sim_worker::lose(sim_server& s, bool writes) {
    bool const can_write = !s.guarded && !s.migration && s.state.role == routing::role::primary;
    if (!how_.strays || !can_write) return drop(s);
    say("server " + std::to_string(s.number) + " goes on");
    // As pg_service::note_broken() and pg_pool tell of them.
    if (writes || !s.state.clean())
        broken_.push_back({static_cast<std::uint32_t>(s.number), world_.context().now,
                           "server " + std::to_string(s.number)});
    std::erase(idle_, &s);
    auto const at =
        std::find_if(servers_.begin(), servers_.end(), [&](auto const& p) { return p.get() == &s; });
    strays_.splice(strays_.end(), servers_, at);
}

void sim_worker::end_server(int number) {
    auto const at = std::find_if(servers_.begin(), servers_.end(), [&](auto const& s) { return s->number == number; });
    if (at == servers_.end()) return;
    sim_server& s = **at;
    say("server " + std::to_string(number) + " is terminated");
    s.received.clear();
    for (auto const& c : clients_) {
        if (c->driver.linked() != &s) continue;
        c->driver.server(s.answers + error("57P01", "terminating connection", "FATAL"));
        if (c->driver.linked() == &s) c->driver.lose();
        settle(*c);
        break;
    }
    if (std::any_of(servers_.begin(), servers_.end(), [&](auto const& one) { return one.get() == &s; })) drop(s);
}

/// After every event of a session.
void sim_worker::settle(sim_client& c) {
    for (test_server* s : std::exchange(c.driver.released, {})) idle_.push_back(static_cast<sim_server*>(s));
    for (test_server* s : std::exchange(c.driver.discarded, {})) {
        say("discards server " + std::to_string(s->number));
        lose(static_cast<sim_server&>(*s), false);
    }
    if (std::exchange(c.driver.cancels, 0) > 0 && c.driver.linked()) {
        auto& s = static_cast<sim_server&>(*c.driver.linked());
        s.model.cancel();
        s.answers += s.model.take_output();
    }
    if (how_.verbose && !c.driver.to_client.empty()) say("hears " + show(c.driver.to_client, true), &c);
    c.hear(book_, violations_);
    // Debts are bounded: by the limit, and by what one segment of a client can bring behind it.
    if (c.driver.linked() &&
        c.driver.linked()->state.owed.size() > world_.configured().limits.max_pipeline + 64)
        violations_.push_back(c.name + ": a server owes more than the limit");
}

/// One of the clients, its server or the network between them moves.
void sim_worker::step() {
    sim_client* const c = any_client();
    if (!c) return;
    auto const some = [&](std::size_t all) { return dice_.one_in(2) ? all : 1 + dice_.roll(all); };
    switch (dice_.roll(39) + 1) {
        case 1:
            if (how_.faults && c->driver.linked() && dice_.one_in(how_.strays ? 1 : 6)) {
                auto& s = static_cast<sim_server&>(*c->driver.linked());
                say("loses server " + std::to_string(s.number), c);
                if (dice_.one_in(2)) s.received.resize(dice_.roll(s.received.size() + 1));
                std::string on_its_way;
                if (how_.strays && dice_.one_in(2))
                    on_its_way = std::exchange(s.received, {});
                else
                    carry(s, s.received.size());
                bool const writes = c->driver.core().writes();
                // PostgreSQL may have said why.
                if (dice_.one_in(2)) c->driver.server(s.answers + error("57P01", "going down", "FATAL"));
                if (c->driver.linked() == &s) c->driver.lose();
                s.received = on_its_way;  // what was sent since must not join what arrived of the rest
                auto const& dropped = c->driver.discarded;
                bool const discarded = std::find(dropped.begin(), dropped.end(), &s) != dropped.end();
                settle(*c);
                if (!discarded) lose(s, writes);
            }
            return;
        case 2:
            if (how_.faults && dice_.one_in(8)) {
                say("leaves", c);
                c->driver.gone();
                settle(*c);
            }
            return;
        case 3:
            if (how_.faults && dice_.one_in(2)) {
                say("cancels", c);
                c->driver.cancel();
                settle(*c);
            }
            return;
        case 4:
            return;
        default:
            break;
    }
    switch (dice_.roll(5)) {
        case 4:
            return keep(*c);
        case 0:
            return c->driver.closed() || c->driver.is_gone() ? void() : send(*c);
        case 1:
            grant(*c);
            return;
        case 2:
            if (c->driver.linked()) {
                auto& s = static_cast<sim_server&>(*c->driver.linked());
                carry(s, some(s.received.size()));
            }
            return;
        default:
            if (c->driver.linked())
                answer(*c, some(static_cast<sim_server&>(*c->driver.linked()).answers.size()));
            return;
    }
}

void sim_worker::pass(std::chrono::milliseconds time) {
    world_.pass(time);
    for (auto const& each : clients_) {
        each->driver.tick();
        settle(*each);
    }
}

std::vector<journal_entry> sim_worker::being_kept() const {
    std::vector<journal_entry> out;
    for (auto const& c : clients_)
        if (c->driver.keeping) out.push_back(*c->driver.keeping);
    return out;
}

std::list<std::unique_ptr<sim_server>> sim_worker::take_servers() {
    clients_.clear();
    idle_.clear();
    return std::exchange(servers_, {});
}

void sim_worker::tell_snapshot() {
    for (auto const& c : clients_) {
        c->driver.snapshot();
        settle(*c);
    }
}

void sim_worker::end_writers(bool terminate) {
    for (auto const& c : clients_) {
        c->driver.end_writing(terminate);
        settle(*c);
    }
}

/// Everything that is under way arrives.
void sim_worker::move_all() {
    for (auto const& c : clients_) {
        settle(*c);
        keep(*c);
        grant(*c);
        if (auto* s = static_cast<sim_server*>(c->driver.linked())) {
            carry(*s, s->received.size());
            answer(*c, s->answers.size());
        }
    }
}

/// Faults are over and the site is open: everybody gets what he waits for, and every server comes home.
void sim_worker::run_out() {
    for (int round = 0; round < 4000; ++round) {
        bool busy = false;
        for (auto const& c : clients_) {
            if (!c->driver.closed() && !c->driver.is_gone() &&
                (!c->unsent.empty() || c->operations_left > 0)) {
                busy = busy || !c->unsent.empty() || c->asked.size() <= 5;
                send(*c);
            }
            busy = busy || c->driver.keeping != nullptr;
            keep(*c);
            busy = grant(*c) || busy;
            if (auto* s = static_cast<sim_server*>(c->driver.linked())) {
                busy = busy || !s->received.empty() || !s->answers.empty();
                carry(*s, s->received.size());
                answer(*c, s->answers.size());
            }
        }
        // Blocks that were left open keep their servers: their clients leave when nothing else moves.
        if (!busy) {
            bool left = false;
            for (auto const& c : clients_) {
                if (c->driver.is_gone()) continue;
                // Whoever waits for a connection gets it when those leave who have one.
                if (c->driver.wish()) continue;
                if (!c->driver.closed() && c->driver.watch().waits_for() != 0)
                    violations_.push_back(c->name + " waits for ever; " + debts(*c));
                left = true;
                say("leaves at the end");
                c->driver.gone();
                settle(*c);
                break;
            }
            if (!left) break;
        }
    }
    for (auto const& c : clients_)
        if (!c->driver.core().finished()) violations_.push_back("a session does not end; " + debts(*c));
}

}  // namespace lull::sim
