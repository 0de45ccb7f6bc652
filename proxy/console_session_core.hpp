// One operator's session with the console, sans-io: the simple query protocol, one command at a time.
// Commands that the console understands come out as questions; what answers them is elsewhere. Owned by a
// pg_client; its worker's thread.
#pragma once

#include "config/model.hpp"
#include "protocol/pg/bytes.hpp"
#include "protocol/pg/frame.hpp"
#include "proxy/console_command_core.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lull {

enum class console_right : std::uint8_t { show, all };

/// What this user may do on the console; nothing: it is not open to it.
std::optional<console_right> console_right_of(config::console const& settings, std::string const& user);

class console_session_core {
  public:
    explicit console_session_core(console_right right) : right_(right) {}

    /// What PostgreSQL says after AuthenticationOk, up to ReadyForQuery.
    void start(std::int32_t key_pid, std::string_view key_secret, std::string& out);
    /// How many bytes were consumed; what is to be sent is appended to `out`. Nothing is taken while waits().
    std::size_t on_client(pg::bytes in, std::string& out);
    /// The question that on_client() has come to, once: answers follow.
    std::optional<console_command> take_question();
    /// Whole messages; behind the last ones comes ReadyForQuery.
    void on_answer(std::string_view messages, bool last, std::string& out);

    bool waits() const { return waits_; }
    bool closing() const { return closing_; }

  private:
    void take(char type, pg::bytes body, std::string& out);
    void query(pg::bytes body, std::string& out);
    void fatal(std::string_view message, std::string& out);

    console_right const right_;
    std::optional<console_command> question_;
    bool waits_ = false;
    bool discarding_ = false;  // to the next Sync
    bool closing_ = false;
};

}  // namespace lull
