// Reading in bulk: a little wakes nobody, and is read all the same.
#include "proxy/bulk_reading.hpp"

#include <boost/asio/io_context.hpp>
#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <memory>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

using namespace lull;

namespace {

/// The two ends of a TCP connection on this host.
struct connection {
    connection() {
        int const door = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in where{};
        where.sin_family = AF_INET;
        where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof where;
        auto* const address = reinterpret_cast<sockaddr*>(&where);
        REQUIRE(::bind(door, address, size) == 0);
        REQUIRE(::listen(door, 1) == 0);
        REQUIRE(::getsockname(door, address, &size) == 0);
        there = ::socket(AF_INET, SOCK_STREAM, 0);
        REQUIRE(::connect(there, address, size) == 0);
        here = ::accept(door, nullptr, nullptr);
        REQUIRE(here >= 0);
        ::close(door);
    }
    ~connection() {
        ::close(here);
        ::close(there);
    }
    void send(std::size_t bytes) const {
        std::string const text(bytes, 'x');
        REQUIRE(::send(there, text.data(), text.size(), 0) == static_cast<ssize_t>(bytes));
    }
    bool is_readable(int timeout_ms = 0) const {
        pollfd one{here, POLLIN, 0};
        return ::poll(&one, 1, timeout_ms) == 1;
    }
    std::size_t take() const {
        std::string room(1 << 20, '\0');
        std::size_t taken = 0;
        for (ssize_t n = 0; (n = ::recv(here, room.data(), room.size(), MSG_DONTWAIT)) > 0;) taken += static_cast<std::size_t>(n);
        return taken;
    }
    int here = -1;
    int there = -1;
};

constexpr int soon_ms = 10000;

}  // namespace

TEST_CASE("half a megabyte without a short read is bulk") {
    bulk_watch watch;
    for (int i = 0; i < 7; ++i) CHECK_FALSE(watch.note(64 * 1024));
    CHECK(watch.note(64 * 1024));
    for (int i = 0; i < 7; ++i) CHECK_FALSE(watch.note(64 * 1024));
    CHECK_FALSE(watch.note(100));
    CHECK_FALSE(watch.note(64 * 1024));
    CHECK_FALSE(watch.note(0));
}

TEST_CASE("in bulk a little wakes nobody; much does, and so does the end of the connection") {
    boost::asio::io_context io;
    connection c;
    bulk_reading bulk(io, c.here, [] {});
    bulk.begin();
    CHECK(bulk.on());
    c.send(1000);
    CHECK_FALSE(c.is_readable(20));
    for (int i = 0; i < 8; ++i) c.send(32 * 1024);
    CHECK(c.is_readable(soon_ms));
    (void)c.take();
    c.send(1000);
    CHECK_FALSE(c.is_readable());
    ::shutdown(c.there, SHUT_WR);
    CHECK(c.is_readable(soon_ms));
}

TEST_CASE("what stays below is read all the same, and where it is little bulk is over") {
    boost::asio::io_context io;
    connection c;
    std::size_t taken = 0;
    std::unique_ptr<bulk_reading> bulk;
    bulk = std::make_unique<bulk_reading>(io, c.here, [&] {
        std::size_t const n = c.take();
        taken += n;
        if (bulk->on()) bulk->note_read(n);
    });
    bulk->begin();
    c.send(100 * 1024);
    while (taken < 100 * 1024) io.run_one();
    CHECK(bulk->on());
    c.send(10);
    while (bulk->on()) io.run_one();
    taken += c.take();
    CHECK(taken == 100 * 1024 + 10);
    c.send(1);
    CHECK(c.is_readable(soon_ms));
}

TEST_CASE("its end wakes whoever waits for what is there") {
    boost::asio::io_context io;
    connection c;
    bulk_reading bulk(io, c.here, [] {});
    bulk.begin();
    c.send(10);
    CHECK_FALSE(c.is_readable(20));
    bulk.end();
    CHECK(c.is_readable(soon_ms));
    CHECK_FALSE(bulk.on());
}

TEST_CASE("what it reads may be its end") {
    boost::asio::io_context io;
    connection c;
    std::unique_ptr<bulk_reading> bulk;
    int reads = 0;
    bulk = std::make_unique<bulk_reading>(io, c.here, [&] {
        ++reads;
        bulk.reset();
    });
    bulk->begin();
    c.send(10);
    io.run();
    CHECK(reads == 1);
}
