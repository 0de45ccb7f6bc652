// LISTEN and NOTIFY through the listener that clients share.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

class recorder final : public channel_port {
  public:
    void listen(std::string const&, std::string const& channel, std::uint64_t ticket) override {
        asked = channel;
        last = ticket;
    }
    void unlisten(std::string const&, std::string const& channel) override { ended += channel + " "; }
    std::string asked;
    std::string ended;
    std::uint64_t last = 0;
};

std::string note(std::string const& channel, std::string const& payload) {
    std::string out;
    pg::write_notification_response(out, 77, channel, payload);
    return out;
}

/// A client whose worker has a listener.
class listening_scene {
  public:
    explicit listening_scene(cutter how) : s(how) {
        s.world.context().channels = &book;
        s.replica.state.reported = s.primary.state.reported = s.guarded.state.reported =
            s.world.context().settings.with(s.world.context().settings.none(), "client_encoding", "UTF8");
        s.client(query("select 1"));
        s.link();
        (void)s.sent(s.replica);
        s.server(rows({"1"}) + ready('I'));
        (void)s.told();
    }
    void answer(channel_outcome outcome) {
        std::string const channel = std::exchange(port.asked, {});
        for (auto client : book.answered("shop", channel, port.last, outcome)) {
            CHECK(client == s.driver.core().identity().key_pid);
            s.driver.heard(channel, outcome);
        }
    }
    /// The primary says what it says to the statement that stands for LISTEN.
    void pass(char status = 'I', std::string const& before = {}) {
        s.server(before + complete("RESET") + ready(status));
    }
    void listen(std::string const& channel) {
        s.client(query("listen " + channel));
        answer(channel_outcome::listening);
        s.link();
        (void)s.sent(s.primary);
        pass();
        CHECK(s.told() == "C(LISTEN) Z(I) ");
    }
    void begin_writing() {
        s.client(query("begin"));
        s.client(query("update t set a = 1"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + complete("UPDATE 1") + ready('T'));
    }
    bool hears(std::string const& channel) {
        s.driver.notified(channel, note(channel, "x"));
        return !s.told().empty();
    }

    recorder port;
    channel_book book{port};
    scene s;
};

template <class Story>
void tell_of_listening(Story&& story) {
    for (std::size_t at = 0; at < 40; ++at) {
        CAPTURE(at);
        listening_scene l(cutter{at});
        story(l);
    }
    listening_scene l(cutter{0, true});
    story(l);
}

}  // namespace

TEST_CASE("LISTEN is answered when the listener hears, and keeps no server") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(query("listen news"));
        CHECK(l.port.asked == "news");
        CHECK(!l.s.driver.wish());
        CHECK(l.s.told() == "");
        l.answer(channel_outcome::listening);
        CHECK(&l.s.link() == &l.s.primary);
        CHECK(l.s.sent(l.s.primary) == "Q(RESET lull.nothing;) ");
        CHECK_FALSE(l.hears("news"));
        l.pass();
        // What was told before the answer is behind it.
        CHECK(l.s.told() == "C(LISTEN) Z(I) ");
        l.s.driver.tell_notifications();
        CHECK(l.s.told() != "");
        CHECK_FALSE(l.s.driver.linked());
        CHECK_FALSE(l.s.driver.core().pinned());
        CHECK(l.s.driver.core().channels() == 1);
        CHECK(l.hears("news"));
        CHECK_FALSE(l.hears("other"));
        l.s.driver.gone();
        CHECK(l.port.ended == "news ");
    });
}

TEST_CASE("in the extended protocol, too, and of several in one text") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(parse("", "listen a") + bind_to("") + execute() + wire::sync());
        l.answer(channel_outcome::listening);
        l.s.link();
        CHECK(has(l.s.sent(l.s.primary), "RESET lull.nothing"));
        l.s.server(message('1') + message('1') + message('2') + complete("RESET") + ready('I'));
        CHECK(l.s.told() == "1 2 C(LISTEN) Z(I) ");
        CHECK(l.hears("a"));

        l.s.client(query("listen b; listen c"));
        l.answer(channel_outcome::listening);
        l.answer(channel_outcome::listening);
        l.s.link();
        CHECK(l.s.sent(l.s.primary) == "Q(RESET lull.nothing;RESET lull.nothing;) ");
        l.s.server(complete("RESET") + complete("RESET") + ready('I'));
        CHECK(l.s.told() == "C(LISTEN) C(LISTEN) Z(I) ");
        CHECK(l.hears("b"));
        CHECK(l.hears("c"));
    });
}

TEST_CASE("in a block LISTEN counts from COMMIT, with what was notified meanwhile") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(query("begin"));
        l.s.client(query("listen news"));
        l.answer(channel_outcome::listening);
        l.s.link();
        CHECK(l.s.sent(l.s.primary) == "Q(BEGIN) Q(RESET lull.nothing;) ");
        l.pass('T', complete("BEGIN") + ready('T'));
        CHECK(l.s.told() == "C(BEGIN) Z(T) C(LISTEN) Z(T) ");
        CHECK_FALSE(l.hears("news"));
        l.s.client(query("commit"));
        l.s.server(complete("COMMIT") + ready('I'));
        CHECK(l.s.told() == "C(COMMIT) Z(I) ");
        l.s.driver.tell_notifications();
        CHECK(l.s.told() != "");
    });
}

TEST_CASE("a block that is rolled back has not listened") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(query("begin"));
        l.s.client(query("listen news"));
        l.answer(channel_outcome::listening);
        l.s.link();
        l.pass('T', complete("BEGIN") + ready('T'));
        l.s.client(query("rollback"));
        l.s.server(complete("ROLLBACK") + ready('I'));
        CHECK(l.port.ended == "news ");
        (void)l.s.told();
        CHECK_FALSE(l.hears("news"));
    });
}

TEST_CASE("a client in a block is told behind its end") {
    tell_of_listening([](listening_scene& l) {
        l.listen("news");
        l.begin_writing();
        (void)l.s.told();
        CHECK_FALSE(l.hears("news"));
        l.s.client(query("rollback"));
        CHECK_FALSE(l.hears("news"));
        l.s.server(complete("ROLLBACK") + ready('I'));
        CHECK(l.s.told() == "C(ROLLBACK) Z(I) ");
        l.s.driver.tell_notifications();
        std::string const told = l.s.told();
        CHECK(told.find('A') != told.rfind('A'));
    });
}

TEST_CASE("UNLISTEN, of one and of all, ends it with its transaction") {
    for (std::string const how : {"unlisten news", "unlisten *", "discard all"})
        tell_of_listening([&](listening_scene& l) {
            l.listen("news");
            l.s.client(query(how));
            l.s.link();
            CHECK(l.hears("news") == false);
            l.s.server(complete("X") + ready('I'));
            (void)l.s.told();
            CHECK(l.port.ended == "news ");
            CHECK_FALSE(l.hears("news"));
        });
}

TEST_CASE("where the listener cannot be used, LISTEN keeps a server as it always did") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(query("listen news"));
        l.answer(channel_outcome::unavailable);
        l.s.link();
        CHECK(l.s.sent(l.s.primary) == "Q(listen news) ");
        l.s.server(complete("LISTEN") + ready('I'));
        CHECK(l.s.told() == "C(LISTEN) Z(I) ");
        CHECK(l.s.driver.core().pinned());
        l.s.server(note("news", "own"));
        CHECK(l.s.told() != "");
    });
}

TEST_CASE("as drivers prepare it, in a segment whose first part was flushed and answered") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(parse("s", "listen a") + describe('S', "s") + flush());
        l.s.link();
        (void)l.s.sent(l.s.primary);
        l.s.server(message('1') + message('t', std::string_view("\0\0", 2)) + message('n'));
        (void)l.s.told();
        l.s.client(bind_to("s") + execute() + wire::sync());
        CHECK(l.port.asked == "a");
        l.answer(channel_outcome::listening);
        CHECK(has(l.s.sent(l.s.primary), "RESET lull.nothing"));
        l.s.server(message('1') + message('2') + complete("RESET") + ready('I'));
        CHECK(l.s.told() == "2 C(LISTEN) Z(I) ");
        CHECK_FALSE(l.s.driver.linked());
        CHECK(l.hears("a"));
    });
}

TEST_CASE("a server that was kept for LISTEN is not behind UNLISTEN") {
    for (bool const again : {false, true}) {
        CAPTURE(again);
        listening_scene l(cutter{0, true});
        l.s.client(query("listen a"));
        l.answer(channel_outcome::unavailable);
        l.s.link();
        l.s.server(complete("LISTEN") + ready('I'));
        CHECK(l.s.driver.core().pins().text() == "LISTEN");
        l.s.client(query("begin") + query("unlisten *") + (again ? query("listen a") : std::string()) + query("commit"));
        l.s.server(complete("BEGIN") + ready('T') + complete("UNLISTEN") + ready('T') +
                   (again ? complete("LISTEN") + ready('T') : std::string()) + complete("COMMIT") + ready('I'));
        CHECK(l.s.driver.core().pinned() == again);
        CHECK((l.s.driver.linked() != nullptr) == again);
    }
}

TEST_CASE("a LISTEN that its own server has rolled back keeps nobody there") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(query("begin"));
        l.s.client(query("listen a"));
        l.answer(channel_outcome::unavailable);
        l.s.link();
        (void)l.s.sent(l.s.primary);
        l.s.server(complete("BEGIN") + ready('T') + complete("LISTEN") + ready('T'));
        CHECK(l.s.driver.core().pins().text() == "LISTEN");
        (void)l.s.told();
        l.s.client(query("rollback"));
        (void)l.s.sent(l.s.primary);
        l.s.server(complete("ROLLBACK") + ready('I'));
        CHECK(l.s.told() == "C(ROLLBACK) Z(I) ");
        CHECK(has(l.s.sent(l.s.primary), "pg_listening_channels()"));
        l.s.server(complete("SELECT 0") + ready('I'));
        CHECK_FALSE(l.s.driver.core().pinned());
        CHECK_FALSE(l.s.driver.linked());
        CHECK(!l.s.driver.closed());
    });
}

TEST_CASE("too many channels are an ordinary error, in a block as well") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(query("listen news"));
        l.answer(channel_outcome::full);
        CHECK(has(l.s.told(), "54000"));
        CHECK(l.s.driver.core().status() == 'I');
        l.s.client(parse("", "listen news") + bind_to("") + execute() + wire::sync());
        l.answer(channel_outcome::full);
        l.s.link();
        (void)l.s.sent(l.s.primary);
        l.s.server(message('1') + message('1') + message('2') + error("3B001", "no") + ready('I'));
        CHECK(has(l.s.told(), "54000"));
    });
}

TEST_CASE("a session that may have missed something ends, but not within a transaction") {
    tell_of_listening([](listening_scene& l) {
        l.listen("news");
        l.begin_writing();
        (void)l.s.told();
        l.s.driver.listener_lost();
        CHECK(l.s.told() == "");
        l.s.client(query("commit"));
        l.s.server(complete("COMMIT") + ready('I'));
        CHECK(l.s.told() == "C(COMMIT) Z(I) ");
        l.s.driver.tell_notifications();
        CHECK(has(l.s.told(), "57P01"));
        CHECK(l.s.driver.closed());
    });
}

TEST_CASE("what waits for a client is bounded") {
    listening_scene l(cutter{});
    l.s.world.configured().limits.max_notification_bytes = 16 * 1024;
    l.s.flip(routing::mode::read_write);
    l.listen("news");
    l.s.client(query("begin"));
    for (int i = 0; i < 3; ++i) l.s.driver.notified("news", note("news", std::string(8000, 'x')));
    l.s.client(query("rollback"));
    CHECK(has(l.s.told(), "C(ROLLBACK) Z(I)"));
    l.s.driver.tell_notifications();
    CHECK(has(l.s.told(), "too many notifications"));
    CHECK(l.s.driver.closed());
    CHECK(l.s.driver.core().stats().over_limit[static_cast<std::size_t>(session_limit::notification_bytes)] == 1);
}

TEST_CASE("a notification of a server that is shared is nobody's") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(query("update t set a = 1"));
        l.s.link();
        (void)l.s.sent(l.s.primary);
        l.s.server(complete("UPDATE 1") + note("left", "by a function") + ready('I'));
        CHECK(l.s.told() == "C(UPDATE 1) Z(I) ");
    });
}

TEST_CASE("who keeps a server hears of it what he has asked it for, and no more") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(query("listen news"));
        l.answer(channel_outcome::unavailable);
        l.s.link();
        l.s.server(complete("LISTEN") + ready('I'));
        (void)l.s.told();
        l.s.server(note("left", "by a function"));
        CHECK(l.s.told() == "");
        l.s.server(note("news", "own"));
        CHECK(l.s.told() != "");
    });
}

TEST_CASE("who loses the server that listened for him is told at once") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(query("listen news"));
        l.answer(channel_outcome::unavailable);
        l.s.link();
        l.s.server(complete("LISTEN") + ready('I'));
        (void)l.s.told();
        l.s.driver.lose();
        CHECK(has(l.s.told(), "08006"));
        CHECK(l.s.driver.closed());
    });
}

TEST_CASE("a LISTEN behind what ends another of that channel is one of its own") {
    for (std::string const how : {"unlisten news", "unlisten *", "discard all"})
        for (bool const extended : {false, true})
            tell_of_listening([&](listening_scene& l) {
                l.listen("news");
                auto const ask = [&](std::string const& sql) {
                    return extended ? parse("", sql) + bind_to("") + execute() + wire::sync() : query(sql);
                };
                std::string const before = extended ? message('1') + message('2') : std::string();
                l.s.client(ask(how) + ask("listen news"));
                l.s.link();
                (void)l.s.sent(l.s.primary);
                l.s.server(before + complete("X") + ready('I'));
                CHECK(l.port.ended == "news ");
                CHECK(l.port.asked == "news");
                CHECK(has(l.s.told(), "Z(I)"));
                l.answer(channel_outcome::listening);
                l.s.link();
                CHECK(has(l.s.sent(l.s.primary), "RESET lull.nothing"));
                l.pass('I', extended ? message('1') + message('1') + message('2') : std::string());
                CHECK(has(l.s.told(), "C(LISTEN) Z(I) "));
                CHECK_FALSE(l.s.driver.core().pinned());
                CHECK(l.s.driver.core().channels() == 1);
                CHECK(l.hears("news"));
            });
}

TEST_CASE("so it is behind the end of the block that it was in") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(query("begin") + query("select 1 from t for update"));
        l.s.link();
        l.s.server(complete("BEGIN") + ready('T') + rows({"1"}) + ready('T'));
        l.s.client(query("listen news"));
        l.answer(channel_outcome::listening);
        l.pass('T');
        l.s.client(query("rollback") + query("listen news"));
        (void)l.s.told();
        l.s.server(complete("ROLLBACK") + ready('I'));
        CHECK(l.port.ended == "news ");
        l.answer(channel_outcome::listening);
        l.s.link();
        l.pass();
        CHECK(l.s.told() == "C(ROLLBACK) Z(I) C(LISTEN) Z(I) ");
        CHECK(l.hears("news"));
        CHECK_FALSE(l.s.driver.core().pinned());
    });
}

TEST_CASE("DISCARD ALL while the site is closed ends a LISTEN, and not the session that had it on its server") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(query("listen news"));
        l.answer(channel_outcome::unavailable);
        l.s.link();
        l.s.server(complete("LISTEN") + ready('I'));
        l.s.flip(routing::mode::sealed);
        (void)l.s.told();
        l.s.client(query("discard all"));
        l.s.driver.tell_notifications();
        CHECK(l.s.told() == "C(DISCARD ALL) Z(I) ");
        CHECK_FALSE(l.s.driver.closed());
        CHECK_FALSE(l.s.driver.core().pinned());
    });
}

TEST_CASE("that the listener could not be used once does not count for the life of a session") {
    tell_of_listening([](listening_scene& l) {
        l.s.client(query("listen news"));
        l.answer(channel_outcome::unavailable);
        l.s.link();
        l.s.server(complete("LISTEN") + ready('I'));
        l.s.client(query("unlisten *"));
        l.s.server(complete("UNLISTEN") + ready('I'));
        CHECK_FALSE(l.s.driver.core().pinned());
        (void)l.s.told();
        l.s.world.pass(std::chrono::seconds(2));
        l.s.client(query("listen news"));
        CHECK(l.port.asked == "news");
        l.answer(channel_outcome::listening);
        l.s.link();
        l.pass();
        CHECK(l.s.told() == "C(LISTEN) Z(I) ");
        CHECK_FALSE(l.s.driver.core().pinned());
        CHECK(l.hears("news"));
    });
}

TEST_CASE("who waits for the listener can cancel that, and waits no longer than for a server") {
    for (bool const cancels : {true, false})
        tell_of_listening([&](listening_scene& l) {
            l.s.client(query("listen news"));
            CHECK(l.port.asked == "news");
            if (cancels) {
                l.s.driver.cancel();
            } else {
                l.s.world.pass(std::chrono::seconds(119));
                l.s.driver.check_timeouts();
                CHECK(l.s.told() == "");
                l.s.world.pass(std::chrono::seconds(2));
                l.s.driver.check_timeouts();
            }
            std::string const told = l.s.told();
            CHECK(has(told, cancels ? "57014" : "57P03"));
            CHECK(has(told, "Z(I)"));
            CHECK(l.port.ended == "news ");
            // The answer comes too late.
            CHECK(l.book.answered("shop", "news", l.port.last, channel_outcome::listening).empty());
            CHECK(l.s.driver.core().channels() == 0);
            l.s.client(query("listen news"));
            l.answer(channel_outcome::listening);
            l.s.link();
            l.pass();
            CHECK(l.s.told() == "C(LISTEN) Z(I) ");
            CHECK(l.hears("news"));
        });
}

TEST_CASE("what a server that is kept listens to beside the listener is not left there behind another UNLISTEN") {
    tell_of_listening([](listening_scene& l) {
        l.listen("news");
        l.s.client(query("listen news; select 1"));
        l.s.link();
        l.s.server(complete("LISTEN") + rows({"1"}) + ready('I'));
        (void)l.s.told();
        l.s.server(note("news", "x"));
        CHECK(l.s.told() == "");  // the listener tells it
        l.s.client(query("unlisten other"));
        l.s.server(complete("UNLISTEN") + ready('I'));
        l.s.server(complete("SELECT 1") + ready('I'));  // asked, it says that it listens
        CHECK(l.s.driver.core().pinned());
        l.s.client(query("unlisten news"));
        l.s.server(complete("UNLISTEN") + ready('I'));
        CHECK_FALSE(l.s.driver.core().pinned());
    });
}
