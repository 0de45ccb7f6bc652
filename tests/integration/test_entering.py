"""Entering maintenance beside what Lull does not hold in its hands: broken connections, sessions that go past it, background work."""

import time

import pytest

from harness.gate import Gate
from harness.process import stopped
from harness.wait import stays, wait_for
from harness.wire import Closed, bind, copy_data, copy_done, errors, execute, parse, query, sync, tags


@pytest.fixture
def gate(primary):
    one = Gate(primary.port)
    yield one
    one.close()


def gated(make_lull, gate, **site):
    return make_lull({"clusters": {"main": {"primary": f"127.0.0.1:{gate.port}"}}, "sites": {"shop": site}}, replicas=False)


def break_a_write(lull, gate, primary, seconds):
    """A write that goes on for so long at the server after its connection to Lull broke; the server's side of the connection."""
    client = lull.wire()
    client.send(query(f"INSERT INTO log (who) SELECT 'late' FROM pg_sleep({seconds})"))
    pid, port = wait_for(lambda: primary.sql("SELECT pid, client_port FROM pg_stat_activity WHERE state = 'active' "
                                             "AND query LIKE 'INSERT INTO log%pg_sleep%'"), "the write runs")[0]
    side = gate.cut(port)
    return client, pid, side


def test_a_write_whose_connection_broke_is_waited_for(make_lull, gate, primary):
    lull = gated(make_lull, gate)
    client, pid, side = break_a_write(lull, gate, primary, 2)
    assert errors(client.until())[0]["C"] == "08006"
    lull.begin()
    site = wait_for(lambda: lull.site()["suspects"] and lull.site(), "status tells who is waited for")
    assert str(pid) in str(site["suspects"]) and site["mode"] == "draining"
    assert str(pid) in lull.cli("status", "shop").stdout
    stays(lambda: lull.site()["mode"] == "draining", 0.5, "sealed while the server still works on a write")
    side.close()  # the server sees that nobody is there when it answers
    sealed = lull.wait_mode("sealed")
    assert primary.sql("SELECT count(*) FROM log WHERE who = 'late'", db="shop") == [(1,)]
    assert primary.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)) == []
    assert str(pid) in str(sealed["waited_for"])
    count = primary.sql("SELECT count(*) FROM log", db="shop")
    stays(lambda: primary.sql("SELECT count(*) FROM log", db="shop") == count, 0.3, "it committed after sealed was said")


def test_a_broken_session_that_is_idle_is_ended_where_that_is_allowed(make_lull, gate, primary):
    lull = gated(make_lull, gate)
    _, pid, _side = break_a_write(lull, gate, primary, 0.5)
    lull.begin()
    wait_for(lambda: "pg_signal_backend" in str(lull.site()["suspects"]), "the grant that is missing is named")
    assert lull.site()["mode"] == "draining"
    primary.sql("GRANT pg_signal_backend TO lull")
    try:
        lull.wait_mode("sealed")
    finally:
        primary.sql("REVOKE pg_signal_backend FROM lull")
    assert primary.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)) == []


def test_abort_at_the_deadline_names_the_broken_session(make_lull, gate, primary):
    lull = gated(make_lull, gate)
    _, pid, _side = break_a_write(lull, gate, primary, 3)
    done = lull.cli("maintenance", "on", "shop", "--drain-timeout", "300ms", "--on-deadline", "abort", check=False)
    assert done.returncode == 1 and str(pid) in done.stdout + done.stderr, done.stderr
    assert lull.site()["mode"] == "read_write"


def test_terminate_at_the_deadline_ends_the_broken_session(make_lull, gate, primary):
    lull = gated(make_lull, gate)
    _, pid, _side = break_a_write(lull, gate, primary, 30)
    primary.sql("GRANT pg_signal_backend TO lull")
    try:
        lull.on(drain_timeout_ms=300, on_deadline="terminate")
    finally:
        primary.sql("REVOKE pg_signal_backend FROM lull")
    assert primary.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)) == []
    assert primary.sql("SELECT count(*) FROM log WHERE who = 'late'", db="shop") == [(0,)]


def test_a_write_that_a_killed_lull_left_running_is_waited_for_though_the_site_was_open(make_lull, primary):
    lull = make_lull(replicas=False)
    client = lull.wire()
    client.send(query("INSERT INTO log (who) SELECT 'late' FROM pg_sleep(2.5)"))
    wait_for(lambda: primary.sql("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT INTO log%pg_sleep%'"),
             "the write runs")
    lull.kill9()
    lull.start()
    assert lull.site()["mode"] == "read_write"
    lull.on()
    assert primary.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO log%pg_sleep%' AND state = 'active'") == [(0,)]
    count = primary.sql("SELECT count(*) FROM log", db="shop")
    stays(lambda: primary.sql("SELECT count(*) FROM log", db="shop") == count, 0.3, "it committed after sealed was said")


def test_sessions_past_lull_are_listed_live(lull, primary):
    """Who writes by name; who could write by number; those of Lull not at all."""
    with lull.wire(application_name="through lull") as client:
        client.query("UPDATE items SET n = 1 WHERE id = 1")
        lull.on()
        assert lull.site()["outsiders"] == []
        with primary.connect("shop", autocommit=False, application_name="late comer") as direct:
            direct.execute("SELECT 1")
            direct.commit()
            wait_for(lambda: "late comer" in str(lull.site()["bypassing"]), "a session that could write is listed")
            direct.execute("LOCK TABLE items IN ROW EXCLUSIVE MODE")
            wait_for(lambda: "late comer" in str(lull.site()["outsiders"]), "one that is about to write is listed")
            shown = lull.cli("status", "shop").stdout
            assert "past Lull" in shown and "late comer" in shown
            direct.rollback()
            wait_for(lambda: "late comer" not in str(lull.site()["outsiders"]), "the list is live")
        assert "through lull" not in str(lull.site()["outsiders"]) + str(lull.site()["bypassing"])
    with lull.migration(application_name="the migration") as migration:
        with migration.transaction():
            migration.execute("UPDATE items SET n = 2 WHERE id = 2")
            stays(lambda: "the migration" not in str(lull.site()["outsiders"]), 1.5, "the migration is taken for an outsider")


def test_a_write_that_a_killed_lull_left_unread_is_waited_for(make_lull, primary):
    """Its backend is idle, and has not read yet what the client sent."""
    lull = make_lull(replicas=False)
    client = lull.wire()
    client.query("UPDATE items SET n = 0 WHERE id = 1")
    pid = primary.one("SELECT pid FROM pg_stat_activity WHERE state = 'idle' AND datname = 'shop' AND query LIKE 'UPDATE items%'")
    with stopped(pid):
        client.send(query("INSERT INTO log (who) VALUES ('unread')"))
        time.sleep(0.2)  # until it has passed through Lull, which nobody outside can see
        lull.kill9()
        lull.start()
        lull.begin()
        site = wait_for(lambda: lull.site()["suspects"] and lull.site(), "it is waited for")
        assert str(pid) in str(site["suspects"]) and site["mode"] == "draining"
    lull.wait_mode("sealed")
    assert primary.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)) == []
    assert primary.sql("SELECT count(*) FROM log WHERE who = 'unread'", db="shop") == [(1,)]


def test_sessions_that_are_nobodys_left_over_delay_the_first_window_by_seconds_only(make_lull, primary):
    lull = make_lull(replicas=False)
    with primary.connect("shop", application_name="a neighbour"):
        lull.kill9()
        lull.start()
        lull.on()


def test_a_broken_session_in_a_transaction_is_ended_where_that_is_allowed(make_lull, gate, primary):
    lull = gated(make_lull, gate)
    client = lull.wire()
    client.query("BEGIN")
    client.query("INSERT INTO log (who) VALUES ('in a transaction')")
    pid, port = primary.sql("SELECT pid, client_port FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = 'shop'")[0]
    _side = gate.cut(port)
    primary.sql("GRANT pg_signal_backend TO lull")
    try:
        lull.on()
    finally:
        primary.sql("REVOKE pg_signal_backend FROM lull")
    assert primary.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)) == []


def test_a_control_role_without_the_rights_to_prove_anything_closes_nothing(make_lull, primary):
    """What it lacks is named before anything is refused to anybody."""
    lull = make_lull(replicas=False)
    for right, take, give in [("GRANT pg_monitor TO", "REVOKE pg_monitor FROM lull", "GRANT pg_monitor TO lull"),
                              ("GRANT EXECUTE ON FUNCTION pg_logical_emit_message(boolean,text,text) TO",
                               "REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) FROM PUBLIC",
                               "GRANT EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) TO PUBLIC")]:
        primary.sql(take)
        try:
            time.sleep(1.5)  # longer than between two looks
            done = lull.cli("maintenance", "on", "shop", check=False)
            assert done.returncode == 1 and right in done.stderr and "control role" in done.stderr, done.stderr
            assert lull.site()["mode"] == "read_write"
        finally:
            primary.sql(give)
        time.sleep(1.5)
    lull.on()


def test_nothing_is_proved_by_a_role_that_can_no_longer_see_others(make_lull, primary):
    lull = make_lull(replicas=False)
    with lull.wire() as client:
        client.query("BEGIN")
        client.query("INSERT INTO log (who) VALUES ('x')")
        lull.begin()
        primary.sql("REVOKE pg_monitor FROM lull")
        try:
            client.query("COMMIT")
            wait_for(lambda: "GRANT pg_monitor" in str(lull.site()["waiting_for"]), "the grant that is missing is named")
            assert lull.site()["mode"] == "draining"
        finally:
            primary.sql("GRANT pg_monitor TO lull")
        lull.wait_mode("sealed")


# -- a COMMIT that takes its time ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def slow_trigger(primary, tables):
    """COMMIT works for a second and a half before it commits."""
    primary.sql("CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END$$; "
                "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()",
                db="shop")


@pytest.fixture
def no_witness(primary, tables):
    """COMMIT has committed here and waits for a standby that is not there; nobody sees it yet."""
    def set_to(value):
        primary.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{value}'")
        primary.sql("SELECT pg_reload_conf()")
        wait_for(lambda: primary.one("SHOW synchronous_standby_names") == value, "it is set")

    set_to("nobody")
    yield lambda: set_to("")
    set_to("")


def commits(lull, primary):
    """A client whose COMMIT is under way, and the pid of its backend."""
    client = lull.wire()
    client.query("BEGIN")
    client.query("INSERT INTO log (who) VALUES ('slow')")
    pid = int(client.one("SELECT pg_backend_pid()"))
    client.send(query("COMMIT"))
    wait_for(lambda: primary.one("SELECT state = 'active' AND query = 'COMMIT' FROM pg_stat_activity WHERE pid = %s", (pid,)),
             "it commits")
    return client, pid


def count_of_slow(primary):
    return primary.one("SELECT count(*) FROM log WHERE who = 'slow'", db="shop")


def test_a_slow_commit_is_waited_for(make_lull, primary, slow_trigger):
    lull = make_lull(replicas=False)
    client, pid = commits(lull, primary)
    lull.begin()
    stays(lambda: lull.site()["mode"] == "draining" and lull.site()["waiting_for"], 0.7, "sealed before its outcome is known")
    assert count_of_slow(primary) == 0
    sealed = lull.wait_mode("sealed")
    assert count_of_slow(primary) == 1 and str(pid) in str(sealed["waited_for"])
    assert tags(client.until()) == ["COMMIT"]


def test_abort_beside_a_slow_commit_opens_as_if_nothing_had_happened(make_lull, primary, slow_trigger):
    lull = make_lull(replicas=False)
    client, _ = commits(lull, primary)
    done = lull.cli("maintenance", "on", "shop", "--drain-timeout", "300ms", "--on-deadline", "abort", check=False)
    assert done.returncode == 1 and "COMMIT" in done.stderr, done.stderr
    assert lull.site()["mode"] == "read_write" and count_of_slow(primary) == 0
    assert tags(client.until()) == ["COMMIT"] and count_of_slow(primary) == 1
    assert tags(client.query("UPDATE items SET n = 1 WHERE id = 1")) == ["UPDATE 1"]


def test_a_slow_commit_that_is_cancelled_is_undone_before_sealed_is_said(make_lull, primary, slow_trigger):
    lull = make_lull(replicas=False)
    client, _ = commits(lull, primary)
    lull.on(drain_timeout_ms=200, on_deadline="cancel")
    assert count_of_slow(primary) == 0
    assert errors(client.until())[0]["C"] == "57014"


def test_a_commit_that_waits_for_a_standby_is_waited_for(make_lull, primary, no_witness):
    """It is in the log already, and would be seen at any moment after sealed was said."""
    lull = make_lull(replicas=False)
    client, pid = commits(lull, primary)
    lull.begin()
    stays(lambda: lull.site()["mode"] == "draining", 0.7, "sealed before its outcome is known")
    assert count_of_slow(primary) == 0
    no_witness()
    sealed = lull.wait_mode("sealed")
    assert count_of_slow(primary) == 1 and str(pid) in str(sealed["waited_for"])
    assert tags(client.until()) == ["COMMIT"]


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_a_commit_that_waits_for_a_standby_is_there_when_it_is_cut_short(make_lull, primary, no_witness, how):
    """The server ends the wait, and what is committed stays so: seen before sealed is said, and told as far as the server tells."""
    lull = make_lull(replicas=False)
    client, pid = commits(lull, primary)
    lull.begin(drain_timeout_ms=200, on_deadline=how)
    wait_for(lambda: count_of_slow(primary) == 1, "it is seen")
    no_witness()  # the proof of sealing has a log record flushed, which would wait likewise
    lull.wait_mode("sealed")
    assert count_of_slow(primary) == 1
    if how == "cancel":
        answer = client.until()
        assert tags(answer) == ["COMMIT"] and "committed locally" in str(answer)
    else:
        with pytest.raises(Closed):
            assert tags(client.until()) == []
        assert primary.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state <> 'idle'", (pid,)) == []


def test_a_write_that_was_taken_for_a_read_is_waited_for(make_lull, primary):
    lull = make_lull({"sites": {"shop": {"guard": {"allow_functions": ["bump"]}}}}, replicas=False)
    with lull.wire() as client:
        client.query("BEGIN")
        assert not errors(client.query("SELECT bump()"))  # which writes, whatever the configuration says
        lull.begin()
        wait_for(lambda: "taken for a reader, the server says that it writes" in str(lull.site()["waiting_for"]), "the server tells")
        stays(lambda: lull.site()["mode"] == "draining", 0.5, "sealed although the server knows of a write")
        client.query("COMMIT")
        lull.wait_mode("sealed")


# -- what would never end, and what must not be told as done ----------------------------------------------------------------

@pytest.mark.parametrize("gone", [False, True], ids=["client there", "client gone"])
def test_a_sync_within_copy_is_not_waited_for(make_lull, gone):
    """PostgreSQL ignores it there and answers nothing."""
    lull = make_lull({"clusters": {"main": {"pool_size": 1}}}, replicas=False)
    client = lull.wire()
    client.send(query("COPY log (who, what) FROM STDIN"), sync(), copy_done())
    if gone:
        time.sleep(0.3)
    else:
        assert tags(client.until("Z")) == ["COPY 0"]
        assert client.one("SELECT 1") == "1"
    client.close()
    lull.on(drain_timeout_ms=5000, on_deadline="abort")
    lull.off()
    with lull.wire() as other:
        assert tags(other.query("INSERT INTO log (who) VALUES ('served')")) == ["INSERT 0 1"]


STUCK = {
    "a copy that gets nothing": [query("COPY log (who, what) FROM STDIN"), copy_data(b"a\tb\n")],
    "half a copy": [query("COPY log (who, what) FROM STDIN"), copy_data(b"a\tb\n" * 50000)[:100000]],
    "half a query": [query("INSERT INTO log (who) VALUES ('" + "y" * 400000 + "')")[:300000]],
}


@pytest.mark.parametrize("name", STUCK)
def test_what_no_cancel_reaches_is_terminated(make_lull, primary, name):
    lull = make_lull(replicas=False)
    with lull.wire() as client:
        client.send(*STUCK[name])
        wait_for(lambda: lull.site()["writing"] == 1, "it has begun")
        lull.on(drain_timeout_ms=500, on_deadline="cancel")
    assert primary.sql("SELECT count(*) FROM log", db="shop") == [(0,)]
    lull.off()


@pytest.mark.parametrize("how", ["simple", "extended"])
def test_a_block_taken_for_a_reader_that_has_written_is_not_told_that_it_is_committed(make_lull, primary, how):
    primary.sql("CREATE FUNCTION public.writes() RETURNS text LANGUAGE plpgsql AS "
                "$$BEGIN INSERT INTO log (who) VALUES ('seen'); RETURN 'x'; END$$; CREATE VIEW sly AS SELECT writes() AS a;"
                "GRANT SELECT ON sly TO PUBLIC", db="shop")
    try:
        lull = make_lull({"clusters": {"main": {"control": None}}}, replicas=False)  # so that no catalog tells
        with lull.wire() as client:
            client.query("BEGIN")
            assert client.one("SELECT a FROM sly") == "x"
            lull.on()
            ask = client.query if how == "simple" else client.extended
            answer = ask("COMMIT")
            assert errors(answer)[0]["C"] == "25006" and tags(answer) == []
            client.query("ROLLBACK")
            client.query("BEGIN")
            assert client.one("SELECT count(*) FROM items") == "100"
            assert tags(ask("COMMIT")) == ["COMMIT"]
            assert client.one("SELECT 1") == "1"
        assert primary.sql("SELECT count(*) FROM log", db="shop") == [(0,)]
        lull.off()
    finally:
        primary.sql("DROP VIEW sly; DROP FUNCTION public.writes()", db="shop")


def test_the_right_to_write_ends_with_an_executed_commit(make_lull, primary):
    lull = make_lull(replicas=False)

    def ask(client, *texts):
        return client.ask(*[m for text in texts for m in (parse("", text), bind(), execute())], sync())

    for ways in (["COMMIT AND CHAIN"], ["COMMIT", "BEGIN"]):
        for together in (False, True):
            with lull.wire() as client:
                ask(client, "BEGIN")
                ask(client, "INSERT INTO log (who) VALUES ('before')")
                lull.begin(drain_timeout_ms=20000)
                wait_for(lambda: lull.site()["mode"] == "draining", "it waits")
                write = "INSERT INTO log (who) VALUES ('after')"
                if together:
                    answer = ask(client, *ways, write)
                else:
                    assert not errors(ask(client, *ways))
                    answer = ask(client, write)
                assert errors(answer)[0]["C"] == "25006"
                client.query("ROLLBACK")
                lull.wait_mode("sealed")
                lull.off()
    assert primary.sql("SELECT count(*) FROM log WHERE who = 'after'", db="shop") == [(0,)]
