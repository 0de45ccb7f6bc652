// A client's bytes through a session, and the same bytes to a server directly.
#include "tests/sim/pg_sim.hpp"

#include <algorithm>
#include <cstdio>

namespace lull::sim {

using namespace wire;

namespace {

/// ParameterStatus may come elsewhere: with the server that differs. The rest is compared word for word.
std::vector<std::string> told(std::string stream) {
    std::vector<std::string> out;
    for (raw_message const& m : take_messages(stream))
        if (m.type != 'S' && m.type != 'K') {
            std::string text = show_message(m, true);
            // The model's words are not PostgreSQL's.
            if (m.type == 'E' || m.type == 'N') text.resize(std::min<std::size_t>(text.size(), 7));
            // In a block that fails while it is under way, the session sees the duplicate name first.
            if (text == "E(42P05") text = "E(25P02";
            out.push_back(std::move(text));
        }
    return out;
}

class through_session {
  public:
    through_session(std::uint64_t seed, bool verbose) : dice_(seed ^ 0x5eed), verbose_(verbose) {
        world_.configured().limits.max_server_prepared_statements = 4;
        world_.flip(routing::mode::read_write);
        driver_.lender = [this](server_wish const& wish) { return dice_.one_in(2) ? &choose(wish) : nullptr; };
        driver_.start();
        while (move()) {
        }
        (void)std::exchange(driver_.to_client, {});
    }

    std::string talk(std::string bytes) {
        while (!bytes.empty() || move())
            if (!bytes.empty() && (dice_.one_in(3) || !move())) {
                std::size_t const n = dice_.one_in(2) ? bytes.size() : 1 + dice_.roll(bytes.size());
                driver_.client(bytes.substr(0, n));
                bytes.erase(0, n);
            }
        return std::exchange(driver_.to_client, {});
    }
    std::string violation;

  private:
    /// Whether anything moved.
    bool move() {
        for (test_server* s : std::exchange(driver_.released, {}))
            idle_.push_back(static_cast<sim_server*>(s));
        driver_.discarded.clear();
        if (driver_.wish()) {
            driver_.link(choose(*driver_.wish()));
            return true;
        }
        auto* const s = static_cast<sim_server*>(driver_.linked());
        if (!s) return false;
        if (!s->received.empty()) {
            std::size_t const n = dice_.one_in(2) ? s->received.size() : 1 + dice_.roll(s->received.size());
            std::string const now = s->received.substr(0, n);
            s->received.erase(0, n);
            s->model.receive(now);
            std::string const said = s->model.take_output();
            if (verbose_)
                std::printf("    server gets %s says %s\n", show(now, false).c_str(),
                            show(said, true).c_str());
            s->answers += said;
            return true;
        }
        if (s->answers.empty()) return false;
        std::size_t const n = dice_.one_in(2) ? s->answers.size() : 1 + dice_.roll(s->answers.size());
        std::string const now = s->answers.substr(0, n);
        s->answers.erase(0, n);
        driver_.server(now);
        return true;
    }

    /// Any of three on each side, so that settings and statements have to follow.
    sim_server& choose(server_wish const& wish) {
        std::vector<sim_server*> fit;
        for (sim_server* s : idle_)
            if (s->state.backend == wish.backend) fit.push_back(s);
        if (fit.size() == 3 || (!fit.empty() && dice_.one_in(2))) {
            sim_server* const s = fit[dice_.roll(fit.size())];
            std::erase(idle_, s);
            return *s;
        }
        bool const standby = wish.backend == the_replica;
        servers_.push_back(
            std::make_unique<sim_server>(book_, model_server::kind{.standby = standby, .tame = true}));
        sim_server& s = *servers_.back();
        s.state.backend = wish.backend;
        s.state.role = standby ? routing::role::replica : routing::role::primary;
        s.state.actual = world_.context().settings.none();
        s.state.reported = world_.context().settings.intern({{"TimeZone", "UTC"}, {"application_name", ""}});
        return s;
    }

    dice dice_;
    bool const verbose_;
    pg_world world_;
    ledger book_;
    std::list<std::unique_ptr<sim_server>> servers_;
    std::vector<sim_server*> idle_;
    pg_driver driver_{world_, world_.identity(), [this](std::string const& what) { violation = what; }};
};

}  // namespace

std::string compare_with_direct(std::uint64_t seed, bool verbose) {
    scenario plan("c", seed);
    dice d(seed + 1);
    ledger book;
    model_server direct(book, {.tame = true});
    through_session session(seed, verbose);
    for (std::size_t round = 0; round < 20; ++round) {
        std::string bytes;
        std::size_t const operations = 1 + (d.one_in(3) ? d.roll(4) : 0);
        auto const how = operations == 1 ? scenario::names::all : scenario::names::new_ones;
        for (std::size_t n = operations; n > 0; --n) bytes += plan.next(how).bytes;
        direct.receive(bytes);
        auto const wanted = told(direct.take_output());
        auto const got = told(session.talk(bytes));
        if (verbose) std::printf("  %s\n", show(bytes, false).c_str());
        if (!session.violation.empty()) return session.violation;
        if (wanted == got) continue;
        // In a failed block a statement that the server has lost cannot be prepared again, and one that it
        // has is prepared for another client too; either way only the end of the block is of use. And DISCARD
        // ALL and DEALLOCATE ALL leave the unnamed statement, which on a second server is a named one, for
        // them to end.
        auto const [first, other] = std::mismatch(wanted.begin(), wanted.end(), got.begin(), got.end());
        bool const discards = std::any_of(wanted.begin(), wanted.end(), [](std::string const& m) {
            return m == "C(DISCARD ALL)" || m == "C(DEALLOCATE ALL)";
        });
        if (first != wanted.end() && other != got.end() &&
            ((*first == "t" && *other == "E(25P02") || (*first == "E(25P02" && *other == "1") ||
             (*first == "E(26000" && *other == "E(25P02") ||
             (discards && *other == "E(26000"))) {
            if (wanted.back() == got.back()) continue;
            return {};  // the one that came through has ended the block, and the two are different from here on
        }
        std::string text = "to " + show(bytes, false) + "\n  direct:";
        for (auto const& m : wanted) text += " " + m;
        text += "\n  session:";
        for (auto const& m : got) text += " " + m;
        return text;
    }
    return {};
}

}  // namespace lull::sim
