"""Where there is no room: the admin socket's queue is full, or Lull takes nobody in from it; Lull has no file descriptor left."""
import contextlib
import http.client
import http.server
import os
import resource
import select
import signal
import socket
import threading
import time
import urllib.request

import psycopg
import pytest

from harness.ports import free_port
from harness.process import stopped
from harness.wait import wait_for


@pytest.fixture
def lull(make_lull):
    return make_lull()


def asking(lull, request=b"PUT /sites/shop/maintenance HTTP/1.1\r\nHost: lull\r\nContent-Length: 2\r\n\r\n{}"):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(20)
    peer.connect(lull.socket)
    peer.sendall(request)
    return peer


# -- the admin socket ---------------------------------------------------------------------------------------------------------------


def test_what_nobody_waits_for_any_more_is_not_begun(lull):
    with stopped(lull.process.pid):
        command = lull.cli_start("maintenance", "on", "shop")
        assert "no answer for 5 s" in command.stdout.readline()
        command.send_signal(signal.SIGINT)
        assert "what it has not it does not begin" in command.communicate(timeout=20)[0]
        killed = lull.cli_start("maintenance", "on", "shop")
        assert "no answer for 5 s" in killed.stdout.readline()
        killed.kill()
        killed.communicate(timeout=20)
        asking(lull).close()
    wait_for(lambda: lull.log().count("PUT /sites/shop/maintenance is not begun: who asked for it has gone") == 3, "all are seen", 5)
    assert lull.site()["mode"] == "read_write" and lull.site()["epoch"] == 0


def test_who_has_only_ended_his_side_is_answered(lull):
    with stopped(lull.process.pid):
        peer = asking(lull)
        peer.shutdown(socket.SHUT_WR)
    assert peer.recv(4096).startswith(b"HTTP/1.1 202 ")
    lull.wait_mode("sealed")


def test_what_has_begun_goes_on_without_who_asked(lull):
    with lull.connect(autocommit=False) as writer:
        writer.execute("INSERT INTO log (who) VALUES ('amid')")
        command = lull.cli_start("maintenance", "on", "shop")
        lull.wait_mode("draining")
        command.kill()
        command.communicate(timeout=20)
        time.sleep(1)  # its connection, too, has gone by then

        def count():
            return len(os.listdir(f"/proc/{lull.process.pid}/fd"))

        alone = count()
        peer = asking(lull, b"PUT /sites/shop/maintenance?wait_ms=60000 HTTP/1.1\r\nHost: lull\r\n\r\n")
        wait_for(lambda: count() > alone, "it is taken in")
        time.sleep(0.5)  # and heard
        peer.close()
        wait_for(lambda: count() <= alone, "nobody is waited for who has gone", 5)
        assert lull.site()["mode"] == "draining"
        writer.commit()
    lull.wait_mode("sealed")


@pytest.fixture
def crowd(lull):
    """As many wait in the queue of the admin socket as may."""
    waiting = []
    with stopped(lull.process.pid), contextlib.ExitStack() as all:
        with contextlib.suppress(BlockingIOError):
            while len(waiting) < 10_000:
                waiting.append(all.enter_context(socket.socket(socket.AF_UNIX)))
                waiting[-1].setblocking(False)
                waiting[-1].connect(lull.socket)
        yield waiting


def test_a_full_queue_is_waited_for(lull, crowd):
    begun = time.monotonic()
    done = lull.cli("status", check=False)
    assert done.returncode == 3 and "has room for, and this was not among them" in done.stderr, done.stderr
    assert time.monotonic() - begun > 4
    command = lull.cli_start("maintenance", "on", "shop")
    assert "no answer for 5 s, still waiting" in command.stdout.readline()
    os.kill(lull.process.pid, signal.SIGCONT)
    for peer in crowd:
        peer.close()
    assert command.wait(timeout=30) == 0, command.stdout.read()
    assert lull.site()["mode"] == "sealed"


def test_a_command_that_found_no_room_is_ended(lull, crowd):
    command = lull.cli_start("maintenance", "on", "shop")
    assert "no answer for 5 s" in command.stdout.readline()
    command.send_signal(signal.SIGINT)
    said = command.communicate(timeout=20)
    assert command.returncode == 130 and "what it has not it does not begin" in said[0], said


# -- file descriptors ---------------------------------------------------------------------------------------------------------------


class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


@pytest.fixture
def few(request, make_lull, tmp_path):
    """A Lull that may open 128 files, or as many as the test says."""
    application = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=application.serve_forever, daemon=True).start()
    ports = {"http": free_port(), "metrics": free_port()}
    listen = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    lull = make_lull({"workers": 1, "listen": dict(listen, unix_socket_directory=str(tmp_path)), "console": {"admins": ["other"]},
                      "limits": {"login_timeout": "5min"},
                      "sites": {"shop": {"hosts": ["shop.example"], "upstreams": [f"127.0.0.1:{application.server_port}"]}}}, start=False)
    lull.run_under = ["prlimit", "--nofile={0}:{0}".format(getattr(request, "param", 128))]
    lull.ports = ports
    yield lull.start()
    application.shutdown()
    application.server_close()


def many(kind, lull, count=300):
    """Who connects and stays; those who are turned away are gone."""
    crowd = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            if kind == "unix":
                peer = socket.socket(socket.AF_UNIX)
                peer.connect(f"{lull.config['listen']['unix_socket_directory']}/.s.PGSQL.{lull.port}")
            else:
                peer = socket.create_connection(("127.0.0.1", {"postgres": lull.port}.get(kind) or lull.ports[kind]), 5)
            crowd.append(peer)
            peer.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n" if kind == "http" else b"G" if kind == "metrics" else b"\0")
    return crowd


def is_over(peer):
    """Its other side has closed it."""
    poll = select.poll()
    poll.register(peer, select.POLLRDHUP)
    return bool(poll.poll(0))


def scrape(lull):
    with urllib.request.urlopen(f"http://127.0.0.1:{lull.ports['metrics']}/metrics", timeout=5) as answer:
        return answer.read().decode()


def web(lull):
    """(status, body)"""
    connection = http.client.HTTPConnection("127.0.0.1", lull.ports["http"], timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/", headers={"Host": "shop.example"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def refusal(lull):
    """What a login is told; empty: it is let in."""
    try:
        lull.connect().close()
    except psycopg.OperationalError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["postgres", "unix", "http"])
def test_who_has_no_room_is_refused_and_everything_else_goes_on(few, kind):
    inside, idle = few.wire(), few.wire(dbname="held")
    browser = http.client.HTTPConnection("127.0.0.1", few.ports["http"], timeout=5)
    browser.connect()
    browser.sock.sendall(b"GET / HTTP/1.1\r\n")  # comes in, and asks for nothing yet
    assert web(few) == (200, b"ok")  # who came behind it
    crowd = many(kind, few)
    try:
        wait_for(lambda: "out of file descriptors: clients are turned away" in few.log(), "the limit is met", 5)
        assert "cannot accept" not in few.log() and "admin socket" not in few.log()

        def crowded(condition):
            """Connections to the application that are free again make room: that is taken, too."""
            if kind == "http":
                crowd.extend(many(kind, few, 30))
                for peer in [p for p in crowd if is_over(p)]:  # psycopg cannot have a thousand files beside it
                    crowd.remove(peer)
                    peer.close()
            return condition()

        wait_for(lambda: crowded(lambda: "sorry, too many clients already" in refusal(few)), "the login is told so", 10, 0.2)
        wait_for(lambda: crowded(lambda: b"limit of open files" in web(few)[1]), "the browser is told so", 10, 0.2)
        # those who are in have their servers, also new ones; so has the migration
        assert inside.one("SELECT 1") == "1" and idle.one("SELECT 1") == "1"
        browser.sock.sendall(b"Host: shop.example\r\n\r\n")
        assert browser.sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        with few.migration() as owner:
            assert owner.execute("SELECT 1").fetchone() == (1,)
        # and the operator what he needs
        assert "OUT OF FILE DESCRIPTORS" in few.cli("status").stdout
        figures = scrape(few)
        turned = [line for line in figures.splitlines() if "turned_away_total" in line and ("open_files" in line or "http" in line)]
        assert any(float(line.split()[-1]) > 0 for line in turned), turned
        few.cli("maintenance", "on", "shop")
        assert few.site()["mode"] == "sealed"
        few.cli("maintenance", "off", "shop")
        assert "OUT OF FILE DESCRIPTORS" in few.cli("status").stdout
        for peer in crowd:
            peer.close()
        wait_for(lambda: few.wire().one("SELECT 1") == "1", "there is room again", 10)
        assert web(few) == (200, b"ok")
    finally:
        for peer in [*crowd, browser]:
            peer.close()


def test_the_console_opens_where_there_is_no_room(few):
    for peer in (crowd := [few.wire() for _ in range(30)]):
        assert peer.one("SELECT 1") == "1"
    more = []
    with pytest.raises(Exception, match="too many clients"):
        while len(more) < 100:
            more.append(few.wire())
    with few.wire(dbname="lull", user="other", password="other-secret") as console:
        assert console.query("SHOW LISTS")
    for peer in crowd:
        assert peer.one("SELECT 1") == "1"


@pytest.mark.parametrize("few", [1024], indirect=True)
def test_a_limit_that_is_changed_meanwhile_holds(few):
    resource.prlimit(few.process.pid, resource.RLIMIT_NOFILE, (100, 1024))
    crowd = many("postgres", few, 200)
    wait_for(lambda: "cannot accept connections: Too many open files" in few.log(), "that it was lowered is noticed", 5)
    resource.prlimit(few.process.pid, resource.RLIMIT_NOFILE, (110, 1024))
    wait_for(lambda: "too many clients" in refusal(few) or "SSL exchange" in refusal(few), "the new one holds", 10)
    resource.prlimit(few.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
    with few.connect() as client:
        assert client.execute("SELECT 1").fetchone() == (1,)
    for peer in crowd:
        peer.close()


def test_a_crowd_at_the_metrics_does_not_lock_the_operator_out(few):
    crowd = many("postgres", few) + many("metrics", few)
    few.cli("maintenance", "on", "shop")
    few.cli("maintenance", "off", "shop")
    assert "Too many open files" not in few.log()
    for peer in crowd:
        peer.close()
    wait_for(lambda: "lull_info" in scrape(few), "there is room again", 10)


def test_a_limit_that_is_too_low_is_said_at_the_start(few):
    assert "the limit of open files is 128: 72 of them are for clients, fewer than limits.max_clients (5000) and " \
           "limits.max_http_clients (5000) let in" in few.log()
