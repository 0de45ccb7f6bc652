"""What a function leaves in its session, as far as its source shows it, keeps its client on its server, and nobody else meets it."""
import contextlib

import psycopg2
import pytest

from harness.lull import ONE
from harness.wait import wait_for
from harness.wire import errors, query, rows, tags

FUNCTIONS = """
SET ROLE app;
CREATE FUNCTION keep_table() RETURNS void LANGUAGE plpgsql AS $$BEGIN CREATE TEMP TABLE mine ON COMMIT PRESERVE ROWS AS SELECT 7 AS x; END$$;
CREATE FUNCTION made_table() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE format('CREATE TEMP TABLE %I AS SELECT 7 AS x', 'mine'); END$$;
CREATE FUNCTION drop_table() RETURNS void LANGUAGE plpgsql AS $$BEGIN DROP TABLE IF EXISTS pg_temp.mine; END$$;
CREATE FUNCTION take(k bigint) RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_lock(k)';
CREATE FUNCTION give(k bigint) RETURNS bool LANGUAGE sql AS 'SELECT pg_advisory_unlock(k)';
CREATE FUNCTION take_by_another(k bigint) RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM public.take(k); RETURN 1; END$$;
CREATE PROCEDURE take_by_call(k bigint) LANGUAGE plpgsql AS $$BEGIN PERFORM take(k); END$$;
CREATE VIEW taking AS SELECT take_by_another(5) AS n;
CREATE FUNCTION set_user(who text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN set_config('app.who', who, false); END$$;
CREATE FUNCTION set_by_command() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET app.who = 'ann'; END$$;
CREATE FUNCTION hear() RETURNS void LANGUAGE plpgsql AS $$BEGIN LISTEN news; END$$;
CREATE FUNCTION hold() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT id FROM items ORDER BY id'; END$$;
CREATE FUNCTION prepare_it() RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'PREPARE of_function AS SELECT 42'; END$$;
CREATE FUNCTION leave_nothing(who text) RETURNS text LANGUAGE plpgsql AS $$BEGIN
  CREATE TEMP TABLE mine ON COMMIT DROP AS SELECT 7 AS x;
  PERFORM pg_advisory_xact_lock(9);
  SET LOCAL app.other = 'x';
  RETURN set_config('app.who', who, true);
END$$;
RESET ROLE;
"""
PRIMARY = "/* lull: primary */ "
USER = "SELECT coalesce(current_setting('app.who', true), '')"
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"


@pytest.fixture
def leaving(make_lull, cluster, primary):
    """A Lull with a single server connection that knows these functions."""
    primary.sql(FUNCTIONS, db="shop")
    cluster.catch_up()

    def make(change=ONE):
        lull = make_lull(change)
        wait_for(lambda: lull.site()["catalogs"][0].get("unlisted_functions"), "the catalog has been read")
        return lull

    return make


CASES = [
    ("SELECT keep_table()", "SELECT x FROM mine", "7", "DROP TABLE mine"),
    ("SELECT keep_table()", "SELECT x FROM mine", "7", "SELECT drop_table()"),
    ("SELECT made_table()", "SELECT x FROM mine", "7", "DISCARD TEMP"),
    ("DO $$BEGIN PERFORM keep_table(); END$$", "SELECT x FROM mine", "7", "DROP TABLE mine"),
    ("SELECT take(5)", LOCKS, "1", "SELECT give(5)"),
    ("SELECT take_by_another(5)", LOCKS, "1", "SELECT pg_advisory_unlock_all()"),
    ("SELECT n FROM taking", LOCKS, "1", "SELECT give(5)"),
    ("CALL take_by_call(5)", LOCKS, "1", "SELECT give(5)"),
    ("INSERT INTO log (who) SELECT 'x' WHERE take_by_another(5) = 1", LOCKS, "1", "SELECT give(5)"),
    ("SELECT hold()", "SELECT name FROM pg_cursors WHERE is_holdable", "c", "CLOSE c"),
    ("SELECT hear()", "SELECT * FROM pg_listening_channels()", "news", "UNLISTEN *"),
    ("SELECT set_user('ann')", USER, "ann", "DISCARD ALL"),
    ("SELECT set_by_command()", USER, "ann", "DISCARD ALL"),
    ("DO $$BEGIN SET app.who = 'ann'; END$$", USER, "ann", "DISCARD ALL"),
    ("SELECT prepare_it()", "EXECUTE of_function", "42", "DISCARD ALL")]


@pytest.mark.parametrize("extended", [False, True])
def test_it_keeps_its_client_until_it_is_gone(leaving, extended):
    lull = leaving()
    for make, seen, has, end in CASES:
        with lull.wire() as a, lull.wire() as b:
            assert not errors(a.extended(make) if extended else a.query(make)), make
            b.send(query("UPDATE items SET n = 1 WHERE id = 1"))
            assert b.quiet(0.1), f"{make}: the only server is kept"
            assert a.one(PRIMARY + seen) == has, make
            assert not errors(a.extended(end) if extended else a.query(end)), end
            assert tags(b.until("Z")) == ["UPDATE 1"], make
            b.query("BEGIN")
            b.query("UPDATE items SET n = 1 WHERE id = 1")
            found = b.query(seen)
            assert errors(found) or rows(found) in ([], [("0",)], [("",)]), f"{make}: what another has left is never its own"
            b.query("ROLLBACK")


def test_it_goes_with_its_client(leaving):
    lull = leaving()
    for make, seen in (("SELECT set_user('ann')", USER), ("SELECT take(5)", LOCKS), ("SELECT keep_table()", "SELECT x FROM mine")):
        with lull.wire() as a:
            a.query(make)
        with lull.wire() as b:
            found = b.query(PRIMARY + seen)
            assert errors(found) or rows(found) in ([("0",)], [("",)]), make


def test_what_its_transaction_takes_along_keeps_nobody(leaving):
    lull = leaving()
    with lull.wire() as a, lull.wire() as b:
        for extended in (False, True, False):
            assert not errors(a.extended("SELECT leave_nothing('ann')") if extended else a.query("SELECT leave_nothing('ann')"))
            assert tags(b.query("UPDATE items SET n = 1 WHERE id = 1")) == ["UPDATE 1"]
            assert b.one(PRIMARY + USER) == "" and b.one(PRIMARY + LOCKS) == "0"


def test_operators_see_it(leaving):
    lull = leaving({"workers": 1, "console": {"admins": ["ops"]}, "users": {"ops": {"password": "ops-secret"}}})
    with contextlib.closing(psycopg2.connect(**lull.dsn("lull", "ops", "ops-secret"))) as console, lull.wire() as client:
        console.autocommit = True
        cursor = console.cursor()

        def why():
            cursor.execute("SHOW CLIENTS")
            at = {c.name: i for i, c in enumerate(cursor.description)}
            return [row[at["pinned_by"]] for row in cursor.fetchall() if row[at["user"]] == "app"]

        client.query("SELECT keep_table(), take(5), set_user('ann')")
        assert why() == ["temporary table, advisory lock, settings that cannot be carried"]
        client.query("DISCARD ALL")
        assert why() == [""]
        client.query("SELECT leave_nothing('ann')")
        wait_for(lambda: why() == [""], "nothing is left")


def test_what_a_function_listens_to_is_heard(leaving, primary):
    lull = leaving({"workers": 1})
    with lull.wire() as client:
        client.query("SELECT hear()")
        primary.sql("NOTIFY news, 'first'", db="shop")
        assert client.until("A")[-1].body[4:] == b"news\0first\0"


def test_settings_that_a_window_takes_along_are_told(leaving):
    """Made on the frozen replica, they cannot go to the primary: without them a client may see the rows of another."""
    lull = leaving({"workers": 1})
    lull.on()
    with lull.wire() as a, lull.wire() as b:
        a.query("SELECT set_user('ann')")
        assert a.one(USER) == "ann" and b.one(USER) == ""
        lull.off()
        a.send(query(USER))
        told = errors(a.until_closed())
        assert [(e["S"], e["C"]) for e in told] == [("FATAL", "57P01")] and "settings" in told[0]["M"]
        assert tags(b.query("UPDATE items SET n = 1 WHERE id = 1")) == ["UPDATE 1"]


def test_on_the_primary_alone_a_window_keeps_nobody_for_what_is_rolled_back(leaving, make_lull):
    lull = make_lull(ONE, replicas=False)
    lull.on()
    with lull.wire() as a, lull.wire() as b:
        for _ in range(2):
            assert not errors(a.query("SELECT set_user('ann')"))
            assert b.one(USER) == ""
        lull.off()
        assert tags(a.query("UPDATE items SET n = 1 WHERE id = 1")) == ["UPDATE 1"]
