// The server connections of one worker to one database of one server as one user. Owned by pg_service.
#pragma once

#include "proxy/client_sequences_core.hpp"
#include "proxy/pg_login_core.hpp"
#include "proxy/pool_core.hpp"
#include "proxy/ports.hpp"
#include "routing/snapshot.hpp"

#include <compare>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace lull {

class pg_client;
class pg_server;
class pg_service;

enum class pool_use : std::uint8_t { normal, guarded, migration };

struct pool_key {
    routing::backend_id backend{};
    routing::site_id site{};
    std::string database;
    std::string user;
    pool_use use = pool_use::normal;
    auto operator<=>(pool_key const&) const = default;
};

class pg_pool {
  public:
    pg_pool(pg_service& service, pool_key key);
    ~pg_pool();

    /// The server, or null: the client waits, and pg_client::granted or ::refused follows.
    pg_server* acquire(pg_client& client, server_credentials const& credentials);
    /// The one that has these values, if it is idle; null: it is not.
    pg_server* acquire(value_owner values_of);
    void cancel(pg_client& client);
    /// Back and clean.
    void release(pg_server& server);
    void opened(pg_server& server);
    /// One that was asked whether it is there has not answered well. (One that has is released.)
    void check_failed(pg_server& server, std::string_view why);
    /// Not for anybody any more. While the site is closed it stays all the same, for the end of a session drops what it
    /// has made that is temporary, and with it what is permanent and depends on it: until the site is open again.
    void discard(pg_server& server);
    /// One that stays until the site is open has done what it was asked to.
    void settled(pg_server& server);
    /// The server has refused the login: for a while none is begun with the same credentials.
    void turned_away(pg_server& server, std::string error);
    /// The connection is no more; `error`, if not empty, is why it never was.
    void lost(pg_server& server, std::string error);

    void set_snapshot();
    /// The configuration may have changed. What is more than it allows now goes: idle ones at once, others when they come back.
    void count_most();
    void close_idle_ones();
    /// Idle connections go now, others when they come back.
    void reconnect();
    /// Those at an address that its server's name has no more: idle ones go now, others when they come back.
    void leave_old_addresses();
    /// Others wait for the servers that clients keep.
    bool is_short() const;
    /// A server that acquire() would grant at once; null: there is none.
    pg_server* take_ready();
    void tick();
    pool_key const& key() const { return key_; }
    pg_service& service() { return service_; }
    std::uint64_t generation() const;
    std::size_t open() const { return core_.open(); }
    /// When one that is free last answered something.
    std::optional<routing::instant> last_heard(pg_server const& server) const;
    /// Servers where something of before the flip may be committing without a client, by what runs at a login or at the
    /// end of a session: not sealed before there are none. `slow` gets a line for each that takes long.
    std::size_t unsettled(std::vector<writer>& slow) const;
    void add_pids(std::vector<std::uint32_t>& to) const;
    server_credentials const& credentials() const { return credentials_; }
    void remember(pg::scram_keys const& keys);
    template <class Visit>
    void each_server(Visit&& visit) const {
        for (auto const& [server, owner] : servers_) visit(*server);
        for (auto const& [server, one] : parked_) visit(*server);
    }

  private:
    std::size_t most() const;
    bool has_too_many() const { return core_.allowance().exceeded(sizes_.most + sizes_.reserve); }
    std::string waited_too_long() const;
    void open_one();
    void check_free_ones();
    void give(pool_core::granted const& grant);
    void close_idle(pool_core::server name);
    void fail_waiting(std::string const& error);
    bool may_yet_serve() const;
    void end_rest();
    void tell_turned_away();
    bool unguarded(pg_server& server) const;
    void park(pg_server& server);
    void dismiss(std::unique_ptr<pg_server> server);
    void bury(std::unique_ptr<pg_server> dead);
    void end_leaving(pg_server& server);

    pg_service& service_;
    pool_key const key_;
    std::shared_ptr<pool_permits> permits_;
    /// Of the database, of the user; the migration has none.
    std::vector<std::shared_ptr<pool_permits>> shared_permits_;
    pool_core core_;
    server_credentials credentials_;  // of the last client that had to wait: with them the next connection logs in
    struct {
        server_credentials with;
        routing::instant until{};
    } refused_login_;      // while the core rests
    std::string failure_;  // why the last connection could not be made, while none has been since
    struct {
        std::size_t most = 1;
        std::size_t reserve = 0;
        config::milliseconds reserve_timeout{};
        config::milliseconds idle_timeout{std::chrono::minutes(10)};
        config::milliseconds lifetime{std::chrono::hours(1)};
        config::milliseconds query_wait{std::chrono::minutes(2)};
        config::milliseconds check_timeout{std::chrono::seconds(5)};
        config::milliseconds login_retry{std::chrono::seconds(1)};
    } sizes_;
    bool shrinking_ = false;  // it may have more than that
    std::unordered_map<pg_server*, std::unique_ptr<pg_server>> servers_;
    struct parked {
        std::unique_ptr<pg_server> server;
        routing::instant since;
        bool counted;  // as one that sealing waits for, until it has settled
    };
    std::unordered_map<pg_server*, parked> parked_;  // nobody's, until the site is open
    struct leaving {
        std::unique_ptr<pg_server> server;
        routing::instant since;
    };
    std::unordered_map<pg_server*, leaving> leaving_;  // the pool has closed them, the server is not through with them
};

}  // namespace lull
