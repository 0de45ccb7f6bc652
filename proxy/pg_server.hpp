// A connection to a PostgreSQL server: socket, login, and the state that sessions see. Owned by its pool.
#pragma once

#include "proxy/bulk_reading.hpp"
#include "proxy/edge_socket.hpp"
#include "proxy/outbox.hpp"
#include "proxy/pg_pool.hpp"
#include "proxy/pg_server_login_core.hpp"
#include "proxy/resolver.hpp"
#include "proxy/survey.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lull {

class tls_filter;

class pg_server final : public socket_events {
  public:
    explicit pg_server(pg_pool& pool);
    ~pg_server();

    void connect();
    pg_server_state& state() { return state_; }
    pg_pool& pool() { return pool_; }

    void link(pg_client& client) { client_ = &client; }
    void unlink() {
        client_ = nullptr;
        state_.cancelling = cancelling_;  // what was asked for within the event that ends this is not sent
    }
    pg_client* client() const { return client_; }
    /// Unique in the process while it lives.
    std::uint64_t id() const { return reinterpret_cast<std::uintptr_t>(this); }
    server_row row() const;

    /// Sends what the gather holds; what the socket does not take now goes out later, and reading from the
    /// client stops until then.
    void send(gather& bytes);
    bool congested() const { return !out_.empty(); }
    /// The client has taken what was sent to it.
    void resume_reading();
    void pause_reading() { paused_ = true; }
    bool paused() const { return paused_; }

    /// Tells the server to cancel what runs; the connection is not used for anybody else until that is over.
    void cancel();
    bool cancelling() const { return cancelling_; }
    /// Lets go of `receipt` when no cancel is under way (any more).
    void hold_until_canceled(std::shared_ptr<void> receipt);
    /// What the kernel still holds for it is not sent any more once it is closed.
    void drop_unsent();
    /// Says goodbye and waits for the server's end, which is pool.lost(): what its session still does there, such as
    /// dropping what is temporary, is over then. False: there is nobody to wait for.
    bool leave();
    /// Nobody's from now, and it is not to end: what would end it is turned off, and the advisory locks that its session holds
    /// are given up. pool.settled() follows.
    void keep();
    /// Out of its pool; to be deleted when the stack has unwound.
    void retire() {
        stage_ = stage::closed;
        bulk_.reset();
        socket_.reset();
    }
    /// Nobody's. Asks whether it is there; pool.release() or .check_failed() follows, where the pool does not give it up before.
    void check(std::string_view sql);
    /// Not for another client after the one that has it.
    void outdate() { outdated_ = true; }
    bool outdated() const { return outdated_; }
    bool opening() const { return stage_ < stage::ready; }
    /// The server may be running what it runs at a login, and has not told its pid yet.
    bool logging_in() const { return stage_ == stage::login; }
    /// It was begun while clients could write.
    bool begun_open() const { return begun_open_; }
    routing::instant opened_at() const { return since_; }
    /// Where it goes, of the addresses of its server's name; null: not known yet.
    socket_address const* address() const {
        return next_address_ == 0 ? nullptr : &addresses_[next_address_ - 1];
    }

    void on_readable() override;
    void on_writable() override;

  private:
    enum class stage : std::uint8_t { resolving, connecting, login, ready, leaving, closed };
    void connect_next();
    void fail(std::string const& why, std::string_view sqlstate, std::string_view hint = {});
    void read();
    void note_read(std::size_t bytes);
    void take(std::span<std::byte const> fresh);
    std::size_t on_bytes(std::span<std::byte const> in);
    std::size_t on_idle_bytes(std::span<std::byte const> in);
    void on_answer_to_check(char type);
    void ask_to_stay();
    void on_answer_to_stay(char type);
    void lose(std::string_view why);
    void end_cancel();
    void start_login();
    // pg_server_tls.cpp
    void begin_tls();
    bool decrypt(std::span<std::byte const>& fresh);
    server_tls_wish tls_wish() const;
    bool connect_in_plain(std::string_view why);
    outbox::result put(gather& bytes);

    pg_pool& pool_;
    pg_service& service_;
    pg_server_state state_;
    stage stage_ = stage::resolving;
    std::vector<socket_address> addresses_;
    std::size_t next_address_ = 0;
    std::optional<edge_socket> socket_;
    std::unique_ptr<tls_filter> tls_;  // null: plain text
    std::optional<std::size_t> plain_address_;  // the next_address_ where TLS, only preferred, has failed; it is tried at others
    std::optional<pg_server_login_core> login_;
    pg_client* client_ = nullptr;
    std::string in_;  // what was read and not yet understood
    outbox out_;
    bulk_watch bulk_watch_;
    std::unique_ptr<bulk_reading> bulk_;  // null: it has never sent much
    bool paused_ = false;
    bool reading_ = false;
    bool outdated_ = false;
    bool kept_ = false;
    bool checking_ = false;
    int asks_to_stay_ = 0;      // how often it has been asked
    bool stay_pending_ = false;  // that is not answered yet ...
    bool stay_failed_ = false;   // ... but with an error
    bool const begun_open_;
    bool cancelling_ = false;
    std::vector<std::shared_ptr<void>> receipts_;  // of those who have asked for it
    routing::instant since_;
    std::shared_ptr<bool> alive_;
};

}  // namespace lull
