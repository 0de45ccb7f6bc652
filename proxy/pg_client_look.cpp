// What can be seen of a client from outside: whether it is still there, and what it writes; and what it learns of its
// site.
#include "protocol/pg/frontend.hpp"
#include "proxy/pg_client_event.hpp"
#include "proxy/pg_server.hpp"
#include "proxy/pg_service.hpp"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <utility>

namespace lull {

routing::site_id const* pg_client::site() const {
    if (session_) return &session_->identity().site;
    return replication_ ? &replication_->identity().site : nullptr;
}

/// What it asked for has not been begun, so that nobody misses it.
bool pg_client::waits_for_its_turn() const {
    return session_ && (session_->held() || session_->waits_for_server());
}

/// Also behind something that it has sent last, as libpq sends Terminate, where that can wait no longer.
bool pg_client::has_hung_up() const {
    char peek;
    ssize_t const n = ::recv(socket_->fd(), &peek, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return true;
    if (n <= 0 || !waits_for_its_turn()) return false;
    pollfd ask{socket_->fd(), POLLRDHUP, 0};
    return ::poll(&ask, 1, 0) == 1 && (ask.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/// Who has closed, and who has only shut down its sending side, look alike until something is sent. What runs for it is let end
/// in any case, so it may as well be told.
bool pg_client::may_still_read() const {
    return session_ && !waits_for_its_turn() && session_->owes_answer();
}

/// As PostgreSQL, which answers all that came before the end: that counts as Terminate.
void pg_client::hear_no_more() {
    if (!in_.empty() || !may_still_read()) return gone();
    pg::write_terminate(in_);
    pump();
}

/// Whether it has taken something of what waits for it since this was last asked, be it too little to make room for more.
bool pg_client::reads_on() {
    if (out_.empty() || !socket_) return false;
    int in_kernel = 0;
    ::ioctl(socket_->fd(), SIOCOUTQ, &in_kernel);
    // Both are bounded far below what this can count.
    auto const untaken = static_cast<std::uint32_t>(out_.size() + static_cast<std::size_t>(in_kernel));
    return untaken < std::exchange(untaken_, untaken);
}

writer pg_client::describe() const {
    writer w;
    w.protocol = "postgres";
    w.client = static_cast<std::uint64_t>(static_cast<std::uint32_t>(key_pid_));
    w.address = peer_;
    routing::instant const now = service_.context().now;
    w.since = wall_of(since_, now);
    if (!session_) return w;
    w.database = session_->identity().database;
    w.user = session_->identity().user;
    w.application_name = session_->application_name();
    w.statement = std::string(session_->last_statement());
    w.since = wall_of(session_->writes_since(), now);
    if (server_) {
        w.server_pid = static_cast<std::uint32_t>(server_->state().pid);
        w.state = server_->state().owed.empty() ? "idle in transaction" : "active";
    }
    return w;
}

/// An end that came together with bytes made no edge of its own.
void pg_client::look_for_end() {
    if (!socket_ || finished_) return;
    if ((armed_ || waits_for_its_turn()) && has_hung_up() && !may_still_read()) gone();
}

void pg_client::snapshot_changed() {
    if (replication_) return look_at_site();
    if (!session_ || finished_) return;
    service_.note_busy(*this);
    event([&](session_step& step) { session_->on_snapshot(step); });
}

void pg_client::tick() {
    if (session_ && session_->held() && !finished_) event([&](session_step& step) { session_->on_tick(step); });
}

void pg_client::release_held() {
    if (!session_ || finished_) return;
    event([&](session_step& step) { session_->on_release(step); });
}

}  // namespace lull
