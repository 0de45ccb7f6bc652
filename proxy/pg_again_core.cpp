// "cached plan must not change result type": DDL has changed what a prepared statement returns. Outside of a block, and
// where nothing of its segment has been done or told, the statement is prepared anew and the segment sent once more, and
// its client does not notice. And what Lull does so that it comes to that also where another server than the one that told
// its columns prepares it.
#include "protocol/pg/backend.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/reader.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_session_core.hpp"

#include <algorithm>
#include <optional>

namespace lull {

namespace {

// A longer segment gets PostgreSQL's error.
constexpr std::size_t longest_kept = 8 * 1024;

/// Whether its Parse has said of each of so many parameters what type it is.
bool declares_all(prepared_text const& statement, std::size_t parameters) {
    if (statement.types.size() < 4 * parameters) return false;
    pg::reader in(pg::as_bytes(statement.types));
    for (std::size_t i = 0; i < parameters; ++i)
        if (in.int32() == 0) return false;
    return true;
}

/// Whether it means the same whatever columns and types there are now. Columns that have come to be more, or fewer, would
/// have formats: none and one are for all of them. What is binary is read by its type, which stays what has been told.
bool means_the_same(pg::bytes bind, prepared_text const& statement) {
    pg::reader in(bind.subspan(std::get<pg::bind_names>(pg::parse_bind_names(bind, bind.size())).rest));
    bool binary = false;
    for (std::size_t formats = in.uint16(); formats > 0 && in.good(); --formats) binary = in.uint16() != 0 || binary;
    std::size_t const parameters = in.uint16();
    for (std::size_t i = 0; i < parameters && in.good(); ++i)
        if (std::int32_t const size = in.int32(); size > 0) in.take(static_cast<std::size_t>(size));
    return in.uint16() <= 1 && in.good() && (!binary || !statement.told.types.empty() || declares_all(statement, parameters));
}

std::string changed_result() {
    std::string out;
    pg::write_error_response(out, {.sqlstate = pg::sqlstate::feature_not_supported,
                                   .message = "cached plan must not change result type",
                                   .routine = "RevalidateCachedQuery"});
    return out;
}

/// Whether what it begins with asks for the shape of what it gets, and nothing behind that has it otherwise: who knows the
/// columns from before, and only executes, would take the new ones for the old.
bool is_described(unit_plan const& plan) {
    unit_message const& first = plan.messages.front();
    auto const binds = [](unit_message const& m) { return m.type == pg::frontend::bind; };
    if (first.type == pg::frontend::describe) return first.of_statement && std::ranges::none_of(plan.messages, binds);
    return first.type == pg::frontend::bind && plan.messages.size() > 2 && plan.messages[1].type == pg::frontend::describe &&
           !plan.messages[1].of_statement && plan.messages[1].name == first.name &&
           std::ranges::count_if(plan.messages, binds) == 1;
}

/// The statement that a Bind or a Describe is about, by the name that its client has for it.
std::string_view statement_name(char type, pg::bytes body) {
    if (type == pg::frontend::describe) return known_name(pg::parse_describe(body)->name);
    return known_name(std::get<pg::bind_names>(pg::parse_bind_names(body, body.size())).statement);
}

}  // namespace

/// A whole segment has gone out to a server that owed nothing, and its first message is of a statement that is there.
void pg_session_core::keep_unit(pg::bytes unit, unit_plan const& plan) {
    if (is_described(plan) && plan.messages.back().type == pg::frontend::sync) keep_unit(unit);
}

/// It asks for that shape.
void pg_session_core::keep_unit(pg::bytes unit) {
    if (unit.size() > longest_kept || client_status_ != 'I' || !read_write() || keeps_server()) return;
    server_->unit.assign(pg::as_text(unit));
    server_->owed.front().again = true;
}

/// The server has failed the oldest debt for that. True: what was kept is to come again, once the server is ready; its
/// statement is closed and parsed before it then, so that what comes again is not kept again.
bool pg_session_core::gives_back(pg::error_fields const& failed) {
    owed_queue& owed = server_->owed;
    bool const in_order = blocked_ == blocked::no || blocked_ == blocked::barrier;
    if (!owed.front().again || client_gone_ || closing_ || !in_order || !fail_next_.empty()) return false;
    if (server_->cancelling) return false;  // meant for this, and would miss it
    // By code of the client's that Bind has run; and what has been sent behind it would come before it.
    if (failed.where || segment_open_ || client_body_left_ > 0 || !read_write()) return false;
    for (std::size_t i = 0; i + 1 < owed.size(); ++i)
        if (ends_segment(owed.at(i).kind)) return false;
    pg::bytes const unit = pg::as_bytes(server_->unit);
    auto const header = pg::parse_header(unit.first<pg::header_bytes>());
    pg::bytes const body = unit.subspan(pg::header_bytes, header->body_bytes);
    std::string_view const name = statement_name(header->type, body);
    prepared const stale = name.empty() ? unnamed_ : statements_.find(std::string(name));
    if (!stale || !server_->statements.has(stale->id)) return false;
    if (header->type == pg::frontend::bind && !means_the_same(body, *stale)) return false;
    doubt(stale);
    return renews(name, stale);
}

/// Its name is taken there; what is behind it is not what clients have been told.
void pg_session_core::doubt(prepared const& statement) {
    server_->statements.remove(statement->id);
    server_->doubtful.add(statement);
    // As in doubt_names(): change by change they would become more.
    if (server_->doubtful.size() > limits().max_server_prepared_statements) server_->tainted = true;
}

/// The client has another statement by that name from now, of the same text, which is nowhere yet. False: it could not send
/// what it sends to the one before.
bool pg_session_core::renews(std::string_view name, prepared const& stale) {
    context_.statements.forget({stale});
    prepared const fresh = stale->alone
                               ? context_.statements.make_alone(stale->text, stale->types, stale->operation)
                               : context_.statements.intern(stale->text, stale->types, reading_context(), stale->operation);
    if (fresh->told.types.empty()) fresh->told.types = stale->told.types;
    if (fresh->told.types != stale->told.types) return false;
    if (name.empty())
        unnamed_ = fresh;
    else
        statements_.put(std::string(name), fresh);
    return true;
}

/// The columns that a client has been told of are those of the session in which its statement was described. Where another
/// session comes to parse it, that one is asked before anything is bound. True: it has been, and its answer is waited for.
bool pg_session_core::looks_first(prepared const& statement, session_step& step) {
    if (!statement->told.columns || server_->differs == statement || server_->statements.use(*statement) || is_dead_block())
        return false;
    ensure_prepared(statement, step);
    step.server.write([&](std::string& out) {
        pg::write_describe(out, pg::target_kind::statement, statement->server_name);
        pg::write_flush(out);
    });
    owed_reply& owed = server_->owed.push(owed_kind::describe);
    owed.ours = true;
    owed.before = statement;
    blocked_ = blocked::barrier;
    return true;
}

/// What a server says of a statement that it knows by name.
void pg_session_core::note_shape(char type, pg::bytes body) {
    owed_reply const& front = server_->owed.front();
    prepared const& statement = front.before;
    if (!server_->statements.has(statement->id)) return;
    told_shape& told = statement->told;
    if (type == pg::backend::parameter_description) {
        auto const types = pg::parse_parameter_description(body);
        if (types && told.types.empty()) told.types = *types;
        return;
    }
    std::optional<std::uint64_t> columns;
    if (type == pg::backend::row_description) {
        columns = pg::parse_row_shape(body);
        if (!columns) return;
    }
    if (!told.known) {
        told.known = true;
        told.columns = columns;
    } else if (told.columns != columns) {
        doubt(statement);
        if (front.ours) server_->differs = statement;
        return;
    }
    server_->statements.confirm(statement->id);
}

void pg_session_core::tell_described(session_step& step) {
    if (server_->described.empty()) return;
    if (!client_gone_) step.client.text(server_->described);
    server_->described.clear();
}

/// A server was looked at for the first statement of this segment, and has other columns for it. True: the segment has been
/// given one that its client knows nothing of, and is planned anew.
bool pg_session_core::takes_new_shape(pg::bytes in, unit_plan const& plan) {
    unit_message const& first = plan.messages.front();
    if (first.statement != server_->differs) {
        server_->differs = nullptr;
        return false;
    }
    pg::bytes const body = in.subspan(first.offset + pg::header_bytes, std::min(first.size, in.size() - first.offset) - pg::header_bytes);
    bool renewed = first.type == pg::frontend::parse;
    if (renewed)
        context_.statements.forget({server_->differs});
    else if (first.whole && is_described(plan) && (first.type == pg::frontend::describe || means_the_same(body, *server_->differs)))
        renewed = renews(statement_name(first.type, body), server_->differs);
    if (renewed) server_->differs = nullptr;
    return renewed;
}

/// True: it is such a statement, and its segment has failed for that, as in the session in which it was described.
bool pg_session_core::differs(prepared const& statement, session_step& step) {
    if (server_->differs != statement) return false;
    server_->differs = nullptr;
    context_.statements.forget({statement});
    fail_extended(changed_result(), step);
    return true;
}

}  // namespace lull
