// One run of the simulation; see pg_sim_test.cpp.
#pragma once

#include "tests/sim/model_server.hpp"
#include "tests/sim/pg_scenario.hpp"
#include "tests/unit/proxy/pg_driver.hpp"

#include <deque>
#include <list>
#include <memory>
#include <string>

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

    void hear(ledger const& book, std::vector<std::string>& violations);

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
    std::size_t next_read = 0;
    bool failed = false;
    bool done = false;
    std::string failure;
    std::string last_tag;
};

class simulation {
  public:
    struct options {
        bool faults = true;
        sabotage broken = sabotage::none;
        bool verbose = false;
    };
    simulation(std::uint64_t seed, options how);
    /// The first violation, or nothing.
    std::string run();

  private:
    void step();
    void arrive();
    void send(sim_client& c);
    void grant(sim_client& c);
    void carry(sim_server& s, std::size_t most);
    void answer(sim_client& c, std::size_t most);
    void settle(sim_client& c);
    void flip();
    void drop(sim_server& s);
    void finish();
    void say(std::string const& what, sim_client const* who = nullptr) const;
    sim_client* any_client();
    bool anyone_writes() const;

    options const how_;
    dice dice_;
    wire::pg_world world_;
    ledger book_;
    std::vector<std::string> violations_;
    std::list<std::unique_ptr<sim_client>> clients_;
    std::list<std::unique_ptr<sim_server>> servers_;
    std::vector<sim_server*> idle_;
    std::size_t clients_to_come_;
    routing::mode mode_ = routing::mode::read_write;  // what the sessions should know
    bool faults_over_ = false;
    int names_ = 0;
};

/// The same client bytes to a model server directly and through a session: the answers must be the same.
std::string compare_with_direct(std::uint64_t seed, bool verbose);

}  // namespace lull::sim
