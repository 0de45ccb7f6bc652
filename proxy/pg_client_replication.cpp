// A client whose session is one of replication: pg_replication has the server's side.
#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_service.hpp"

#include <algorithm>

namespace lull {

namespace {

/// Why there may be none while the site is not open, and what to do.
std::string refusal(routing::site const& site) {
    std::string error;
    std::string const why = "Site \"" + site.settings->name + "\" is read-only for maintenance" +
                            (site.reason.empty() ? "." : ": " + site.reason + ".");
    pg::write_error_response(error,
                             {.severity = "FATAL",
                              .sqlstate = pg::sqlstate::cannot_connect_now,
                              .message = "the database system is not accepting replication connections",
                              .detail = why,
                              .hint = "They can write. Connect again when the site is open."});
    return error;
}

std::string terminated(std::string_view why) {
    std::string error;
    pg::write_error_response(error, {.severity = "FATAL",
                                     .sqlstate = pg::sqlstate::admin_shutdown,
                                     .message = "terminating connection due to administrator command",
                                     .detail = why});
    return error;
}

}  // namespace

void pg_client::begin_replication() {
    replication_identity who;
    who.kind = login_->replication();
    who.application_name = login_->startup_parameter("application_name");
    who.packet = login_->replication_packet();
    who.key_secret = service_.random(login_->secret_bytes());
    server_credentials credentials = login_->credentials();
    session_identity const as_client = login_->identity();
    who.site = as_client.site;
    who.database = as_client.database;
    who.user = as_client.user;
    if (!count_in(as_client, {})) return;
    login_.reset();
    key_pid_ = service_.enlist(*this);
    who.key_pid = key_pid_;
    ++service_.context().stats.sessions;
    service_.session_begun(who.site);
    replication_ = std::make_unique<pg_replication>(*this, service_, std::move(who), std::move(credentials));
    look_at_site();
    if (!closing_ && !finished_) replication_->start();
}

/// Once a site that it concerns is not open it is over: nobody judges what it says.
void pg_client::look_at_site() {
    if (finished_ || closing_) return;
    std::vector<routing::site> const& sites = service_.snapshot().sites;
    auto const at = std::find_if(sites.begin(), sites.end(), [&](routing::site const& site) {
        return site.mode != routing::mode::read_write && replication_->concerns(site);
    });
    if (at == sites.end()) return;
    routing::site const& site = *at;
    bool const began = replication_->server_pid() != 0;
    bool const can_be_told = replication_->cut();
    if (!can_be_told) return replication_ended({});
    replication_ended(began ? terminated("Site \"" + site.settings->name + "\" is read-only for maintenance.")
                            : refusal(site));
}

/// The proxy ends, or somebody has it killed.
void pg_client::end_replication() {
    if (closing_) return;
    replication_ended(replication_->cut() ? terminated({}) : std::string());
}

bool pg_client::pass(gather& bytes) {
    if (!socket_) return false;
    switch (put(bytes)) {
        case outbox::result::sent:
            return false;
        case outbox::result::later:
            socket_->wait_writable();
            return true;
        case outbox::result::failed:
            break;
    }
    gone();
    return false;
}

void pg_client::replication_ended(std::string error) {
    closing_ = true;
    flush_text(error);
}

/// What waits since the login, now that the server listens; and what comes fresh.
void pg_client::to_replication(std::span<std::byte const> fresh) {
    if (!replication_->takes_input() || !in_.empty())
        in_.append(reinterpret_cast<char const*>(fresh.data()), fresh.size());
    else if (!fresh.empty())
        replication_->send(fresh);
    if (in_.empty() || !replication_->takes_input()) return;
    std::string const waiting = std::exchange(in_, {});
    replication_->send(pg::as_bytes(waiting));
}

}  // namespace lull
