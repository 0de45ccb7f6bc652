// A connection of the journal's replay to a primary, as the role whose writes it runs: the wire protocol
// itself, because entries are kept as they came on it, and because a role's SCRAM keys are enough to log in.
// Blocking, with time-outs; used on the replay's thread only.
#pragma once

#include "config/model.hpp"
#include "proxy/journal_replay_core.hpp"
#include "proxy/pg_query.hpp"
#include "proxy/pg_server_login_core.hpp"
#include "proxy/tls_context.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/socket.h>

namespace lull {

struct replay_server {
    config::endpoint where;
    config::server_tls tls_settings;
    std::shared_ptr<tls_context const> tls;  // null: no TLS
};

class replay_connection {
  public:
    using instant = std::chrono::steady_clock::time_point;

    /// `stop` ends every wait.
    explicit replay_connection(std::atomic<bool> const& stop) : stop_(stop) {}
    ~replay_connection();
    replay_connection(replay_connection const&) = delete;
    replay_connection& operator=(replay_connection const&) = delete;

    replay_login connect(replay_server const& server, std::string const& user, std::string const& database,
                         server_credentials const& credentials, instant until);
    bool open() const { return fd_ >= 0; }
    void close();
    /// Of the server's process, of this connection or the last. 0: not known.
    std::uint32_t pid() const { return pid_; }
    replay_answer query(std::string_view sql, instant until);
    /// The entry's statement as it came.
    replay_answer run(journal_entry const& entry, instant until);

  private:
    replay_login log_in(replay_server const& server, std::string const& user, std::string const& database,
                        server_credentials const& credentials, instant until);
    std::string shake_hands(replay_server const& server, instant until);
    bool send(std::string_view bytes, instant until);
    bool send_raw(std::string_view bytes, instant until);
    bool receive(instant until);
    replay_answer finish(instant until);
    bool encrypt(replay_server const& server, instant until);
    void cancel();

    std::atomic<bool> const& stop_;
    int fd_ = -1;
    std::uint32_t pid_ = 0;
    std::optional<own_backend> own_;  // while it is open
    std::string secret_;     // of its BackendKeyData
    replay_server server_;
    sockaddr_storage peer_{};
    socklen_t peer_size_ = 0;
    std::unique_ptr<tls_filter> tls_;
    std::string in_;
};

}  // namespace lull
