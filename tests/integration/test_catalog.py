"""What the catalog tells of functions and relations: which of them only read, for routing and for sealed sites."""
import time

import pytest

from harness import wire as w
from harness.fingerprint import changes, fingerprint
from harness.wait import wait_for
from harness.wire import errors, rows, tags

OBJECTS = """
SET ROLE app;
CREATE FUNCTION price(int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) + $1 FROM items';
CREATE FUNCTION liar() RETURNS bigint LANGUAGE plpgsql STABLE AS $$BEGIN RETURN nextval('counter'); END$$;
CREATE VIEW plain AS SELECT id, lower(name) AS name, price(id) FROM items;
CREATE VIEW drawing AS SELECT nextval('counter') AS x;
CREATE FUNCTION where_am_i() RETURNS bool LANGUAGE sql STABLE AS 'SELECT pg_is_in_recovery()';
CREATE VIEW bumping AS SELECT bump() AS n;
RESET ROLE;
"""


@pytest.fixture
def known(make_lull, cluster, primary):
    """A Lull that knows the catalog with OBJECTS in it."""
    def make(replicas=True, **site):
        primary.sql(OBJECTS, db="shop")
        cluster.catch_up()
        lull = make_lull({"clusters": {"main": {"catalog_interval": "200ms"}}, "sites": {"shop": site}}, replicas=replicas)
        wait_for(lambda: lull.site()["catalogs"][0].get("unlisted_functions"), "the catalog has been read")
        return lull

    return make


def test_reads_go_where_they_can_be_run(known):
    """A view over what writes runs on the primary; a steady function of the site's own, and what only reads, on the replica."""
    lull = known()
    with lull.wire() as client:
        assert client.one("SELECT where_am_i()") == "t"
        assert client.one("SELECT current_setting('in_hot_standby')::bool FROM plain LIMIT 1") == "t"
        assert client.one("SELECT n FROM bumping") == "1", "the replica could not run it"
        assert client.one("SELECT x FROM drawing") == "1"
        assert client.one("SELECT liar()") == "2"
        client.query("CREATE VIEW made_now AS SELECT bump() AS n")
        assert client.one("SELECT n FROM made_now") == "2", "what nobody knows yet goes to the primary"


def test_a_write_behind_a_view_is_waited_for(known, primary):
    """Sealing waits for it as for any write in flight."""
    lull = known(replicas=False)
    with lull.wire() as client:
        client.query("BEGIN")
        client.query("SELECT * FROM bumping")
        lull.begin()
        wait_for(lambda: lull.site()["writing"] == 1, "it is seen as a writer")
        assert lull.site()["mode"] == "draining"
        assert tags(client.query("COMMIT")) == ["COMMIT"]
        lull.wait_mode("sealed")
    assert primary.sql("SELECT n FROM items WHERE id = 1", db="shop") == [(1,)]


@pytest.mark.parametrize("replicas", [True, False], ids=["frozen replica", "primary alone"])
def test_functions_refuse_goes_by_the_catalog(known, primary, replicas):
    lull = known(replicas, guard={"functions": "refuse", "deny_functions": ["pg_sleep"], "allow_functions": ["public.bump"]})
    lull.on()
    before = fingerprint(primary)
    with lull.wire() as client:
        for sql in ("SELECT price(1)", "SELECT * FROM plain", "SELECT where_am_i()", "SELECT count(*) FROM pg_class",
                    "WITH x AS (SELECT 1) SELECT * FROM x", "SELECT table_name FROM information_schema.tables LIMIT 1"):
            assert not errors(client.query(sql)) and not errors(client.extended(sql)), sql
        for sql, words in (("SELECT liar()", "liar()"), ("SELECT * FROM drawing", "nextval()"), ("SELECT pg_sleep(0)", "pg_sleep()"),
                           ("SELECT pg_catalog.pg_sleep(0)", "pg_sleep()"), ("SELECT * FROM sly_view", "sly()")):
            for answer in (client.query(sql), client.extended(sql)):
                assert errors(answer)[0]["C"] == "25006", sql
                assert errors(answer)[0]["M"] == f"cannot execute {words} in a read-only transaction"
        found = errors(client.query("SELECT * FROM not_known"))[0]
        assert found["C"] == "25006" and "catalog" in found["D"]
        # What the operator has said to be harmless is judged by the server.
        assert "UPDATE" in errors(client.query("SELECT * FROM bumping"))[0]["M"]
    assert changes(before, fingerprint(primary)) == []


def test_the_catalog_is_read_again_during_the_window(known, primary):
    """The migration changes what a view calls; on a site whose reads run on the primary that counts at once."""
    lull = known(False, guard={"functions": "refuse"})
    lull.on()
    with lull.wire() as client, lull.migration() as migration:
        assert client.one("SELECT count(*) FROM plain") == "100"
        migration.execute("CREATE VIEW young AS SELECT id FROM items")
        migration.execute("GRANT SELECT ON young TO PUBLIC")
        migration.execute("SET ROLE app")
        migration.execute("CREATE OR REPLACE VIEW plain AS SELECT id, lower(name) AS name, bump()::bigint AS price FROM items")
        wait_for(lambda: not errors(client.query("SELECT * FROM young")), "the new view is known", 5)
        assert errors(client.query("SELECT * FROM plain"))[0]["M"] == "cannot execute bump() in a read-only transaction"
    lull.off()


def test_beside_a_frozen_replica_the_old_catalog_counts(known):
    lull = known(True, guard={"functions": "refuse"})
    lull.on()
    with lull.wire() as client, lull.migration() as migration:
        migration.execute("SET ROLE app")
        migration.execute("DROP VIEW plain")
        migration.execute("CREATE VIEW other_view AS SELECT 1 AS a")
        for _ in range(30):  # longer than the catalog takes to be read again
            assert client.one("SELECT count(*) FROM plain") == "100"
            client.query("SELECT pg_sleep(0.02)")
    lull.off()


def unlisted(lull):
    return lull.site()["catalogs"][0]["unlisted_relations"]


@pytest.fixture
def nobody_confirms(primary):
    """Commits wait for a standby that there is not: they are in the log, and nobody sees them yet."""
    def set_to(names):
        primary.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        primary.sql("SELECT pg_reload_conf()")
        wait_for(lambda: primary.sql("SHOW synchronous_standby_names") == [(names,)], "the setting is in force")

    set_to("nobody")
    yield lambda: set_to("")
    set_to("")


def test_a_change_counts_when_it_is_seen_and_not_when_it_is_in_the_log(known, primary, request):
    """Where nothing has ended on the server the catalog is not read again. A transaction that is in the log and not visible
    yet, as one that waits for a synchronous standby, has not."""
    lull = known(False)
    with lull.wire() as client:
        let_go = request.getfixturevalue("nobody_confirms")
        before = unlisted(lull)
        client.query("SET synchronous_commit = on")
        client.send(w.query("CREATE VIEW young AS SELECT bump() AS n"))
        wait_for(lambda: primary.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"), "the commit waits")
        time.sleep(1)  # several catalog_intervals, without anything in the log
        assert unlisted(lull) == before
        let_go()
        assert tags(client.until("Z")) == ["CREATE VIEW"]
        wait_for(lambda: unlisted(lull) == before + 1, "the view is known", 5)


def test_a_connection_that_was_ended_while_nothing_changed_is_no_trouble(known, primary):
    """A server that ends idle sessions does not make the catalog unknown for a moment."""
    lull = known(False)
    for turn in range(2):
        time.sleep(0.5)  # the first of the two databases is asked whether anything has ended, the other nothing
        primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lull control' AND datname = 'shop'")
        time.sleep(0.5)
        before = unlisted(lull)
        primary.sql(f"CREATE VIEW of_turn_{turn} AS SELECT public.bump() AS n", db="shop")
        wait_for(lambda: unlisted(lull) == before + 1, "it is read again", 5)
    assert "its catalog cannot be read" not in lull.log()


def test_roles_with_rights_beyond_are_found(known, primary):
    primary.sql("ALTER ROLE other REPLICATION")
    try:
        lull = known(False, guard={"privileged": "refuse"})
        lull.on()
        with lull.wire() as app, lull.wire(user="other") as other:
            assert rows(app.query("SELECT count(*) FROM items")) == [("100",)]
            found = errors(other.query("SELECT 1"))[0]
            assert found["C"] == "57P03" and "privileged" in found["M"]
        lull.off()
    finally:
        primary.sql("ALTER ROLE other NOREPLICATION")


def test_lists_can_be_reloaded(known):
    lull = known(False)
    lull.on()
    with lull.wire() as client:
        assert not errors(client.query("SELECT pg_sleep(0)"))
        lull.config["sites"]["shop"]["guard"] = {"deny_functions": ["pg_sleep"]}
        lull.reload()
        wait_for(lambda: errors(client.query("SELECT pg_sleep(0)")), "the list counts", 5)
        assert errors(client.query("SELECT pg_sleep(0)"))[0]["C"] == "25006"
    lull.off()


def test_status_names_what_nobody_can_see_through(known):
    lull = known()
    catalog = lull.site()["catalogs"][0]
    assert catalog["database"] == "shop" and catalog["known"] and catalog["trouble"] == ""
    assert "public.bumping, which reaches bump()" in catalog["examples"]
    shown = lull.cli("status", "shop").stdout
    assert "public.bumping, which reaches bump()" in shown


def test_a_catalog_that_cannot_be_read(make_lull, primary):
    """What nobody knows is refused where the site says so, and the status says why."""
    primary.sql("REVOKE CONNECT ON DATABASE shop FROM PUBLIC")
    primary.sql("GRANT CONNECT ON DATABASE shop TO app, shop_owner")
    try:
        lull = make_lull({"sites": {"shop": {"guard": {"functions": "refuse"}}}}, replicas=False)
        wait_for(lambda: "permission denied" in lull.site()["catalogs"][0]["trouble"], "the trouble is told")
        assert "cannot be read" in lull.cli("status", "shop").stdout
        lull.on()
        with lull.wire() as client:
            assert client.one("SELECT 1") == "1"
            assert errors(client.query("SELECT * FROM items"))[0]["C"] == "25006"
        lull.off()
    finally:
        primary.sql("GRANT CONNECT ON DATABASE shop TO PUBLIC")
