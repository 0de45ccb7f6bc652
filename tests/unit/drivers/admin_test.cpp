#include "proxy/admin.hpp"

#include "proxy/admin_client.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

using namespace lull;
using nlohmann::json;

namespace {

/// Seals a site when it has been looked at three times.
class desk final : public admin_desk {
  public:
    int begun = 0, finished = 0, looks = 0;
    std::string state = "read_write";
    json error;
    std::string gives_up;  // the error with which it opens again instead
    json last_request;

    admin_answer status() override { return {200, {{"sites", json::array({describe()})}}}; }
    admin_answer sites() override { return {200, {{"sites", {"shop"}}}}; }
    admin_answer site(std::string const& name) override {
        if (name != "shop") return problem(404, "Unknown site", "there is no site " + name);
        if (state == "draining" && ++looks >= 3) {
            state = gives_up.empty() ? "sealed" : "read_write";
            if (!gives_up.empty()) error = {{"text", gives_up}, {"fix", "wait"}};
        }
        return {200, describe()};
    }
    admin_answer migration(std::string const&) override { return {200, {{"port", 6433}}}; }
    admin_answer journal(std::string const& name, bool) override { return site(name); }
    admin_answer run_journal(std::string const& name) override { return site(name); }
    admin_answer effective_config() override { return {200, {{"yaml", ""}}}; }
    admin_answer begin(std::string const& name, json const& request) override {
        if (name != "shop") return problem(404, "Unknown site", "there is no site " + name);
        ++begun;
        last_request = request;
        if (state == "read_write") state = "draining";
        looks = 0;
        return {state == "sealed" ? 200 : 202, describe()};
    }
    std::string cleared, renewed;
    bool all = false;
    admin_answer renew(std::string const& name, json const& request) override {
        if (name != "shop") return problem(404, "Unknown site", "there is no site " + name);
        renewed = request.value("as", "");
        return {200, describe()};
    }
    admin_answer finish(std::string const&, std::string const& as, bool everything) override {
        ++finished;
        cleared = as;
        all = everything;
        if (as == "other") return {200, describe()};  // not the only reason
        state = "read_write";
        return {200, describe()};
    }
    void verify(std::string const& name, std::function<void(admin_answer)> then) override {
        then(site(name));
    }
    admin_answer reload() override { return {200, {{"changes", json::array()}}}; }

  private:
    json describe() const { return {{"site", "shop"}, {"state", state}, {"error", error}}; }
};

struct house {
    house() {
        char name[] = "/tmp/lull-admin-XXXXXX";
        folder = ::mkdtemp(name);
        path = folder + "/run/admin.sock";
        socket.emplace(io, path, at);
        thread = std::thread([this] { io.run(); });
    }
    ~house() {
        io.stop();
        thread.join();
        socket.reset();
        CHECK_FALSE(std::filesystem::exists(path));
        std::filesystem::remove_all(folder);
    }
    admin_reply call(std::string const& verb, std::string const& target, json body = nullptr) {
        return admin_client(path).call(verb, target, body);
    }
    /// What the socket answers to these bytes, until it closes or nothing comes for a while.
    std::string raw(std::string const& bytes) {
        int const fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::copy(path.begin(), path.end(), address.sun_path);
        REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        timeval const patience{0, 300'000};
        ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        std::size_t sent = 0;
        while (sent < bytes.size()) {
            ssize_t const n = ::send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
            if (n <= 0) break;
            sent += static_cast<std::size_t>(n);
        }
        std::string all;
        char block[4096];
        for (ssize_t n = 0; (n = ::recv(fd, block, sizeof block, 0)) > 0;)
            all.append(block, static_cast<std::size_t>(n));
        ::close(fd);
        return all;
    }

    std::string folder, path;
    desk at;
    boost::asio::io_context io;
    std::optional<admin> socket;
    std::thread thread;
};

}  // namespace

TEST_CASE("the socket is its owner's, and is made only once") {
    house h;
    struct stat s {};
    REQUIRE(::stat(h.path.c_str(), &s) == 0);
    CHECK((s.st_mode & 0777) == 0600);
    boost::asio::io_context io;
    desk other;
    CHECK_THROWS_WITH_AS(admin(io, h.path, other), doctest::Contains("another lull"), std::runtime_error);
    CHECK(h.call("GET", "/status").ok());
}

TEST_CASE("a socket that nobody listens on is replaced, a file is not") {
    house h;
    boost::asio::io_context io;
    desk other;
    std::string const stale = h.folder + "/stale.sock";
    {
        int const fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::copy(stale.begin(), stale.end(), address.sun_path);
        REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        ::close(fd);
    }
    { admin const replaced(io, stale, other); }
    std::string const file = h.folder + "/file";
    std::ofstream(file) << "precious";
    CHECK_THROWS_AS(admin(io, file, other), std::runtime_error);
    CHECK(std::filesystem::file_size(file) == 8);
}

TEST_CASE("beginning answers at once, or when it is over") {
    house h;
    auto const first = h.call("PUT", "/sites/shop/maintenance", {{"reason", "x"}});
    CHECK(first.status == 202);
    CHECK(first.body["state"] == "draining");
    CHECK(h.at.last_request["reason"] == "x");
    auto const over = h.call("PUT", "/sites/shop/maintenance?wait_ms=5000");
    CHECK(over.status == 200);
    CHECK(over.body["state"] == "sealed");
    // A reason that was not the only one: nothing to wait for.
    CHECK(h.call("DELETE", "/sites/shop/maintenance?as=other&wait_ms=60000").status == 200);
    CHECK(h.at.cleared == "other");
    CHECK(h.call("PUT", "/sites/shop/lease", {{"as", "upgrade"}}).status == 200);
    CHECK(h.at.renewed == "upgrade");
    CHECK(h.call("GET", "/sites/shop/lease").status == 405);
    CHECK(h.call("DELETE", "/sites/shop/maintenance?all=1").body["state"] == "read_write");
    CHECK(h.at.all);
    auto const by_body = h.call("PUT", "/sites/shop/maintenance", {{"wait_ms", 5000}});
    CHECK(by_body.status == 200);
    CHECK_FALSE(h.at.last_request.contains("wait_ms"));
}

TEST_CASE("patience that ends is no error") {
    house h;
    h.at.looks = -1000;
    h.call("PUT", "/sites/shop/maintenance");
    h.at.looks = -1000;
    auto const reply = h.call("PUT", "/sites/shop/maintenance?wait_ms=1");
    CHECK(reply.status == 202);
}

TEST_CASE("an entering that is given up is a problem to those who wait for it") {
    house h;
    h.at.gives_up = "2 writes are still in flight";
    auto const reply = h.call("PUT", "/sites/shop/maintenance?wait_ms=5000");
    CHECK(reply.status == 409);
    CHECK(reply.body["detail"] == "2 writes are still in flight");
    CHECK(reply.body["fix"] == "wait");
}

TEST_CASE("errors are problem documents") {
    house h;
    struct {
        char const* verb;
        char const* target;
        int status;
    } const cases[] = {{"GET", "/nothing", 404},
                       {"GET", "/sites/nope", 404},
                       {"POST", "/sites/shop", 405},
                       {"GET", "/sites/shop/maintenance", 405},
                       {"PUT", "/sites/nope/maintenance", 404},
                       {"DELETE", "/status", 405},
                       {"GET", "/sites/shop/more/and/more", 404}};
    for (auto const& c : cases) {
        CAPTURE(c.target);
        auto const reply = h.call(c.verb, c.target);
        CHECK(reply.status == c.status);
        CHECK(reply.body["status"] == c.status);
        CHECK(reply.body["title"].is_string());
    }
}

TEST_CASE("hostile bytes") {
    house h;
    CHECK(h.raw("GET /status HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 200"));
    CHECK(h.raw("PUT /sites/shop/maintenance HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
              .starts_with("HTTP/1.1 413"));
    CHECK(h.raw("PUT /sites/shop/maintenance HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n[1]")
              .starts_with("HTTP/1.1 400"));
    CHECK(h.raw("PUT /sites/shop/maintenance HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n{\"a\"")
              .starts_with("HTTP/1.1 400"));
    // A web page that found its way to the socket.
    CHECK(h.raw("GET /status HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n\r\n")
              .starts_with("HTTP/1.1 403"));
    h.raw("\x16\x03\x01 not http at all\r\n\r\n");
    h.raw("GET /" + std::string(100'000, 'a') + " HTTP/1.1\r\n\r\n");
    h.raw("");
    CHECK(h.at.begun == 0);
    CHECK(h.call("GET", "/version").ok());
}
