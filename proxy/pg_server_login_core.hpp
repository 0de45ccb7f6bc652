// How Lull comes in at a server: from the startup packet to the first ReadyForQuery, sans-io. Owned by a
// pg_server until then; its worker's thread. The server is as little trusted as a client.
#pragma once

#include "protocol/pg/bytes.hpp"
#include "protocol/pg/scram.hpp"
#include "proxy/pg_login_core.hpp"
#include "proxy/pg_server_state.hpp"

#include <optional>
#include <string>

namespace lull {

/// prefer: where the server declines, in plain text. direct: without asking.
enum class server_tls_wish : std::uint8_t { none, prefer, require, direct };

/// default_transaction_read_only of the session: what the server says, or what we say.
enum class session_default : std::uint8_t { as_server, read_only, read_write };

class pg_server_login_core {
  public:
    enum class state : std::uint8_t {
        asking,  // for TLS
        tls,     // the handshake is to begin; on_tls() when it is done
        going,
        ready,
        failed,
    };

    /// read_only: belt to the braces of our own transactions.
    pg_server_login_core(std::string user, std::string database, session_default mode, server_credentials credentials,
                         std::string nonce, server_tls_wish tls = server_tls_wish::none);

    /// A whole packet in place of the usual startup packet: that of a replication session.
    void send_instead(std::string packet) { packet_ = std::move(packet); }
    /// In place of what was wished at first, for a connection that begins now.
    void wish(server_tls_wish tls) { tls_ = tls; }
    void start(std::string& out);
    /// `end_point`: tls-server-end-point of the server's certificate, empty where it has none.
    void on_tls(bool alpn, std::string end_point, std::string& out);
    /// Bytes consumed. Fills `server` from what it reports.
    std::size_t on_server(pg::bytes in, pg_server_state& server, setting_interner& settings,
                          std::string& out);

    state where() const { return state_; }
    /// For state::failed: a whole ErrorResponse, FATAL, fit for the client that waits.
    std::string const& error() const { return error_; }

  private:
    void begin(std::string& out);
    void on_answer(pg::bytes in, std::string& out);
    void authenticate(pg::bytes body, std::string& out);
    void fail(std::string_view sqlstate, std::string_view message, std::string_view hint = {});

    std::string user_;
    std::string database_;
    session_default const mode_;
    server_credentials credentials_;
    std::string nonce_;
    server_tls_wish tls_;
    std::string end_point_;
    std::string packet_;  // empty: the usual
    std::optional<pg::scram_client> scram_;
    setting_map reported_;
    state state_ = state::going;
    bool authenticated_ = false;
    std::string error_;
};

}  // namespace lull
