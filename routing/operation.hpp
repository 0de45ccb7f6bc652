// What a statement is, as far as Lull must know. Values only; made by sql_classifier, judged by policy.
#pragma once

#include "routing/leavings.hpp"
#include "routing/named.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lull::routing {

/// Ordered by strictness: of several statements the greatest counts.
///   read     only reads, and calls nothing outside the list of functions known to change nothing
///   session  touches only the state of its own session (SET, PREPARE, LISTEN, BEGIN, ...)
///   unknown  may write: calls a function that is not on the list, or could not be understood
///   write    writes, or does what a READ ONLY transaction allows although it changes state
enum class access : std::uint8_t { read, session, unknown, write };

enum class statement_kind : std::uint8_t {
    empty,
    select,         // SELECT, VALUES, TABLE, also with functions that are not on the list
    explain,        // of a read; EXPLAIN ANALYZE of a write is `dml`
    show,
    dml,            // INSERT UPDATE DELETE MERGE, also inside a CTE; SELECT INTO; SELECT FOR UPDATE/SHARE
    ddl,            // everything that changes the schema, roles or settings of others
    utility,        // VACUUM, ANALYZE, LOCK, NOTIFY, CHECKPOINT, LOAD, DO, CALL, ...
    copy_in,
    copy_out,       // COPY ... TO STDOUT of a read; to a file or program it is `utility`
    begin,
    commit,
    rollback,
    savepoint,
    release,
    rollback_to,
    prepare_transaction,  // and COMMIT PREPARED, ROLLBACK PREPARED
    set_transaction,      // SET TRANSACTION ..., and SET [SESSION|LOCAL] transaction_*
    set,            // `name`, `local`; also a SELECT of one set_config() with constant arguments
    reset,          // `name`, empty for RESET ALL
    discard,        // `name`: "ALL", "PLANS", "SEQUENCES", "TEMP"
    prepare,        // `name`; its access is that of the statement inside
    execute,        // `name`; EXECUTE is unknown here, the session knows what was prepared
    deallocate,     // `name`, empty for ALL
    declare_cursor,
    fetch,          // FETCH, MOVE
    close_cursor,
    listen,
    unlisten,
    notify,
    unknown,        // not parsed: too long, too deep, bad syntax, unsafe encoding
};

enum class isolation : std::uint8_t { unspecified, read_uncommitted, read_committed, repeatable_read, serializable };

struct begin_options {
    lull::routing::isolation isolation = routing::isolation::unspecified;
    std::optional<bool> read_only;
    std::optional<bool> deferrable;
    friend bool operator==(begin_options const&, begin_options const&) = default;
};

struct statement {
    statement_kind kind = statement_kind::unknown;
    lull::routing::access access = routing::access::unknown;
    bool chain = false;       // COMMIT|ROLLBACK AND CHAIN
    bool local = false;       // SET LOCAL, set_config(..., true)
    bool to_default = false;  // SET x TO DEFAULT: like RESET x
    bool pins = false;        // leaves state in the server session that cannot be carried to another one:
                              // temporary tables, WITH HOLD cursors, LISTEN, session advisory locks,
                              // LOAD, set_config() with arguments that are not constants
    leavings leaves;          // by what it calls, as the catalog shows it (fact_resolver); it pins, too
    bool by_query = false;    // SET: it is a SELECT of set_config(), which search_path may hide
    bool opaque = false;      // SET: what it sets cannot be told as text (an interval with its unit); it pins, too
    bool may_set = false;     // calls set_config(), but is no plain SET: may change any setting, also leave READ ONLY
    bool only_unlisted = false;  // access is unknown for nothing but functions that are on no list ...
    lull::routing::access listed = routing::access::read;  // ... and would be this without them
    /// Of INSERT, UPDATE, DELETE and COPY FROM STDIN: what they would be if their target were nobody else's.
    lull::routing::access beside = routing::access::write;
    std::vector<name_use> names;  // each once; for fact_resolver. Empty where nothing more can be found out
    begin_options begin;      // for begin and set_transaction
    std::string command;      // PostgreSQL's own tag for "cannot execute %s in a read-only transaction"
    std::string name;         // setting (as the server spells it: "timezone"), savepoint, prepared statement; lower case
                              // unless quoted
    std::string value;        // SET: what it sets, as set_config() takes it: of a list one text. PREPARE of what only reads:
                              // "read". EXECUTE with nothing but constants: "constants". "" otherwise
    std::uint32_t offset = 0; // where the statement stands in the text, in bytes; length 0: to its end
    std::uint32_t length = 0;
    friend bool operator==(statement const&, statement const&) = default;
};

/// Why an operation is what it is; for logs, metrics and DETAIL.
/// From the catalog (fact_resolver): `relation`, one that reaches such a function; `catalog`, something that the
/// catalog is not known to have.
enum class why : std::uint8_t {
    understood, function, too_long, too_deep, syntax_error, encoding, guard, node, relation, catalog
};

struct operation {
    lull::routing::access access = routing::access::unknown;  // the strictest of all
    lull::routing::why why = routing::why::understood;
    bool transaction_control = false;  // some statement begins or ends a transaction
    bool has_names = false;            // of some statement that may read, or that calls what no list has
    bool has_targets = false;          // some statement may be allowed in a temporary table, by `beside`
    bool about_server = false;         // something in it tells of the server that runs it, by about_server.hpp
    bool asks_sequences = false;       // for what nextval() has said in its session: lastval(), currval()
    std::string function;              // the first function that is not on the list, or that is denied
    std::vector<statement> statements;
    friend bool operator==(operation const&, operation const&) = default;

    /// One SELECT, INSERT, UPDATE, DELETE or MERGE. Such a text names nothing that a session keeps by name (settings,
    /// statements, savepoints, channels), and neither begins nor ends a transaction.
    bool is_query() const {
        return statements.size() == 1 &&
               (statements.front().kind == statement_kind::select || statements.front().kind == statement_kind::dml);
    }
};

}  // namespace lull::routing
