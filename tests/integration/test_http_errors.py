"""Applications that refuse, die, stall or talk nonsense, and clients that stall."""
import http.client
import json
import select
import time

import pytest

from http_proxy import ask, read_all, read_response, request
from http_proxy import app, proxy, start  # noqa: F401


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
