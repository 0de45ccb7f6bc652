#include "proxy/pg_replication.hpp"

#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_cancel.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_service.hpp"

namespace lull {

namespace {

std::string not_connected(std::string_view why) {
    std::string error;
    pg::write_error_response(error, {.severity = "FATAL",
                                     .sqlstate = pg::sqlstate::sqlclient_unable_to_establish_sqlconnection,
                                     .message = why});
    return error;
}

}  // namespace

pg_replication::pg_replication(pg_client& client, pg_service& service, replication_identity who,
                               server_credentials credentials)
    : client_(client),
      service_(service),
      who_(std::move(who)),
      server_(service, service.snapshot().of(who_.site).primary, who_.user, std::move(credentials),
              who_.packet, *this),
      since_(service_.context().now) {}

pg_replication::~pg_replication() = default;

void pg_replication::start() {
    routing::snapshot const& s = service_.snapshot();
    service_.resolver().resolve(
        s.of(s.of(who_.site).primary).address, [this, alive = std::weak_ptr<bool>(alive_)](
                                                   std::vector<socket_address> addresses, std::string error) {
            if (!alive.lock() || server_.closed()) return;
            if (addresses.empty())
                return client_.replication_ended(not_connected("could not translate host name: " + error));
            server_.connect(std::move(addresses));
        });
}

void pg_replication::send(std::span<std::byte const> from_client) {
    gather& out = service_.step().server;
    out.view(from_client);
    server_.send(out);
}

void pg_replication::cancel(std::shared_ptr<void> receipt) {
    if (!server_.open()) return;
    receipts_.push_back(std::move(receipt));
    if (receipts_.size() > 1) return;  // one that is under way serves them all
    pg_server_state const& server = server_.state();
    cancel_target const to{server.backend, server_.address(), server_.tls_wish()};
    send_cancel(service_, to, server.pid, server.secret, [this, alive = std::weak_ptr<bool>(alive_)](cancel_end) {
        if (alive.lock()) receipts_.clear();
    });
}

bool pg_replication::concerns(routing::site const& site) const {
    bool const all_of_server =
        who_.kind == replication_kind::physical && site.primary == server_.state().backend;
    return site.id == who_.site || all_of_server;
}

/// The server may go on with what it was told until it notices, and with what it runs at a login, before it tells its pid.
void pg_replication::note_broken() {
    if (server_pid() == 0 && !server_.logging_in()) return;
    for (routing::site const& site : service_.snapshot().sites)
        if (concerns(site)) service_.note_broken(site.id, server_pid(), who_.user, who_.database);
}

void pg_replication::close() {
    if (!server_.closed()) note_broken();
    server_.close();
}

bool pg_replication::cut() {
    server_.drop_unsent();
    close();
    return told_.between_messages();
}

void pg_replication::look_at_clock() {
    if (server_.open() || server_.closed()) return;
    if (service_.context().now - since_ < service_.limits().connect_timeout) return;
    close();
    client_.replication_ended(not_connected("connecting to the server timed out"));
}

/// What a server tells a client that has come in, but with a key of ours.
void pg_replication::on_open() {
    gather& out = service_.step().client;
    out.write([&](std::string& text) {
        for (auto const& [name, value] : *server_.state().reported)
            pg::write_parameter_status(text, name, value);
        pg::write_backend_key_data(text, who_.key_pid, pg::as_bytes(who_.key_secret));
        pg::write_ready_for_query(text, pg::idle);
    });
    if (client_.pass(out)) server_.pause();
    client_.server_drained();
}

void pg_replication::on_bytes(std::span<std::byte const> in) {
    told_.pass(in);
    gather& out = service_.step().client;
    out.view(in);
    if (client_.pass(out)) server_.pause();
}

void pg_replication::on_sent() {
    client_.server_drained();
}

void pg_replication::on_end(std::string error) {
    note_broken();
    client_.replication_ended(std::move(error));
}

}  // namespace lull
