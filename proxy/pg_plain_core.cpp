// What drivers send for a query: a segment with one statement, which is run once. Where nothing of Lull's own is around it
// and nothing is under way, it goes out as one piece and is one debt, as a Query is; pg_extended_core.cpp has everything else.
#include "protocol/pg/frontend.hpp"
#include "proxy/pg_session_core.hpp"
#include "routing/break_points.hpp"

#include <variant>

namespace lull {

namespace {

/// Takes messages of a segment off its beginning, as long as they are whole.
class cursor {
  public:
    explicit cursor(pg::bytes in) : in_(in) {}
    std::size_t at() const { return at_; }
    /// Whether this type is next; `body` is its.
    bool take(char type, pg::bytes& body) {
        std::size_t const left = in_.size() - at_;
        if (left < pg::header_bytes || static_cast<char>(in_[at_]) != type) return false;
        auto const header = pg::parse_header(in_.subspan(at_).first<pg::header_bytes>());
        if (!header || header->body_bytes > left - pg::header_bytes) return false;
        body = in_.subspan(at_ + pg::header_bytes, header->body_bytes);
        at_ += pg::header_bytes + header->body_bytes;
        return true;
    }

  private:
    pg::bytes in_;
    std::size_t at_ = 0;
};

/// Of a session that is_plainly_open(): nothing but where it asks to go.
routing::session_facts facts_of_plain(std::string_view text, routing::route of_session, bool to_primary) {
    routing::session_facts facts;
    facts.route = to_primary ? routing::route::primary : routing::route_of_comment(text);
    if (facts.route == routing::route::automatic) facts.route = of_session;
    return facts;
}

}  // namespace

/// Whether what comes now stands alone: no window, no block that is not begun, no other debt, no error to tell.
bool pg_session_core::is_plainly_open() const {
    if (!read_write() || identity_.migration || in_guard() || deferred_ || segment_open_ || aside_under_way_ || wiping_)
        return false;
    if (client_status_ == 'E' || !pending_.empty()) return false;
    return !server_ || (server_->owed.empty() && server_->status != 'E' && !server_->copy_in);
}

std::optional<plain_segment> pg_session_core::find_plain(pg::bytes in) {
    if (!is_plainly_open()) return std::nullopt;
    plain_segment found;
    cursor messages(in);
    pg::bytes body;
    std::optional<pg::parse_message> parse;
    if (messages.take(pg::frontend::parse, body)) {
        parse = pg::parse_parse(body);
        if (!parse || !parse->statement.empty()) return std::nullopt;
        found.parses = true;
    }
    found.bind = messages.at();
    if (!messages.take(pg::frontend::bind, body)) return std::nullopt;
    auto const bind = pg::parse_bind_names(body, body.size());
    auto const* const names = std::get_if<pg::bind_names>(&bind);
    if (!names || !names->portal.empty()) return std::nullopt;
    found.names = names->rest;
    found.rest = body.size() - names->rest;
    if (found.parses && !names->statement.empty()) return std::nullopt;
    if (messages.take(pg::frontend::describe, body)) {
        auto const target = pg::parse_describe(body);
        if (!target || target->kind != pg::target_kind::portal || !target->name.empty()) return std::nullopt;
        found.describes = true;
    }
    if (!messages.take(pg::frontend::execute, body)) return std::nullopt;
    auto const execute = pg::parse_execute(body);
    if (!execute || !execute->portal.empty()) return std::nullopt;
    if (!messages.take(pg::frontend::sync, body) || !body.empty()) return std::nullopt;
    found.size = messages.at();

    // What it is, is asked only now: that may be dear.
    if (!names->statement.empty()) {
        auto const* const known = statements_.at(std::string(known_name(names->statement)));
        if (!known) return std::nullopt;
        found.statement = known->what;
        found.meaning = known->meaning;
    } else {
        found.statement = parse ? statement_of(parse->query, pg::as_text(parse->parameter_types)) : unnamed_;
        found.meaning = parse ? 0 : statements_.unnamed();
    }
    if (!found.statement || found.statement->by_sql) return std::nullopt;
    routing::operation const& op = *judge(found.statement->operation);
    if (!op.is_query() || op.asks_sequences) return std::nullopt;
    found.operation = &op;
    found.verdict = routing::decide(op, facts_of_plain(found.statement->text, wanted_->route, to_primary_), site()).verdict;
    return found;
}

std::size_t pg_session_core::forward_plain(pg::bytes in, plain_segment const& segment, session_step& step) {
    sharing_ = false;
    sequences_.note_unit(false);
    if (block_moves_ && moves_block(*segment.operation, step)) return 0;
    if (!place(segment.verdict, step)) return 0;
    prepared const& statement = segment.statement;
    bool const unnamed_here = segment.parses || (server_->unnamed == statement && server_->unnamed_meaning == segment.meaning);
    if (!unnamed_here && segment.meaning != 0) {
        // What it is told of its columns is looked into, once; and where they may be others than it was told, the server is asked.
        told_shape const* const told = statements_.told(segment.meaning);
        bool const unknown = told && told->columns == 0;
        pg::bytes const formats = in.subspan(segment.bind + pg::header_bytes + segment.names);
        if (unknown ? segment.describes : !is_as_told(statement, told, false, formats)) return this->segment(in, step);
    }
    note_statement(statement->text);
    forget_refusal();
    routing::statement const& only = segment.operation->statements.front();
    if (only.pins) pin_by(only);
    bool const writes = began_writing(segment.operation->access, step);
    pg::bytes const whole = in.first(segment.size);
    if (unnamed_here) {
        step.server.view(whole);
    } else {
        ensure_prepared(statement, step);
        step.server.write([&](std::string& out) {
            pg::write_bind_renamed_header(out, segment.rest, {}, statement->server_name);
        });
        step.server.view(whole.subspan(segment.bind + pg::header_bytes + segment.names));
    }
    portals_.bind({}, {statement});
    owed_reply& owed = count_executed(segment.operation->access, server_->owed.push(owed_kind::segment));
    owed.writes = writes;
    owed.plain = true;
    if (segment.parses) {
        owed.unparsed = true;
        owed.before = std::exchange(unnamed_, statement);
        statements_.parse_unnamed();
        server_->unnamed = statement;
        server_->unnamed_meaning = 0;
    } else if (segment.describes && !server_->owed.front().ours) {
        server_->owed.front().again = keep_unit(whole);
    }
    keep_read(whole, statement->text);
    return segment.size;
}

/// A Query that is one likewise. (While its site is open nothing of that kind is refused.)
std::size_t pg_session_core::forward_plain(pg::bytes in, std::size_t size, std::string_view text,
                                           std::shared_ptr<routing::operation const> const& op, session_step& step) {
    routing::text_facts const read_as = text_facts();
    routing::operation const& judged = *judge(op);
    note_statement(text);
    if (judged.access == routing::access::read && broken("failed_read", 10)) return refuse_simple(in, size, refusal(&judged, nullptr), step);
    sequences_.note_unit(false);
    bool const moves = block_moves_ && moves_block(judged, step);
    if (moves || !place(routing::decide(judged, facts_of_plain(text, wanted_->route, to_primary_), site()).verdict, step)) {
        waiting_ = {.op = op, .facts = read_as, .size = static_cast<std::uint32_t>(size)};
        return 0;
    }
    forget_refusal();
    forward_query(in, size, text, judged, step);
    return size;
}

}  // namespace lull
