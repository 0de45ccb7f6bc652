// The sessions of one worker, their clients and the servers that they are lent, with a network that is slow
// and breaks. Who flips the site is somebody else: simulation (by hand) or house (the maintenance machine).
#pragma once

#include "tests/sim/model_server.hpp"
#include "tests/sim/pg_scenario.hpp"
#include "tests/sim/sim_journal.hpp"
#include "tests/unit/proxy/pg_driver.hpp"

#include <chrono>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace lull::sim {

enum class sabotage : std::uint8_t { none, commit_for_rollback, stale_snapshot };

struct sim_server : wire::test_server {
    sim_server(ledger& book, model_server::kind what) : model(book, what) {}
    model_server model;
    std::string answers;  // on their way
    bool migration = false;
};

/// A client and its books: what it asked, and what of its writes was acknowledged.
struct sim_client {
    sim_client(wire::pg_world& world, session_identity who, std::string called, std::uint64_t seed,
               wire::pg_watch::violation tell)
        : name(std::move(called)), plan(name, seed), driver(world, std::move(who), std::move(tell)) {}

    void hear(ledger& book, std::vector<std::string>& violations);

    std::string const name;
    scenario plan;
    wire::pg_driver driver;
    std::size_t operations_left = 0;
    std::string unsent;
    std::deque<operation> asked;
    std::string heard;  // not yet understood
    bool greeted = false;

    std::vector<std::string> acknowledged;  // in the open block
    bool unclear = false;                   // the block has had what this does not follow
    bool in_block = false;
    char told = 'I';  // by its last ReadyForQuery
    std::size_t next_read = 0;
    std::uint64_t discarded = 0;  // acknowledged and nowhere
    bool failed = false;
    bool done = false;
    std::string failure;
    std::string last_tag;
};

/// At the end of a run: what was put off has been done, and what was dropped has not.
void judge_journal(ledger const& book, std::vector<std::string>& violations);

class sim_worker {
  public:
    struct options {
        bool faults = true;
        sabotage broken = sabotage::none;
        bool verbose = false;
        bool faults_over = false;
        bool strays = false;  // servers go on after their connection broke; somebody takes them
        bool sly = false;     // clients try to leave READ ONLY
    };
    /// All that is handed in outlives it; `names` counts clients and servers.
    sim_worker(ledger& book, sim_journal& journal, dice& d, int& names, options const& how,
               std::vector<std::string>& violations);

    void arrive();
    void step();
    void pass(std::chrono::milliseconds time);
    void tell_snapshot();
    void end_writers(bool terminate);
    void move_all();
    void run_out();
    bool anyone_writes() const;
    wire::pg_world& world() { return world_; }
    std::list<std::unique_ptr<sim_client>>& clients() { return clients_; }
    /// On their way to the disk.
    std::vector<journal_entry> being_kept() const;
    /// What becomes of the servers when the process dies.
    std::list<std::unique_ptr<sim_server>> take_servers();
    std::list<std::unique_ptr<sim_server>> const& servers() const { return servers_; }
    /// An administrator's command: its transaction is rolled back and its client's connection is gone.
    void end_server(int number);
    /// Servers that go on although nobody is connected to them any more.
    std::list<std::unique_ptr<sim_server>> take_strays() { return std::exchange(strays_, {}); }
    /// What of theirs sealing has to know: by the number of the server. Told of once.
    std::vector<routing::broken_session> take_broken() { return std::exchange(broken_, {}); }
    void say(std::string const& what, sim_client const* who = nullptr) const;

  private:
    void send(sim_client& c);
    /// False: it wants none, or there is none for it now.
    bool grant(sim_client& c);
    static bool fits(sim_client& c, server_wish const& wish, sim_server const& s);
    sim_server* hottest(sim_client& c, server_wish const& wish) const;
    bool is_stale(sim_server const& s) const;
    void carry(sim_server& s, std::size_t most);
    void answer(sim_client& c, std::size_t most);
    void settle(sim_client& c);
    void drop(sim_server& s);
    void lose(sim_server& s, bool writes);
    sim_client* any_client();

    void keep(sim_client& c);

    ledger& book_;
    sim_journal& journal_;
    dice& dice_;
    int& names_;
    options const& how_;
    std::vector<std::string>& violations_;
    wire::pg_world world_;
    std::list<std::unique_ptr<sim_client>> clients_;
    std::list<std::unique_ptr<sim_server>> servers_;
    std::vector<sim_server*> idle_;
    std::list<std::unique_ptr<sim_server>> strays_;
    std::vector<routing::broken_session> broken_;
};

}  // namespace lull::sim
