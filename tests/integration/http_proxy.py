"""lull_http_only as a process, raw and ordinary clients for it, and the fixtures of test_http*.py."""
import glob
import http.client
import os
import re
import signal
import socket
import subprocess

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
        self.rss_at_start = self.rss("VmHWM")

    def stop(self):
        self.process.terminate()
        assert self.process.wait(5) == 0
        self.process.stdout.close()

    def flip(self, sealed):
        self.process.send_signal(signal.SIGUSR1 if sealed else signal.SIGUSR2)
        words = self.process.stdout.readline().split()
        return dict(zip(words[::2], map(int, words[1::2])))

    def growth(self):
        """Bytes of memory that it had at its peak beyond those that it started with."""
        return self.rss("VmHWM") - self.rss_at_start

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
