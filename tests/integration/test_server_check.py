"""Free server connections whose network has dropped them without a word: found before a client is given one."""
import http.client
import re
import time

import pytest

from harness import wire as w
from harness.gate import Gate
from harness.ports import free_port
from harness.wait import wait_for
from harness.wire import errors

PID = "SELECT pg_backend_pid()"
CLIENTS = b"user\0app\0"  # how the connections of the pool begin


@pytest.fixture
def gate(primary):
    one = Gate(primary.port)
    yield one
    one.close()


@pytest.fixture
def behind(make_lull, gate):
    """A Lull that reaches its only server through the gate."""
    def make(pool_size=1, **limits):
        return make_lull({"workers": 1, "listen": {"metrics": f"127.0.0.1:{free_port()}"}, "limits": limits,
                          "clusters": {"main": {"primary": f"127.0.0.1:{gate.port}", "pool_size": pool_size}}}, replicas=False)

    return make


def failed_checks(lull):
    host, port = lull.config["listen"]["metrics"].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(float(value) for value in re.findall(r"^lull_server_check_failures_total\{.*\} (\S+)$", text, re.M))


def test_without_a_check_a_client_is_given_what_was_dropped(behind, gate):
    """What the others are about: nobody would tell before the keepalives of TCP do."""
    lull = behind(server_check_query="off")
    with lull.wire() as client:
        client.one(PID)
        gate.fall_silent(CLIENTS)
        client.send(w.query(PID))
        assert client.quiet(3)
    assert failed_checks(lull) == 0


def test_a_check_does_not_take_a_client_s_unnamed_statement(behind):
    """PostgreSQL drops it at any Query, also at that of a check."""
    lull = behind(server_check_delay="0s")
    with lull.wire() as client:
        for _ in range(3):
            client.send(w.parse("", "SELECT 41 + 1") + w.sync()).until("Z")
            answer = client.send(w.bind() + w.execute() + w.sync()).until("Z")
            assert not errors(answer)
            assert w.rows(answer) == [("42",)]


def test_what_was_dropped_while_nobody_used_it_is_found_before_anybody_does(behind, gate):
    lull = behind(pool_size=4, server_check_delay="1s", server_check_timeout="1s")
    clients = [lull.wire() for _ in range(3)]
    try:
        for client in clients:
            client.query("BEGIN")
        before = {client.one(PID) for client in clients}
        for client in clients:
            client.query("COMMIT")
        time.sleep(3)
        assert {row.split()[0] for row in gate_backends(lull)} >= before, "healthy ones stay"
        assert failed_checks(lull) == 0
        gate.fall_silent(CLIENTS)
        wait_for(lambda: failed_checks(lull) == 3, "all of them are found", 10)
        assert "has failed its check: no answer within 1000 ms" in lull.log()
        began = time.monotonic()
        assert clients[0].one(PID) not in before
        assert time.monotonic() - began < 1, "nobody waits for what is gone"
    finally:
        for client in clients:
            client.close()


def gate_backends(lull):
    return [str(pid) for (pid,) in lull.cluster.primary.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'app'")]


def test_one_that_is_checked_when_it_is_lent_is_replaced(behind, gate):
    """The client waits for as long as the check may take, where the pool may have no other, and its statement runs once."""
    lull = behind(server_check_delay="0s", server_check_timeout="1s")
    with lull.wire() as client:
        before = client.one(PID)
        assert client.one(PID) == before
        gate.fall_silent(CLIENTS)
        began = time.monotonic()
        client.query("INSERT INTO log (who, what) VALUES ('a', 'once')")
        assert 0.9 < time.monotonic() - began < 4
        assert client.one(PID) != before
        assert client.one("SELECT count(*) FROM log WHERE what = 'once'") == "1"
    assert failed_checks(lull) == 1


def test_who_waits_for_a_slow_check_gets_another_connection_where_there_may_be_one(behind, gate):
    lull = behind(pool_size=2, server_check_delay="0s", server_check_timeout="30s")
    with lull.wire() as client:
        before = client.one(PID)
        gate.fall_silent(CLIENTS)
        began = time.monotonic()
        assert client.one(PID) != before
        assert time.monotonic() - began < 4


def test_checks_do_not_keep_a_site_from_being_sealed(behind, primary):
    """They run in sessions that count, and go on while it is sealed."""
    lull = behind(pool_size=4, server_check_delay="0s", server_check_query="SELECT 1")
    with lull.wire() as client:
        for _ in range(3):
            assert client.one(PID)
            lull.on()
            assert client.one("SELECT count(*) FROM items") == "100"
            assert errors(client.query("INSERT INTO log (who, what) VALUES ('a', 'b')"))[0]["C"] == "25006"
            lull.off()
        client.query("SET application_name = 'carried'")
        assert client.one("SHOW application_name") == "carried"
    assert failed_checks(lull) == 0


def test_a_session_whose_check_hangs_is_waited_for(behind, gate, primary):
    """As any other that the site closes on: nobody knows what its end still does on the server."""
    lull = behind(server_check_delay="1s", server_check_timeout="30s", connect_timeout="1s")
    with lull.wire() as client:
        pid = client.one(PID)
        gate.fall_silent(CLIENTS)
        time.sleep(2.5)  # it is being checked
        lull.begin()
        time.sleep(2.5)
        assert lull.site()["mode"] == "draining"
        primary.sql("SELECT pg_terminate_backend(%s)", (int(pid),))
        lull.wait_mode("sealed")
        lull.off()


def test_a_query_that_could_write_is_refused_where_it_stands(behind):
    lull = behind(server_check_delay="30s")
    for query in ("SELECT nextval('counter')", "SELECT now()", "DISCARD ALL"):
        lull.config["limits"]["server_check_query"] = query
        lull.write_config()
        done = lull.cli("check", "--config", lull.config_file, check=False)
        assert done.returncode != 0
        lines = open(lull.config_file).read().splitlines()
        at = next(n for n, line in enumerate(lines) if "server_check_query" in line)
        place = f"{lull.config_file}:{at + 1}:{lines[at].index(':') + 3}: error: limits.server_check_query"
        assert place in done.stdout + done.stderr
        lull.reload()
        wait_for(lambda: "server_check_query" in lull.log(), "the reload is refused")
    with lull.wire() as client:
        assert client.one("SELECT 1") == "1"
