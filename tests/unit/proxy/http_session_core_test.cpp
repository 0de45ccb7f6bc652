#include "tests/unit/proxy/http_script.hpp"

using lull::routing::mode;
using lull::test::http_outcome;
using lull::test::http_script;
using namespace std::chrono_literals;

namespace {

std::string const get = "GET /a HTTP/1.1\r\nHost: shop\r\nX-Request-Id: r\r\n\r\n";
std::string const post =
    "POST /a HTTP/1.1\r\nHost: shop\r\nX-Request-Id: r\r\nContent-Length: 5\r\n\r\nhello";
std::string const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
std::string const ok_passed = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.1 lull\r\n\r\nok[end]";

std::string forwarded(std::string const& line, std::string const& more = {}, std::string const& body = {},
                      std::string const& mode_fields = "X-Read-Only-Mode: 0\r\n") {
    return line + " HTTP/1.1\r\nHost: shop\r\n" + more +
           "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: "
           "shop\r\nX-Forwarded-Port: 8080\r\n"
           "Via: 1.1 lull\r\nX-Request-Id: r\r\n" +
           mode_fields + "\r\n" + body + "[end]";
}

bool contains(std::string const& text, std::string const& part) {
    return text.find(part) != std::string::npos;
}

std::size_t count(std::string const& text, std::string const& part) {
    std::size_t n = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++n;
    return n;
}

}  // namespace

TEST_CASE("requests and responses follow each other on one connection to each side") {
    http_script s;
    s.client(get).upstream(ok).client(post).upstream(ok);
    http_outcome const o = s.play_all();
    CHECK(o.client == ok_passed + ok_passed);
    REQUIRE(o.upstream.size() == 1);
    CHECK(o.upstream[0] == forwarded("GET /a") + forwarded("POST /a", "Content-Length: 5\r\n", "hello"));
    CHECK_FALSE(o.closed);
    CHECK(o.writes_open == 0);
    s.fail_everywhere();
}

TEST_CASE("pipelined requests wait for their turn") {
    http_script s;
    s.client(get + post + get).upstream(ok).upstream(ok).upstream(ok);
    http_outcome const o = s.play_all();
    CHECK(o.client == ok_passed + ok_passed + ok_passed);
    CHECK(o.upstream.size() == 1);
    s.fail_everywhere();
}

TEST_CASE("chunks and trailers pass in both directions, their extensions do not") {
    http_script s;
    s.client(
         "POST /a HTTP/1.1\r\nHost: shop\r\nX-Request-Id: r\r\nTransfer-Encoding: chunked\r\n\r\n"
         "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\nContent-Length: 9\r\n\r\n")
        .upstream(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;z\r\nde\r\n0\r\nX-S: "
            "2\r\nHost: x\r\n\r\n")
        .client(get)
        .upstream(ok);
    http_outcome const o = s.play_all();
    CHECK(o.client ==
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nVia: 1.1 lull\r\n\r\nabcde[X-S=2][end]" +
              ok_passed);
    CHECK(o.upstream.at(0) ==
          forwarded("POST /a", "Transfer-Encoding: chunked\r\n", "hello![X-T=1]") + forwarded("GET /a"));
    s.fail_everywhere();
}

TEST_CASE("a response that ends with its connection") {
    http_script s;
    s.client(get).upstream("HTTP/1.1 200 OK\r\n\r\nall").upstream_end().client(get).upstream(ok);
    http_outcome const o = s.play_all();
    CHECK(o.client ==
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nVia: 1.1 lull\r\n\r\nall[end]" + ok_passed);
    CHECK(o.upstream.size() == 2);

    http_script lost;
    lost.client(get).upstream("HTTP/1.1 200 OK\r\n\r\nall").upstream_lost();
    http_outcome const cut = lost.play_all();
    CHECK(contains(cut.client, "all[...]"));
    CHECK(cut.closed);

    http_script old;
    old.client("GET /a HTTP/1.0\r\nHost: shop\r\nX-Request-Id: r\r\n\r\n")
        .upstream("HTTP/1.1 200 OK\r\n\r\nall")
        .upstream_lost();
    CHECK(old.play_all().reset);
}

TEST_CASE("100-continue passes when the application says so") {
    http_script s;
    std::string const head =
        "POST /a HTTP/1.1\r\nHost: shop\r\nX-Request-Id: r\r\nContent-Length: 5\r\nExpect: "
        "100-continue\r\n\r\n";
    s.client(head).upstream("HTTP/1.1 100 Continue\r\n\r\n").client("hello").upstream(ok);
    http_outcome const o = s.play_all();
    CHECK(o.client == "HTTP/1.1 100 Continue\r\n\r\n[end]" + ok_passed);
    CHECK(o.upstream.at(0) == forwarded("POST /a", "Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"));
    s.fail_everywhere();
}

TEST_CASE("an early answer ends the connection, because the rest of the request goes nowhere") {
    http_script s;
    s.client("POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 500000\r\n\r\nhel").upstream(ok);
    http_outcome const o = s.play_all();
    CHECK(o.client == ok_passed);
    CHECK(o.client_finished);
    CHECK_FALSE(o.closed);  // until the client has read it
    s.fail_everywhere();
}

TEST_CASE("an upgrade becomes a tunnel that knows nothing") {
    http_script s;
    s.client(
         "GET /a HTTP/1.1\r\nHost: shop\r\nX-Request-Id: r\r\nConnection: Upgrade\r\nUpgrade: "
         "websocket\r\n\r\nearly")
        .upstream(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
        .client("GET / HTTP/1.1\r\n\r\n")
        .upstream("\r\n\r\n")
        .client_end()
        .upstream("last")
        .upstream_end();
    http_outcome const o = s.play_all();
    CHECK(o.client ==
          "HTTP/1.1 101 Switching Protocols\r\nVia: 1.1 lull\r\nConnection: upgrade\r\nUpgrade: "
          "websocket\r\n\r\n"
          "first\r\n\r\nlast");
    CHECK(contains(o.upstream.at(0), "Upgrade: websocket\r\nConnection: upgrade\r\n"));
    CHECK(contains(o.upstream.at(0), "early"));
    CHECK(o.closed);
    s.fail_everywhere();
}

TEST_CASE(
    "only an idle connection that failed before a byte came, and only what may be repeated, is tried again") {
    http_script again;
    again.client(get).upstream(ok).client(get).upstream_end().upstream(ok);
    http_outcome const o = again.play_all();
    CHECK(o.client == ok_passed + ok_passed);
    CHECK(o.upstream.size() == 2);
    again.fail_everywhere();

    http_script unsafe;
    unsafe.client(get).upstream(ok).client(post).upstream_end();
    http_outcome const refused = unsafe.play_all();
    CHECK(contains(refused.client, "HTTP/1.1 502 "));
    CHECK(refused.upstream.size() == 1);

    http_script twice;
    twice.client(get).upstream(ok).client(get).upstream_end().upstream_end();
    CHECK(count(twice.play_all().client, "HTTP/1.1 502 ") == 1);

    http_script begun;
    begun.client(get).upstream(ok).client(get).upstream("HTTP/1.1 2").upstream_end();
    CHECK(contains(begun.play_all().client, "HTTP/1.1 502 "));

    http_script fresh;
    fresh.client(get).upstream_end();
    CHECK(fresh.play_all().upstream.size() == 1);
}

TEST_CASE("no application, and the client goes on") {
    http_script s;
    s.refuse_next().client(post).client(get).upstream(ok);
    http_outcome const o = s.play({});
    CHECK(contains(o.client, "HTTP/1.1 502 Bad Gateway\r\n"));
    CHECK(contains(o.client, ok_passed));
    s.fail_everywhere();
}

TEST_CASE("deadlines") {
    http_script head;
    head.client("GET / HT").wait(29s).client("T").wait(2s);
    CHECK(contains(head.play({}).client, "HTTP/1.1 408 "));
    http_script idle;
    idle.client(get).upstream(ok).wait(76s);
    CHECK(idle.play({}).client == ok_passed);
    CHECK(idle.play({}).closed);
    http_script silent;
    silent.client(post).wait(121s);
    CHECK(contains(silent.play({}).client, "HTTP/1.1 504 "));
    http_script body;
    body.client(post.substr(0, post.size() - 1)).wait(31s);
    CHECK(contains(body.play({}).client, "HTTP/1.1 408 "));
    http_script events;
    events.client(get)
        .upstream("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata")
        .wait(10000s);
    CHECK_FALSE(events.play({}).closed);
    http_script middle;
    middle.client(get).upstream("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ndata").wait(121s);
    CHECK(middle.play({}).closed);
}

TEST_CASE("a site in maintenance refuses writes at once and reads on") {
    http_script s;
    s.mode = mode::sealed;
    s.client(post).client(get).upstream(ok);
    http_outcome const o = s.play_all();
    CHECK(contains(o.client, "HTTP/1.1 503 Service Unavailable\r\n"));
    CHECK(contains(o.client, "Retry-After: 90\r\n"));
    CHECK(contains(o.client,
                   "\"code\":\"read_only\",\"site\":\"shop\",\"until\":\"1994-11-06T08:51:07Z\",\"retry_"
                   "after\":90,\"epoch\":7}"));
    CHECK(contains(o.client,
                   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.1 lull\r\nX-Read-Only-Mode: "
                   "1\r\nX-Read-Only-Epoch: 7\r\n\r\nok"));
    CHECK(o.upstream.at(0) ==
          forwarded("GET /a", {}, {},
                    "X-Read-Only-Mode: 1\r\nX-Read-Only-Epoch: 7\r\nX-Read-Only-Reason: new column\r\n"
                    "X-Read-Only-Until: 1994-11-06T08:51:07Z\r\n"));
    s.fail_everywhere();

    http_script expects;
    expects.mode = mode::draining;
    expects.client("PUT /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    http_outcome const e = expects.play_all();
    CHECK(contains(e.client, "HTTP/1.1 503 "));
    CHECK(contains(e.client, "Connection: close\r\n"));
    CHECK(e.upstream.empty());
}

TEST_CASE("a write that began before the flip is counted until it is answered") {
    http_script s;
    s.client(post).flip(mode::draining);
    CHECK(s.play_all().writes_open == 1);
    s.upstream(ok);
    http_outcome const o = s.play_all();
    CHECK(o.writes_open == 0);
    CHECK(contains(o.client, "X-Read-Only-Mode: 1\r\n"));
    s.fail_everywhere();

    http_script held;
    held.mode = mode::sealed;
    held.writes = lull::config::write_policy::hold;
    held.client(post);
    CHECK(held.play_all().writes_open == 0);
    CHECK(held.play_all().upstream.size() == 1);
}

TEST_CASE("after a malformed request nothing is read as one") {
    for (std::string const bad :
         {"GET / HTTP/1.1\r\nHost : shop\r\n\r\n",
          "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
        http_script s;
        s.client(bad + get + get);
        http_outcome const o = s.play_all();
        CHECK(count(o.client, "HTTP/1.1 ") == 1);
        CHECK(contains(o.client, "HTTP/1.1 400 "));
        CHECK(o.upstream.empty());
        CHECK(o.client_finished);
    }
    http_script chunk;
    chunk.client("POST /a HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX" + get);
    for (std::size_t const piece : {std::string::npos, std::size_t{1}, std::size_t{70}}) {
        // How much of the body the application has seen by then depends on the cut; its end it never sees.
        http_outcome const o = chunk.play({piece, 0, std::string::npos});
        CHECK(contains(o.client, "HTTP/1.1 400 "));
        CHECK(count(o.client, "HTTP/1.1 ") == 1);
        for (std::string const& u : o.upstream) CHECK_FALSE(contains(u, "[end]"));
    }
    chunk.fail_everywhere();
}

TEST_CASE("large bodies stay within the buffers") {
    std::string const big(1'000'000, 'x');
    http_script s;
    s.client("POST /a HTTP/1.1\r\nHost: shop\r\nX-Request-Id: r\r\nContent-Length: 1000000\r\n\r\n" + big)
        .upstream("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + big);
    for (std::size_t const piece : {std::string::npos, std::size_t{50'000}, std::size_t{1000}}) {
        http_outcome const o = s.play({piece, 0, 40'000});
        CHECK(o.client ==
              "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nVia: 1.1 lull\r\n\r\n" + big + "[end]");
        CHECK(o.upstream.at(0) == forwarded("POST /a", "Content-Length: 1000000\r\n", big));
    }
}

TEST_CASE("bytes behind a response do not become the next one") {
    http_script s;
    s.client(get).upstream(ok + ok).client(get).upstream(ok);
    http_outcome const o = s.play({});
    CHECK(o.client == ok_passed + ok_passed);
    CHECK(o.upstream.size() == 2);
}
