"""What the README names under "What is not guaranteed" is there: each of these tests fails when the hole it shows is closed, and
the README is then to be changed. (Code that nobody can see through: test_escapes.py.)"""
import psycopg
import pytest

from harness.cluster import APP_PASSWORD
from harness.fingerprint import changes, fingerprint
from harness.wire import Wire, errors, rows, tags

BENDS = """
CREATE FUNCTION bends() RETURNS int LANGUAGE plpgsql AS
  $$BEGIN EXECUTE 'RESET transaction_' || 'read_only'; EXECUTE 'UP' || 'DATE items SET n = 99 WHERE id = 1'; RETURN 1; END$$
"""


@pytest.fixture
def alone(make_lull, primary):
    """Sealed, with reads on the primary."""
    primary.sql("SET ROLE app; " + BENDS + "; RESET ROLE", db="shop")
    lull = make_lull(replicas=False)
    lull.on()
    yield lull
    lull.off()


def test_other_ways_in(alone, primary):
    """Who does not come through Lull writes; it is seen, and not stopped."""
    before = fingerprint(primary)
    with Wire("127.0.0.1", primary.port).login("app", APP_PASSWORD, "shop") as direct:
        direct.query("BEGIN")
        assert tags(direct.query("UPDATE items SET n = 5 WHERE id = 5")) == ["UPDATE 1"]
        direct.query("COMMIT")
    assert changes(before, fingerprint(primary)) == ["table public.items"]


def test_advisory_locks_are_shared(alone, primary):
    with alone.wire() as client:
        assert not errors(client.query("SELECT pg_advisory_lock(4711)"))
        assert primary.one("SELECT pg_try_advisory_lock(4711)", db="shop") is False
        client.query("SELECT pg_advisory_unlock(4711)")
    assert primary.one("SELECT pg_try_advisory_lock(4711)", db="shop") is True
    primary.sql("SELECT pg_advisory_unlock(4711)", db="shop")


def test_locks_of_readers_delay_a_migration_beside_no_replica(alone):
    with alone.wire() as reader, alone.migration() as migration:
        reader.query("BEGIN")
        reader.query("SELECT count(*) FROM items")
        migration.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            migration.execute("ALTER TABLE items ADD new int")
        reader.query("COMMIT")
        migration.execute("ALTER TABLE items ADD new int")


def test_code_that_readers_call_bends_what_they_see(alone, primary):
    """Within one transaction of theirs, and nothing of it is stored."""
    before = fingerprint(primary)
    with alone.wire() as client:
        assert rows(client.query("SELECT bends(); SELECT n FROM items WHERE id = 1")) == [("1",), ("99",)]
        assert client.one("SELECT n FROM items WHERE id = 1") == "0"
    assert changes(before, fingerprint(primary)) == []
