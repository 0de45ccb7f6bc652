"""What keeps a client on its server in transaction pooling, until it is gone."""
import contextlib

import psycopg2
import pytest

from harness.lull import ONE
from harness.wait import wait_for
from harness.wire import errors, query, rows, tags


def test_temporary_tables_pin(make_lull):
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 2}}})
    with lull.wire() as a, lull.wire() as b:
        a.query("CREATE TEMP TABLE mine (x int)")
        for _ in range(3):
            a.query("INSERT INTO mine VALUES (1)")
            b.query("UPDATE items SET n = 1 WHERE id = 1")
            assert errors(b.query("SELECT * FROM mine"))[0]["C"] == "42P01"
        assert a.one("SELECT count(*) FROM mine") == "3"
        a.close()
        with lull.wire() as c:
            for _ in range(4):
                assert errors(c.query("SELECT * FROM mine FOR SHARE"))[0]["C"] == "42P01", "it went with its client"


@pytest.mark.parametrize("sql, use", [
    ("CREATE TEMP TABLE kept AS SELECT 1 AS x WHERE 1 IN ({long})", "SELECT x FROM kept"),
    ("SELECT pg_try_advisory_lock(4711) WHERE 1 IN ({long})", "SELECT pg_advisory_unlock(4711)"),
])
def test_a_text_that_is_too_long_to_be_read_keeps_what_it_makes(make_lull, sql, use):
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 2}}})
    with lull.wire() as a, lull.wire() as b:
        assert not errors(a.query(sql.format(long=",".join(["1"] * 20_000))))
        b.query("UPDATE items SET n = 1 WHERE id = 1")
        assert rows(a.query(use))[0][0] in ("1", "t")


@pytest.mark.parametrize("sql", [
    "INSERT INTO log (who) VALUES " + ",".join(["('bulk')"] * 30_000),
    "INSERT INTO log (who) VALUES " + ",".join(["('temperature')"] * 2_000),
    "SELEC attempt FROM advisory",
], ids=["long", "words in data", "not SQL"])
def test_a_text_that_is_too_long_or_wrong_and_leaves_nothing_keeps_nobody(make_lull, sql):
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 1}}})
    with lull.wire() as a, lull.wire() as b:
        a.query(sql)
        assert tags(b.query("UPDATE items SET n = 1 WHERE id = 1")) == ["UPDATE 1"]
        a.query("BEGIN")
        a.query("UPDATE items SET n = 1 WHERE id = 1")
        a.query(sql)
        a.query("COMMIT")
        assert tags(b.query("UPDATE items SET n = 1 WHERE id = 1")) == ["UPDATE 1"]


def test_discard_all_unpins(one):
    with one.wire() as a, one.wire() as b:
        a.query("CREATE TEMP TABLE mine (x int)")
        b.send(query("UPDATE items SET n = 1 WHERE id = 1"))
        assert b.quiet(0.1), "the only server is pinned"
        a.query("DISCARD ALL")
        assert tags(b.until("Z")) == ["UPDATE 1"]
        assert errors(a.query("SELECT * FROM mine"))[0]["C"] == "42P01"


@pytest.mark.parametrize("why, make, end", [
    ("temporary table", ["CREATE TEMP TABLE mine (x int)"], ["DROP TABLE mine"]),
    ("temporary table", ["CREATE TEMP TABLE mine (x int)"], ["DISCARD TEMP"]),
    ("temporary table", ["CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'"], ["DROP FUNCTION pg_temp.mine()"]),
    ("temporary table", ["BEGIN", "CREATE TEMP TABLE mine (x int) ON COMMIT DROP"], ["COMMIT"]),
    ("temporary table", ["BEGIN", "CREATE TEMP TABLE mine AS SELECT 1 AS x"], ["ROLLBACK"]),
    ("cursor with hold", ["DECLARE c CURSOR WITH HOLD FOR SELECT 1"], ["CLOSE c"]),
    ("cursor with hold", ["DECLARE c CURSOR WITH HOLD FOR SELECT 1"], ["CLOSE ALL"]),
    ("advisory lock", ["SELECT pg_advisory_lock(42)"], ["SELECT pg_advisory_unlock(42)"]),
    ("advisory lock", ["SELECT pg_advisory_lock(42)", "SELECT pg_advisory_lock_shared(43)"], ["SELECT pg_advisory_unlock_all()"]),
])
@pytest.mark.parametrize("extended", [False, True])
def test_it_ends_with_what_it_was_for(one, extended, why, make, end):
    with one.wire() as a, one.wire() as b:
        def say(texts):
            for sql in texts:
                assert not errors(a.extended(sql) if extended else a.query(sql)), sql

        say(make)
        b.send(query("UPDATE items SET n = 1 WHERE id = 1"))
        assert b.quiet(0.1), f"the only server is kept for a {why}"
        say(end)
        assert tags(b.until("Z")) == ["UPDATE 1"]


@pytest.mark.parametrize("texts", [
    ["CREATE TEMP TABLE mine (x int)", "CREATE TEMP TABLE other (x int)", "DROP TABLE other"],
    ["CREATE TEMP TABLE mine (x int)", "BEGIN", "DROP TABLE mine", "ROLLBACK"],
    ["SELECT pg_advisory_lock(42)", "SELECT pg_advisory_lock(42)", "SELECT pg_advisory_unlock(42)"],
    ["CREATE TEMP TABLE mine AS SELECT pg_try_advisory_lock(42)", "DROP TABLE mine"],
    ["DECLARE c CURSOR WITH HOLD FOR SELECT pg_advisory_lock(42)", "CLOSE c"],
    ["DECLARE c CURSOR WITH HOLD FOR SELECT 1", "DECLARE d CURSOR WITH HOLD FOR SELECT 1", "CLOSE d"],
])
def test_it_stays_for_what_is_left(one, texts):
    with one.wire() as a, one.wire() as b:
        for sql in texts:
            assert not errors(a.query(sql)), sql
        b.send(query("UPDATE items SET n = 1 WHERE id = 1"))
        assert b.quiet(0.3)
        a.query("DISCARD ALL")
        assert tags(b.until("Z")) == ["UPDATE 1"]


def test_advisory_locks_pin(make_lull, primary):
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 2}}})
    with lull.wire() as a, lull.wire() as b:
        a.query("SELECT pg_advisory_lock(42)")
        b.query("UPDATE items SET n = 1 WHERE id = 1")
        assert b.one("SELECT pg_try_advisory_lock(42)") == "f"
        assert a.one("SELECT pg_advisory_unlock(42)") == "t", "it is still the session that has the lock"
        a.query("SELECT pg_advisory_lock(43)")
    wait_for(lambda: primary.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0, "gone with its client")


def test_cursor_with_hold_pins(make_lull):
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 2}}})
    with lull.wire() as a, lull.wire() as b:
        a.query("BEGIN")
        a.query("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM items ORDER BY id")
        a.query("COMMIT")
        for i in range(1, 4):
            b.query("UPDATE items SET n = 1 WHERE id = 1")
            assert a.one("FETCH 1 FROM c") == str(i)
        assert errors(b.query("FETCH 1 FROM c"))[0]["C"] == "34000"


def test_operators_see_why(make_lull):
    lull = make_lull({"workers": 1, "console": {"admins": ["ops"]}, "users": {"ops": {"password": "ops-secret"}}})
    with contextlib.closing(psycopg2.connect(**lull.dsn("lull", "ops", "ops-secret"))) as console, lull.wire() as client:
        console.autocommit = True
        cursor = console.cursor()

        def why():
            def show(what, column):
                cursor.execute(f"SHOW {what}")
                at = [c.name for c in cursor.description].index(column)
                user = [c.name for c in cursor.description].index("user")
                return [row[at] for row in cursor.fetchall() if row[user] == "app"]
            return show("CLIENTS", "pinned_by"), show("LOCKS", "why")

        assert why() == ([""], [])
        client.query("CREATE TEMP TABLE mine (x int)")
        assert why() == (["temporary table"], ["temporary table"])
        client.query("SELECT pg_advisory_lock(42)")
        client.query("PREPARE p AS SELECT 1; EXECUTE p")
        reasons = "temporary table, advisory lock, PREPARE that cannot be carried"
        assert why() == ([reasons], [reasons])
        client.query("DISCARD ALL")
        assert why() == ([""], [])


@pytest.mark.parametrize("replicas", [True, False])
def test_a_window_keeps_readers_no_longer_than_their_lock(make_lull, replicas):
    """Whoever takes locks around what it reads must not use up the readers of all others."""
    lull = make_lull(ONE, replicas=replicas)
    lull.on()
    with lull.wire() as a, lull.wire() as b:
        for _ in range(2):
            assert a.one("SELECT pg_try_advisory_lock(5)") == "t"
            b.send(query("SELECT 7"))
            assert b.quiet(0.1)
            assert a.one("SELECT pg_advisory_unlock(5)") == "t"
            assert rows(b.until("Z")) == [("7",)]
    lull.off()
