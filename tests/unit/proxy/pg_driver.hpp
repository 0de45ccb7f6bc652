// Drives one session core as pg_client does, with strings for sockets: what is not taken waits and is fed
// again, flags are followed in their order. Who plays the pool and the server looks at wish() and at
// test_server::received. One thread.
#pragma once

#include "tests/unit/proxy/pg_watch.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace lull::wire {

class pg_driver : private server_lender {
  public:
    pg_driver(pg_world& world, session_identity who, pg_watch::violation tell)
        : world_(world),
          watch_(world, who.migration, std::move(tell)),
          core_(world.context(), std::move(who)) {}
    pg_driver(pg_driver const&) = delete;
    pg_driver& operator=(pg_driver const&) = delete;

    void start() {
        watch_.greeted();
        event([&](session_step& step) { core_.start(step); });
    }
    void client(std::string_view bytes) {
        if (closed_) return;
        watch_.from_client(bytes);
        input_ += bytes;
        pump();
    }
    void link(test_server& server) {
        wish_.reset();
        server_ = &server;
        event([&](session_step& step) { core_.on_linked(server.state, step); });
    }
    void no_server(std::string error) {
        wish_.reset();
        event([&](session_step& step) { core_.on_no_server(std::move(error), step); });
    }
    void choose_again() {
        wish_.reset();
        event([&](session_step& step) { core_.on_choose_again(step); });
    }
    void server(std::string_view bytes) {
        if (!server_) return;
        test_server& from = *server_;
        from.unread += bytes;
        // A copy, as a block that is read again: no view may outlive the event.
        std::string const block = from.unread;
        event([&](session_step& step) {
            std::size_t const used = core_.on_server(pg::as_bytes(block), step);
            from.unread.erase(0, used);
        });
    }
    void lose(std::string_view why = "it broke") {
        if (!server_) return;
        server_ = nullptr;
        event([&](session_step& step) { core_.on_server_lost(why, step); });
    }
    void gone() {
        if (gone_) return;
        gone_ = true;
        wish_.reset();
        input_.clear();
        event([&](session_step& step) { core_.on_client_gone(step); });
    }
    void snapshot() {
        event([&](session_step& step) { core_.on_snapshot(step); });
        if (core_.releasable()) event([&](session_step& step) { core_.on_release(step); });
    }
    void tick() {
        event([&](session_step& step) { core_.on_tick(step); });
    }
    /// The journal has answered.
    void kept(journal_outcome outcome) {
        if (!keeping) return;
        if (outcome == journal_outcome::kept) watch_.kept(keeping->text);
        keeping.reset();
        event([&](session_step& step) { core_.on_journaled(outcome, step); });
    }
    /// The listener has answered.
    void heard(std::string const& channel, channel_outcome outcome) {
        event([&](session_step& step) { core_.on_channel(channel, outcome, step); });
    }
    void notified(std::string const& channel, std::string const& message) {
        core_.on_notification(std::make_shared<notification_text>(notification_text{channel, message}));
        tell_notifications();
    }
    void listener_lost() {
        core_.on_channels_lost();
        tell_notifications();
    }
    void tell_notifications() {
        if (core_.may_tell(false)) event([&](session_step& step) { core_.tell_notifications(step); });
    }
    void check_timeouts(reading how = reading::all) {
        event([&](session_step& step) { core_.check_timeouts(step, how); });
    }
    void give_up_sequences() {
        event([&](session_step& step) { core_.give_up_sequences(step); });
    }
    void cancel() {
        event([&](session_step& step) { core_.on_cancel(step); });
    }
    /// The cancel that was under way has arrived, or will not.
    void cancel_ended() {
        if (!server_) return;
        server_->state.cancelling = false;
        event([&](session_step& step) { core_.on_cancel_ended(step); });
    }
    void end_writing(bool terminate) {
        event([&](session_step& step) { core_.end_writing(terminate, step); });
    }

    pg_session_core& core() { return core_; }
    pg_watch& watch() { return watch_; }
    test_server* linked() { return server_; }
    std::optional<server_wish> const& wish() const { return wish_; }
    bool closed() const { return closed_; }
    bool is_gone() const { return gone_; }
    std::size_t waiting_input() const { return input_.size(); }

    // What has happened; taken by who looks.
    std::string to_client;
    std::unique_ptr<journal_entry> keeping;  // on its way to the disk
    std::function<test_server*(server_wish const&)> lender;  // of what is free at once; may be empty
    std::vector<test_server*> released;
    std::vector<test_server*> discarded;
    int cancels = 0;
    bool slow_cancels = false;  // they are over when cancel_ended() is called, otherwise at once

  private:
    template <class Event>
    void event(Event&& what) {
        client_.clear();
        server_bytes_.clear();
        session_step step{client_, server_bytes_};
        test_server* const before = server_;
        what(step);
        follow(step, before ? before : server_);
    }

    void follow(session_step& step, test_server* before) {
        std::string const told = client_.copy();
        if (before && !server_bytes_.empty()) {
            std::string const bytes = server_bytes_.copy();
            before->received += bytes;
            watch_.to_server(*before, bytes, core_.writes());
        } else if (!server_bytes_.empty() && !before) {
            watch_violation("bytes for a server that is not there");
        }
        to_client += told;
        input_.insert(0, pg::as_text(step.give_back));
        watch_.to_client(told);
        watch_.check(core_.writes());
        if (step.release && server_) {
            watch_.check_released(*server_);
            released.push_back(std::exchange(server_, nullptr));
        }
        if (step.discard && server_) discarded.push_back(std::exchange(server_, nullptr));
        if (core_.linked() != (server_ != nullptr)) watch_violation("a server is lost between the books");
        if (step.cancel_server && server_) ++cancels;
        if (before && !(slow_cancels && server_)) before->state.cancelling = false;
        if (step.close_client) {
            wish_.reset();
            closed_ = true;
            gone();
            return;
        }
        if (wish_ && (!core_.waits_for_server() || step.want)) wish_.reset();
        if (step.want) wish_ = step.want;
        if (step.journal) {
            if (keeping) watch_violation("two entries are kept at a time");
            keeping = std::move(step.journal);
        }
        if (step.retry_input) pump();
    }

    pg_server_state* lend(server_wish const& wish) override {
        if (server_) watch_violation("a second server is wanted");
        server_ = lender ? lender(wish) : nullptr;
        return server_ ? &server_->state : nullptr;
    }

    void watch_violation(std::string const& what) { watch_.violated(what); }

    void pump() {
        again_ = true;
        if (pumping_) return;
        pumping_ = true;
        for (int turns = 0; again_ && !gone_; ++turns) {
            again_ = false;
            if (!core_.takes_input()) break;
            if (turns > 100'000) {
                watch_violation("it goes round and round");
                break;
            }
            std::string const block = input_;
            event([&](session_step& step) {
                step.lender = this;
                std::size_t const used = core_.on_client(pg::as_bytes(block), step);
                if (used > input_.size()) watch_violation("more is taken than was there");
                input_.erase(0, used);
            });
        }
        pumping_ = false;
    }

    pg_world& world_;
    pg_watch watch_;
    pg_session_core core_;
    gather client_;
    gather server_bytes_;
    std::string input_;
    test_server* server_ = nullptr;
    std::optional<server_wish> wish_;
    bool closed_ = false;
    bool gone_ = false;
    bool pumping_ = false;
    bool again_ = false;
};

}  // namespace lull::wire
