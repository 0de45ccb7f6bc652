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
           !identity_.migration && !may_write_ && !passing_ && (!read_write() || in_guard());
}

std::string pg_session_core::refusal(routing::operation const* op, routing::statement const* offender) const {
    bool const strict = site().settings->guard.privileged == config::privileged_policy::refuse;
    if (strict && facts().privileged) return privileged_refusal(site());
    return refusal_error(site(), refusal_code(), op, offender);
}

void pg_session_core::look_up_catalog() {
    routing::snapshot const& now = *context_.snapshot;
    if (catalog_of_ == now.number) return;
    catalog_of_ = now.number;
    auto const at = now.catalogs.find(identity_.database);
    catalog_ = at == now.catalogs.end() ? routing::catalog_state{} : at->second;
    privileged_role_ = catalog_.facts && catalog_.facts->privileged(identity_.user);
}

/// With what the catalog says of what it names. The reference lives until the next call.
std::shared_ptr<routing::operation const> const& pg_session_core::judge(
    std::shared_ptr<routing::operation const> const& op) {
    look_up_catalog();
    if (identity_.migration || !op->has_names) return op;
    return context_.resolver.resolve(op, catalog_.facts,
                                     read_write()     ? routing::standing::open
                                     : catalog_.fresh ? routing::standing::fresh
                                                      : routing::standing::stale);
}

}  // namespace lull
