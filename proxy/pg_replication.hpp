// A replication session: after its login the client speaks with a walsender of the primary, and Lull only
// passes bytes, in both directions at once (manual, "Streaming Replication Protocol"). Each has a server
// connection of its own. Owned by its pg_client; its worker's thread.
//
// Nobody judges what it says, one of a database runs any SQL, and all can make slots: it is cut as soon as
// its site is not open.
#pragma once

#include "protocol/pg/message_edge.hpp"
#include "proxy/pg_outgoing.hpp"
#include "routing/snapshot.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lull {

class pg_client;
class pg_service;

struct replication_identity {
    routing::site_id site{};
    replication_kind kind = replication_kind::physical;
    std::string database;
    std::string user;
    std::string application_name;
    std::string packet;        // the startup packet for the server
    std::int32_t key_pid = 0;  // BackendKeyData towards the client
    std::string key_secret;
};

class pg_replication final : pg_outgoing::owner {
  public:
    pg_replication(pg_client& client, pg_service& service, replication_identity who,
                   server_credentials credentials);
    ~pg_replication();

    void start();
    bool takes_input() const { return server_.open() && !server_.congested(); }
    void send(std::span<std::byte const> from_client);
    /// The client has taken what it was sent.
    void client_drained() { server_.resume(); }
    /// `receipt` is let go of when the server has been told.
    void cancel(std::shared_ptr<void> receipt);
    /// The client is gone.
    void close();
    /// It may not go on: what the server has not got by now it does not get. False: the client has part of a
    /// message, so that nothing more can be said to it.
    bool cut();
    /// About once a second: whether connecting takes too long.
    void look_at_clock();

    replication_identity const& identity() const { return who_; }
    /// Whether it can change what belongs to the site: a physical one is of all databases of its server.
    bool concerns(routing::site const& site) const;
    /// 0: not yet.
    std::uint32_t server_pid() const { return static_cast<std::uint32_t>(server_.state().pid); }

  private:
    void on_open() override;
    void on_bytes(std::span<std::byte const> in) override;
    void on_sent() override;
    void on_end(std::string error) override;
    void note_broken();

    pg_client& client_;
    pg_service& service_;
    replication_identity const who_;
    pg_outgoing server_;
    pg::message_edge told_;  // of what the client was sent
    routing::instant since_;
    std::vector<std::shared_ptr<void>> receipts_;  // not empty: a cancel is under way
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lull
