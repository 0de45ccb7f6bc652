// What must hold of every session whatever happens, judged from its two byte streams alone and by nothing
// that the session says of itself except writes(). Violations are told to whoever made the watch.
#pragma once

#include "routing/policy.hpp"
#include "routing/write_rules.hpp"
#include "tests/unit/proxy/pg_wire.hpp"
#include "tests/unit/proxy/pg_world.hpp"

#include <functional>
#include <map>
#include <string>
#include <utility>

namespace lull::wire {

/// A server connection as the books of a pool know it.
struct test_server {
    pg_server_state state;
    bool guarded = false;
    int number = 0;
    std::string received;  // what was sent to it and nobody has taken yet
    std::string unread;    // what it said and the session did not take yet

    // Of the watch: what the bytes sent to it have made of it.
    std::string sent_part;
    std::map<std::string, std::string> statements;  // text by the server's name
    std::map<std::string, std::string> prepared_by_sql;  // the PREPARE by its name
    bool read_only_block = false;
};

class pg_watch {
  public:
    using violation = std::function<void(std::string const&)>;

    pg_watch(pg_world& world, bool migration, violation tell)
        : world_(world), migration_(migration), tell_(std::move(tell)) {}

    /// Bytes of the client as it sends them.
    void from_client(std::string_view bytes) {
        client_part_ += bytes;
        for (raw_message const& m : take_messages(client_part_)) {
            asked_ += asks(m.type) ? 1 : 0;
            if (m.type == 'Q' || m.type == 'P') {
                std::size_t at = 0;
                if (m.type == 'P') (void)text_at(m.body, at);
                std::string const text = text_at(m.body, at);
                ++texts_[text];
                for (std::string_view word : {"begin", "start", "BEGIN", "START"})
                    begins_blocks_ = begins_blocks_ || text.find(word) != std::string::npos;
            }
        }
    }

    void to_client(std::string_view bytes) {
        // What is only refused may be answered when its header is there.
        bool const half = client_part_.size() >= pg::header_bytes && asks(client_part_[0]);
        answer_part_ += bytes;
        for (raw_message const& m : take_messages(answer_part_)) {
            if (!pg::is_backend_type(m.type) || m.type == 0) tell_("the client is sent what is no message");
            if (m.type == 'Z' && ++answered_ > asked_ + (half ? 1 : 0))
                tell_("a ReadyForQuery that nobody asked for");
        }
    }

    void to_server(test_server& server, std::string_view bytes, bool writes) {
        server.sent_part += bytes;
        for (raw_message const& m : take_messages(server.sent_part)) {
            if (!pg::is_frontend_type(m.type)) tell_("the server is sent what is no message");
            std::size_t at = 0;
            if (m.type == 'Q') run(server, text_at(m.body, at), true, writes);
            if (m.type == 'P') {
                std::string const name = text_at(m.body, at);
                server.statements[name] = text_at(m.body, at);
            }
            if (m.type == 'C') server.prepared_by_sql.erase(m.body.substr(1, m.body.find('\0', 1) - 1));
            if (m.type == 'B') {
                (void)text_at(m.body, at);
                std::string const name = text_at(m.body, at);
                if (auto const known = server.statements.find(name); known != server.statements.end())
                    run(server, known->second, false, writes);
            }
        }
    }

    /// It is on the disk, and will be run from there.
    void kept(std::string const& text) {
        if (++sent_[text] > texts_[text]) tell_("a statement that was sent is journaled too: " + text);
    }
    void violated(std::string const& what) { tell_(what); }
    /// After every event.
    void check(bool writes) {
        // With the flip itself what was taken for a read becomes something to wait for.
        bool const was_open = std::exchange(was_open_, world_.read_write());
        if (!was_open_ && !was_open && writes && !wrote_) tell_("a write begins after the flip");
        wrote_ = writes;
    }
    void check_released(test_server const& server) {
        if (server.state.status != 'I' || !server.state.owed.empty() || server.state.body_left != 0 ||
            server.state.copy_in)
            tell_("a server is given back that is not clean");
    }

    /// Whether the client has ever asked for one.
    bool begins_blocks() const { return begins_blocks_; }
    /// ReadyForQuery that the client still waits for.
    long waits_for() const { return static_cast<long>(asked_) - static_cast<long>(answered_); }
    void greeted() { ++asked_; }
    /// A Sync inside COPY, or a Query in a segment that has failed: PostgreSQL answers neither.
    void ignored() { --asked_; }

  private:
    static bool asks(char type) { return type == 'Q' || type == 'F' || type == 'S'; }
    /// Also by a policy of the site's: of tables that are written to, the server sees that they are temporary.
    bool may_pass(routing::statement const& s) const {
        config::guard const& guard = world_.site().guard;
        if (routing::passes_read_only(s, guard)) return true;
        return guard.temporary_tables == config::temporary_policy::write && s.beside <= routing::access::session;
    }
    /// EXECUTE of what was prepared on this server, and only reads.
    bool is_read_of(test_server const& server, routing::statement const& s) const {
        if (s.kind != routing::statement_kind::execute) return false;
        auto const at = server.prepared_by_sql.find(s.name);
        if (at == server.prepared_by_sql.end()) return false;
        return world_.context().classifier.classify(at->second)->statements.front().value == "read";
    }
    bool ours(std::string_view text) const { return text.find("lull") != std::string_view::npos; }

    void run(test_server& server, std::string const& text, bool simple, bool writes) {
        auto const op = world_.context().classifier.classify(text);
        bool const known = texts_.contains(text);
        // A PREPARE is, on each server that is to execute it.
        routing::statement const first = op->statements.empty() ? routing::statement{} : op->statements.front();
        bool const prepares = first.kind == routing::statement_kind::prepare;
        // What a standby refuses may be asked of the primary, too.
        int& times = server.state.role == routing::role::replica ? read_[text] : sent_[text];
        if (simple && known && !prepares && ++times > texts_[text] && text != "ROLLBACK")
            tell_("a statement is sent twice: " + text);
        if (prepares) server.prepared_by_sql[first.name] = text;
        bool const executes_read = is_read_of(server, first);
        bool const passes = routing::stores_nothing(*op) && world_.lets_pass();
        bool const subject = !passes && !migration_ && !writes && !world_.read_write() &&
                             server.state.role == routing::role::primary && server.state.status != 'E';
        bool alone = true;  // what is made outside of our transaction, so that it outlives it
        for (routing::statement const& s : op->statements) {
            using kind = routing::statement_kind;
            alone = alone && (s.kind == kind::set || s.kind == kind::reset || s.kind == kind::discard ||
                              s.kind == kind::deallocate || s.kind == kind::rollback);
            if (subject && known && !may_pass(s) && !executes_read && !ours(text))
                tell_("a write reaches a primary while the site is read-only: " + text);
        }
        // (A segment from before the flip may still read: what only reads needs nothing around it.)
        bool const may_write = op->access >= routing::access::unknown;
        if (subject && known && !alone && may_write && !server.read_only_block && !ours(text))
            tell_("a statement runs on a primary outside of a READ ONLY block: " + text);
        if (!known && simple) {  // one of our own
            if (++own_ > 1'000'000) tell_("no end of own statements");
            if (text.starts_with("BEGIN") || text == "SET TRANSACTION READ ONLY")
                server.read_only_block = text.find("READ ONLY") != std::string::npos;
        }
        if ((text == "ROLLBACK" || text == "COMMIT") && simple) server.read_only_block = false;
    }

    pg_world& world_;
    bool const migration_;
    violation tell_;
    std::string client_part_;
    std::string answer_part_;
    std::map<std::string, int> texts_;  // that the client itself has sent
    std::map<std::string, int> sent_;
    std::map<std::string, int> read_;   // ... to a standby
    std::size_t asked_ = 0;
    std::size_t answered_ = 0;
    std::size_t own_ = 0;
    bool wrote_ = false;
    bool was_open_ = true;
    bool begins_blocks_ = false;
};

}  // namespace lull::wire
