// The words of refusals: PostgreSQL's own, with what only Lull knows in DETAIL and HINT. Each result is a
// whole ErrorResponse. `sqlstate` is the one that site and user are configured to see. Pure.
#pragma once

#include "proxy/statement_book.hpp"
#include "routing/operation.hpp"
#include "routing/snapshot.hpp"

#include <string>
#include <string_view>

namespace lull {

/// Fails on every server and changes nothing: sent in place of a refused statement, so that the server's
/// block is aborted as the client is told. No client may make a savepoint of this name.
inline constexpr std::string_view failing_statement =
    "ROLLBACK TO SAVEPOINT \"lull refused a write in this transaction\"";
inline constexpr std::string_view failing_savepoint = "lull refused a write in this transaction";

/// Succeeds everywhere and does nothing; for what Lull has done itself.
inline constexpr std::string_view nothing_statement = "RESET lull.nothing";

/// What refusals of this site are to this user: 25006, or another that was configured.
std::string_view refusal_sqlstate(config::config const& config, routing::site const& site,
                                  std::string const& user);
/// For the statement `offender` of `op`; either may be null.
std::string refusal_error(routing::site const& site, std::string_view sqlstate, routing::operation const* op,
                          routing::statement const* offender);
/// COMMIT of a block from before the window that was taken for a reader, and has written.
std::string unread_write_refusal(routing::site const& site, std::string_view sqlstate);
/// For a write to temporary tables of which some may run what nobody knows.
std::string temporary_refusal(routing::site const& site, std::string_view sqlstate, std::string_view command);
/// For a text, or a pipeline, that would end our READ ONLY transaction and go on.
std::string transaction_control_refusal(routing::site const& site, std::string_view sqlstate);
/// 57P03 for whatever a privileged role says, where guard.privileged is refuse.
std::string privileged_refusal(routing::site const& site);
/// 54000 where a client may not have one more prepared statement, of so many bytes with its name; empty: it may.
std::string book_refusal(statement_book const& book, std::size_t bytes, config::limits const& limits);
/// 57014
std::string canceled_error();
/// 25P02
std::string failed_block_error();
/// 42939, for PREPARE and DEALLOCATE of the name that Lull has given to a statement, and for a SAVEPOINT of a name of its own.
std::string reserved_name_error();
/// RFC 3339, UTC, whole seconds.
std::string format_time(routing::wall_time time);

}  // namespace lull
