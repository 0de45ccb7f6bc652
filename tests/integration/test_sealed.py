"""What clients see of a sealed site: writes are refused as PostgreSQL itself would, reads go on, the migration works."""
import threading

import psycopg
import psycopg.errors
import psycopg2.errors
import pytest

from harness.cluster import APP_PASSWORD
from harness.lull import Lull
from harness.wire import Wire, bind, close, describe, errors, execute, parse, query, rows, shape, statuses, sync, tags

UPDATE = "UPDATE items SET n = 1 WHERE id = 1"


@pytest.fixture(scope="module")
def solo(cluster):
    """A Lull whose cluster has no replica: reads of a sealed site run on the primary."""
    one = Lull(cluster, replicas=False)
    try:
        yield one.start()
    finally:
        one.remove()


@pytest.fixture(params=["frozen replica", "primary alone"])
def sealed(request, shared_lull, solo, tables):
    """A sealed site, with each kind of place for its reads."""
    lull = shared_lull if request.param == "frozen replica" else solo
    lull.open_all()
    lull.on(reason="the big move", eta_seconds=600)
    yield lull
    assert lull.alive, lull.log()[-4000:]
    lull.open_all()


# -- refusals -----------------------------------------------------------------------------------------------------------------------

def test_refusal_says_why_and_how_long(sealed):
    with sealed.wire() as client:
        answer = client.query(UPDATE)
        fields = errors(answer)[0]
        assert shape(answer) == "EZ" and statuses(answer) == "I"
        assert (fields["S"], fields["V"], fields["C"]) == ("ERROR", "ERROR", "25006")
        assert fields["M"] == "cannot execute UPDATE in a read-only transaction"
        assert "the big move" in fields["H"]
        assert sealed.site()["until"][:13] in fields["H"], "the expected end, to the hour at least"


COMMANDS = [
    "INSERT INTO log (who) VALUES ('x')", "UPDATE items SET n = 1", "DELETE FROM items",
    "MERGE INTO items USING (SELECT 1) s ON false WHEN NOT MATCHED THEN INSERT VALUES (1000, 'x', 1)",
    "WITH w AS (DELETE FROM items RETURNING 1) SELECT * FROM w",
    "SELECT * FROM items FOR UPDATE", "SELECT * FROM items FOR SHARE", "SELECT * FROM items FOR NO KEY UPDATE",
    "SELECT * FROM items FOR KEY SHARE", "SELECT * INTO copied FROM items", "CREATE TABLE copied AS SELECT 1",
    "CREATE TABLE t (a int)", "CREATE INDEX ON items (n)", "CREATE VIEW v AS SELECT 1", "CREATE SCHEMA s",
    "CREATE SEQUENCE s", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE TYPE t AS (a int)",
    "CREATE ROLE r", "ALTER TABLE items ADD x int", "ALTER ROLE app SET work_mem = '1MB'", "DROP TABLE items", "TRUNCATE items",
    "COMMENT ON TABLE items IS 'x'", "GRANT SELECT ON items TO other", "REVOKE SELECT ON items FROM other",
    "COPY items FROM STDIN", "CREATE TEMP TABLE t (a int)", "SELECT nextval('counter')", "SELECT setval('counter', 5)",
    "LOCK TABLE items IN ACCESS EXCLUSIVE MODE", "REINDEX TABLE items", "REFRESH MATERIALIZED VIEW nothing",
    "CREATE MATERIALIZED VIEW m AS SELECT 1", "ALTER SEQUENCE counter RESTART", "CREATE TRIGGER t AFTER INSERT ON items "
    "FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", "DROP OWNED BY app", "REASSIGN OWNED BY app TO app",
    "CREATE EXTENSION hstore", "ALTER DATABASE shop SET work_mem = '1MB'", "NOTIFY news", "ANALYZE items", "VACUUM items",
    "CLUSTER items USING items_pkey", "CREATE DATABASE d", "DISCARD TEMP; CREATE TABLE t (a int)", "CALL commits_inside()",
    "DO $$BEGIN PERFORM bump(); END$$", "EXPLAIN ANALYZE UPDATE items SET n = 1", "PREPARE TRANSACTION 'x'",
    "SECURITY LABEL ON TABLE items IS 'x'", "IMPORT FOREIGN SCHEMA x FROM SERVER y INTO z", "CREATE PUBLICATION p",
]


def test_every_kind_of_write_is_refused(sealed, primary):
    before = primary.next_xid()
    with sealed.wire() as client:
        for sql in COMMANDS:
            for answer in (client.query(sql), client.extended(sql)):
                found = errors(answer)
                assert found and found[0]["C"] in ("25006", "42601"), (sql, answer)
                assert statuses(answer) == "I" and found[0]["S"] == "ERROR", (sql, answer)
        assert client.one("SELECT count(*) FROM items") == "100"
    assert primary.next_xid() == before, "somebody took a transaction id"


def test_in_postgresqls_words(sealed, primary):
    """Where PostgreSQL refuses it in a READ ONLY transaction, the message is the same to the letter."""
    differ = []
    with Wire("127.0.0.1", primary.port).login("app", APP_PASSWORD, "shop") as direct, sealed.wire() as client:
        for sql in COMMANDS:
            if sql.startswith("DO "):
                continue  # PostgreSQL runs it and refuses what it does
            direct.query("BEGIN READ ONLY")
            wanted = errors(direct.query(sql))
            direct.query("ROLLBACK")
            if not wanted or wanted[0]["C"] != "25006":
                continue
            got = errors(client.query(sql))[0]
            if (got["C"], got["M"]) != ("25006", wanted[0]["M"]):
                differ.append((sql, wanted[0]["M"], got["M"]))
    assert not differ


def test_inside_a_transaction(sealed):
    with sealed.wire() as client:
        assert tags(client.query("BEGIN")) == ["BEGIN"]
        assert client.one("SELECT count(*) FROM items") == "100"
        answer = client.query(UPDATE)
        assert errors(answer)[0]["C"] == "25006" and statuses(answer) == "E"
        answer = client.query("SELECT 1")
        assert errors(answer)[0]["C"] == "25P02" and statuses(answer) == "E"
        assert errors(answer)[0]["M"] == "current transaction is aborted, commands ignored until end of transaction block"
        assert errors(client.extended("SELECT 1"))[0]["C"] == "25P02"
        assert errors(client.query(UPDATE))[0]["C"] == "25P02"
        answer = client.query("COMMIT")
        assert tags(answer) == ["ROLLBACK"] and statuses(answer) == "I"
        assert client.one("SELECT count(*) FROM items") == "100"


def test_as_the_first_statement_of_a_transaction(sealed):
    with sealed.wire() as client:
        client.query("BEGIN")
        answer = client.query(UPDATE)
        assert errors(answer)[0]["C"] == "25006" and statuses(answer) == "E"
        assert errors(client.query("SELECT 1"))[0]["C"] == "25P02"
        assert tags(client.query("ROLLBACK")) == ["ROLLBACK"]
        assert client.one("SELECT 1") == "1"


def test_rollback_to_a_savepoint(sealed):
    with sealed.wire() as client:
        client.query("BEGIN")
        assert client.one("SELECT count(*) FROM items") == "100"
        assert tags(client.query("SAVEPOINT a")) == ["SAVEPOINT"]
        assert errors(client.query(UPDATE))[0]["C"] == "25006"
        assert errors(client.query("SELECT 1"))[0]["C"] == "25P02"
        answer = client.query("ROLLBACK TO SAVEPOINT a")
        assert tags(answer) == ["ROLLBACK"] and statuses(answer) == "T", answer
        assert client.one("SELECT count(*) FROM items") == "100"
        answer = client.query(UPDATE)
        assert errors(answer)[0]["C"] == "25006" and statuses(answer) == "E"
        client.query("ROLLBACK TO a")
        assert tags(client.query("RELEASE a")) == ["RELEASE"]
        answer = client.query("COMMIT")
        assert tags(answer) == ["COMMIT"] and statuses(answer) == "I"


def test_savepoint_before_anything_else(sealed):
    with sealed.wire() as client:
        client.query("BEGIN")
        client.query("SAVEPOINT a")
        assert errors(client.query(UPDATE))[0]["C"] == "25006"
        answer = client.query("ROLLBACK TO a")
        assert tags(answer) == ["ROLLBACK"] and statuses(answer) == "T", answer
        assert client.one("SELECT count(*) FROM items") == "100"
        client.query("COMMIT")


def test_savepoints_of_the_driver(sealed):
    with sealed.connect(autocommit=False) as connection:
        with connection.transaction():
            assert connection.execute("SELECT count(*) FROM items").fetchone() == (100,)
            for _ in range(3):
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                    with connection.transaction():
                        connection.execute(UPDATE)
            assert connection.execute("SELECT count(*) FROM items").fetchone() == (100,)


def test_extended_protocol(sealed):
    with sealed.wire() as client:
        answer = client.extended("UPDATE items SET n = $1", [1])
        assert errors(answer)[0]["C"] == "25006" and statuses(answer) == "I"
        assert shape(answer)[-2:] == "EZ" and "C" not in shape(answer)
        # What follows in the same segment is skipped, what follows its Sync is not.
        answer = client.ask(parse("", "SELECT 1"), bind(), execute(), parse("", UPDATE), bind(), execute(),
                            parse("", "SELECT 2"), bind(), execute(), sync(),
                            parse("", "SELECT 3"), bind(), execute(), sync(), ready=2)
        assert shape(answer).count("E") == 1 and ("2",) not in rows(answer) and rows(answer)[-1] == ("3",)
        assert statuses(answer) == "II"
        # In a block.
        client.query("BEGIN")
        answer = client.ask(parse("", "SELECT count(*) FROM items"), bind(), execute(), sync(), parse("", UPDATE), bind(), execute(),
                            sync(), parse("", "SELECT 1"), bind(), execute(), sync(), ready=3)
        assert [e["C"] for e in errors(answer)] == ["25006", "25P02"] and statuses(answer) == "TEE"
        assert tags(client.ask(parse("", "ROLLBACK"), bind(), execute(), sync())) == ["ROLLBACK"]


def test_a_statement_may_be_prepared_and_described_but_not_run(sealed):
    """Preparing writes nothing: drivers that prepare at start-up go on. Running is judged when it is run."""
    with sealed.wire() as client:
        made = client.ask(parse("w", "UPDATE items SET n = $1 WHERE id = $2", (23, 23)), describe("S", "w"), sync())
        if errors(made):  # refusing it here already is allowed, as long as it is said rightly
            assert errors(made)[0]["C"] == "25006"
        else:
            assert errors(client.ask(bind("", "w", [1, 1]), execute(), sync()))[0]["C"] == "25006"
        sealed.off()
        if errors(made):
            assert not errors(client.ask(parse("w", "UPDATE items SET n = $1 WHERE id = $2", (23, 23)), sync()))
        answer = client.ask(bind("", "w", [1, 1]), execute(), sync())
        assert tags(answer) == ["UPDATE 1"], answer


def test_prepared_before_the_flip_and_run_after_it(sealed):
    sealed.off()
    with sealed.wire() as client:
        client.ask(parse("w", "UPDATE items SET n = n + 1 WHERE id = 1"), parse("r", "SELECT n FROM items WHERE id = 1"), sync())
        assert tags(client.ask(bind("", "w"), execute(), sync())) == ["UPDATE 1"]
        sealed.on()
        assert errors(client.ask(bind("", "w"), execute(), sync()))[0]["C"] == "25006"
        assert rows(client.ask(bind("", "r"), execute(), sync())) == [("1",)]
        sealed.off()
        assert tags(client.ask(bind("", "w"), execute(), sync())) == ["UPDATE 1"]
        assert rows(client.ask(bind("", "r"), execute(), sync())) == [("2",)]


def test_multi_statement_texts(sealed, primary):
    before = primary.next_xid()
    with sealed.wire() as client:
        for text in ("SELECT 1; " + UPDATE, UPDATE + "; SELECT 1", "SELECT 1; SELECT 2; " + UPDATE + "; SELECT 3"):
            answer = client.query(text)
            assert [e["C"] for e in errors(answer)] == ["25006"] and statuses(answer) == "I"
            assert shape(answer)[-2:] == "EZ"
        assert rows(client.query("SELECT 1; SELECT 2; SELECT 3")) == [("1",), ("2",), ("3",)]
        client.query("BEGIN")
        client.query("SELECT 1")
        assert statuses(client.query("SELECT 1; " + UPDATE)) == "E"
        client.query("ROLLBACK")
    assert primary.next_xid() == before


def test_pipelines_of_simple_queries(sealed):
    with sealed.wire() as client:
        answer = client.ask(query("SELECT 1"), query(UPDATE), query("SELECT 2"), query("BEGIN"), query("SELECT 3"),
                            query(UPDATE), query("SELECT 4"), query("ROLLBACK"), query("SELECT 5"), ready=9)
        assert statuses(answer) == "IIITTEEII"
        assert [value for value, in rows(answer)] == ["1", "2", "3", "5"]
        assert [e["C"] for e in errors(answer)] == ["25006", "25006", "25P02"]


def test_drivers(sealed):
    with sealed.connect() as three:
        for prepare in (False, True):
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as caught:
                three.execute("UPDATE items SET n = %s", (1,), prepare=prepare)
            assert "the big move" in caught.value.diag.message_hint
        assert three.execute("SELECT count(*) FROM items").fetchone() == (100,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            with three.cursor() as cursor, cursor.copy("COPY log (who) FROM STDIN") as copy:
                copy.write(b"x\n")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            with three.pipeline():
                three.execute("SELECT 1")
                three.execute(UPDATE)
        assert three.execute("SELECT 1").fetchone() == (1,)
    two = sealed.connect2(autocommit=False)
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        with two, two.cursor() as cursor:
            cursor.execute(UPDATE)
    with two, two.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM items")
        assert cursor.fetchone() == (100,)
    two.close()


# -- reads --------------------------------------------------------------------------------------------------------------------------------

def test_reads_of_every_kind_go_on(sealed):
    with sealed.wire() as client:
        assert client.one("SELECT count(*) FROM items") == "100"
        assert rows(client.extended("SELECT name FROM items WHERE id = $1", [5])) == [("item 5",)]
        client.query("BEGIN")
        client.query("DECLARE c CURSOR FOR SELECT id FROM items ORDER BY id")
        assert rows(client.query("FETCH 2 FROM c")) == [("1",), ("2",)]
        assert rows(client.query("FETCH 1 FROM c")) == [("3",)]
        assert tags(client.query("COMMIT")) == ["COMMIT"]
        for begin in ("BEGIN", "BEGIN READ ONLY", "BEGIN ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION"):
            client.query(begin)
            assert client.one("SELECT count(*) FROM items") == "100"
            assert client.one("SELECT count(*) FROM log") == "0"
            assert tags(client.query("COMMIT")) == ["COMMIT"]
        assert sum(m.type == "d" for m in client.query("COPY items TO STDOUT")) == 100
        answer = client.ask(parse("", "SELECT id FROM items ORDER BY id"), bind("p"), execute("p", 2), execute("p", 2),
                            close("P", "p"), sync())
        assert rows(answer) == [("1",), ("2",), ("3",), ("4",)]
        assert "Seq Scan" in str(rows(client.query("EXPLAIN SELECT * FROM items")))
        assert client.one("SHOW work_mem")
        assert not errors(client.query(""))
        assert errors(client.query("SELECT 1/0"))[0]["C"] == "22012"
        assert errors(client.query("SELECT * FROM nowhere"))[0]["C"] == "42P01"


def test_settings_go_on(sealed):
    with sealed.wire() as a, sealed.wire() as b:
        assert not errors(a.query("SET statement_timeout = '1s'"))
        assert not errors(a.query("SET search_path = other_schema, public"))
        assert b.one("SELECT current_setting('statement_timeout')") == "0"
        assert a.one("SELECT current_setting('statement_timeout')") == "1s"
        assert not errors(a.query("RESET ALL"))
        assert a.one("SELECT current_setting('statement_timeout')") == "0"
        assert not errors(a.query("DISCARD ALL"))


def test_many_readers_at_once(sealed):
    problems = []

    def read():
        try:
            with sealed.connect(prepare_threshold=0) as connection:
                for i in range(50):
                    assert connection.execute("SELECT count(*) FROM items WHERE id > %s", (i,)).fetchone() == (100 - i,)
        except Exception as error:  # noqa: BLE001
            problems.append(repr(error))

    threads = [threading.Thread(target=read) for _ in range(20)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not problems


def test_functions_that_only_read(sealed):
    """Lull does not know what this function does; the server lets it read."""
    with sealed.migration() as migration:
        migration.execute("CREATE FUNCTION how_many() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT count(*) FROM public.items'")
        migration.execute("GRANT EXECUTE ON FUNCTION how_many() TO PUBLIC")
    with sealed.wire() as client:
        answer = client.query("SELECT how_many()")
        # The frozen replica does not know the function: it was made after the seal.
        assert rows(answer) == [("100",)] or errors(answer)[0]["C"] == "42883", answer
        assert errors(client.query("SELECT bump()"))[0]["C"] == "25006"
        assert client.one("SELECT count(*) FROM items") == "100"


def test_readers_see_the_old_schema_while_the_migration_holds_every_lock(shared_lull, tables, primary):
    """ACCESS EXCLUSIVE on the primary, and no reader waits or sees anything of it."""
    lull = shared_lull
    lull.open_all()
    reader, prepared = lull.wire(), lull.wire()
    prepared.ask(parse("s", "SELECT * FROM items WHERE id = $1"), sync())
    reader.query("SET statement_timeout = '3s'")
    lull.on()
    migration = lull.migration(autocommit=False)
    migration.execute("ALTER TABLE items ADD COLUMN added int NOT NULL DEFAULT 1, ALTER COLUMN n TYPE bigint")
    migration.execute("ALTER TABLE items RENAME COLUMN name TO title")
    migration.execute("DROP TABLE log")
    assert primary.sql("SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'items'::regclass AND granted",
                       db="shop")

    def look():
        assert rows(reader.query("SELECT * FROM items WHERE id = 3")) == [("3", "item 3", "0")]
        assert rows(prepared.ask(bind("", "s", [3]), execute(), sync())) == [("3", "item 3", "0")]
        assert reader.one("SELECT count(*) FROM log") == "0"
        assert reader.one("SELECT pg_is_in_recovery()") == "t"
        with lull.wire() as newcomer:
            assert rows(newcomer.query("SELECT * FROM items WHERE id = 3")) == [("3", "item 3", "0")]

    look()
    migration.commit()
    look()
    migration.close()
    lull.off()
    assert rows(reader.query("SELECT * FROM items WHERE id = 3")) == [("3", "item 3", "0", "1")]
    answer = prepared.ask(bind("", "s", [3]), execute(), sync())
    assert rows(answer) == [("3", "item 3", "0", "1")] or errors(answer)[0]["C"] == "0A000", "never the old shape"
    assert errors(reader.query("SELECT title, count(*) FROM log GROUP BY 1"))[0]["C"] == "42P01"


# -- the migration ---------------------------------------------------------------------------------------------------------------------------

def test_the_migration_is_exempt(sealed, primary):
    with sealed.migration() as migration:
        migration.execute("ALTER TABLE items ADD COLUMN x int")
        migration.execute("UPDATE items SET x = 5")
        assert migration.execute("SELECT x FROM items WHERE id = 1").fetchone() == (5,)
        with migration.transaction():
            migration.execute("CREATE TABLE made (a int)")
            migration.execute("CREATE TEMP TABLE helper (a int)")
        migration.execute("INSERT INTO helper VALUES (1)")
        assert migration.execute("SELECT count(*) FROM helper").fetchone() == (1,)
        with migration.cursor() as cursor, cursor.copy("COPY made FROM STDIN") as copy:
            copy.write(b"1\n2\n")
    assert primary.sql("SELECT x, (SELECT count(*) FROM made) FROM items WHERE id = 1", db="shop") == [(5, 2)]
    assert sealed.site()["mode"] == "sealed"


def test_the_migration_port_checks_its_users(sealed):
    with pytest.raises(psycopg.OperationalError, match="app"):
        sealed.connect(port=sealed.migration_port)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        sealed.migration(password="wrong")
    # And being the migration's user does not help on the port for everybody.
    with sealed.connect(user="shop_owner") as connection:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute(UPDATE)


def test_a_migration_connected_before_the_flip_is_not_waited_for(shared_lull, tables):
    lull = shared_lull
    lull.open_all()
    with lull.migration(autocommit=False) as migration:
        migration.execute("UPDATE items SET n = 5 WHERE id = 5")
        lull.on(drain_timeout_ms=5000)
        migration.execute("UPDATE items SET n = 6 WHERE id = 6")
        migration.commit()
    lull.off()


# -- how clients learn of it -----------------------------------------------------------------------------------------------------------------

def test_idle_clients_are_told_at_once(shared_lull, tables):
    lull = shared_lull
    lull.open_all()
    with lull.wire() as client:
        assert client.parameters["default_transaction_read_only"] == "off"
        lull.on()
        assert client.readable(5)
        assert client.receive().body == b"default_transaction_read_only\0on\0"
        assert client.quiet(0.1), "told once"
        with lull.wire() as newcomer:
            assert newcomer.parameters["default_transaction_read_only"] == "on"
        lull.off()
        assert client.readable(5)
        assert client.receive().body == b"default_transaction_read_only\0off\0"
        assert client.one("SELECT 1") == "1"


def test_busy_clients_are_told_between_messages(shared_lull, tables):
    lull = shared_lull
    lull.open_all()
    with lull.wire() as client:
        client.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 200) WHERE pg_sleep(0.002) IS NOT NULL"))
        lull.on()
        answer = client.until("Z")
        assert sum(m.type == "D" for m in answer) == 200 and not errors(answer)
        while client.parameters["default_transaction_read_only"] != "on":
            assert client.receive().type == "S"
        lull.off()


def test_telling_can_be_switched_off(make_lull):
    lull = make_lull({"sites": {"shop": {"report_read_only": False}}})
    with lull.wire() as client:
        lull.on()
        assert client.quiet(0.3)
        with lull.wire() as newcomer:
            assert newcomer.parameters["default_transaction_read_only"] == "off"
        assert errors(client.query(UPDATE))[0]["C"] == "25006"


def test_libpq_finds_its_way(shared_lull, tables):
    """target_session_attrs reads what is reported."""
    lull = shared_lull
    lull.open_all()
    with lull.connect(target_session_attrs="read-write") as connection:
        connection.execute(UPDATE)
    lull.on()
    with pytest.raises(psycopg.OperationalError, match="read-only"):
        lull.connect(target_session_attrs="read-write")
    with lull.connect(target_session_attrs="read-only") as connection:
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (100,)
    lull.off()
