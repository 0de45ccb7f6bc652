"""Bad input from every side. Each time: a clear error for the one concerned, and another client that notices nothing."""
import contextlib
import random
import socket
import struct
import threading
import time

import pytest

from harness.cluster import APP_PASSWORD
from harness.ports import free_port
from harness.wait import wait_for
from harness.wire import Closed, bind, cstr, errors, execute, message, parse, query, rows, shape, startup, statuses, sync, tags


@pytest.fixture
def bystander(lull):
    """A client in the middle of a transaction; whatever happens to others, it can end it."""
    with lull.wire() as client:
        client.query("BEGIN")
        client.query("INSERT INTO log (who) VALUES ('bystander')")
        yield client
        assert statuses(client.query("SELECT 1")) == "T"
        assert tags(client.query("COMMIT")) == ["COMMIT"]


class Fake:
    """A server that answers every connection with fixed bytes, or with a function of the socket."""

    def __init__(self, answer):
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.listener.getsockname()[1]
        self.answer = answer
        self.open = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                self.open.append(peer)
                threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        with contextlib.suppress(OSError):
            if callable(self.answer):
                self.answer(peer)
            else:
                peer.recv(4096)
                peer.sendall(self.answer)
                peer.recv(4096)
            peer.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for peer in self.open:
            peer.close()


def with_primary(make_lull, port, **more):
    """A Lull whose second site lives on a server that is not one."""
    return make_lull({"clusters": {"bad": {"primary": f"127.0.0.1:{port}"}},
                      "sites": {"held": {"cluster": "bad"}},
                      "limits": {"connect_timeout": "500ms", "query_wait_timeout": "2s"}, **more}, start=False)


def start(lull):
    lull.start(wait=False)
    wait_for(lambda: lull.admin("GET", "/status")[0] == 200, "it serves")
    return lull


def failure(lull, dbname="held"):
    """What a client is told that needs the bad server, at the login or with its first statement."""
    wire = lull.raw()
    try:
        wire.login("app", APP_PASSWORD, dbname)
        answer = wire.query("UPDATE items SET n = 1 WHERE id = 1")
        assert errors(answer), answer
        return errors(answer)[0]
    except RuntimeError as error:
        return error.args[0]
    finally:
        wire.close()


def good_site_is_fine(lull):
    with lull.wire() as client:
        assert tags(client.query("UPDATE items SET n = 1 WHERE id = 1")) == ["UPDATE 1"]


# -- servers -------------------------------------------------------------------------------------------------------------------------

def test_unreachable_server(make_lull):
    lull = start(with_primary(make_lull, free_port()))
    good_site_is_fine(lull)
    for _ in range(3):
        fields = failure(lull)
        assert fields["C"] in ("08001", "08006", "57P03", "53300"), fields
    good_site_is_fine(lull)
    assert lull.admin("PUT", "/sites/shop/maintenance", {"wait_ms": 15000, "freeze": False})[0] == 200
    lull.off()


def test_server_that_never_answers(make_lull):
    fake = Fake(lambda peer: time.sleep(30))
    try:
        lull = start(with_primary(make_lull, fake.port))
        started = time.monotonic()
        fields = failure(lull)
        assert fields["C"] in ("08001", "08006", "57P03", "53300"), fields
        assert time.monotonic() - started < 8
        good_site_is_fine(lull)
    finally:
        fake.close()


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"",
    b"R\0\0\0\x08\0\0\0\x05",                                  # an authentication that is not supported: asks for MD5, then ends
    b"R\0\0\0\x08\0\0\0\x63",                                  # one that nobody knows
    b"R\xff\xff\xff\xff\0\0\0\0",                              # a length of minus one
    b"R\x7f\xff\xff\xff\0\0\0\0",
    b"E\0\0\0\x05\0",                                          # an error without any field
    b"E" + struct.pack("!i", 40) + b"SFATAL\0C57P03\0Mgo away please now\0\0\0\0",
    b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05X",                  # a transaction state that does not exist
    b"R\0\0\0\x08\0\0\0\0" + b"S\0\0\0\x06ab" + b"Z\0\0\0\x05I",
    b"R\0\0\0\x08\0\0\0\0" + b"D\0\0\0\x06\0\0" * 50,          # rows that nobody asked for
    b"\0" * 5000,
    b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0" + b"R\0\0\0\x0c\0\0\0\x0babcd",
    b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0R" + struct.pack("!ii", 4 + 4 + 40, 11) + b"r=wrong nonce,s=QUFBQUFBQUFBQUE=,i=4096     ",
], ids=["http", "ssh", "nothing", "md5", "unknown auth", "length -1", "length 2 GB", "empty error", "57P03", "state X",
        "bad parameter", "rows", "zeros", "scram garbage", "scram nonce"])
def test_server_that_is_something_else(make_lull, answer):
    fake = Fake(answer)
    try:
        lull = start(with_primary(make_lull, fake.port))
        fields = failure(lull)
        assert fields["S"] in ("FATAL", "ERROR") and len(fields["C"]) == 5 and fields["M"], fields
        assert fields["C"] not in ("00000", "25006")
        good_site_is_fine(lull)
    finally:
        fake.close()


def test_wrong_server_password(make_lull):
    lull = make_lull({"users": {"app": {"password": APP_PASSWORD, "server_password": "wrong"}}}, start=False)
    start(lull)
    fields = failure(lull, "shop")
    assert fields["C"] in ("28P01", "08004", "08006", "08001"), fields
    assert "wrong" not in str(fields), "the password must not be shown"
    with lull.wire(user="other") as client:
        assert client.one("SELECT 1") == "1"
    assert "password authentication failed" in lull.log() or "28P01" in lull.log(), "the operator is told"


def test_wrong_control_password(make_lull):
    lull = start(make_lull({"clusters": {"main": {"control": {"password": "wrong"}}}}, start=False))
    good_site_is_fine(lull)
    wait_for(lambda: "password authentication failed" in lull.log(), "the operator is told")
    status, answer = lull.admin("PUT", "/sites/shop/maintenance", {"wait_ms": 10000, "drain_timeout_ms": 1000})
    assert status != 200, "nothing can be proved without the control role"
    wait_for(lambda: lull.admin("DELETE", "/sites/shop/maintenance?wait_ms=5000")[0] == 200, "open again")
    good_site_is_fine(lull)


def test_server_connection_limit(make_lull, primary):
    """The server itself has no room: its clients wait or are told, and nothing is lost."""
    primary.sql("ALTER ROLE other CONNECTION LIMIT 1")
    primary.sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO other", db="shop")
    try:
        lull = make_lull({"workers": 1, "limits": {"query_wait_timeout": "5s"}})
        a, b = lull.wire(user="other"), lull.wire(user="other")
        a.query("BEGIN")
        a.query("UPDATE items SET n = 1 WHERE id = 1")
        b.send(query("UPDATE items SET n = 2 WHERE id = 2"))
        if b.readable(0.3):
            assert errors(b.until("Z"))[0]["C"] in ("53300", "08006", "08004")
        a.query("COMMIT")
        wait_for(lambda: not errors(a.query("UPDATE items SET n = 3 WHERE id = 3")), "there is room again")
        good_site_is_fine(lull)
    finally:
        primary.sql("ALTER ROLE other CONNECTION LIMIT -1")


# -- clients -------------------------------------------------------------------------------------------------------------------------

BAD_FRAMES = {
    "unknown type": message("?"),
    "a server's type": message("T", b"\0\0"),
    "length 3": b"Q\0\0\0\x03",
    "length 0": b"Q\0\0\0\0",
    "length -1": b"Q\xff\xff\xff\xff",
    "length 2 GB": b"Q\x7f\xff\xff\xff",
    "query without end": message("Q", b"SELECT 1"),
    "query with two ends": message("Q", b"SELECT 1\0SELECT 2\0"),
    "empty query message": message("Q"),
    "parse without anything": message("P"),
    "parse cut off": message("P", b"name\0SELECT 1"),
    "parse with too many types": message("P", cstr("") + cstr("SELECT 1") + struct.pack("!h", 9)),
    "parse with minus one type": message("P", cstr("") + cstr("SELECT 1") + struct.pack("!h", -1)),
    "bind cut off": message("B", b"\0\0\0"),
    "bind with a value too long": message("B", b"\0\0" + struct.pack("!hhi", 0, 1, 1000) + b"x"),
    "bind with minus many values": message("B", b"\0\0" + struct.pack("!hh", 0, -5)),
    "bind with an endless name": message("B", b"n" * 3_000_000),
    "describe of what": message("D", b"Zname\0"),
    "describe without name": message("D", b"S"),
    "close of what": message("C", b"Q\0"),
    "execute cut off": message("E", b"\0\0"),
    "sync with a body": message("S", b"more"),
    "flush with a body": message("H", b"more"),
    "terminate with a body": message("X", b"more"),
    "function call cut off": message("F", b"\0\0"),
    "a password when nobody asked": message("p", b"secret\0"),
    "zeros": b"\0" * 100,
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "noise": random.Random(1).randbytes(5000),
}


@pytest.mark.parametrize("name", list(BAD_FRAMES), ids=lambda n: n.replace(" ", "-"))
@pytest.mark.parametrize("where", ["idle", "in a block", "in a segment"])
def test_malformed_frames(lull, bystander, primary, name, where):
    """An error, or the end of this connection; never a hang, never anything for others, never a write."""
    client = lull.wire()
    if where == "in a block":
        client.query("BEGIN")
        client.query("UPDATE items SET n = 66 WHERE id = 66")
    elif where == "in a segment":
        client.send(parse("", "UPDATE items SET n = 66 WHERE id = 66"), bind(), execute())
    client.socket.settimeout(10)
    try:
        client.send(BAD_FRAMES[name])
        client.send(sync(), query("SELECT 42"), message("X"))
    except (BrokenPipeError, ConnectionResetError):
        pass
    seen = client.until_closed()
    assert "E" in shape(seen) or rows(seen) in ([], [("42",)]), seen
    client.close()
    wait_for(lambda: not primary.backends("datname = 'shop' AND usename = 'app' AND state LIKE 'idle in transaction%%' "
                                          "AND query NOT LIKE '%%bystander%%'"), "its transaction has ended")
    if where != "in a segment":
        assert primary.one("SELECT n FROM items WHERE id = 66", db="shop") == 0


def test_oversized_statement(make_lull):
    lull = make_lull({"limits": {"max_statement_bytes": 65536}})
    with lull.wire() as client:
        client.send(parse("big", "SELECT '" + "x" * 200_000 + "'"), bind("", "big"), execute(), sync())
        seen = client.until("EZ")
        assert errors(seen) and errors(seen)[0]["C"] in ("54000", "53200", "08P01", "54001"), shape(seen)
        if errors(seen)[0]["S"] == "ERROR":
            client.until("Z")
            assert client.one("SELECT 1") == "1"
    with lull.wire() as client:
        assert client.one("SELECT 1") == "1"


def test_a_message_that_never_ends(lull, bystander):
    """Announces a gigabyte and sends some of it, slowly; memory and others do not suffer."""
    clients = [lull.raw().login("app", APP_PASSWORD, "shop") for _ in range(5)]
    for client in clients:
        client.send(b"Q" + struct.pack("!i", 900_000_000) + b"SELECT '" + b"x" * 500_000)
    with lull.wire() as other:
        assert other.one("SELECT 1") == "1"
    with open(f"/proc/{lull.process.pid}/status") as status:
        resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024
    assert resident < 300, f"{resident} MB"
    for client in clients:
        client.close()


def test_deep_nesting_and_hostile_texts(lull, bystander, primary):
    texts = ["SELECT " + "(" * 8000 + "1" + ")" * 8000,
             "SELECT " + "-" * 1 + "- " * 3 + "\n" + "+".join(["1"] * 3000),
             "SELECT " + "/*" * 5000 + "1" + "*/" * 5000,
             "SELECT $" + "a" * 5000 + "$ 1 $" + "a" * 5000 + "$",
             "SELECT " + "NOT " * 5000 + "true",
             "SELECT ARRAY" + "[" * 3000 + "1" + "]" * 3000,
             "SELECT '" + "\x01" * 1000 + "'",
             "SELECT 1" + ";" * 20000,
             "SELECT U&'\\0000'", "\x0b\x0cSELECT 1", "SELECT 1 \ufeff", "SELECT" + "\t" * 15000 + "1"]
    before = primary.next_xid()
    with lull.wire() as client:
        for text in texts:
            for answer in (client.query(text), client.extended(text)):
                assert statuses(answer) == "I"
        assert client.one("SELECT 1") == "1"
    assert primary.next_xid() - before < 5


def test_too_long_a_pipeline(make_lull):
    lull = make_lull({"limits": {"max_pipeline": 64}})
    with lull.wire() as client, lull.wire() as other:
        threading.Thread(target=lambda: _send_quietly(client, b"".join(
            part for i in range(2000) for part in (parse("", "SELECT $1::int"), bind("", "", [i]), execute(), sync())))).start()
        seen = []
        try:
            while sum(m.type == "Z" for m in seen) < 2000:
                seen.append(client.receive())
        except (Closed, ConnectionResetError):
            pass
        # Slowed down and answered in full, or told that it is too much. Never answered wrongly.
        got = [int(value) for value, in rows(seen)]
        assert got == list(range(len(got)))
        assert len(got) == 2000 or errors(seen)
        assert other.one("SELECT 1") == "1"


def _send_quietly(client, data):
    with contextlib.suppress(OSError):
        client.send(data)


def test_half_open_clients(lull, bystander):
    """They send half of something and wait; or shut one direction; or vanish with a reset."""
    halves = []
    for data in (b"Q", b"Q\0\0", b"Q\0\0\0\x20SELECT", b"P\0\0\0\x20", parse("", "SELECT 1") + bind()):
        client = lull.wire()
        client.send(data)
        halves.append(client)
    for client in halves:
        assert client.quiet(0.02)
    writes_closed = lull.wire()
    writes_closed.send(query("SELECT 5"))
    writes_closed.socket.shutdown(socket.SHUT_WR)
    assert rows(writes_closed.until_closed()) in ([("5",)], [])
    for client in halves[:3]:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # a reset
    with lull.wire() as other:
        assert other.one("SELECT 1") == "1"
    for client in halves[3:]:
        client.close()


def test_clients_that_vanish_in_every_state(lull, bystander, primary):
    scripts = [query("SELECT 1"), query("SELECT pg_sleep(0.05)"), query("BEGIN") + query("UPDATE items SET n = 9 WHERE id = 9"),
               query("SELECT repeat('x', 100000) FROM generate_series(1, 500)"), query("COPY log (who) FROM STDIN"),
               parse("", "UPDATE items SET n = 9 WHERE id = 9") + bind() + execute(), query("COPY items TO STDOUT"),
               query("LISTEN news"), query("CREATE TEMP TABLE t (a int)"), query("SELECT pg_advisory_lock(99)")]
    for reset in (False, True):
        for script in scripts:
            client = lull.wire()
            client.send(script)
            if reset:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
    wait_for(lambda: not primary.backends("datname = 'shop' AND usename = 'app' AND (state = 'active' OR state LIKE 'idle in%%') "
                                          "AND query NOT LIKE '%%bystander%%'"), "nothing of them runs on")
    wait_for(lambda: primary.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0, "its server has ended")
    with lull.wire() as other:
        assert other.one("SELECT sum(n) FROM items WHERE id = 9") == "0"


def test_garbage_at_every_listener(lull, bystander):
    noise = random.Random(7)
    for port in (lull.port, lull.migration_port):
        for size in (1, 3, 4, 7, 8, 9, 100, 3000, 70_000):
            with contextlib.suppress(ConnectionError, BrokenPipeError), socket.create_connection(("127.0.0.1", port), 5) as peer:
                peer.sendall(noise.randbytes(size))
                with contextlib.suppress(OSError):
                    peer.shutdown(socket.SHUT_WR)
                while peer.recv(4096):  # a time-out here fails the test: garbage is to be answered or closed
                    pass
    with lull.wire() as other:
        assert other.one("SELECT 1") == "1"


def test_garbage_at_the_admin_socket(lull):
    noise = random.Random(3)
    requests = [b"\0" * 100, b"GET\r\n\r\n", b"GET /status HTTP/9.9\r\n\r\n", noise.randbytes(5000), b"PUT /sites/shop/maintenance "
                b"HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", b"PUT /sites/shop/maintenance HTTP/1.1\r\nHost: x\r\n"
                b"Content-Length: 4\r\n\r\n{{{{", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", b"GET /sites/%2e%2e/%00 HTTP/1.1\r\n"
                b"Host: x\r\n\r\n", b"PUT /sites/shop/maintenance HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n" + b"[" * 40000]
    for data in requests:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(lull.socket)
            with contextlib.suppress(OSError):
                peer.sendall(data)
                peer.shutdown(socket.SHUT_WR)
                answer = peer.recv(65536)
                assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:100]
    assert lull.site()["mode"] == "read_write"


def test_out_of_descriptors(make_lull):
    """More connections than the process may have: some wait or are turned away, those that are in go on."""
    import resource
    lull = make_lull()
    with lull.wire() as inside:
        used = len(__import__("os").listdir(f"/proc/{lull.process.pid}/fd"))
        hard = resource.prlimit(lull.process.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(lull.process.pid, resource.RLIMIT_NOFILE, (used + 5, hard))
        crowd = []
        for _ in range(30):
            with contextlib.suppress(OSError):
                crowd.append(socket.create_connection(("127.0.0.1", lull.port), 5))
                crowd[-1].sendall(b"\0")  # who says nothing is not let in yet
        for _ in range(5):
            assert inside.one("SELECT 1") == "1"
        assert lull.alive
        wait_for(lambda: "cannot accept connections" in lull.log(), "the limit is met")
        for peer in crowd:
            peer.close()
        resource.prlimit(lull.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
        wait_for(lambda: lull.wire().one("SELECT 1") == "1", "there is room again")


def test_startup_flood(lull, bystander):
    """Many who never log in do not keep others out."""
    crowd = [lull.raw() for _ in range(200)]
    for number, client in enumerate(crowd):
        client.send(startup({"user": "app", "database": "shop"}) if number % 2 else b"\0")
    with lull.wire() as other:
        assert other.one("SELECT 1") == "1"
    for client in crowd:
        client.close()
