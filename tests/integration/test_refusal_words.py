"""What is refused while a site is sealed is refused in PostgreSQL's words: those of a READ ONLY transaction, and where that lets a
command pass, those of a hot standby. Both servers are asked here and now, as the owner of the tables and as a superuser."""
import re

import pytest

from harness.cluster import APP_PASSWORD
from harness.fingerprint import changes, fingerprint
from harness.wire import Wire, errors, statuses, tags

SUPERUSER_PASSWORD = "superuser-secret"
LOGIN = {"app": APP_PASSWORD, "postgres": SUPERUSER_PASSWORD}

COMMANDS = """
INSERT INTO log (who) VALUES ('x')
UPDATE items SET n = 1
DELETE FROM items
MERGE INTO items i USING log l ON i.id = l.id WHEN MATCHED THEN DELETE
WITH x AS (DELETE FROM items RETURNING id) SELECT * FROM x
SELECT * FROM items FOR UPDATE
SELECT * FROM items FOR SHARE
SELECT 1 AS a INTO made
CREATE TABLE made AS SELECT 1
CREATE TEMP TABLE made (a int)
EXPLAIN ANALYZE INSERT INTO log (who) VALUES ('x')
TRUNCATE items
COPY log (who) FROM STDIN
COPY log (who) FROM PROGRAM 'echo x'
SELECT nextval('counter')
SELECT setval('counter', 7)
SELECT * FROM items WHERE id = nextval('counter')
ALTER SEQUENCE counter RESTART
NOTIFY news
LISTEN news
LOCK TABLE items IN ACCESS EXCLUSIVE MODE
LOCK TABLE items IN SHARE MODE
ANALYZE items
ANALYZE
VACUUM items
VACUUM FULL items
CLUSTER items USING items_pkey
REINDEX TABLE items
REFRESH MATERIALIZED VIEW made
PREPARE TRANSACTION 'x'
COMMIT PREPARED 'pending'
ROLLBACK PREPARED 'pending'
CREATE INDEX ON items (n)
ALTER TABLE items ADD made int
COMMENT ON TABLE items IS 'x'
GRANT SELECT ON items TO PUBLIC
ALTER ROLE app SET work_mem = '1MB'
ALTER DATABASE shop SET work_mem = '1MB'
CREATE ROLE escaped
REASSIGN OWNED BY app TO postgres
IMPORT FOREIGN SCHEMA public FROM SERVER far INTO public
SELECT txid_current()
SELECT lo_create(4711)
SELECT lo_unlink(4711)
ALTER SYSTEM SET work_mem = '1MB'
CHECKPOINT
LOAD 'auto_explain'
DO $$BEGIN NULL; END$$
CALL commits_inside()
""".strip().splitlines()

# What PostgreSQL 15 lets pass on both servers: then the words are its own for what it does refuse, with the command's tag. (From
# version 16 on it refuses lo_create() and lo_unlink() in just these words.)
PASSES = {"SELECT lo_create(4711)": "lo_create()", "SELECT lo_unlink(4711)": "lo_unlink()", "ALTER SYSTEM SET work_mem = '1MB'": "ALTER SYSTEM",
          "CHECKPOINT": "CHECKPOINT", "LOAD 'auto_explain'": "LOAD", "DO $$BEGIN NULL; END$$": "DO", "CALL commits_inside()": "CALL",
          "ANALYZE": "ANALYZE", "IMPORT FOREIGN SCHEMA public FROM SERVER far INTO public":
          "IMPORT FOREIGN SCHEMA"}

# PostgreSQL tells a role that may not run programs that first, and its standby says COPY; it calls txid_current() by its newer name.
OTHERWISE = {"COPY log (who) FROM PROGRAM 'echo x'": "COPY FROM", "SELECT txid_current()": "txid_current()"}


def words_of(answer):
    for error in errors(answer):
        found = re.fullmatch(r"cannot execute (.+) (in a read-only transaction|during recovery)", error["M"])
        if found:
            return found.group(1)
    return None


def asked(client, sql):
    """What a server calls the command when it refuses it. Nothing stays of it where it does not."""
    client.query("BEGIN READ ONLY; SELECT 1")
    answer = client.query(sql)
    client.query("ROLLBACK")
    if any(e["C"] == "25001" for e in errors(answer)):  # not in a block
        answer = client.query(sql)
    client.query("ROLLBACK PREPARED 'x'")
    return words_of(answer)


def words_of_servers(role, servers):
    """By command, the words of the first that refuses it."""
    skip = {"ALTER SYSTEM SET work_mem = '1MB'", "CHECKPOINT"}  # PostgreSQL would do it
    said = {}
    for server in servers:
        with Wire("127.0.0.1", server.port).login(role, LOGIN[role], "shop") as client:
            client.query("SET default_transaction_read_only = on")
            client.query("SET statement_timeout = '2s'")
            for sql in COMMANDS:
                if sql not in skip and not said.get(sql):
                    said[sql] = asked(client, sql)
    return said


@pytest.mark.parametrize("role", ["app", "postgres"])
def test_in_the_words_of_postgresql(cluster, primary, standby, role, make_lull):
    primary.sql(f"ALTER ROLE postgres PASSWORD '{SUPERUSER_PASSWORD}'")
    cluster.catch_up()
    said = words_of_servers(role, (primary, standby))
    wanted = {sql: OTHERWISE.get(sql) or said.get(sql) or PASSES.get(sql) for sql in COMMANDS}
    unknown = [sql for sql, words in wanted.items() if not words]
    # A role that may not do it at all is told that first; the other role's words then count.
    assert len(unknown) <= 6, unknown
    lull = make_lull({"users": {"postgres": {"password": SUPERUSER_PASSWORD}}}, replicas=False)
    lull.on(reason="the big move", eta_seconds=600)
    before = fingerprint(primary)
    with lull.wire(user=role, password=LOGIN[role]) as client:
        for sql in COMMANDS:
            for how in (client.query, client.extended):
                for block in (False, True):
                    if block:
                        client.query("BEGIN")
                    answer = how(sql)
                    found = errors(answer)[0]
                    if wanted[sql]:
                        assert found["M"] == f"cannot execute {wanted[sql]} in a read-only transaction", (sql, found)
                    assert found["C"] == "25006" and found["S"] == "ERROR", (sql, found)
                    assert "the big move" in found["H"] and "Expected end" in found["H"], (sql, found)
                    assert statuses(answer) == ("E" if block else "I"), sql
                    if block:
                        assert errors(client.query("SELECT 1"))[0]["C"] == "25P02"
                        assert tags(client.query("COMMIT")) == ["ROLLBACK"]
    assert changes(before, fingerprint(primary)) == []
    lull.off()


@pytest.mark.parametrize("replicas", [True, False], ids=["frozen replica", "primary alone"])
def test_nobody_is_cut_off_by_a_client(make_lull, primary, replicas):
    """Signals to other backends: refused by name for every role, and the others live on."""
    primary.sql(f"ALTER ROLE postgres PASSWORD '{SUPERUSER_PASSWORD}'")
    lull = make_lull({"users": {"postgres": {"password": SUPERUSER_PASSWORD}}}, replicas=replicas)
    with Wire("127.0.0.1", primary.port).login("app", APP_PASSWORD, "shop") as victim:
        pid = victim.one("SELECT pg_backend_pid()")
        lull.on()
        for role, password in LOGIN.items():
            with lull.wire(user=role, password=password) as client:
                for name in ("pg_terminate_backend", "pg_cancel_backend", "pg_log_backend_memory_contexts"):
                    for sql in (f"SELECT {name}({pid})", f"SELECT pg_catalog.{name}(pid) FROM pg_stat_activity WHERE pid = {pid}"):
                        for answer in (client.query(sql), client.extended(sql)):
                            assert errors(answer)[0]["M"] == f"cannot execute {name}() in a read-only transaction"
        assert victim.one("SELECT 1") == "1"
        lull.off()
