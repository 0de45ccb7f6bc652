// A connection of the journal's replay to a primary, as the role whose writes it runs: the wire protocol
// itself, because entries are kept as they came on it, and because a role's SCRAM keys are enough to log in.
// Blocking, with time-outs; used on the replay's thread only.
#pragma once

#include "config/model.hpp"
#include "proxy/journal_entry.hpp"
#include "proxy/pg_server_login_core.hpp"
#include "proxy/tls_context.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace lull {

struct replay_server {
    config::endpoint where;
    config::server_tls tls_settings;
    std::shared_ptr<tls_context const> tls;  // null: no TLS
};

class replay_connection {
  public:
    using instant = std::chrono::steady_clock::time_point;

    struct answer {
        bool lost = false;     // the connection is unusable, and nobody knows what the server still did
        std::string sqlstate;  // of the first error; empty: none
        std::string message;
        std::string tag;                   // of the last CommandComplete
        std::optional<std::string> value;  // first column of the first row
        bool ok() const { return !lost && sqlstate.empty(); }
    };

    /// `stop` ends every wait.
    explicit replay_connection(std::atomic<bool> const& stop) : stop_(stop) {}
    ~replay_connection();
    replay_connection(replay_connection const&) = delete;
    replay_connection& operator=(replay_connection const&) = delete;

    /// Empty, or why not.
    std::string connect(replay_server const& server, std::string const& user, std::string const& database,
                        server_credentials const& credentials, instant until);
    bool open() const { return fd_ >= 0; }
    void close();
    answer query(std::string_view sql, instant until);
    /// The entry's statement as it came.
    answer run(journal_entry const& entry, instant until);

  private:
    std::string log_in(replay_server const& server, std::string const& user, std::string const& database,
                       server_credentials const& credentials, instant until);
    std::string shake_hands(replay_server const& server, instant until);
    bool send(std::string_view bytes, instant until);
    bool send_raw(std::string_view bytes, instant until);
    bool receive(instant until);
    answer finish(instant until);

    std::atomic<bool> const& stop_;
    int fd_ = -1;
    std::unique_ptr<tls_filter> tls_;
    std::string in_;
};

}  // namespace lull
