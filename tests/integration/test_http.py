"""The HTTP half alone (lull_http_only) between raw clients and an application with bad manners: what passes, and how."""
import asyncio
import hashlib
import json
import os
import re
import socket
import threading
import time

import pytest

from http_proxy import HOST, ask, read_all, read_response, request
from http_proxy import app, proxy, start  # noqa: F401


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
    assert proxy.growth() < 16e6


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
    assert proxy.growth() < 16e6


def test_a_slow_reader_stops_its_source(proxy, app):
    slow = [proxy.raw(request(f"/big?n={SIZE}")) for _ in range(10)]
    time.sleep(1)
    assert app.sent < 200e6  # of 1000: what the kernel's buffers hold
    assert proxy.growth() < 16e6
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
