// Reads what catalog_rows holds out of one database, with libpq. Blocking; never on a worker.
#pragma once

#include "routing/catalog_rows.hpp"

#include <optional>
#include <string>

struct pg_conn;

namespace lull {

/// Of a primary: as long as it is the same, no transaction that can have changed a catalog has ended, in any database.
struct catalog_moment {
    std::string server;    // which run of which server
    std::string snapshot;  // its top-level transactions; one that is not visible yet is in it though its commit may be in the log
    friend bool operator==(catalog_moment const&, catalog_moment const&) = default;
};

/// Empty where it is not known; `snapshot` also on a standby, whose snapshots do not name those that run.
catalog_moment read_moment(pg_conn* connection);

/// Changes when anything changes that read_catalog() would read. Nothing: `error` says why.
std::optional<std::string> catalog_digest(pg_conn* connection, std::string& error);

/// In one snapshot. Nothing: `error` says why, also where there are more than `most` objects. Needs no rights
/// beyond CONNECT: the catalogs that it reads are everybody's to read.
std::optional<routing::catalog_rows> read_catalog(pg_conn* connection, std::size_t most, std::string& error);

}  // namespace lull
