// The journal of the simulated site: its file in the real format, and its replay by the real core, an act at a time, so
// that kill -9 may come between any two. The file is what outlives a process.
#pragma once

#include "proxy/journal_replay_core.hpp"
#include "tests/sim/model_server.hpp"
#include "tests/sim/pg_scenario.hpp"

#include <optional>
#include <string>

namespace lull::sim {

class sim_journal {
  public:
    /// From here on entries are taken, until close().
    void open() { open_ = true; }
    void close();
    journal_outcome keep(journal_entry entry, ledger& book, dice& d);
    /// Whether anything is left to be run.
    bool pending() const { return !disk_.empty(); }
    /// The next act of the replay, of a closed one. All of it is done when nothing is pending any more.
    void replay(ledger& book);
    /// kill -9: what was not flushed is there, or not, or half of it. `under_way`: an entry that was being
    /// written.
    void crash(journal_entry const* under_way, ledger& book, dice& d);

  private:
    void write(std::string const& bytes, bool durable);
    void begin();
    replay_answer ask(std::string const& sql, ledger& book);

    std::string disk_;
    std::size_t durable_ = 0;
    bool open_ = false;
    std::uint64_t next_ = 1;
    std::uint64_t xids_ = 700;

    // Of the process.
    std::optional<journal_replay_core> replay_;
    std::string running_;  // the write that its transaction has made
    std::string xid_;
};

}  // namespace lull::sim
