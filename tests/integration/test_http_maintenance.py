"""A site in maintenance as its visitors and its application see it."""
import json
import re
import socket
import threading
import time

from http_proxy import HOST, ask, read_all, request
from http_proxy import app, proxy, start  # noqa: F401


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
