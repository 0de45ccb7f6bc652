// What the server that a session has knows of prepared statements, and what it has to be told before one is used there.
#include "protocol/pg/frontend.hpp"
#include "proxy/pg_session_core.hpp"

#include <algorithm>

namespace lull {

/// Puts a Parse of ours before what needs the statement, unless the server has it.
void pg_session_core::ensure_prepared(prepared const& statement, session_step& step) {
    if (server_->statements.use(statement->id)) {
        ++stats_.prepared_known;
        return;
    }
    ++stats_.prepared_parsed;
    if (statement->by_sql) return make_by_sql(statement, step);
    make_room(*statement, step);
    if (server_->doubtful.has(statement->id)) close_on_server(statement->server_name, nullptr, step);
    step.server.write([&](std::string& out) {
        pg::write_parse(out, statement->server_name, statement->text, pg::as_bytes(statement->types));
    });
    server_->statements.add(statement);
    owed_reply& owed = server_->owed.push(owed_kind::parse);
    owed.ours = true;
    owed.parsed = statement;
}

/// Close of what is not there is no error (manual, "Extended Query"). `was`: what is known to be there; null: nothing is.
void pg_session_core::close_on_server(std::string_view name, prepared const& was, session_step& step) {
    if (was) server_->statements.remove(was->id);
    step.server.write([&](std::string& out) { pg::write_close(out, pg::target_kind::statement, name); });
    owed_reply& owed = server_->owed.push(owed_kind::close);
    owed.ours = true;
    owed.parsed = was;
}

/// Bind without parameters, and Execute, of a statement that the server has by this name; the debt of the latter.
/// `refused`: what an error of the former is told as.
owed_reply& pg_session_core::run_own(std::string_view portal, std::string_view statement, std::string_view refused,
                                     session_step& step) {
    step.server.write([&](std::string& out) {
        static constexpr std::string_view no_parameters("\0\0\0\0\0\0", 6);
        pg::write_bind_renamed(out, portal, statement, pg::as_bytes(no_parameters));
        pg::write_execute(out, portal);
    });
    owed_reply& bound = server_->owed.push(owed_kind::bind);
    bound.ours = true;
    bound.text = refused;
    return server_->owed.push(owed_kind::execute);
}

/// For one more statement on the server.
void pg_session_core::make_room(prepared_text const& what, session_step& step) {
    server_prepared const& has = server_->statements;
    while (has.size() > 0 && (has.size() >= limits().max_server_prepared_statements || has.bytes() + bytes_of(what) > limits().max_prepared_bytes)) {
        prepared const oldest = has.oldest();
        close_on_server(oldest->server_name, oldest, step);
    }
}

/// As the unnamed statement, which no SQL can replace. What the client has by that is prepared again when it is used.
void pg_session_core::parse_unnamed(prepared_text const& statement, session_step& step) {
    step.server.write([&](std::string& out) { pg::write_parse(out, {}, statement.text, pg::as_bytes(statement.types)); });
    server_->owed.push(owed_kind::parse).ours = true;
    server_->unnamed = nullptr;
}

prepared pg_session_core::own_statement(std::string_view text) {
    return context_.statements.intern(text, {}, {}, context_.classifier.classify(text));
}

/// A segment that only prepares does not begin the client's block: the write that it prepares may be one to
/// hold when the site is closed meanwhile, and what is held has begun nothing.
bool pg_session_core::prepares_aside(unit_plan const& plan) const {
    if (!deferred_ || identity_.migration || segment_open_) return false;
    return std::ranges::all_of(plan.messages,
                               [](unit_message const& m) {
                                   return m.type == pg::frontend::parse || m.of_statement ||
                                          m.type == pg::frontend::sync;
                               }) &&
           plan.messages.back().type == pg::frontend::sync;
}

/// Whether the server's unnamed statement is that one, for certain: a Parse of one that is under way in an earlier segment
/// may yet be skipped, and a Bind would then find another statement than the one that was judged.
bool pg_session_core::is_unnamed_here(prepared const& statement) const {
    if (server_->unnamed != statement) return false;
    bool earlier = false;
    for (std::size_t i = server_->owed.size(); i-- > 0;) {
        owed_reply const& owed = server_->owed.at(i);
        if (ends_segment(owed.kind)) earlier = true;
        if (parses_unnamed(owed)) return !earlier;
    }
    return true;
}

/// The server is in a failed block, or is about to be because the client is (see prologue), and nothing is under way
/// that could end it.
bool pg_session_core::is_dead_block() const {
    bool const lost = client_status_ == 'E' && !deferred_;
    if ((server_->status != 'E' && !lost) || segment_ends_) return false;
    for (std::size_t i = 0; i < server_->owed.size(); ++i) {
        owed_reply const& owed = server_->owed.at(i);
        if (owed.kind == owed_kind::execute || owed.kind == owed_kind::segment || (owed.kind == owed_kind::query && !(lost && owed.ours))) return false;
    }
    return true;
}

}  // namespace lull
