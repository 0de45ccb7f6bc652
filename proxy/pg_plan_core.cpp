// The extended query protocol (manual, "Extended Query"): a segment, all messages up to Sync or Flush, is
// looked at before its first message goes out, because all of it must go to the same server.
#include "protocol/pg/frontend.hpp"
#include "proxy/pg_session_core.hpp"
#include "routing/moment_literal.hpp"
#include "routing/parameter_types.hpp"

#include <algorithm>

namespace lull {

namespace {

// A segment that is longer is not waited for: it goes where everything can be done.
constexpr std::size_t longest_segment = 32 * 1024;

void note_binding(routing::operation const& op, routing::access access, std::string_view text, unit_plan& plan) {
    if (asks_sequences(op)) {
        if (!plan.asks_sequences) plan.asks_behind_write = plan.writes;
        plan.asking = plan.asks_sequences ? std::string_view() : text;
        plan.asks_sequences = true;
    }
    plan.writes = plan.writes || access >= routing::access::unknown;
}

}  // namespace

prepared pg_session_core::find_statement(std::string_view name, unit_plan const& so_far) const {
    for (auto m = so_far.messages.rbegin(); m != so_far.messages.rend(); ++m) {
        if (m->name != name) continue;
        if (m->type == pg::frontend::parse) return m->statement;
        if (m->type == pg::frontend::close && m->of_statement) return nullptr;
    }
    if (name.empty()) return unnamed_;
    return statements_.find(std::string(name));
}

/// While the site is sealed a statement that was judged by how another server read its text is judged again by how this
/// one would, for it may come to be prepared here.
prepared pg_session_core::as_read_now(prepared statement) {
    if (!statement || read_write() || identity_.migration) return statement;
    routing::text_facts const facts = text_facts();
    if (facts == routing::text_facts{}) return statement;
    auto const op = context_.classifier.classify(statement->text, facts);
    if (op->why != routing::why::encoding || statement->operation->why == routing::why::encoding) return statement;
    if (statement->by_sql)
        return context_.statements.intern_sql(statement->server_name, statement->text,
                                              context_within(*statement, reading_context()), op);
    return context_.statements.intern(statement->text, statement->types, context_within(*statement, reading_context()), op);
}

prepared pg_session_core::find_portal(std::string_view name, unit_plan const& so_far) const {
    for (auto m = so_far.messages.rbegin(); m != so_far.messages.rend(); ++m) {
        if (m->name != name) continue;
        if (m->type == pg::frontend::bind) return m->statement;
        if (m->type == pg::frontend::close && !m->of_statement) return nullptr;
    }
    bound_portal const* portal = portals_.find(name);
    return portal ? portal->statement : nullptr;
}

/// The settings by which PostgreSQL reads the literals of a statement when it is parsed, and finds its names: the types of
/// its parameters and of its result stay what they were then.
std::string_view pg_session_core::reading_context() {
    if (wanted_ == context_of_ && facts_ == context_facts_ && !reads_differently_) return reading_context_.view();
    context_of_ = reads_differently_ ? nullptr : wanted_;
    context_facts_ = facts_;
    std::string made;
    for (auto const& [name, value] : *wanted_)
        if (decides_literals(name) || decides_names(name)) made.append(name).append("=").append(value).append(";");
    // Also what no client has set, but a role.
    if (!facts_.standard_conforming_strings) made += "escapes;";
    if (facts_.unsafe_encoding) made += "encoding;";
    // What is set only for now is shared with nobody.
    if (reads_differently_) made += "of client " + std::to_string(identity_.key_pid);
    reading_context_ = std::move(made);
    return reading_context_.view();
}

/// What a Parse of this defines.
prepared pg_session_core::statement_of(std::string_view text, std::string_view types) {
    auto const op = routing::with_parameter_types(context_.classifier.classify(text, text_facts()), types);
    if (prepared known = context_.statements.find(text, types, reading_context(), *op)) return known;
    return routing::has_moment_literal(text) ? context_.statements.make_alone(text, types, op)
                                             : context_.statements.intern(text, types, reading_context(), op);
}

/// False: the message is malformed.
bool pg_session_core::plan_message(pg::bytes body, unit_message& m, unit_plan& plan) {
    switch (m.type) {
        case pg::frontend::parse: {
            auto const parsed = pg::parse_parse(body);
            if (!parsed) return false;
            m.name = known_name(parsed->statement);
            m.statement = statement_of(parsed->query, pg::as_text(parsed->parameter_types));
            return true;
        }
        case pg::frontend::bind: {
            auto const names = pg::parse_bind_names(body, m.size - pg::header_bytes);
            auto const* known = std::get_if<pg::bind_names>(&names);
            if (!known) return false;
            m.name = known_name(known->portal);
            m.statement = as_read_now(find_statement(known_name(known->statement), plan));
            return true;
        }
        case pg::frontend::execute: {
            auto const execute = pg::parse_execute(body);
            if (!execute) return false;
            m.name = known_name(execute->portal);
            m.statement = find_portal(m.name, plan);
            return true;
        }
        case pg::frontend::describe:
        case pg::frontend::close: {
            auto const target =
                m.type == pg::frontend::describe ? pg::parse_describe(body) : pg::parse_close(body);
            if (!target) return false;
            m.name = known_name(target->name);
            m.of_statement = target->kind == pg::target_kind::statement;
            if (m.of_statement) m.statement = as_read_now(find_statement(m.name, plan));
            return true;
        }
        default:
            return body.empty();
    }
}

unit_plan pg_session_core::plan(pg::bytes in) {
    unit_plan plan;
    plan.messages.reserve(8);  // Parse, Bind, Describe, Execute, Sync, and then some
    std::size_t at = 0;
    bool const placed = server_ && !block_moves_ && matches(routing::verdict::to_primary);
    bool bound = false;
    // What Parse, Bind and Execute are about is one statement as a rule, and is judged once.
    routing::verdict judged_as{};
    routing::access judged_access{};
    prepared_text const* judged_of = nullptr;
    // A block that may come to write begins on the primary, also with a segment that only describes.
    if (read_write() && deferred_ && (!deferred_->read_only.value_or(false) || is_serializable_block()))
        plan.verdict = routing::verdict::to_primary;
    while (!plan.closed && in.size() - at >= pg::header_bytes) {
        auto const header = pg::parse_header(in.subspan(at).first<pg::header_bytes>());
        if (!header) {  // malformed: the end of this session
            plan.messages.emplace_back();
            return plan;
        }
        unit_message m{header->type, at, pg::header_bytes + header->body_bytes};
        switch (m.type) {
            case pg::frontend::parse:
            case pg::frontend::bind:
            case pg::frontend::describe:
            case pg::frontend::execute:
            case pg::frontend::close:
            case pg::frontend::sync:
            case pg::frontend::flush:
                break;
            default:
                return plan;  // something else follows: what is here is all there is
        }
        m.whole = in.size() - at >= m.size;
        bool const may_be_long = m.type == pg::frontend::parse || m.type == pg::frontend::bind;
        if (!may_be_long && m.size > longest_segment) m.type = 0;
        pg::bytes const body =
            in.subspan(at + pg::header_bytes, std::min(m.size, in.size() - at) - pg::header_bytes);
        bool const streamed =
            !m.whole && m.type == pg::frontend::bind && body.size() > 2 * pg::max_name_bytes + 2;
        if (m.type != 0 && !m.whole && !streamed) {
            plan.wait = plan.messages.empty() || !placed;
            if (m.type == pg::frontend::parse && m.size > limits().max_statement_bytes) {
                plan.wait = false;
                plan.messages.push_back(std::move(m));
            } else if (plan.messages.empty() || in.size() < longest_segment) {
                return plan;
            }
            plan.wait = false;
            return plan;
        }
        if (m.type == 0 || !plan_message(body, m, plan)) {
            m.type = 0;  // malformed: the end of this session
            plan.messages.push_back(std::move(m));
            return plan;
        }
        plan.closed = m.type == pg::frontend::sync || m.type == pg::frontend::flush;
        bool const counts = m.type == pg::frontend::bind || m.type == pg::frontend::execute ||
                            (m.type == pg::frontend::parse && !bound);
        if (m.type == pg::frontend::bind) bound = true;
        if (m.statement && m.statement.get() != judged_of) {
            judged_of = m.statement.get();
            routing::operation const& op = *judge(m.statement->operation);
            judged_access = op.access;
            plan.strictest = std::max(plan.strictest, op.access);
            judged_as = routing::decide(op, facts(m.statement->text), site()).verdict;
        }
        if (counts && m.statement) {
            bool const parse_only = m.type == pg::frontend::parse;
            if (m.type == pg::frontend::bind) note_binding(*m.statement->operation, judged_access, m.statement->text, plan);
            if (judged_as == routing::verdict::refuse) {
                if (!parse_only && plan.verdict != routing::verdict::refuse) {
                    plan.verdict = judged_as;
                    plan.offender = m.statement;
                }
            } else if (judged_as == routing::verdict::to_primary && plan.verdict == routing::verdict::to_reader) {
                plan.verdict = judged_as;
            }
        }
        bool const streamed_on = !m.whole;
        at += m.size;
        plan.messages.push_back(std::move(m));
        if (streamed_on) return plan;  // what follows it is not here yet
    }
    if (!plan.closed && !placed && in.size() < longest_segment) plan.wait = true;
    return plan;
}

/// What only the session knows has to outlive our ROLLBACK, so it is made outside of it.
bool pg_session_core::only_unlistens(unit_plan const& plan) {
    return plan.messages.size() > 1 && plan.messages.back().type == pg::frontend::sync &&
           std::ranges::all_of(plan.messages, [](unit_message const& m) {
               if (m.type == pg::frontend::sync) return true;
               return m.statement && m.statement->operation->statements.size() == 1 &&
                      m.statement->operation->statements.front().kind == routing::statement_kind::unlisten;
           });
}

}  // namespace lull
