// Carries out the replay of a site's journal on a thread of its own; journal_replay_core says what.
#pragma once

#include "config/model.hpp"
#include "proxy/journal_replay_core.hpp"
#include "proxy/journals.hpp"
#include "proxy/replay_connection.hpp"
#include "routing/maintenance_events.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace lull {

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
    /// Stopped or over: the server's sessions that were left in the middle of something, and may still be at it.
    std::vector<routing::broken_session> stop();

  private:
    void run();
    void carry_out(replay_next const& next);
    replay_connection& line(replay_line which) {
        return which == replay_line::writes ? writes_ : flushes_;
    }
    void note_lost(replay_connection& on, replay_answer const& answer);

    journals& books_;
    job job_;
    std::function<void(replay_report)> const over_;
    std::atomic<bool> stop_{false};
    journal_replay_core core_;
    replay_connection writes_{stop_};
    replay_connection flushes_{stop_};
    mutable std::mutex mutex_;
    replay_report report_;
    std::vector<routing::broken_session> broken_;
    std::thread thread_;
};

}  // namespace lull
