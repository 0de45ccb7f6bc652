// The PostgreSQL half of one worker: its clients, its pools, and what they share. Created, used and destroyed
// on the worker's thread.
#pragma once

#include "proxy/busy_list.hpp"
#include "proxy/client_counts.hpp"
#include "proxy/login_guard.hpp"
#include "proxy/mailbox.hpp"
#include "proxy/outbox.hpp"
#include "proxy/own_addresses.hpp"
#include "proxy/pg_login_core.hpp"
#include "proxy/pg_session_core.hpp"
#include "proxy/ports.hpp"
#include "proxy/random_pool.hpp"
#include "proxy/resolver.hpp"
#include "proxy/survey.hpp"
#include "proxy/tls_filter.hpp"

#include <array>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>
#include <vector>

namespace lull {

class edge_socket;
class pg_client;
class pg_pool;
class pg_server;
struct pool_key;

/// What all workers share. Outlives them.
struct shared_limits {
    std::atomic<std::size_t> clients{0};  // but for those at the console
    std::atomic<std::size_t> consoles{0};
    client_counts counts;
    hold_ledger holds;
    shared_login_guard failed_logins;
};

class pg_service final : private login_guard, private channel_port {
  public:
    pg_service(boost::asio::io_context& io, mailbox& mail, worker_id id,
               std::shared_ptr<routing::snapshot const> initial, control_port& control,
               shared_limits& shared);
    ~pg_service();

    void accept(int fd, std::string peer, bool migration);
    void set_snapshot(std::shared_ptr<routing::snapshot const> next);
    void tick(routing::instant now);
    void end_writers(routing::site_id site, end_writers_how how);
    void secret_found(std::uint64_t request, std::optional<std::string> secret, std::string error);
    void console_answered(std::uint64_t request, std::string const& messages, bool last);
    // pg_service_channels.cpp
    void channel_answered(channel_answer const& answer);
    void notified(std::string const& database, std::vector<notification> const& what);
    void channels_lost(std::string const& database);
    /// Empty: every database. Servers of a paused one go as they become free, and nobody gets one.
    void pause(std::string const& database);
    void resume(std::string const& database);
    /// All but those that are paused by their names.
    void resume_rest();
    /// Its server connections are not used again once they are free.
    void reconnect(std::string const& database);
    void kill(std::string const& database);
    bool paused(std::string const& database) const {
        return paused_all_ || (!paused_.empty() && paused_.contains(database));
    }
    /// A CancelRequest for a key of this worker.
    void cancel(std::int32_t pid, std::string const& secret, std::shared_ptr<void> receipt);
    /// `then` runs on this worker's thread when nobody has the receipt any more, whoever had it last.
    std::shared_ptr<void> receipt(std::function<void()> then);
    void add_load(std::vector<site_load>& sites);
    void take_survey(survey_wish const& wish, worker_survey& out) const;
    /// graceful: sessions end when they are idle.
    void close_all(bool graceful);
    /// Those that are left, for the log; empty: none.
    std::string sessions() const;
    bool empty() const { return clients_.empty(); }
    /// Nothing is due before an event comes, so that ticks may be rare. on_busy says when that is over.
    bool quiet() const { return busy_.empty() && waiting_ == 0 && !shared_.holds.any(); }
    std::size_t clients() const { return clients_.size(); }
    /// Called when the last writer of a site has ended while it drains.
    std::function<void()> on_drained;
    std::function<void()> on_busy;
    /// A client is gone: clients() is less.
    std::function<void()> on_removed;
    /// Clients wait for servers of which quiet workers may have some to spare.
    std::function<void()> on_starving;

    // For pg_client, pg_server and pg_pool.
    boost::asio::io_context& io() { return io_; }
    session_context& context() { return context_; }
    routing::snapshot const& snapshot() const { return *context_.snapshot; }
    void touch_clock() { context_.now = std::chrono::steady_clock::now(); }
    /// The step of a new event; ends what the last one left in the gathers.
    session_step step() {
        to_client_.clear();
        to_server_.clear();
        return {to_client_, to_server_};
    }
    std::span<std::byte> block() { return block_; }
    /// For TLS: what a block becomes, and what is to be sent of it. Each is of one event.
    std::span<std::byte> plain() {
        plain_.resize(most_plaintext(block_.size()));
        return plain_;
    }
    gather& sealed() {
        sealed_.clear();
        return sealed_;
    }
    std::shared_ptr<tls_keyring const> tls() const { return control_.tls(); }
    // pg_service_tls.cpp: what connections to clients and servers do alike
    /// The client's side of TLS to this server; null: there is none for its cluster.
    std::unique_ptr<tls_filter> tls_to(routing::backend_id server) const;
    /// What was said in `fresh`, in plain(); what has to be answered is sent.
    std::span<std::byte const> open_sealed(tls_filter& tls, std::span<std::byte const> fresh, outbox& out, edge_socket& socket);
    outbox::result send_sealed(tls_filter& tls, gather& bytes, outbox& out, int fd);
    pg_pool& pool(pool_key const& key);
    client_counts& counts() { return shared_.counts; }
    host_resolver& resolver() { return resolver_; }
    control_port& control() { return control_; }
    verifier_cache& verifiers() { return verifiers_; }
    startup_book& startups() { return startups_; }
    login_entropy new_login();
    login_guard& guard() { return *this; }
    std::span<config::ip_network const> own_networks() { return own_addresses_.at(context_.now); }
    std::string random(std::size_t bytes);
    /// Keys for cancel requests: unique while the session lives; tells the worker.
    std::int32_t enlist(pg_client& client);
    /// The same object for all clients that log in to servers in the same way.
    std::shared_ptr<server_credentials const> share(routing::site_id site, std::string const& user, server_credentials credentials);
    std::uint64_t ask_console(pg_client& client, console_command question, std::string user);
    void cancel_console(std::uint64_t request);
    /// One of the clients is an operator, who takes nobody's place.
    void console_begun();
    std::uint64_t ask_secret(pg_client& client, std::string cluster, std::string user);
    void doubt_secret(std::string cluster, std::string user);
    /// Has the entry written to its site's journal; `then` is called on this thread.
    void keep(routing::site_id site, journal_entry entry, server_credentials const& credentials,
              std::function<void(journal_outcome)> then);
    void session_begun(routing::site_id site) { ++loads_[static_cast<std::size_t>(site)].clients; }
    void writer_changed(routing::site_id site, bool writes);
    /// Something is under way for it, or may be: it is looked at each second until it is quiet.
    void note_busy(pg_client& client);
    /// The connection is lost, and the server may go on with what it was told: sealing has to know before it
    /// hears that the writer is gone.
    void note_broken(pg_server& server);
    void note_broken(routing::site_id site, std::uint32_t pid, std::string const& user,
                     std::string const& database);
    /// Deletes it once the stack has unwound: at the end of the turn, or by itself where there is none.
    void remove(pg_client& client);
    /// What stands at the bottom of the stack while a socket's event is handled.
    class turn {
      public:
        explicit turn(pg_service& service) : service_(service) { service_.in_turn_ = true; }
        ~turn() {
            service_.in_turn_ = false;
            service_.free_removed();
        }
        turn(turn const&) = delete;
        turn& operator=(turn const&) = delete;

      private:
        pg_service& service_;
    };
    /// No reads from this replica for a moment: it just failed.
    void avoid(routing::backend_id backend);
    bool may_wait() const { return waiting_ < limits().max_waiting_clients; }
    void waiting(int change) { waiting_ += static_cast<std::size_t>(change); }
    config::limits const& limits() const { return context_.snapshot->config->limits; }
    bool stopping() const { return stopping_; }
    /// For the log, which names no more than a few each second.
    void login_refused(std::string const& user, std::string const& database, std::string const& peer, std::string const& why);

    /// Which worker a cancel key is of.
    static std::uint16_t worker_of(std::int32_t key_pid) {
        return static_cast<std::uint16_t>(key_pid >> worker_shift & 255);
    }
    /// Whether the key is of a peer process; the request has been handed on to that then.
    bool pass_on(std::int32_t key_pid, std::string const& secret, std::shared_ptr<void> const& receipt);
    /// Hands a cancel request to the worker that the key names.
    std::function<void(std::int32_t pid, std::string secret, std::shared_ptr<void> receipt)> route_cancel;

  private:
    static constexpr int worker_shift = 18;
    static constexpr int peer_shift = 26;
    static_assert(config::most_peer_id == (1 << (31 - peer_shift)) - 1);
    void release_held();
    /// One by one: the end of one may remove another.
    void free_removed() {
        while (!removed_.empty()) {
            std::shared_ptr<pg_client> const last = std::move(removed_.back());
            removed_.pop_back();
        }
    }

    void salt_logins(std::string const& state_dir);
    login_limits guard_limits() const {
        auto const& l = limits();
        return {l.max_failed_logins, l.failed_login_window, l.max_failed_login_entries};
    }
    bool blocked(std::string_view address, std::string_view user) override {
        return shared_.failed_logins.blocked(address, user, guard_limits());
    }
    void failed(std::string_view address, std::string_view user) override {
        shared_.failed_logins.failed(address, user, guard_limits());
        ++context_.stats.failed_passwords;
    }
    bool reserve(std::string_view address, std::string_view user) override {
        return shared_.failed_logins.reserve(address, user, guard_limits());
    }
    void settle(std::string_view address, std::string_view user, login_outcome outcome) override {
        shared_.failed_logins.settle(address, user, outcome, guard_limits());
        if (outcome == login_outcome::failed) ++context_.stats.failed_passwords;
    }

    void look_at_busy();
    void look_at_names();
    void server_moved(config::endpoint const& where);
    void forget_busy(pg_client& client);
    void watch_statements();
    void report_statements();
    server_row listener_row(std::string const& database, listener_facts const& listener) const;
    void listen(std::string const& database, std::string const& channel, std::uint64_t ticket) override;
    void unlisten(std::string const& database, std::string const& channel) override;

    boost::asio::io_context& io_;
    worker_id const id_;
    control_port& control_;
    shared_limits& shared_;
    /// How the journals' thread reaches this worker, which may have ended by then.
    struct door {
        std::mutex mutex;
        mailbox* mail;
    };
    std::shared_ptr<door> const door_;
    host_resolver resolver_;
    routing::sql_classifier classifier_;
    prepared_store statements_;
    setting_interner settings_;
    startup_book startups_{settings_};
    greeting_book greetings_;
    verifier_cache verifiers_;
    channel_book channels_{*this};
    std::map<std::string, listener_facts> listeners_;  // by database
    session_context context_;
    gather to_client_;
    gather to_server_;
    std::vector<std::byte> block_;
    std::vector<std::byte> plain_;  // empty until the first TLS connection
    gather sealed_;
    random_pool random_;
    login_entropy entropy_;
    own_addresses own_addresses_;
    std::unordered_map<pg_client*, std::shared_ptr<pg_client>> clients_;
    std::vector<std::shared_ptr<pg_client>> removed_;  // and not freed yet
    bool in_turn_ = false;
    struct known_login {
        std::shared_ptr<server_credentials const> with;
        routing::site_id told{};  // the control thread has been told of it for this one
        routing::instant told_at{};
    };
    std::unordered_map<std::string, known_login> logins_;  // by user
    std::unordered_map<std::int32_t, pg_client*> by_key_;
    std::unordered_map<std::uint64_t, pg_client*> asked_;
    std::map<pool_key, std::unique_ptr<pg_pool>> pools_;
    std::vector<std::size_t> writers_;
    std::vector<std::pair<routing::site_id, routing::broken_session>> broken_;  // not reported yet
    struct load {
        std::size_t clients = 0;
        write_fates fates;  // but for those of busy sessions since they were last asked
    };
    std::vector<load> loads_;  // by site
    std::uint64_t next_request_ = 1;
    std::int32_t next_key_ = 0;
    std::size_t waiting_ = 0;
    busy_list<pg_client> busy_;  // all others are quiet
    std::uint32_t rounds_ = 0;   // through all of them
    routing::instant looked_at_names_{};
    routing::instant budgeted_{};  // when the log of statements last got its budget of a second
    bool stopping_ = false;
    std::int32_t peer_id_ = 0;
    routing::instant refusals_since_{};
    std::size_t refusals_ = 0;  // of logins, since then
    bool idle_sessions_end_ = false;  // for some of them there is a time-out
    bool paused_all_ = false;
    std::set<std::string> paused_;
};

}  // namespace lull
