// What a session may not do while its site is sealed, and how it is told.
#include "proxy/pg_refusal_core.hpp"
#include "proxy/pg_session_core.hpp"

namespace lull {

using routing::statement_kind;

std::string_view pg_session_core::refusal_code() const {
    return refusal_sqlstate(*context_.snapshot->config, site(), identity_.user);
}

/// A NOTIFY that is answered and goes nowhere. (One of a transaction that may still write is sent.)
bool pg_session_core::discards_notify(routing::operation const& op) const {
    return op.statements.size() == 1 && op.statements.front().kind == statement_kind::notify &&
           !identity_.migration && !may_write_ && (!read_write() || in_guard());
}

std::string pg_session_core::refusal(routing::operation const* op, routing::statement const* offender) const {
    bool const strict = site().settings->guard.privileged == config::privileged_policy::refuse;
    if (strict && superuser_) return privileged_refusal(site());
    return refusal_error(site(), refusal_code(), op, offender);
}

}  // namespace lull
