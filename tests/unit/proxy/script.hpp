// Sessions as stories in bytes, each told whole, split at every place and byte by byte: both streams must
// come out the same however they were cut. And told up to each of its steps, where the server is lost: then
// everything asked is answered once, nothing is sent twice, and the session goes on.
#pragma once

#include "tests/unit/proxy/pg_driver.hpp"
#include "tests/unit/proxy/pg_wire.hpp"
#include "tests/unit/proxy/pg_world.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>

namespace lull::wire {

/// Delivers bytes to the driver, cut at `at` (0: whole), or one by one.
struct cutter {
    std::size_t at = 0;
    bool bytewise = false;
    template <class Deliver>
    void operator()(std::string_view bytes, Deliver&& deliver) const {
        if (bytewise) {
            for (std::size_t i = 0; i < bytes.size(); ++i) deliver(bytes.substr(i, 1));
        } else if (at > 0 && at < bytes.size()) {
            deliver(bytes.substr(0, at));
            deliver(bytes.substr(at));
        } else {
            deliver(bytes);
        }
    }
};

/// Thrown where a story is broken off.
struct broken_off {};

class scene {
  public:
    /// `steps`: break off behind so many.
    explicit scene(cutter how, std::size_t steps = ~std::size_t{0}, setting_map startup = {},
                   config::pool_mode mode = config::pool_mode::transaction)
        : cut(how), driver(world, identity(std::move(startup), mode), [](std::string const& what) { FAIL(what); }) {
        primary.state.role = routing::role::primary;
        primary.state.backend = the_primary;
        replica.state.role = routing::role::replica;
        replica.state.backend = the_replica;
        for (test_server* s : {&primary, &guarded, &replica})
            s->state.actual = s->state.reported = world.context().settings.none();
        guarded.state.role = primary.state.role;
        guarded.state.backend = primary.state.backend;
        guarded.guarded = true;
        driver.start();
        if (driver.wish()) link();
        driver.released.clear();
        driver.to_client.clear();
        steps_left_ = steps;
    }
    void client(std::string const& bytes) {
        cut(bytes, [&](std::string_view part) { driver.client(part); });
        stay();
        unanswered();
        step();
    }
    void server(std::string const& bytes) {
        step();  // the server has been asked, and has not answered
        cut(bytes, [&](std::string_view part) { driver.server(part); });
        stay();
        unanswered();
        step();
    }
    /// The next event makes so many Queries or Syncs ones that PostgreSQL does not answer.
    void next_leaves_unanswered(int count) { unanswered_ = count; }
    test_server& link() {
        REQUIRE(driver.wish());
        test_server& s = driver.wish()->backend == the_replica ? replica
                         : driver.wish()->guarded              ? guarded
                                                               : primary;
        s.state.generation = world.current().generation;  // a pool has no others
        driver.link(s);
        return s;
    }
    /// The server, asked what of that which keeps its client is left, says that all is.
    void keep_server() {
        (void)sent(primary);
        server(complete("SELECT 1") + complete("SELECT 1") + ready('I'));
    }
    /// The client's block is open on the primary, and has written.
    void begin_and_write() {
        client(wire::query("begin") + wire::query("insert into t values (0)"));
        link();
        server(complete("BEGIN") + ready('T') + complete("INSERT 0 1") + ready('T'));
    }
    /// The client has a temporary table on the primary, and stays there.
    void make_temporary() {
        client(wire::query("create temp table mine (n int)"));
        link();
        server(wire::complete("CREATE TABLE") + wire::ready('I'));
        keep_server();
    }
    /// What the flip itself says to anybody is out of the way.
    void seal() {
        flip(routing::mode::sealed);
        (void)told();
        (void)sent(primary);
    }
    void flip(routing::mode to) {
        world.flip(to);
        driver.snapshot();
        stay();
    }
    /// The primary, asked to turn off what would have it end the session, does so; unless a story wants to see that.
    void stay() {
        std::string const asked = query(staying_sql(*primary.state.reported, primary.state.status));
        if (!stays_unseen || driver.linked() != &primary || !primary.received.ends_with(asked)) return;
        primary.received.resize(primary.received.size() - asked.size());
        driver.server(complete("SET") + complete("SET") + complete("SET") + ready(primary.state.status));
    }
    /// Sealed with no replica to read from: what is let through runs on the primary, in our own transaction.
    void seal_on_primary() {
        world.set_replica_healthy(false);
        flip(routing::mode::sealed);
        (void)told();
    }
    std::string told() { return show(std::exchange(driver.to_client, {}), true); }
    std::string sent(test_server& s) { return show(std::exchange(s.received, {}), false); }

    /// The connection breaks here, and no other is to be had for a while.
    void lose_and_recover() {
        steps_left_ = ~std::size_t{0};
        driver.lender = nullptr;
        driver.lose();
        if (driver.is_gone()) {
            CHECK(driver.core().finished());
            return;
        }
        auto const refuse = [&] {
            for (int i = 0; (driver.wish() || driver.keeping) && i < 100; ++i) {
                driver.kept(journal_outcome::kept);
                if (driver.wish()) driver.no_server(error("08001", "no server"));
            }
        };
        refuse();
        if (driver.core().held()) flip(routing::mode::read_write);
        refuse();
        if (driver.closed()) return;  // it was in the middle of a message
        CHECK(driver.watch().waits_for() == 0);
        // The end of a segment that may be open, and of a block that may have failed.
        driver.client(wire::sync());
        refuse();
        CHECK(driver.watch().waits_for() == 0);
        // A transaction of ours around its statement is no block of the client's.
        if (!driver.watch().begins_blocks()) CHECK(driver.core().status() == 'I');
        if (driver.core().status() != 'I') driver.client(query("rollback"));
        refuse();
        CHECK(driver.core().status() == 'I');
        (void)told();
        for (test_server* s : {&primary, &guarded, &replica}) {
            session_settings const actual = world.context().settings.none();
            bool const is_guarded = s->guarded;
            pg_server_state fresh;
            fresh.backend = s->state.backend;
            fresh.role = s->state.role;
            fresh.actual = fresh.reported = actual;
            *s = test_server{};
            s->state = std::move(fresh);
            s->guarded = is_guarded;
        }
        world.set_replica_healthy(true);
        driver.client(query("select 'alive'"));
        REQUIRE(driver.wish());
        test_server& s = link();
        if (s.received.find("alive") == std::string::npos) {  // its settings are made first
            std::string made;
            for (std::size_t n = take_messages(s.received).size(); n > 0; --n)
                made += complete("SET") + ready('I');
            driver.server(made);
        }
        CHECK(sent(s).find("select 'alive'") != std::string::npos);
        if (s.guarded) return;
        driver.server(rows({"alive"}) + ready('I'));
        CHECK(told().find("Z(I)") != std::string::npos);
        CHECK(driver.watch().waits_for() == 0);
    }

    cutter cut;
    pg_world world;
    bool stays_unseen = true;
    test_server primary, guarded, replica;
    pg_driver driver;

  private:
    session_identity identity(setting_map startup, config::pool_mode mode) {
        session_identity who = world.identity();
        who.pool_mode = mode;
        who.startup = world.context().settings.intern(std::move(startup));
        return who;
    }
    void unanswered() {
        for (; unanswered_ > 0; --unanswered_) driver.watch().ignored();
    }
    void step() {
        if (steps_left_ == ~std::size_t{0}) return;
        if (--steps_left_ == 0) throw broken_off{};
    }
    std::size_t steps_left_ = ~std::size_t{0};
    int unanswered_ = 0;
};

using story = std::function<void(scene&)>;

/// Tells the story in every way; `bytes`: no message in it is longer.
inline void tell(story const& it, std::size_t bytes = 120, setting_map const& startup = {}) {
    constexpr std::size_t to_its_end = ~std::size_t{0};
    for (std::size_t at = 0; at < bytes; ++at) {
        CAPTURE(at);
        scene s(cutter{at}, to_its_end, startup);
        it(s);
    }
    {
        scene s(cutter{0, true}, to_its_end, startup);
        it(s);
    }
    for (std::size_t steps = 1;; ++steps) {
        CAPTURE(steps);
        scene s({}, steps, startup);
        try {
            it(s);
            return;
        } catch (broken_off const&) {
            s.lose_and_recover();
        }
    }
}

inline bool has(std::string const& text, std::string_view part) {
    bool const found = text.find(part) != std::string::npos;
    if (!found) MESSAGE(text, " has not ", part);
    return found;
}

inline bool lacks(std::string const& text, std::string_view part) {
    bool const found = text.find(part) != std::string::npos;
    if (found) MESSAGE(text, " has ", part);
    return !found;
}

}  // namespace lull::wire
