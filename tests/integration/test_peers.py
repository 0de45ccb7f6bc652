"""Several processes of Lull on one host and one port: the system gives each connection to any of them."""
import shutil
import tempfile
import threading
import time

import pytest

from harness.cluster import APP_PASSWORD
from harness.ports import free_port
from harness.wait import wait_for
from harness.wire import Wire, errors


@pytest.fixture
def shared_port(make_lull):
    """Of two processes."""
    port = free_port()
    folders = {number: tempfile.mkdtemp(prefix="lull-peer-") for number in (1, 2)}  # short: paths of sockets must be
    for number in (1, 2):
        other = 3 - number
        one = make_lull({"listen": {
            "postgres": f"127.0.0.1:{port}", "unix_socket_directory": folders[number], "reuse_port": True, "peer_id": number,
            "peers": [{"id": other, "address": f"{folders[other]}:{port}"}]}}, replicas=False, start=False)
        one.port = port
        one.start()
    yield port
    for folder in folders.values():
        shutil.rmtree(folder)


def slept(client):
    began = time.monotonic()
    answer = client.query("SELECT pg_sleep(20)")
    return [error["C"] for error in errors(answer)], time.monotonic() - began


def test_a_cancel_request_finds_its_process(shared_port, cluster):
    with Wire("127.0.0.1", shared_port).login("app", APP_PASSWORD, "shop") as client:
        for _ in range(8):  # whichever of the two each request reaches
            ended = []
            asks = threading.Thread(target=lambda: ended.append(slept(client)))
            asks.start()
            wait_for(lambda: cluster.primary.backends("query LIKE '%pg_sleep(20)%' AND state = 'active'"), "it sleeps")
            client.cancel()
            asks.join(15)
            assert ended and ended[0][0] == ["57014"] and ended[0][1] < 15


def test_a_wrong_secret_cancels_nothing(shared_port, cluster):
    with Wire("127.0.0.1", shared_port).login("app", APP_PASSWORD, "shop") as client:
        ended = []
        asks = threading.Thread(target=lambda: ended.append(client.query("SELECT pg_sleep(2)")))
        asks.start()
        wait_for(lambda: cluster.primary.backends("query LIKE '%pg_sleep(2)%' AND state = 'active'"), "it sleeps")
        client.secret = bytes([client.secret[0] ^ 1]) + client.secret[1:]
        for _ in range(8):
            client.cancel()
        asks.join(15)
        assert ended and not errors(ended[0])
