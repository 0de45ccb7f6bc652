// What is known of one server connection as far as the protocol goes, and what it still owes. Owned by the
// connection, changed by the session it is lent to (pg_session_core). No sockets here.
#pragma once

#include "proxy/client_sequences_core.hpp"
#include "proxy/pg_portal_table_core.hpp"
#include "proxy/pg_prepared_core.hpp"
#include "proxy/pg_settings_core.hpp"
#include "routing/operation.hpp"
#include "routing/snapshot.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lull {

/// Replies come in the order of what was sent; each message that will be answered leaves one of these.
enum class owed_kind : std::uint8_t {
    query,
    function_call,
    parse,
    bind,
    describe,
    execute,
    close,
    sync,
    local,
    segment  // a whole one that is a single query, with its Sync (pg_plain_core.cpp)
};

/// A ReadyForQuery is its answer, or the end of that.
inline bool ends_ready(owed_kind kind) {
    return kind == owed_kind::query || kind == owed_kind::sync || kind == owed_kind::function_call || kind == owed_kind::segment;
}
/// What PostgreSQL skips to, from what has failed in a segment, is this or in this.
inline bool ends_segment(owed_kind kind) { return kind == owed_kind::sync || kind == owed_kind::segment; }

/// What of it is a mark: begun anew with one assignment.
struct owed_marks {
    owed_kind kind = owed_kind::query;
    bool opens = false;        // ours: a unit waits for this BEGIN
    bool guards = false;       // ours: makes the READ ONLY transaction that what comes behind it is to run in
    bool proves = false;       // ours: a COMMIT waits for it, which may be told only where nothing has been written
    bool ours = false;         // the client did not ask: swallow the answer
    bool idle_after = false;   // ReadyForQuery goes out as idle: our own transaction is around it
    bool block_after = false;  // ReadyForQuery goes out as in a block: we open the next one behind it
    bool aside = false;        // of a segment that only prepares, ahead of a block that is not begun yet
    bool settings = false;     // ours: it makes settings. Otherwise: success confirms those recorded with it
    std::uint16_t settings_count = 0;
    bool asks_pins = false;          // ours: a question of pg_pins_core.cpp for each CommandComplete
    std::uint8_t pins_answered = 0;
    std::uint8_t pins_gone = 0;      // by the number of the question
    std::uint32_t meaning = 0;       // of a Describe: of what it is about, in the client's statement_book
    // (A bit each: with a byte more the whole is eight longer.)
    bool failed : 1 = false;      // an ErrorResponse came
    bool keeps : 1 = false;       // ours: turns off what would have the server end the session; it may fail
    bool again : 1 = false;       // of the first of pg_server_state::unit: that may come again; of a Sync, ours: behind it it does
    bool elsewhere : 1 = false;   // a read on a standby, until one of its rows has been told: it may come again, for the primary
    bool canceled : 1 = false;    // the server has been told, or is about to be, to cancel it
    bool forgets_values : 1 = false;  // ours: what nextval() has said to others
    bool asks_values : 1 = false;     // ours: whether they are the client's
    bool hints_values : 1 = false;    // the client asks for what its server does not know any more
    bool apart : 1 = false;     // of several statements, each of which settles what was recorded for it
    bool wipes : 1 = false;     // DEALLOCATE ALL or DISCARD ALL of the extended protocol
    bool plain : 1 = false;     // of one query: nothing that comes before its end, or an error, has to be looked into
    bool unparsed : 1 = false;  // of a segment: it has a Parse, which has not been answered
    bool writes = false;          // may write, with the right of its session to do so
    bool commits = false;         // has a COMMIT
    bool copy_ended = false;      // CopyDone or CopyFail has been sent right behind it
    bool ends_alone = false;      // is nothing but COMMIT or ROLLBACK, with or without CHAIN; ours: of the client's own block
    bool ready = false;           // local: its text has the ReadyForQuery of a Query
    bool ends = false;            // may end the transaction that it runs in
    std::optional<routing::access> said;  // what the classifier said of the client's statement
    char const* retag = nullptr;  // CommandComplete goes out with this tag; static storage
};

struct owed_reply : owed_marks {
    prepared parsed;              // for parse: what the server then has; for close: what it then has not
    prepared before;              // of the client's: what its name meant until then, if the server skips this; none: the unnamed one;
                                  // of a Describe: what it is about, where its columns are to be looked at
    std::unique_ptr<portal_change> portal;  // likewise, of a portal
    std::string
        text;  // local: the reply itself. Otherwise, if not empty: goes out in place of the ErrorResponse
    std::string name;  // of a client's Parse or Close of a named statement

    /// As a new one; most have nothing but marks.
    void clear() {
        static_cast<owed_marks&>(*this) = {};
        if (parsed) parsed = nullptr;
        if (before) before = nullptr;
        if (portal) portal = nullptr;
        empty(text);
        empty(name);
    }

  private:
    /// A whole error, say, is not kept for as long as the connection lives.
    static void empty(std::string& what) {
        what.clear();
        if (what.capacity() > 1024) what.shrink_to_fit();
    }
};

/// A Parse of the client's unnamed statement that has not been answered.
inline bool parses_unnamed(owed_reply const& owed) {
    return owed.unparsed || (owed.kind == owed_kind::parse && !owed.ours && owed.name.empty());
}

/// CommandComplete of what begins a block.
inline bool is_begin_tag(std::string_view tag) {
    return tag == "BEGIN" || tag == "START TRANSACTION";
}

/// A queue that keeps its memory.
class owed_queue {
  public:
    bool empty() const { return count_ == 0; }
    /// Takes out every Sync that was sent before the copy that the oldest started was ended. How many went.
    std::size_t drop_syncs_of_copy() {
        std::size_t to = 1;
        bool ended = count_ == 0 || at(0).copy_ended;
        for (std::size_t from = 1; from < count_; ++from) {
            // Whatever else is sent into a copy makes it fail.
            if (at(from).kind != owed_kind::sync && at(from).kind != owed_kind::local) ended = true;
            bool const ends_here = at(from).copy_ended;
            if (ended || at(from).kind != owed_kind::sync) {
                if (to != from) at(to) = std::move(at(from));
                ++to;
            }
            ended = ended || ends_here;
        }
        std::size_t const gone = count_ == 0 ? 0 : count_ - to;
        for (std::size_t i = count_ - gone; i < count_; ++i) at(i).clear();
        count_ -= gone;
        return gone;
    }
    std::size_t size() const { return count_; }
    owed_reply& front() { return ring_[head_]; }
    owed_reply& at(std::size_t i) { return ring_[(head_ + i) & (ring_.size() - 1)]; }
    owed_reply& push(owed_kind kind) {
        if (count_ == ring_.size()) grow();
        owed_reply& entry = ring_[(head_ + count_++) & (ring_.size() - 1)];
        entry.kind = kind;
        return entry;
    }
    void pop() {
        ring_[head_].clear();
        head_ = (head_ + 1) & (ring_.size() - 1);
        --count_;
    }

  private:
    void grow() {
        std::vector<owed_reply> larger(ring_.empty() ? 8 : ring_.size() * 2);
        for (std::size_t i = 0; i < count_; ++i) larger[i] = std::move(at(i));
        ring_ = std::move(larger);
        head_ = 0;
    }
    std::vector<owed_reply> ring_;
    std::size_t head_ = 0;
    std::size_t count_ = 0;
};

struct pg_server_state {
    routing::backend_id backend{};
    routing::role role = routing::role::primary;
    std::uint64_t generation = 0;  // of the site when it was opened
    std::int32_t pid = 0;
    std::string secret;  // of BackendKeyData, as it came

    char status = 'I';          // of the last ReadyForQuery
    session_settings actual;    // made in this session, on top of its defaults
    session_settings reported;  // ParameterStatus, by value
    server_prepared statements;
    prepared unnamed;  // what its unnamed statement is
    std::uint32_t unnamed_meaning = 0;  // of that, where it was described to a client: statement_book::unnamed() of that client
    std::optional<routing::epoch> certain_in;  // the window in which `statements` are certain
    prepared looked;           // has just been parsed and described there for the unit that waits
    server_prepared doubtful;  // their names are taken; it may have made others of them
    bool names_open = false;   // something unknown has run in this window, and may have made another statement of a name
    bool begun_closed = false;  // in a window
    char stays = 0;  // the status in which what would have it end its session was turned off; 0: it was not; '?': it was undone

    value_owner values_of = no_values;  // what nextval() has said in it

    owed_queue owed;
    std::string unit;  // of its client: what it owes first is its answer, if that says so
    std::string described;  // ParameterDescription, until it is known that this unit does not come again
    std::size_t body_left = 0;  // of a message that is being streamed
    bool body_swallowed = false;
    bool copy_in = false;  // it waits for CopyData
    bool tainted = false;  // a client may have left in it what nobody knows of: not for another one
    bool ending = false;   // it has said FATAL: the end of the connection is next
    bool cancelling = false;  // a cancel is asked for and not over: it would hit what is sent now

    bool owes_nothing_but_sync() {
        return owed.empty() || (owed.size() == 1 && owed.front().kind == owed_kind::sync);
    }
    bool clean() const { return status == 'I' && owed.empty() && body_left == 0 && !copy_in; }
};

}  // namespace lull
