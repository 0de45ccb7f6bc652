"""What a session had begun, prepared, opened or set before the site was sealed obeys from the flip on (the other ways around are in
test_escapes.py)."""
import time

import pytest

from harness.cluster import APP_PASSWORD
from harness.escapes import INSERT, WRITE
from harness.fingerprint import changes, fingerprint
from harness.lull import Lull
from harness.wait import wait_for
from harness.wire import Closed, bind, copy_data, copy_done, errors, execute, message, parse, query, rows, sync, tags

SUPERUSER_PASSWORD = "superuser-secret"
LOGIN = {"app": APP_PASSWORD, "postgres": SUPERUSER_PASSWORD}


@pytest.fixture(scope="module")
def open_lulls(cluster):
    made = {}

    def of(replicas):
        if replicas not in made:
            made[replicas] = Lull(cluster, {"users": {"postgres": {"password": SUPERUSER_PASSWORD}}}, replicas).start()
        return made[replicas]

    yield of
    for lull in made.values():
        lull.remove()


@pytest.fixture(params=[(True, "app"), (False, "app"), (False, "postgres")], ids=["frozen replica", "primary alone", "superuser"])
def flip(request, open_lulls, cluster, primary):
    """A Lull before the flip; seal() seals, and the end checks that nothing changed since."""
    replicas, role = request.param
    primary.sql(f"ALTER ROLE postgres PASSWORD '{SUPERUSER_PASSWORD}'")
    cluster.reset("shop")  # a standby that another Lull has frozen would not be fresh for this one
    lull = open_lulls(replicas)
    lull.open_all()
    state = {}

    class Flip:
        def wire(self):
            return lull.wire(user=role, password=LOGIN[role])

        def seal(self):
            state["epoch"] = lull.on(drain_timeout_ms=15000, on_deadline="abort")["epoch"]
            state["before"] = fingerprint(primary)

        def seal_over_a_writer(self):
            """Its block is ended at the deadline."""
            lull.begin(drain_timeout_ms=100, on_deadline="cancel")
            lull.wait_mode("sealed")
            self.seal()

    one = Flip()
    one.lull = lull
    yield one
    assert changes(state["before"], fingerprint(primary)) == []
    lull.off()


def test_statement_prepared_before(flip):
    with flip.wire() as client:
        client.ask(parse("w", INSERT), parse("f", "SELECT bump()"), parse("b", "BEGIN READ WRITE"), parse("c", "COMMIT"), sync())
        flip.seal()
        for name in ("w", "f"):
            assert errors(client.ask(bind("", name), execute(), sync()))[0]["C"] == "25006"
        client.ask(bind("", "b"), execute(), sync(), bind("", "w"), execute(), sync(), bind("", "c"), execute(), sync(), ready=3)
        client.ask(bind("", "c"), execute(), bind("", "w"), execute(), sync())


def test_sql_prepare_before(flip):
    with flip.wire() as client:
        client.query("PREPARE w AS " + INSERT)
        client.query("PREPARE f AS SELECT sly()")
        client.query("PREPARE n AS SELECT nextval('counter')")
        client.query("PREPARE m AS SELECT pg_logical_emit_message(false, 'lull', 'x')")
        client.query("PREPARE look AS SELECT count(*) > 0 FROM items WHERE id = $1")
        flip.seal()
        for name in ("w", "f", "n", "m"):
            for sql in (f"EXECUTE {name}", f"EXPLAIN ANALYZE EXECUTE {name}", f"EXPLAIN EXECUTE {name}"):
                refused = errors(client.query(sql))
                assert refused and refused[0]["C"] == "25006", sql
            for sql in ("BEGIN", f"EXECUTE {name}", "COMMIT"):
                client.query(sql)
        assert client.one("EXECUTE look(1)") == "t"
        assert errors(client.query("EXECUTE look(nextval('counter'))"))[0]["C"] == "25006"


# In SQL that is put together: a plain PREPARE would keep its client on the server.
SWAP = """DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT p.name FROM pg_prepared_statements p WHERE p.name <> '' LOOP
        EXECUTE format('DEALLOCATE %I', name);
        EXECUTE concat('PREPARE ', quote_ident(name), ' AS SELECT sly() AS n');
    END LOOP;
    EXECUTE concat('PREPARE ', 'unseen AS SELECT sly() AS n');
END $$"""


@pytest.mark.parametrize("keeps", ["SELECT pg_advisory_lock(4711)", "BEGIN", None])
def test_statements_that_a_function_has_put_under_known_names(flip, keeps):
    """What was made by a way that Lull does not see is not run as what it knows under that name."""
    look = "SELECT n FROM items WHERE id = 1"
    with flip.wire() as client:
        client.query("PREPARE look AS " + look)
        client.ask(parse("s", look), sync())
        if keeps:
            client.query(keeps)
        client.query("EXECUTE look")
        client.ask(bind("", "s"), execute(), sync())
        client.query(SWAP)
        swapped = client.query("/* lull: primary */ SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%sly()%'")
        if keeps == "BEGIN":
            client.query("COMMIT")
            client.query("BEGIN")
            client.query(look)
        # Where nothing keeps the client there, that server is nobody's any more: a DO has run in it.
        assert (rows(swapped)[0][0] != "0") == bool(keeps)
        flip.seal()
        for _ in range(2):
            assert rows(client.query("EXECUTE look")) == [("0",)]
            assert rows(client.ask(bind("", "s"), execute(), sync())) == [("0",)]
        assert errors(client.query("EXECUTE unseen"))[0]["C"] == "25006"
        client.query("COMMIT")


def test_temporary_function_made_before(flip):
    """What its source shows is refused by name, as for one that stays."""
    with flip.wire() as client:
        client.query("CREATE FUNCTION pg_temp.sneaks() RETURNS bigint LANGUAGE plpgsql AS "
                     "$$ BEGIN RESET transaction_read_only; RETURN nextval('counter'); END $$")
        client.query("CREATE TEMP VIEW sneaking AS SELECT nextval('counter') AS n")
        time.sleep(1)  # the catalog is read within catalog_interval of a change
        flip.seal()
        for sql in ("SELECT pg_temp.sneaks()", "SELECT n FROM pg_temp.sneaking", "SELECT n FROM sneaking"):
            refused = errors(client.query(sql))
            assert refused and refused[0]["C"] == "25006", sql
    time.sleep(0.5)  # they would go with their session, which stays until the site is open


def test_block_begun_before(flip):
    with flip.wire() as read_some, flip.wire() as nothing_yet, flip.wire() as read_write:
        read_some.query("BEGIN")
        read_some.query("SELECT count(*) FROM items")
        nothing_yet.query("BEGIN")
        read_write.query("BEGIN READ WRITE")
        flip.seal()
        for client in (read_some, nothing_yet, read_write):
            for sql in (WRITE, "ROLLBACK TO x", "COMMIT", WRITE):
                client.query(sql)


def test_block_with_savepoints_begun_before(flip):
    with flip.wire() as client:
        for sql in ("BEGIN", "SELECT 1", "SAVEPOINT a", "SELECT count(*) FROM items"):
            client.query(sql)
        flip.seal()
        for sql in ("ROLLBACK TO a", WRITE, "ROLLBACK TO a", "SET TRANSACTION READ WRITE", "RELEASE a", WRITE, "COMMIT"):
            client.query(sql)


def test_cursor_opened_before(flip):
    """A cursor over a function that writes: the block that opened it counts as a writer, or the fetch writes nothing."""
    with flip.wire() as client:
        client.query("BEGIN")
        client.query("DECLARE c CURSOR FOR SELECT bump() FROM generate_series(1, 5)")
        flip.seal_over_a_writer()
        client.query("FETCH 1 FROM c")
        client.query("COMMIT")


def test_cursor_with_hold_opened_before(flip):
    with flip.wire() as client:
        client.query("BEGIN")
        client.query("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM items ORDER BY id")
        client.query("COMMIT")
        flip.seal()
        client.query("FETCH 1 FROM c")
        client.query(WRITE)


def test_portal_suspended_before(flip):
    with flip.wire() as client:
        client.query("BEGIN")
        client.ask(parse("", "SELECT bump() FROM generate_series(1, 5)"), bind("p"), execute("p", 1), sync())
        flip.seal_over_a_writer()
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


def test_temporary_table_made_before(flip):
    """Its owner's server stays its own; what it may do there is not more than others."""
    with flip.wire() as client:
        client.query("CREATE TEMP TABLE mine (a int)")
        client.query("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'UPDATE public.items SET n = n + 1 RETURNING 1'")
        flip.seal()
        for sql in ("INSERT INTO mine VALUES (1)", "SELECT pg_temp.f()", WRITE, "BEGIN", "SELECT * FROM mine", "COMMIT", WRITE):
            client.query(sql)
    time.sleep(0.5)  # the table would go with its session, which stays until the site is open


def test_settings_made_before(flip):
    with flip.wire() as client:
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
    with flip.wire() as client:
        client.query("BEGIN")
        client.query("SELECT lo_from_bytea(4242, 'old')")
        client.query("SELECT lo_open(4242, 131072)")
        flip.seal_over_a_writer()
        client.query("SELECT lowrite(0, 'new')")
        client.query("COMMIT")


def test_pipeline_without_its_sync_begun_before(flip):
    with flip.wire() as client:
        client.send(parse("", INSERT), bind(), execute(), message("H", b""))
        client.until("C")
        flip.lull.begin(drain_timeout_ms=100, on_deadline="terminate")
        flip.lull.wait_mode("sealed")
        flip.seal()
        try:
            client.ask(parse("", INSERT), bind(), execute(), sync())
        except (Closed, ConnectionError):
            pass


def test_procedure_that_commits_inside_runs_on(flip, primary):
    """It is waited for to its end, and not only to one of its commits."""
    with flip.wire() as client:
        client.send(query("DO $$BEGIN FOR i IN 1..8 LOOP INSERT INTO log (who) VALUES ('again'); COMMIT; PERFORM pg_sleep(0.1); "
                          "END LOOP; END$$"))
        wait_for(lambda: primary.one("SELECT count(*) FROM log", db="shop") > 0, "it has begun")
        flip.seal()
        assert primary.one("SELECT count(*) FROM log", db="shop") == 8
        assert not errors(client.until("Z"))


def test_dblink_opened_before(flip, primary):
    """A session of the server's own, which no transaction of ours governs: nobody may use it from here on."""
    primary.sql("CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public", db="shop")
    with flip.wire() as client:
        connected = client.query(f"SELECT dblink_connect('x', 'host=127.0.0.1 port={primary.port} dbname=shop user=app "
                                 f"password={APP_PASSWORD}')")
        assert not errors(connected), connected
        flip.seal()
        for sql in ("SELECT dblink_exec('x', 'INSERT INTO log (who) VALUES (1)')", "BEGIN",
                    "SELECT * FROM dblink('x', 'INSERT INTO log (who) VALUES (1) RETURNING 1') AS t(a int)", "COMMIT"):
            client.query(sql)
