// A connection to a server that belongs to no pool but to one client: a replication session's. It connects,
// speaks TLS as the cluster wants it, logs in, and then passes bytes. Owned by whom it tells; its worker's
// thread.
#pragma once

#include "proxy/edge_socket.hpp"
#include "proxy/outbox.hpp"
#include "proxy/pg_server_login_core.hpp"
#include "proxy/resolver.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lull {

class pg_service;
class tls_filter;

class pg_outgoing final : public socket_events {
  public:
    /// Whom it tells. Each is the last thing that an event of the connection does; it may be closed
    /// meanwhile.
    class owner {
      public:
        /// Logged in; what the server has told of itself stands in state().
        virtual void on_open() = 0;
        /// Valid until this returns. Not before on_open().
        virtual void on_bytes(std::span<std::byte const> in) = 0;
        /// The server has taken what send() had left.
        virtual void on_sent() = 0;
        /// It is over. Not open yet: `error` is a whole ErrorResponse that says why; else it is empty.
        virtual void on_end(std::string error) = 0;

      protected:
        ~owner() = default;
    };

    /// `packet` is what it begins with, where a startup packet stands as a rule; what the server wants then
    /// of `user` it is told from `credentials`.
    pg_outgoing(pg_service& service, routing::backend_id server, std::string user,
                server_credentials credentials, std::string packet, owner& told);
    ~pg_outgoing();

    /// Each address is tried in turn.
    void connect(std::vector<socket_address> addresses);
    void send(gather& bytes);
    /// The server does not take what it is sent: nothing more should come until on_sent().
    bool congested() const { return !out_.empty(); }
    /// Whoever is told does not take what comes.
    void pause() { paused_ = true; }
    void resume();
    /// What the kernel still holds for the server is not sent any more once it is closed.
    void drop_unsent();
    void close();
    bool open() const { return open_ && !closed_; }
    bool closed() const { return closed_; }
    /// The server has been asked for a session and has said neither yes nor no; closed or not, it may be running what it
    /// runs at a login.
    bool logging_in() const {
        return asked_ && !open_ && login_.where() != pg_server_login_core::state::failed;
    }
    /// Where it went: of the address that took it.
    socket_address const& address() const { return addresses_[next_address_ - 1]; }
    /// ... and how.
    server_tls_wish tls_wish() const;
    pg_server_state& state() { return state_; }
    pg_server_state const& state() const { return state_; }

    void on_readable() override;
    void on_writable() override;

  private:
    void connect_next();
    bool connect_in_plain(std::string_view why);
    void fail(std::string const& why, std::string_view hint = {});
    void end(std::string error);
    void start_login();
    void begin_tls();
    bool decrypt(std::span<std::byte const>& fresh);
    outbox::result put(gather& bytes);
    void read();
    void take(std::span<std::byte const> fresh);
    void read_later();

    pg_service& service_;
    owner& owner_;
    pg_server_state state_;
    pg_server_login_core login_;
    std::vector<socket_address> addresses_;
    std::size_t next_address_ = 0;
    std::optional<std::size_t> plain_address_;  // the next_address_ where TLS, only preferred, has failed; it is tried at others
    std::optional<edge_socket> socket_;
    std::unique_ptr<tls_filter> tls_;  // null: plain text
    std::string in_;                   // of the login: read and not yet understood
    outbox out_;
    bool connecting_ = false;
    bool asked_ = false;
    bool open_ = false;
    bool closed_ = false;
    bool paused_ = false;
    bool reading_ = false;  // waiting for readability
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lull
