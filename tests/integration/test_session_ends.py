"""What runs at the beginning and at the end of a server session, without a statement of a client: none of it commits while the site is sealed."""
import threading
import time

import pytest

from harness import lull as lull_module
from harness.cluster import Cluster
from harness.wait import wait_for
from harness.wire import Wire, bind, errors, execute, parse, sync, tags, terminate

# -- the end: what is temporary goes, and what is permanent and depends on it ------------------------------------------------------------

MAKE = """CREATE FUNCTION pg_temp.f(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'
CREATE VIEW hanger_on AS SELECT pg_temp.f('a')
CREATE TYPE pg_temp.mood AS ENUM ('a')
CREATE TABLE keeper (a int, e pg_temp.mood, CONSTRAINT hangs CHECK (pg_temp.f('x')))
INSERT INTO keeper VALUES (1, 'a')""".split("\n")

# The same where nobody sees it: in a function.
UNSEEN = ["CREATE FUNCTION unseen() RETURNS int LANGUAGE plpgsql AS $$BEGIN EXECUTE 'CREATE TYPE pg_temp.mood AS ENUM (''a'')';"
          " EXECUTE 'CREATE TABLE keeper (a int, e pg_temp.mood)'; RETURN 1; END$$", "SELECT unseen()"]


def dependents(primary):
    return primary.sql("SELECT (SELECT count(*) FROM pg_class WHERE relname = 'hanger_on'),"
                       " (SELECT count(*) FROM pg_constraint WHERE conname = 'hangs'),"
                       " (SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute"
                       " WHERE attrelid = to_regclass('keeper') AND attnum > 0 AND NOT attisdropped)", db="shop")


def drop_all(primary):
    primary.sql("DROP TABLE IF EXISTS keeper; DROP VIEW IF EXISTS hanger_on; DROP FUNCTION IF EXISTS unseen()", db="shop")


def hangs_up(client, lull):
    client.close()


def says_goodbye(client, lull):
    client.send(terminate())


def discards(client, lull):
    assert tags(client.query("DISCARD ALL")) == ["DISCARD ALL"]


def discards_extended(client, lull):
    client.ask(parse("", "DISCARD TEMP"), bind(), execute(), sync())


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("end", [hangs_up, says_goodbye, discards, discards_extended])
def test_the_end_of_a_session_drops_nothing_while_the_site_is_sealed(make_lull, primary, mode, end):
    drop_all(primary)
    lull = make_lull({"sites": {"shop": {"pool_mode": mode}}}, replicas=False)
    with lull.wire() as client:
        for sql in MAKE:
            assert not errors(client.query(sql)), sql
        lull.on()
        before = dependents(primary)
        assert before == [(1, 1, "a,e")]
        end(client, lull)
        time.sleep(0.7)
        assert dependents(primary) == before
        with lull.wire() as reader:
            assert reader.one("SELECT count(*) FROM items") == "100"
        lull.off()
    # Then it goes, as it would have without Lull.
    wait_for(lambda: dependents(primary) == [(0, 0, "a")], "the session has ended")
    drop_all(primary)


def stays_idle(client, lull):
    pass


def waits_in_a_block(client, lull):
    assert client.one("SELECT 1") == "1"
    client.query("BEGIN")
    assert client.one("SELECT count(*) FROM items") == "100"


def sets_it_now(client, lull):
    for sql in ("SET idle_session_timeout = '1s'", "SELECT set_config('idle_session_timeout', '1s', false)"):
        assert errors(client.query(sql))[0]["C"] == "25006"


SET = "SET idle_session_timeout = '1500ms'; SET idle_in_transaction_session_timeout = '1500ms'"


@pytest.mark.parametrize("before, end", [(SET, hangs_up), (SET, stays_idle), (SET, waits_in_a_block), ("SELECT 1", sets_it_now)])
def test_the_server_does_not_end_a_session_of_its_own_accord(make_lull, primary, before, end):
    drop_all(primary)
    lull = make_lull(replicas=False)
    with lull.wire() as client:
        for sql in [*MAKE, *before.split("; ")]:
            assert not errors(client.query(sql)), sql
        lull.on()
        end(client, lull)
        time.sleep(2.2)
        assert dependents(primary) == [(1, 1, "a,e")]
        lull.off()
        if end is stays_idle:
            assert client.one("SHOW idle_session_timeout") == "1500ms"
    drop_all(primary)


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_session_whose_client_is_gone_gives_up_its_advisory_locks(make_lull, primary, mode):
    """A migration that takes the same one would wait for them until the site is open."""
    lull = make_lull({"sites": {"shop": {"pool_mode": mode}}, "console": {"stats": ["app"]}}, replicas=False)

    def locks():
        return primary.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", db="shop")

    with lull.wire() as client, lull.wire() as other:
        for one, number in ((client, 42), (other, 43)):
            assert not errors(one.query(f"SELECT pg_advisory_lock({number})"))
        lull.on()
        assert locks() == 2
        client.close()
        wait_for(lambda: locks() == 1, "the lock of the one that is gone is free")
        with lull.connect(dbname="lull") as console:
            assert str(console.execute("SHOW SERVERS", prepare=False).fetchall()).count("'kept'") == 1
        with lull.migration() as migration:
            assert migration.execute("SELECT pg_try_advisory_lock(42), pg_try_advisory_lock(43)").fetchone() == (True, False)
        lull.off()


@pytest.mark.parametrize("made, goes", [(MAKE, True), (UNSEEN, False)], ids=["client gone", "pooled"])
def test_a_session_that_takes_long_to_end_is_waited_for(make_lull, primary, made, goes):
    """Its client went before the flip, or nobody knows of what it made; its backend waits for a lock on what it is to drop."""
    drop_all(primary)
    lull = make_lull(replicas=False)
    with primary.connect("shop") as reader, lull.wire() as client:
        for sql in made:
            assert not errors(client.query(sql)), sql
        reader.execute("BEGIN; SELECT a FROM keeper")
        if goes:
            client.close()
            time.sleep(0.5)
        lull.begin(drain_timeout_ms=20000)
        time.sleep(1.5)
        site = lull.site()
        assert site["mode"] == "draining" and "ending its session" in str(site["writers"]), site
        assert dependents(primary)[0][2] == "a,e"
        reader.execute("COMMIT")
        lull.wait_mode("sealed")
        assert dependents(primary) == [(0, 0, "a")]
        lull.off()
    drop_all(primary)


# -- the beginning: event triggers on login ---------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def lull18(postgres18):
    servers = Cluster(postgres18.bin, alone=True)
    one = None
    try:
        servers.start()
        servers.reset("shop")
        servers.primary.sql("""CREATE FUNCTION at_login() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN
            IF session_user NOT IN ('app', 'streamer', 'lull') OR current_setting('transaction_read_only')::bool THEN RETURN; END IF;
            IF session_user <> 'lull' THEN PERFORM pg_sleep(2.5); END IF; INSERT INTO public.log(who, what) VALUES (session_user, 'login'); END$$;""", db="shop")
        servers.primary.sql("CREATE ROLE streamer LOGIN REPLICATION PASSWORD 'streamer-secret'")
        one = lull_module.Lull(servers, {"users": {"streamer": {"password": "streamer-secret"}}, "hba": [
            "host replication streamer 127.0.0.1/32 scram-sha-256", "host all all 127.0.0.1/32 scram-sha-256"]}, replicas=False).start()
        yield one
    finally:
        if one:
            one.remove()
        servers.remove()


def logins(lull):
    return lull.cluster.primary.one("SELECT count(*) FROM log", db="shop")


def make_trigger(primary):
    primary.sql("TRUNCATE log; DROP EVENT TRIGGER IF EXISTS t; CREATE EVENT TRIGGER t ON login EXECUTE FUNCTION at_login();"
                " ALTER EVENT TRIGGER t ENABLE ALWAYS", db="shop")


@pytest.mark.parametrize("connect_timeout", ["10s", "1s"])
def test_a_login_that_is_under_way_at_the_flip_is_waited_for(lull18, connect_timeout):
    """Also one that Lull has given up; and who waits for it gets another server, which cannot write."""
    lull, primary = lull18, lull18.cluster.primary
    lull.config["limits"] = {"connect_timeout": connect_timeout}
    lull.reload()
    wait_for(lambda: f"connect_timeout: {connect_timeout}" in str(lull.admin("GET", "/config")), "it is reloaded")
    make_trigger(primary)
    got = []

    def log_in():
        try:
            with lull.wire() as client:
                got.append(client.one("SELECT 1"))
        except Exception as error:
            got.append(error)

    client = threading.Thread(target=log_in)
    client.start()
    try:
        wait_for(lambda: primary.one("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'", db="shop") == 1, "it logs in")
        if connect_timeout == "1s":
            client.join()
        lull.on(drain_timeout_ms=15000)
        at_seal = logins(lull)
        assert at_seal == 1, "the one that was under way has committed before"
        client.join()
        time.sleep(3)
        assert logins(lull) == at_seal
        if connect_timeout == "10s":
            assert got == ["1"]
        with lull.wire() as reader:
            assert reader.one("SELECT count(*) FROM items") == "100"
    finally:
        client.join()
        primary.sql("DROP EVENT TRIGGER t", db="shop")
        lull.off()


def test_the_login_of_a_replication_connection_that_is_under_way_at_the_flip_is_waited_for(lull18):
    lull, primary = lull18, lull18.cluster.primary
    make_trigger(primary)
    got = []

    def log_in():
        try:
            Wire("127.0.0.1", lull.port).login("streamer", "streamer-secret", "shop", replication="database").close()
        except Exception as error:
            got.append(error)

    client = threading.Thread(target=log_in)
    client.start()
    try:
        wait_for(lambda: primary.one("SELECT count(*) FROM pg_stat_activity WHERE usename = 'streamer'", db="shop") == 1, "it logs in")
        lull.on(drain_timeout_ms=15000)
        at_seal = logins(lull)
        client.join()
        time.sleep(3)
        assert logins(lull) == at_seal
        assert len(got) == 1, "it is refused"
    finally:
        client.join()
        primary.sql("DROP EVENT TRIGGER t", db="shop")
        lull.off()


def test_connections_of_lulls_own_write_nothing_at_their_login(lull18):
    lull, primary = lull18, lull18.cluster.primary
    lull.on()
    try:
        make_trigger(primary)
        lull.kill9()
        lull.start()
        assert lull.site()["mode"] == "sealed"
        wait_for(lambda: primary.one("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lull control'"
                                     " AND datname = 'shop'", db="shop") > 0, "the catalog is read")
        assert logins(lull) == 0
    finally:
        primary.sql("DROP EVENT TRIGGER t", db="shop")
        lull.off()
