// An edge_socket ends wherever it is told to, also from within what it tells.
#include "proxy/edge_socket.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <functional>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

using namespace lull;

namespace {

struct pair_of_sockets {
    pair_of_sockets() {
        std::array<int, 2> both{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, both.data()) == 0);
        here = both[0];
        there = both[1];
    }
    ~pair_of_sockets() { ::close(there); }
    void say(std::string const& text) const { REQUIRE(::send(there, text.data(), text.size(), 0) == ssize_t(text.size())); }
    /// The other end is closed; reset, where something was left unread.
    bool ended() const {
        char byte;
        ssize_t const n = ::recv(there, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
        return n == 0 || (n < 0 && errno == ECONNRESET);
    }
    /// Until nothing more fits.
    void fill() const {
        std::string const much(64 * 1024, 'x');
        while (::send(here, much.data(), much.size(), MSG_DONTWAIT) > 0) {
        }
    }
    void take_all() const {
        std::string room(64 * 1024, '\0');
        while (::recv(there, room.data(), room.size(), MSG_DONTWAIT) > 0) {
        }
    }
    int here;  // the edge_socket's
    int there;
};

struct owner : socket_events {
    owner(boost::asio::io_context& io, int fd) { socket.emplace(io, fd, *this); }
    void on_readable() override {
        ++readable;
        if (then) then();
    }
    void on_writable() override {
        ++writable;
        if (then) then();
    }
    std::string read() const {
        std::array<char, 100> room;
        ssize_t const n = ::recv(socket->fd(), room.data(), room.size(), 0);
        return n > 0 ? std::string(room.data(), std::size_t(n)) : std::string();
    }
    std::optional<edge_socket> socket;
    std::function<void()> then;
    int readable = 0;
    int writable = 0;
};

struct loop {
    boost::asio::io_context io{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> kept{io.get_executor()};
    /// What is ready now.
    void turn() {
        for (int i = 0; i < 5; ++i) io.poll();
    }
};

/// Waits for both, and neither is due.
struct waiting_for_both {
    waiting_for_both() {
        ends.fill();
        one.socket->wait_readable();
        one.socket->wait_writable();
        all.turn();
        CHECK(one.readable + one.writable == 0);
        one.then = [this] { one.socket.reset(); };
    }
    loop all;
    pair_of_sockets ends;
    owner one{all.io, ends.here};
};

}  // namespace

TEST_CASE("edge socket: each wait is told once, and what comes between them is there to be read") {
    loop all;
    pair_of_sockets ends;
    owner one(all.io, ends.here);
    one.socket->wait_readable();
    all.turn();
    CHECK(one.readable == 0);
    ends.say("a");
    all.turn();
    CHECK(one.readable == 1);
    ends.say("b");
    all.turn();
    CHECK(one.readable == 1);
    CHECK(one.read() == "ab");
    one.socket->wait_readable();
    ends.say("c");
    all.turn();
    CHECK(one.readable == 2);
}

TEST_CASE("edge socket: ended from within on_readable, and nothing is left to do behind it") {
    loop all;
    pair_of_sockets ends;
    owner one(all.io, ends.here);
    one.then = [&] { one.socket.reset(); };
    one.socket->wait_readable();
    ends.say("a");
    CHECK(all.io.run_one() == 1);
    CHECK(one.readable == 1);
    CHECK(ends.ended());
    CHECK(all.io.poll() == 0);
}

TEST_CASE("edge socket: ended from within on_readable while it waits to write, and the other way round") {
    for (bool const reads : {true, false}) {
        CAPTURE(reads);
        waiting_for_both w;
        auto& [all, ends, one] = w;
        if (reads)
            ends.say("a");
        else
            ends.take_all();
        all.turn();
        CHECK(one.readable == int(reads));
        CHECK(one.writable == int(!reads));
        ends.take_all();
        CHECK(ends.ended());
    }
}

TEST_CASE("edge socket: both waits are due at once, and the first that is told ends it") {
    waiting_for_both w;
    auto& [all, ends, one] = w;
    ends.say("a");
    ends.take_all();
    all.turn();
    CHECK(one.readable + one.writable == 1);
    CHECK(ends.ended());
}

TEST_CASE("edge socket: one ends another, and the next gets its number") {
    loop all;
    pair_of_sockets first;
    pair_of_sockets second;
    owner one(all.io, first.here);
    owner other(all.io, second.here);
    one.socket->wait_readable();
    other.socket->wait_readable();
    std::optional<pair_of_sockets> third;
    std::optional<owner> next;
    auto const replace = [&](owner& of) {
        of.socket.reset();
        third.emplace();
        next.emplace(all.io, third->here);
        next->socket->wait_readable();
    };
    one.then = [&] { if (!next) replace(other); };
    other.then = [&] { if (!next) replace(one); };
    first.say("a");
    second.say("b");
    all.turn();
    CHECK(one.readable + other.readable == 1);
    CHECK((first.ended() || second.ended()));
    third->say("c");
    all.turn();
    CHECK(next->readable >= 1);
    CHECK(next->read() == "c");
}

TEST_CASE("edge socket: ended where nobody is told anything, and with its io_context") {
    pair_of_sockets ends;
    {
        loop all;
        owner one(all.io, ends.here);
        one.socket->wait_readable();
        one.socket.reset();
        CHECK(ends.ended());
        all.turn();
        CHECK(one.readable == 0);
    }
    pair_of_sockets last;
    std::optional<loop> all;
    all.emplace();
    owner one(all->io, last.here);
    one.socket->wait_readable();
    one.socket.reset();  // its operation is on its way back
    all.reset();
    CHECK(one.readable == 0);
    CHECK(last.ended());
}
