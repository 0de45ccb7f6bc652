// SQL's PREPARE, EXECUTE and DEALLOCATE, whose names are those of the protocol's statements. What a client has
// prepared is text, and is prepared again, under the same name, on whichever server an EXECUTE of it comes to. So
// before a statement with such a name goes out, the server has to have under that name what the client has, or
// nothing; then the server itself is the judge.
#include "protocol/pg/backend.hpp"
#include "protocol/pg/reader.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_refusal_core.hpp"
#include "proxy/pg_session_core.hpp"
#include "routing/moment_literal.hpp"
#include "routing/quoted.hpp"

#include <algorithm>
#include <set>

namespace lull {

using routing::statement_kind;

namespace {

/// A type by its OID (pg_type.dat): what drivers name when they Parse. Empty: another one.
std::string_view type_name(std::uint32_t oid) {
    switch (oid) {
        case 0:
        case 705:
            return "unknown";
        case 16:
            return "bool";
        case 17:
            return "bytea";
        case 20:
            return "int8";
        case 21:
            return "int2";
        case 23:
            return "int4";
        case 25:
            return "text";
        case 26:
            return "oid";
        case 114:
            return "json";
        case 700:
            return "float4";
        case 701:
            return "float8";
        case 1043:
            return "varchar";
        case 1082:
            return "date";
        case 1114:
            return "timestamp";
        case 1184:
            return "timestamptz";
        case 1700:
            return "numeric";
        case 2950:
            return "uuid";
        case 3802:
            return "jsonb";
        default:
            return {};
    }
}

}  // namespace

bool pg_session_core::uses_name(statement_kind kind) {
    return kind == statement_kind::prepare || kind == statement_kind::execute ||
           kind == statement_kind::deallocate || kind == statement_kind::explain || kind == statement_kind::ddl;
}

/// What is under way may yet fail, and names then mean what they did before.
bool pg_session_core::names_are_open() const {
    if (!server_ || server_->copy_in) return false;
    for (std::size_t i = 0; i < server_->owed.size(); ++i)
        if (!server_->owed.at(i).name.empty()) return true;
    return false;
}

/// Of one that is to be prepared, or deallocated: whether it is there is not known yet.
bool pg_session_core::is_open(std::string_view name) const {
    if (!server_ || segment_open_ || server_->copy_in || name.empty()) return false;
    for (std::size_t i = 0; i < server_->owed.size(); ++i)
        if (server_->owed.at(i).name == name) return true;
    return false;
}

/// DEALLOCATE ALL, or DISCARD ALL, stands before it in its segment: where this is reached, all names are free.
bool pg_session_core::frees_names() const {
    return wiping_ && std::ranges::any_of(pending_, [](pending_setting const& p) {
               return p.kind == pending_setting::what::discard_all ||
                      (p.kind == pending_setting::what::deallocate_all && !p.confirmed);
           });
}

/// The same of a name that was the client's until then. (What has been prepared behind it is owed.)
bool pg_session_core::is_wiped(std::string_view name) const {
    if (name.empty() || !frees_names()) return false;
    for (std::size_t i = server_->owed.size(); i-- > 0;) {
        owed_reply const& owed = server_->owed.at(i);
        if (owed.wipes || owed.name == name) return owed.wipes;
    }
    return false;
}

/// What executing it is: EXECUTE with no more than constants is what was prepared. Of others nobody knows.
std::shared_ptr<routing::operation const> pg_session_core::execution_of(
    std::shared_ptr<routing::operation const> const& op) {
    if (op->statements.size() != 1) return op;
    routing::statement const& s = op->statements.front();
    if (s.kind != statement_kind::execute || s.value.empty()) return op;
    prepared made = statements_.find(s.name);
    // (A name that is not certain is not put in its place, and servers may have another statement under it.)
    if (made && !made->by_sql) made = is_certain_name(s.name) ? as_sql(s.name, made) : nullptr;
    if (!made) return op;
    auto const& read = as_read_now(made)->operation;
    bool const understood = read->statements.size() == 1 && read->statements.front().kind == statement_kind::execute;
    return understood ? read : op;
}

std::shared_ptr<routing::operation const> pg_session_core::execution_of(routing::operation const& prepare) const {
    auto made = std::make_shared<routing::operation>(prepare);
    routing::statement& s = made->statements.front();
    bool const reads = s.value == "read";
    s.kind = statement_kind::execute;
    if (s.access <= routing::access::session) s.command = "EXECUTE";
    if (reads && s.access == routing::access::session) s.access = routing::access::read;
    if (reads) s.listed = routing::access::read;
    s.value.clear();
    s.offset = s.length = 0;
    s.beside = routing::access::write;  // by its text, it goes nowhere else
    made->has_targets = false;
    made->access = s.access;
    return made;
}

void pg_session_core::keep_prepared() {
    pins_.add(pin::prepared);
    made_state_ = true;
}

/// An ErrorResponse, or nothing.
std::string pg_session_core::refuses_to_prepare(routing::statement const& s, std::size_t bytes) const {
    std::string out;
    if (statements_.contains(s.name) && !frees_names())
        pg::write_error_response(out, {.sqlstate = pg::sqlstate::duplicate_prepared_statement,
                                       .message = "prepared statement \"" + s.name + "\" already exists"});
    else if (bytes > limits().max_statement_bytes)
        pg::write_error_response(out, {.sqlstate = pg::sqlstate::program_limit_exceeded,
                                       .message = "statement is longer than the limit of the proxy",
                                       .hint = "The limit is limits.max_statement_bytes."});
    else
        out = book_refusal(statements_, s.name.size() + bytes, limits());
    return out;
}

/// Null: it stays where it is, and so does its client, for servers may know it by another name than is read here, or read
/// it otherwise by now than when it was parsed.
prepared pg_session_core::sql_prepared(routing::statement const& s, std::string_view text) {
    auto const op = context_.classifier.classify(text, text_facts());
    bool const same = op->statements.size() == 1 && op->statements.front().kind == statement_kind::prepare &&
                      op->statements.front().name == s.name;
    if (same && is_certain_name(s.name) && routing::has_moment_literal(text))
        return context_.statements.make_alone_sql(s.name, text, execution_of(*op));
    if (same && is_certain_name(s.name))
        return context_.statements.intern_sql(s.name, text, reading_context(), execution_of(*op));
    keep_prepared();
    return nullptr;
}

/// For EXECUTE: a statement that the client has prepared with Parse, judged by the very text that servers get. Null: its types
/// have no names here, or it would be more than one.
prepared pg_session_core::as_sql(std::string_view name, prepared const& statement) {
    if (statement->by_sql) return statement;
    std::string sql = "PREPARE " + routing::quoted(name, '"');
    pg::reader types(pg::as_bytes(statement->types));
    for (char const* before = "("; types.rest().size() >= 4; before = ",") {
        std::string_view const type = type_name(types.uint32());
        if (type.empty()) return nullptr;
        sql.append(before).append("pg_catalog.").append(type);  // whatever the search_path
    }
    if (!statement->types.empty()) sql += ')';
    sql.append(" AS ").append(statement->text);
    auto const read = context_.classifier.classify(sql, text_facts());
    if (read->statements.size() > 1) return nullptr;
    auto const makes_it = [&](routing::statement const& s) { return s.kind == statement_kind::prepare && s.name == name; };
    bool const prepares = read->statements.size() == 1 && makes_it(read->statements.front());
    return context_.statements.intern_sql(name, sql, context_within(*statement, reading_context()),
                                          prepares ? execution_of(*read) : read);
}

/// The server has under this name what the client has, or nothing.
void pg_session_core::put_in_place(std::string_view name, session_step& step) {
    if (!is_certain_name(name)) return;
    prepared const made = statements_.find(std::string(name));
    prepared const wanted = made ? as_sql(name, made) : nullptr;
    if (wanted) {
        bool const known = server_->statements.use(wanted->id);
        ++(known ? stats_.prepared_known : stats_.prepared_parsed);
        if (known) return;
    }
    // Read as things are now, its text may be another, and even several.
    routing::text_facts const now = text_facts();
    bool const same = wanted && (now == routing::text_facts{} ||
                                 context_.classifier.classify(wanted->text, now)->why != routing::why::encoding);
    if (same)
        make_by_sql(wanted, step);
    else
        clear_name(name, step);
}

/// What the client has not prepared it cannot execute, also where others have, or their functions, of which nobody
/// knows. On a server that is its own, nobody else has.
void pg_session_core::clear_name(std::string_view name, session_step& step) {
    prepared const was = server_->statements.named(name);
    if (!pins_.beside(pin::sequences) || was || server_->doubtful.named(name)) close_on_server(name, was, step);
}

void pg_session_core::make_by_sql(prepared const& statement, session_step& step) {
    close_on_server(statement->server_name, server_->statements.named(statement->server_name), step);
    make_room(*statement, step);
    server_->statements.add(statement);
    if (!segment_open_) {
        send_own_query(statement->text, step).parsed = statement;
        return;
    }
    portals_.drop_unnamed();
    prepared const maker = own_statement(statement->text);
    ensure_prepared(maker, step);
    owed_reply& owed = run_own({}, maker->server_name, {}, step);
    owed.ours = true;
    owed.parsed = statement;
}

/// A statement that names another is about to go out. (A PREPARE alone is begin_prepare's.)
void pg_session_core::put_in_place(routing::statement const& s, session_step& step) {
    if (!uses_name(s) || s.kind == statement_kind::prepare) return;
    if (s.kind == statement_kind::deallocate && statements_.contains(s.name)) return;  // it does not go out
    put_in_place(s.name, step);
}

/// The client's PREPARE of this is about to go out, also where the server has just that: it is to be read as things are now.
void pg_session_core::begin_prepare(prepared const& what, session_step& step) {
    std::string const& name = what->server_name;
    // While the site is closed it must not fail for what has come there unseen, and leave that to be executed in its place.
    prepared const was = server_->statements.named(name);
    if (!read_write() || was || server_->doubtful.named(name)) close_on_server(name, was, step);
    make_room(*what, step);
    server_->statements.add(what);
}

/// Before a Query goes out.
void pg_session_core::note_names(routing::operation const& op, session_step& step) {
    if (op.statements.size() == 1) return put_in_place(op.statements.front(), step);
    std::set<std::string_view> placed;
    for (routing::statement const& s : op.statements) {
        if (!uses_name(s)) continue;
        // What it means further on is what the text itself has made of it.
        if (placed.insert(s.name).second) put_in_place(s.name, step);
        // How far a text of several has come when it fails nobody knows: its names stay with their server.
        if (s.kind == statement_kind::prepare) keep_prepared();
        if (s.kind != statement_kind::deallocate) continue;
        server_->tainted = true;
        if (prepared const gone = server_->statements.named(s.name)) server_->statements.remove(gone->id);
        statements_.take(s.name);
    }
}

}  // namespace lull
