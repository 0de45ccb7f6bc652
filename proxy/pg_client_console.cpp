// A pg_client that talks to the console. Its questions go to the control thread, which answers in its own
// time.
#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_service.hpp"

namespace lull {

void pg_client::begin_console() {
    console_ = std::make_unique<console>(
        console{console_session_core(*login_->console()), login_->user(), service_.random(login_->secret_bytes())});
    login_.reset();
    service_.console_begun();
    ++service_.context().stats.sessions;
    key_pid_ = service_.enlist(*this);
    std::string out;
    console_->core.start(key_pid_, console_->key_secret, out);
    flush_text(out);
    if (!finished_ && !in_.empty()) console_input();
}

void pg_client::console_input() {
    std::string out;
    std::size_t const used = console_->core.on_client(pg::as_bytes(in_), out);
    in_.erase(0, used);
    if (console_->core.closing()) closing_ = true;
    if (!out.empty() || closing_) flush_text(out);
    if (finished_) return;
    if (auto question = console_->core.take_question())
        console_->request = service_.ask_console(*this, std::move(*question), console_->user);
}

void pg_client::console_answered(std::string_view messages, bool last) {
    if (finished_ || !console_ || console_->request == 0) return;
    if (last) console_->request = 0;
    std::string out;
    console_->core.on_answer(messages, last, out);
    flush_text(out);
    if (!last || finished_) return;
    if (!in_.empty()) console_input();
    if (!finished_) resume_reading();
}

/// A cancel request, or the end of the connection: nobody waits for the answer any more.
void pg_client::give_up_console() {
    if (!console_ || console_->request == 0) return;
    service_.cancel_console(std::exchange(console_->request, 0));
    if (finished_) return;
    std::string error;
    pg::write_error_response(error, {.sqlstate = pg::sqlstate::query_canceled,
                                     .message = "canceling statement due to user request"});
    std::string out;
    console_->core.on_answer(error, true, out);
    flush_text(out);
    if (!finished_) resume_reading();
}

void pg_client::kill() {
    if ((!session_ && !replication_) || finished_) return;
    cancel({});
    if (!finished_) stop(false);
}

}  // namespace lull
