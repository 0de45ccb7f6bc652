// How a pg_client asks for a server; that it has one comes back as granted() or refused().
#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_pool.hpp"
#include "proxy/pg_server.hpp"
#include "proxy/pg_service.hpp"

namespace lull {

pg_pool& pg_client::pool_of(server_wish const& wish) {
    if (pool_ && pool_wish_ == wish) return *pool_;  // as a rule the one of last time
    session_identity const& who = session_->identity();
    pool_use const use = who.migration  ? pool_use::migration
                         : wish.guarded ? pool_use::guarded
                                        : pool_use::normal;
    pool_ = &service_.pool({wish.backend, who.site, who.database, who.user, use});
    pool_wish_ = wish;
    return *pool_;
}

void pg_client::acquire(server_wish const& wish) {
    pg_pool& pool = pool_of(wish);
    if (!service_.may_wait()) {
        ++session_->stats().over_limit[static_cast<std::size_t>(session_limit::waiting_clients)];
        std::string error;
        pg::write_error_response(error, {.sqlstate = pg::sqlstate::too_many_connections,
                                         .message = "too many clients wait for a server connection",
                                         .hint = "The limit is limits.max_waiting_clients."});
        return refused(std::move(error));
    }
    pg_server* const sought = wish.values_of != no_values ? pool.acquire(wish.values_of) : nullptr;
    if (sought) return granted(*sought);
    waiting_in_ = &pool;
    service_.waiting(+1);
    if (pg_server* server = pool.acquire(*this, *credentials_)) granted(*server);
}

pg_server_state* pg_client::lend(server_wish const& wish) {
    pg_pool& pool = pool_of(wish);
    pg_server* server = wish.values_of != no_values ? pool.acquire(wish.values_of) : nullptr;
    if (!server) server = pool.take_ready();
    if (!server) return nullptr;
    server_ = server;
    server->link(*this);
    return &server->state();
}

void pg_client::drop_wish() {
    if (!waiting_in_) return;
    pg_pool& pool = *waiting_in_;
    waiting_in_ = nullptr;
    service_.waiting(-1);
    pool.cancel(*this);
}

}  // namespace lull
