#include "routing/policy.hpp"

#include "routing/ending_settings.hpp"
#include "routing/sql_classifier.hpp"

#include <algorithm>

namespace lull::routing {

bool writes_temporary(statement const& s, session_facts const& facts) {
    // What ends a transaction of ours around one COPY would be sent into it.
    bool const known = s.kind == statement_kind::dml || (s.kind == statement_kind::copy_in && facts.in_block);
    return facts.has_temporary && known && !s.may_set && s.beside <= access::session;
}

bool passes_read_only(statement const& s, config::guard const& guard) {
    if (s.may_set) return false;  // a hidden RESET of transaction_read_only works at any time
    // Whatever it is: the types of its parameters may run something.
    bool const judged_by_function =
        s.access < access::unknown || (s.access == access::unknown && guard.functions == config::function_policy::server);
    switch (s.kind) {
        case statement_kind::empty:
        case statement_kind::show:
        case statement_kind::commit:
        case statement_kind::rollback:
        case statement_kind::savepoint:
        case statement_kind::release:
        case statement_kind::rollback_to:
        case statement_kind::discard:
        case statement_kind::deallocate:
        case statement_kind::fetch:
        case statement_kind::close_cursor:
        case statement_kind::unlisten:
            return judged_by_function;
        case statement_kind::begin:
            return judged_by_function && s.begin.read_only.value_or(true);
        case statement_kind::select:
        case statement_kind::explain:
        case statement_kind::copy_out:
        case statement_kind::prepare:
        case statement_kind::declare_cursor:
            // A function that is not on the list runs where the server refuses to write, and is rolled back.
            return judged_by_function;
        case statement_kind::execute:
            // A write, but where the session knows what was prepared.
            return judged_by_function && s.access != access::session;
        case statement_kind::set:
            // A SELECT of set_config() may be one of anybody's set_config(), and is judged as such.
            if (!judged_by_function) return false;
            return !s.to_default ? is_harmless_setting(s.name, s.value) : is_harmless_setting(s.name, "");
        case statement_kind::reset:
            return judged_by_function && (s.name.empty() || is_harmless_setting(s.name, ""));
        case statement_kind::set_transaction:
            // Resetting transaction_read_only makes a transaction writable at any time, so no reset at all.
            return judged_by_function && !s.to_default && s.begin.read_only.value_or(true);
        case statement_kind::notify:
            return guard.notify == config::notify_policy::discard;
        case statement_kind::dml:
        case statement_kind::ddl:
        case statement_kind::utility:
        case statement_kind::copy_in:
        case statement_kind::prepare_transaction:
        case statement_kind::listen:
        case statement_kind::unknown:
            return false;
    }
    return false;
}

namespace {

/// What it has that is temporary would go with its session, and what is permanent and depends on that.
bool may_end_session(statement const& s) {
    return (s.kind == statement_kind::set || s.kind == statement_kind::reset) && ends_sessions(s.name);
}

statement const* first_refused(operation const& what, session_facts const& facts, config::guard const& guard) {
    bool const several = what.statements.size() > 1;
    bool const writes =
        std::ranges::any_of(what.statements, [&](statement const& s) { return writes_temporary(s, facts); });
    bool const keeps = writes || facts.keeps_temporary;
    // What is to be committed must not have anything in it that nobody knows; also not of a catalog that may have
    // changed.
    if (facts.keeps_temporary && !writes && what.access >= access::unknown) return &what.statements.front();
    for (statement const& s : what.statements) {
        if (writes_temporary(s, facts)) continue;
        // A NOTIFY that is answered in the server's place must be alone.
        if (!passes_read_only(s, guard) || (several && s.kind == statement_kind::notify)) return &s;
        if (facts.kept_over && may_end_session(s)) return &s;
        if (keeps && s.access >= access::unknown) return &s;
    }
    return nullptr;
}

bool only_ends(operation const& what) {
    return what.statements.size() == 1 && (what.statements.front().kind == statement_kind::commit ||
                                           what.statements.front().kind == statement_kind::rollback);
}

/// Whether something follows the end of a transaction in the same text.
bool begins_again(operation const& what) {
    if (what.statements.size() < 2) return false;
    for (std::size_t i = 0; i < what.statements.size(); ++i) {
        statement const& s = what.statements[i];
        bool const ends = s.kind == statement_kind::commit || s.kind == statement_kind::rollback;
        if (ends && (s.chain || i + 1 < what.statements.size())) return true;
    }
    return false;
}

bool pins(operation const& what) {
    for (statement const& s : what.statements)
        if (s.pins) return true;
    return false;
}

/// A standby cannot be made serializable.
bool asks_serializable(operation const& what) {
    for (statement const& s : what.statements)
        if (s.kind == statement_kind::set_transaction && s.begin.isolation == isolation::serializable) return true;
    return false;
}

/// Queries that nothing but the functions and relations that they use may make a write.
bool reads_by_its_text(operation const& what) {
    if (what.access > access::unknown || what.statements.empty()) return false;
    for (statement const& s : what.statements)
        if (s.kind != statement_kind::select && s.kind != statement_kind::explain &&
            s.kind != statement_kind::copy_out)
            return false;
    return true;
}

decision in_read_write(operation const& what, session_facts const& facts) {
    if (facts.migration || pins(what) || asks_serializable(what)) return {verdict::to_primary};
    if (facts.route == route::primary) return {verdict::to_primary};
    // No standby has ever said a nextval().
    if (what.asks_sequences) return {verdict::to_primary};
    // As without Lull. Who asks for the replica is told of that.
    if (what.about_server && facts.route != route::replica) return {verdict::to_primary};
    if (facts.read_only_block && what.access <= access::session && !needs_primary(what)) return {verdict::to_reader};
    if (facts.deferred_block) return {verdict::to_primary};
    if (facts.route == route::replica && reads_by_its_text(what)) return {verdict::to_reader};
    return {what.access == access::read ? verdict::to_reader : verdict::to_primary};
}

}  // namespace

bool needs_primary(operation const& what) {
    auto const is_only_there = [](statement const& s) {
        // What writes has the same error anywhere.
        bool const writes = s.kind == statement_kind::dml || s.kind == statement_kind::ddl || s.kind == statement_kind::copy_in;
        return (s.access > access::session && !writes) ||
               (s.kind == statement_kind::set_transaction && s.begin.read_only == false) ||
               (s.kind == statement_kind::set && s.name == "transaction_read_only");
    };
    return pins(what) || asks_serializable(what) || what.asks_sequences || what.about_server || begins_again(what) ||
           what.statements.empty() || std::ranges::any_of(what.statements, is_only_there);
}

decision decide(operation const& what, session_facts const& facts, site const& site) {
    if (facts.migration) return {verdict::to_primary};
    switch (site.mode) {
        case mode::read_write:
            if (!facts.guarded) return in_read_write(what, facts);
            break;  // it ends in ROLLBACK: nothing may seem to be written in it
        case mode::draining:
            // Its right to write ends with the transaction, also within one text.
            if (facts.may_write && !begins_again(what)) return {verdict::to_primary};
            if (facts.may_write) return {verdict::refuse, &what.statements.back()};
            break;
        case mode::sealed:
        case mode::reopening:
            break;
    }
    config::guard const& guard = site.settings->guard;
    if (facts.privileged && guard.privileged == config::privileged_policy::refuse && !only_ends(what))
        return {verdict::refuse};
    statement const* offender =
        what.access == access::unknown && what.statements.empty() ? nullptr : first_refused(what, facts, guard);
    if (!offender && !what.statements.empty()) return {verdict::to_reader};
    return {verdict::refuse, offender};
}

}  // namespace lull::routing
