"""The fence on the server: those who do not come through Lull do not write either while a site is closed, and find everything as it
was afterwards, whatever died meanwhile."""
import concurrent.futures
import json
import os
import time

import psycopg
import pytest

from harness import cluster as c
from harness.process import stopped
from harness.wait import stays, wait_for
from harness.wire import Wire, errors, query, tags

INSERT = "INSERT INTO log (who) VALUES ('outsider')"


@pytest.fixture(scope="module")
def fence_role(cluster):
    """What deploy/fence-role.sql gives it."""
    path = os.path.join(os.path.dirname(__file__), "..", "..", "deploy", "fence-role.sql")
    with open(path) as text:
        script = "".join(line for line in text if not line.startswith("--"))
    assert ":'password'" in script
    cluster.primary.sql(script.replace(":'password'", "'fence-secret'"))
    yield "lull_fence"
    for sql in ("DROP SCHEMA lull CASCADE", "DROP OWNED BY lull_fence", "DROP ROLE lull_fence"):
        cluster.primary.sql(sql)


@pytest.fixture
def fenced(make_lull, fence_role, primary):
    def make(site=None, start=True, replicas=False):
        change = {"clusters": {"main": {"fence": {"user": fence_role, "password": "fence-secret"}}}, "sites": {"shop": site or {}}}
        return make_lull(change, replicas=replicas, start=start)

    primary.sql("ALTER ROLE other IN DATABASE shop SET default_transaction_read_only = off")
    primary.sql("ALTER ROLE verifier_user SET default_transaction_read_only = on")
    before = settings(primary)
    yield make
    wait_for(lambda: settings(primary) == before, "everything is as it was")
    primary.sql("ALTER ROLE other IN DATABASE shop RESET default_transaction_read_only")
    primary.sql("ALTER ROLE verifier_user RESET default_transaction_read_only")


def settings(primary):
    return primary.sql("SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2")


def outsider(primary, user="app", password=c.APP_PASSWORD, **more):
    return primary.tcp("shop", user, password, autocommit=True, **more)


def test_replication_connections_past_lull_are_ended_too(fenced, primary):
    """They run SQL."""
    primary.sql("CREATE ROLE streamer LOGIN REPLICATION PASSWORD 'streamer-secret'; GRANT app TO streamer")
    try:
        old = Wire("127.0.0.1", primary.port).login("streamer", "streamer-secret", "shop", replication="database")
        assert not errors(old.query(INSERT))
        lull = fenced()
        lull.on()
        assert [error["C"] for error in errors(old.until_closed())] == ["57P01"]
        with Wire("127.0.0.1", primary.port).login("streamer", "streamer-secret", "shop", replication="database") as new:
            assert errors(new.query(INSERT))[0]["C"] == "25006"
        lull.off()
    finally:
        primary.sql("DROP OWNED BY streamer; DROP ROLE streamer")


def fence(lull):
    return lull.site()["fence"]["state"]


def audit(lull):
    with open(os.path.join(lull.state_dir, "audit.jsonl")) as lines:
        return [json.loads(line) for line in lines]


def test_outsiders_cannot_write_while_sealed_and_can_again_afterwards(fenced, primary):
    lull = fenced()
    old = outsider(primary, application_name="old hand")
    old.execute(INSERT)
    sealed = lull.on()
    assert sealed["fence"]["state"] == "up"
    with pytest.raises(psycopg.OperationalError):
        old.execute(INSERT)
    assert "old hand" in str([line for line in audit(lull) if line["event"] == "outsider_ended"])
    shown = lull.cli("status", "shop").stdout
    assert "refuses writes past Lull" in shown and "old hand" in shown, shown
    # Also roles with a setting of their own, which wins over the database's.
    for user, password in (("app", c.APP_PASSWORD), ("other", "other-secret"), ("verifier_user", "verifier-secret")):
        with outsider(primary, user, password) as new:
            assert new.execute("SHOW default_transaction_read_only").fetchone() == ("on",), user
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                new.execute("CREATE TEMP TABLE t ()" if user == "other" else INSERT)
    # The migration writes, and readers read, through Lull.
    with lull.migration() as migration:
        migration.execute("INSERT INTO log (who) VALUES ('migration')")
    with lull.wire() as client:
        assert tags(client.query("SELECT 1")) == ["SELECT 1"]
        assert errors(client.query(INSERT))[0]["C"] == "25006"
    with outsider(primary) as during:
        lull.off()
        with pytest.raises(psycopg.OperationalError):  # whoever came meanwhile has to come again
            during.execute("SELECT 1")
    with outsider(primary) as after:
        after.execute(INSERT)
    assert fence(lull) == "none"
    with lull.wire() as client:
        assert tags(client.query(INSERT)) == ["INSERT 0 1"]
    assert "VIOLATED" not in lull.cli("verify", "shop", check=False).stdout


def test_sessions_through_lull_that_outlive_the_window_can_write(fenced, primary):
    """Also where their server connection was opened while the fence was up."""
    lull = fenced()
    lull.on()
    with lull.wire() as client:
        client.query("SELECT 1")
        with lull.migration(autocommit=True) as migration:
            assert migration.execute("SHOW default_transaction_read_only").fetchone() == ("off",)
            lull.off()
            migration.execute(INSERT)
        assert tags(client.query(INSERT)) == ["INSERT 0 1"]
    with lull.wire(user="verifier_user") as client:  # its own setting, which Lull respects
        assert errors(client.query("SET ROLE app; " + INSERT))[0]["C"] == "25006"


def test_who_comes_when_the_fence_is_down_may_write_at_once(fenced, primary):
    """Also while the opening still waits for one who came under the fence, which it may not end before it knows whose he is."""
    lull = fenced()
    before = settings(primary)
    lull.on()
    with outsider(primary, application_name="young"), concurrent.futures.ThreadPoolExecutor() as pool:
        opening = pool.submit(lull.off)
        wait_for(lambda: settings(primary) == before, "the fence is down")
        with outsider(primary) as after:
            after.execute("BEGIN")
            after.execute(INSERT)
            opening.result(30)
            after.execute("COMMIT")


def test_a_role_that_becomes_a_superuser_meanwhile_is_freed_too(fenced, primary):
    lull = fenced()
    lull.on()
    try:
        primary.sql("ALTER ROLE other SUPERUSER")
        lull.off()
        assert "default_transaction_read_only=on" not in str(primary.sql(
            "SELECT setconfig FROM pg_db_role_setting WHERE setrole = 'other'::regrole"))
    finally:
        primary.sql("ALTER ROLE other NOSUPERUSER")


def test_what_a_fence_does_not_stop(fenced, primary):
    """By name in the README: superusers, and who overrides a default and is quick."""
    lull = fenced()
    lull.on()
    primary.sql("SET default_transaction_read_only = off; INSERT INTO log (who) VALUES ('superuser')", db="shop")
    with outsider(primary) as quick:
        quick.execute("SET default_transaction_read_only = off")
        quick.execute(INSERT)
    lull.off()
    assert primary.sql("SELECT count(*) FROM log", db="shop") == [(2,)]
    assert lull.cli("verify", "shop", check=False).returncode != 0


def test_an_outsider_who_writes_in_spite_of_the_fence_is_ended(fenced, primary):
    lull = fenced()
    lull.on()
    with pytest.raises(psycopg.OperationalError), outsider(primary, options="-c default_transaction_read_only=off") as rogue:
        rogue.execute("BEGIN")
        rogue.execute(INSERT)
        wait_for(lambda: any(line["event"] == "outsider_ended" for line in audit(lull)), "it is ended", 10)
        rogue.execute("COMMIT")
    assert primary.sql("SELECT count(*) FROM log WHERE who = 'outsider'", db="shop") == [(0,)]
    lull.off()


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.1, 0.15, 0.25, 0.4])
def test_killed_while_entering(fenced, primary, moment):
    """Whatever of the fence was up when Lull died: it comes back closed and fenced, and everything is as before in the end."""
    lull = fenced()
    lull.begin()
    time.sleep(moment)
    lull.kill9()
    lull.start(wait=False)
    wait_for(lambda: lull.admin("GET", "/status")[0] == 200, "Lull is back", 20)
    sealed = lull.wait_mode("sealed") if lull.site()["mode"] != "read_write" else lull.on()
    wait_for(lambda: fence(lull) == "up" and lull.site()["state"] == "sealed", "it is sealed and fenced")
    with outsider(primary) as one, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        one.execute(INSERT)
    assert sealed
    lull.off()


def test_killed_between_the_record_and_the_fence(fenced, primary):
    lull = fenced()
    before = settings(primary)
    with primary.connect("postgres", autocommit=False) as blocker:
        blocker.execute("LOCK TABLE pg_db_role_setting IN SHARE ROW EXCLUSIVE MODE")
        lull.begin()
        with_fence = os.path.join(lull.state_dir, "state.json")
        wait_for(lambda: '"database_oid"' in open(with_fence).read(), "what is to be changed is on the disk")
        lull.kill9()
        assert settings(primary) == before
    lull.start(wait=False)
    wait_for(lambda: lull.admin("GET", "/status")[0] == 200, "Lull is back", 20)
    wait_for(lambda: fence(lull) == "up" and lull.site()["state"] == "sealed", "it is sealed and fenced")
    lull.off()


@pytest.mark.parametrize("moment", [0.0, 0.03, 0.06, 0.1, 0.2])
def test_killed_while_opening(fenced, primary, moment):
    lull = fenced()
    lull.on()
    lull.admin("DELETE", "/sites/shop/maintenance")
    time.sleep(moment)
    lull.kill9()
    lull.start(wait=False)
    lull.wait_mode("read_write")
    wait_for(lambda: fence(lull) == "none", "the fence is gone")
    with lull.wire() as client:
        assert tags(client.query(INSERT)) == ["INSERT 0 1"]


def test_entering_that_is_aborted_takes_the_fence_away(fenced, primary):
    """The writer comes in through Lull; nothing was fenced yet. With prepared transactions in the way likewise."""
    lull = fenced({"prepared_transactions": "refuse"})
    with lull.wire() as client:
        client.query("BEGIN")
        client.query(INSERT)
        client.query("PREPARE TRANSACTION 'in the way'")
    done = lull.cli("maintenance", "on", "shop", check=False)
    assert done.returncode == 1 and "in the way" in done.stderr and "ROLLBACK PREPARED" in done.stderr, done.stderr
    assert lull.site()["mode"] == "read_write" and fence(lull) == "none"
    primary.sql("ROLLBACK PREPARED 'in the way'", db="shop")
    lull.on()
    lull.off()


def test_prepared_transactions_can_be_waited_for(fenced, primary):
    lull = fenced({"prepared_transactions": "wait"})
    with lull.wire() as client:
        client.query("BEGIN")
        client.query(INSERT)
        client.query("PREPARE TRANSACTION 'slow one'")
    lull.begin()
    wait_for(lambda: "slow one of app" in str(lull.site()["prepared"]), "it is told of")
    stays(lambda: lull.site()["mode"] == "draining", 0.5, "it is waited for")
    primary.sql("COMMIT PREPARED 'slow one'", db="shop")
    lull.wait_mode("sealed")
    lull.off()


def test_without_the_rights_nothing_is_sealed_or_it_is_said(fenced, primary):
    primary.sql("REVOKE pg_signal_backend FROM lull_fence")
    try:
        lull = fenced()
        done = lull.cli("maintenance", "on", "shop", check=False)
        assert done.returncode == 1 and "pg_signal_backend" in done.stderr and "fence-role.sql" in done.stderr, done.stderr
        assert lull.site()["mode"] == "read_write"
        lull.config["sites"]["shop"]["fence"] = "wanted"
        lull.reload()
        wait_for(lambda: "reload: 1 change" in lull.log(), "the configuration is read")
        assert lull.on()["fence"]["state"] == "missing"
        assert "NOT FENCED" in lull.cli("status", "shop").stdout
        lull.off()
    finally:
        primary.sql("GRANT pg_signal_backend TO lull_fence")


def test_a_fence_that_cannot_be_taken_away_is_owed(fenced, primary):
    lull = fenced()
    lull.on()
    primary.sql("ALTER ROLE lull_fence NOLOGIN")
    primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'lull_fence'")
    try:
        lull.off()
        assert fence(lull) == "owed"
        shown = lull.cli("status", "shop").stdout
        assert "STILL UP" in shown and 'ALTER DATABASE "shop" RESET default_transaction_read_only' in shown
        with lull.wire() as client:
            assert tags(client.query(INSERT)) == ["INSERT 0 1"]
        lull.kill9()
        lull.start()
        assert fence(lull) == "owed"
        with lull.wire() as client:
            assert tags(client.query(INSERT)) == ["INSERT 0 1"]
    finally:
        primary.sql("ALTER ROLE lull_fence LOGIN")
    wait_for(lambda: fence(lull) == "none", "it is taken away when that is possible")


def test_what_somebody_takes_away_comes_back_and_a_renamed_role_is_found_again(fenced, primary):
    lull = fenced()
    lull.on()
    primary.sql("ALTER DATABASE shop RESET default_transaction_read_only")
    primary.sql("ALTER ROLE other RENAME TO another")
    try:
        wait_for(lambda: any(line["event"] == "fence_mended" for line in audit(lull)), "it is put up again")
        lull.off()
    finally:
        primary.sql("ALTER ROLE another RENAME TO other")
        primary.sql("ALTER ROLE other PASSWORD 'other-secret'")


# -- beside other things ------------------------------------------------------------------------------------------------------------------

def test_a_fence_beside_a_frozen_replica(fenced, primary, standby):
    """The fence is a write like any other: it must be down again on the standby too, and its going up must not be behind the seal."""
    lull = fenced(replicas=True)
    before = settings(standby)
    old = outsider(primary)
    old.execute(INSERT)
    sealed = lull.on()
    assert sealed["state"] == "frozen" and sealed["fence"]["state"] == "up"
    with pytest.raises(psycopg.OperationalError):
        old.execute(INSERT)
    with outsider(primary) as new, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        new.execute(INSERT)
    with lull.wire() as client:
        assert client.one("SELECT pg_is_in_recovery()") == "t"
        with lull.migration() as migration:
            migration.execute("INSERT INTO log (who) VALUES ('migration')")
        assert client.one("SELECT count(*) FROM log WHERE who = 'migration'") == "0"
        lull.kill9()
    lull.start(wait=False)
    wait_for(lambda: lull.admin("GET", "/status")[0] == 200, "Lull is back", 20)
    wait_for(lambda: fence(lull) == "up" and lull.site()["state"] == "frozen", "it is frozen and fenced again")
    lull.off()
    wait_for(lambda: settings(standby) == before, "the standby has it as it was")
    with lull.wire() as client:
        wait_for(lambda: client.one("SELECT count(*) FROM log WHERE who = 'migration'") == "1", "readers see the migration")
        assert tags(client.query(INSERT)) == ["INSERT 0 1"]


def test_a_fence_that_is_owed_does_not_end_the_replay_of_the_journal(fenced, primary):
    """It is taken away while journaled writes are run; who came under it is ended then, but not Lull itself."""
    lull = fenced({"writes": "journal"})
    primary.sql("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(1); RETURN NEW; END$$; "
                "CREATE TRIGGER slow BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION slow()", db="shop")
    with lull.wire() as client:
        client.query("SELECT 1")
        lull.on()
        for n in range(6):
            assert tags(client.query(f"INSERT INTO log (who) VALUES ('journaled {n}')")) == ["INSERT 0 1"]
    primary.sql("ALTER ROLE lull_fence NOLOGIN")
    primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'lull_fence'")
    try:
        lull.admin("DELETE", "/sites/shop/maintenance")
        running = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%%journaled%%' AND state = 'active' AND pid <> pg_backend_pid()"
        (pid,), = wait_for(lambda: primary.sql(running), "the journal runs")
        wait_for(lambda: primary.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s AND backend_start < now() - interval '2.5 s'", (pid,)),
                 "it has run for a while")
    finally:
        primary.sql("ALTER ROLE lull_fence LOGIN")
    wait_for(lambda: fence(lull) == "none", "the fence is taken away")
    assert lull.site()["journal"]["pending"] > 0, "the journal had run before the fence was down: nothing is shown"
    assert primary.sql(running) == [(pid,)]
    wait_for(lambda: lull.site()["mode"] == "read_write", "the journal has run")
    assert primary.sql("SELECT who FROM log ORDER BY id", db="shop") == [(f"journaled {n}",) for n in range(6)]
    assert not [line for line in audit(lull) if line["event"] == "outsider_ended"]


@pytest.mark.parametrize("policy", ["required", "wanted"])
def test_a_session_past_lull_that_does_not_end(fenced, primary, policy):
    """A backend that is stuck in the system, say. It may still write: with a fence that is required nothing is sealed beside it."""
    lull = fenced({"fence": policy, "seal_timeout": "2s"})
    stuck = outsider(primary, application_name="stuck")
    pid = stuck.execute("SELECT pg_backend_pid()").fetchone()[0]
    with stopped(pid):
        done = lull.cli("maintenance", "on", "shop", check=False)
        if policy == "required":
            assert done.returncode == 1 and "stuck" in done.stderr and str(pid) in done.stderr, done.stderr
            assert lull.site()["mode"] == "read_write" and fence(lull) in ("none", "owed")
        else:
            assert lull.site()["mode"] == "sealed" and fence(lull) == "missing"
            assert "NOT FENCED" in lull.cli("status", "shop").stdout
    if policy == "wanted":
        lull.off()
    wait_for(lambda: primary.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)) == [], "it ends when it can")
    wait_for(lambda: fence(lull) == "none", "the fence is gone")
    with outsider(primary) as after:
        after.execute(INSERT)
