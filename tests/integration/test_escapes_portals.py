"""Portals, and segments without their Sync, as ways out of our READ ONLY transaction: what is executed later than it was
bound, or under a name that the server takes for another, obeys as if it had been sent as one (the other ways around are in
test_escapes.py)."""
import re
import time

import pytest

from harness.cluster import APP_PASSWORD, Cluster
from harness.fingerprint import changes, fingerprint
from harness.lull import Lull
from harness.wait import wait_for
from harness.wire import bind, close, describe, errors, execute, flush, parse, rows, statuses, sync, tags

SUPERUSER_PASSWORD = "superuser-secret"
LOGIN = {"app": APP_PASSWORD, "postgres": SUPERUSER_PASSWORD}
STRICT = {"sites": {"shop": {"guard": {"functions": "refuse"}}}}
LONG = "p" * 63  # PostgreSQL tells names apart by so many bytes

# writes() is plain; escapes() gets out of READ ONLY first, by SQL that nobody can read in it, and again where a server has
# default_transaction_read_only; moves() does what no rollback undoes.
SETUP = """
DROP SCHEMA IF EXISTS evil CASCADE;
CREATE SCHEMA evil AUTHORIZATION app;
SET ROLE app;
CREATE TABLE evil.caught (what text);
CREATE SEQUENCE evil.moved;
CREATE FUNCTION evil.writes(text) RETURNS text LANGUAGE plpgsql AS
  $$BEGIN INSERT INTO evil.caught VALUES ($1); RETURN $1; END$$;
CREATE FUNCTION evil.escapes(text) RETURNS text LANGUAGE plpgsql AS
  $$BEGIN EXECUTE 'RES' || 'ET transaction_' || 'read_only'; INSERT INTO evil.caught VALUES ($1); RETURN $1; END$$;
CREATE FUNCTION evil.unlocks() RETURNS text LANGUAGE sql AS
  $$SELECT set_config('default_transaction_' || 'read_only', 'off', false)$$;
CREATE FUNCTION evil.moves() RETURNS bigint LANGUAGE sql AS $$SELECT nextval('evil.moved')$$;
CREATE VIEW evil.harmless AS SELECT 'x'::text AS x;
CREATE FUNCTION evil.replaces(body text, what text DEFAULT 'SELECT ''innocent''') RETURNS text LANGUAGE plpgsql AS $$DECLARE p text;
  BEGIN SELECT name INTO p FROM pg_prepared_statements WHERE statement = what;
  EXECUTE 'DEALLOCATE ' || p; EXECUTE 'PREPARE ' || p || ' AS ' || body; RETURN p; END$$;
CREATE FUNCTION evil.checks(t text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN PERFORM evil.escapes(t); RETURN true; END$$;
CREATE FUNCTION evil.turns(t text) RETURNS bool LANGUAGE plpgsql AS
  $$BEGIN EXECUTE 'RES' || 'ET transaction_' || 'read_only'; PERFORM evil.moves(); RETURN true; END$$;
CREATE DOMAIN evil.checked AS text CHECK (evil.checks(VALUE));
CREATE DOMAIN evil.turning AS text CHECK (evil.turns(VALUE));
RESET ROLE;
"""


class House:
    """One version of PostgreSQL, without a standby, and the Lulls in front of it, by what is changed in their configuration."""

    def __init__(self, cluster):
        self.cluster, self.primary, self.lulls = cluster, cluster.primary, {}

    def lull(self, change=None):
        key = str(change)
        if key not in self.lulls:
            users = {"users": {"postgres": {"password": SUPERUSER_PASSWORD}}}
            self.lulls[key] = Lull(self.cluster, dict(users, **(change or {})), replicas=False).start()
        return self.lulls[key]

    def remove(self):
        for lull in self.lulls.values():
            lull.remove()
        self.lulls = {}


@pytest.fixture(scope="module")
def house15(cluster):
    house = House(cluster)
    yield house
    house.remove()


@pytest.fixture(scope="module")
def house18(postgres18):
    servers = Cluster(postgres18.bin, alone=True)
    house = House(servers)
    try:
        servers.start()
        yield house
        house.remove()
    finally:
        servers.remove()


class Attempt:
    """A client before or after the flip; what is durable must be at the end as it was when the site was sealed."""

    def __init__(self, house, role, change):
        self.primary, self.role, self.before = house.primary, role, None
        house.primary.sql(f"ALTER ROLE postgres PASSWORD '{SUPERUSER_PASSWORD}'")
        house.cluster.reset("shop")
        house.primary.sql(SETUP, db="shop")
        self.lull = house.lull(change)
        self.lull.open_all()
        self.wire = lambda: self.lull.wire(user=role, password=LOGIN[role])

    def look(self):
        self.before = fingerprint(self.primary)

    def seal(self):
        self.lull.on(drain_timeout_ms=8000, on_deadline="abort")
        self.look()

    def changed(self):
        return changes(self.before, fingerprint(self.primary))


@pytest.fixture
def attempt(request):
    version, role, change = getattr(request, "param", ("15", "app", None))
    one = Attempt(request.getfixturevalue("house" + version), role, change)
    yield one
    if one.before is not None:
        assert one.changed() == []
    one.lull.open_all()


everybody = pytest.mark.parametrize("attempt", [("15", "app", None), ("15", "postgres", None)], indirect=True,
                                    ids=["app", "superuser"])
both_versions = pytest.mark.parametrize("attempt", [("15", "app", None), ("18", "app", None)], indirect=True, ids=["15", "18"])
on_strict = pytest.mark.parametrize("attempt", [("15", "app", STRICT)], indirect=True, ids=["strict"])


def pin(client):
    """Keeps a server that it has had before the flip."""
    client.query("SELECT pg_advisory_lock(1)")


def one_by_one(client, *messages):
    """Each alone, its answer awaited, up to the first error, whose code is returned; then Sync."""
    failed = None
    for one in messages:
        client.send(one, flush())
        got = client.until("12CEn3")[-1]
        if got.type == "E":
            failed = re.search(rb"\0C(\w{5})\0", got.body)[1].decode()  # the rest is in the client's encoding
            break
    client.ask(sync())
    return failed


def is_read_only(client):
    return rows(client.query("SHOW transaction_read_only")) == [("on",)]


# -- two names that are one to the server -------------------------------------------------------------------------------

@pytest.mark.parametrize("pinned", [False, True], ids=["fresh", "pinned"])
@both_versions
def test_rollback_under_a_name_that_is_the_same_in_63_bytes(attempt, pinned):
    with attempt.wire() as client:
        if pinned:
            pin(client)
        attempt.seal()
        for text in ("RESET transaction_read_only", "SET default_transaction_read_only = off", "BEGIN READ WRITE",
                     "INSERT INTO evil.caught VALUES ('x')", "CREATE TABLE evil.made (a int)", "SELECT evil.writes('x')",
                     "SELECT 1"):
            client.query("BEGIN")
            client.query("SELECT 1/0")
            refused = one_by_one(client, parse("r", "ROLLBACK"), bind(LONG + "1", "r"), execute(LONG + "2"),
                                 parse("", text), bind(), execute(),
                                 parse("", "INSERT INTO evil.caught VALUES ('behind')"), bind(), execute())
            assert refused, text
            client.query("ROLLBACK")
            client.ask(close("S", "r"), sync())
            assert is_read_only(client), text


def test_names_of_statements_and_portals_are_cut_like_the_servers(attempt):
    """Also in the words of its errors, and while the site is open."""
    for sealed in (False, True):
        if sealed:
            attempt.seal()
        with attempt.wire() as client:
            client.query("BEGIN")
            client.ask(parse(LONG + "1", "SELECT 'one'"), sync())
            answer = errors(client.ask(parse(LONG + "2", "SELECT 'two'"), sync()))[0]
            assert (answer["C"], answer["M"]) == ("42P05", f'prepared statement "{LONG}2" already exists')
            client.query("ROLLBACK")
            client.query("BEGIN")
            assert rows(client.ask(bind(LONG + "1", LONG + "3"), execute(LONG + "4"), sync())) == [("one",)]
            answer = errors(client.ask(bind(LONG + "2", LONG), sync()))[0]
            assert answer["C"] == "42P03"
            client.query("ROLLBACK")
            answer = errors(client.ask(execute(LONG + "1"), sync()))[0]
            assert (answer["C"], answer["M"]) == ("34000", f'portal "{LONG}1" does not exist')
            answer = errors(client.ask(bind("", LONG + "5" + "x"), execute(), close("S", LONG), sync()))
            assert answer == []
            answer = errors(client.ask(describe("S", LONG + "6"), sync()))[0]
            assert (answer["C"], answer["M"]) == ("26000", f'prepared statement "{LONG}6" does not exist')


def test_name_that_is_cut_within_what_it_was_converted_to(attempt):
    """In LATIN1 so many letters are twice as many bytes on a server in UTF-8."""
    one, two = b"\xe9" * 40 + b"1", b"\xe9" * 40 + b"2"
    with attempt.wire() as client:
        client.query("SET client_encoding = LATIN1")
        pin(client)
        attempt.seal()
        client.query("BEGIN")
        client.ask(parse("c", "COMMIT"), parse("s", "SELECT 1"), sync())
        for name in (one, two):
            client.ask(bind(name, "s"), sync())
            client.query("ROLLBACK")
            client.query("BEGIN")
        client.ask(bind(one, "s"), close("P", two), bind(two, "c"), sync())
        client.ask(execute(one), parse("", "SELECT evil.escapes('encoding')"), bind(), execute(), sync())
        client.query("ROLLBACK")


def test_such_a_name_that_was_bound_before(attempt):
    one, two = b"\xe9" * 40 + b"1", b"\xe9" * 40 + b"2"
    with attempt.wire() as client:
        client.query("SET client_encoding = LATIN1")
        pin(client)
        client.query("/* lull: primary */ BEGIN")
        client.ask(parse("c", "COMMIT"), parse("s", "SELECT 1"), bind(one, "s"), close("P", two), bind(two, "c"), sync())
        attempt.seal()
        refused = one_by_one(client, execute(one), parse("", "SELECT evil.escapes('encoding')"), bind(), execute())
        assert refused == "34000"
        client.query("ROLLBACK")


# -- the end of a transaction, bound in one segment and executed in another -----------------------------------------------

@pytest.mark.parametrize("end", ["COMMIT", "END", "ROLLBACK", "ABORT", "COMMIT AND NO CHAIN", "ROLLBACK AND CHAIN", "COMMIT AND CHAIN"])
@everybody
def test_end_of_the_transaction_executed_in_a_later_segment(attempt, end):
    with attempt.wire() as fresh, attempt.wire() as pinned:
        pin(pinned)
        attempt.seal()
        for client in (fresh, pinned):
            for text in ("SELECT evil.writes('behind')", "SELECT evil.escapes('behind')", "SELECT 1"):
                client.query("BEGIN")
                client.ask(parse("", end), bind("end", ""), sync())
                answer = client.ask(execute("end"), parse("", text), bind(), execute(), sync())
                assert errors(answer), text
                client.query("ROLLBACK")
            for how in (flush, sync):  # in one segment, and in two
                client.query("BEGIN")
                client.send(parse("e", end), bind("end", "e"), how())
                if client.until("2EZ")[-1].type == "E":  # refused there already
                    client.ask(sync())
                assert one_by_one(client, execute("end"), describe("S", "e"), parse("", "SELECT evil.escapes('piecemeal')"),
                                  bind(), execute())
                client.query("ROLLBACK")
                client.ask(close("S", "e"), sync())
            assert is_read_only(client)


@both_versions
def test_commit_portal_twice(attempt):
    """On 18 a function that is let run once could make the next transaction one that writes."""
    with attempt.wire() as client:
        attempt.seal()
        for sql in ("SELECT evil.unlocks()", "SELECT evil.writes('second')"):
            client.query("BEGIN")
            client.ask(parse("", "COMMIT"), bind("pc", ""), sync())
            assert errors(client.ask(execute("pc"), parse("", sql), bind(), execute(), sync()))
        client.query("SELECT evil.unlocks()")
        client.query("SELECT evil.writes('third')")


@everybody
def test_portals_that_are_honest_still_work(attempt):
    """What a driver may do with portals in a block, while the site is sealed: PostgreSQL's answers."""
    with attempt.wire() as client:
        attempt.seal()
        client.query("BEGIN")
        client.ask(parse("s", "SELECT n FROM generate_series(1, 4) n"), bind("rows", "s"), sync())
        assert rows(client.ask(execute("rows", 2), sync())) == [("1",), ("2",)]
        client.query("DECLARE c CURSOR FOR SELECT 7 AS seven")
        assert client.ask(describe("P", "c"), sync())[0].type == "T"
        assert rows(client.ask(execute("rows", 0), sync())) == [("3",), ("4",)]
        assert errors(client.ask(close("P", "rows"), close("P", "c"), sync())) == []
        assert errors(client.query("FETCH c"))[0]["C"] == "34000"
        assert errors(client.ask(execute("rows"), sync()))[0]["C"] == "34000"
        client.query("ROLLBACK")
        client.query("BEGIN")
        client.ask(parse("", "COMMIT"), bind("end", ""), sync())
        answer = client.ask(execute("end"), sync())
        assert tags(answer) == ["COMMIT"] and statuses(answer) == "I"
        assert errors(client.ask(execute("end"), sync()))[0]["C"] == "34000"


def test_cursor_of_sql_by_the_protocol_while_open(attempt):
    with attempt.wire() as client:
        client.query("BEGIN")
        client.query("DECLARE c CURSOR FOR SELECT 7 AS seven")
        assert rows(client.ask(execute("c"), sync())) == [("7",)]
        client.query("COMMIT")


# -- a Bind that has not happened -----------------------------------------------------------------------------------------

def bind_the_end(client, end, *more):
    """A block in which the portal p is its end, and a savepoint to go back to."""
    client.query("BEGIN")
    client.ask(parse("end", end), parse("one", "SELECT 1"), *more, bind("p", "end"), sync())
    client.query("SAVEPOINT a")


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
@everybody
def test_bind_that_fails_leaves_the_portal_as_it_was(attempt, end):
    with attempt.wire() as client:
        attempt.seal()
        bind_the_end(client, end)
        assert errors(client.ask(bind("p", "one"), sync()))[0]["C"] == "42P03"
        client.query("ROLLBACK TO a")
        assert errors(client.ask(execute("p"), parse("", "SELECT evil.escapes('stale')"), bind(), execute(), sync()))
        client.query("ROLLBACK")


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
@everybody
def test_bind_that_is_skipped_leaves_the_portal_as_it_was(attempt, end):
    with attempt.wire() as client:
        attempt.seal()
        for change in ([bind("p", "one")], [close("P", "p")], [close("P", "p"), bind("p", "one"), bind("p", "bad")]):
            bind_the_end(client, end, parse("bad", "SELECT 1/0"))
            assert errors(client.ask(bind("", "bad"), execute(), *change, sync()))[0]["C"] == "22012"
            client.query("ROLLBACK TO a")
            answer = client.ask(execute("p"), parse("", "SELECT evil.escapes('skipped')"), bind(), execute(), sync())
            assert errors(answer)[0]["C"] == "25006" and tags(answer) == [end]
            client.query("ROLLBACK")
            client.ask(close("S", "end"), close("S", "one"), close("S", "bad"), sync())


# -- savepoints -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("statement", ["RELEASE a", "ROLLBACK TO a"])
@everybody
def test_savepoint_that_ends_through_a_portal(attempt, statement):
    """The block is from before the flip: its READ ONLY goes with the savepoint."""
    for bound, executed in ((LONG + "1", LONG + "2"), ("s", "s")):
        attempt.before = None
        attempt.lull.open_all()
        with attempt.wire() as client:
            for sql in ("/* lull: primary */ BEGIN", "SELECT pg_advisory_xact_lock(7)", "SAVEPOINT a"):
                client.query(sql)
            attempt.seal()
            assert is_read_only(client)
            client.ask(parse("", statement), bind(bound, ""), sync())
            assert one_by_one(client, execute(executed), parse("", "SELECT evil.moves()"), bind(), execute()) == "25006"
            client.query("ROLLBACK TO a")
            client.query("SELECT evil.moves()")
            client.query("COMMIT")
            client.query("BEGIN")
            client.query("SELECT evil.moves()")
            client.query("COMMIT")
            assert attempt.changed() == []


# -- a segment that is open over the flip -----------------------------------------------------------------------------------

@everybody
def test_segment_open_over_the_flip_is_waited_for(attempt):
    with attempt.wire() as client:
        pin(client)
        client.send(parse("a", "SELECT 'innocent'"), bind("", "a"), execute(), flush())
        client.until("C")
        attempt.lull.begin(drain_timeout_ms=15000, on_deadline="abort")
        wait_for(lambda: attempt.lull.site()["mode"] == "draining", "draining")
        site = wait_for(lambda: attempt.lull.site()["writing"] == 1 and attempt.lull.site(), "it is waited for")
        assert site["writers"][0]["statement"] == "SELECT 'innocent'" and site["writers"][0]["user"] == attempt.role
        client.send(parse("", "SELECT count(*) FROM items"), bind(), execute(), flush())
        assert rows(client.until("CE"))  # reads go on
        time.sleep(0.3)
        assert attempt.lull.site()["mode"] == "draining"
        client.ask(sync())
        attempt.lull.wait_mode("sealed")
        attempt.look()
        assert is_read_only(client)


@everybody
def test_segment_open_over_the_flip_may_not_write(attempt):
    with attempt.wire() as client:
        pin(client)
        client.send(parse("a", "SELECT 'innocent'"), bind("", "a"), execute(), flush())
        client.until("C")
        attempt.look()
        attempt.lull.begin(drain_timeout_ms=15000, on_deadline="abort")
        wait_for(lambda: attempt.lull.site()["writing"] == 1, "it is waited for")
        assert one_by_one(client, parse("", "SELECT evil.writes('naked')"), bind(), execute()) == "25006"
        attempt.lull.wait_mode("sealed")
        assert is_read_only(client)


def test_segment_open_past_the_deadline_is_ended(attempt):
    with attempt.wire() as client:
        pin(client)
        client.send(parse("a", "SELECT 'innocent'"), bind("", "a"), execute(), flush())
        client.until("C")
        attempt.lull.begin(drain_timeout_ms=200, on_deadline="cancel")
        attempt.lull.wait_mode("sealed")
        attempt.look()
        attempt.primary.sql("CREATE OR REPLACE VIEW evil.harmless AS SELECT evil.writes('naked view') AS x", db="shop")
        attempt.look()
        try:
            client.send(parse("", "SELECT x FROM evil.harmless"), bind(), execute(), sync())
        except OSError:
            pass
        assert "57P01" in [e["C"] for e in errors(client.until_closed())]


@pytest.mark.parametrize("within", ["nothing", "a block"])
@everybody
def test_segment_that_has_only_prepared_delays_nobody(attempt, within):
    """As asyncpg's, which prepares with Flush and no Sync: it goes on behind the flip, in our transaction."""
    with attempt.wire() as client:
        time.sleep(0.6)  # the catalog has been read again, and says that the view only reads
        if within == "nothing":
            pin(client)
        else:
            client.query("/* lull: primary */ BEGIN")
            client.ask(parse("", "SELECT 1"), bind("p"), execute("p"), sync())
        client.send(parse("v", "SELECT x FROM evil.harmless"))
        client.send(*([describe("S", "v")] if within == "nothing" else [bind("v", "v"), describe("P", "v")]), flush())
        client.until("Tn")
        attempt.seal()
        if within == "nothing":  # a block keeps what it has locked
            attempt.primary.sql("CREATE OR REPLACE VIEW evil.harmless AS SELECT evil.writes('naked view') AS x", db="shop")
            attempt.look()
        client.send(bind("w", "v"), execute("w"), flush())
        assert client.until("CE")[-1].type == ("E" if within == "nothing" else "C")
        client.ask(sync())
        client.query("COMMIT")
        assert is_read_only(client)


def test_query_behind_a_segment_that_has_only_prepared(attempt):
    with attempt.wire() as client:
        pin(client)
        client.send(parse("v", "SELECT x FROM evil.harmless"), describe("S", "v"), flush())
        client.until("Tn")
        attempt.seal()
        assert is_read_only(client)
        assert rows(client.ask(bind("", "v"), execute(), sync())) == [("x",)]


# -- what servers have under the names that Lull gave -----------------------------------------------------------------------

def test_names_of_lulls_are_reserved(attempt):
    with attempt.wire() as client:
        pin(client)
        client.ask(parse("a", "SELECT 'innocent'"), sync())
        [(name,)] = rows(client.query("SELECT name FROM pg_prepared_statements WHERE statement LIKE '%innocent''' AND name ~ '^lull_'"))
        for sql in (f"DEALLOCATE {name}", f"PREPARE {name} AS SELECT 1", f'SELECT 1; DEALLOCATE "{name}"'):
            assert errors(client.query(sql))[0]["C"] == "42939"
            assert errors(client.ask(parse("", sql.split("; ")[-1]), bind(), execute(), sync()))[0]["C"] == "42939"
        assert rows(client.ask(bind("", "a"), execute(), sync())) == [("innocent",)]
        assert errors(client.query("PREPARE lull_1 AS SELECT 1")) == []  # nobody can guess them


@on_strict
def test_statement_that_a_function_has_replaced_before(attempt):
    """guard.functions: refuse means what a client's text says, also where the server has another by now."""
    with attempt.wire() as client:
        pin(client)
        client.ask(parse("a", "SELECT 'innocent'"), sync())
        client.query("SELECT evil.replaces('SELECT evil.moves()::text')")
        attempt.seal()
        assert rows(client.ask(bind("", "a"), execute(), sync())) == [("innocent",)]


@pytest.mark.parametrize("attempt", [("15", "app", {"sites": {"shop": {"guard": {"temporary_tables": "write"}}}})], indirect=True,
                         ids=["temporary tables"])
def test_statement_that_a_function_has_replaced_in_an_earlier_transaction(attempt):
    with attempt.wire() as client:
        client.query("CREATE TEMP TABLE mine (a int)")
        attempt.seal()
        time.sleep(1)  # the catalog has been read again
        client.ask(parse("a", "SELECT 'innocent'"), sync())
        client.query("SELECT evil.replaces('SELECT evil.escapes(''replaced'')')")
        client.query("BEGIN")
        client.query("INSERT INTO mine VALUES (1)")
        assert rows(client.ask(bind("", "a"), execute(), sync())) == [("innocent",)]
        assert tags(client.query("COMMIT")) == ["COMMIT"]
    # The temporary table goes with its session, once the site is open.
    attempt.lull.off()
    wait_for(lambda: not attempt.primary.sql("SELECT 1 FROM pg_class WHERE relname = 'mine'", db="shop"), "it has gone", 15)
    assert attempt.primary.sql("SELECT what FROM evil.caught", db="shop") == []
    attempt.before = None


LISTENING = {"sites": {"shop": {"write_rules": [{"statements": ["listen", "notify"], "action": "pass"}]}}}
SESSION = {"sites": {"shop": {"pool_mode": "session"}}}


@pytest.mark.parametrize("when", ["pinned before", "pinned while sealed"])
@pytest.mark.parametrize("attempt", [("15", "app", None), ("15", "app", SESSION), ("18", "app", None)], indirect=True,
                         ids=["transaction", "session", "18"])
def test_unlisten_whose_name_a_function_has_given_away(attempt, when):
    """Nothing of ours is around it, so it must run by its text."""
    with attempt.wire() as client:
        if when == "pinned before":
            pin(client)
        attempt.seal()
        pin(client)
        client.ask(parse("u", "UNLISTEN *"), bind("", "u"), execute(), sync())
        for body in ("INSERT INTO evil.caught VALUES (\'\'plain\'\')", "SELECT evil.escapes(\'\'replaced\'\')"):
            client.query(f"SELECT evil.replaces('{body}', 'UNLISTEN *')")
            assert tags(client.ask(bind("", "u"), execute(), sync())) == ["UNLISTEN"]


TYPED = ["", "SHOW work_mem", "UNLISTEN *", "SAVEPOINT a", "DISCARD PLANS", "CLOSE ALL", "RESET work_mem", "FETCH c", "BEGIN", "COMMIT",
         "SET TRANSACTION READ ONLY", "SET work_mem TO '4MB'", "DEALLOCATE x", "SELECT 1"]


def oid_of(attempt, name):
    return attempt.primary.sql(f"SELECT 'evil.{name}'::regtype::oid::int", db="shop")[0][0]


@on_strict
def test_parameters_of_a_type_that_runs_something(attempt):
    """A value of a domain is made, and its CHECK run, whatever the statement does with it."""
    turning = oid_of(attempt, "turning")
    with attempt.wire() as client:
        attempt.seal()
        for text in TYPED:
            assert errors(client.ask(parse("", text, [turning]), bind("", "", ["v"]), execute(), sync())), text
            client.query("ROLLBACK")


@pytest.mark.parametrize("attempt", [("15", "app", LISTENING)], indirect=True, ids=["rule pass"])
def test_parameters_of_what_passes(attempt):
    checked = oid_of(attempt, "checked")
    with attempt.wire() as client:
        attempt.seal()
        for text in ("LISTEN news", "NOTIFY news"):
            answer = client.ask(parse("", text, [checked]), bind("", "", ["v"]), execute(), sync())
            assert errors(answer)[0]["C"] == "25006", text
            assert not errors(client.ask(parse("", text), bind(), execute(), sync())), text


def test_what_nobody_knows_waits_for_the_answer_to_our_begin(attempt):
    """A cancel that comes late hits the BEGIN, and what stands behind it must not run alone."""
    with attempt.wire() as client:
        attempt.seal()
        for n in range(60):
            client.send(parse("", "SELECT 1"), flush(), parse("", "SELECT evil.escapes('late')"), bind(), execute(), sync())
            if n % 2:
                client.cancel()
            client.until("Z")
            client.send(parse("", "SELECT evil.escapes('beside')"), bind(), execute(),
                        parse("", "INSERT INTO evil.caught VALUES ('refused')"), bind(), execute(), sync())
            if n % 2:
                client.cancel()
            client.until("Z")
