"""What two recipients could read in two ways is refused, and reaches nobody."""
import json
import re

import pytest

from http_proxy import read_all, read_response, request
from http_proxy import app, proxy, start  # noqa: F401


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
