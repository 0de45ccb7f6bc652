"""The HTTP half alone (lull_http_only) between raw clients and an application with bad manners."""
import asyncio
import glob
import hashlib
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time

import pytest

from http_app import App

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOST = "shop.example"


def binary():
    if given := os.environ.get("LULL_HTTP_ONLY"):
        return given
    built = glob.glob(f"{ROOT}/build/*/tests/integration/lull_http_only")
    if not built:
        pytest.skip("lull_http_only is not built")
    return max(built, key=os.path.getmtime)


class Proxy:
    def __init__(self, upstreams, *flags):
        ups = [a for u in upstreams for a in ("--upstream", u)]
        self.process = subprocess.Popen([binary(), "--listen", "127.0.0.1:0", "--host", HOST, *ups, *flags],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def stop(self):
        self.process.terminate()
        assert self.process.wait(5) == 0
        self.process.stdout.close()

    def flip(self, sealed):
        self.process.send_signal(signal.SIGUSR1 if sealed else signal.SIGUSR2)
        words = self.process.stdout.readline().split()
        return dict(zip(words[::2], map(int, words[1::2])))

    def rss(self, what="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith(what)) * 1024

    def http(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def raw(self, data=b"", timeout=10):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        s.sendall(data)
        return s


@pytest.fixture
def app():
    one = App()
    yield one
    one.stop()


@pytest.fixture
def start(app):
    started = []

    def make(*flags, upstreams=None):
        started.append(Proxy(upstreams or [f"127.0.0.1:{app.port}"], *flags))
        return started[-1]

    yield make
    for p in started:
        p.stop()


@pytest.fixture
def proxy(start):
    return start()


def ask(connection, method, path, body=None, headers=None, **kwargs):
    connection.request(method, path, body, {"Host": HOST, **(headers or {})}, **kwargs)
    response = connection.getresponse()
    response.content = response.read()
    return response


def read_all(s):
    data = b""
    try:
        while got := s.recv(65536):
            data += got
    except ConnectionResetError:
        data += b"<RESET>"
    return data


def read_response(s):
    """One response with Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        got = s.recv(65536)
        assert got, data
        data += got
    head, rest = data.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"content-length: (\d+)", head, re.I).group(1))
    while len(rest) < length:
        rest += s.recv(65536)
    return head, rest[:length], rest[length:]


def request(path="/", method="GET", fields=(), body=b"", version="1.1"):
    return "\r\n".join([f"{method} {path} HTTP/{version}", f"Host: {HOST}", *fields, "", ""]).encode() + body


# --- forwarding ---

def test_both_sides_are_kept_alive(proxy, app):
    c = proxy.http()
    for i in range(20):
        assert ask(c, "GET", f"/{i}").content == f"you asked for /{i}".encode()
    assert ask(c, "POST", "/sink", b"abc").status == 200
    assert app.connections == 1


def test_pipelined_requests_are_answered_in_order(proxy):
    s = proxy.raw(b"".join(request(f"/{i}") for i in range(50)) + request("/last", fields=["Connection: close"]))
    bodies = re.findall(rb"you asked for /(\d+|last)", read_all(s))
    assert bodies == [str(i).encode() for i in range(50)] + [b"last"]


def test_every_byte_alone(proxy):
    s = proxy.raw()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for b in request("/headers", "POST", ["Transfer-Encoding: chunked"], b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"):
        s.sendall(bytes([b]))
    assert json.loads(read_response(s)[1])["body"] == "abcde"


def test_what_the_application_gets(proxy):
    got = json.loads(ask(proxy.http(), "GET", "/a/../headers/./x//%7e%2fz?q=%7e&/../", headers={
        "X-Forwarded-For": "6.6.6.6", "X_Forwarded_For": "6.6.6.6", "Forwarded": "for=6.6.6.6", "X-Real-IP": "6.6.6.6",
        "X-Read-Only-Mode": "1", "X_Read_Only_Mode": "1", "X-Lull-A": "1", "X-Frappe-Site-Name": "other", "Proxy": "evil",
        "Proxy-Authorization": "x", "Keep-Alive": "1", "TE": "trailers, gzip", "Connection": "close, X-Hop", "X-Hop": "1",
        "Upgrade": "h2c", "X-Request-Id": "abc-1", "X-Mine": "kept", "Via": "1.0 fred"}).content)
    fields = {}
    for k, v in got["fields"]:
        fields.setdefault(k.lower(), []).append(v)
    assert got["target"] == "/headers/x/~%2Fz?q=%7e&/../"
    assert fields == {
        "host": [HOST], "accept-encoding": ["identity"], "x-mine": ["kept"], "via": ["1.0 fred", "1.1 lull"],
        "te": ["trailers"], "connection": ["te"], "x-forwarded-for": ["127.0.0.1"], "x-forwarded-proto": ["http"],
        "x-forwarded-host": [HOST], "x-forwarded-port": [str(proxy.port)], "x-request-id": ["abc-1"],
        "x-read-only-mode": ["0"]}


@pytest.mark.parametrize("given", ["a b", "x" * 129, "<script>"])
def test_an_odd_request_id_is_replaced(proxy, given):
    got = json.loads(ask(proxy.http(), "GET", "/headers", headers={"X-Request-Id": given}).content)
    assert re.fullmatch("[0-9a-f]{32}", dict(got["fields"])["X-Request-Id"])


def test_what_the_client_gets(proxy):
    r = ask(proxy.http(), "GET", "/leak")
    names = {k.lower() for k, _ in r.getheaders()}
    assert names == {"content-length", "x-app", "via"}


def test_chunked_response_with_trailers(proxy):
    s = proxy.raw(request("/chunked", fields=["Connection: close", "TE: trailers"]))
    head, body = read_all(s).split(b"\r\n\r\n", 1)
    assert b"Transfer-Encoding: chunked" in head and b"Trailer: X-Sum" in head
    assert body.endswith(b"0\r\nX-Sum: 42\r\n\r\n") and b"ext" not in body and b"Content-Length" not in body


def test_a_response_ended_by_close_keeps_the_client(proxy):
    c = proxy.http()
    assert ask(c, "GET", "/until-close").content == b"all there is"
    assert ask(c, "GET", "/http10").content == b"old"
    assert ask(c, "GET", "/x").content == b"you asked for /x"


def test_http_1_0(proxy):
    s = proxy.raw(b"GET /chunked HTTP/1.0\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n")
    head, body = read_all(s).split(b"\r\n\r\n", 1)
    assert body == b"one two three" and b"chunked" not in head.lower().replace(b"/chunked", b"") and b"Connection: close" in head
    s = proxy.raw(b"GET /a HTTP/1.0\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n")
    head, body, _ = read_response(s)
    assert b"Connection: keep-alive" in head
    s.sendall(b"GET /b HTTP/1.0\r\nHost: shop.example\r\n\r\n")
    assert read_all(s).endswith(b"you asked for /b")


def test_no_bodies_where_there_are_none(proxy):
    c = proxy.http()
    for path, method, status in [("/x", "HEAD", 200), ("/empty/204", "GET", 204), ("/empty/304", "GET", 304),
                                 ("/empty/304", "HEAD", 304), ("/y", "OPTIONS", 200)]:
        assert ask(c, method, path).status == status
    assert ask(c, "GET", "/end").content == b"you asked for /end"


def test_absolute_and_asterisk_forms(proxy, app):
    s = proxy.raw(b"GET http://SHOP.example:80/abs?q HTTP/1.1\r\nHost: shop.example:8080\r\n\r\n")
    assert read_response(s)[1] == b"you asked for /abs?q"
    s.sendall(b"OPTIONS * HTTP/1.1\r\nHost: shop.example.\r\n\r\n")
    assert read_response(s)[1] == b"you asked for *"


def test_expect_continue(proxy):
    s = proxy.raw(request("/continue", "POST", ["Content-Length: 3", "Expect: 100-continue"]))
    assert s.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    s.sendall(b"abc")
    assert read_response(s)[1] == b"abc"


def test_early_hints_pass(proxy):
    data = read_all(proxy.raw(request("/hints", fields=["Connection: close"])))
    assert data.startswith(b"HTTP/1.1 103 ") and b"Link: </a.css>" in data and data.endswith(b"after the hints")
    assert read_all(proxy.raw(request("/hints", version="1.0"))).startswith(b"HTTP/1.1 200 ")


def test_an_early_answer_reaches_a_client_that_still_sends(proxy):
    s = proxy.raw(request("/early", "POST", ["Content-Length: 100000000"]))
    assert b" 413 " in s.recv(65536)
    s.close()
    assert ask(proxy.http(), "GET", "/ok").status == 200


def test_half_closed_client_gets_its_answer(proxy):
    s = proxy.raw(request("/one") + request("/slow?s=0.3"))
    s.shutdown(socket.SHUT_WR)
    began = time.time()
    assert read_all(s).endswith(b"late")
    assert time.time() - began < 3


def test_an_idle_connection_closed_by_its_client_is_noticed(proxy):
    for _ in range(20):
        s = proxy.raw(request("/one"))
        s.shutdown(socket.SHUT_WR)
        assert b"you asked" in read_all(s)
    time.sleep(0.5)
    assert proxy.flip(False)["open"] == 0


# --- large bodies, slow peers ---

SIZE = 100 * 1000 * 1000


def pattern_digest(n):
    digest, block = hashlib.sha256(), bytes(range(256)) * 256
    for _ in range(n // len(block)):
        digest.update(block)
    digest.update(block[:n % len(block)])
    return digest.hexdigest()


@pytest.mark.parametrize("how", ["", "&chunked=1", "&close=1"])
def test_a_large_download_needs_little_memory(proxy, how):
    c = proxy.http()
    c.request("GET", f"/big?n={SIZE}{how}", headers={"Host": HOST})
    r, digest, total = c.getresponse(), hashlib.sha256(), 0
    while piece := r.read(1 << 16):
        digest.update(piece)
        total += len(piece)
    assert total == SIZE and digest.hexdigest() == pattern_digest(SIZE)
    assert proxy.rss("VmHWM") < 40e6


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_upload_needs_little_memory(proxy, chunked):
    block = bytes(range(256)) * 256

    def pieces():
        left = SIZE
        while left:
            yield block[:left]
            left -= len(block[:left])

    headers = {"Host": HOST} if chunked else {"Host": HOST, "Content-Length": str(SIZE)}
    c = proxy.http()
    c.request("POST", "/sink", pieces(), headers, encode_chunked=chunked)
    got = json.loads(c.getresponse().read())
    assert got["bytes"] == SIZE and got["sha256"] == pattern_digest(SIZE)
    assert got["coding"] == ("chunked" if chunked else None)
    assert proxy.rss("VmHWM") < 40e6


def test_a_slow_reader_stops_its_source(proxy, app):
    slow = [proxy.raw(request(f"/big?n={SIZE}")) for _ in range(10)]
    time.sleep(1)
    assert app.sent < 200e6  # of 1000: what the kernel's buffers hold
    assert proxy.rss("VmHWM") < 40e6
    assert ask(proxy.http(), "GET", "/ok").status == 200
    for s in slow:
        s.close()


def test_events_pass_at_once(proxy):
    s = proxy.raw(request("/drip?n=5&s=0.2", fields=["Connection: close"]))
    arrivals = []
    while s.recv(65536):
        arrivals.append(time.time())
    assert len(arrivals) >= 5 and arrivals[-1] - arrivals[0] > 0.6


# --- upgrades ---

def test_websocket(start):
    import websockets

    async def run():
        async def echo(ws, path=None):
            async for message in ws:
                await ws.send(message)

        async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as server:
            port = server.sockets[0].getsockname()[1]
            p = start("--sealed", upstreams=[f"127.0.0.1:{port}"])
            async with websockets.connect(f"ws://{HOST}/chat", host="127.0.0.1", port=p.port, max_size=None) as ws:
                assert ws.response_headers["X-Read-Only-Mode"] == "1"
                for message in ["hello", b"\0\1\2" * 1000, "x" * 1_000_000]:
                    await ws.send(message)
                    assert await ws.recv() == message

    asyncio.run(run())


def test_a_tunnel_is_transparent_and_half_closes(proxy):
    s = proxy.raw(request("/upgrade", fields=["Connection: Upgrade", "Upgrade: echo"]) + b"early\0\r\n\r\n")
    time.sleep(0.2)
    sent = os.urandom(3_000_000)
    threading.Thread(target=lambda: (s.sendall(sent), s.shutdown(socket.SHUT_WR)), daemon=True).start()
    head, rest = read_all(s).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 101") and b"Upgrade: echo" in head
    assert rest == b"hello" + b"early\0\r\n\r\n" + sent


# --- errors of the application ---

def test_no_application(start, app):
    p = start()
    app.stop()
    c = p.http()
    r = ask(c, "GET", "/x")
    assert r.status == 502 and r.getheader("Content-Type") == "application/problem+json"
    assert json.loads(r.content)["code"] == "upstream_unavailable"
    r = ask(c, "GET", "/x", headers={"Sec-Fetch-Mode": "navigate"})
    assert r.status == 502 and r.content.startswith(b"<!doctype html>")


def test_another_application_is_tried(start, app):
    p = start(upstreams=["127.0.0.1:1", f"localhost:{app.port}"])
    for i in range(6):
        assert ask(p.http(), "POST", "/sink", b"x").status == 200


@pytest.mark.parametrize("how", ["length", "chunked", "reset"])
def test_a_response_cut_short_looks_cut_short(proxy, how):
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        ask(proxy.http(), "GET", f"/die/{how}")
    assert ask(proxy.http(), "GET", "/ok").status == 200
    if how == "reset":
        assert b"<RESET>" in read_all(proxy.raw(b"GET /die/reset HTTP/1.0\r\nHost: shop.example\r\n\r\n"))


@pytest.mark.parametrize("what", ["start", "both", "lengths", "folded", "switch", "gzip"])
def test_a_bad_response_is_502(proxy, what):
    c = proxy.http()
    assert ask(c, "GET", f"/bad/{what}").status == 502
    assert ask(c, "GET", "/ok").status == 200


def test_interim_responses_are_bounded(proxy):
    assert b"HTTP/1.1 502 " in read_all(proxy.raw(request("/bad/interim", fields=["Connection: close"])))


def test_a_dead_idle_connection_is_not_an_error(proxy, app):
    """The application closes after each response; safe requests are sent again, others look first."""
    c = proxy.http()
    for i in range(50):
        assert ask(c, "GET", "/once").content == b"once"
        if i % 2:
            assert ask(c, "GET", "/once").content == b"once"
        time.sleep(0.01)  # an application that closes at this very moment fails a POST: nobody knows whether it ran
        assert ask(c, "POST", "/sink", b"abc").status == 200


def test_a_request_is_not_sent_twice(proxy, app):
    c = proxy.http()
    ask(c, "GET", "/ok")
    assert ask(c, "POST", "/die/before", b"x").status == 502
    assert len(app.requests) == 2
    ask(c, "GET", "/ok")
    assert ask(c, "GET", "/die/before").status == 502  # once more on a fresh connection, not a third time
    assert len(app.requests) == 5


def test_timeouts(start):
    p = start("--head-timeout", "400", "--idle-timeout", "600", "--response-timeout", "500")
    r = ask(p.http(), "GET", "/slow?s=2")
    assert r.status == 504 and json.loads(r.content)["code"] == "upstream_timeout"
    assert read_all(p.raw(b"GET / HTTP/1.1\r\nHost: sh")).startswith(b"HTTP/1.1 408 ")
    assert read_all(p.raw(request("/sink", "POST", ["Content-Length: 9"], b"abc"))).startswith(b"HTTP/1.1 408 ")
    assert read_all(p.raw()) == b""
    s = p.raw(request("/ok"))
    read_response(s)
    assert s.recv(1) == b""


def test_a_slow_head_is_not_prolonged(start):
    p = start("--head-timeout", "500")
    s = p.raw()
    began = time.time()
    for b in request("/") + b"x" * 100:
        if select.select([s], [], [], 0.05)[0]:
            break
        s.sendall(bytes([b]))
    assert b" 408 " in s.recv(65536)
    assert time.time() - began < 2


# --- strictness ---

BAD = {
    "CL and TE": "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two CL": "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "same CL twice": "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "CL list": "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5, 5\r\n\r\nhello",
    "CL sign": "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: +5\r\n\r\nhello",
    "CL hex": "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0x5\r\n\r\nhello",
    "CL huge": "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
    "CL empty": "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length:\r\n\r\n",
    "TE other": "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "TE identity": "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: identity\r\n\r\n",
    "TE twice": "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE in 1.0": "POST / HTTP/1.0\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE xchunked": "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE vertical tab": "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "space before colon": "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "folded": "GET / HTTP/1.1\r\nHost: shop.example\r\nA: b\r\n c\r\n\r\n",
    "folded first": "GET / HTTP/1.1\r\n Host: shop.example\r\n\r\n",
    "bare LF": "GET / HTTP/1.1\nHost: shop.example\n\n",
    "bare LF inside": "GET / HTTP/1.1\r\nHost: shop.example\r\nA: b\nC: d\r\n\r\n",
    "bare CR": "GET / HTTP/1.1\r\nHost: shop.example\r\nA: b\rC: d\r\n\r\n",
    "CR CR LF": "GET / HTTP/1.1\r\nHost: shop.example\r\nA: b\r\r\n\r\n",
    "NUL": "GET / HTTP/1.1\r\nHost: shop.example\r\nA: b\0c\r\n\r\n",
    "no Host": "GET / HTTP/1.1\r\nA: b\r\n\r\n",
    "two Hosts": "GET / HTTP/1.1\r\nHost: shop.example\r\nHost: shop.example\r\n\r\n",
    "bad Host": "GET / HTTP/1.1\r\nHost: shop.example/x\r\n\r\n",
    "user in Host": "GET / HTTP/1.1\r\nHost: a@shop.example\r\n\r\n",
    "other absolute": "GET http://other.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "authority form": "GET shop.example:80 HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "asterisk": "GET * HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "control in target": "GET /a\x01b HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "encoded NUL": "GET /a%00b HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "bad escape": "GET /a%zz HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "fragment": "GET /a#b HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "two spaces": "GET  / HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "space in target": "GET /a b HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "tab": "GET\t/ HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "lower case version": "GET / http/1.1\r\nHost: shop.example\r\n\r\n",
    "long version": "GET / HTTP/1.10\r\nHost: shop.example\r\n\r\n",
    "HTTP/0.9": "GET /\r\n\r\n",
    "no colon": "GET / HTTP/1.1\r\nHost: shop.example\r\nabc\r\n\r\n",
    "empty name": "GET / HTTP/1.1\r\nHost: shop.example\r\n: b\r\n\r\n",
    "bad method": "G(T / HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "two empty lines": "\r\n\r\nGET / HTTP/1.1\r\nHost: shop.example\r\n\r\n",
}
CHUNKED = "POST /sink HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD_CHUNKS = {
    "no size": "\r\n",
    "sign": "+5\r\nhello\r\n0\r\n\r\n",
    "prefix": "0x5\r\nhello\r\n0\r\n\r\n",
    "space": " 5\r\nhello\r\n0\r\n\r\n",
    "space behind": "5 \r\nhello\r\n0\r\n\r\n",
    "overflow": "ffffffffffffffff1\r\n",
    "bare LF": "5\nhello\r\n0\r\n\r\n",
    "no CR LF behind": "5\r\nhelloXX0\r\n\r\n",
    "bare LF behind": "5\r\nhello\n0\r\n\r\n",
    "bare CR in extension": "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "long extension": "5;" + "a" * 1000 + "\r\nhello\r\n0\r\n\r\n",
    "many extensions": ("1;" + "a" * 200 + "\r\nx\r\n") * 200 + "0\r\n\r\n",
    "folded trailer": "0\r\nA: b\r\n c\r\n\r\n",
    "bad trailer": "0\r\nA b\r\n\r\n",
}


@pytest.mark.parametrize("what", BAD)
def test_malformed_requests_are_refused_and_reach_nobody(proxy, app, what):
    s = proxy.raw(BAD[what].encode("latin-1") + request("/smuggled"))
    data = read_all(s)
    assert data.startswith(b"HTTP/1.1 400 ") and len(re.findall(rb"HTTP/1.1 \d{3} ", data)) == 1 and b"Connection: close" in data
    assert app.requests == []


@pytest.mark.parametrize("what", BAD_CHUNKS)
def test_malformed_chunks_are_refused(proxy, app, what):
    s = proxy.raw((CHUNKED + BAD_CHUNKS[what]).encode() + request("/smuggled"))
    data = read_all(s)
    assert data.startswith(b"HTTP/1.1 400 ") and len(re.findall(rb"HTTP/1.1 \d{3} ", data)) == 1
    assert all(r.path == "/sink" for r in app.requests)


@pytest.mark.parametrize("status,data", [
    (414, b"GET /" + b"a" * 40000),
    (414, b"GET /" + b"a" * 17000 + b" HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
    (431, b"GET / HTTP/1.1\r\nHost: shop.example\r\nA: " + b"a" * 40000),
    (431, b"GET / HTTP/1.1\r\nHost: shop.example\r\n" + b"A: b\r\n" * 101),
    (505, b"GET / HTTP/2.0\r\nHost: shop.example\r\n\r\n"),
    (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    (417, b"POST / HTTP/1.1\r\nHost: shop.example\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\na"),
    (501, b"CONNECT shop.example:80 HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
])
def test_other_limits(proxy, app, status, data):
    assert read_all(proxy.raw(data)).startswith(b"HTTP/1.1 %d " % status)
    assert app.requests == []


def test_a_head_of_the_greatest_size_passes(proxy):
    fields = [f"X-{i}: {'v' * 1000}" for i in range(28)]
    s = proxy.raw(request("/" + "p" * 2000, fields=fields))
    assert len(read_response(s)[1]) == 2015


def test_an_unknown_host_is_421(proxy, app):
    c = proxy.http()
    for _ in range(2):
        c.request("GET", "/", headers={"Host": "other.example"})
        r = c.getresponse()
        assert r.status == 421 and json.loads(r.read())["code"] == "unknown_host"
    assert app.requests == []


def test_too_many_clients(start):
    p = start("--max-clients", "2")
    keep = [p.raw(request("/")) for _ in range(2)]
    for s in keep:
        read_response(s)
    assert read_all(p.raw()).startswith(b"HTTP/1.1 503 ")


# --- maintenance ---

def test_writes_are_refused_and_reads_go_on(start, app):
    p = start("--sealed", "--reason", "new column", "--until", "120")
    c = p.http()
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"]:
        r = ask(c, method, "/headers")
        assert r.status == 200 and r.getheader("X-Read-Only-Mode") == "1" and r.getheader("X-Read-Only-Epoch") == "1"
    fields = dict(json.loads(ask(c, "GET", "/headers").content)["fields"])
    assert fields["X-Read-Only-Mode"] == "1" and fields["X-Read-Only-Reason"] == "new column"
    assert fields["X-Read-Only-Epoch"] == "1" and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", fields["X-Read-Only-Until"])
    before = len(app.requests)
    for method in ["POST", "PUT", "PATCH", "DELETE", "BREW", "get"]:
        r = ask(c, method, "/x", b"a=1")
        assert r.status == 503 and r.getheader("Cache-Control") == "no-store" and r.getheader("X-Read-Only-Mode") == "1"
        assert r.getheader("Content-Type") == "application/problem+json"
        problem = json.loads(r.content)
        assert {"type", "title", "status", "detail", "instance", "code", "until", "retry_after", "site", "epoch"} <= set(problem)
        assert problem["code"] == "read_only" and problem["site"] == "shop" and problem["status"] == 503
        assert 100 < int(r.getheader("Retry-After")) <= 121 and problem["retry_after"] == int(r.getheader("Retry-After"))
    assert ask(c, "GET", "/x", headers={"X-HTTP-Method-Override": "DELETE"}).status == 503
    assert ask(c, "GET", "/x", headers={"X_HTTP_Method_Override": "DELETE"}).status == 200  # does not reach it
    assert len(app.requests) == before + 1


def test_pages_for_people(start):
    c = start("--sealed", "--reason", "<b>&").http()
    page = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    r = ask(c, "POST", "/x", b"a", page)
    assert r.status == 503 and r.getheader("Content-Type").startswith("text/html") and b"&lt;b&gt;&amp;" in r.content
    assert r.getheader("Retry-After") == "30"
    assert ask(c, "POST", "/x", b"a", {**page, "Sec-Fetch-Mode": "cors"}).getheader("Content-Type") == "application/problem+json"
    assert ask(c, "POST", "/x", b"a", {"Accept": "*/*", "Sec-Fetch-Mode": "navigate"}).content.startswith(b"<!doctype")
    assert ask(c, "POST", "/x", b"a", {"Accept": "application/json, text/html;q=0.5"}).getheader("Content-Type") == "application/problem+json"


def test_a_refused_body_is_not_waited_for(start):
    p = start("--sealed")
    s = p.raw(request("/x", "POST", ["Content-Length: 10", "Expect: 100-continue"]))
    data = read_all(s)
    assert data.startswith(b"HTTP/1.1 503 ") and b"100 Continue" not in data and b"Connection: close" in data
    s = p.raw(request("/x", "POST", ["Content-Length: 100000000"]))
    assert b" 503 " in s.recv(65536)
    c = p.http()
    assert ask(c, "POST", "/x", b"a" * 60000).status == 503
    assert c.sock and ask(c, "GET", "/x").status == 200


def test_a_large_refused_upload_reads_its_answer(start):
    c = start("--sealed").http()
    assert ask(c, "POST", "/x", b"a" * 20_000_000).status == 503


def test_rules(start, app):
    p = start("--sealed", "--rule", "POST /search allow", "--rule", "POST,PUT /api/*/find allow", "--rule", "* /admin/** refuse",
              "--rule", "POST /deep/**/get allow")
    c = p.http()
    for method, path, status in [
            ("POST", "/search", 200), ("POST", "//search", 200), ("POST", "/x/../search", 200), ("POST", "/%73earch", 200),
            ("POST", "/search?q=/../x", 200), ("PUT", "/search", 503), ("POST", "/search/", 503), ("POST", "/searching", 503),
            ("POST", "/api/v1/find", 200), ("PUT", "/api/v1/find", 200), ("POST", "/api/v1/x/find", 503),
            ("POST", "/search/../write", 503), ("POST", "/search/%2e%2e/write", 503), ("POST", "/api/..%2fwrite/find", 503),
            ("POST", "/api/%2E%2E%5Cx/find", 503), ("POST", "/api/..;a/find", 503),
            ("GET", "/admin/x", 503), ("GET", "/admin%2fx", 503), ("GET", "/admin", 200),
            ("POST", "/deep/get", 200), ("POST", "/deep/a/b/get", 200), ("POST", "/deep/a/b/set", 503)]:
        assert (path, ask(c, method, path, b"x").status) == (path, status)
    assert ask(c, "POST", "/search", b"x", {"X-HTTP-Method-Override": "DELETE"}).status == 503
    p.flip(False)
    assert ask(c, "GET", "/admin/x").status == 200


def test_hold_lets_requests_pass(start):
    c = start("--sealed", "--hold").http()
    r = ask(c, "POST", "/headers", b"x")
    assert r.status == 200 and dict(json.loads(r.content)["fields"])["X-Read-Only-Mode"] == "1"


def test_status_document(start):
    p = start("--reason", "upgrade", "--until", "60")
    c = p.http()
    assert json.loads(ask(c, "GET", "/.well-known/lull/status").content) == {
        "site": "shop", "mode": "read_write", "epoch": 1, "until": None, "reason": None, "retry_after": None}
    p.flip(True)
    r = ask(c, "GET", "/.well-known/lull/status")
    got = json.loads(r.content)
    assert r.getheader("Cache-Control") == "no-store" and r.getheader("Content-Type") == "application/json"
    assert got["mode"] == "sealed" and got["epoch"] == 2 and got["reason"] == "upgrade" and got["until"]
    assert ask(c, "POST", "/.well-known/lull/status", b"x").status == 405
    assert ask(c, "HEAD", "/.well-known/lull/status").content == b""


def test_a_write_in_flight_ends_and_new_ones_are_refused(start, app):
    p = start()
    early, late = p.http(), p.http()
    early.request("POST", "/slow?s=10", b"x", {"Host": HOST})
    while not app.requests:
        time.sleep(0.01)
    assert p.flip(True)["writes"] == 1
    assert ask(late, "POST", "/x", b"x").status == 503
    app.release.set()
    r = early.getresponse()
    assert r.status == 200 and r.getheader("X-Read-Only-Mode") == "1" and r.read() == b"late"
    assert p.flip(True)["writes"] == 0
    p.flip(False)
    r = ask(late, "POST", "/x", b"x")
    assert r.status == 200 and r.getheader("X-Read-Only-Mode") is None


def test_a_write_whose_client_leaves_is_not_counted_for_ever(start, app):
    p = start()
    s = p.raw(request("/slow?s=3", "POST", ["Content-Length: 1"], b"x"))
    while not app.requests:
        time.sleep(0.01)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    s.close()
    time.sleep(0.3)
    assert p.flip(True)["writes"] == 0


def test_many_clients_while_the_mode_flips(start):
    p = start()
    stop, wrong, done = time.time() + 4, [], [0]

    def client(i):
        c = p.http()
        while time.time() < stop:
            r = ask(c, "GET", f"/r{i}")
            if r.status != 200 or r.content != f"you asked for /r{i}".encode():
                wrong.append(r.status)
            r = ask(c, "POST", "/sink", b"x" * 5000)
            if r.status not in (200, 503):
                wrong.append(r.status)
            done[0] += 1

    threads = [threading.Thread(target=client, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    while time.time() < stop:
        p.flip(True)
        time.sleep(0.1)
        p.flip(False)
        time.sleep(0.1)
    for t in threads:
        t.join()
    assert wrong == [] and done[0] > 100
    assert p.flip(False)["writes"] == 0
