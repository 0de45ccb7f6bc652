// One client's session with PostgreSQL, sans-io: bytes of the client and of the server it is lent come in,
// bytes for both and wishes come out. Owned by a worker's pg_client, used on that worker's thread only.
//
// How a client's input is taken: in units, a Query or a segment of the extended protocol up to its Sync or
// Flush. A unit is judged by routing::decide with the snapshot of that moment, then it waits for a server or
// goes out whole; what cannot go yet is not consumed and is fed again after on_linked(), on_server() or
// on_snapshot() set session_step::retry_input.
//
// Who knows what: client_status_ is what the client was told (its ReadyForQuery), server->status what the
// server said. They differ only while BEGIN is deferred (answered, not sent), while our own READ ONLY
// transaction is around a read, and where a failed block has no server any more.
#pragma once

#include "protocol/pg/backend.hpp"
#include "protocol/pg/bytes.hpp"
#include "protocol/pg/frame.hpp"
#include "proxy/client_patience.hpp"
#include "proxy/client_sequences_core.hpp"
#include "proxy/pending_setting.hpp"
#include "proxy/pg_session_context.hpp"
#include "proxy/pg_session_unit.hpp"
#include "proxy/pin_set_core.hpp"
#include "proxy/rare_text.hpp"
#include "proxy/statement_book.hpp"
#include "routing/policy.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lull {

class pg_session_core {
  public:
    pg_session_core(session_context& context, session_identity identity);

    /// The client is authenticated: find out what to tell it of the server, then the first ReadyForQuery.
    void start(session_step& step);
    /// How many bytes were consumed. The rest must come again, with more behind it.
    std::size_t on_client(pg::bytes in, session_step& step);
    std::size_t on_server(pg::bytes in, session_step& step);
    /// The wish is granted. `server` stays ours until release, discard or on_server_lost.
    void on_linked(pg_server_state& server, session_step& step);
    /// The wish cannot be granted; `error` is a whole ErrorResponse.
    void on_no_server(std::string error, session_step& step);
    /// The server it waits for will not come, another may: the choice is made again.
    void on_choose_again(session_step& step);
    /// The connection broke; it is no longer ours.
    void on_server_lost(std::string_view why, session_step& step);
    /// The client is gone; what runs on its server is let end, and is rolled back where it is a block.
    void on_client_gone(session_step& step);
    /// The operator ends the session, whatever it does.
    void terminate(session_step& step);
    /// Another snapshot is in the context.
    void on_snapshot(session_step& step);
    void on_tick(session_step& step);
    /// Held writes go on when the site is open, at the pace that the driver gives them.
    void on_release(session_step& step);
    /// What became of session_step::journal.
    void on_journaled(journal_outcome outcome, session_step& step);
    /// The listener has answered, or has lost its connection.
    void on_channel(std::string const& channel, channel_outcome outcome, session_step& step);
    void on_channels_lost();
    void on_notification(notification const& what);
    /// Whether tell_notifications() would tell anything now.
    bool may_tell(bool slow) const { return channels_ && may_tell_notifications(slow); }
    void tell_notifications(session_step& step);
    std::size_t channels() const { return channels_ ? channels_->active.size() : 0; }
    /// About once a second: ends what has lasted too long. What it did not read may wait for it.
    void check_timeouts(session_step& step, reading how = reading::all);
    void note_progress() { patience_.note_progress(); }
    void give_up_sequences(session_step& step);
    /// A CancelRequest with our key; and the end of what step.cancel() has asked for, when our server is told to clear it.
    void on_cancel(session_step& step);
    void on_cancel_ended(session_step& step) { after_event(step); }
    /// The drain deadline has passed: end what this session still writes.
    void end_writing(bool terminate, session_step& step);

    /// Whether on_client() would take anything now.
    bool takes_input() const { return blocked_ == blocked::no && !closing_; }
    bool held() const { return blocked_ == blocked::held; }
    routing::instant held_since() const { return held_since_; }
    bool releasable() const { return held() && read_write(); }
    bool waits_for_server() const { return blocked_ == blocked::server || blocked_ == blocked::welcome; }
    bool linked() const { return server_ != nullptr; }
    bool owes_answer() const { return server_ && !server_->owed.empty() && !segment_open_ && !server_->copy_in && client_body_left_ == 0; }
    /// Has begun what may write and has not ended it.
    bool writes() const { return (may_write_ || in_flight_) && !identity_.migration; }
    /// Something runs on a server, which whatever becomes of the connection may come to write.
    bool at_work_unguarded() const;
    routing::instant writes_since() const { return writes_since_; }
    bool idle() const { return !server_ && blocked_ == blocked::no && client_status_ == 'I'; }
    /// Nothing more will come of it: the client is gone and no server is ours.
    bool finished() const { return client_gone_ && !server_; }
    session_identity const& identity() const { return identity_; }
    std::string_view last_statement() const { return last_statement_; }
    std::string application_name() const;
    write_fates fates() const { return fates_ ? *fates_ : write_fates{}; }
    /// Those since the last call.
    write_fates take_fates() {
        write_fates const taken = fates();
        fates_.reset();
        return taken;
    }
    std::size_t held_bytes() const { return held_bytes_; }
    /// What keeps it on its server, also between its transactions.
    pin_set const& pins() const { return pins_; }
    bool pinned() const { return static_cast<bool>(pins_); }
    char status() const { return client_status_; }
    database_stats& stats() { return stats_; }
    /// Since when it waits for a server, has one, and when it last asked for anything. instant{}: not.
    routing::instant waits_since() const { return waits_since_; }
    routing::instant linked_since() const { return server_ ? linked_since_ : routing::instant{}; }
    routing::instant asked() const { return asked_; }

  private:
    enum class blocked : std::uint8_t { no, welcome, server, settings, barrier, pipeline, held, journal, channel, cancel };
    enum class abort_reason : std::uint8_t { maintenance, transaction_timeout, idle_in_transaction, statement_pooling, canceled, told };
    /// What happens to a unit that may not run.
    enum class instead : std::uint8_t {
        refuse,
        later,     // it waits, and is judged again
        answered,  // consumed, without a server
        pass,      // it runs all the same, alone and outside of any transaction
    };
    routing::site const& site() const { return context_.snapshot->of(identity_.site); }
    config::limits const& limits() const { return context_.snapshot->config->limits; }
    bool read_write() const { return site().mode == routing::mode::read_write; }
    routing::text_facts text_facts() const { return pending_.empty() ? facts_ : facts_amid_changes(); }
    routing::text_facts facts_amid_changes() const;
    void look_up_catalog();
    std::shared_ptr<routing::operation const> const& judge(std::shared_ptr<routing::operation const> const& op);

    // pg_session_core.cpp: linking, transactions, ends
    bool place(routing::verdict verdict, session_step& step);
    void want(routing::verdict verdict, session_step& step);
    bool is_lent(session_step& step);
    bool matches(routing::verdict verdict) const;
    bool sync_settings(session_step& step);
    bool opens_guard_first(routing::begin_options const& options, session_step& step);
    bool waits_for_guard(routing::operation const& op, session_step& step), waits_for_guard(unit_plan const& plan, session_step& step);
    bool stands_alone(routing::operation const& op) const, is_in_order() const;
    bool proves_first(routing::operation const& op, session_step& step), moves_block(routing::operation const& op, session_step& step);
    void prologue(session_step& step);
    void taint_by(routing::operation const& op, std::string_view text, bool whole);
    void taint_by_code(routing::statement const& s, std::string_view text, bool whole), taint_by_unread(std::string_view text, bool whole);
    void after_event(session_step& step);
    void wind_down(session_step& step), fail_block(std::string error, session_step& step);
    void note_flip(), unlink();
    void fatal(std::string_view sqlstate, std::string_view message, session_step& step, std::string_view hint = {});
    void ready(session_step& step), ready(pg::bytes as_it_came, session_step& step);
    void finish_transaction(bool wrapped), forget_transaction(), forget_segment();
    void await_answers(blocked what, session_step& step);
    void fail_deferred();
    void forget_statements();
    void apply_settings(bool to_server);
    bool began_writing(routing::operation const& op, session_step& step), began_writing(routing::access access, session_step& step);
    void note_sequences(session_step& step);  // pg_sequences_core.cpp
    bool waits_for_sequences(bool within, std::string_view text, session_step& step);
    owed_reply& forget_sequences(session_step& step);
    // pg_instead_core.cpp: writes that are held, discarded or kept for later
    instead instead_of(refused_unit const& unit, pg::bytes in, session_step& step);
    bool hold(std::size_t bytes, bool whole, session_step& step);
    void leave_hold(), forget_refusal();
    bool is_autocommit() const;
    bool is_single_write(unit_plan const& plan) const;
    std::vector<std::string> settings_for_replay() const;
    instead keep(refused_unit const& unit, pg::bytes in, std::string tag, session_step& step);
    void answer_instead(unit_plan const* segment, std::string_view tag, session_step& step);
    std::size_t finish_journaled(pg::bytes in, session_step& step);
    void tell_reported(session_step& step);
    void welcome(greeting const& known, session_step& step);
    greeting const& remember_welcome();
    greeting_book::guest as_guest() const;
    void report_mode(session_step& step);
    bool guard_needed() const;
    void loosen_guard(routing::statement const& s);
    /// Its server is its own to the end.
    bool keeps_server() const { return identity_.migration || identity_.pool_mode == config::pool_mode::session; }
    bool refuses_block(routing::operation const& op) const;
    bool touches_own_names(routing::operation const& op) const;
    std::string kept_unread(prepared const& statement);
    enum class sent_to : std::uint8_t { be_read, run };
    std::string out_of_place(routing::operation const& op, sent_to what) const;
    bool may_cut() const;
    bool cuts_segment(session_step& step);
    void doubt_names();
    bool in_guard() const { return wrap_open_ || block_guarded_; }
    /// Of what has no text, or one that says nothing of where it is to go.
    routing::session_facts facts() const, facts(std::string_view text) const;
    bool is_serializable_block() const;
    owed_reply& send_own_query(std::string_view sql, session_step& step);
    std::string begin_sql(bool read_only, bool with_snapshot) const;
    std::size_t stream_client(pg::bytes in, session_step& step);

    // pg_simple_core.cpp
    std::size_t unit(pg::bytes in, session_step& step);
    std::size_t simple(pg::bytes in, pg::frame_header header, judged_text const& again, session_step& step);
    bool in_failed_block() const;
    bool is_apart() const;
    static bool may_end_block(routing::operation const& op);
    static bool ends_failed_block(routing::operation const& op);
    static bool ends_guard(routing::statement const& s);
    bool fits_segment(session_step& step);
    void forward_simple(pg::bytes in, std::size_t size, std::string_view text, routing::operation const& op, session_step& step);
    void forward_query(pg::bytes in, std::size_t size, std::string_view text, routing::operation const& op, session_step& step);
    void send_message(pg::bytes in, std::size_t size, session_step& step);
    enum class listener : std::uint8_t { own_server, shared };
    bool is_told_apart(routing::operation const& op) const;
    std::uint16_t record_settings(routing::operation const& op, std::string_view text, listener of, bool apart = false);
    std::optional<std::string> carried_value(routing::statement const& s, std::string_view text) const;
    std::size_t function_call(pg::bytes in, pg::frame_header header, session_step& step);
    std::size_t copy_data(pg::bytes in, pg::frame_header header, session_step& step), drop(pg::bytes in, std::size_t size);
    std::string refusal(routing::operation const* op, routing::statement const* offender) const;
    std::string_view refusal_code() const;
    bool checks_temporary_first(routing::operation const& op, session_step& step);
    void note_purity(routing::operation const& op);
    /// Whether our READ ONLY transaction ends with COMMIT.
    bool keeps_temporary() const { return temporary_written_ && !called_unknown_; }
    bool discards_notify(routing::operation const& op) const;

    void note_statement(std::string_view text) { last_statement_.assign(text.substr(0, 200)); }

    // pg_local_core.cpp
    std::size_t fail_unit(pg::bytes in, pg::frame_header header, session_step& step);
    std::size_t refuse_simple(pg::bytes in, std::size_t size, std::string error, session_step& step);
    std::size_t fail_simple(pg::bytes in, std::size_t size, std::string error, session_step& step);
    routing::statement_kind end_of_block(pg::bytes in, pg::frame_header header);
    bool answer_locally(routing::operation const& op, std::string_view text, session_step& step);
    bool answer_failed(routing::operation const& op, session_step& step);
    bool discards_pinned(routing::operation const& op) const;
    void discard_pinned(session_step& step);
    bool is_local(pg::bytes in, unit_plan const& plan) const;
    bool bounds_block(prepared const& statement) const;
    std::size_t extended_locally(unit_plan const& plan, session_step& step);

    // pg_extended_core.cpp
    std::size_t extended(pg::bytes in, session_step& step), segment(pg::bytes in, session_step& step);
    unit_plan plan(pg::bytes in);
    std::string_view reading_context();
    prepared statement_of(std::string_view text, std::string_view types);
    prepared find_statement(std::string_view name, unit_plan const& so_far) const;
    prepared as_read_now(prepared statement);
    prepared find_portal(std::string_view name, unit_plan const& so_far) const;
    bool plan_message(pg::bytes body, unit_message& message, unit_plan& plan);
    bool is_plainly_open() const;  // pg_plain_core.cpp
    bool is_plain_query(routing::operation const& op) const { return op.is_query() && !op.asks_sequences && is_plainly_open(); }
    std::optional<plain_segment> find_plain(pg::bytes in);
    std::size_t forward_plain(pg::bytes in, plain_segment const& segment, session_step& step);
    std::size_t forward_plain(pg::bytes in, std::size_t size, std::string_view text,
                              std::shared_ptr<routing::operation const> const& op, session_step& step);
    bool forward_extended(pg::bytes in, unit_message const& message, std::optional<bool> described, session_step& step);
    void forward_parse(pg::bytes in, unit_message const& message, session_step& step);
    bool forward_bind(pg::bytes in, unit_message const& message, std::optional<bool> described, session_step& step);
    void forward_execute(pg::bytes in, unit_message const& message, session_step& step);
    std::string kept_from_server(prepared const& statement, routing::operation const& op, bool breaks_guard, bool heard);
    bool prepares_aside(unit_plan const& plan) const;
    static bool only_unlistens(unit_plan const& plan);
    void forward_sync(session_step& step);
    bool is_unnamed_here(prepared const& statement) const;
    bool is_dead_block() const;
    void ensure_prepared(prepared const& statement, session_step& step);
    void parse_unnamed(prepared_text const& statement, session_step& step);
    void close_on_server(std::string_view name, prepared const& was, session_step& step);
    owed_reply& run_own(std::string_view portal, std::string_view statement, std::string_view refused, session_step& step);
    void fail_extended(std::string const& error, session_step& step);
    void make_room(prepared_text const& what, session_step& step);
    prepared own_statement(std::string_view text);
    prepared substitute(prepared const& statement, char const*& retag);

    // pg_replies_core.cpp
    std::size_t replies(pg::bytes in, session_step& step);
    std::size_t pass_run(pg::bytes in);
    bool reply(char type, pg::bytes body, pg::bytes whole, session_step& step);
    bool reply_ready(char status, pg::bytes whole, session_step& step);
    void reply_error(pg::bytes body, pg::bytes whole, session_step& step);
    void reply_complete(pg::bytes body, pg::bytes whole, session_step& step);
    void reply_parameter(pg::bytes body, session_step& step);
    void settle_front(bool failed), settle_statement(std::string_view tag);
    void begin_copy(), undo_names(), end_portals();
    void restore_name(owed_reply const& of, std::size_t behind);
    void undo_portals(std::size_t end);
    void forget_stale_plans(owed_reply const& failed);
    void keep_unit(pg::bytes unit, unit_plan const& plan);  // pg_again_core.cpp
    bool keeps_answer(char type, pg::bytes whole, session_step& step), keep_unit(pg::bytes unit), may_come_again(), reads_elsewhere(pg::error_fields const& failed);
    bool gives_back(pg::error_fields const& failed), is_as_told(prepared const& statement, told_shape const* told, bool described, pg::bytes formats);
    void look_at(prepared const& statement, session_step& step), tell_described(session_step& step), keep_read(pg::bytes unit, std::string_view text);
    void note_shape(char type, pg::bytes body), pop_owed(session_step& step);
    std::uint32_t meaning_of(std::string_view name, prepared const& statement) const;
    void answer_local(session_step& step) {
        if (!server_->owed.empty() && server_->owed.front().kind == owed_kind::local) answer_locals(step);
    }
    void answer_locals(session_step& step);
    void own_query_failed(pg::bytes body, pg::bytes whole, session_step& step);

    // pg_sql_prepared_core.cpp: PREPARE, EXECUTE and DEALLOCATE
    /// Whether it has to do with a statement that was prepared under a name.
    static bool uses_name(routing::statement const& s) { return !s.name.empty() && uses_name(s.kind); }
    static bool uses_name(routing::statement_kind kind);
    bool names_are_open() const;
    bool is_open(std::string_view name) const, is_wiped(std::string_view name) const;
    bool frees_names() const;
    std::shared_ptr<routing::operation const> execution_of(std::shared_ptr<routing::operation const> const& op);
    std::shared_ptr<routing::operation const> execution_of(routing::operation const& prepare) const;
    std::string refuses_to_prepare(routing::statement const& s, std::size_t bytes) const;
    prepared sql_prepared(routing::statement const& s, std::string_view text);
    void keep_prepared();
    prepared as_sql(std::string_view name, prepared const& statement);
    void put_in_place(std::string_view name, session_step& step);
    void clear_name(std::string_view name, session_step& step);
    void make_by_sql(prepared const& statement, session_step& step);
    void put_in_place(routing::statement const& s, session_step& step);
    void begin_prepare(prepared const& what, session_step& step), note_names(routing::operation const& op, session_step& step);

    // pg_channels_core.cpp
    enum class joining : std::uint8_t { done, waits };
    bool shares_channels(routing::operation const& op) const;
    bool shares_query(routing::operation const& op) const { return !segment_open_ && shares_channels(op); }
    joining join_channels(routing::operation const& op);
    joining join_channels(unit_plan const& plan);
    bool heard(routing::statement const* only) const { return only && only->kind == routing::statement_kind::listen && sharing_; }
    void settle_channels();
    void leave_channels();
    void stop_waiting_for_listener(std::string error, session_step& step);
    bool may_tell_notifications(bool slow) const;
    bool hears(pg::bytes body) const;
    void listens(std::string const& channel);
    void stop_listening(std::string const& channel);

    // pg_pins_core.cpp
    void pin_by(routing::statement const& s), pin_by(routing::leavings left);
    void note_end_of_pins(routing::statement const& s);
    void ask_for_pins(session_step& step);
    void ask_what_pins(session_step& step);
    static void answer_pins(owed_reply& front, std::string_view tag);
    void settle_pins(bool failed, std::uint8_t gone);

    // pg_timeouts_core.cpp
    void abort_block(abort_reason why, session_step& step), end_patience(reading how, session_step& step);
    std::string abort_error() const;
    void tell_timed_out(session_step& step), give_up_server(session_step& step), note_block();
    bool is_kept_over() const, waits_for_client(reading how, session_step& step);
    void keep_session(session_step& step);
    static pg::error_fields_out block_in_statement_mode();

    // pg_session_stats_core.cpp
    void count_begin(char type);
    void count_linked();
    void count_answered();
    owed_reply& count_executed(routing::access said, owed_reply& owed);
    void uncount_executed(owed_reply const& owed);
    void count_error(std::optional<pg::error_fields> const& fields, owed_reply const& owed), count_refusal(pg::error_fields const& fields, owed_reply const& owed);
    void count(std::uint64_t write_fates::*what);
    void watch(std::chrono::nanoseconds took);

    session_context& context_;
    session_identity identity_;  // constant; what it began with is in startup_
    database_stats& stats_;
    session_settings const startup_;  // of identity_; never null
    session_settings wanted_;         // what this client's sessions are to have
    session_settings reported_;       // what the client was told
    session_settings facts_of_;       // the reported settings that facts_ and superuser_ were made from
    session_settings context_of_;     // the settings that reading_context_ was made from
    rare_text reading_context_;
    routing::text_facts context_facts_;
    bool reads_differently_ = false;  // this transaction has set what decides how literals are read
    bool told_read_only_ = false;
    routing::text_facts facts_;
    bool superuser_ = false;  // the server has said so once
    bool privileged_role_ = false;  // by the catalog
    routing::catalog_state catalog_;
    std::uint64_t catalog_of_ = 0;  // number of the snapshot that catalog_ is of

    pg_server_state* server_ = nullptr;
    server_wish wish_{};
    blocked blocked_ = blocked::no;
    char client_status_ = 'I';
    std::optional<routing::begin_options> deferred_;  // BEGIN answered and not sent
    routing::route block_route_ = routing::route::automatic;  // of that BEGIN
    routing::begin_options block_options_;            // of the open block, for AND CHAIN
    bool block_guarded_ = false;  // our READ ONLY block on a primary is the client's block
    bool began_unguarded_ = false;  // it was a block before it was guarded
    bool wrote_nothing_ = false;    // that has been asked, and nothing unknown has run since
    bool kept_by_commit_ = false;   // it has LISTENed or declared a cursor WITH HOLD: its COMMIT does something
    bool guard_loose_ = false;    // it came behind a savepoint that has ended since, and must be made again
    bool guard_ended_ = false;    // this segment has ended the transaction that was guarded; nothing more may run in it
    bool wrap_open_ = false;      // our READ ONLY block is around an extended segment
    bool aside_ = false;          // the open segment runs ahead of the block that was answered and not begun
    bool aside_under_way_ = false;  // such a segment has not been answered: it may fail the block
    bool segment_finished_ = false;  // COMMIT or ROLLBACK has been executed in it ...
    bool wrote_behind_ = false;      // ... and something that may write behind that
    bool segment_ends_ = false;     // something in the open segment may have ended the block
    bool segment_open_ = false;     // extended messages without their Sync
    bool segment_runs_ = false;     // it has bound or executed something
    bool begun_open_ = false;       // it began when the site was open, and nothing of ours is around it
    bool discarding_ = false;       // to the next Sync: the segment failed without a server
    bool may_write_ = false;
    bool was_open_ = true;    // the site, when this session was told of it last
    bool in_flight_ = false;  // what it had begun before the flip, taken for a read, is not over yet
    bool block_seen_ = false;   // this transaction is, or was, a block ...
    bool block_moves_ = false;  // ... READ ONLY on a replica, where nothing but queries has run: it may go on elsewhere
    bool error_seen_ = false, commit_sent_ = false;
    bool called_unknown_ = false;      // something that nobody knows has run in our READ ONLY transaction around it
    bool temporary_checked_ = false, temporary_written_ = false;  // temporary tables cannot run the user's code; it has written to them and ends with COMMIT
    bool wiping_ = false;  // DEALLOCATE ALL or DISCARD ALL is under way: which statements it has is open
    pin_set pins_;
    bool made_state_ = false;  // it may have temporary tables behind the names of others
    bool pins_due_ = false;    // what keeps it there may have ended: the server is to be asked
    bool cancel_due_ = false;  // behind what is ours
    [[no_unique_address]] client_patience patience_;  // what follows fills it up
    bool abort_due_ = false;   // roll the block back as soon as the server answers
    abort_reason abort_reason_ = abort_reason::maintenance;
    bool statement_timed_out_ = false;  // it has been canceled for that
    bool resetting_ = false;            // DISCARD ALL of ours is the last that this session does
    bool client_gone_ = false, closing_ = false, started_ = false, client_body_dropped_ = false;
    char last_transaction_tag_ = 0;  // 'C' or 'R'
    bool to_primary_ = false, sharing_ = false;  // what comes again goes there; the listener hears what the segment in hand LISTENs to
    bool mode_due_ = false;  // to be told at the next boundary between messages
    std::size_t client_body_left_ = 0;
    judged_text waiting_;
    rare_text fail_next_;     // ErrorResponse for the unit that waits
    rare_text server_fatal_;  // the last FATAL of the server, as ERROR

    std::unique_ptr<session_channels> channels_;  // null: it has never listened
    std::vector<pending_setting> pending_;
    statement_book statements_;
    prepared unnamed_;
    portal_table portals_;
    client_sequences sequences_;
    routing::instant wrote_at_{};  // 0: never
    routing::instant writes_since_{}, held_since_{};
    std::size_t held_bytes_ = 0;
    bool held_before_ = false, hold_exhausted_ = false;  // the unit in hand: once, it has waited since held_since_
    bool passing_ = false;  // the unit in hand runs although it may not: it stores nothing
    bool journal_done_ = false;     // it is on the disk: whatever the site is by now, it is only answered
    bool journal_refused_ = false;  // it could not be kept
    bool journal_closed_ = false;   // it came too late for that: it waits as a held one
    std::optional<routing::access> said_;
    rare_text journal_tag_;       // of the unit that is being kept, or was
    std::unique_ptr<write_fates> fates_;  // few clients write where that is not let through
    routing::instant began_{}, transaction_began_{}, waits_since_{}, linked_since_{}, asked_{};  // began_: the query under way
    routing::instant answered_{};  // when it was last told to go on
    std::chrono::nanoseconds waited_{};  // of the query that is under way
    std::string last_statement_;
};

}  // namespace lull
