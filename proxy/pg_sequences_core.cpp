// lastval() and currval() in transaction pooling. Nothing that asks for them is sent to a server whose values are not the
// client's: the server forgets them first (DISCARD SEQUENCES), and says itself that there are none. Where clients of a
// user have asked, those who write have it forget what others have left before; and where they have asked behind the
// transaction, who writes keeps its server.
#include "config/ascii.hpp"
#include "proxy/pg_session_core.hpp"

#include <chrono>

namespace lull {

namespace {

// Where others wait for the server it is given up between two statements after this, but not to one who may be about to ask.
constexpr std::chrono::seconds keeps_for{1};
constexpr std::chrono::milliseconds asks_within{20};

/// What currval() is asked for, as a constant with its quotes, where the text has one currval() and that has one; empty: not so.
std::string_view sequence_in(std::string_view text) {
    std::string const folded = ascii_lower(text);
    std::size_t const call = folded.find("currval");
    std::size_t const begin = folded.find('\'', call);
    std::size_t const end = folded.find_first_of("'\\", begin + 1);
    if (folded.find("currval", call + 1) != std::string::npos || begin == std::string::npos || end == std::string::npos) return {};
    bool const plain = folded[end] == '\'' && folded.substr(end, 2) != "''";
    std::string_view const between = std::string_view(folded).substr(call, begin - call);
    return plain && between.find_first_not_of("(\" \t\r\n", 7) == std::string_view::npos ? text.substr(begin, end + 1 - begin)
                                                                                     : std::string_view();
}

/// SELECT 0 where this transaction has not called nextval(), of that sequence where the text asks for one: each sequence
/// that it has come to use is locked until its end, in the mode of nextval(). Empty: nobody can tell.
std::string nextval_question(std::string_view text) {
    std::string const folded = ascii_lower(text);
    bool const last = folded.find("lastval") != std::string::npos;
    bool const one = folded.find("currval") != std::string::npos;
    std::string_view const sequence = one && !last ? sequence_in(text) : std::string_view();
    if (last == one || (one && sequence.empty())) return {};
    std::string sql =
        "SELECT WHERE EXISTS (SELECT FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=)"
        " l.relation WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND c.relkind OPERATOR(pg_catalog.=) 'S'"
        " AND l.mode OPERATOR(pg_catalog.=) 'RowExclusiveLock'";
    if (!sequence.empty()) sql.append(" AND c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(").append(sequence).append(")");
    return sql + ")";
}

}  // namespace

/// At the beginning of what may write, which may call nextval() where it is let.
void pg_session_core::note_sequences(session_step& step) {
    if (server_->role != routing::role::primary || wish_.guarded || in_guard()) return;
    bool const asked_for = sequences_.use() != sequence_use::none && read_write() && !identity_.migration;
    bool const failed = server_->status == 'E' || client_status_ == 'E';
    if (asked_for && !segment_open_ && !failed && !sequences_.are_alone_at(server_->values_of)) forget_sequences(step);
    sequences_.write(server_->values_of, context_.last_value_owner);
    if (asked_for && sequences_.use() == sequence_use::behind && !keeps_server()) pins_.add(pin::sequences);
}

/// What is in hand asks for them. `within`: in the transaction that has written, or behind what writes in the same unit.
/// `text`: of the one statement that asks; empty: several do. True: it waits until its server knows those of others no more,
/// or has said that they are the client's.
bool pg_session_core::waits_for_sequences(bool within, std::string_view text, session_step& step) {
    client_sequences::proof const proof = sequences_.take_proof();
    if (!keeps_server()) sequences_.note_use(within ? sequence_use::within : sequence_use::behind);
    sequences_.ask(server_->values_of);
    bool forgetting = false;  // whether it does is not known before it says so
    for (std::size_t i = 0; i < server_->owed.size() && !segment_open_; ++i) forgetting = forgetting || server_->owed.at(i).forgets_values;
    if (forgetting) {
        await_answers(blocked::barrier, step);
        return true;
    }
    if (sequences_.may_be_told(server_->values_of) || server_->copy_in) {
        sequences_.goes_out();
        return false;
    }
    if (!server_->owed.empty()) {
        await_answers(blocked::barrier, step);
        return true;
    }
    if (server_->status == 'E' || (client_status_ == 'E' && !deferred_)) return false;  // it will not be run
    bool const may_be_own = server_->status == 'T' && may_write_ && !segment_open_ && proof == client_sequences::proof::none;
    std::string const question = may_be_own ? nextval_question(text) : std::string();
    bool const asks = !question.empty();
    owed_reply& owed = asks ? send_own_query(question, step) : forget_sequences(step);
    if (segment_open_) return false;
    owed.asks_values = asks;
    owed.opens = true;
    blocked_ = blocked::settings;
    return true;
}

/// A transaction has no part in that: it may be in one, and outlives its end.
owed_reply& pg_session_core::forget_sequences(session_step& step) {
    static constexpr std::string_view sql = "DISCARD SEQUENCES";
    owed_reply* owed = nullptr;
    if (segment_open_) {
        portals_.drop_unnamed();
        prepared const statement = own_statement(sql);
        ensure_prepared(statement, step);
        owed = &run_own({}, statement->server_name, {}, step);
        owed->ours = true;
    } else {
        owed = &send_own_query(sql, step);
    }
    owed->forgets_values = true;
    sequences_.forget(server_->values_of, context_.last_value_owner);
    return *owed;
}

/// Somebody waits for a server, and this client, which is idle, keeps one only for what it may come to ask.
void pg_session_core::give_up_sequences(session_step& step) {
    if (!pins_.only(pin::sequences) || context_.now - linked_since_ < keeps_for || context_.now - answered_ < asks_within) return;
    if (client_status_ != 'I' || deferred_ || !server_->clean()) return;
    pins_.remove(pin::sequences);
    after_event(step);
    if (server_) pins_.add(pin::sequences);  // something holds it there
}

}  // namespace lull
