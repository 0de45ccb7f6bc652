#include "proxy/pg_query.hpp"

#include "config/endpoint.hpp"

#include <libpq-fe.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace lull {

namespace {

struct open_connection {
    std::string server;
    std::uint32_t pid = 0;
    bool moved = false;
};
std::mutex open_mutex;
std::map<void const*, open_connection> open_connections;  // by whoever has it

std::string trimmed(char const* text) {
    std::string out = text ? text : "";
    while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
    return out;
}

/// False: not within `timeout`. A stopped server process answers nothing while its kernel still
/// acknowledges, so neither statement_timeout nor tcp_user_timeout ends the wait.
bool wait_for_result(pg_conn* connection, std::chrono::milliseconds timeout) {
    auto const until = std::chrono::steady_clock::now() + timeout;
    PQflush(connection);  // questions are short: the socket takes them whole
    while (PQisBusy(connection)) {
        auto const left =
            std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
        if (left.count() <= 0) return false;
        pollfd wait{PQsocket(connection), POLLIN, 0};
        int const ready = ::poll(&wait, 1, static_cast<int>(left.count()));
        if (ready < 0 && errno != EINTR) return false;
        if (ready > 0 && !PQconsumeInput(connection)) return true;  // lost: the result says so
    }
    return true;
}

char const* sslmode_of(config::server_tls_mode mode) {
    switch (mode) {
        case config::server_tls_mode::disable:
            return "disable";
        case config::server_tls_mode::prefer:
            return "prefer";
        case config::server_tls_mode::require:
            return "require";
        case config::server_tls_mode::verify_ca:
            return "verify-ca";
        case config::server_tls_mode::verify_full:
            return "verify-full";
    }
    return "verify-full";
}

/// The connection has failed; it may be made by this. (libpq tells no SQLSTATE of a login but as text.)
bool refuses_login(pg_conn* connection) {
    // No password where one is asked for is found by libpq itself.
    bool const needs_password = PQconnectionNeedsPassword(connection) != 0;
    PQsetErrorVerbosity(connection, PQERRORS_SQLSTATE);
    PQreset(connection);
    PQsetErrorVerbosity(connection, PQERRORS_DEFAULT);
    if (PQstatus(connection) == CONNECTION_OK) return false;
    std::string const said = trimmed(PQerrorMessage(connection));
    std::string_view const code = std::string_view(said).substr(said.size() - std::min<std::size_t>(5, said.size()));
    // invalid_authorization_specification and invalid_password, invalid_catalog_name, insufficient_privilege (CONNECT)
    return needs_password || code == "28000" || code == "28P01" || code == "3D000" || code == "42501";
}

bool can_connect_local(std::string const& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    int const fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    bool const reached = ::connect(fd, reinterpret_cast<sockaddr const*>(&address), sizeof address) == 0;
    ::close(fd);
    return reached;
}

}  // namespace

pg_conn* pg_connect(config::endpoint const& where, config::login_role const& role,
                    config::server_tls const& tls, std::string& error, bool* refused) {
    std::string const port = std::to_string(where.port);
    char const* const keys[] = {"host",
                                "port",
                                "user",
                                "password",
                                "dbname",
                                "application_name",
                                "connect_timeout",
                                "tcp_user_timeout",
                                "keepalives_idle",
                                "keepalives_interval",
                                "client_encoding",
                                "sslmode",
                                "sslrootcert",
                                "sslcert",
                                "sslkey",
                                "ssl_min_protocol_version",
                                "options",
                                nullptr};
    // statement_timeout bounds the server's time, tcp_user_timeout a network that swallows everything.
    char const* const values[] = {where.host.c_str(),
                                  port.c_str(),
                                  role.user.c_str(),
                                  role.password.c_str(),
                                  role.database.c_str(),
                                  "lull control",
                                  "3",
                                  "5000",
                                  "5",
                                  "5",
                                  "UTF8",
                                  sslmode_of(tls.mode),
                                  tls.ca.c_str(),
                                  tls.certificate.c_str(),
                                  tls.key.c_str(),
                                  tls.min_version == config::tls_version::v1_3 ? "TLSv1.3" : "TLSv1.2",
                                  "-c search_path=pg_catalog -c statement_timeout=5000 -c lock_timeout=2000"
                                  " -c default_transaction_read_only=on -c synchronous_commit=on",
                                  nullptr};
    pg_conn* connection = PQconnectdbParams(keys, values, 0);
    if (connection && PQstatus(connection) != CONNECTION_OK) {
        error = trimmed(PQerrorMessage(connection));
        if (refused) *refused = refuses_login(connection);
    }
    if (connection && PQstatus(connection) == CONNECTION_OK) {
        std::lock_guard const lock(open_mutex);
        open_connections[connection] = {config::format_endpoint(where),
                                        static_cast<std::uint32_t>(PQbackendPID(connection)), false};
        return connection;
    }
    if (!connection) error = "out of memory";
    if (connection) PQfinish(connection);
    return nullptr;
}

void pg_close(pg_conn* connection) {
    {
        std::lock_guard const lock(open_mutex);
        open_connections.erase(connection);
    }
    PQfinish(connection);
}

bool pg_usable(pg_conn* connection) {
    if (!connection || PQstatus(connection) != CONNECTION_OK) return false;
    std::lock_guard const lock(open_mutex);
    return !open_connections[connection].moved;
}

void pg_server_moved(config::endpoint const& where) {
    std::string const name = config::format_endpoint(where);
    std::lock_guard const lock(open_mutex);
    for (auto& [connection, at] : open_connections)
        if (at.server == name) at.moved = true;
}

std::vector<std::uint32_t> control_pids(config::endpoint const& where) {
    std::string const name = config::format_endpoint(where);
    std::lock_guard const lock(open_mutex);
    std::vector<std::uint32_t> pids;
    for (auto const& [connection, at] : open_connections)
        if (at.server == name && !at.moved) pids.push_back(at.pid);
    return pids;
}

own_backend::own_backend(config::endpoint const& where, std::uint32_t pid) {
    std::lock_guard const lock(open_mutex);
    open_connections[this] = {config::format_endpoint(where), pid, false};
}

own_backend::~own_backend() {
    std::lock_guard const lock(open_mutex);
    open_connections.erase(this);
}

bool can_connect(config::endpoint const& where) {
    if (where.host.starts_with('/'))
        return can_connect_local(config::unix_socket_path(where.host, where.port));
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    if (::getaddrinfo(where.host.c_str(), std::to_string(where.port).c_str(), &hints, &list) != 0)
        return false;
    bool reached = false;
    for (addrinfo const* a = list; a && !reached; a = a->ai_next) {
        int const fd = ::socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) continue;
        pollfd wait{fd, POLLOUT, 0};
        int error = 0;
        socklen_t size = sizeof error;
        if (::connect(fd, a->ai_addr, a->ai_addrlen) == 0)
            reached = true;
        else if (errno == EINPROGRESS && ::poll(&wait, 1, 2000) == 1)
            reached = ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
        ::close(fd);
    }
    ::freeaddrinfo(list);
    return reached;
}

pg_result::pg_result(::pg_result* result, std::string error)
    : result_(result, PQclear), error_(std::move(error)) {}

int pg_result::rows() const {
    return ok() ? PQntuples(result_.get()) : 0;
}
int pg_result::columns() const {
    return ok() ? PQnfields(result_.get()) : 0;
}
bool pg_result::null(int row, int column) const {
    return PQgetisnull(result_.get(), row, column) != 0;
}
std::string pg_result::text(int row, int column) const {
    return PQgetvalue(result_.get(), row, column);
}

routing::lsn pg_result::lsn(int row, int column) const {
    if (null(row, column)) return {};
    return routing::parse_lsn(text(row, column)).value_or(routing::lsn{});
}

std::string pg_result::sqlstate() const {
    char const* code = result_ ? PQresultErrorField(result_.get(), PG_DIAG_SQLSTATE) : nullptr;
    return code ? code : "";
}

std::string array_of(std::vector<std::string> const& texts) {
    std::string out = "{";
    for (std::string const& text : texts) {
        if (out.size() > 1) out += ',';
        out += '"';
        for (char c : text) {
            if (c == '"' || c == '\\') out += '\\';
            out += c;
        }
        out += '"';
    }
    return out + "}";
}

pg_result pg_query(pg_conn* connection, char const* sql, std::vector<std::string> const& parameters,
                   std::chrono::milliseconds timeout) {
    std::vector<char const*> values;
    for (std::string const& p : parameters) values.push_back(p.c_str());
    if (!PQsendQueryParams(connection, sql, static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                           nullptr, 0))
        return pg_result(nullptr, trimmed(PQerrorMessage(connection)));
    if (!wait_for_result(connection, timeout)) {
        // Its answer may still come: this connection has no use any more, and PQstatus() shall say so.
        ::shutdown(PQsocket(connection), SHUT_RDWR);
        PQconsumeInput(connection);
        return pg_result(nullptr,
                         "the server did not answer within " + std::to_string(timeout.count()) + " ms");
    }
    ::pg_result* result = PQgetResult(connection);
    while (::pg_result* more = PQgetResult(connection)) PQclear(more);
    ExecStatusType const status = PQresultStatus(result);
    bool const ok = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
    std::string error = ok ? std::string() : trimmed(PQerrorMessage(connection));
    if (!ok && error.empty()) error = "the query failed";
    return pg_result(result, std::move(error));
}

}  // namespace lull
