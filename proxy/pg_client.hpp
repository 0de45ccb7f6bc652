// A client's connection: socket, login, session. Owned by pg_service; its worker's thread.
#pragma once

#include "proxy/busy_list.hpp"
#include "proxy/client_counts.hpp"
#include "proxy/console_session_core.hpp"
#include "proxy/edge_socket.hpp"
#include "proxy/outbox.hpp"
#include "proxy/pg_login_core.hpp"
#include "proxy/pg_replication.hpp"
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

class pg_client final : public socket_events, public std::enable_shared_from_this<pg_client>, private server_lender {
  public:
    pg_client(pg_service& service, int fd, std::string peer, bool migration);
    ~pg_client();

    void start();
    /// The same, for one too many: told so in answer to its StartupMessage, as PostgreSQL does; it may still ask for
    /// encryption first, for a cancel, or for the console.
    void start_crowded(turned_away_by why);
    /// Says why, behind what has to be said first, and closes: too many clients.
    void refuse(std::string_view sqlstate, std::string_view message, std::string_view hint = {},
                std::string before = {});

    // From pools and servers.
    void granted(pg_server& server);
    void refused(std::string error);
    /// The server it waited for will not come: choose again.
    void choose_again();
    std::size_t on_server_bytes(std::span<std::byte const> in);
    /// After what the server sent has been stored: what follows from it.
    void after_server_bytes();
    void server_lost(std::string_view why);
    /// No cancel is on its way to the server any more.
    void cancel_ended();
    /// The server takes bytes again.
    void server_drained();
    bool congested() const { return !out_.empty(); }
    // From a replication session: bytes of its server, as they are. True: the client does not take more for
    // now.
    bool pass(gather& bytes);
    /// `error` is a whole message, or empty.
    void replication_ended(std::string error);

    // From the service.
    void secret_found(std::optional<std::string> secret, std::string const& error);
    void console_answered(std::string_view messages, bool last);
    void channel_answered(std::string const& channel, channel_outcome outcome);
    /// Queued; tell_notifications() follows.
    void notified(notification const& what);
    void channels_lost();
    /// What waits for it, where it may be told now.
    void tell_notifications();
    /// Ends its session: what runs is cancelled first.
    void kill();
    void snapshot_changed();
    /// While a write of it is held.
    void tick();
    /// Its held write may run now.
    void release_held();
    /// About once a second while busy().
    void look_at_clock();
    void look_for_end();
    /// Nothing is under way: only an event can change that, or the idle-session time-out.
    bool quiet() const;
    /// Where pg_service has it among the busy ones.
    std::uint32_t busy_slot = not_busy;
    /// `receipt` is let go of when the server has been told, or there is nothing to tell.
    void cancel(std::shared_ptr<void> receipt);
    void end_writing(end_writers_how how);
    void stop(bool graceful);

    pg_session_core const* session() const { return session_ ? &*session_ : nullptr; }
    pg_session_core* session() { return session_ ? &*session_ : nullptr; }
    pg_replication const* replication() const { return replication_.get(); }
    bool at_console() const { return console_ != nullptr; }
    /// Of the session, of either kind; null: not logged in.
    routing::site_id const* site() const;
    std::string_view secret() const;
    std::int32_t key() const { return key_pid_; }
    writer describe() const;
    /// Of one that has a session, also one of replication.
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
    bool may_still_read() const;
    void hear_no_more();
    bool reads_on();
    void resume_reading();
    void prepare_login();
    bool take_proxy_header();
    void log_in();
    void follow_login(std::string out);
    void end_login();
    bool count_in(session_identity const& who, std::string_view before);
    void begin_session(std::string before);
    void start_session(std::string_view before);
    // pg_client_replication.cpp
    void begin_replication();
    void end_replication();
    void look_at_site();
    void to_replication(std::span<std::byte const> fresh);
    void begin_console();
    void console_input();
    void give_up_console();
    void gone();
    void close();
    void finish();
    pg_pool& pool_of(server_wish const& wish);
    void acquire(server_wish const& wish);
    pg_server_state* lend(server_wish const& wish) override;
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
    // What most clients have only for a moment, or never, takes no memory of the others.
    std::unique_ptr<pg_login_core> login_;
    std::optional<pg_session_core> session_;
    struct console {
        console_session_core core;
        std::string user;
        std::string key_secret;
        std::uint64_t request = 0;  // under way; 0: none
    };
    std::unique_ptr<console> console_;
    std::unique_ptr<pg_replication> replication_;
    std::shared_ptr<server_credentials const> credentials_;  // of a session
    pg_server* server_ = nullptr;
    pg_pool* waiting_in_ = nullptr;
    pg_pool* pool_ = nullptr;  // the one last asked, for pool_wish_; pools live as long as their service
    server_wish pool_wish_;
    std::string in_;  // read and not consumed
    outbox out_;
    routing::instant since_;
    routing::instant closing_since_{};  // or since it last read, as looked at by the clock
    client_counts::place counted_;  // among the clients of its user, database and address
    std::int32_t key_pid_ = 0;
    // Side by side: there are many clients.
    bool const migration_;
    bool awaits_proxy_header_ = false;
    bool armed_ = false;     // waiting for readability
    bool readable_ = false;  // an edge came while nobody wanted to read
    bool pumping_ = false;
    bool pump_again_ = false;
    bool closing_ = false;  // when what waits has been sent
    bool finished_ = false;
    bool tls_told_ = false;  // the login knows that the handshake is over
    bool stop_when_idle_ = false;
    bool was_writer_ = false;
    std::optional<routing::site_id> site_;
    std::uint32_t untaken_ = 0;  // bytes of what it was sent, as looked at by the clock
    struct pending_follow {
        bool release = false, discard = false, cancel_server = false, close_client = false,
             retry_input = false;
        std::optional<server_wish> want;
        std::unique_ptr<journal_entry> journal;
    } pending_;
};

}  // namespace lull
