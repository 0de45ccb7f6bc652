// "cached plan must not change result type": DDL has changed what a prepared statement returns. Outside of a block, and
// where nothing of its segment has been done or told, the statement is prepared anew and the segment sent once more, and
// its client does not notice. Likewise a read that a standby cannot answer. And what Lull does so that it comes to that also
// where another server than the one that told its columns prepares it.
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
/// have formats: none and one are for all of them. What is binary is read by its type, which may be another one now.
bool means_the_same(pg::bytes bind, std::size_t rest, prepared_text const& statement) {
    pg::reader in(bind.subspan(rest));
    bool binary = false;
    for (std::size_t formats = in.uint16(); formats > 0 && in.good(); --formats) binary = in.uint16() != 0 || binary;
    std::size_t const parameters = in.uint16();
    for (std::size_t i = 0; i < parameters && in.good(); ++i)
        if (std::int32_t const size = in.int32(); size > 0) in.take(static_cast<std::size_t>(size));
    return in.uint16() <= 1 && in.good() && (!binary || declares_all(statement, parameters));
}

}  // namespace

/// A whole segment has gone out to a server that owed nothing, and its first message is of a statement that is there. Kept
/// only where it asks for the shape of what it gets: who knows the columns from before, and only executes, would take
/// the new ones for the old.
void pg_session_core::keep_unit(pg::bytes unit, unit_plan const& plan) {
    unit_message const& first = plan.messages.front();
    auto const binds = [](unit_message const& m) { return m.type == pg::frontend::bind; };
    auto const renames = [](unit_message const& m) {
        return m.type == pg::frontend::parse || (m.type == pg::frontend::close && m.of_statement);
    };
    if (std::ranges::any_of(plan.messages, renames)) return;
    bool const described =
        (first.type == pg::frontend::describe && first.of_statement && std::ranges::none_of(plan.messages, binds)) ||
        (is_described(first, plan, unit).value_or(false) && std::ranges::count_if(plan.messages, binds) == 1);
    if (described && plan.messages.back().type == pg::frontend::sync) server_->owed.front().again = keep_unit(unit);
}

bool pg_session_core::keep_unit(pg::bytes unit) {
    if (unit.size() > longest_kept || client_status_ != 'I' || !read_write() || keeps_server()) return false;
    server_->unit.assign(pg::as_text(unit));
    return true;
}

/// A read has gone out alone to a standby, which may refuse what the primary would answer: see reads_elsewhere().
void pg_session_core::keep_read(pg::bytes unit, std::string_view text) {
    using routing::route;
    if (server_->role != routing::role::replica || server_->owed.size() != 1 || to_primary_) return;
    if (wanted_->route != route::replica && routing::route_of_comment(text) != route::replica)
        server_->owed.front().elsewhere = keep_unit(unit);
}

/// What the server says before the first row, of a unit that may come again, is kept until it is known that it does not. True:
/// this has been.
bool pg_session_core::keeps_answer(char type, pg::bytes whole, session_step& step) {
    owed_reply& front = server_->owed.front();
    if (type == pg::backend::error_response) return false;
    front.again = false;
    bool const shape = type == pg::backend::parse_complete || type == pg::backend::bind_complete ||
                       type == pg::backend::row_description || type == pg::backend::no_data;
    if (!shape) {
        front.elsewhere = false;
        tell_described(step);
        return false;
    }
    if (type == pg::backend::parse_complete) {
        front.unparsed = false;
        front.before = nullptr;
    }
    server_->described += pg::as_text(whole);
    return true;
}

/// What stands behind it has not been sent, and nothing of it has been told: the unit may come again.
bool pg_session_core::may_come_again() {
    owed_queue& owed = server_->owed;
    bool const in_order = blocked_ == blocked::no || blocked_ == blocked::barrier;
    if (client_gone_ || closing_ || !in_order || !fail_next_.empty()) return false;
    if (server_->cancelling) return false;  // meant for this, and would miss it
    if (segment_open_ || client_body_left_ > 0 || !read_write()) return false;
    for (std::size_t i = 0; i + 1 < owed.size(); ++i)
        if (ends_segment(owed.at(i).kind)) return false;
    return true;
}

/// Only a standby has said that, and had been asked of Lull's own accord: its replay was in the read's way, or what has been
/// changed within catalog_interval cannot be read there. The unit comes again, for the primary.
bool pg_session_core::reads_elsewhere(pg::error_fields const& failed) {
    if (!server_->owed.front().elsewhere || server_->owed.front().canceled || !may_come_again()) return false;
    for (std::string_view code : {pg::sqlstate::serialization_failure, pg::sqlstate::deadlock_detected, pg::sqlstate::read_only_sql_transaction,
                                  pg::sqlstate::feature_not_supported, pg::sqlstate::object_not_in_prerequisite_state})
        to_primary_ = to_primary_ || failed.has_sqlstate(code);
    return to_primary_;
}

/// The server has failed the oldest debt for that. True: what was kept is to come again, once the server is ready; its
/// statement is closed and parsed before it then, so that what comes again is not kept again.
bool pg_session_core::gives_back(pg::error_fields const& failed) {
    owed_queue& owed = server_->owed;
    if (!owed.front().again || failed.where || !may_come_again()) return false;  // where: by code of the client's that Bind has run
    pg::bytes const unit = pg::as_bytes(server_->unit);
    auto const header = pg::parse_header(unit.first<pg::header_bytes>());
    pg::bytes const body = unit.subspan(pg::header_bytes, header->body_bytes);
    std::string_view name;
    std::optional<std::size_t> rest;  // of a Bind
    if (owed.front().kind != owed_kind::describe) {
        auto const names = std::get<pg::bind_names>(pg::parse_bind_names(body, body.size()));
        name = names.statement;
        rest = names.rest;
    } else {
        name = pg::parse_describe(body)->name;
    }
    prepared const stale = statements_.find(std::string(known_name(name)));
    if (!stale || !server_->statements.has(stale->id)) return false;
    if (rest && !means_the_same(body, *rest, *stale)) return false;
    context_.statements.forget({stale});
    server_->statements.remove(stale->id);
    server_->doubtful.add(stale);
    // As in doubt_names(): change by change they would become more.
    if (server_->doubtful.size() > limits().max_server_prepared_statements) server_->tainted = true;
    return true;
}

namespace {

bool is_binary(pg::bytes formats) {
    pg::reader in(formats);
    for (std::size_t left = in.uint16(); left > 0 && in.good(); --left)
        if (in.uint16() != 0) return true;
    return !in.good();  // not all of them are here
}

}  // namespace

/// Of a name of the client's; 0: it does not stand for that statement (but for one in its place), or there is none and
/// nothing was told.
std::uint32_t pg_session_core::meaning_of(std::string_view name, prepared const& statement) const {
    if (name.empty()) return unnamed_ == statement ? statements_.unnamed() : 0;
    auto const* const known = statements_.at(std::string(name));
    return known && known->what == statement ? known->meaning : 0;
}

/// What a client has been told of a statement's columns, and of its parameters where it sends them in binary, is of the session
/// in which that was described. Whether the server has it like that, as far as is known. `told`: by the client's name for it; null:
/// by none. `formats`: of the parameters, behind a Bind's names. `described`: the client asks for the columns.
bool pg_session_core::is_as_told(prepared const& statement, told_shape const* told, bool described, pg::bytes formats) {
    if (!told || told->columns == 0) return true;
    told_shape const* const there = server_->statements.use(statement->id);
    if (!described && told->columns != no_columns && !(there && there->columns == told->columns)) return false;
    return told->parameters == 0 || (there && there->parameters == told->parameters) || !is_binary(formats);
}

/// The server parses it anew and is asked, before anything is bound; and not before it has answered what came before: where
/// that fails it would skip this, and what it has by that name would be open.
void pg_session_core::look_at(prepared const& statement, session_step& step) {
    if (!server_->owed.empty()) return await_answers(blocked::barrier, step);
    if (server_->statements.has(statement->id)) close_on_server(statement->server_name, statement, step);
    ensure_prepared(statement, step);
    step.server.write([&](std::string& out) {
        pg::write_describe(out, pg::target_kind::statement, statement->server_name);
        pg::write_flush(out);
    });
    owed_reply& owed = server_->owed.push(owed_kind::describe);
    owed.ours = true;
    owed.before = statement;
    blocked_ = blocked::barrier;
}

/// What the server says of a statement, to the client or to us.
void pg_session_core::note_shape(char type, pg::bytes body) {
    owed_reply const& front = server_->owed.front();
    // (Of the unnamed one, that tells nothing of what it knows by name.)
    for (told_shape* const shape : {front.before ? server_->statements.use(front.before->id) : nullptr, statements_.told(front.meaning)}) {
        if (!shape) continue;
        if (type == pg::backend::parameter_description)
            shape->parameters = pg::parse_parameter_shape(body).value_or(0);
        else
            shape->columns = type == pg::backend::no_data ? no_columns : pg::parse_row_shape(body).value_or(0);
    }
    if (front.ours && type != pg::backend::parameter_description) server_->looked = front.before;
}

void pg_session_core::tell_described(session_step& step) {
    if (server_->described.empty()) return;
    if (!client_gone_) step.client.text(server_->described);
    server_->described.clear();
}

}  // namespace lull
