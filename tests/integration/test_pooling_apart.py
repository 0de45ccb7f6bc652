"""Transaction pooling keeps clients apart: what one has left on a server, or has as its own there, is never another's."""
import pytest

from harness.lull import ONE
from harness.wire import close, errors, rows, sync


@pytest.mark.parametrize("made", ["SELECT pg_advisory_lock(77)", "CREATE TEMP TABLE items (id int)"])
def test_who_loses_what_it_had_on_a_server_is_told(make_lull, primary, made):
    """Its lock is somebody else's by then, its table is the permanent one: going on as if nothing had happened would write
    to the wrong place."""
    lull = make_lull(ONE)
    with lull.wire() as a:
        a.query(made)
        primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        told = a.until_closed()
        assert [error["S"] for error in errors(told)] == ["FATAL"] and errors(told)[0]["C"] == "57P01"


@pytest.mark.parametrize("made, seen", [
    ("DO $$BEGIN CREATE TEMP TABLE items (id int); END$$", "SELECT count(*) FROM pg_class WHERE oid = to_regclass('items') AND relpersistence = 't'"),
    ("DO $$BEGIN PERFORM pg_advisory_lock(99); END$$", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"),
    ("DO $$BEGIN SET search_path = nowhere; END$$", "SELECT count(*) WHERE current_setting('search_path') = 'nowhere'")])
def test_what_a_do_leaves_meets_nobody_else(make_lull, made, seen):
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 2}}})
    with lull.wire() as a, lull.wire() as b:
        assert not errors(a.query(made))
        for _ in range(3):
            assert rows(b.query(f"/* lull: primary */ {seen}")) == [("0",)]


def test_statements_of_tenants_are_their_own(make_lull, primary):
    """The same text finds other tables, of other types, by another search_path."""
    lull = make_lull(ONE)
    primary.sql("CREATE SCHEMA t1; CREATE SCHEMA t2; CREATE TABLE t1.t (id int); CREATE TABLE t2.t (id text, more text);"
                "GRANT ALL ON SCHEMA t1, t2 TO app; GRANT ALL ON t1.t, t2.t TO app", db="shop")
    try:
        with lull.wire(search_path="t1") as a, lull.wire(search_path="t2") as b:
            for _ in range(2):
                for client in (a, b):
                    assert not errors(client.extended("SELECT * FROM t", name="all"))
                    assert not errors(client.extended("SELECT * FROM t WHERE id = $1", ("1",), name="one"))
                    client.ask(close("S", "all"), close("S", "one"), sync())
    finally:
        primary.sql("DROP SCHEMA t1 CASCADE; DROP SCHEMA t2 CASCADE", db="shop")


def test_reset_all_leaves_the_role(make_lull, primary):
    lull = make_lull(ONE)
    primary.sql("CREATE ROLE helper_of_app; GRANT helper_of_app TO app")
    try:
        with lull.wire() as a, lull.wire() as b:
            a.query("SET ROLE helper_of_app")
            a.query("RESET ALL")
            assert a.one("SELECT current_user") == "helper_of_app", "as in PostgreSQL"
            assert b.one("SELECT current_user") == "app"
            a.query("RESET ROLE")
            assert a.one("SELECT current_user") == "app"
    finally:
        primary.sql("DROP ROLE helper_of_app")
