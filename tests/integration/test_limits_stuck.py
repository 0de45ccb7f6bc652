"""Clients that keep a server connection and do nothing with it: half a message, a segment or a COPY without its end, answers that
nobody reads. Within the limit of time others get the connection; who is only slow is left alone."""
import re
import socket
import time
import urllib.request

import pytest

from harness import wire as w
from harness.lull import Lull
from harness.ports import free_port
from harness.wait import wait_for

IDLE = {"clusters": {"main": {"pool_size": 1}}, "limits": {"idle_in_transaction_timeout": "1500ms"},
        "listen": {"metrics": f"127.0.0.1:{free_port()}"}}
TOO_LONG = "terminating connection due to idle-in-transaction timeout"


@pytest.fixture(scope="module")
def lull(cluster):
    one = Lull(cluster, IDLE, replicas=False)
    try:
        yield one.start()
    finally:
        one.remove()


def ended(client):
    failed = w.errors(client.until_closed())[-1]
    assert (failed["S"], failed["C"], failed["M"]) == ("FATAL", "25P03", TOO_LONG)
    assert "limits.idle_in_transaction_timeout" in failed["H"]
    return failed["D"]


def the_server_is_free(lull):
    with lull.wire() as other:
        other.socket.settimeout(5)
        assert other.one("SELECT 1") == "1"


def begun_copy(lull):
    client = lull.wire()
    client.send(w.query("COPY items (id, name) FROM STDIN"))
    client.until("G")
    return client


def times_counted(lull):
    text = urllib.request.urlopen(f"http://{lull.config['listen']['metrics']}/metrics", timeout=5).read().decode()
    found = re.search(r'lull_timeouts_total{database="shop",limit="idle_in_transaction"} (\d+)', text)
    return int(found.group(1)) if found else 0


def test_half_of_a_message(lull, tables):
    before = times_counted(lull)
    with lull.wire() as client:
        message = w.bind("", "", ["x" * 300_000])
        client.send(w.parse("", "SELECT length($1)"), message[:200_000])
        assert "rest of a message" in ended(client)
        the_server_is_free(lull)
    assert times_counted(lull) == before + 1


def test_a_segment_without_its_sync(lull, tables):
    with lull.wire() as client:
        client.send(w.parse("", "UPDATE items SET n = 99"), w.bind(), w.execute(), w.flush())
        client.until("C")
        assert "no Sync" in ended(client)
        the_server_is_free(lull)
    with lull.wire() as client:  # what runs is waited for, asked for or not
        client.query("BEGIN")
        client.query("SELECT n FROM items FOR UPDATE")
        client.send(w.parse("", "SELECT pg_sleep(4)"), w.bind(), w.execute())
        began = time.monotonic()
        assert "no Sync" in ended(client)
        assert time.monotonic() - began > 5
        the_server_is_free(lull)
    with lull.wire() as client:
        assert client.one("SELECT max(n) FROM items") == "0", "it was not committed"


def test_a_copy_without_its_end(lull, tables):
    with begun_copy(lull) as client:
        client.send(w.copy_data(b"1000\t1\n"))
        answer = client.until("Z")
        failed = w.errors(answer)[0]
        assert (failed["S"], failed["C"]) == ("ERROR", "25P03") and "limits.idle_in_transaction_timeout" in failed["H"]
        the_server_is_free(lull)
        client.send(w.copy_data(b"1001\t1\n"), w.copy_done())
        assert client.one("SELECT count(*) FROM items WHERE id >= 1000") == "0"


def test_answers_that_nobody_reads(lull, primary, tables):
    client = lull.wire()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    client.send(w.query("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)"))
    wait_for(lambda: not primary.backends("query LIKE '%%repeat%%' AND state = 'active'"), "it is canceled", 10)
    the_server_is_free(lull)
    client.close()


def test_who_is_slow_is_left_alone(lull, tables):
    with lull.wire() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.send(w.query("SELECT repeat('x', 1000) FROM generate_series(1, 40000)"))
        taken = 0
        until = time.monotonic() + 6
        while time.monotonic() < until:
            taken += len(client.socket.recv(400_000))
            time.sleep(0.5)
        while True:
            more = client.socket.recv(1 << 20)
            taken += len(more)
            if more.endswith(b"Z\0\0\0\5I"):
                break
        assert taken > 40_000_000
        message = w.bind("", "", ["x" * 300_000])
        client.send(w.parse("", "SELECT length($1)"), message[:-6])
        for at in range(len(message) - 6, len(message)):
            time.sleep(0.8)
            client.send(message[at:at + 1])
        client.send(w.execute(), w.sync())
        assert w.rows(client.until("Z")) == [("300000",)]
    with begun_copy(lull) as client:
        for i in range(6):
            time.sleep(0.8)
            client.send(w.copy_data(b"%d\t1\n" % (2000 + i)))
        client.send(w.copy_done())
        assert w.tags(client.until("Z")) == ["COPY 6"]
