"""Entering maintenance beside what Lull does not hold in its hands: broken connections, sessions that go past it, background work."""

import os
import signal
import time

import pytest

from harness.gate import Gate
from harness.wait import stays, wait_for
from harness.wire import errors, query


@pytest.fixture
def gate(primary):
    one = Gate(primary.port)
    yield one
    one.close()


def gated(make_lull, gate, **site):
    return make_lull({"clusters": {"main": {"primary": f"127.0.0.1:{gate.port}"}}, "sites": {"shop": site}}, replicas=False)


def break_a_write(lull, gate, primary, seconds):
    """A write that goes on for so long at the server after its connection to Lull broke; the server's side of the connection."""
    client = lull.wire()
    client.send(query(f"INSERT INTO log (who) SELECT 'late' FROM pg_sleep({seconds})"))
    pid, port = wait_for(lambda: primary.sql("SELECT pid, client_port FROM pg_stat_activity WHERE state = 'active' "
                                             "AND query LIKE 'INSERT INTO log%pg_sleep%'"), "the write runs")[0]
    side = gate.cut(port)
    return client, pid, side


def test_a_write_whose_connection_broke_is_waited_for(make_lull, gate, primary):
    lull = gated(make_lull, gate)
    client, pid, side = break_a_write(lull, gate, primary, 2)
    assert errors(client.until())[0]["C"] == "08006"
    lull.begin()
    site = wait_for(lambda: lull.site()["suspects"] and lull.site(), "status tells who is waited for")
    assert str(pid) in str(site["suspects"]) and site["mode"] == "draining"
    assert str(pid) in lull.cli("status", "shop").stdout
    stays(lambda: lull.site()["mode"] == "draining", 0.5, "sealed while the server still works on a write")
    side.close()  # the server sees that nobody is there when it answers
    sealed = lull.wait_mode("sealed")
    assert primary.sql("SELECT count(*) FROM log WHERE who = 'late'", db="shop") == [(1,)]
    assert primary.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)) == []
    assert str(pid) in str(sealed["waited_for"])
    count = primary.sql("SELECT count(*) FROM log", db="shop")
    stays(lambda: primary.sql("SELECT count(*) FROM log", db="shop") == count, 0.3, "it committed after sealed was said")


def test_a_broken_session_that_is_idle_is_ended_where_that_is_allowed(make_lull, gate, primary):
    lull = gated(make_lull, gate)
    _, pid, _side = break_a_write(lull, gate, primary, 0.5)
    lull.begin()
    wait_for(lambda: "pg_signal_backend" in str(lull.site()["suspects"]), "the grant that is missing is named")
    assert lull.site()["mode"] == "draining"
    primary.sql("GRANT pg_signal_backend TO lull")
    try:
        lull.wait_mode("sealed")
    finally:
        primary.sql("REVOKE pg_signal_backend FROM lull")
    assert primary.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)) == []


def test_abort_at_the_deadline_names_the_broken_session(make_lull, gate, primary):
    lull = gated(make_lull, gate)
    _, pid, _side = break_a_write(lull, gate, primary, 3)
    done = lull.cli("maintenance", "on", "shop", "--drain-timeout", "300ms", "--on-deadline", "abort", check=False)
    assert done.returncode == 1 and str(pid) in done.stdout + done.stderr, done.stderr
    assert lull.site()["mode"] == "read_write"


def test_terminate_at_the_deadline_ends_the_broken_session(make_lull, gate, primary):
    lull = gated(make_lull, gate)
    _, pid, _side = break_a_write(lull, gate, primary, 30)
    primary.sql("GRANT pg_signal_backend TO lull")
    try:
        lull.on(drain_timeout_ms=300, on_deadline="terminate")
    finally:
        primary.sql("REVOKE pg_signal_backend FROM lull")
    assert primary.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)) == []
    assert primary.sql("SELECT count(*) FROM log WHERE who = 'late'", db="shop") == [(0,)]


def test_a_write_that_a_killed_lull_left_running_is_waited_for_though_the_site_was_open(make_lull, primary):
    lull = make_lull(replicas=False)
    client = lull.wire()
    client.send(query("INSERT INTO log (who) SELECT 'late' FROM pg_sleep(2.5)"))
    wait_for(lambda: primary.sql("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT INTO log%pg_sleep%'"),
             "the write runs")
    lull.kill9()
    lull.start()
    assert lull.site()["mode"] == "read_write"
    lull.on()
    assert primary.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO log%pg_sleep%' AND state = 'active'") == [(0,)]
    count = primary.sql("SELECT count(*) FROM log", db="shop")
    stays(lambda: primary.sql("SELECT count(*) FROM log", db="shop") == count, 0.3, "it committed after sealed was said")


def test_sessions_past_lull_are_listed_live(lull, primary):
    """Who writes by name; who could write by number; those of Lull not at all."""
    with lull.wire(application_name="through lull") as client:
        client.query("UPDATE items SET n = 1 WHERE id = 1")
        lull.on()
        assert lull.site()["outsiders"] == []
        with primary.connect("shop", autocommit=False, application_name="late comer") as direct:
            direct.execute("SELECT 1")
            direct.commit()
            wait_for(lambda: "late comer" in str(lull.site()["bypassing"]), "a session that could write is listed")
            direct.execute("LOCK TABLE items IN ROW EXCLUSIVE MODE")
            wait_for(lambda: "late comer" in str(lull.site()["outsiders"]), "one that is about to write is listed")
            shown = lull.cli("status", "shop").stdout
            assert "past Lull" in shown and "late comer" in shown
            direct.rollback()
            wait_for(lambda: "late comer" not in str(lull.site()["outsiders"]), "the list is live")
        assert "through lull" not in str(lull.site()["outsiders"]) + str(lull.site()["bypassing"])
    with lull.migration(application_name="the migration") as migration:
        with migration.transaction():
            migration.execute("UPDATE items SET n = 2 WHERE id = 2")
            stays(lambda: "the migration" not in str(lull.site()["outsiders"]), 1.5, "the migration is taken for an outsider")


def test_a_write_that_a_killed_lull_left_unread_is_waited_for(make_lull, primary):
    """Its backend is idle, and has not read yet what the client sent."""
    lull = make_lull(replicas=False)
    client = lull.wire()
    client.query("UPDATE items SET n = 0 WHERE id = 1")
    pid = primary.one("SELECT pid FROM pg_stat_activity WHERE state = 'idle' AND datname = 'shop' AND query LIKE 'UPDATE items%'")
    os.kill(pid, signal.SIGSTOP)
    try:
        client.send(query("INSERT INTO log (who) VALUES ('unread')"))
        time.sleep(0.2)  # until it has passed through Lull, which nobody outside can see
        lull.kill9()
        lull.start()
        lull.begin()
        site = wait_for(lambda: lull.site()["suspects"] and lull.site(), "it is waited for")
        assert str(pid) in str(site["suspects"]) and site["mode"] == "draining"
    finally:
        os.kill(pid, signal.SIGCONT)
    lull.wait_mode("sealed")
    assert primary.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)) == []
    assert primary.sql("SELECT count(*) FROM log WHERE who = 'unread'", db="shop") == [(1,)]


def test_sessions_that_are_nobodys_left_over_delay_the_first_window_by_seconds_only(make_lull, primary):
    lull = make_lull(replicas=False)
    with primary.connect("shop", application_name="a neighbour"):
        lull.kill9()
        lull.start()
        lull.on()


def test_a_broken_session_in_a_transaction_is_ended_where_that_is_allowed(make_lull, gate, primary):
    lull = gated(make_lull, gate)
    client = lull.wire()
    client.query("BEGIN")
    client.query("INSERT INTO log (who) VALUES ('in a transaction')")
    pid, port = primary.sql("SELECT pid, client_port FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = 'shop'")[0]
    _side = gate.cut(port)
    primary.sql("GRANT pg_signal_backend TO lull")
    try:
        lull.on()
    finally:
        primary.sql("REVOKE pg_signal_backend FROM lull")
    assert primary.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)) == []


def test_nothing_is_proved_by_a_role_that_cannot_see_others(make_lull, primary):
    lull = make_lull(replicas=False)
    primary.sql("REVOKE pg_monitor FROM lull")
    try:
        lull.begin()
        wait_for(lambda: "GRANT pg_monitor" in str(lull.site()["waiting_for"]), "the grant that is missing is named")
        assert lull.site()["mode"] == "draining"
    finally:
        primary.sql("GRANT pg_monitor TO lull")
    lull.wait_mode("sealed")


def test_a_write_that_was_taken_for_a_read_is_waited_for(make_lull, primary):
    lull = make_lull({"sites": {"shop": {"guard": {"allow_functions": ["bump"]}}}}, replicas=False)
    with lull.wire() as client:
        client.query("BEGIN")
        assert not errors(client.query("SELECT bump()"))  # which writes, whatever the configuration says
        lull.begin()
        wait_for(lambda: "bump" in str(lull.site()["waiting_for"]), "the server tells")
        stays(lambda: lull.site()["mode"] == "draining", 0.5, "sealed although the server knows of a write")
        client.query("COMMIT")
        lull.wait_mode("sealed")
