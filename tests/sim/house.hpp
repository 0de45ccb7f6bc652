// The whole house in one thread and in virtual time: two workers with their sessions, the maintenance
// machine, the state file, a primary with a log, a standby whose replay is paused and resumed, an operator;
// and kill -9 between any two effects. What passes between them is late. Judged by the ledger of the model
// servers: nothing is committed from the moment when sealed was said to the moment when the order to open was
// given, whatever died meanwhile; by sessions past Lull neither, where a fence is required.
#pragma once

#include "proxy/state_file.hpp"
#include "routing/maintenance.hpp"
#include "tests/sim/sim_fence.hpp"
#include "tests/sim/sim_worker.hpp"

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace lull::sim {

class house {
  public:
    struct options {
        bool verbose = false;
        /// No standby: reads of a closed site run on the primary. And half of what clients ask is a way out of READ ONLY.
        bool guards_alone = false;
    };
    house(std::uint64_t seed, options how);
    /// The first violation, or nothing.
    std::string run();
    /// Of all runs so far.
    struct totals {
        std::uint64_t sealed = 0, crashes = 0, commits = 0;
    };
    static totals& count();

  private:
    struct standby {
        routing::lsn replayed{};
        routing::pause_state state = routing::pause_state::not_paused;
        bool up = true;
    };
    /// A process: gone with a crash, mail and all.
    struct process {
        std::unique_ptr<routing::maintenance> machine;
        std::array<std::unique_ptr<sim_worker>, 2> workers;
        std::array<std::deque<std::function<void(std::size_t)>>, 2> mail;  // to each worker
        std::array<std::uint64_t, 2> taken{};                              // the snapshot that each has
        std::deque<routing::maintenance_event> events;                     // to the machine, of the machine
        std::deque<routing::maintenance_event> arrived;                    // to the machine, from outside
        std::deque<std::function<void()>> jobs;                            // at the servers
        std::uint64_t snapshots = 0;
        bool feeding = false;
        bool journal_open = false;
        bool replaying = false;  // the site stays closed meanwhile
    };

    void step();
    void boot();
    void crash();
    void bury(std::list<std::unique_ptr<sim_server>>& dead);
    void feed(routing::maintenance_event e);
    void carry_out(routing::maintenance_effect const& e);
    void persist(routing::maintenance_record const& record);
    std::uint64_t publish();
    void ask_primary(routing::effect::ask_primary const& what);
    void ask_standby(routing::effect::ask_replica const& what);
    void ask_fence(routing::effect::ask_fence const& what);
    void outsider();
    void report(std::size_t worker);
    void read_mail(std::size_t worker);
    void operate();
    void finish();
    void pass(std::chrono::milliseconds time);
    void replay();
    void settle_journal();
    void run_journal();
    void look();
    std::vector<std::string> leftovers() const;
    std::vector<routing::broken_session> still_there(routing::effect::ask_primary const& what);
    routing::moment now() const;
    void say(std::string const& what) const;
    bool violated() const { return !violations_.empty() || !book_.violations.empty(); }

    dice dice_;
    sim_worker::options how_;
    bool const guards_alone_;
    ledger book_;
    std::vector<std::string> violations_;
    int names_ = 0;
    std::string disk_;
    sim_journal journal_;
    bool disk_works_ = true;
    bool primary_up_ = true;
    standby standby_;
    sim_fence fence_;
    bool record_lost_ = false;  // once: the state file was torn
    config::fence_policy const fence_policy_;
    routing::instant now_ = routing::instant{} + std::chrono::hours(1);
    std::unique_ptr<process> process_;
    std::list<std::unique_ptr<sim_server>> orphans_;  // servers of processes that are dead
    std::list<std::unique_ptr<sim_server>> strays_;   // servers of this one whose connection broke
    std::size_t clients_to_come_ = 0;
    std::size_t effects_to_live_ = 0;  // 0: no crash is due
    bool dying_ = false;
};

}  // namespace lull::sim
