// Runs the entries of a site's journal, once and in order, on a thread of its own. Each is a transaction; its
// id is on the disk before its COMMIT goes out, so that whatever dies in between, pg_xact_status() tells what
// became of it.
#pragma once

#include "config/model.hpp"
#include "proxy/journals.hpp"
#include "proxy/replay_connection.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace lull {

struct replay_report {
    std::size_t done = 0;
    std::size_t differs = 0;  // of the done: another number of rows than their clients were told
    std::size_t failed = 0;   // refused by the server
    std::size_t unknown = 0;  // whether they were committed cannot be told
    std::size_t left = 0;     // not run
    std::string problem;      // what it waits for, or why it ended early
};

class journal_replay {
  public:
    struct job {
        std::string site;
        replay_server primary;
        config::milliseconds timeout;
        journal_contents contents;
        /// Nothing: nobody knows yet how this user logs in. Any thread.
        std::function<std::optional<server_credentials>(std::string const& user)> credentials;
    };

    /// `over` is called on the replay's thread, unless it was stopped.
    journal_replay(journals& books, job what, std::function<void(replay_report)> over);
    /// Stops; what is not done stays in the journal.
    ~journal_replay();
    replay_report progress() const;

  private:
    using instant = replay_connection::instant;
    using answer = replay_connection::answer;
    enum class step : std::uint8_t { settled, again, give_up };
    enum class blame : std::uint8_t { entry, lull };  // whose statement failed
    void run();
    step run_one(journal_entry const& entry);
    step commit(journal_entry const& entry, journal_intent intent);
    step find_out(journal_entry const& entry, journal_intent const& intent);
    answer ask_origin();
    bool prepare(journal_entry const& entry);
    std::string problem() const { return progress().problem; }
    bool flush_log(journal_entry const& entry);
    step settle(journal_entry const& entry, journal_result result, std::string sqlstate = {},
                std::string message = {});
    step server_failed(journal_entry const& entry, answer const& a, blame whose);
    void note_trouble(answer const& a);
    bool is_poison();
    step wait(std::string problem);
    void count(journal_result result);

    journals& books_;
    job const job_;
    std::function<void(replay_report)> const over_;
    std::atomic<bool> stop_{false};
    instant until_;  // it is given up then; further off with each entry that the server has decided on
    replay_connection connection_{stop_};
    replay_connection second_{stop_};  // makes the server flush its log
    std::string connected_as_;         // "database\0user" of connection_
    std::vector<std::string> made_;    // settings of connection_
    bool dirty_ = false;               // the last entry did not end in COMMIT: who knows what it left there
    std::optional<journal_intent> intent_;
    std::string ran_as_;  // the tag of the entry in hand
    int tries_ = 0;       // of the entry in hand, where the server asks for another
    struct {              // of the entry in hand: the server failed while it ran
        int times = 0;
        instant since;
        answer last;
    } trouble_;
    mutable std::mutex mutex_;
    replay_report report_;
    std::thread thread_;
};

}  // namespace lull
