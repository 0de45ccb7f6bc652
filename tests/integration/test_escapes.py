"""Ways around read-only that work on PostgreSQL when a session is only asked nicely to be read-only (harness/escapes.py). All
are tried as the owner of the tables and as a superuser, in six shapes (simple queries, extended protocol, one text, one
pipeline, ...), on a sealed site with a frozen replica and on one whose reads run on the primary; a fingerprint of everything
durable must be the same before and after each batch. Where it is not, the batch is run again one by one to name the culprit.

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
from harness.fingerprint import changes, fingerprint
from harness.lull import Lull
from harness.wait import wait_for
from harness.wire import Closed, Wire, bind, copy_data, copy_done, errors, execute, message, parse, query, rows, sync, tags

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
    cluster.primary.sql("DROP EXTENSION IF EXISTS dblink, postgres_fdw, file_fdw, adminpack, tablefunc, pg_trgm CASCADE", db="shop")
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


def run_batch(lull, primary, role, scripts, shape):
    """Names of those that changed something, with what."""
    before = fingerprint(primary)
    with ThreadPoolExecutor(8) as several:
        list(several.map(lambda one: play(lull, role, *one, shape), scripts.items()))
    after = fingerprint(primary)
    if before == after:
        return {}
    found = {"all together": changes(before, after)}
    for name, script in scripts.items():
        before = fingerprint(primary)
        play(lull, role, name, script, shape)
        if different := changes(before, fingerprint(primary)):
            found[name] = different
    return found


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.__name__)
@pytest.mark.parametrize("where", ["on_the_primary", "on_the_replica"])
@pytest.mark.parametrize("role", ["app", "postgres"])
def test_no_way_around(where, role, shape, request, primary):
    lull = request.getfixturevalue(where)
    scripts = escapes.scripts_of(escapes.CLIENT, lull.values)
    if role == "postgres":
        scripts |= escapes.scripts_of(escapes.PRIVILEGED, lull.values)
    assert run_batch(lull, primary, role, scripts, shape) == {}
    # One who comes after finds the servers as they should be, and cannot write either.
    with lull.wire() as successor:
        assert errors(successor.query(WRITE))[0]["C"] == "25006"
    assert lull.alive, lull.log()[-3000:]


@pytest.mark.parametrize("shape", SHAPES[:2], ids=lambda s: s.__name__)
@pytest.mark.parametrize("where", ["on_the_primary", "on_the_replica"])
def test_what_is_open_is_what_the_readme_names(where, shape, request, primary):
    """Not more than that; and less is to be taken out of the README."""
    lull = request.getfixturevalue(where)
    for name, (script, on_primary, beside_replica) in escapes.HIDDEN.items():
        for file in os.scandir(lull.values["folder"]):
            os.unlink(file.path)
        before = fingerprint(primary)
        play(lull, "app", name, script, shape)
        assert set(changes(before, fingerprint(primary))) == (on_primary if where == "on_the_primary" else beside_replica), name


@pytest.mark.parametrize("replicas", [False, True], ids=["primary alone", "frozen replica"])
def test_functions_refuse_closes_what_is_open(cluster, primary, replicas):
    lull = sealed_lull(cluster, replicas, functions="refuse")
    try:
        scripts = {name: script for name, (script, _, _) in escapes.HIDDEN.items()}
        scripts |= escapes.scripts_of(escapes.CLIENT, lull.values)
        for shape in SHAPES[:2]:
            assert run_batch(lull, primary, "app", scripts, shape) == {}
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


# -- from before the flip -----------------------------------------------------------------------------------------------------------------

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

        def look(self):
            """Nothing has changed so far; what changes from here on is judged from now."""
            assert changes(state["before"], fingerprint(primary)) == []

        def go_on(self):
            state["before"] = fingerprint(primary)

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
        flip.seal()
        for name in ("w", "f"):
            client.query(f"EXECUTE {name}")
            client.query("BEGIN")
            client.query(f"EXECUTE {name}")
            client.query("COMMIT")


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
        flip.lull.begin(drain_timeout_ms=100, on_deadline="cancel")
        flip.lull.wait_mode("sealed")
        flip.seal()
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
    with flip.wire() as client:
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
        one_by_one(client, [WRITE, "BEGIN", WRITE, "COMMIT", "SELECT '\\', '; INSERT INTO log (who) VALUES (1); --'"])
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
