"""Writes to temporary tables that clients had before the site was sealed, where its guard allows them: nothing else gets through."""
import psycopg
import pytest

from harness.fingerprint import changes, fingerprint
from harness.wait import wait_for
from harness.wire import bind, copy_data, copy_done, errors, execute, parse, query, rows, statuses, sync, tags

SUPERUSER_PASSWORD = "superuser-secret"
WRITE = "UPDATE items SET n = n + 1 WHERE id = 1"

# Tables that could run something: as they are made, and what would then write.
SLY = "CREATE FUNCTION pg_temp.sly() RETURNS int LANGUAGE plpgsql AS $$BEGIN RESET transaction_read_only; " \
      "UPDATE public.items SET n = n + 1 WHERE id = 1; RETURN 1; END$$"
TRIGGER = "CREATE FUNCTION pg_temp.t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RESET transaction_read_only; " \
          "UPDATE public.items SET n = n + 1 WHERE id = 1; RETURN NEW; END$$"
CHECKED = "CREATE FUNCTION pg_temp.ok(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM public.sly(); RETURN true; END$$"
TRAPS = {
    "a trigger": [TRIGGER, "CREATE TEMP TABLE trap (a int)",
                  "CREATE TRIGGER t BEFORE INSERT ON trap FOR EACH ROW EXECUTE FUNCTION pg_temp.t()"],
    "a rule": ["CREATE TEMP TABLE trap (a int)", "CREATE RULE r AS ON INSERT TO trap DO ALSO SELECT public.sly()"],
    "a default": [SLY, "CREATE TEMP TABLE trap (a int, b int DEFAULT pg_temp.sly())"],
    "a default of the server's own": ["CREATE TEMP TABLE trap (a int, b oid DEFAULT lo_create(0))"],
    "a check": [CHECKED, "CREATE TEMP TABLE trap (a int CHECK (pg_temp.ok(a)))"],
    "an index": [CHECKED, "CREATE TEMP TABLE trap (a int)", "CREATE INDEX ON trap ((pg_temp.ok(a)))"],
    "a policy": ["CREATE TEMP TABLE trap (a int)", "ALTER TABLE trap ENABLE ROW LEVEL SECURITY",
                 "ALTER TABLE trap FORCE ROW LEVEL SECURITY", "CREATE POLICY p ON trap WITH CHECK (public.sly() = 1)"],
    "a domain": ["CREATE DOMAIN pg_temp.d AS int CHECK (public.sly() = VALUE)", "CREATE TEMP TABLE trap (a pg_temp.d)"],
    "a domain in an array": ["CREATE DOMAIN pg_temp.d AS int CHECK (public.sly() = VALUE)", "CREATE TEMP TABLE trap (a int, b pg_temp.d[])"],
    "a view": [TRIGGER, "CREATE TEMP VIEW trap AS SELECT 1 AS a",
               "CREATE TRIGGER t INSTEAD OF INSERT ON trap FOR EACH ROW EXECUTE FUNCTION pg_temp.t()"],
    "a constraint that waits for the end": ["CREATE TEMP TABLE trap (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)"],
    "a domain behind an operator in the session's path": [
        "CREATE FUNCTION pg_temp.gt(int2, int4) RETURNS bool LANGUAGE plpgsql AS $$BEGIN PERFORM public.sly(); RETURN false; END$$",
        "CREATE DOMAIN pg_temp.d AS int CHECK (public.sly() = VALUE)", "CREATE TEMP TABLE trap (a pg_temp.d)",
        "CREATE OPERATOR pg_temp.> (FUNCTION = pg_temp.gt, LEFTARG = int2, RIGHTARG = int4)",
        "SET search_path = pg_temp, pg_catalog, public"],
}


@pytest.fixture(params=[True, False], ids=["frozen replica", "primary alone"])
def lull(request, make_lull, primary):
    primary.sql(f"ALTER ROLE postgres PASSWORD '{SUPERUSER_PASSWORD}'")
    return make_lull({"sites": {"shop": {"guard": {"temporary_tables": "write"}}},
                      "users": {"postgres": {"password": SUPERUSER_PASSWORD}}}, replicas=request.param)



def seal(lull):
    """Until the catalog has been read again behind the flip, nothing is certain; and beside a frozen replica, one that was changed
    within the last moments counts as unknown throughout: then once more."""
    for last in (False, False, False, True):
        with lull.wire() as probe:
            probe.query("CREATE TEMP TABLE probe (a int)")
            lull.on()
            try:
                wait_for(lambda: not errors(probe.query("INSERT INTO probe VALUES (1)")), "the catalog is known", 3)
                break
            except AssertionError:
                if last:
                    raise
                lull.off()


def both(client, sql):
    return client.query(sql), client.extended(sql)


def test_temporary_tables_are_written_and_stay_written(lull, primary):
    with lull.wire() as client:
        client.query("CREATE TEMP TABLE mine (id serial PRIMARY KEY, a text DEFAULT upper('x'), at timestamptz DEFAULT now())")
        client.query("CREATE TEMP TABLE child (id int REFERENCES mine, tags text[] CHECK (cardinality(tags) < 5))")
        seal(lull)
        before = fingerprint(primary)
        assert tags(client.query("INSERT INTO mine (a) VALUES ('one')")) == ["INSERT 0 1"]
        for answer in both(client, "INSERT INTO mine (a) SELECT name FROM items WHERE id < 3"):
            assert tags(answer) == ["INSERT 0 2"] and statuses(answer) == "I"
        for answer in both(client, "UPDATE mine SET a = lower(a) || '!' WHERE id > 1"):
            assert tags(answer) == ["UPDATE 4"]
        assert client.one("SELECT count(*) FROM mine") == "5"
        client.query("BEGIN")
        assert tags(client.query("DELETE FROM mine WHERE id = 2 RETURNING a")) == ["DELETE 1"]
        client.query("SAVEPOINT a")
        client.query("DELETE FROM mine")
        client.query("ROLLBACK TO a")
        client.send(query("COPY mine (a) FROM STDIN"))
        assert client.until("GE")[-1].type == "G"
        assert tags(client.ask(copy_data(b"copied\n"), copy_done())) == ["COPY 1"]
        assert tags(client.extended("INSERT INTO child VALUES (1, '{a,b}')")) == ["INSERT 0 1"]
        assert tags(client.query("COMMIT")) == ["COMMIT"]
        assert rows(client.query("SELECT count(*), (SELECT count(*) FROM child) FROM mine")) == [("5", "1")]
        client.query("BEGIN")
        client.query("DELETE FROM mine")
        client.query("ROLLBACK")
        assert client.one("SELECT count(*) FROM mine") == "5"
        answer = client.ask(parse("", "BEGIN"), bind(), execute(), parse("", "DELETE FROM child"), bind(), execute(),
                            parse("", "COMMIT"), bind(), execute(), sync())
        assert tags(answer) == ["BEGIN", "DELETE 1", "COMMIT"]
        assert client.one("SELECT count(*) FROM child") == "0"
        client.query("INSERT INTO mine VALUES (1)")  # fails, and its transaction with it
        assert statuses(client.query("SELECT 1")) == "I"
        assert changes(before, fingerprint(primary)) == []
        lull.off()
        assert tags(client.query(WRITE)) == ["UPDATE 1"]
        assert client.one("SELECT count(*) FROM mine") == "5", "and it is the same session still"


@pytest.mark.parametrize("role", ["app", "postgres"])
def test_nothing_else_is_written(lull, primary, role):
    with lull.wire(user=role, password={"postgres": SUPERUSER_PASSWORD}.get(role)) as client:
        client.query("CREATE TEMP TABLE mine (a int)")
        client.query("PREPARE w AS " + WRITE)
        client.query("CREATE FUNCTION unknown() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'")
        seal(lull)
        before = fingerprint(primary)
        assert tags(client.query("INSERT INTO mine VALUES (1)")) == ["INSERT 0 1"]
        for sql in (WRITE, "INSERT INTO log (who) SELECT 'x' FROM mine", "INSERT INTO mine SELECT bump()", "INSERT INTO mine SELECT sly()",
                    "INSERT INTO mine SELECT nextval('counter')", "WITH x AS (INSERT INTO log (who) VALUES ('x') RETURNING 1) "
                    "INSERT INTO mine SELECT * FROM x", "INSERT INTO mine SELECT x FROM sly_view", "TRUNCATE mine", "DROP TABLE mine",
                    "CREATE TEMP TABLE other (a int)", "EXECUTE w", "INSERT INTO mine VALUES (1); " + WRITE, "SELECT lo_create(0)",
                    "INSERT INTO mine SELECT lo_create(0)", "UPDATE pg_settings SET setting = 'off' WHERE name = 'transaction_read_only'",
                    "ALTER TABLE mine ADD b int DEFAULT public.sly()", "COPY mine FROM PROGRAM 'echo 1'"):
            for answer in both(client, sql):
                assert errors(answer), sql
                assert statuses(answer) == "I", sql
        client.query("BEGIN")
        client.query("INSERT INTO mine VALUES (1)")
        client.query("SAVEPOINT a")
        for sql in ("SELECT sly()", "SELECT bump()", "EXECUTE w", WRITE, "RESET transaction_read_only", "SET TRANSACTION READ WRITE",
                    "SELECT set_config('transaction_read_only', NULL, true)"):
            assert errors(client.query(sql)), sql
            client.query("ROLLBACK TO a")
        assert tags(client.query("COMMIT")) == ["COMMIT"]
        client.query("BEGIN")
        assert not errors(client.query("SELECT unknown()"))
        assert errors(client.query("INSERT INTO mine VALUES (1)"))[0]["C"] == "25006", "nor behind what nobody knows"
        client.query("COMMIT")
        assert changes(before, fingerprint(primary)) == []
    lull.off()


def test_tables_that_could_run_something_are_refused(lull, primary):
    clients = {name: lull.wire() for name in TRAPS}
    for name, script in TRAPS.items():
        for sql in ["CREATE TEMP TABLE own (a int)"] + script:
            assert not errors(clients[name].query(sql)), (name, sql)
    seal(lull)
    before = fingerprint(primary)
    for name, client in clients.items():
        for shape in ("query", "extended", "block"):
            if shape == "block":
                client.query("BEGIN")
            answer = (client.extended if shape == "extended" else client.query)("INSERT INTO trap (a) VALUES (1)")
            found = errors(answer)[0]
            assert found["C"] == "25006" and found["M"] == "cannot execute INSERT in a read-only transaction", (name, found)
            assert "temporary table" in found["D"] and "Expected end" not in found["D"], name
            assert statuses(answer) == ("E" if shape == "block" else "I"), name
            client.query("COMMIT")
            assert rows(client.query("SELECT 1")) == [("1",)]
        assert changes(before, fingerprint(primary)) == [], name
    for client in clients.values():
        client.close()
    lull.off()


def test_a_foreign_table_among_them_is_refused(lull, primary):
    primary.sql("CREATE EXTENSION IF NOT EXISTS postgres_fdw; CREATE SERVER IF NOT EXISTS far FOREIGN DATA WRAPPER postgres_fdw "
                f"OPTIONS (host '127.0.0.1', port '{primary.port}', dbname 'shop'); "
                "CREATE USER MAPPING IF NOT EXISTS FOR app SERVER far OPTIONS (user 'app', password 'app-secret'); "
                "GRANT USAGE ON FOREIGN SERVER far TO app", db="shop")
    try:
        with lull.wire() as client:
            client.query("CREATE TEMP TABLE mine (a int)")
            assert not errors(client.query("CREATE FOREIGN TABLE pg_temp.trap (who text) SERVER far OPTIONS (table_name 'log')"))
            seal(lull)
            before = fingerprint(primary)
            for sql in ("INSERT INTO trap VALUES ('x')", "INSERT INTO mine VALUES (1)"):
                for answer in both(client, sql):
                    assert errors(answer)[0]["C"] == "25006", sql
            assert changes(before, fingerprint(primary)) == []
            lull.off()
    finally:
        primary.sql("DROP EXTENSION postgres_fdw CASCADE", db="shop")


@pytest.mark.parametrize("extended", [False, True])
def test_unlisten_counts_while_sealed(lull, primary, extended):
    with lull.wire() as client:
        client.query("LISTEN news")
        seal(lull)
        segment = [parse("", "UNLISTEN news"), bind(), execute(), sync()]
        assert tags(client.ask(*segment) if extended else client.query("UNLISTEN news")) == ["UNLISTEN"]
        primary.sql("NOTIFY news", db="shop")
        assert [m.type for m in client.query("SELECT 1") if m.type == "A"] == []
        lull.off()
        assert [m.type for m in client.query("SELECT 1") if m.type == "A"] == []


def test_drivers_fill_their_temporary_tables(lull):
    with lull.connect(autocommit=False) as connection:
        connection.execute("CREATE TEMP TABLE mine (a int)")
        connection.commit()
        seal(lull)
        with connection.cursor() as cursor:
            with cursor.copy("COPY mine FROM STDIN") as copy:
                copy.write_row((1,))
            cursor.executemany("INSERT INTO mine VALUES (%s)", [(2,), (3,)])
        connection.commit()
        assert connection.execute("SELECT sum(a) FROM mine").fetchone() == (6,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute(WRITE)
        connection.rollback()
        lull.off()
