// What keeps a client on its server, and how that ends: the text of DROP TABLE, CLOSE or COMMIT does not tell whether
// anything is left, so the server is asked, behind what may have ended it, while the client waits for nothing.
#include "proxy/pg_session_core.hpp"

#include <array>
#include <utility>

namespace lull {

using routing::statement_kind;

namespace {

// One CommandComplete each: SELECT 0 where nothing is left. Names are qualified, for the session's search_path is the
// client's. Whatever stands in a schema depends on it; 2615 is pg_namespace.
constexpr std::array<std::pair<pin, char const*>, 4> questions{{
    {pin::temporary,
     "SELECT WHERE EXISTS (SELECT FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) 2615::pg_catalog.oid"
     " AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema());"},
    {pin::cursor, "SELECT WHERE EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable);"},
    {pin::lock,
     "SELECT WHERE EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory'"
     " AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid());"},
    {pin::listen, "SELECT WHERE EXISTS (SELECT FROM pg_catalog.pg_listening_channels());"},
}};

/// The lock that may be there is asked for with the one that is.
bool is_asked(pin_set const& pins, pin what) {
    return pins.has(what) || (what == pin::lock && pins.has(pin::hidden_lock));
}

}  // namespace

/// What the code that it calls may leave there, by what is known of that code.
void pg_session_core::pin_by(routing::leavings left) {
    using enum routing::leaving;
    left.remove(as_written);
    // What READ ONLY and a standby do not permit, and what ROLLBACK undoes.
    bool const rolled_back = guard_needed() || in_guard();
    if (rolled_back || server_->role == routing::role::replica)
        for (routing::leaving what : {temporary, listen}) left.remove(what);
    if (rolled_back)
        for (routing::leaving what : {cursor, setting}) left.remove(what);
    if (!left) return;
    if (left.has(library)) server_->tainted = true;  // no DISCARD ALL takes it back
    kept_by_commit_ = kept_by_commit_ || (!rolled_back && (left.has(cursor) || left.has(listen) || left.has(setting)));
    pins_.add(left);
    made_state_ = pins_due_ = true;
    if (left.has(listen)) listens({});
}

void pg_session_core::pin_by(routing::statement const& s) {
    if (s.leaves) {
        pin_by(s.leaves);
        if (!s.leaves.has(routing::leaving::as_written)) return;
    }
    pins_.add(s);
    made_state_ = true;
    pins_due_ = pins_due_ || s.kind != statement_kind::listen;  // it stays, unless it is rolled back
    kept_by_commit_ = kept_by_commit_ ||
                      (!in_guard() && (s.kind == statement_kind::declare_cursor || s.kind == statement_kind::listen));
}

/// It may end what keeps its client there. (What it drops at its COMMIT does so, too, and is asked for with the rest.)
void pg_session_core::note_end_of_pins(routing::statement const& s) {
    if (!pins_) return;
    if (s.kind == statement_kind::discard && s.name == "SEQUENCES") pins_.remove(pin::sequences);
    pins_due_ = pins_due_ || s.kind == statement_kind::ddl || s.kind == statement_kind::discard ||
                s.kind == statement_kind::close_cursor ||
                (s.kind == statement_kind::rollback_to && pins_.has(pin::listen));
}

/// The client is idle and keeps its server. While the site is closed a server from before the flip is kept for it, but
/// others wait for one that can only read.
void pg_session_core::ask_for_pins(session_step& step) {
    if (!pins_due_ || !pins_.askable() || keeps_server() || deferred_ || client_status_ != 'I') return;
    bool const reader = wish_.guarded || server_->role == routing::role::replica;
    if (read_write() || reader) ask_what_pins(step);
}

void pg_session_core::ask_what_pins(session_step& step) {
    pins_due_ = false;
    std::string sql;
    for (auto const& [what, question] : questions)
        if (is_asked(pins_, what)) sql += question;
    send_own_query(sql, step).asks_pins = true;
}

void pg_session_core::answer_pins(owed_reply& front, std::string_view tag) {
    if (tag == "SELECT 0") front.pins_gone |= static_cast<std::uint8_t>(1U << front.pins_answered);
    ++front.pins_answered;
}

/// It has answered. Behind what the client has sent meanwhile it has to be asked once more.
void pg_session_core::settle_pins(bool failed, std::uint8_t gone) {
    if (failed) return;
    if (!server_->clean() || segment_open_) {
        pins_due_ = true;
        return;
    }
    for (auto const& [what, question] : questions) {
        if (!is_asked(pins_, what)) continue;
        bool const is_gone = (gone & 1U) != 0;
        gone = static_cast<std::uint8_t>(gone >> 1U);
        if (!is_gone) continue;
        pins_.remove(what);
        if (what == pin::lock) pins_.remove(pin::hidden_lock);
        if (what == pin::listen && channels_) channels_->own.clear();  // its LISTEN was rolled back
    }
    if (!pins_.beside(pin::sequences)) made_state_ = false;
}

}  // namespace lull
