"""Reads that a standby cannot answer although the primary would: Lull has chosen it, so they are asked there."""
import threading

import pytest

from harness import wire as w
from harness.wait import wait_for

WHERE = "current_setting('in_hot_standby')"
SLOW = f"SELECT count(*), max({WHERE}) FROM moving WHERE pg_sleep(0.002) IS NOT NULL"


@pytest.fixture
def hasty(cluster, standby):
    """The standby does not let its replay wait."""
    standby.sql("ALTER SYSTEM SET max_standby_streaming_delay = '200ms'")
    standby.sql("SELECT pg_reload_conf()")
    yield
    standby.sql("ALTER SYSTEM RESET max_standby_streaming_delay")
    standby.sql("SELECT pg_reload_conf()")


@pytest.fixture
def client(make_lull, primary, cluster):
    primary.sql("CREATE TABLE moving AS SELECT generate_series(1, 1000) n; GRANT ALL ON moving TO app;"
                f"CREATE FUNCTION numbers() RETURNS text LANGUAGE sql STABLE AS 'SELECT {WHERE.replace(chr(39), chr(39) * 2)}'", db="shop")
    cluster.catch_up()
    lull = make_lull({"clusters": {"main": {"catalog_interval": "1h"}}})
    with lull.wire() as one:
        wait_for(lambda: one.one(f"SELECT {WHERE} FROM moving, items LIMIT 1") == "on", "reads go to the standby")
        yield one


def extended(text):
    return w.parse("", text) + w.bind() + w.describe("P") + w.execute() + w.sync()


def named(text):
    return w.bind("", "s") + w.describe("P") + w.execute() + w.sync()


@pytest.mark.parametrize("form", [w.query, extended, named])
def test_one_in_the_way_of_replay_is_answered_by_the_primary(client, primary, standby, hasty, form):
    client.ask(w.parse("s", SLOW), w.sync())
    plain = client.ask(form("SELECT 1") if form is not named else form(SLOW))
    client.send(form(SLOW))
    wait_for(lambda: standby.one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT count(*), max%' AND state = 'active'"), "it runs there")
    asked = threading.Thread(target=lambda: primary.sql("TRUNCATE moving; INSERT INTO moving SELECT generate_series(1, 10)", db="shop"))
    asked.start()
    answer = client.until("Z")
    asked.join()
    assert not w.errors(answer) and w.rows(answer) == [("10", "off")], answer
    assert [m.type for m in answer] == [m.type for m in plain], "nothing is told twice"
    wait_for(lambda: client.one(f"SELECT {WHERE}") == "on", "others go to the standby, when it has what that one may have written")


@pytest.mark.parametrize("form", [w.query, extended])
def test_what_was_changed_a_moment_ago_is_read_where_it_can_be(client, primary, cluster, form):
    """The catalog is not known yet to have it."""
    primary.sql("ALTER TABLE moving SET UNLOGGED", db="shop")
    cluster.catch_up()
    answer = client.ask(form("SELECT count(*) FROM moving"))
    assert not w.errors(answer) and w.rows(answer) == [("1000",)]
    wait_for(lambda: w.rows(client.ask(form("SELECT numbers()"))) == [("on",)], "it reads on the standby again")
    primary.sql("CREATE OR REPLACE FUNCTION numbers() RETURNS text LANGUAGE plpgsql AS $$BEGIN DELETE FROM log; RETURN 'written'; END$$", db="shop")
    cluster.catch_up()
    answer = client.ask(form("SELECT numbers()"))
    assert not w.errors(answer) and w.rows(answer) == [("written",)]


def test_what_the_primary_says_no_to_as_well_is_told_once(client):
    answer = client.query("/* lull: replica */ SELECT count(*) FROM moving")
    assert w.rows(answer) == [("1000",)]
    answer = client.query("SELECT xmlparse(document 'no document')")
    assert len(w.errors(answer)) == 1 and w.statuses(answer) == "I"
