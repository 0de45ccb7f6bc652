// What a pg_pool does where a server does not do as it should: it cannot be reached, turns a login away, or does not answer.
#include "config/in_force.hpp"
#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/log.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_pool.hpp"
#include "proxy/pg_pool_names.hpp"
#include "proxy/pg_server.hpp"
#include "proxy/pg_service.hpp"
#include "proxy/warning_pace.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lull {

namespace {

std::optional<pg::error_fields> fields_of(std::string const& error) {
    return pg::parse_error_fields(pg::as_bytes(error).subspan(pg::header_bytes));
}

}  // namespace

/// Others to that server may have broken in the same way, and without a word.
void pg_pool::check_failed(pg_server& server, std::string_view why) {
    routing::backend const& backend = service_.snapshot().of(key_.backend);
    log::warning("a free connection to {}:{} for {}/{}, pid {}, has failed its check: {}", backend.address.host, backend.address.port,
                 key_.database, key_.user, server.state().pid, why);
    ++service_.context().stats.of(key_.backend).failed_checks;
    core_.doubt(name_of(server), service_.context().now);
    service_.control().suspect(key_.backend);
    lost(server, {});
}

/// Each client's next query would ask the server again. One that starts, or ends, says so (57P03 and its like) until it
/// has: what comes after it is not to wait longer than it must; nor is the migration. A replica is avoided for a while.
void pg_pool::turned_away(pg_server& server, std::string error) {
    auto const fields = fields_of(error);
    auto const is_of = [&](std::string_view codes) { return fields && fields->sqlstate && fields->sqlstate->starts_with(codes); };
    // A client's own keys that are wrong say nothing of another's; and readers in a window have nowhere else to go.
    bool const by_keys = credentials_.keys || !credentials_.md5_hash.empty();
    bool const of_one = by_keys && is_of("28");
    bool const replica = server.state().role == routing::role::replica;
    if (!is_of("57P") && !of_one && !replica && key_.use == pool_use::normal && sizes_.login_retry.count() > 0) {
        refused_login_ = {credentials_, service_.context().now + sizes_.login_retry};
        core_.rest(true);
    }
    lost(server, std::move(error));
}

void pg_pool::end_rest() {
    if (core_.resting() && service_.context().now >= refused_login_.until) core_.rest(false);
}

/// One whose client does not read is not looked at: nobody knows whether its server still lives.
bool pg_pool::may_yet_serve() const {
    return std::ranges::any_of(servers_, [](auto const& entry) { return !entry.first->paused(); });
}

/// What the server said last, without asking it again.
void pg_pool::tell_turned_away() {
    if (!core_.resting() || service_.paused(key_.database) || may_yet_serve()) return;
    std::string const error = failure_;
    for (pool_core::client waiting : core_.all_waiting()) client_of(waiting).refused(error);
}

/// A connection could not be made. Where others exist their turn will come; otherwise nobody's will.
void pg_pool::fail_waiting(std::string const& error) {
    service_.control().suspect(key_.backend);
    routing::backend const& backend = service_.snapshot().of(key_.backend);
    bool const replica = backend.role == routing::role::replica;
    if (replica) service_.avoid(key_.backend);
    if (may_yet_serve() && !replica) return;
    auto const fields = fields_of(error);
    std::string_view const why = fields && fields->message ? *fields->message : "unknown";
    static warning_pace pace;  // clients ask again as often as they like
    if (pace.due(fmt::format("{}:{}: {}", backend.address.host, backend.address.port, why), service_.context().now))
        log::warning("no connection to {}:{} for {}/{}: {}", backend.address.host, backend.address.port, key_.database, key_.user, why);
    for (pool_core::client waiting : core_.all_waiting()) {
        if (replica)
            client_of(waiting).choose_again();
        else
            client_of(waiting).refused(error);
    }
}

/// Why nobody got a server in time: of the pool's size nothing can be said where there has been none.
std::string pg_pool::waited_too_long() const {
    bool const paused = service_.paused(key_.database);
    // (Without any of its own here, and without a failure, other workers have them all.)
    bool const opening = std::ranges::all_of(servers_, [](auto const& entry) { return entry.first->opening(); });
    bool const none = !paused && opening && !(servers_.empty() && failure_.empty());
    std::string const key = config::key_in_force(*service_.snapshot().config, key_.database, key_.user,
                                                 &config::overrides::query_wait_timeout, "query_wait_timeout");
    std::string error;
    if (none) {
        auto const why = failure_.empty() ? std::nullopt : fields_of(failure_);
        pg::write_error_response(
            error, {.sqlstate = why ? why->sqlstate.value_or(pg::sqlstate::cannot_connect_now) : pg::sqlstate::cannot_connect_now,
                    .message = "timed out waiting for a connection to the server to be opened",
                    .detail = why ? why->message.value_or("") : "The server has not answered yet.",
                    .hint = "The server may be starting up, or not be reachable; the limit of the proxy is " + key + "."});
        return error;
    }
    pg::write_error_response(
        error, {.sqlstate = pg::sqlstate::too_many_connections,
                .message = "timed out waiting for a server connection",
                .hint = paused ? std::string("The database is paused: RESUME on the console lets queries go on.")
                               : "All connections of the pool were busy: see " + key +
                                     ", pool_size, max_db_connections and max_user_connections."});
    return error;
}

}  // namespace lull
