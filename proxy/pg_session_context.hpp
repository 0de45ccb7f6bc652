// What a session is given, and what it asks for: the surroundings of pg_session_core.
#pragma once

#include "protocol/pg/bytes.hpp"
#include "proxy/channel_book_core.hpp"
#include "proxy/gather.hpp"
#include "proxy/greeting_book_core.hpp"
#include "proxy/hold_ledger.hpp"
#include "proxy/journal_entry.hpp"
#include "proxy/pg_server_state.hpp"
#include "proxy/statement_watch.hpp"
#include "proxy/stats.hpp"
#include "routing/fact_resolver.hpp"
#include "routing/sql_classifier.hpp"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lull {

/// What the sessions of one worker share. `now` and `snapshot` are set before each event.
struct session_context {
    std::shared_ptr<routing::snapshot const> snapshot;
    routing::instant now{};
    routing::sql_classifier& classifier;
    prepared_store& statements;
    setting_interner& settings;
    hold_ledger& holds;
    greeting_book& greetings;
    std::uint64_t seed = 0;  // of the choice among replicas; counts up
    /// By backend_id: replicas that have just failed are not chosen before this.
    std::vector<routing::instant> avoid_until;
    pg_stats stats;
    statement_watch watch;
    routing::fact_resolver resolver;
    channel_book* channels = nullptr;  // null: clients do not share a listener
    sequence_habits sequences{};
    value_owner last_value_owner = first_owner;
};

struct session_identity {
    routing::site_id site{};
    std::string database;
    std::string user;
    bool migration = false;
    config::pool_mode pool_mode = config::pool_mode::transaction;
    std::int32_t key_pid = 0;  // BackendKeyData towards the client
    std::string key_secret;
    session_settings startup;  // parameters of the startup packet, interned; null: none
};

/// Which server a unit needs.
struct server_wish {
    routing::backend_id backend{};
    bool guarded = false;  // of the pool whose sessions are READ ONLY by default
    value_owner values_of = no_values;  // rather the one of that pool that has these values, if it is free

    bool operator==(server_wish const&) const = default;
};

/// Who can give a server that is free within the event, so that a unit is taken up once and not twice. The
/// wish was not granted where it returns null: session_step::want stands as if nobody had been asked.
class server_lender {
  public:
    virtual pg_server_state* lend(server_wish const& wish) = 0;

  protected:
    ~server_lender() = default;
};

/// What an event leads to. The driver sends both gathers, then follows the flags in this order.
struct session_step {
    gather& client;
    gather& server;
    bool release = false;        // the server is clean: back to its pool
    bool discard = false;        // the server connection cannot be used again: close it
    bool cancel_server = false;  // send it a cancel request, by cancel(); on_cancel_ended() must follow
    std::optional<server_wish> want;
    std::unique_ptr<journal_entry> journal;  // to be kept on disk; on_journaled() must follow
    bool close_client = false;
    pg::bytes give_back;       // of the client's, within this event: they come again, before all that waits
    bool retry_input = false;  // input that waited may go on: feed it again
    server_lender* lender = nullptr;  // may be asked in the course of this event

    void cancel(pg_server_state& server) {
        cancel_server = server.cancelling = true;
        if (!server.owed.empty()) server.owed.front().canceled = true;
    }
};

}  // namespace lull
