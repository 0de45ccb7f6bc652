// A client's connection: socket, login, session. Owned by pg_service; its worker's thread.
#pragma once

#include "proxy/client_counts.hpp"
#include "proxy/console_session_core.hpp"
#include "proxy/edge_socket.hpp"
#include "proxy/outbox.hpp"
#include "proxy/pg_login_core.hpp"
#include "proxy/pg_session_core.hpp"
#include "proxy/pool_core.hpp"
#include "proxy/ports.hpp"
#include "proxy/survey.hpp"

#include <memory>
#include <optional>
#include <string>

namespace lull {

class pg_pool;
class tls_filter;
class pg_server;
class pg_service;

class pg_client final : public socket_events {
  public:
    pg_client(pg_service& service, int fd, std::string peer, bool migration);
    ~pg_client();

    void start();
    /// Says why and closes: too many clients.
    void refuse(std::string_view sqlstate, std::string_view message);

    // From pools and servers.
    void granted(pg_server& server);
    void refused(std::string error);
    /// The server it waited for will not come: choose again.
    void choose_again();
    std::size_t on_server_bytes(std::span<std::byte const> in);
    /// After what the server sent has been stored: what follows from it.
    void after_server_bytes();
    void server_lost(std::string_view why);
    /// The server takes bytes again.
    void server_drained();
    bool congested() const { return !out_.empty(); }

    // From the service.
    void secret_found(std::optional<std::string> secret, std::string const& error);
    void console_answered(std::string_view messages, bool last);
    /// Ends its session: what runs is cancelled first.
    void kill();
    void snapshot_changed();
    /// While a write of it is held.
    void tick();
    /// Its held write may run now.
    void release_held();
    /// About once a second.
    void look_at_clock();
    void look_for_end();
    void cancel();
    void end_writing(end_writers_how how);
    void stop(bool graceful);

    pg_session_core const* session() const { return session_ ? &*session_ : nullptr; }
    std::string const& secret() const { return key_secret_; }
    std::int32_t key() const { return key_pid_; }
    writer describe() const;
    /// Of one that has a session.
    client_row row() const;

    void on_readable() override;
    void on_writable() override;

  private:
    template <class Event>
    void event(Event&& what);
    void send(session_step& step);
    void follow(session_step& step);
    void feed(std::span<std::byte const> fresh);
    void pump();
    void read();
    bool wants_input() const;
    bool waits_for_its_turn() const;
    bool has_hung_up() const;
    void resume_reading();
    void prepare_login();
    bool take_proxy_header();
    void log_in();
    void begin_session();
    void start_session();
    void begin_console();
    void console_input();
    void give_up_console();
    void gone();
    void close();
    void finish();
    pg_pool& pool_of(server_wish const& wish);
    void acquire(server_wish const& wish);
    void drop_wish();
    void note_writer();
    void keep(journal_entry entry);
    void flush_text(std::string& text);
    outbox::result put(gather& bytes);
    // pg_client_tls.cpp
    void begin_tls();
    bool decrypt(std::span<std::byte const>& fresh);
    void say_goodbye();

    pg_service& service_;
    std::optional<edge_socket> socket_;
    std::unique_ptr<tls_filter> tls_;  // null: plain text
    std::string peer_;
    bool awaits_proxy_header_ = false;
    bool const migration_;
    std::optional<pg_login_core> login_;
    std::optional<pg_session_core> session_;
    std::optional<console_session_core> console_;
    std::string console_user_;
    std::uint64_t console_request_ = 0;  // under way; 0: none
    server_credentials credentials_;
    pg_server* server_ = nullptr;
    pg_pool* waiting_in_ = nullptr;
    pg_pool* pool_ = nullptr;  // the one last asked, for pool_wish_; pools live as long as their service
    server_wish pool_wish_;
    std::string in_;  // read and not consumed
    outbox out_;
    std::int32_t key_pid_ = 0;
    std::string key_secret_;
    std::optional<client_origin> counted_;  // among the clients of its user, database and address
    routing::instant since_;
    routing::wall_time since_wall_;
    bool armed_ = false;     // waiting for readability
    bool readable_ = false;  // an edge came while nobody wanted to read
    bool pumping_ = false;
    bool pump_again_ = false;
    bool closing_ = false;  // when what waits has been sent
    bool finished_ = false;
    bool tls_told_ = false;  // the login knows that the handshake is over
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for what was posted to the loop
    bool stop_when_idle_ = false;
    bool was_writer_ = false;
    std::optional<routing::site_id> site_;
    struct pending_follow {
        bool release = false, discard = false, cancel_server = false, close_client = false,
             retry_input = false;
        std::optional<server_wish> want;
        std::optional<journal_entry> journal;
    } pending_;
};

}  // namespace lull
