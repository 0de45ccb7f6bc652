"""Ways around read-only that work on PostgreSQL when a session is only asked nicely to be read-only. Each is tried in four
shapes (simple queries, extended protocol, one text, one pipeline), on a sealed site with a frozen replica and on one whose
reads run on the primary; a fingerprint of everything durable must be the same before and after.

That the attempts can change something is shown too: the same scripts on a site that is open do.
"""
import struct

import psycopg
import pytest

from harness.cluster import APP_PASSWORD
from harness.fingerprint import changes, fingerprint
from harness.lull import Lull
from harness.wait import wait_for
from harness.wire import Closed, Wire, bind, copy_data, copy_done, errors, execute, message, parse, query, rows, sync, tags

WRITE = "UPDATE items SET n = n + 1 WHERE id = 1"
INSERT = "INSERT INTO log (who) VALUES ('escaped')"

ESCAPES = {
    "a plain write": [WRITE],
    "set transaction": ["BEGIN", "SET TRANSACTION READ WRITE", WRITE, "COMMIT"],
    "set transaction after a read": ["BEGIN", "SELECT 1", "SET TRANSACTION READ WRITE", WRITE, "COMMIT"],
    "set transaction in a savepoint": ["BEGIN", "SAVEPOINT a", "SET TRANSACTION READ WRITE", WRITE, "COMMIT"],
    "set parameter": ["BEGIN", "SET transaction_read_only = off", WRITE, "COMMIT"],
    "set local parameter": ["BEGIN", "SET LOCAL transaction_read_only = off", WRITE, "COMMIT"],
    "set to default": ["BEGIN", "SELECT count(*) FROM items", "SET transaction_read_only TO DEFAULT", WRITE, "COMMIT"],
    "reset": ["BEGIN", "RESET transaction_read_only", WRITE, "COMMIT"],
    "reset after a read": ["BEGIN", "SELECT count(*) FROM items", "RESET transaction_read_only", WRITE, "COMMIT"],
    "reset all": ["BEGIN", "SELECT count(*) FROM items", "RESET ALL", WRITE, "COMMIT"],
    "reset in a savepoint": ["BEGIN", "SAVEPOINT a", "RESET transaction_read_only", "RELEASE a", WRITE, "COMMIT"],
    "rollback to before the guard": ["BEGIN", "SAVEPOINT a", "SELECT 1", "ROLLBACK TO a", WRITE, "COMMIT"],
    "set_config off": ["BEGIN", "SELECT set_config('transaction_read_only', 'off', false)", WRITE, "COMMIT"],
    "set_config null": ["BEGIN", "SELECT count(*) FROM items", "SELECT set_config('transaction_read_only', NULL, false)", WRITE,
                        "COMMIT"],
    "set_config computed": ["BEGIN", "SELECT set_config('transaction_' || 'read_only', 'o' || 'ff', true)", WRITE, "COMMIT"],
    "set_config in a subquery": ["BEGIN", "SELECT (SELECT set_config('transaction_read_only', NULL, true)) FROM items LIMIT 1",
                                 WRITE, "COMMIT"],
    "pg_settings": ["BEGIN", "SELECT 1", "UPDATE pg_settings SET setting = 'off' WHERE name = 'transaction_read_only'", WRITE,
                    "COMMIT"],
    "begin read write": ["BEGIN READ WRITE", WRITE, "COMMIT"],
    "start transaction read write": ["START TRANSACTION READ WRITE", WRITE, "COMMIT"],
    "begin isolation, read write": ["BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE", WRITE, "COMMIT"],
    "nested begin": ["BEGIN", "BEGIN READ WRITE", WRITE, "COMMIT"],
    "session characteristics": ["SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", WRITE],
    "default off": ["SET default_transaction_read_only = off", WRITE],
    "default off, by set_config": ["SELECT set_config('default_transaction_read_only', 'off', false)", WRITE],
    "default reset": ["RESET default_transaction_read_only", WRITE],
    "default reset in a block": ["BEGIN", "RESET default_transaction_read_only", "COMMIT", WRITE],
    "reset all outside": ["RESET ALL", WRITE],
    "discard all": ["DISCARD ALL", WRITE],
    "commit and chain": ["BEGIN", "SELECT 1", "COMMIT AND CHAIN", WRITE, "COMMIT"],
    "rollback and chain": ["BEGIN", "SELECT 1", "ROLLBACK AND CHAIN", WRITE, "COMMIT"],
    "rollback and chain after an error": ["BEGIN", "SELECT 1/0", "ROLLBACK AND CHAIN", WRITE, "COMMIT"],
    "chain, then set": ["BEGIN", "SELECT 1", "COMMIT AND CHAIN", "SET TRANSACTION READ WRITE", WRITE, "COMMIT"],
    "commit first": ["COMMIT", INSERT],
    "rollback first": ["ROLLBACK", INSERT],
    "end and begin": ["SELECT 1", "COMMIT", "BEGIN READ WRITE", INSERT, "COMMIT"],
    "end of a block and a write": ["BEGIN", "SELECT 1", "COMMIT", INSERT],
    "a function that writes": ["SELECT bump()"],
    "a function in a block": ["BEGIN", "SELECT bump()", "COMMIT"],
    "a function that resets": ["SELECT sly()"],
    "a function that resets, in a block": ["BEGIN", "SELECT sly()", "COMMIT"],
    "a function that resets, then a write": ["BEGIN", "SELECT sly()", WRITE, "COMMIT"],
    "a view over it": ["SELECT * FROM sly_view"],
    "a view over it, in a block": ["BEGIN", "SELECT * FROM sly_view", WRITE, "COMMIT"],
    "a cursor over it": ["BEGIN", "DECLARE c CURSOR FOR SELECT sly()", "FETCH 1 FROM c", "COMMIT"],
    "a cursor with hold over it": ["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT sly()", "COMMIT"],
    "explain analyze of it": ["EXPLAIN ANALYZE SELECT sly()"],
    "copy of it": ["COPY (SELECT sly()) TO STDOUT"],
    "prepare of it": ["PREPARE p AS SELECT sly()", "EXECUTE p"],
    "it in the where clause": ["SELECT 1 FROM items WHERE sly() = 1 LIMIT 1"],
    "it in a values list": ["VALUES (sly())"],
    "it in an order by": ["SELECT id FROM items WHERE id = 1 ORDER BY sly()"],
    "a sequence": ["SELECT nextval('counter')"],
    "a sequence, set": ["SELECT setval('counter', 99)"],
    "a sequence in a table function": ["SELECT * FROM generate_series(1, nextval('counter'))"],
    "a large object": ["SELECT lo_creat(-1)"],
    "a large object from bytes": ["SELECT lo_from_bytea(0, 'abc')"],
    "a large object, written": ["BEGIN", "SELECT lo_put(12345, 0, 'new')", "COMMIT"],
    "a large object, opened": ["BEGIN", "SELECT lowrite(lo_open(12345, 131072), 'new')", "COMMIT"],
    "a large object, dropped": ["SELECT lo_unlink(12345)"],
    "a large object in a block": ["BEGIN", "SELECT lo_create(777)", "COMMIT"],
    "a data-modifying with": ["WITH w AS (INSERT INTO log (who) VALUES ('escaped') RETURNING 1) SELECT * FROM w"],
    "explain analyze": ["EXPLAIN ANALYZE " + INSERT],
    "explain analyze create table as": ["EXPLAIN ANALYZE CREATE TABLE made AS SELECT 1"],
    "prepare in SQL": ["PREPARE p AS " + INSERT, "EXECUTE p"],
    "procedure with commit inside": ["CALL commits_inside()"],
    "do block with commit inside": ["DO $$BEGIN COMMIT; INSERT INTO log (who) VALUES ('escaped'); END$$"],
    "do block that resets": ["DO $$BEGIN RESET transaction_read_only; INSERT INTO log (who) VALUES ('escaped'); END$$"],
    "prepare transaction": ["BEGIN", INSERT, "PREPARE TRANSACTION 'escaped'"],
    "prepare transaction, empty": ["BEGIN", "SELECT 1", "PREPARE TRANSACTION 'escaped'"],
    "query_to_xml": ["SELECT query_to_xml('" + INSERT.replace("'", "''") + "', true, true, '')"],
    "query_to_xml that resets": ["SELECT query_to_xml('SELECT sly()', true, true, '')"],
    "ts_stat": ["SELECT * FROM ts_stat('SELECT sly()::text::tsvector')"],
    "settings of the role": ["ALTER ROLE app SET default_transaction_read_only = off"],
    "settings of the database": ["ALTER DATABASE shop SET work_mem = '1MB'"],
    "a temporary table": ["CREATE TEMP TABLE mine (a int)"],
    "a temporary table, select into": ["SELECT 1 AS a INTO TEMP mine"],
    "analyze": ["ANALYZE items"],
    "reindex": ["REINDEX TABLE items"],
    "cluster": ["CLUSTER items USING items_pkey"],
    "vacuum full": ["VACUUM FULL items"],
    "comment": ["COMMENT ON TABLE items IS 'escaped'"],
    "a backslash that hides a quote": ["SET standard_conforming_strings = off",
                                       "SELECT '\\', '; INSERT INTO log (who) VALUES (1); --'"],
    "a backslash, set in the same text": [
        "SELECT set_config('standard_conforming_strings', 'off', false)",
        "SELECT '\\', '; INSERT INTO log (who) VALUES (1); --'"],
    "a backslash in an escape string": ["SELECT E'\\', '; INSERT INTO log (who) VALUES (1); --'"],
    "an encoding that hides a quote": ["SET client_encoding = 'SJIS'", "SELECT '\x95'; " + INSERT + "; --'"],
    "a comment that is not one": ["SELECT 1 /* /* */ */ ; " + INSERT + " --"],
    "a function of the same name": ["SET search_path = other_schema, pg_catalog, public", "SELECT lower('x')"],
    "an operator": ["SELECT 1 OPERATOR(other_schema.@@@) 1"],
    "become another role": ["SET ROLE helper_role", "RESET ROLE", WRITE],
    "session authorization": ["SET SESSION AUTHORIZATION DEFAULT", WRITE],
    "replication role": ["SET session_replication_role = replica", WRITE],
    "notify": ["NOTIFY news, 'x'"],
    "a write of another session by its backend": ["SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"],
}

# Two that need more than the usual tables: a built-in's name in another schema, and an operator that writes.
EXTRA = """
SET ROLE app;
CREATE FUNCTION other_schema.lower(unknown_text text) RETURNS text LANGUAGE plpgsql AS
  $$BEGIN RESET transaction_read_only; UPDATE public.items SET n = n + 1 WHERE id = 1; RETURN 'x'; END$$;
CREATE FUNCTION other_schema.plus(int, int) RETURNS int LANGUAGE plpgsql AS
  $$BEGIN RESET transaction_read_only; UPDATE public.items SET n = n + 1 WHERE id = 1; RETURN 1; END$$;
CREATE OPERATOR other_schema.@@@ (FUNCTION = other_schema.plus, LEFTARG = int, RIGHTARG = int);
SELECT lo_from_bytea(12345, 'old');
RESET ROLE;
"""


def one_by_one(client, script):
    for sql in script:
        client.query(sql)


def extended(client, script):
    for sql in script:
        client.ask(parse("", sql), bind(), execute(), sync())


def one_text(client, script):
    client.query("; ".join(script))


def one_pipeline(client, script):
    client.ask(*(part for sql in script for part in (parse("", sql), bind(), execute())), sync())


def syncs_in_one_write(client, script):
    client.ask(*(part for sql in script for part in (parse("", sql), bind(), execute(), sync())), ready=len(script))


def queries_in_one_write(client, script):
    client.ask(*(query(sql) for sql in script), ready=len(script))


SHAPES = [one_by_one, extended, one_text, one_pipeline, syncs_in_one_write, queries_in_one_write]


def sealed_lull(cluster, replicas):
    lull = Lull(cluster, replicas=replicas)
    cluster.reset("shop")
    cluster.primary.sql(EXTRA, db="shop")
    cluster.catch_up()
    lull.start().on()
    return lull


@pytest.fixture(scope="module")
def on_the_primary(cluster):
    lull = sealed_lull(cluster, False)
    yield lull
    lull.open_all()
    lull.remove()


@pytest.fixture(scope="module")
def on_the_replica(cluster):
    lull = sealed_lull(cluster, True)
    yield lull
    lull.open_all()
    lull.remove()


def play(client, script, shape):
    """What the answers are is not the point here, except that there are answers and the connection lives."""
    try:
        shape(client, script)
        for end in ("ROLLBACK", "COMMIT"):
            client.query(end)
        assert client.one("SELECT count(*) FROM items") == "100"
    except (Closed, ConnectionError):
        raise AssertionError(f"the connection did not live on after {script} as {shape.__name__}") from None


@pytest.mark.parametrize("name", list(ESCAPES), ids=lambda n: n.replace(" ", "-"))
def test_on_the_primary(name, on_the_primary, primary):
    attempt(on_the_primary, primary, ESCAPES[name])


@pytest.mark.parametrize("name", list(ESCAPES), ids=lambda n: n.replace(" ", "-"))
def test_on_the_frozen_replica(name, on_the_replica, primary):
    attempt(on_the_replica, primary, ESCAPES[name])


def attempt(lull, primary, script):
    before = fingerprint(primary)
    with lull.wire() as successor:
        for shape in SHAPES:
            with lull.wire() as client:
                play(client, script, shape)
            assert changes(before, fingerprint(primary)) == [], f"as {shape.__name__}"
            # One who comes after finds the server as it should be, and cannot write either.
            assert errors(successor.query(WRITE))[0]["C"] == "25006"
    assert lull.alive, lull.log()[-3000:]


def test_the_attempts_can_change_something(cluster, primary):
    """Most of the list does change the fingerprint where nobody is in the way; otherwise this file would prove nothing."""
    cluster.reset("shop")
    primary.sql(EXTRA, db="shop")
    harmless = []
    for name, script in ESCAPES.items():
        before = fingerprint(primary)
        with Wire("127.0.0.1", primary.port).login("app", APP_PASSWORD, "shop") as client:
            for shape in (one_by_one, one_text):
                shape(client, script)
                client.query("COMMIT")
        if not changes(before, fingerprint(primary)):
            harmless.append(name)
        for gid, in primary.sql("SELECT gid FROM pg_prepared_xacts"):
            primary.sql(f"ROLLBACK PREPARED '{gid}'", db="shop")
    # Those change something that a fingerprint does not hold, or need the guard's own session to have a point.
    assert len(harmless) <= len(ESCAPES) // 4, harmless


# -- from before the flip -----------------------------------------------------------------------------------------------------------------

@pytest.fixture(params=[True, False], ids=["frozen replica", "primary alone"])
def flip(request, make_lull, primary):
    """A Lull before the flip; calling it seals, and the end checks that nothing changed since."""
    lull = make_lull(replicas=request.param)
    state = {}

    class Flip:
        pass

    def seal(self=None):
        state["epoch"] = lull.on(drain_timeout_ms=2000, on_deadline="abort")["epoch"]
        state["before"] = fingerprint(primary)

    def look():
        """Nothing has changed so far; what changes from here on is judged from now."""
        assert changes(state["before"], fingerprint(primary)) == []

    def go_on():
        state["before"] = fingerprint(primary)

    one = Flip()
    one.lull, one.seal, one.look, one.go_on = lull, seal, look, go_on
    yield one
    assert changes(state["before"], fingerprint(primary)) == []
    lull.off()


def test_statement_prepared_before(flip):
    with flip.lull.wire() as client:
        client.ask(parse("w", INSERT), parse("f", "SELECT bump()"), parse("b", "BEGIN READ WRITE"), parse("c", "COMMIT"), sync())
        flip.seal()
        for name in ("w", "f"):
            assert errors(client.ask(bind("", name), execute(), sync()))[0]["C"] == "25006"
        client.ask(bind("", "b"), execute(), sync(), bind("", "w"), execute(), sync(), bind("", "c"), execute(), sync(), ready=3)
        client.ask(bind("", "c"), execute(), bind("", "w"), execute(), sync())


def test_sql_prepare_before(flip):
    with flip.lull.wire() as client:
        client.query("PREPARE w AS " + INSERT)
        client.query("PREPARE f AS SELECT sly()")
        flip.seal()
        for name in ("w", "f"):
            client.query(f"EXECUTE {name}")
            client.query("BEGIN")
            client.query(f"EXECUTE {name}")
            client.query("COMMIT")


def test_block_begun_before(flip):
    with flip.lull.wire() as read_some, flip.lull.wire() as nothing_yet, flip.lull.wire() as read_write:
        read_some.query("BEGIN")
        read_some.query("SELECT count(*) FROM items")
        nothing_yet.query("BEGIN")
        read_write.query("BEGIN READ WRITE")
        flip.seal()
        for client in (read_some, nothing_yet, read_write):
            for sql in (WRITE, "ROLLBACK TO x", "COMMIT", WRITE):
                client.query(sql)


def test_block_with_savepoints_begun_before(flip):
    with flip.lull.wire() as client:
        for sql in ("BEGIN", "SELECT 1", "SAVEPOINT a", "SELECT count(*) FROM items"):
            client.query(sql)
        flip.seal()
        for sql in ("ROLLBACK TO a", WRITE, "ROLLBACK TO a", "SET TRANSACTION READ WRITE", "RELEASE a", WRITE, "COMMIT"):
            client.query(sql)


def test_cursor_opened_before(flip):
    """A cursor over a function that writes: the block that opened it counts as a writer, or the fetch writes nothing."""
    with flip.lull.wire() as client:
        client.query("BEGIN")
        client.query("DECLARE c CURSOR FOR SELECT bump() FROM generate_series(1, 5)")
        flip.lull.begin(drain_timeout_ms=100, on_deadline="cancel")
        flip.lull.wait_mode("sealed")
        flip.seal()
        client.query("FETCH 1 FROM c")
        client.query("COMMIT")


def test_cursor_with_hold_opened_before(flip):
    with flip.lull.wire() as client:
        client.query("BEGIN")
        client.query("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM items ORDER BY id")
        client.query("COMMIT")
        flip.seal()
        client.query("FETCH 1 FROM c")
        client.query(WRITE)


def test_portal_suspended_before(flip):
    with flip.lull.wire() as client:
        client.query("BEGIN")
        client.ask(parse("", "SELECT bump() FROM generate_series(1, 5)"), bind("p"), execute("p", 1), sync())
        flip.lull.begin(drain_timeout_ms=100, on_deadline="cancel")
        flip.lull.wait_mode("sealed")
        flip.seal()
        client.ask(execute("p", 1), sync())
        client.query("COMMIT")


def test_copy_begun_before_is_waited_for(make_lull, primary):
    lull = make_lull(replicas=False)
    with lull.wire() as client:
        client.send(query("COPY log (who) FROM STDIN"))
        assert client.receive().type == "G"
        lull.begin()
        assert lull.site()["mode"] == "draining"
        client.send(copy_data(b"x\n"), copy_done())
        assert tags(client.until("Z")) == ["COPY 1"]
        lull.wait_mode("sealed")
        before = fingerprint(primary)
        client.send(copy_data(b"y\n"), copy_done())
        assert client.one("SELECT count(*) FROM log") == "1"
        assert changes(before, fingerprint(primary)) == []
    lull.off()


def test_temporary_table_made_before(flip, primary):
    """Its owner's server stays its own; what it may do there is not more than others."""
    with flip.lull.wire() as client:
        client.query("CREATE TEMP TABLE mine (a int)")
        client.query("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'UPDATE public.items SET n = n + 1 RETURNING 1'")
        flip.seal()
        for sql in ("INSERT INTO mine VALUES (1)", "SELECT pg_temp.f()", WRITE, "BEGIN", "SELECT * FROM mine", "COMMIT", WRITE):
            client.query(sql)
        flip.look()
    # The table goes with its session: PostgreSQL's own doing.
    wait_for(lambda: not primary.sql("SELECT 1 FROM pg_class WHERE relname = 'mine'", db="shop"), "the table has gone", 15)
    flip.go_on()


def test_settings_made_before(flip):
    with flip.lull.wire() as client:
        client.query("SET default_transaction_read_only = off")
        client.query("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
        client.query("SET standard_conforming_strings = off")
        client.query("SET session_replication_role = origin")
        flip.seal()
        client.query(WRITE)
        client.query("SELECT '\\', '; INSERT INTO log (who) VALUES (1); --'")
        client.query("BEGIN")
        client.query("SELECT bump()")
        client.query("COMMIT")
        assert client.one("SELECT count(*) FROM items") == "100"


def test_large_object_opened_before(flip, primary):
    with flip.lull.wire() as client:
        client.query("BEGIN")
        client.query("SELECT lo_from_bytea(4242, 'old')")
        client.query("SELECT lo_open(4242, 131072)")
        flip.lull.begin(drain_timeout_ms=100, on_deadline="cancel")
        flip.lull.wait_mode("sealed")
        flip.seal()
        client.query("SELECT lowrite(0, 'new')")
        client.query("COMMIT")


# -- by startup and by other messages -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("more", [{"options": "-c default_transaction_read_only=off"},
                                  {"default_transaction_read_only": "off"},
                                  {"options": "-c transaction_read_only=off"},
                                  {"options": "-c session_replication_role=replica"},
                                  {"options": "-c standard_conforming_strings=off"},
                                  {"client_encoding": "SJIS"}])
def test_startup_parameters(more, on_the_primary, primary):
    before = fingerprint(primary)
    client = on_the_primary.raw()
    try:
        client.login("app", APP_PASSWORD, "shop", **more)
    except RuntimeError:
        pass  # refusing the parameter is fine
    else:
        play(client, [WRITE, "BEGIN", WRITE, "COMMIT", "SELECT '\\', '; INSERT INTO log (who) VALUES (1); --'"], one_by_one)
    client.close()
    assert changes(before, fingerprint(primary)) == []


@pytest.mark.parametrize("where", ["on_the_primary", "on_the_replica"])
def test_function_call_message(where, request, primary):
    """The fast path: drivers use it for large objects. lo_creat is function 957, lo_unlink 964."""
    lull = request.getfixturevalue(where)
    before = fingerprint(primary)
    with lull.wire() as client:
        for function, argument in ((957, -1), (964, 12345)):
            call = struct.pack("!Ihhhii", function, 1, 1, 1, 4, argument) + struct.pack("!h", 1)
            assert errors(client.ask(message("F", call)))
            client.query("BEGIN")
            assert errors(client.ask(message("F", call)))
            client.query("COMMIT")
        assert rows(client.query("SELECT 1")) == [("1",)]
    assert changes(before, fingerprint(primary)) == []


def test_dropping_the_connection_leaves_nothing_open(on_the_primary, primary):
    """A reader that leaves in the middle of everything: the next on that server is as guarded as it was."""
    before = fingerprint(primary)
    for script in (["BEGIN", "SELECT 1"], ["BEGIN", "SELECT 1/0"], ["SELECT pg_sleep(0.05)"]):
        client = on_the_primary.wire()
        client.send(*(query(sql) for sql in script))
        client.close()
        with on_the_primary.connect() as connection:
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute(WRITE)
    assert changes(before, fingerprint(primary)) == []
