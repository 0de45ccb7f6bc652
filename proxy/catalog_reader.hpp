// Reads what catalog_rows holds out of one database, with libpq. Blocking; never on a worker.
#pragma once

#include "routing/catalog_rows.hpp"

#include <optional>
#include <string>

struct pg_conn;

namespace lull {

/// Changes when anything changes that read_catalog() would read. Nothing: `error` says why.
std::optional<std::string> catalog_digest(pg_conn* connection, std::string& error);

/// In one snapshot. Nothing: `error` says why, also where there are more than `most` objects. Needs no rights
/// beyond CONNECT: the catalogs that it reads are everybody's to read.
std::optional<routing::catalog_rows> read_catalog(pg_conn* connection, std::size_t most, std::string& error);

}  // namespace lull
