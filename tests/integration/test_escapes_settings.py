"""Settings are no way around a sealed site: neither by what a SELECT of set_config() may call, nor by the text of a SET, which a
session with other settings reads otherwise. (Other ways around are in test_escapes.py.)"""
import pytest

from harness.cluster import APP_PASSWORD
from harness.fingerprint import changes, fingerprint
from harness.wait import wait_for
from harness.wire import Closed, Wire, bind, errors, execute, parse, rows, sync, tags

EVIL = """
DROP SCHEMA IF EXISTS evil CASCADE;
SET ROLE app;
CREATE SCHEMA evil;
-- Out of READ ONLY by SQL that no source shows, and out of what is rolled back by a sequence.
CREATE FUNCTION evil.write(what pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$BEGIN
  EXECUTE 'RES' || 'ET transaction_' || 'read_only';
  PERFORM pg_catalog.set_config('default_transaction_' || 'read_only', 'off', false);
  INSERT INTO public.log (who, what) VALUES ('escaped', what);
  RETURN 'x';
END$$;
CREATE FUNCTION evil.checked(t pg_catalog.text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN PERFORM evil.write(t); RETURN true; END$$;
CREATE FUNCTION evil.checked(b bool) RETURNS bool LANGUAGE plpgsql AS $$BEGIN PERFORM evil.write('bool'); RETURN true; END$$;
CREATE DOMAIN evil.text AS pg_catalog.text CHECK (evil.checked(VALUE));
CREATE DOMAIN evil.bool AS pg_catalog.bool CHECK (evil.checked(VALUE));
CREATE FUNCTION evil.set_config(pg_catalog.text, pg_catalog.text, pg_catalog.bool) RETURNS pg_catalog.text LANGUAGE plpgsql AS
  $$BEGIN RETURN evil.write('set_config'); END$$;
RESET ROLE;
"""

SETTERS = [
    "SELECT set_config('app.x', 'domain'::evil.text, false)",
    "SELECT pg_catalog.set_config('app.x', 'domain'::evil.text, false)",
    "SELECT set_config('app.x'::evil.text, 'y', false)",
    "SELECT set_config('app.x', 'y', 'false'::evil.bool)",
    "SELECT set_config('app.x', 'y', false::evil.bool)",
    "SELECT evil.set_config('app.x', 'y', false)",
    "SELECT set_config('app.x', 'y', false)",  # with evil in search_path
    "SELECT set_config('app.x', 'y'::text, false)",
]


@pytest.fixture
def evil(primary, tables):
    primary.sql(EVIL, db="shop")
    yield
    primary.sql("DROP SCHEMA evil CASCADE", db="shop")


@pytest.fixture(params=["as usual", "strict", "temporary tables"])
def guarded(request, make_lull, evil):
    guard = {"as usual": {}, "strict": {"functions": "refuse", "privileged": "refuse"},
             "temporary tables": {"temporary_tables": "write"}}[request.param]
    return make_lull({"sites": {"shop": {"guard": guard}}}, replicas=False)


@pytest.fixture
def role_defaults(primary):
    """Settings of the role, as at first afterwards."""

    def of(**settings):
        for name, value in settings.items():
            primary.sql(f"ALTER ROLE app SET {name} = '{value}'", db="shop")

    yield of
    primary.sql("ALTER ROLE app RESET ALL", db="shop")


def test_set_config_of_anybody(guarded, primary):
    with guarded.wire() as pinned, guarded.wire() as client:
        pinned.query("CREATE TEMP TABLE mine (a int)")
        guarded.on(drain_timeout_ms=5000, on_deadline="abort")
        before = fingerprint(primary)
        for session in (client, pinned):
            session.query("SET search_path = evil, pg_catalog")
            for sql in SETTERS:
                for _ in range(2):  # what the first leaves behind would help the second
                    session.query(sql)
                    session.ask(parse("", sql), bind(), execute(), sync())
                    session.query("BEGIN")
                    session.query("INSERT INTO pg_temp.mine VALUES (1)")
                    session.query(sql)
                    session.query("COMMIT")
                    session.query("SELECT 1; " + sql)
        changed = changes(before, fingerprint(primary))
        if guarded.config["sites"]["shop"]["guard"].get("functions") != "refuse":
            # Made-up SQL moves a sequence, which no rollback undoes: see test_open_holes.py.
            changed = [what for what in changed if not what.startswith("sequence")]
        assert changed == []
    guarded.off()


def test_what_was_set_before_is_set_again_by_its_value(guarded, primary):
    """What a client's text calls, Lull must not call in its stead."""
    with guarded.wire() as a, guarded.wire() as b:
        a.query("SET search_path = evil, pg_catalog")
        for session, sql in zip((a, b), (SETTERS[6], SETTERS[0])):
            session.query(sql)
        guarded.on(drain_timeout_ms=5000, on_deadline="abort")
        before = fingerprint(primary)
        for session in (a, b):
            for _ in range(3):
                session.query("SELECT 1")
        assert changes(before, fingerprint(primary)) == []
    guarded.off()


COMMITS = "; COMMIT; RESET transaction_read_only; SET default_transaction_read_only = off; INSERT INTO public.log (who, what) " \
          "VALUES (1, 2); --"


def test_a_set_is_not_read_by_the_rules_of_another_session(guarded, primary, role_defaults):
    role_defaults(standard_conforming_strings="off")
    with guarded.wire() as client:
        client.query("SET standard_conforming_strings = on")
        assert tags(client.query(f"SET search_path = 'a\\', '{COMMITS}'")) == ["SET"]
        guarded.on(drain_timeout_ms=5000, on_deadline="abort")
        before = fingerprint(primary)
        for _ in range(2):
            client.query("SELECT 1")
        assert client.one("SHOW search_path") == f'"a\\", "{COMMITS}"'
        assert changes(before, fingerprint(primary)) == []
    guarded.off()


def test_startup_parameters_in_an_encoding_that_hides_quotes(guarded, primary, role_defaults):
    role_defaults(client_encoding="SJIS", backslash_quote="on")
    guarded.on(drain_timeout_ms=5000, on_deadline="abort")
    before = fingerprint(primary)
    for name in (b"\x83\x5c\x27,false);COMMIT;RESET transaction_read_only;INSERT INTO public.log (who,what) VALUES (1,3);--",
                 b"\x83\x5c',false);COMMIT;SET default_transaction_read_only=off;--", b"\\',false);COMMIT;SELECT 1;--"):
        with Wire("127.0.0.1", guarded.port) as client:
            try:
                client.login("app", APP_PASSWORD, "shop", application_name=name)
                client.query("SELECT 1")
                client.query("INSERT INTO log (who) VALUES ('x')")
            except (Closed, RuntimeError):
                pass  # what is not of the encoding is refused
    assert changes(before, fingerprint(primary)) == []
    guarded.off()


def test_a_statement_is_judged_again_where_it_would_be_read_otherwise(guarded, primary, role_defaults):
    """What was prepared while backslashes were letters is prepared again where they are escapes."""
    hidden = "SELECT 'a\\', ', set_config($$transaction_read_only$$, null, false), nextval($$counter$$) --'"
    with guarded.wire() as client:
        client.ask(parse("p", hidden), sync())
        role_defaults(standard_conforming_strings="off")
        guarded.on(drain_timeout_ms=5000, on_deadline="abort")
        before = fingerprint(primary)
        for _ in range(2):
            client.query("SELECT 1")
            client.ask(bind("", "p"), execute(), sync())
            client.ask(parse("", hidden), bind(), execute(), sync())
        assert changes(before, fingerprint(primary)) == []
    guarded.off()


# -- as PostgreSQL would have it --------------------------------------------------------------------------------------

VALUES = [
    ("SET search_path = a, b", "search_path"),
    ("SET search_path = 'A', \"b c\", \"select\", ''", "search_path"),
    ("SET search_path = 'a, b'", "search_path"),
    ("SET SCHEMA 'X'", "search_path"),
    ("SET search_path = 'back\\slash'", "search_path"),
    ("SET temp_tablespaces = ''", "temp_tablespaces"),
    ("SET datestyle = SQL, DMY", "datestyle"),
    ("SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "timezone"),
    ("SET TIME ZONE -7", "timezone"),
    ("SET TIME ZONE 'Europe/Vienna'", "timezone"),
    ("SET NAMES 'LATIN1'", "client_encoding"),
    ("SET application_name = 'C:\\'", "application_name"),
    ("SET application_name = E'tab\\tquote''backslash\\\\'", "application_name"),
    ("SET app.text = 'häßlich'", "app.text"),
    ("SET app.text = 'it''s \\ \"quoted\"; -- /*'", "app.text"),
    ("SET app.text = 'two\nlines'", "app.text"),
    ("SET app.text = 1.50", "app.text"),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, DEFERRABLE", "default_transaction_isolation"),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, DEFERRABLE", "default_transaction_deferrable"),
    ("SET ROLE helper_role", "role"),
    ("SET extra_float_digits = -3", "extra_float_digits"),
    ("SET work_mem = 2048", "work_mem"),
    ("SET statement_timeout = '1min'", "statement_timeout"),
    ("SET XML OPTION DOCUMENT", "xmloption"),
    ("SELECT set_config('search_path', 'a,B, \"C\"', false)", "search_path"),
    ("SELECT set_config('app.text', 'y'::text, false)", "app.text"),
    ("SELECT pg_catalog.set_config('app.text', E'\\\\', false)", "app.text"),
]


def test_values_are_as_in_postgresql_on_every_server(make_lull, primary):
    """Each is made on one server and shown on another, by clients that take it from each other; open, and sealed."""
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 1}}}, replicas=False)
    with Wire("127.0.0.1", primary.port) as direct:
        direct.login("app", APP_PASSWORD, "shop")
        expected = []
        for sql, name in VALUES:
            assert not errors(direct.query(sql)), sql
            expected.append(rows(direct.query(f"SHOW {name}")))
            direct.query("RESET ROLE; RESET ALL")
    for mode in ("open", "set before, shown sealed", "sealed"):
        for (sql, name), value in zip(VALUES, expected):
            with lull.wire() as a:
                if mode == "sealed":
                    lull.on()
                assert not errors(a.query(sql)), (mode, sql)
                if mode == "set before, shown sealed":
                    lull.on()
                if "INTERVAL" not in sql:  # that one keeps its server
                    with lull.wire() as b:
                        for other in ("on", "off") if mode == "open" else ("on",):
                            b.query(f"SET standard_conforming_strings = {other}")
                        b.query("SET client_encoding = 'LATIN1'")
                        b.query("SELECT 1")
                for _ in range(2):
                    assert rows(a.query(f"SHOW {name}")) == value, (mode, sql)
            lull.open_all()


def test_startup_parameters_with_backslashes_harm_nobody(make_lull):
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 1}}}, replicas=False)
    with lull.wire() as a, lull.wire(application_name="C:\\") as b:
        a.query("SET standard_conforming_strings = off")
        assert b.one("SHOW application_name") == "C:\\"
        assert tags(b.query("SET application_name = 'D:\\'")) == ["SET"]
        for _ in range(3):
            assert not errors(a.query("SELECT 1"))
            assert b.one("SHOW application_name") == "D:\\"


def test_a_journaled_write_is_run_whatever_its_session_had_set(make_lull, primary, role_defaults):
    role_defaults(standard_conforming_strings="off", datestyle="ISO, DMY")
    primary.sql("GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system(), pg_catalog.pg_walfile_name(pg_lsn), "
                "pg_catalog.pg_current_wal_insert_lsn() TO PUBLIC", db="shop")
    lull = make_lull({"sites": {"shop": {"writes": "journal"}}}, replicas=False)
    with lull.wire() as client:
        client.query("SET standard_conforming_strings = on")
        client.query("SET application_name = 'C:\\'")
        lull.on()
        assert tags(client.query("INSERT INTO log (who, what) VALUES ('acknowledged', 'C:\\')")) == ["INSERT 0 1"]
        assert tags(client.query("INSERT INTO log (who, what) VALUES ('date', '02/01/2026'::date::text)")) == ["INSERT 0 1"]
        role_defaults(datestyle="ISO, MDY")  # by the migration
        lull.off()
        wait_for(lambda: lull.site()["mode"] == "read_write", "the journal has been run")
        assert primary.sql("SELECT who, what FROM log ORDER BY id", db="shop") == [("acknowledged", "C:\\"), ("date", "2026-01-02")]
        assert lull.site()["journal"]["last"]["done"] == 2
