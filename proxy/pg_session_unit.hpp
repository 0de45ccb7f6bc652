// What a session takes from its client at a time: a Query, or a segment of the extended protocol. Values; they refer to
// the client's bytes and live no longer than these.
#pragma once

#include "protocol/pg/bytes.hpp"
#include "protocol/pg/frontend.hpp"
#include "proxy/pg_prepared_core.hpp"
#include "routing/policy.hpp"
#include "routing/sql_classifier.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace lull {

/// A simple query that was understood, without the catalog, and had to wait; `facts` is how its text was read.
struct judged_text {
    std::shared_ptr<routing::operation const> op;
    routing::text_facts facts;
    std::uint32_t size = 0;  // of the message; the protocol has no longer ones
};

struct unit_message {
    char type = 0;
    std::size_t offset = 0;
    std::size_t size = 0;       // whole message
    bool whole = false;         // all of it is here
    bool of_statement = false;  // Describe, Close: not of a portal
    prepared statement;         // Parse: what it defines; Bind, Execute, Describe: what it is about
    std::string_view name;      // as far as servers know it
};

struct unit_plan {
    std::vector<unit_message> messages;
    bool closed = false;  // ends with Sync or Flush
    bool wait = false;    // more bytes must come before it can be placed
    bool writes = false;  // it binds what may
    bool asks_sequences = false;     // it binds what asks what nextval() has said ...
    bool asks_behind_write = false;  // ... and before that what may have called it
    std::string_view asking;         // that statement; empty: several are
    routing::verdict verdict = routing::verdict::to_reader;
    routing::access strictest = routing::access::read;  // of all that it is about
    prepared offender;  // of the first write that may not run
};

/// Whether what this Bind binds is described right behind it. None: nothing of what is behind it is here yet; `in`: all that is.
inline std::optional<bool> is_described(unit_message const& bind, unit_plan const& plan, pg::bytes in) {
    unit_message const* const next = &bind + 1;
    if (next == plan.messages.data() + plan.messages.size()) {
        if (in.size() < bind.offset + bind.size) return false;
        pg::bytes const behind = in.subspan(bind.offset + bind.size);
        bool const open = behind.empty() || static_cast<char>(behind.front()) == pg::frontend::describe;
        return open ? std::optional<bool>() : false;
    }
    return bind.type == pg::frontend::bind && next->type == pg::frontend::describe && !next->of_statement && next->name == bind.name;
}

/// Whether its result stays what it was when it was described, or is an error.
inline bool has_shape(prepared const& statement) {
    return statement && !statement->by_sql && statement->operation->is_query();
}

/// Of the BEGIN that it begins with.
inline routing::begin_options first_options(unit_plan const& plan) {
    prepared const& first = plan.messages.front().statement;
    if (!first || first->operation->statements.size() != 1) return {};
    routing::statement const& s = first->operation->statements.front();
    return s.kind == routing::statement_kind::begin ? s.begin : routing::begin_options{};
}

/// Where it is run, and not where it is only prepared.
inline bool asks_sequences(routing::operation const& op) {
    return op.asks_sequences && op.statements.front().kind != routing::statement_kind::prepare;
}

/// A segment that is one query: [Parse of the unnamed statement] Bind [Describe] Execute Sync, of the unnamed portal.
struct plain_segment {
    prepared statement;
    routing::verdict verdict{};
    routing::operation const* operation = nullptr;  // with the catalog; until the next judge()
    std::size_t size = 0;
    std::size_t bind = 0;   // where that message begins
    std::size_t names = 0;  // bytes of its body that are names
    std::size_t rest = 0;   // ... and of all of it
    bool parses = false;
    bool describes = false;
    std::uint32_t meaning = 0;  // in the statement_book of the name that the client has it by; 0: it has none, and was not described
};

struct refused_unit {
    routing::operation const& what;
    std::string_view text;  // empty: not all of it is here
    std::size_t bytes;      // of the unit
    bool whole;
    unit_plan const* segment = nullptr;  // of the extended protocol
};

}  // namespace lull
