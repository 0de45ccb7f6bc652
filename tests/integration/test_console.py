"""The console when several operators use it at the same time; test_observe.py has the rest."""
import contextlib
import threading
import time

import psycopg
import psycopg2
import pytest
from harness.wait import wait_for
from harness.wire import query
from test_observe import OPS, console, metric, observed, run, seen, watched  # noqa: F401 (fixtures)


def asking(connection, command):
    """Runs it in a thread: (thread, what it came to)."""
    came_to = []

    def ask():
        try:
            run(connection, command)
            came_to.append("done")
        except psycopg2.Error as e:
            came_to.append(e)
    thread = threading.Thread(target=ask)
    thread.start()
    return thread, came_to


def paused(connection, database="shop"):
    return next(row for row in run(connection, "SHOW DATABASES") if row["name"] == database)["paused"] == 1


def write_and_wait(db, n):
    db.execute("BEGIN")
    db.execute("UPDATE items SET n = %s WHERE id = %s", (n, n))


@contextlib.contextmanager
def two_pauses(seen, n, patience):
    """One that gives up soon, and another behind it: (who is in the way, who looks, what the first came to, the second as asking())."""
    with seen.connect() as db, console(seen) as a, console(seen) as b, console(seen) as c:
        write_and_wait(db, n)
        first, gave_up = asking(a, "PAUSE shop TIMEOUT '500ms'")
        wait_for(lambda: paused(c), "it is paused")
        second = asking(b, f"PAUSE shop TIMEOUT '{patience}'")
        first.join(5)
        yield db, c, gave_up, second


@pytest.mark.parametrize("name", ["", " shop"])
def test_a_resume_ends_a_pause_that_waits_and_says_so(seen, name):
    with seen.connect() as db, console(seen) as a, console(seen) as b:
        write_and_wait(db, 1)
        waiting, came_to = asking(a, f"PAUSE{name} TIMEOUT '1min'")
        wait_for(lambda: paused(b), "it is paused")
        run(b, f"RESUME{name}")
        waiting.join(5)
        assert not waiting.is_alive()
        assert came_to[0].pgcode == "55000" and "PAUSE was ended by a RESUME of ops" in str(came_to[0])
        assert not paused(b)
        db.execute("COMMIT")


def test_a_pause_that_gives_up_undoes_no_other(seen):
    with two_pauses(seen, 2, "1min") as (db, c, gave_up, (long, done)):
        assert gave_up[0].pgcode == "55P03"
        time.sleep(0.3)
        assert paused(c) and long.is_alive()
        db.execute("COMMIT")
        long.join(5)
        assert done == ["done"] and paused(c)
        run(c, "RESUME shop")


def test_the_last_pause_that_gives_up_undoes_it(seen):
    with two_pauses(seen, 3, "1s") as (db, c, _, (second, came_to)):
        second.join(5)
        assert came_to[0].pgcode == "55P03" and "1 server connection is still open" in str(came_to[0])
        assert not paused(c)
        db.execute("COMMIT")


def test_a_pause_of_all_that_gives_up_leaves_what_is_paused_by_name(seen):
    with seen.connect() as db, seen.connect("held") as other, console(seen) as a:
        other.execute("SELECT 1")
        run(a, "PAUSE held")
        write_and_wait(db, 4)
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            run(a, "PAUSE TIMEOUT '300ms'")
        assert paused(a, "held") and not paused(a)
        db.execute("COMMIT")


def test_what_clients_wrote_in_another_encoding_can_be_read(seen):
    with seen.wire(client_encoding="LATIN1", application_name="caf\u00e9") as client, console(seen) as c:
        client.send(query("SELECT 'M\u00e4rz'".encode("latin1")))
        client.until("Z")
        rows = [row for row in run(c, "SHOW CLIENTS") if row["application_name"].startswith("caf")]
        assert [row["statement"] for row in rows] == ["SELECT 'M\ufffdrz'"], rows
        with pytest.raises(psycopg2.errors.CharacterNotInRepertoire):
            run(c, b"KILL M\xe4rz")


def test_constants_are_for_admins(seen):
    with seen.connect(application_name="shy") as db, console(seen) as ops, console(seen, "exporter") as exporter:
        db.execute("BEGIN")
        db.execute("SELECT 'a secret'")
        for topic in ("SHOW CLIENTS", "SHOW LOCKS"):
            for connection, statement in ((ops, "SELECT 'a secret'"), (exporter, "SELECT ?")):
                mine = [row["statement"] for row in run(connection, topic) if row["application_name"] == "shy"]
                assert mine == [statement], (topic, mine)
        db.execute("SELECT 'another secret' || %s::text", ("x",), prepare=True)
        prepared = [row["statement"] for row in run(exporter, "SHOW PREPARED")]
        assert any(s.startswith("SELECT ? ||") for s in prepared) and not any("secret" in s for s in prepared), prepared


def test_it_opens_where_all_clients_are_there_already(make_lull):
    lull = make_lull(observed(limits={"max_clients": 3}))
    clients = [lull.wire() for _ in range(3)]
    try:
        with pytest.raises(RuntimeError, match="too many clients already"):
            lull.wire()
        with console(lull) as a, console(lull, "exporter"):
            for database, message in (("shop", "too many clients already"), ("lull", "may not use the console")):
                with pytest.raises(RuntimeError, match=message):
                    lull.wire(database)
            lists = {row["list"]: row["items"] for row in run(a, "SHOW LISTS")}
            assert (lists["free_clients"], lists["used_clients"], lists["login_clients"]) == (0, 3, 0)
            assert metric(lull, "lull_clients_logging_in") == 0
            clients.pop().close()  # the consoles take nobody's place
            wait_for(lambda: {row["list"]: row["items"] for row in run(a, "SHOW LISTS")}["used_clients"] == 2, "it is gone")
            clients.append(lull.wire())
        assert metric(lull, "lull_client_connections_turned_away_total", limit="clients") == 2
        with pytest.raises(RuntimeError, match="too many clients already"):
            lull.wire()
    finally:
        for client in clients:
            client.close()


HABITS = ["SET client_encoding TO 'UTF8'", "SET datestyle = 'ISO'", "SET extra_float_digits = 3", "SET application_name = 'x'",
          "SET standard_conforming_strings = on", "SET NAMES 'utf8'"]


def test_drivers_with_their_habits(seen):
    with console(seen) as c:
        for command in HABITS:
            run(c, command)
            assert "SET ignored" in c.notices[-1]
        c.set_client_encoding("UTF8")
        assert run(c, "SHOW VERSION")
        for command, hint in (("SELECT version()", "not SQL"), ("SET log_connections = 1", "RELOAD"), ("DISCARD ALL", "not SQL")):
            with pytest.raises(psycopg2.Error) as raised:
                run(c, command)
            assert hint in raised.value.diag.message_hint
    for connect in (psycopg2.connect, psycopg.connect):
        db = connect(host="127.0.0.1", port=seen.port, dbname="lull", user="ops", password=OPS)
        try:
            with pytest.raises((psycopg2.Error, psycopg.Error)) as raised:
                db.cursor().execute("SHOW VERSION")  # a BEGIN goes before
            assert "autocommit" in raised.value.diag.message_hint
        finally:
            db.close()


def test_connections_have_their_own_addresses_and_times(seen):
    with seen.connect(application_name="timed") as db, console(seen) as c:
        pid = db.execute("SELECT pg_backend_pid()").fetchone()[0]
        time.sleep(1.5)
        db.execute("SELECT 1")
        client = next(row for row in run(c, "SHOW CLIENTS") if row["application_name"] == "timed")
        assert (client["local_addr"], client["local_port"]) == ("127.0.0.1", seen.port)
        servers = [row for row in run(c, "SHOW SERVERS") if row["use"] == "normal"]
        assert all(row["local_addr"] == "127.0.0.1" and row["local_port"] > 1023 for row in servers), servers
        assert max(row["request_time"] for row in servers) >= client["request_time"] > client["connect_time"]
        assert next(row for row in servers if row["remote_pid"] == pid)["local_port"] != seen.port
        config = {row["key"]: row["value"] for row in run(c, "SHOW CONFIG")}
        assert config["max_client_conn"] == config["limits.max_clients"] == "5000"
