// A PostgreSQL small enough to be believed: it takes a session's bytes, keeps transactions, settings and
// prepared statements as PostgreSQL 15 does, and enters every commit in a ledger that all servers share. It
// knows the few statements below and nothing of the classifier, so that it is an independent judge.
//
//   select 'a'[, ...]      a row for each constant          insert into t values ('a')   a write
//   select add_one('a')    a function that writes           select escape('a')           leaves READ ONLY,
//   writes select fail()          an error                         copy t from stdin            a write for
//   each row copy (select 'a') to stdout;  show x;  set, reset, set_config();  listen, unlisten;  discard,
//   deallocate; begin, commit, rollback, and chain, savepoint, release, rollback to, set transaction
#pragma once

#include "tests/unit/proxy/pg_wire.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lull::sim {

/// What became of every constant that clients sent; each is sent once.
struct ledger {
    std::map<std::string, int> executed;
    std::set<std::string> committed;
    std::set<std::string> journaled;     // on Lull's disk, and so to be committed
    std::set<std::string> discarded;     // answered by rule, and never to be executed
    std::set<std::string> transactions;  // of the replay: those that were committed
    bool sealed = false;
    std::uint64_t commits = 0;  // of writes: where the log of the primary ends
    std::vector<std::string> violations;
};

class model_server {
  public:
    struct kind {
        bool standby = false;
        bool read_only_default = false;
        bool migration = false;  // may commit while sealed
        bool tame = false;       // nobody leaves READ ONLY: primary and standby answer alike
    };
    model_server(ledger& book, kind what) : book_(book), kind_(what) {}

    /// Does at once what the bytes ask for. What it answers is in output() when it is flushed.
    void receive(std::string_view bytes);
    std::string take_output() { return std::exchange(sent_, {}); }
    /// A CancelRequest: only COPY FROM STDIN takes time here.
    void cancel();
    /// The connection is gone: what is open is rolled back.
    void lose() { rollback_all(); }

    /// Amid something: what pg_stat_activity would not call idle.
    bool busy() const { return open_ || copying_ || skipping_; }
    /// As backend_xid in pg_stat_activity.
    std::optional<std::uint32_t> transaction_that_writes() const {
        return writes_.empty() ? std::nullopt : std::optional(transactions_);
    }
    char status() const { return !explicit_ ? 'I' : failed_ ? 'E' : 'T'; }
    bool dead() const { return dead_; }

  private:
    using settings = std::map<std::string, std::string>;
    struct savepoint {
        std::string name;
        std::size_t writes;
        settings made;
        settings locals;
        bool read_only;
        std::size_t portals;  // how many had been made
    };
    struct portal {
        std::string text;
        std::size_t number;  // counted as they are made
        std::size_t row = 0;
        bool done = false;
        bool broken = false;  // made in what has failed since
    };
    struct failure {
        std::string sqlstate;
        std::string message;
    };

    void take(wire::raw_message const& m);
    void simple(std::string const& text);
    void extended(wire::raw_message const& m);
    void execute_portal(portal& p, std::int32_t most);
    void begin_copy(bool simple);
    void end_copy();
    void fail(failure const& why);
    void finish();
    void say_ready();
    std::string run(std::string const& statement, bool describe_rows);
    std::string run_transaction(std::string const& text, std::vector<std::string> const& words);
    std::string run_setting(std::string const& text, std::vector<std::string> const& words);
    void write(std::string const& what);
    void ensure_transaction();
    void commit();
    void rollback_all();
    void end_block(bool committing, bool chain);
    std::string value_of(std::string const& name) const;
    void report();

    ledger& book_;
    kind const kind_;
    std::string in_;
    std::string out_;
    std::string sent_;
    bool dead_ = false;
    bool skipping_ = false;  // to Sync
    bool last_simple_ = false;

    std::uint32_t transactions_ = 0;
    bool open_ = false;      // a transaction
    bool explicit_ = false;  // a block
    bool failed_ = false;
    bool read_only_ = false;
    bool snapshot_ = false;
    std::vector<std::string> writes_;
    std::vector<savepoint> savepoints_;
    settings made_;
    settings before_;  // as it was when the transaction began
    settings locals_;
    settings reported_;

    std::map<std::string, std::string> statements_;
    std::map<std::string, portal> portals_;  // by what the server knows of their names
    std::size_t made_portals_ = 0;
    bool copying_ = false;
    bool copy_simple_ = false;
    std::size_t copied_ = 0;
    std::vector<std::string> rest_of_text_;  // statements behind a COPY
};

}  // namespace lull::sim
