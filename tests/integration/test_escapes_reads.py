"""What is taken for a read is no way around a sealed site: not while it is sealed, and not where it had begun before."""
import time

import pytest

from harness.fingerprint import changes, fingerprint
from harness.wait import wait_for
from harness.wire import bind, describe, errors, execute, flush, parse, query, rows, sync, tags

EVIL = """
DROP SCHEMA IF EXISTS evil CASCADE;
SET ROLE app;
CREATE SCHEMA evil;
CREATE FUNCTION evil.write(what text) RETURNS text LANGUAGE plpgsql AS $$BEGIN
  EXECUTE 'RES' || 'ET transaction_' || 'read_only';
  INSERT INTO public.log (who, what) VALUES ('escaped', what);
  RETURN 'x';
END$$;
CREATE FUNCTION evil.checked(t text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN PERFORM evil.write(t); RETURN true; END$$;
CREATE FUNCTION evil.checked(t items) RETURNS bool LANGUAGE plpgsql AS $$BEGIN PERFORM evil.write(t.name); RETURN true; END$$;
CREATE FUNCTION evil.same(oid, oid) RETURNS bool LANGUAGE plpgsql AS
  $$BEGIN PERFORM evil.write('='); RETURN $1 OPERATOR(pg_catalog.=) $2; END$$;
CREATE FUNCTION evil.same(text, text) RETURNS bool LANGUAGE plpgsql AS
  $$BEGIN PERFORM evil.write('='); RETURN $1 OPERATOR(pg_catalog.=) $2; END$$;
CREATE DOMAIN evil.dom AS text CHECK (evil.checked(VALUE));
CREATE TYPE evil.row AS (a evil.dom);
CREATE DOMAIN public.lower AS text CHECK (evil.checked(VALUE));
CREATE DOMAIN public.plain AS text CHECK (evil.checked(VALUE));
CREATE DOMAIN public.of_items AS items CHECK (evil.checked(VALUE));
CREATE VIEW public.shown AS SELECT 'x'::text AS x;
RESET ROLE;
"""
# What would be chosen before PostgreSQL's own: in a schema that only some tests have in their search_path.
EQUALS = """
CREATE OPERATOR evil.= (FUNCTION = evil.same, LEFTARG = oid, RIGHTARG = oid);
CREATE OPERATOR evil.= (FUNCTION = evil.same, LEFTARG = text, RIGHTARG = text);
RESET ROLE;
"""
# With it every relation counts as unknown.
SPAN = "SET ROLE app; CREATE TYPE evil.span AS RANGE (SUBTYPE = evil.dom); RESET ROLE"
OF_SPAN = {
    "range_in": "SELECT range_in('[a,b]', 'evil.span'::regtype, -1) IS NULL",
    "multirange_in": "SELECT multirange_in('{[a,b]}', 'evil.span_multirange'::regtype, -1) IS NULL",
}
READS = {
    "domain_in": "SELECT domain_in('x', 'evil.dom'::regtype, -1) IS NULL",
    "array_in": "SELECT array_in('{x}', 'evil.dom'::regtype, -1) IS NULL",
    "record_in": "SELECT record_in('(x)', 'evil.row'::regtype, -1) IS NULL",
    "a type named like a built-in function": "SELECT lower('x')",
    "a type as an attribute of a value": "SELECT (name).plain FROM items LIMIT 1",
    "a type as an attribute of a row": "SELECT items.of_items FROM items LIMIT 1",
    "a type as a function": "SELECT public.plain('x')",
    "a record from JSON": "SELECT json_populate_record(NULL::evil.row, '{\"a\": 1}')",
    "columns from JSON": "SELECT * FROM json_to_record('{\"a\": 1}') AS x(a evil.dom)",
}
SHADOWED = {
    "pg_get_viewdef": "SELECT pg_get_viewdef('shown'::regclass)",
    "pg_views": "SELECT definition FROM pg_views WHERE viewname = 'shown'",
    "CASE": "SELECT CASE 'a'::text WHEN 'b' THEN 1 END",
    "IN": "SELECT 'a'::text IN (SELECT 'b'::text)",
    "USING": "SELECT * FROM (VALUES ('a'::text)) a(x) JOIN (VALUES ('a'::text)) b(x) USING (x)",
}
# Made in the last moment, when no look at the catalog has found it yet.
FRESH = {
    "a domain": ("CREATE DOMAIN public.fresh AS text CHECK (evil.checked(VALUE))", "SELECT 'x'::fresh"),
    "a view": ("CREATE OR REPLACE VIEW public.shown AS SELECT evil.write('view') AS x", "SELECT x FROM shown"),
    "an operator": ("CREATE OPERATOR public.=== (FUNCTION = evil.same, LEFTARG = text, RIGHTARG = text)", "SELECT 'a'::text === 'b'::text"),
    "a type named like a built-in": ("CREATE DOMAIN public.upper AS text CHECK (evil.checked(VALUE))", "SELECT upper('x')"),
    "a function named like a built-in": ("CREATE FUNCTION public.upper(unknown_to_all text) RETURNS text LANGUAGE sql AS "
                                         "$$SELECT evil.write('upper')$$", "SELECT public.upper('x'::text)"),
}


@pytest.fixture
def evil(primary, tables):
    primary.sql(EVIL, db="shop")
    yield
    primary.sql("DROP SCHEMA evil CASCADE; DROP DOMAIN IF EXISTS public.lower, public.plain, public.of_items", db="shop")


@pytest.fixture
def alone(make_lull, evil):
    """One catalog look that finds what EVIL made, and none after it."""
    return make_lull({"clusters": {"main": {"catalog_interval": "10min"}}}, replicas=False)


def slow(sql, seconds=2):
    """The same statement, not at its end before the flip."""
    return f"SELECT pg_sleep({seconds}); " + sql if "SELECT *" in sql else sql.replace("SELECT ", f"SELECT pg_sleep({seconds}), ", 1)


def seal(lull):
    return lull.on(drain_timeout_ms=10000, on_deadline="abort")


def in_flight(lull, primary, client, sql):
    client.send(query(slow(sql)))
    wait_for(lambda: primary.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "it runs")
    seal(lull)
    before = primary.sql("SELECT count(*) FROM log", db="shop")
    client.until("Z")
    time.sleep(0.1)
    assert primary.sql("SELECT count(*) FROM log", db="shop") == before, sql
    lull.off()


@pytest.mark.parametrize("name", READS)
def test_in_flight_over_the_flip(alone, primary, name):
    with alone.wire() as client:
        in_flight(alone, primary, client, READS[name])


@pytest.mark.parametrize("name", OF_SPAN)
def test_in_flight_over_the_flip_with_a_range(alone, primary, name):
    primary.sql(SPAN, db="shop")
    with alone.wire() as client:
        in_flight(alone, primary, client, OF_SPAN[name])


@pytest.mark.parametrize("name", FRESH)
def test_in_flight_over_the_flip_and_made_just_before(alone, primary, name):
    make, sql = FRESH[name]
    with alone.wire() as a, alone.wire() as b:
        assert not errors(a.query(make))
        in_flight(alone, primary, b, sql)


GUARDS = pytest.mark.parametrize("guard", [{}, {"functions": "refuse", "privileged": "refuse"}, {"temporary_tables": "write"}],
                                 ids=["as usual", "strict", "temporary tables"])


def try_while_sealed(lull, primary, reads, path):
    strict = lull.config["sites"]["shop"].get("guard", {}).get("functions") == "refuse"
    with lull.wire() as owner, lull.wire() as client:
        owner.query("CREATE TEMP TABLE mine (a int)")
        seal(lull)
        wait_for(lambda: lull.site()["catalogs"][0]["fresh"], "the catalog has been read since")
        before, written = fingerprint(primary), primary.sql("SELECT count(*) FROM log", db="shop")
        for session in (client, owner):
            session.query(f"SET search_path = {path}")
            for name, sql in reads.items():
                answers = [session.query(sql), session.ask(parse("", sql), bind(), execute(), sync())]
                session.query("BEGIN")
                session.query("INSERT INTO pg_temp.mine VALUES (1)")
                session.query(sql)
                session.query("COMMIT")
                if strict:
                    assert all(errors(a)[0]["C"] == "25006" for a in answers), name
        if strict:  # (else made-up SQL moves a sequence: see test_open_holes.py)
            assert changes(before, fingerprint(primary)) == []
        assert primary.sql("SELECT count(*) FROM log", db="shop") == written
    lull.off()


@GUARDS
def test_while_sealed(make_lull, evil, primary, guard):
    try_while_sealed(make_lull({"sites": {"shop": {"guard": guard}}}, replicas=False), primary, READS, "public")


@GUARDS
def test_operators_that_no_text_names(make_lull, evil, primary, guard):
    primary.sql("SET ROLE app; " + EQUALS, db="shop")
    try_while_sealed(make_lull({"sites": {"shop": {"guard": guard}}}, replicas=False), primary, SHADOWED, "evil, pg_catalog, public")


def test_what_is_waited_for_is_named_and_obeys_the_deadline(alone, primary):
    long = "SELECT pg_sleep(30), count(*) FROM items"
    with alone.wire() as client:
        client.send(query(long))
        wait_for(lambda: primary.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "it runs")
        alone.begin(drain_timeout_ms=300, on_deadline="abort")
        wait_for(lambda: "pg_sleep(30)" in str(alone.site()), "status names it")
        wait_for(lambda: alone.site()["mode"] == "read_write", "sealing is given up")
        alone.begin(drain_timeout_ms=300, on_deadline="cancel")
        assert errors(client.until("Z"))[0]["C"] == "57014"
        alone.wait_mode("sealed")
        assert client.one("SELECT count(*) FROM items") == "100"
        alone.off()


def test_a_block_that_has_only_read_goes_on_behind_its_statement(alone, primary):
    with alone.wire() as client:
        client.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
        client.send(query("SELECT pg_sleep(1), count(*) FROM items"))
        wait_for(lambda: primary.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "it runs")
        seal(alone)
        assert rows(client.until("Z")) == [("", "100")]
        assert client.one("SHOW transaction_read_only") == "on"
        assert errors(client.query("INSERT INTO log (who) VALUES ('x')"))[0]["C"] == "25006"
        assert tags(client.query("ROLLBACK")) == ["ROLLBACK"]
        alone.off()


def test_a_client_that_has_gone_and_an_open_segment(alone, primary):
    gone, segment = alone.wire(), alone.wire()
    gone.send(query(slow(READS["domain_in"])))
    segment.send(parse("", "SELECT 1"), bind(), execute(), flush())
    segment.until("C")
    wait_for(lambda: primary.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "it runs")
    gone.close()
    alone.begin(drain_timeout_ms=10000, on_deadline="abort")
    time.sleep(2.5)
    assert alone.site()["mode"] == "draining", "the segment may still go on"
    segment.ask(sync())
    alone.wait_mode("sealed")
    before = primary.sql("SELECT count(*) FROM log", db="shop")
    segment.close()
    time.sleep(1)
    assert primary.sql("SELECT count(*) FROM log", db="shop") == before
    alone.off()


BREAKER = """
CREATE SEQUENCE evil.turns;
CREATE FUNCTION evil.turn(t text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN
  EXECUTE 'RES' || 'ET transaction_' || 'read_only';
  PERFORM nextval('evil.turns');
  RETURN true;
END$$;
CREATE DOMAIN evil.turning AS text CHECK (evil.turn(VALUE));
CREATE TABLE evil.of_turns (many evil.turning[]);
GRANT USAGE ON SCHEMA evil TO PUBLIC;
"""
UNREAD = {
    "a read": "SELECT 1 FROM evil.of_turns WHERE many = '{5}'",
    "EXPLAIN of a write": "EXPLAIN DELETE FROM evil.of_turns WHERE many = '{5}'",
    "a read beside a write": "INSERT INTO log (who) SELECT 'x' FROM evil.of_turns WHERE many = '{5}'",
}


@pytest.mark.parametrize("name", UNREAD)
def test_what_would_be_refused_is_not_read_by_the_server(make_lull, evil, primary, name):
    """To understand it the primary would make values of its constants, and run the CHECK of their domain."""
    primary.sql("SET ROLE app; " + BREAKER, db="shop")
    lull = make_lull({"sites": {"shop": {"guard": {"functions": "refuse"}}}}, replicas=False)
    turns = "SELECT is_called FROM evil.turns"
    with lull.wire() as before, lull.wire() as client:
        before.ask(parse("early", UNREAD[name]), sync())
        primary.sql("ALTER SEQUENCE evil.turns RESTART; SELECT setval('evil.turns', 1, false)", db="shop")
        seal(lull)
        for answer in (client.query(UNREAD[name]), client.ask(parse("", UNREAD[name]), sync()),
                       client.ask(parse("s", UNREAD[name]), describe("S", "s"), sync()), before.ask(describe("S", "early"), sync())):
            assert errors(answer)[0]["C"] == "25006"
        assert primary.sql(turns, db="shop") == [(False,)]
        assert client.one("SELECT count(*) FROM items") == "100"
    lull.off()


def test_no_savepoint_has_the_name_of_ours(alone, primary):
    """Behind one of the client's a refusal would go back to that, and what came behind it would not fail."""
    name = '"lull refused a write in this transaction"'
    with alone.wire() as client:
        for ask in (client.query, client.extended):
            client.query("BEGIN")
            assert errors(ask(f"SAVEPOINT {name}"))[0]["C"] == "42939"
            client.query("ROLLBACK")
        seal(alone)
        for ask in (client.query, client.extended):
            client.query("BEGIN")
            assert errors(ask(f"SAVEPOINT {name}"))[0]["C"] == "42939"
            assert errors(client.query("SELECT 1"))[0]["C"] == "25P02"
            client.query("ROLLBACK")
    alone.off()


def test_reads_on_replicas_are_not_waited_for(make_lull, standby):
    lull = make_lull()
    with lull.wire() as client:
        client.query("SELECT 1")
        client.send(query("SELECT pg_sleep(3), count(*) FROM items"))
        wait_for(lambda: standby.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "it runs")
        began = time.monotonic()
        seal(lull)
        assert time.monotonic() - began < 2.5
        assert rows(client.until("Z")) == [("", "100")]
    lull.off()
