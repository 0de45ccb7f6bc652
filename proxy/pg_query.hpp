// libpq for control work: connections with time-outs, results that free themselves. Blocking; never on a
// worker.
#pragma once

#include "config/model.hpp"
#include "routing/lsn.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct pg_conn;
struct pg_result;

namespace lull {

/// Connects as `role`, with search_path pinned and every wait bounded, and read-only by default: what runs at a login
/// there must not write while a site is sealed. Null: `error` says why. `refused`: whether it is the login that the server
/// does not take, and not the server that cannot be reached or is starting, or is full; to find that out costs a second
/// attempt, whose connection is as good as the first's.
pg_conn* pg_connect(config::endpoint const& where, config::login_role const& role,
                    config::server_tls const& tls, std::string& error, bool* refused = nullptr);
/// Ends what pg_connect() made.
void pg_close(pg_conn* connection);
/// Whether it can be used: not lost, and not to a place where that server is no more.
bool pg_usable(pg_conn* connection);
/// That server's name has other addresses now: what is connected to it is not used again. Any thread.
void pg_server_moved(config::endpoint const& where);
/// The backends at that server of connections that pg_connect() made and that are not closed yet, and those that
/// an own_backend names. Any thread.
std::vector<std::uint32_t> control_pids(config::endpoint const& where);
/// A backend of a connection that was made otherwise. As long as this lives nobody takes it for a session past Lull.
class own_backend {
  public:
    own_backend(config::endpoint const& where, std::uint32_t pid);
    ~own_backend();
    own_backend(own_backend const&) = delete;
    own_backend& operator=(own_backend const&) = delete;
};
/// Whether anybody accepts connections there.
bool can_connect(config::endpoint const& where);

class pg_result {
  public:
    explicit pg_result(::pg_result* result, std::string error);
    bool ok() const { return error_.empty(); }
    /// 0 where it failed.
    int rows() const;
    int columns() const;
    bool null(int row, int column) const;
    std::string text(int row, int column) const;
    /// lsn{} where it is null.
    routing::lsn lsn(int row, int column) const;
    std::string const& error() const { return error_; }
    std::string sqlstate() const;

  private:
    std::shared_ptr<::pg_result> result_;
    std::string error_;
};

/// A text[] as a parameter.
std::string array_of(std::vector<std::string> const& texts);

/// Where no answer comes in time the connection is unusable afterwards, and PQstatus() says so.
pg_result pg_query(pg_conn* connection, char const* sql, std::vector<std::string> const& parameters = {},
                   std::chrono::milliseconds timeout = std::chrono::seconds(6));

}  // namespace lull
