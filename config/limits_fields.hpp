// The part of fields.hpp about limits; fields.hpp includes it behind what it needs.
#pragma once

#include "config/model.hpp"

namespace lull::config {

/// What a user or a database may have of its own.
template <class Overrides, class V>
void visit_overrides(Overrides& o, V& v) {
    constexpr std::string_view as_limits = "as under limits";
    v.field("query_wait_timeout", o.query_wait_timeout,
            spec{.about = "How long its clients may wait for a server connection.",
                 .least = 1,
                 .most = day,
                 .note = as_limits});
    v.field("statement_timeout", o.statement_timeout,
            spec{.about = "Its statements that run for longer are canceled; 0s: none is.",
                 .most = 30 * day,
                 .note = as_limits});
    v.field("transaction_timeout", o.transaction_timeout,
            spec{.about = "Its transaction blocks open for longer are rolled back; 0s: none is.",
                 .most = 30 * day,
                 .note = as_limits});
    v.field("idle_in_transaction_timeout", o.idle_in_transaction_timeout,
            spec{.about = "Its transaction blocks whose client has not asked for anything for so long are "
                          "rolled back; 0s: none is.",
                 .most = 30 * day,
                 .note = as_limits});
    v.field("idle_session_timeout", o.idle_session_timeout,
            spec{.about = "Its clients outside a transaction that have not asked for anything for so long "
                          "are disconnected; 0s: none is.",
                 .most = 365 * day,
                 .note = as_limits});
    v.field("max_clients", o.max_clients,
            spec{.about = "Its clients at one time; 0 is no limit.", .most = 1'000'000, .note = as_limits});
    v.field("max_connections", o.max_connections,
            spec{.about = "Connections to each server for it, all its pools together; 0 is no limit.",
                 .most = 100'000,
                 .note = "max_user_connections or max_db_connections of the cluster"});
    v.field("pool_size", o.pool_size,
            spec{.about = "The size of its pools.", .least = 1, .most = 10'000, .note = "as of the cluster"});
}

template <class Limits, class V>
void visit_limits(Limits& l, V& v) {
    v.field("max_clients", l.max_clients,
            spec{.about = "PostgreSQL clients at one time.", .least = 1, .most = 250'000});
    v.field("max_clients_per_user", l.max_clients_per_user,
            spec{.about = "Of them those of one user; 0 is no limit.", .most = 1'000'000});
    v.field("max_clients_per_database", l.max_clients_per_database,
            spec{.about = "Of them those of one database; 0 is no limit.", .most = 1'000'000});
    v.field("max_clients_per_address", l.max_clients_per_address,
            spec{.about = "Of them those from one address; 0 is no limit.", .most = 1'000'000});
    v.field("max_http_clients", l.max_http_clients,
            spec{.about = "HTTP clients at one time.", .least = 1, .most = 1'000'000});
    v.field("max_waiting_clients", l.max_waiting_clients,
            spec{.about = "Clients that may wait for a server connection, all pools together.",
                 .most = 1'000'000});
    v.field("query_wait_timeout", l.query_wait_timeout,
            spec{.about = "How long a client may wait for a server connection.", .least = 1, .most = day});
    v.field("login_timeout", l.login_timeout,
            spec{.about = "How long a client may take to log in.", .least = 1, .most = hour});
    v.field("statement_timeout", l.statement_timeout,
            spec{.about = "A statement that runs for longer is canceled; 0s: none is.", .most = 30 * day});
    v.field("cancel_timeout", l.cancel_timeout,
            spec{.about = "What the server has not ended so long after statement_timeout, or transaction_timeout, has canceled it loses its "
                          "client, and the connection is closed; 0s: it is waited for.",
                 .most = 30 * day});
    v.field("transaction_timeout", l.transaction_timeout,
            spec{.about = "A transaction block open for longer is rolled back; 0s: none is.", .most = 30 * day});
    v.field("idle_in_transaction_timeout", l.idle_in_transaction_timeout,
            spec{.about = "A transaction block whose client has not asked for anything for so long is rolled back, and who keeps a server "
                          "connection amid a message, a segment, a COPY or unread answers without going on for so long is ended; 0s: none is.",
                 .most = 30 * day});
    v.field("idle_session_timeout", l.idle_session_timeout,
            spec{.about = "A client outside a transaction that has not asked for anything for so long is disconnected; 0s: none is.",
                 .most = 365 * day});
    v.field("shutdown_timeout", l.shutdown_timeout,
            spec{.about = "How long SIGTERM waits for sessions that are in a transaction, or keep a server connection.",
                 .least = 1,
                 .most = day});
    v.field("max_failed_logins", l.max_failed_logins,
            spec{.about = "Failed logins of a user from an address within the window; 0 is no limit.",
                 .most = 1'000'000});
    v.field("failed_login_window", l.failed_login_window,
            spec{.about = "The window of max_failed_logins.", .least = second, .most = day});
    v.field("max_failed_login_entries", l.max_failed_login_entries,
            spec{.about = "Users and addresses of which failed logins are remembered.",
                 .least = 1,
                 .most = 1'000'000});
    v.field(
        "connect_timeout", l.connect_timeout,
        spec{.about = "How long connecting to a server or an upstream may take.", .least = 1, .most = hour});
    v.field("server_login_retry", l.server_login_retry,
            spec{.about = "Behind a login that a server refused no other is begun for so long, and its clients are told what it said; 0s: each asks it.",
                 .most = hour});
    v.field("server_check_delay", l.server_check_delay,
            spec{.about = "A free server connection of which nothing was heard for so long is checked; 0s: each before it is lent.",
                 .most = day});
    v.field("server_check_query", l.server_check_query,
            spec{.about = "What it is checked with, a read that names no table, function or operator; off: none is.", .longest = 1000});
    v.field("server_check_timeout", l.server_check_timeout,
            spec{.about = "Without an answer within it the connection is closed, and whoever waits for it gets another.",
                 .least = 1,
                 .most = hour});
    v.field("dns_max_ttl", l.dns_max_ttl,
            spec{.about = "Names of servers and upstreams are looked up again after it.",
                 .least = second,
                 .most = day});
    v.field("tcp_keepalives_idle", l.tcp_keepalives_idle,
            spec{.about = "A PostgreSQL connection of which nothing was heard for so long is probed, to clients and to servers.",
                 .least = second,
                 .most = 9 * hour,  // tcp(7) of Linux takes 32,767 s
                 .restart = true});
    v.field("tcp_keepalives_interval", l.tcp_keepalives_interval,
            spec{.about = "Between probes that are not answered.", .least = second, .most = hour, .restart = true});
    v.field("tcp_keepalives_count", l.tcp_keepalives_count,
            spec{.about = "After so many of them the connection counts as broken.", .least = 1, .most = 100, .restart = true});
    v.field("tcp_user_timeout", l.tcp_user_timeout,
            spec{.about = "How long what was sent on a PostgreSQL connection may stay unacknowledged, or the peer not read, before "
                          "the connection counts as broken.",
                 .most = day,
                 .restart = true,
                 .note = "0s, the system's"});
    v.field("max_statement_bytes", l.max_statement_bytes,
            spec{.about = "The longest text of a prepared statement.",
                 .least = 64,
                 .most = gigabyte,
                 .bytes = true});
    v.field("max_parse_bytes", l.max_parse_bytes,
            spec{.about = "Longer statements are not parsed and count as writes.",
                 .least = 64,
                 .most = 64 * megabyte,
                 .bytes = true});
    v.field("max_prepared_statements", l.max_prepared_statements,
            spec{.about = "Prepared statements for each client.", .least = 1, .most = 1'000'000});
    v.field("max_prepared_bytes", l.max_prepared_bytes,
            spec{.about = "The texts of the prepared statements of each client, and of each server connection, all together.",
                 .least = kilobyte,
                 .most = gigabyte,
                 .bytes = true});
    v.field("max_server_prepared_statements", l.max_server_prepared_statements,
            spec{.about = "Prepared statements for each server connection.", .least = 1, .most = 1'000'000});
    v.field("max_catalog_objects", l.max_catalog_objects,
            spec{.about = "Functions and relations of one database; with more, its catalog is not read.",
                 .least = 1000,
                 .most = 10'000'000});
    v.field("max_listen_channels", l.max_listen_channels,
            spec{.about = "Channels that the clients of one database LISTEN to, all together.", .least = 1, .most = 1'000'000});
    v.field("max_notification_bytes", l.max_notification_bytes,
            spec{.about = "Notifications that may wait for a client that does not read or is in a transaction; with more it is disconnected.",
                 .least = 16 * kilobyte,
                 .most = gigabyte,
                 .bytes = true});
    v.field("max_pipeline", l.max_pipeline,
            spec{.about = "Messages that a client may send ahead of their answers.",
                 .least = 1,
                 .most = 1'000'000});
    v.field("max_http_head_bytes", l.max_http_head_bytes,
            spec{.about = "The longest head of a request or a response.",
                 .least = kilobyte,
                 .most = megabyte,
                 .bytes = true});
    v.field("max_http_headers", l.max_http_headers,
            spec{.about = "Header fields of a request or a response.", .least = 1, .most = 10'000});
    v.field("http_head_timeout", l.http_head_timeout,
            spec{.about = "How long the head of a request may take to arrive.", .least = 1, .most = hour});
    v.field("http_idle_timeout", l.http_idle_timeout,
            spec{.about = "How long a connection may stay open without a request.", .least = 1, .most = day});
}

}  // namespace lull::config
