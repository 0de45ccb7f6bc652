// The end of a transaction: what becomes of the settings that were made in it, of portals, and of the right
// to write.
#include "proxy/pg_session_core.hpp"

#include <algorithm>

namespace lull {

void pg_session_core::finish_transaction(bool wrapped) {
    bool const committed = block_seen_ ? last_transaction_tag_ == 'C' : !error_seen_;
    // What we rolled back, the server has not.
    if (committed)
        apply_settings(keeps_temporary() || (!wrapped && !block_guarded_));
    else if (pins_.has(pin::listen))
        pins_due_ = true;
    forget_transaction();
    // What a client has sent behind it is under way, and is not over with it.
    std::erase_if(pending_, [](pending_setting const& p) { return p.confirmed; });
    for (std::size_t i = 0; i < server_->owed.size(); ++i) {
        may_write_ = may_write_ || server_->owed.at(i).writes;
        commit_sent_ = commit_sent_ || server_->owed.at(i).commits;
    }
    end_portals();
    if (channels_) settle_channels();
}

/// What is known of a transaction while it lasts.
void pg_session_core::forget_transaction() {
    if (may_write_) wrote_at_ = context_.now;  // how it ended may not be known; that it may have written is
    abort_due_ = reads_differently_ = wiping_ = block_seen_ = block_moves_ = error_seen_ = may_write_ = commit_sent_ = false;
    block_guarded_ = began_unguarded_ = wrote_nothing_ = kept_by_commit_ = guard_loose_ = false;
    called_unknown_ = temporary_checked_ = temporary_written_ = false;
    last_transaction_tag_ = 0;
    sequences_.prove(client_sequences::proof::none);
}

/// What is known of a segment until its Sync. (That it has ended our transaction holds until the client's own Sync.)
void pg_session_core::forget_segment() {
    segment_open_ = segment_ends_ = segment_runs_ = segment_finished_ = wrote_behind_ = begun_open_ = false;
}

/// A block that was answered and not begun has failed; its options are what AND CHAIN goes on with.
void pg_session_core::fail_deferred() {
    block_options_ = *deferred_;
    deferred_.reset();
}

/// DEALLOCATE ALL and DISCARD ALL. What was prepared behind them in the same segment stays; the client's
/// unnamed statement is not among what they end.
void pg_session_core::forget_statements() {
    server_->statements.clear();
    server_->doubtful.clear();  // their names are free
    server_->unnamed = nullptr;
    statement_book kept;
    for (std::size_t i = 0; i < server_->owed.size(); ++i) {
        owed_reply& owed = server_->owed.at(i);
        if (!owed.name.empty()) owed.before = nullptr;  // gone, also where this comes to fail
        if (owed.kind == owed_kind::close || !owed.parsed) continue;
        server_->statements.add(owed.parsed);
        if (owed.name.empty()) continue;
        if (prepared known = statements_.find(owed.name)) kept.put(owed.name, std::move(known));
    }
    statements_ = std::move(kept);
}

void pg_session_core::apply_settings(bool to_server) {
    if (pending_.empty()) return;
    std::vector<pending_setting const*> kept;
    std::vector<std::pair<std::string, std::size_t>> savepoints;
    // Whoever begins to be another, or the first one again, has no role (SetSessionAuthorization).
    auto const without_role = [&](session_settings const& of, pending_setting const& p) {
        return p.name == "session_authorization" ? context_.settings.without(of, "role") : of;
    };
    for (pending_setting const& p : pending_) {
        using what = pending_setting::what;
        if (!p.confirmed) continue;
        auto find = [&] {
            return std::find_if(savepoints.rbegin(), savepoints.rend(),
                                [&](auto const& s) { return s.first == p.name; });
        };
        switch (p.kind) {
            case what::end:
            case what::nothing:
                break;
            case what::savepoint:
                savepoints.emplace_back(p.name, kept.size());
                break;
            case what::release:
                if (auto at = find(); at != savepoints.rend())
                    savepoints.erase(std::prev(at.base()), savepoints.end());
                break;
            case what::rollback_to:
                if (auto at = find(); at != savepoints.rend()) {
                    kept.resize(at->second);
                    savepoints.erase(at.base(), savepoints.end());
                }
                break;
            case what::make:
            case what::reset:
            case what::reset_all:
            case what::deallocate_all:
            case what::discard_all:
            case what::hear:
            case what::listen:
            case what::unlisten:
                kept.push_back(&p);
                break;
        }
    }
    session_settings actual = server_->actual;
    for (pending_setting const* p : kept) {
        switch (p->kind) {
            case pending_setting::what::make:
                wanted_ = context_.settings.with(without_role(wanted_, *p), p->name, p->value);
                actual = context_.settings.with(without_role(actual, *p), p->name, p->value);
                break;
            case pending_setting::what::reset: {
                // To the client its startup parameters are the defaults; to the server they are settings.
                std::string const* initial = find_setting(startup_, p->name);
                wanted_ = without_role(initial ? context_.settings.with(wanted_, p->name, *initial)
                                               : context_.settings.without(wanted_, p->name), *p);
                actual = without_role(context_.settings.without(actual, p->name), *p);
                break;
            }
            case pending_setting::what::deallocate_all:  // has been done, see settle_front
                break;
            case pending_setting::what::hear:
                if (channels_->joined.contains(p->name))
                    channels_->active.insert(p->name);
                else  // it is told that it listens, and nobody does so for it
                    channels_->end = session_channels::ending::lost;
                break;
            case pending_setting::what::listen:
                // An UNLISTEN before it has ended it.
                listens(p->name);
                pins_.add(pin::listen);
                made_state_ = true;
                break;
            case pending_setting::what::unlisten:
                stop_listening(p->name);
                break;
            case pending_setting::what::discard_all:
                if (channels_) channels_->end_listening({});
                forget_statements();
                if (server_->owes_nothing_but_sync()) {  // what comes behind may have pinned it again
                    pins_.clear();
                    if (keeps_server()) pins_.add(pin::mode);
                    made_state_ = false;
                }
                wanted_ = startup_;
                actual = context_.settings.none();
                break;
            case pending_setting::what::reset_all: {
                session_settings const who_wanted = std::exchange(wanted_, startup_);
                session_settings const who_is = std::exchange(actual, context_.settings.none());
                for (std::string_view name : identity_settings) {
                    if (std::string const* value = find_setting(who_wanted, name))
                        wanted_ = context_.settings.with(wanted_, name, *value);
                    if (std::string const* value = find_setting(who_is, name))
                        actual = context_.settings.with(actual, name, *value);
                }
                break;
            }
            case pending_setting::what::savepoint:
            case pending_setting::what::release:
            case pending_setting::what::rollback_to:
            case pending_setting::what::end:
            case pending_setting::what::nothing:
                break;
        }
    }
    if (to_server) server_->actual = actual;
}

}  // namespace lull
