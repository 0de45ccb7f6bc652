"""Ways around read-only that work on PostgreSQL when a session is only asked nicely to be read-only (harness/escapes.py). All
are tried as the owner of the tables and as a superuser, in six shapes (simple queries, extended protocol, one text, one
pipeline, ...), on a sealed site with a frozen replica and on one whose reads run on the primary; a fingerprint of everything
durable must be the same before and after each batch (also of what the standby has of its own). Where it is not, the batch is run again one by one to name the culprit.

That the attempts can change something is shown too: the same scripts without Lull do.
"""
import os
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from harness import escapes
from harness.cluster import APP_PASSWORD
from harness.escapes import INSERT, WRITE
from harness.fingerprint import changes, fingerprint, standby_fingerprint
from harness.lull import Lull
from harness.wait import wait_for
from harness.wire import Closed, Wire, bind, errors, execute, message, parse, query, rows, sync, tags

SUPERUSER_PASSWORD = "superuser-secret"
LOGIN = {"app": APP_PASSWORD, "postgres": SUPERUSER_PASSWORD}


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


def prepare(cluster):
    """The tables as at first, and everything that escapes need."""
    primary = cluster.primary
    folder = escapes.scratch_folder(primary)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    tidy(primary)
    cluster.reset("shop")
    primary.sql(escapes.extra(primary, APP_PASSWORD, folder), db="shop")
    primary.sql(f"ALTER ROLE postgres PASSWORD '{SUPERUSER_PASSWORD}'")
    primary.sql("SELECT pg_create_physical_replication_slot('kept', true)")
    with open(os.path.join(folder, "kept"), "w") as kept:
        kept.write("kept")
    os.chmod(os.path.join(folder, "kept"), 0o666)
    cluster.catch_up()
    return escapes.values(primary, APP_PASSWORD, folder)


def leave_prepared(primary):
    """A transaction of somebody who did not come through Lull, which waits for its COMMIT PREPARED."""
    with Wire("127.0.0.1", primary.port).login("app", APP_PASSWORD, "shop") as other:
        other.query("BEGIN")
        other.query("INSERT INTO log (who) VALUES ('pending')")
        assert tags(other.query("PREPARE TRANSACTION 'pending'")) == ["PREPARE TRANSACTION"]


def tidy(primary):
    for gid, in primary.sql("SELECT gid FROM pg_prepared_xacts"):
        primary.sql(f"ROLLBACK PREPARED '{gid}'", db="shop")
    for sql in ("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active",
                "SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin", "DROP ROLE IF EXISTS escaped",
                "ALTER SYSTEM RESET ALL", "ALTER ROLE app RESET ALL", "ALTER DATABASE shop RESET ALL"):
        primary.sql(sql)


@pytest.fixture(scope="module", autouse=True)
def cleaned(cluster):
    yield
    tidy(cluster.primary)
    cluster.primary.sql("DROP EXTENSION IF EXISTS dblink, postgres_fdw, file_fdw, adminpack, tablefunc, pg_trgm, xml2, "
                        "pg_surgery, pageinspect CASCADE", db="shop")
    cluster.reset("shop")


def sealed_lull(cluster, replicas, **guard):
    lull = Lull(cluster, {"sites": {"shop": {"guard": guard}}, "users": {"postgres": {"password": SUPERUSER_PASSWORD}}}, replicas)
    lull.values = prepare(cluster)
    lull.start().on()
    leave_prepared(cluster.primary)
    wait_for(lambda: lull.site()["catalogs"][0]["known"], "the catalog is known")
    return lull


def module_lull(replicas, **guard):
    @pytest.fixture(scope="module")
    def made(cluster):
        lull = sealed_lull(cluster, replicas, **guard)
        yield lull
        lull.open_all()
        lull.remove()

    return made


on_the_primary = module_lull(False)
on_the_replica = module_lull(True)


def play(lull, role, name, script, shape):
    """What the answers are is not the point here, except that there are answers and the connection lives."""
    with lull.wire(user=role, password=LOGIN[role]) as client:
        try:
            shape(client, script)
            for end in ("ROLLBACK", "COMMIT"):
                client.query(end)
            assert client.one("SELECT count(*) FROM items") == "100"
        except (Closed, ConnectionError):
            raise AssertionError(f"the connection did not live on after {name} as {shape.__name__}") from None


def state_of(lull):
    """Of the primary, and of the standby where Lull knows one."""
    standby = lull.cluster.standby if lull.config["clusters"]["main"].get("replicas") else None
    return fingerprint(lull.cluster.primary) | (standby_fingerprint(standby) if standby else {})


def run_batch(lull, role, scripts, shape):
    """Names of those that changed something, with what."""
    before = state_of(lull)
    with ThreadPoolExecutor(8) as several:
        list(several.map(lambda one: play(lull, role, *one, shape), scripts.items()))
    after = state_of(lull)
    if before == after:
        return {}
    found = {"all together": changes(before, after)}
    for name, script in scripts.items():
        before = state_of(lull)
        play(lull, role, name, script, shape)
        if different := changes(before, state_of(lull)):
            found[name] = different
    return found


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.__name__)
@pytest.mark.parametrize("where", ["on_the_primary", "on_the_replica"])
@pytest.mark.parametrize("role", ["app", "postgres"])
def test_no_way_around(where, role, shape, request):
    lull = request.getfixturevalue(where)
    scripts = escapes.scripts_of(escapes.CLIENT, lull.values)
    if role == "postgres":
        scripts |= escapes.scripts_of(escapes.PRIVILEGED, lull.values)
    assert run_batch(lull, role, scripts, shape) == {}
    # One who comes after finds the servers as they should be, and cannot write either.
    with lull.wire() as successor:
        assert errors(successor.query(WRITE))[0]["C"] == "25006"
    assert lull.alive, lull.log()[-3000:]


@pytest.mark.parametrize("shape", SHAPES[:2], ids=lambda s: s.__name__)
@pytest.mark.parametrize("where", ["on_the_primary", "on_the_replica"])
def test_what_is_open_is_what_the_readme_names(where, shape, request):
    """Not more than that; and less is to be taken out of the README."""
    lull = request.getfixturevalue(where)
    for name, (script, on_primary, beside_replica) in escapes.HIDDEN.items():
        for file in os.scandir(lull.values["folder"]):
            os.unlink(file.path)
        before = state_of(lull)
        play(lull, "app", name, script, shape)
        assert set(changes(before, state_of(lull))) == (on_primary if where == "on_the_primary" else beside_replica), name


@pytest.mark.parametrize("replicas", [False, True], ids=["primary alone", "frozen replica"])
def test_functions_refuse_closes_what_is_open(cluster, replicas):
    lull = sealed_lull(cluster, replicas, functions="refuse")
    try:
        scripts = {name: script for name, (script, _, _) in escapes.HIDDEN.items()}
        scripts |= escapes.scripts_of(escapes.CLIENT, lull.values)
        for shape in SHAPES[:2]:
            assert run_batch(lull, "app", scripts, shape) == {}
        with lull.wire() as client:
            for script, _, _ in escapes.HIDDEN.values():
                for sql in script:
                    assert errors(client.query(sql))[0]["C"] == "25006", sql
    finally:
        lull.open_all()
        lull.remove()


@pytest.mark.parametrize("role, half", [("app", 0), ("app", 1), ("postgres", None)])
def test_the_attempts_can_change_something(role, half, cluster, primary):
    """Most of the list commits something, or changes the fingerprint, where nobody is in the way; otherwise this file would prove
    nothing. (The fingerprint is asked only where nothing with a transaction id was committed: it takes longest.)"""
    harmless = []
    known = prepare(cluster)
    leave_prepared(primary)
    scripts = escapes.scripts_of(escapes.CLIENT if role == "app" else escapes.PRIVILEGED, known)
    if half is not None:
        scripts = dict(list(scripts.items())[half::2])

    def committed():
        return primary.one("SELECT xid::text FROM pg_last_committed_xact()")

    def run(script):
        with Wire("127.0.0.1", primary.port).login(role, LOGIN[role], "shop") as client:
            one_by_one(client, script + ["COMMIT"])

    for name, script in scripts.items():
        last = committed()
        before = fingerprint(primary) if role == "postgres" else None  # a file that is there does not change by a second time
        run(script)
        if committed() != last:
            continue
        if not before:
            before = fingerprint(primary)
            run(script)
        if before == fingerprint(primary):
            harmless.append(name)
    # Those change something that a fingerprint does not hold, or need the guard's own session to have a point.
    assert len(harmless) <= len(scripts) // 3, harmless


# -- by startup and by other messages -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("more", [{"options": "-c default_transaction_read_only=off"},
                                  {"default_transaction_read_only": "off"},
                                  {"options": "-c transaction_read_only=off"},
                                  {"options": "-c session_replication_role=replica"},
                                  {"options": "-c standard_conforming_strings=off"},
                                  {"client_encoding": "SJIS"},
                                  {"search_path": "other_schema, pg_catalog, public"},
                                  {"replication": "true"}, {"replication": "database"}])
def test_startup_parameters(more, on_the_primary, primary):
    before = fingerprint(primary)
    client = on_the_primary.raw()
    try:
        client.login("app", APP_PASSWORD, "shop", **more)
    except RuntimeError:
        pass  # refusing the parameter is fine
    else:
        one_by_one(client, [WRITE, "BEGIN", WRITE, "COMMIT", "SELECT lower('x')", "SELECT '\\', '; INSERT INTO log (who) VALUES (1); --'"])
        assert client.one("SELECT count(*) FROM items") == "100"
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


def test_bind_is_judged_and_not_only_execute(on_the_primary):
    """Planning and the input of values run code as well; nothing is ever executed here."""
    lull = on_the_primary
    before = state_of(lull)
    for script in escapes.scripts_of(escapes.CLIENT, lull.values).values():
        with lull.wire() as client:
            for sql in script:
                client.ask(parse("", sql), bind(), message("D", b"P\0"), sync())
            client.query("ROLLBACK")
            assert client.one("SELECT count(*) FROM items") == "100"
    assert changes(before, state_of(lull)) == []


def test_parse_of_a_write_is_read_by_the_server(on_the_primary, on_the_replica):
    """As the README names it: a constant makes the server run a domain's CHECK, whatever else the text would do."""
    for lull, changed in ((on_the_primary, ["sequence public.counter"]), (on_the_replica, [])):
        before = state_of(lull)
        with lull.wire() as client:
            client.ask(parse("", "DELETE FROM of_domains WHERE many = '{5}'"), sync())
            assert client.one("SELECT count(*) FROM items") == "100"
        assert changes(before, state_of(lull)) == changed


def test_a_type_that_only_its_number_names(on_the_primary, primary):
    """Parse says by OID what its parameters are: the CHECK of a domain runs when a value is bound."""
    lull = on_the_primary
    oid, array = primary.sql("SELECT 'counting'::regtype::oid, 'counting[]'::regtype::oid", db="shop")[0]
    before = state_of(lull)
    with lull.wire() as client:
        for number, value in ((oid, "5"), (array, "{5}")):
            for begin in ([], ["BEGIN"]):
                one_by_one(client, begin)
                assert errors(client.ask(parse("", "SELECT $1", [number]), bind("", "", [value]), execute(), sync()))[0]["C"] == "25006"
                assert errors(client.ask(parse("s", "SELECT $1", [number]), bind("", "s", [value]), sync()))
                one_by_one(client, ["ROLLBACK"])
                client.ask(message("C", b"Ss\0"), sync())
        assert rows(client.ask(parse("", "SELECT $1", [23]), bind("", "", ["5"]), execute(), sync())) == [("5",)]
    assert changes(before, state_of(lull)) == []


@pytest.mark.parametrize("encoding, character", [("SJIS", b"\x95\x5c"), ("BIG5", b"\xa4\x5c"), ("GBK", b"\xa4\x5c"), ("GB18030", b"\xa4\x5c"),
                                                 ("JOHAB", b"\x88\x5c")])
def test_a_character_that_ends_in_a_backslash(encoding, character, on_the_primary):
    """To a parser that does not know the encoding it hides the quote behind it, and so where the string ends."""
    before = state_of(on_the_primary)
    for parameters in ({}, {"client_encoding": encoding}):
        client = on_the_primary.raw()
        try:
            client.login("app", APP_PASSWORD, "shop", **parameters)
        except RuntimeError:
            continue  # refusing the parameter is fine
        client.query(f"SET client_encoding = '{encoding}'")
        client.ask(message("Q", b"SELECT E'" + character + b"'; " + INSERT.encode() + b"; --'\0"))
        client.ask(message("P", b"\0SELECT E'" + character + b"'; " + INSERT.encode() + b"; --'\0\0\0"), bind(), execute(), sync())
        assert client.one("SELECT count(*) FROM items") == "100"
        client.close()
    assert changes(before, state_of(on_the_primary)) == []


@pytest.mark.parametrize("role", ["app", "postgres"])
def test_sessions_of_the_same_role_are_not_ended(role, on_the_primary, primary):
    """PostgreSQL permits it in a READ ONLY transaction."""
    with Wire("127.0.0.1", primary.port).login(role, LOGIN[role], "shop") as victim, on_the_primary.wire(user=role, password=LOGIN[role]) as client:
        pid = victim.one("SELECT pg_backend_pid()")
        for function in ("pg_terminate_backend", "pg_cancel_backend"):
            for sql in (f"SELECT {function}({pid})", f"SELECT ({pid}).{function}", f"SELECT * FROM {function}({pid})",
                        f"SELECT {function}(pid) FROM pg_stat_activity WHERE pid = {pid}", f"VALUES ({function}({pid}))",
                        f"DO $$BEGIN PERFORM {function}({pid}); END$$"):
                assert errors(client.query(sql))[0]["C"] == "25006", sql
                assert errors(client.extended(sql))[0]["C"] == "25006", sql
        assert victim.one("SELECT 1") == "1"


# Casts, comparisons and types that make everything unknown: what they reach may stand behind any value of a table.
NAMELESS = """
SET ROLE app;
CREATE TYPE boxed AS (v int);
CREATE FUNCTION unboxed(b boxed) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM public.sly(); RETURN 1; END$$;
CREATE CAST (boxed AS int) WITH FUNCTION unboxed(boxed) AS IMPLICIT;
CREATE FUNCTION same(a boxed, b int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM public.sly(); RETURN true; END$$;
CREATE OPERATOR = (FUNCTION = same, LEFTARG = boxed, RIGHTARG = int);
CREATE TABLE boxes AS SELECT ROW(n)::boxed AS b FROM generate_series(1, 100) n;
CREATE FUNCTION further(a int, b int) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM public.sly(); RETURN b - a; END$$;
CREATE TYPE span AS RANGE (subtype = int4, subtype_diff = further);
CREATE TABLE spans AS SELECT span(n, n + 10) AS s FROM generate_series(1, 200) n;
ANALYZE spans;
RESET ROLE;
"""


@pytest.mark.parametrize("functions", ["server", "refuse"])
def test_what_no_name_tells(functions, make_lull, primary):
    primary.sql(NAMELESS, db="shop")
    lull = make_lull({"sites": {"shop": {"guard": {"functions": functions}}}}, replicas=False)
    wait_for(lambda: lull.site()["catalogs"][0]["known"], "the catalog is known")
    lull.on()
    before = fingerprint(primary)
    for role in ("app", "shop_owner"):
        with lull.wire(user=role) as client:
            for sql in ("SELECT b + 1 FROM boxes", "SELECT * FROM boxes WHERE b = 1", "SELECT ROW(1)::boxed::int",
                        "SELECT abs(b) FROM boxes", "SELECT count(*) FROM spans WHERE s && '[1,5)'"):
                for answer in (client.query(sql), client.extended(sql)):
                    assert functions == "server" or errors(answer)[0]["C"] == "25006", sql
    assert changes(before, fingerprint(primary)) == []
    lull.off()
