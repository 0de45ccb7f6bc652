// Writes that may not run now and are not refused: held, discarded, kept in the journal, or let pass because
// they store nothing. Only what stands alone, and of which not one byte has reached a server.
#include "config/ascii.hpp"
#include "protocol/pg/backend.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/pg_refusal_core.hpp"
#include "proxy/pg_session_core.hpp"
#include "routing/break_points.hpp"
#include "routing/write_rules.hpp"

#include <algorithm>
#include <iterator>

namespace lull {

using config::write_policy;

/// The next statement is a transaction of its own.
bool pg_session_core::is_autocommit() const {
    return client_status_ == 'I' && !deferred_ && !in_guard() && !segment_open_ && !discarding_ &&
           (!server_ || server_->clean());
}

/// A segment as drivers send it for one statement: [Parse] Bind [Describe] Execute Sync. Whoever wants to
/// know of a statement's parameters in the same breath can only be answered by a server.
bool pg_session_core::is_single_write(unit_plan const& plan) const {
    unit_message const* bound = nullptr;
    std::size_t executed = 0;
    std::size_t named = 0;
    for (unit_message const& m : plan.messages) {
        if (!m.whole) return false;
        switch (m.type) {
            case pg::frontend::parse:
                // An error in another one would stay unsaid.
                if (m.size > limits().max_statement_bytes || m.statement != plan.offender) return false;
                if (m.name.empty()) break;
                if (statements_.contains(std::string(m.name)) || ++named > 1 ||
                    !book_refusal(statements_, statement_book::bytes_of(std::string(m.name), *m.statement), limits()).empty())
                    return false;
                break;
            case pg::frontend::bind:
                if (bound || !m.statement || m.statement != plan.offender) return false;
                bound = &m;
                break;
            case pg::frontend::describe:
                if (m.of_statement || !bound || m.name != bound->name) return false;
                break;
            case pg::frontend::execute:
                if (!bound || m.name != bound->name || ++executed > 1) return false;
                break;
            case pg::frontend::close:
                break;
            case pg::frontend::sync:
                return executed == 1;
            default:
                return false;
        }
    }
    return false;
}

pg_session_core::instead pg_session_core::instead_of(refused_unit const& unit, pg::bytes in,
                                                     session_step& step) {
    if (facts().privileged && site().settings->guard.privileged == config::privileged_policy::refuse)
        return instead::refuse;
    std::string const application = application_name();
    routing::refused_write const write{unit.what, unit.text, {identity_.user, application}};
    write_policy const action = routing::choose_action(*site().settings, write);
    if (action == write_policy::refuse) return instead::refuse;
    if (server_ && !server_->owed.empty() && !server_->copy_in && !segment_open_) {
        // Behind what is under way, which may begin a transaction or end one; then it is judged again.
        blocked_ = blocked::barrier;
        return instead::later;
    }
    // A failed block only waits for its end, and what runs in our own guard ends with it.
    if (read_write() || (client_status_ == 'E' && !deferred_)) return instead::refuse;
    if (action == write_policy::hold) {
        if (!facts().nothing_sent || hold_exhausted_) return instead::refuse;
        return hold(unit.bytes, unit.whole, step) ? instead::later : instead::refuse;
    }
    if (!is_autocommit() || (unit.segment && !is_single_write(*unit.segment))) return instead::refuse;
    if (action == write_policy::pass) {
        // (A parameter's type may be a domain, whose CHECK runs.)
        bool const typed = unit.segment && unit.segment->offender && !unit.segment->offender->types.empty();
        passing_ = !typed && routing::stores_nothing(unit.what);
        return passing_ ? instead::pass : instead::refuse;
    }
    std::optional<std::string> tag = routing::answer_of(write);
    if (!tag) return instead::refuse;
    if (action == write_policy::journal) return keep(unit, in, std::move(*tag), step);
    count(&write_fates::discarded);
    answer_instead(unit.segment, *tag, step);
    return instead::answered;
}

/// All that decides what the text and its literals mean, as its client was told: what the role's defaults make of them
/// may be changed before it is run. These first; the rest cannot be read otherwise.
std::vector<std::string> pg_session_core::settings_for_replay() const {
    std::vector<std::string> made;
    std::vector<std::string> told;
    for (std::string_view name : {"client_encoding", "standard_conforming_strings", "DateStyle", "IntervalStyle", "TimeZone"})
        if (std::string const* value = find_setting(reported_, name)) {
            told.push_back(ascii_lower(name));
            made.push_back(setting_sql(told.back(), setting_value(*value, {})));
        }
    for (auto const& [name, value] : *wanted_)
        if (std::ranges::find(told, name) == told.end() && !tells_who(name)) made.push_back(setting_sql(name, value));
    std::ranges::move(identity_sql(*wanted_), std::back_inserter(made));
    return made;
}

/// To the disk; the answer goes out when it is there.
pg_session_core::instead pg_session_core::keep(refused_unit const& unit, pg::bytes in, std::string tag,
                                               session_step& step) {
    if (journal_refused_ || !unit.whole) return instead::refuse;
    // What only its own server knows (a temporary table of the same name, a setting for now) the replay would
    // miss.
    if (pins_ || reads_differently_) return instead::refuse;
    // PostgreSQL would have said 25006 to it, also with the site open.
    if (find_setting(wanted_, "default_transaction_read_only")) return instead::refuse;
    if (journal_closed_) {
        // The window ends: it runs as held writes do, behind those that were kept.
        if (hold_exhausted_) return instead::refuse;
        return hold(unit.bytes, unit.whole, step) ? instead::later : instead::refuse;
    }
    if (broken("early_answer", 5)) {  // before it is on the disk, and then it is forgotten
        count(&write_fates::journaled);
        answer_instead(unit.segment, tag, step);
        return instead::answered;
    }
    step.journal = std::make_unique<journal_entry>();
    journal_entry& entry = *step.journal;
    entry.database = identity_.database;
    entry.user = identity_.user;
    entry.application_name = application_name();
    entry.settings = settings_for_replay();
    entry.text = unit.text;
    if (unit.segment) {
        entry.extended = true;
        for (unit_message const& m : unit.segment->messages) {
            if (m.type != pg::frontend::bind) continue;
            pg::bytes const body = in.subspan(m.offset, m.size).subspan(pg::header_bytes);
            auto const names = std::get<pg::bind_names>(pg::parse_bind_names(body, body.size()));
            entry.parameter_types = m.statement->types;
            entry.bind_rest = pg::as_text(body.subspan(names.rest));
        }
    }
    entry.tag = tag;
    journal_tag_ = std::move(tag);
    blocked_ = blocked::journal;
    return instead::later;
}

void pg_session_core::on_journaled(journal_outcome outcome, session_step& step) {
    if (client_gone_ || blocked_ != blocked::journal) return;
    blocked_ = blocked::no;
    switch (outcome) {
        case journal_outcome::kept:
            journal_done_ = true;
            count(&write_fates::journaled);
            break;
        case journal_outcome::full:
            journal_refused_ = true;
            count(&write_fates::over_limit);
            break;
        case journal_outcome::failed:
            journal_refused_ = true;
            break;
        case journal_outcome::closed:
            journal_closed_ = true;
            break;
        case journal_outcome::unknown:
            count(&write_fates::unknown);
            fail_next_.append([&](std::string& out) {
                pg::write_error_response(
                    out, {.sqlstate = pg::sqlstate::transaction_resolution_unknown,
                          .message = "this write may or may not be run when the maintenance of site \"" +
                                     site().settings->name +
                                     "\" ends: the disk of Lull's journal failed while it was being kept",
                          .hint = "Look whether it is there before you send it again."});
            });
            break;
    }
    step.retry_input = true;
}

/// The unit that waited is on the disk. Nothing else may become of it, also if the site is open by now.
std::size_t pg_session_core::finish_journaled(pg::bytes in, session_step& step) {
    auto const header = pg::parse_header(in.first<pg::header_bytes>());
    journal_done_ = false;
    std::string const tag = journal_tag_.take();
    if (header->type == pg::frontend::query) {
        answer_instead(nullptr, tag, step);
        return pg::header_bytes + header->body_bytes;
    }
    unit_plan const plan = this->plan(in);
    answer_instead(&plan, tag, step);
    return plan.messages.back().offset + plan.messages.back().size;
}

/// What the client of an autonomous write would hear of a server.
void pg_session_core::answer_instead(unit_plan const* segment, std::string_view tag, session_step& step) {
    forget_refusal();
    if (!segment) {
        unnamed_ = nullptr;
        step.client.write([&](std::string& out) { pg::write_command_complete(out, tag); });
        return ready(step);
    }
    for (unit_message const& m : segment->messages) {
        switch (m.type) {
            case pg::frontend::parse:
                if (m.name.empty()) {
                    unnamed_ = m.statement;
                    statements_.parse_unnamed();
                } else {
                    statements_.put(std::string(m.name), m.statement);
                }
                step.client.write([](std::string& out) { pg::write_parse_complete(out); });
                break;
            case pg::frontend::bind:
                step.client.write([](std::string& out) { pg::write_bind_complete(out); });
                break;
            case pg::frontend::describe:
                step.client.write([](std::string& out) { pg::write_no_data(out); });
                break;
            case pg::frontend::execute:
                step.client.write([&](std::string& out) { pg::write_command_complete(out, tag); });
                break;
            case pg::frontend::close:
                if (m.of_statement && m.name.empty()) unnamed_ = nullptr;
                if (m.of_statement) statements_.take(std::string(m.name));
                step.client.write([](std::string& out) { pg::write_close_complete(out); });
                break;
            case pg::frontend::sync:
                ready(step);
                break;
            default:
                break;
        }
    }
}

/// The next unit is judged as if nothing had been held or kept.
void pg_session_core::forget_refusal() {
    held_before_ = hold_exhausted_ = journal_refused_ = journal_closed_ = false;
}

bool pg_session_core::hold(std::size_t bytes, bool whole, session_step& step) {
    // Longer than a block: it cannot be kept without reading on.
    if (!whole || !context_.holds.add(static_cast<std::size_t>(identity_.site), bytes, site().settings->hold)) {
        hold_exhausted_ = true;
        count(&write_fates::over_limit);
        return false;
    }
    blocked_ = blocked::held;
    held_bytes_ = bytes;
    if (server_ && !pins_) {
        unlink();
        step.release = true;
    }
    // The site was open for a moment, or its server was lost: it has waited since then, and its client knows.
    if (held_before_) return true;
    held_before_ = true;
    held_since_ = context_.now;
    count(&write_fates::held);
    step.client.write([&](std::string& out) {
        pg::write_notice_response(out, {.severity = "NOTICE",
                                        .sqlstate = "00000",
                                        .message = "this write is held until the maintenance of site \"" +
                                                   site().settings->name + "\" ends"});
    });
    return true;
}

void pg_session_core::leave_hold() {
    if (blocked_ != blocked::held) return;
    context_.holds.remove(static_cast<std::size_t>(identity_.site), held_bytes_);
    held_bytes_ = 0;
    blocked_ = blocked::no;
}

void pg_session_core::on_release(session_step& step) {
    if (!releasable()) return;
    leave_hold();
    step.retry_input = true;
}

}  // namespace lull
