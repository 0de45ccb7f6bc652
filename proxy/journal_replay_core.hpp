// Runs the entries of a journal, once and in order: what is done next, and what is made of the answers. Each
// entry is a transaction; its id is on the disk before its COMMIT goes out, so that whatever dies in between,
// pg_xact_status() tells what became of it. Pure: one act at a time comes out of next(), what came of it goes
// back in, and then next() is another. Whoever carries them out may be killed between any two: a new one begins
// with what the journal's file then says. One thread.
#pragma once

#include "config/model.hpp"
#include "proxy/journal_format_core.hpp"
#include "routing/snapshot.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <variant>

namespace lull {

struct replay_report {
    std::size_t done = 0;
    std::size_t differs = 0;  // of the done: another number of rows than their clients were told
    std::size_t failed = 0;   // refused by the server
    std::size_t unknown = 0;  // whether they were committed cannot be told
    std::size_t left = 0;     // not run
    std::string problem;      // what it waits for, or why it ended early
};

/// What a server said to one question.
struct replay_answer {
    bool lost = false;     // the connection is unusable, and nobody knows what the server still did
    std::string sqlstate;  // of the first error; empty: none
    std::string message;
    std::string tag;                   // of the last CommandComplete
    std::optional<std::string> value;  // first column of the first row
    bool ok() const { return !lost && sqlstate.empty(); }
};

/// What came of a login.
struct replay_login {
    enum class result : std::uint8_t { in, no_credentials, failed };
    result what = result::in;
    std::string sqlstate;  // of a server that said why not; empty: it said nothing
    std::string message;
};

/// Its two connections to the primary, both as the role of the entry in hand.
enum class replay_line : std::uint8_t {
    writes,
    flushes,  // makes the server flush its log
};

namespace replay_act {

/// In place of the connection that was there. Then connected().
struct connect {
    replay_line line = replay_line::writes;
    std::string database;
    std::string user;
};
/// A text of the simple query protocol. Then answered().
struct ask {
    replay_line line = replay_line::writes;
    std::string sql;
};
/// The entry's statement as it came, on `writes`. Then answered().
struct run {
    journal_entry const* entry = nullptr;
};
/// Behind what the file has. With `durable` it, and all before it, is on the disk before recorded() is called.
struct record {
    std::string bytes;
    bool durable = false;
};
/// Then paused(). First of all both connections are closed, where it says so.
struct pause {
    std::chrono::milliseconds time{};
    bool hang_up = false;
};
/// All is done, or given up: report() says what.
struct over {};

}  // namespace replay_act

using replay_next = std::variant<replay_act::connect, replay_act::ask, replay_act::run, replay_act::record,
                                 replay_act::pause, replay_act::over>;

class journal_replay_core {
  public:
    /// `timeout`: all is given up when the server has decided on no entry for so long.
    journal_replay_core(journal_contents contents, config::milliseconds timeout, routing::instant now);
    journal_replay_core(journal_replay_core const&) = delete;
    journal_replay_core& operator=(journal_replay_core const&) = delete;

    replay_next next() const;
    void connected(replay_login const& login, routing::instant now);
    void answered(replay_answer const& answer, routing::instant now);
    /// Empty: it is there; or why not, and then it is not, or may be half there.
    void recorded(std::string const& problem, routing::instant now);
    void paused(routing::instant now);

    /// When an act that has not come to its end is given up.
    routing::instant until() const { return until_; }
    replay_report const& report() const { return report_; }

  private:
    enum class at : std::uint8_t {
        connect,
        limits,        // which the server has
        discard,       // what the entry before left in the session
        health,        // the server's, where an entry seems to make it fail
        settings,
        begin,
        run,
        synchronous,
        xid,
        origin,
        flush_connect,
        flush_settings,
        flush,         // by a commit of Lull's own; where that may not be, by waiting for it
        flush_xid,
        flush_end,
        flush_look,
        flush_pause,
        intend,
        commit,
        rollback,
        fate,          // of a transaction whose COMMIT was on its way
        settle,
        pause,
        last_flush,
        over,
    };
    static constexpr std::chrono::milliseconds between_tries{250};
    enum class blame : std::uint8_t { entry, lull };  // whose statement failed

    journal_entry const& entry() const { return contents_.entries[index_]; }
    std::string who() const { return entry().database + '\0' + entry().user; }
    bool in_doubt() const;
    void choose();
    void attempt();
    void with_session();
    void with_clean_session();
    void start();
    void with_transaction_id();
    void find_out();
    void login_failed(replay_login const& login);
    void fate_told(replay_answer const& a);
    void committed(replay_answer const& a);
    void server_failed(replay_answer const& a, blame whose);
    void rolled_back(bool ok);
    void note_trouble(replay_answer const& a);
    bool had_its_time() const;
    void settle(journal_result result, std::string sqlstate = {}, std::string message = {});
    void settled();
    enum class then : std::uint8_t { hang_up, stay };
    void wait(std::string problem, then what);
    void lost();
    void count(journal_result result);
    void flush_refused(replay_answer const& a);
    void not_flushed();

    journal_contents contents_;  // with the verdicts that have come since
    config::milliseconds const timeout_;
    routing::instant now_;
    routing::instant until_;
    at at_ = at::over;
    std::size_t index_ = 0;  // the entry in hand
    std::optional<journal_intent> intent_;  // on the disk, and nobody knows its fate yet
    journal_intent next_intent_;
    journal_verdict verdict_;  // on its way to the disk
    replay_report report_;

    // Of the connections.
    std::string logged_in_as_;  // "database\0user"; empty: not connected
    std::string flushes_as_;
    bool has_transaction_timeout_ = false;
    std::string origin_;
    std::vector<std::string> made_;  // settings
    bool dirty_ = false;             // the last entry did not end in COMMIT: who knows what it left there
    std::string log_end_;            // up to here the server has to flush
    std::set<std::string> barred_;   // roles, as in who(), that the server has kept out for long enough
    bool hang_up_ = false;

    // Of the entry in hand.
    std::size_t setting_ = 0;
    std::string ran_as_;  // its tag
    int tries_ = 0;       // where the server asks for another
    struct {
        replay_answer answer;
        blame whose = blame::entry;
    } failure_;
    struct {  // the server failed while it ran, or kept its role out
        int times = 0;
        routing::instant since{};
        replay_answer last;
    } trouble_;
};

}  // namespace lull
