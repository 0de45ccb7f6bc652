#include "proxy/pg_refusal_core.hpp"

#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"

#include <ctime>

namespace lull {

namespace {

std::string hint_for(routing::site const& site) {
    std::string hint = "Site \"" + site.settings->name + "\" is read-only for maintenance";
    if (!site.reason.empty()) hint += ": " + site.reason;
    hint += ".";
    if (site.until) hint += " Expected end: " + format_time(*site.until) + ".";
    return hint + " Reads go on; retry the write later.";
}

std::string error_with(routing::site const& site, std::string_view sqlstate, std::string_view message,
                       std::string_view detail) {
    std::string out;
    std::string const hint = hint_for(site);
    pg::write_error_response(out, {.sqlstate = sqlstate, .message = message, .detail = detail, .hint = hint});
    return out;
}

std::string_view explain(routing::why why) {
    switch (why) {
        case routing::why::understood:
        case routing::why::function:
            return {};
        case routing::why::relation:
            return "A view, policy, operator, type or the like that the statement uses calls it.";
        case routing::why::catalog:
            return "The catalog was not known to have what it names when it was last read, and the site is "
                   "configured with guard.functions: refuse.";
        case routing::why::too_long:
            return "The statement is too long to be judged, and is taken for a write.";
        case routing::why::too_deep:
            return "The statement is nested too deeply to be judged, and is taken for a write.";
        case routing::why::syntax_error:
            return "The statement could not be parsed, and is taken for a write.";
        case routing::why::encoding:
            return "The text cannot be judged in this client encoding, and is taken for a write.";
        case routing::why::guard:
            return "The statement could not be judged safely, and is taken for a write.";
        case routing::why::node:
            return "The statement is of a kind that is not known, and is taken for a write.";
    }
    return {};
}

}  // namespace

std::string book_refusal(statement_book const& book, std::size_t bytes, config::limits const& limits) {
    std::string out;
    bool const many = book.size() >= limits.max_prepared_statements;
    if (!many && book.bytes() + bytes <= limits.max_prepared_bytes) return out;
    pg::write_error_response(
        out, {.sqlstate = pg::sqlstate::program_limit_exceeded,
              .message = many ? "too many prepared statements" : "prepared statements are too long, all together",
              .hint = many ? "The limit of one client is limits.max_prepared_statements."
                           : "The limit of one client is limits.max_prepared_bytes."});
    return out;
}

std::string format_time(routing::wall_time time) {
    std::time_t const seconds = std::chrono::system_clock::to_time_t(time);
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    char text[32];
    std::size_t const n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return {text, n};
}

std::string_view refusal_sqlstate(config::config const& config, routing::site const& site,
                                  std::string const& user) {
    using of_user = config::user_refusal_code;
    auto const known = config.users.find(user);
    of_user code = known == config.users.end() ? of_user::as_site : known->second.refusal_sqlstate;
    if (code == of_user::as_site) switch (site.settings->refusal_sqlstate) {
            case config::refusal_code::read_only:
                code = of_user::read_only;
                break;
            case config::refusal_code::cannot_connect_now:
                code = of_user::cannot_connect_now;
                break;
            case config::refusal_code::not_in_prerequisite_state:
                code = of_user::not_in_prerequisite_state;
                break;
        }
    switch (code) {
        case of_user::as_site:
        case of_user::read_only:
            break;
        case of_user::cannot_connect_now:
            return pg::sqlstate::cannot_connect_now;
        case of_user::not_in_prerequisite_state:
            return pg::sqlstate::object_not_in_prerequisite_state;
    }
    return pg::sqlstate::read_only_sql_transaction;
}

std::string refusal_error(routing::site const& site, std::string_view sqlstate, routing::operation const* op,
                          routing::statement const* offender) {
    using routing::statement_kind;
    if (offender &&
        (offender->kind == statement_kind::begin || offender->kind == statement_kind::set_transaction))
        return error_with(site, sqlstate,
                          "cannot set transaction read-write mode inside a read-only transaction", {});
    if (offender && (offender->kind == statement_kind::set || offender->kind == statement_kind::reset))
        return error_with(site, sqlstate,
                          "cannot set parameter \"" + offender->name + "\" in a read-only transaction", {});
    if (op && offender && offender->access == routing::access::unknown && !op->function.empty())
        return error_with(site, sqlstate, "cannot execute " + op->function + "() in a read-only transaction",
                          site.settings->guard.functions == config::function_policy::refuse
                              ? "Nobody knows whether this function only reads, and the site is configured with "
                                "guard.functions: refuse."
                              : "Nobody knows whether this function only reads, and the transaction has written "
                                "to temporary tables, so that it is to be committed.");
    std::string const command =
        offender && !offender->command.empty() ? offender->command : std::string("this statement");
    return error_with(site, sqlstate, "cannot execute " + command + " in a read-only transaction",
                      op ? explain(op->why) : std::string_view{});
}

std::string unread_write_refusal(routing::site const& site, std::string_view sqlstate) {
    return error_with(site, sqlstate, "cannot execute COMMIT in a read-only transaction",
                      "The transaction was taken for one that only reads, but its end would change something: it is rolled back.");
}

std::string temporary_refusal(routing::site const& site, std::string_view sqlstate, std::string_view command) {
    return error_with(site, sqlstate, "cannot execute " + std::string(command) + " in a read-only transaction",
                      "A temporary table of this session has triggers, rules, policies, deferred constraints, or "
                      "defaults, checks, indexes or types that may run functions of the user's.");
}

std::string transaction_control_refusal(routing::site const& site, std::string_view sqlstate) {
    return error_with(site, sqlstate,
                      "cannot end a transaction within a group of statements in a read-only transaction",
                      "Statements behind the end of the transaction would run outside of it.");
}

std::string privileged_refusal(routing::site const& site) {
    return error_with(
        site, pg::sqlstate::cannot_connect_now,
        "sessions of privileged roles are not served during maintenance",
        "The rights of this role reach past what a read-only transaction stops, and the site is "
        "configured with guard.privileged: refuse.");
}

std::string canceled_error() {
    std::string out;
    pg::write_error_response(
        out, {.sqlstate = pg::sqlstate::query_canceled, .message = "canceling statement due to user request"});
    return out;
}

std::string failed_block_error() {
    std::string out;
    pg::write_error_response(
        out, {.sqlstate = pg::sqlstate::in_failed_sql_transaction,
              .message = "current transaction is aborted, commands ignored until end of transaction block"});
    return out;
}

std::string reserved_name_error() {
    std::string out;
    pg::write_error_response(out, {.sqlstate = pg::sqlstate::reserved_name,
                                   .message = "the names of statements and savepoints that Lull has made are reserved",
                                   .hint = "Use the name that the client gave to its statement, or another one."});
    return out;
}

}  // namespace lull
