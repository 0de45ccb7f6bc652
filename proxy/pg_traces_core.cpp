// What the text of a simple or prepared statement leaves behind in its session: settings, savepoints, and
// what nobody can tell.
#include "config/ascii.hpp"
#include "proxy/pg_session_core.hpp"
#include "proxy/pg_settings_core.hpp"
#include "routing/source_leavings.hpp"

#include <algorithm>
#include <optional>

namespace lull {

using routing::statement_kind;

namespace {

// Settings and savepoints of one transaction that are kept count of.
constexpr std::size_t most_pending = 1000;
// Settings of one client, and the longest of them, in bytes.
constexpr std::size_t most_settings = 500;
constexpr std::size_t longest_setting = 16 * 1024;

// In a text that was not understood: what could leave something behind in its session.
constexpr std::string_view leaves_state[] = {"set", "temp", "listen", "prepare", "lock", "load", "discard", "deallocate", "hold"};
// What makes something there that its session keeps. The server can be asked whether it has: these are words of data, too.
constexpr std::pair<std::string_view, routing::leaving> keeps_something[] = {{"temp", routing::leaving::temporary},
                                                                             {"listen", routing::leaving::listen},
                                                                             {"with hold", routing::leaving::cursor},
                                                                             {"advisory", routing::leaving::lock}};


/// As default_transaction_isolation has it.
std::string_view name_of(routing::isolation level) {
    switch (level) {
        case routing::isolation::unspecified:
            return {};
        case routing::isolation::read_uncommitted:
            return "read uncommitted";
        case routing::isolation::read_committed:
            return "read committed";
        case routing::isolation::repeatable_read:
            return "repeatable read";
        case routing::isolation::serializable:
            return "serializable";
    }
    return {};
}

}  // namespace

/// What a text leaves in the session, and nobody can tell, must not meet another client.
void pg_session_core::taint_by(routing::operation const& op, std::string_view text, bool whole) {
    using enum statement_kind;
    bool makes = false;
    for (routing::statement const& s : op.statements) {
        makes = makes || s.kind == set || s.kind == reset || s.kind == discard;
        if (s.kind == utility && s.command == "DO")
            taint_by_code(s, text, whole);
        else if (s.kind == unknown)
            taint_by_unread(text, whole);
    }
    if (makes && op.transaction_control && op.statements.size() > 1) server_->tainted = true;
}

/// What the words of a DO do not show it may have made up.
void pg_session_core::taint_by_code(routing::statement const& s, std::string_view text, bool whole) {
    std::string_view const from = text.substr(std::min<std::size_t>(s.offset, text.size()));
    std::string_view const code = s.length > 0 ? from.substr(0, s.length) : from;
    routing::leavings left;
    auto const called = [&](std::string_view name) {
        if (!catalog_.facts) return;
        if (auto const* known = catalog_.facts->find(routing::name_number(routing::named::function, {}, name)))
            left.add(known->leaves);
    };
    if (whole) left.add(routing::source_leaves(code, called));
    pin_by(left);
    taint_by_unread(code, whole);
}

/// What it has set is lost with its server connection; what it may have made keeps that for its client, until the server has
/// been asked. One that is not here as a whole may have any word.
void pg_session_core::taint_by_unread(std::string_view text, bool whole) {
    std::string const lower = ascii_lower(whole ? text : std::string_view());
    auto const has = [&](std::string_view word) { return !whole || lower.find(word) != std::string::npos; };
    if (std::ranges::none_of(leaves_state, has)) return;
    server_->tainted = true;
    routing::leavings left;
    for (auto const& [word, what] : keeps_something)
        if (has(word)) left.add(what);
    pin_by(left);
}

/// What a SET sets, as it is carried. Nothing: it cannot be.
std::optional<std::string> pg_session_core::carried_value(routing::statement const& s, std::string_view text) const {
    if (s.opaque) return std::nullopt;
    std::string const* encoding = find_setting(server_->reported, "client_encoding");
    std::string value = setting_value(s.value, encoding ? *encoding : std::string_view());
    // An escape in a literal is of the server's encoding, not of the client's.
    if (value.size() != s.value.size() && (!encoding || text.find('\\') != std::string_view::npos)) return std::nullopt;
    return value;
}

/// What stands before the end of a transaction is settled there, and what stands behind it is not: each statement of such a text
/// is told apart by its CommandComplete.
bool pg_session_core::is_told_apart(routing::operation const& op) const {
    if (op.statements.size() < 2 || !op.transaction_control) return false;
    auto const sets = [](routing::statement const& s) {
        return s.kind == statement_kind::set || s.kind == statement_kind::reset || s.kind == statement_kind::discard ||
               s.kind == statement_kind::deallocate || s.kind == statement_kind::listen || s.kind == statement_kind::unlisten;
    };
    if (pending_.empty() && std::ranges::none_of(op.statements, sets)) return false;
    constexpr std::size_t most_of_one = 3;
    return pending_.size() + most_of_one * op.statements.size() < most_pending;
}

/// What a text does to settings, to be applied if its transaction commits. How many were recorded. `apart`: is_told_apart().
std::uint16_t pg_session_core::record_settings(routing::operation const& op, std::string_view text, listener of, bool apart) {
    using what = pending_setting::what;
    std::uint16_t count = 0;
    // It stays where it is, and so does the client.
    auto const stay = [&] {
        pins_.add(pin::settings);
        server_->tainted = true;
    };
    auto record = [&](what kind, std::string const& name, std::string value = {}) {
        std::size_t const known = wanted_->size() + pending_.size();
        // Too much to carry from server to server?
        if (pending_.size() >= most_pending || value.size() > longest_setting ||
            (kind == what::make && known >= most_settings))
            return stay();
        pending_.push_back({kind, name, std::move(value)});
        wiping_ = wiping_ || kind == what::discard_all || kind == what::deallocate_all;
        ++count;
    };
    auto note_channel = [&](what kind, std::string const& name) {
        if (pending_.size() < most_pending) return record(kind, name);
        // Too many to keep count of: what it can no longer undo, it does at once.
        if (kind == what::unlisten)
            channels_->end_listening(name);
        else if (channels_->joined.contains(name))
            channels_->active.insert(name);
    };
    for (routing::statement const& s : op.statements) {
        std::uint16_t const before = count;
        bool const makes = s.kind == statement_kind::set || s.kind == statement_kind::reset ||
                           s.kind == statement_kind::discard;
        if (makes && (s.name.empty() || s.name == "ALL" || decides_literals(s.name)))
            reads_differently_ = true;
        switch (s.kind) {
            case statement_kind::set:
                if (s.local) break;
                if (s.by_query && s.access >= routing::access::unknown) {
                    stay();  // whose set_config() that was nobody knows
                } else if (s.to_default) {
                    record(what::reset, s.name);
                } else if (s.begin != routing::begin_options{}) {
                    // SET SESSION CHARACTERISTICS, which may set three.
                    if (auto const name = name_of(s.begin.isolation); !name.empty())
                        record(what::make, "default_transaction_isolation", std::string(name));
                    if (s.begin.read_only)
                        record(what::make, "default_transaction_read_only", *s.begin.read_only ? "on" : "off");
                    if (s.begin.deferrable)
                        record(what::make, "default_transaction_deferrable", *s.begin.deferrable ? "on" : "off");
                } else if (std::optional<std::string> value = carried_value(s, text)) {
                    record(what::make, s.name, std::move(*value));
                } else {
                    stay();
                }
                break;
            case statement_kind::reset:
                if (s.name.empty() && is_kept_over()) server_->stays = '?';
                record(s.name.empty() ? what::reset_all : what::reset, s.name);
                break;
            case statement_kind::discard:
                if (s.name == "ALL") record(what::discard_all, {});
                break;
            case statement_kind::deallocate:
                if (s.name.empty()) record(what::deallocate_all, {});
                break;
            case statement_kind::listen:
                if (of == listener::shared) {
                    note_channel(what::hear, s.name);
                    break;
                }
                listens(s.name);
                note_channel(what::listen, s.name);
                break;
            case statement_kind::unlisten:
                if (channels_) note_channel(what::unlisten, s.name);
                break;
            case statement_kind::savepoint:
                record(what::savepoint, s.name);
                break;
            case statement_kind::release:
                record(what::release, s.name);
                break;
            case statement_kind::rollback_to:
                record(what::rollback_to, s.name);
                break;
            default:
                break;
        }
        if (!apart) continue;
        bool const ends = s.kind == statement_kind::commit || s.kind == statement_kind::rollback ||
                          s.kind == statement_kind::prepare_transaction;
        if (count == before) record(ends ? what::end : what::nothing, {});
        pending_.back().last = true;
        pending_.back().chain = s.chain;
    }
    return count;
}

}  // namespace lull
