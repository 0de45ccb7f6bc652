"""Entering and leaving maintenance: what is waited for, what is said meanwhile, what a deadline does."""
import datetime
import os
import re
import signal
import threading

import pytest

from harness.wait import stays, wait_for
from harness.wire import bind, copy_data, copy_done, errors, execute, flush, parse, query, rows, shape, statuses, sync, tags

UPDATE = "UPDATE items SET n = n + 1 WHERE id = 1"


def writer(lull, application_name="the writer", dbname="shop"):
    """A client in a transaction that has written; and the backend that serves it."""
    client = lull.wire(dbname, application_name=application_name)
    client.query("BEGIN")
    client.query(UPDATE)
    return client, int(client.one("SELECT pg_backend_pid()"))


def instant(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


# -- on and off -------------------------------------------------------------------------------------------------------------------

def test_on_and_off_by_the_command_line(lull, primary, standby):
    before = lull.site()
    assert (before["mode"], before["state"]) == ("read_write", "read_write")
    started = datetime.datetime.now(datetime.timezone.utc)
    lull.cli("maintenance", "on", "shop", "--reason", "moving house", "--eta", "5min")
    sealed = lull.site()
    assert (sealed["mode"], sealed["state"]) == ("sealed", "frozen")
    assert sealed["reason"] == "moving house"
    assert sealed["epoch"] > before["epoch"]
    assert abs((instant(sealed["until"]) - started).total_seconds() - 300) < 20
    assert started - datetime.timedelta(seconds=1) <= instant(sealed["since"]) <= instant(sealed["sealed_at"])
    assert lsn(sealed["sealed_lsn"]) <= lsn(primary.insert_lsn())
    assert standby.pause_state() == "paused"
    assert lsn(standby.replay_lsn()) >= lsn(sealed["sealed_lsn"])
    assert lull.site("held")["mode"] == "read_write", "the other site has nothing to do with it"

    lull.cli("maintenance", "off", "shop")
    after = lull.site()
    assert (after["mode"], after["state"]) == ("read_write", "read_write")
    assert after["epoch"] > sealed["epoch"]
    assert standby.pause_state() == "not paused"
    window = after["last_window"]
    assert window["sealed_lsn"] == sealed["sealed_lsn"] and window["sealed_at"] == sealed["sealed_at"]
    assert lsn(window["finish_lsn"]) >= lsn(window["sealed_lsn"])
    assert instant(window["reopened_at"]) >= instant(window["sealed_at"])
    with lull.wire() as client:
        assert tags(client.query(UPDATE)) == ["UPDATE 1"]


def test_status_for_people_and_for_programs(lull):
    assert "read" in lull.cli("status").stdout
    lull.on(reason="a fine reason")
    text = lull.cli("status", "shop").stdout
    assert "a fine reason" in text and "shop" in text
    import json
    assert json.loads(lull.cli("status", "shop", "--json").stdout)["mode"] == "sealed"
    everything = json.loads(lull.cli("status", "--json").stdout)
    assert "shop" in str(everything) and "held" in str(everything)


def test_without_a_replica(make_lull):
    lull = make_lull(replicas=False)
    with lull.wire() as client:
        sealed = lull.on()
        assert (sealed["mode"], sealed["state"]) == ("sealed", "sealed")
        assert client.one("SELECT count(*) FROM items") == "100"
        assert errors(client.query(UPDATE))[0]["C"] == "25006"
        lull.off()
        assert tags(client.query(UPDATE)) == ["UPDATE 1"]


def test_freeze_off_lets_the_replica_follow(make_lull, primary, standby):
    lull = make_lull({"sites": {"shop": {"freeze": "off"}}})
    sealed = lull.on()
    assert sealed["state"] == "sealed" and standby.pause_state() == "not paused"
    with lull.migration() as migration:
        migration.execute("UPDATE items SET n = 321 WHERE id = 1")
    with lull.wire() as client:
        wait_for(lambda: client.one("SELECT n FROM items WHERE id = 1") == "321", "readers see the migration's work")
        assert errors(client.query(UPDATE))[0]["C"] == "25006"


def test_idempotent(lull):
    first = lull.on(reason="once")
    again = lull.on(reason="once")
    assert (again["epoch"], again["sealed_lsn"], again["since"]) == (first["epoch"], first["sealed_lsn"], first["since"])
    lull.cli("maintenance", "on", "shop")
    off = lull.off()
    assert lull.off()["epoch"] == off["epoch"]
    lull.cli("maintenance", "off", "shop")
    assert lull.site()["epoch"] == off["epoch"]


def test_epochs_only_grow(lull):
    seen = []
    for _ in range(5):
        seen.append(lull.on()["epoch"])
        seen.append(lull.off()["epoch"])
    assert seen == sorted(set(seen))


def test_many_flips_with_idle_clients(lull):
    clients = [lull.wire() for _ in range(30)]
    for _ in range(5):
        lull.on()
        assert all(errors(c.query(UPDATE))[0]["C"] == "25006" for c in clients)
        assert all(c.one("SELECT count(*) FROM items") == "100" for c in clients)
        lull.off()
        assert all(tags(c.query(UPDATE)) == ["UPDATE 1"] for c in clients)


def test_two_sites_on_one_cluster(lull, standby):
    """The replica is frozen for one; the other one's reads leave it, and see what they write."""
    lull.on("shop")
    with lull.wire("held") as client:
        for value in ("5", "6"):
            assert tags(client.query(f"UPDATE items SET n = {value} WHERE id = 2")) == ["UPDATE 1"]
            assert client.one("SELECT n FROM items WHERE id = 2") == value
        with lull.wire("held") as other:
            assert rows(other.query("SELECT n, current_setting('in_hot_standby')::bool FROM items WHERE id = 2")) == [("6", "f")]
    # One replica stands still at one place only: the second window does without, and says so.
    status, problem = lull.admin("PUT", "/sites/held/maintenance", {"wait_ms": 10000})
    assert status == 409 and "freeze" in problem["fix"], problem
    lull.on("held", freeze=False)
    with lull.wire("held") as client:
        assert rows(client.query("SELECT n, current_setting('in_hot_standby')::bool FROM items WHERE id = 2")) == [("6", "f")]
    assert standby.pause_state() == "paused"
    lull.off("shop")
    assert standby.pause_state() == "not paused"
    with lull.wire() as client:
        assert tags(client.query(UPDATE)) == ["UPDATE 1"]
    assert lull.site("held")["mode"] == "sealed"
    lull.off("held")


def test_unknown_site(lull):
    status, problem = lull.admin("PUT", "/sites/nope/maintenance", {})
    assert status == 404 and problem["status"] == 404 and problem["title"]
    assert lull.last_content_type.startswith("application/problem+json")
    done = lull.cli("maintenance", "on", "nope", check=False)
    assert done.returncode != 0 and "nope" in done.stderr + done.stdout


@pytest.mark.parametrize("body", [{"on_deadline": "explode"}, {"eta_seconds": "soon"}, {"drain_timeout_ms": -1}, [], "x"])
def test_bad_requests_to_the_admin_socket(lull, body):
    status, problem = lull.admin("PUT", "/sites/shop/maintenance", body)
    assert status == 400 and problem["detail"], problem
    assert lull.site()["mode"] == "read_write"


def test_admin_socket_is_for_its_owner(lull):
    import os
    import stat
    assert stat.S_IMODE(os.stat(lull.socket).st_mode) == 0o600
    for method, path, wanted in (("GET", "/nothing", 404), ("PATCH", "/status", 405), ("GET", "/sites/nope", 404)):
        status, problem = lull.admin(method, path)
        assert status == wanted and problem["status"] == wanted


def test_curl(lull):
    import json
    import subprocess
    out = subprocess.run(["curl", "-sS", "--unix-socket", lull.socket, "http://lull/sites/shop"], capture_output=True, text=True)
    assert json.loads(out.stdout)["site"] == "shop", out


# -- draining -----------------------------------------------------------------------------------------------------------------------

def test_drain_waits_for_a_transaction_that_wrote_and_names_it(lull, primary):
    client, pid = writer(lull)
    lull.begin(reason="r")
    site = lull.wait_mode("draining")
    named = wait_for(lambda: lull.site()["writers"], "the writer is named")
    assert len(named) == 1
    one = named[0]
    assert (one["pid"], one["user"], one["database"], one["application_name"]) == (pid, "app", "shop", "the writer")
    assert one["state"].startswith("idle in transaction") and "pg_backend_pid" in one["statement"]
    assert instant(one["since"]) <= datetime.datetime.now(datetime.timezone.utc)
    # It may write on; nobody else may begin to. Reads go on for all.
    with lull.wire() as other:
        assert errors(other.query(UPDATE))[0]["C"] == "25006"
        other.query("BEGIN")
        assert errors(other.query(UPDATE))[0]["C"] == "25006"
        other.query("ROLLBACK")
        assert other.one("SELECT count(*) FROM items") == "100"
    assert tags(client.query("UPDATE items SET n = 50 WHERE id = 2")) == ["UPDATE 1"]
    stays(lambda: lull.site()["mode"] == "draining", 0.2, "still a writer there")
    assert tags(client.query("COMMIT")) == ["COMMIT"]
    sealed = lull.wait_mode("sealed")
    assert sealed["epoch"] >= site["epoch"]
    assert primary.one("SELECT n FROM items WHERE id = 2", db="shop") == 50
    # Now it is a client like every other.
    assert errors(client.query(UPDATE))[0]["C"] == "25006"
    assert client.one("SELECT n FROM items WHERE id = 2") == "50", "the frozen replica has the last commit"


def test_drain_ends_with_rollback_and_with_a_client_that_leaves(lull):
    for end in ("rollback", "leave"):
        client, _ = writer(lull)
        lull.begin()
        lull.wait_mode("draining")
        if end == "rollback":
            client.query("ROLLBACK")
        client.close()
        lull.wait_mode("sealed")
        lull.off()
        with lull.wire() as other:
            assert other.one("SELECT n FROM items WHERE id = 1") == "0"


def test_drain_waits_for_a_running_statement(lull, primary):
    client = lull.wire()
    sql = "INSERT INTO log (who) SELECT 'slow' FROM pg_sleep(0.7)"
    client.send(query(sql))
    wait_for(lambda: primary.backends("query = %s AND state = 'active'", (sql,)), "it runs")
    lull.begin()
    named = wait_for(lambda: lull.site()["writers"], "the writer is named")
    assert named[0]["state"] == "active" and "slow" in named[0]["statement"]
    assert tags(client.until("Z")) == ["INSERT 0 1"]
    lull.wait_mode("sealed")
    assert client.one("SELECT count(*) FROM log") == "1"


def test_drain_waits_for_a_statement_whose_client_has_gone(lull, primary):
    client = lull.wire()
    sql = "INSERT INTO log (who) SELECT 'orphan' FROM pg_sleep(0.7)"
    client.send(query(sql))
    wait_for(lambda: primary.backends("query = %s AND state = 'active'", (sql,)), "it runs")
    client.close()
    lull.on()
    assert not primary.backends("query = %s AND state = 'active'", (sql,)), "sealed was said while it still ran"
    before = primary.next_xid()
    stays(lambda: primary.next_xid() == before and not primary.writers_in_progress(), 0.3, "nothing is written")


def test_drain_waits_for_a_copy(lull, primary):
    client = lull.wire()
    client.send(query("COPY log (who) FROM STDIN"))
    assert client.receive().type == "G"
    client.send(copy_data(b"one\n"))
    lull.begin()
    stays(lambda: lull.site()["mode"] == "draining", 0.2, "a COPY is open")
    client.send(copy_data(b"two\n"), copy_done())
    assert tags(client.until("Z")) == ["COPY 2"]
    lull.wait_mode("sealed")
    assert client.one("SELECT count(*) FROM log") == "2"


def test_drain_waits_for_a_pipeline_without_its_sync(lull):
    client = lull.wire()
    client.send(parse("", "INSERT INTO log (who) VALUES ('p')"), bind(), execute(), flush())
    assert shape(client.until("C")) == "12C"
    lull.begin()
    stays(lambda: lull.site()["mode"] == "draining", 0.2, "a pipeline is open")
    assert shape(client.ask(sync())).endswith("Z")
    lull.wait_mode("sealed")
    assert client.one("SELECT count(*) FROM log") == "1"


def test_drain_waits_for_a_procedure_that_commits_inside(lull, primary):
    client = lull.wire()
    sql = "DO $$BEGIN FOR i IN 1..5 LOOP INSERT INTO log (who) VALUES ('loop'); COMMIT; PERFORM pg_sleep(0.1); END LOOP; END$$"
    client.send(query(sql))
    wait_for(lambda: primary.one("SELECT count(*) FROM log", db="shop") > 0, "it has committed once")
    sealed = lull.on()
    assert primary.one("SELECT count(*) FROM log", db="shop") == 5
    assert not errors(client.until("Z"))
    assert sealed["mode"] == "sealed"


def test_a_transaction_that_only_read_becomes_read_only(lull):
    with lull.wire() as client:
        client.query("BEGIN")
        assert client.one("SELECT count(*) FROM items") == "100"
        lull.on()
        assert client.one("SELECT count(*) FROM items") == "100"
        answer = client.query(UPDATE)
        assert errors(answer)[0]["C"] == "25006" and statuses(answer) == "E"
        assert errors(client.query("SELECT 1"))[0]["C"] == "25P02"
        assert tags(client.query("COMMIT")) == ["ROLLBACK"]
        assert client.one("SELECT count(*) FROM items") == "100"


def test_a_begin_without_anything_is_nobody_to_wait_for(lull):
    with lull.wire() as client:
        client.query("BEGIN")
        lull.on()
        assert errors(client.query(UPDATE))[0]["C"] == "25006"
        client.query("ROLLBACK")


def test_constants_do_not_get_into_files(lull):
    client = lull.wire(application_name="the shy writer")
    client.query("BEGIN")
    client.query("UPDATE items SET name = 'a secret' WHERE id = 1")
    lull.begin(drain_timeout_ms=300, on_deadline="terminate")
    lull.wait_mode("sealed")
    with open(os.path.join(lull.state_dir, "audit.jsonl")) as file:
        kept = file.read()
    for text in (kept, lull.log()):
        assert "the shy writer" in text and "UPDATE items SET name = ?" in text and "a secret" not in text
    client.close()


def test_what_is_waited_for_is_told_afterwards(lull):
    client, pid = writer(lull, "remembered")
    lull.begin()
    lull.wait_mode("draining")
    wait_for(lambda: lull.site()["writers"], "named")
    client.query("COMMIT")
    sealed = lull.wait_mode("sealed")
    assert "remembered" in str(sealed["waited_for"])
    assert "remembered" in str(lull.off()["last_window"]["waited_for"])


def test_writers_past_lull_are_found_and_reported(lull, primary):
    with primary.connect("shop", autocommit=False, application_name="past lull") as direct:
        direct.execute(UPDATE)
        lull.on()
        reported = lull.site()["outsiders"]
        assert "past lull" in str(reported), reported
        direct.rollback()


def test_prepared_transactions_are_found_and_reported(lull, primary):
    with lull.wire() as client:
        client.query("BEGIN")
        client.query("INSERT INTO log (who) VALUES ('2pc')")
        assert not errors(client.query("PREPARE TRANSACTION 'left behind'"))
        lull.on()
        assert "left behind" in str(lull.site()["outsiders"])
        assert errors(client.query("COMMIT PREPARED 'left behind'"))[0]["C"] == "25006"
        assert errors(client.query("ROLLBACK PREPARED 'left behind'"))[0]["C"] == "25006"
        lull.off()
        assert not errors(client.query("COMMIT PREPARED 'left behind'"))


# -- the deadline ---------------------------------------------------------------------------------------------------------------------

def test_deadline_wait(lull):
    client, _ = writer(lull)
    lull.begin(drain_timeout_ms=100, on_deadline="wait")
    stays(lambda: lull.site()["mode"] == "draining", 0.4, "it waits on")
    client.query("COMMIT")
    lull.wait_mode("sealed")


def test_deadline_cancel(lull, primary):
    """An idle transaction is rolled back, a running statement cancelled; both sessions live on."""
    idle, _ = writer(lull)
    running = lull.wire()
    sql = "INSERT INTO log (who) SELECT 'cancelled' FROM pg_sleep(60)"
    running.send(query(sql))
    wait_for(lambda: primary.backends("query = %s AND state = 'active'", (sql,)), "it runs")
    lull.on(drain_timeout_ms=100, on_deadline="cancel")
    assert errors(running.until("Z"))[0]["C"] == "57014"
    answer = idle.query("UPDATE items SET n = 9 WHERE id = 9")
    assert errors(answer)[0]["C"] in ("57014", "25P02", "25006"), answer
    assert statuses(answer) in "EI"
    idle.query("ROLLBACK")
    for client in (idle, running):
        assert rows(client.query("SELECT sum(n) FROM items")) == [("0",)]
        assert client.one("SELECT count(*) FROM log") == "0"


def test_deadline_cancel_never_reports_a_commit_that_was_none(lull):
    client, _ = writer(lull)
    lull.on(drain_timeout_ms=50, on_deadline="cancel")
    answer = client.query("COMMIT")
    assert tags(answer) != ["COMMIT"], "the transaction was rolled back"
    assert client.one("SELECT n FROM items WHERE id = 1") == "0"


def test_deadline_terminate(lull, primary):
    client, pid = writer(lull)
    with lull.wire() as bystander:
        lull.on(drain_timeout_ms=100, on_deadline="terminate")
        seen = client.until_closed()
        assert errors(seen)[0]["C"] == "57P01" and errors(seen)[0]["S"] == "FATAL"
        assert bystander.one("SELECT n FROM items WHERE id = 1") == "0"
    wait_for(lambda: not primary.backends("pid = %s AND state <> 'idle'", (pid,)), "its transaction has ended on the server")


def test_deadline_abort(lull):
    client, _ = writer(lull)
    status, problem = lull.admin("PUT", "/sites/shop/maintenance",
                                 {"drain_timeout_ms": 100, "on_deadline": "abort", "wait_ms": 10000})
    assert status >= 400 and "1 write" in problem["detail"] and problem["fix"], problem
    assert lull.site()["mode"] == "read_write"
    with lull.wire() as other:
        assert tags(other.query("UPDATE items SET n = 4 WHERE id = 4")) == ["UPDATE 1"]
    assert tags(client.query("COMMIT")) == ["COMMIT"]


def test_deadline_abort_by_the_command_line(lull):
    client, pid = writer(lull)
    done = lull.cli("maintenance", "on", "shop", "--drain-timeout", "100ms", "--on-deadline", "abort", check=False)
    assert done.returncode not in (0, 130)
    assert str(pid) in done.stdout + done.stderr and "the writer" in done.stdout + done.stderr
    assert lull.site()["mode"] == "read_write"
    client.query("ROLLBACK")


def test_cancel_of_the_entering(lull):
    client, _ = writer(lull)
    lull.begin()
    lull.wait_mode("draining")
    assert lull.off()["mode"] == "read_write"
    with lull.wire() as other:
        assert tags(other.query("UPDATE items SET n = 4 WHERE id = 4")) == ["UPDATE 1"]
    assert tags(client.query("COMMIT")) == ["COMMIT"]


# -- the command line while it waits ---------------------------------------------------------------------------------------------------

def test_progress_names_who_still_writes(lull):
    client, pid = writer(lull, "slow importer")
    waiting = lull.cli_start("maintenance", "on", "shop", "--reason", "r")
    try:
        seen = ""
        while not (str(pid) in seen and "slow importer" in seen):
            line = waiting.stdout.readline()
            assert line, f"it ended without naming the writer: {seen}"
            seen += line
        assert waiting.poll() is None
        client.query("COMMIT")
        assert waiting.wait(15) == 0
        assert "seal" in waiting.stdout.read().lower() + seen.lower()
    finally:
        waiting.kill()
        waiting.communicate()
    assert lull.site()["mode"] == "sealed"


def test_interrupt_cancels_the_entering(lull):
    client, _ = writer(lull)
    waiting = lull.cli_start("maintenance", "on", "shop")
    try:
        lull.wait_mode("draining")
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(15) == 130
    finally:
        waiting.kill()
        text = waiting.communicate()[0]
    assert lull.site()["mode"] == "read_write", text
    assert tags(client.query("COMMIT")) == ["COMMIT"]


def test_no_wait(lull):
    client, _ = writer(lull)
    lull.cli("maintenance", "on", "shop", "--no-wait", timeout=5)
    assert lull.site()["mode"] == "draining"
    client.query("COMMIT")
    lull.wait_mode("sealed")


def test_no_server_at_the_socket(lull, tmp_path):
    done = lull.cli("status", "--socket", str(tmp_path / "none.sock"), check=False)  # though LULL_SOCKET is set
    assert done.returncode not in (0, None)
    assert "none.sock" in done.stderr and "lull serve" in done.stderr


def test_help_teaches(lull):
    for verb in ([], ["maintenance"], ["maintenance", "on"], ["upgrade"], ["status"], ["serve"], ["check"]):
        text = lull.cli(*verb, "--help").stdout
        assert len(text) > 100, (verb, text)
    assert re.search(r"\bwait\b.*\bcancel\b.*\bterminate\b.*\babort\b", lull.cli("maintenance", "on", "--help").stdout, re.S)


# -- the replica -------------------------------------------------------------------------------------------------------------------------

def test_a_control_role_without_the_right_to_pause(make_lull, primary, standby):
    primary.sql("REVOKE EXECUTE ON FUNCTION pg_catalog.pg_wal_replay_pause() FROM lull")
    standby.wait_replayed(primary)
    try:
        lull = make_lull()
        status, problem = lull.admin("PUT", "/sites/shop/maintenance", {"wait_ms": 10000})
        assert status >= 400, problem
        assert "pg_wal_replay_pause" in str(problem) and "GRANT" in str(problem), problem
        assert lull.site()["mode"] == "read_write"
        with lull.wire() as client:
            assert tags(client.query(UPDATE)) == ["UPDATE 1"]
        # The way around that the message names.
        assert lull.admin("PUT", "/sites/shop/maintenance", {"freeze": False, "wait_ms": 10000})[0] == 200
        assert lull.site()["state"] == "sealed"
        lull.off()
    finally:
        primary.sql("GRANT EXECUTE ON FUNCTION pg_catalog.pg_wal_replay_pause() TO lull")
        standby.wait_replayed(primary)


def test_the_control_role_is_no_superuser(primary):
    assert primary.sql("SELECT rolsuper, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = 'lull'") == \
        [(False, False, False, False)]


def test_entering_while_clients_write_as_fast_as_they_can(lull, primary):
    """After sealed is said no transaction id is taken; every write that was acknowledged is there."""
    stop = threading.Event()
    acknowledged, problems = [0] * 8, []

    def write(number):
        with lull.wire() as client:
            while not stop.is_set():
                answer = client.query(f"INSERT INTO log (who) VALUES ('{number}')")
                if not errors(answer):
                    acknowledged[number] += 1
                elif errors(answer)[0]["C"] != "25006":
                    problems.append(errors(answer)[0])

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    try:
        for _ in range(4):
            before = sum(acknowledged)
            wait_for(lambda: sum(acknowledged) > before + 50, "writes go on")
            sealed = lull.on()
            assert primary.writers_in_progress() == 0
            xid = primary.next_xid()
            assert lsn(primary.insert_lsn()) >= lsn(sealed["sealed_lsn"])
            stays(lambda: primary.next_xid() == xid, 0.15, "a transaction id was taken while sealed")
            lull.off()
    finally:
        stop.set()
        [t.join() for t in threads]
    assert not problems
    assert primary.sql("SELECT who, count(*) FROM log GROUP BY who ORDER BY who", db="shop") == \
        [(str(i), n) for i, n in enumerate(acknowledged)]


# -- lull upgrade --------------------------------------------------------------------------------------------------------------------------

def test_upgrade(lull, primary):
    command = ('echo "$PGHOST|$PGPORT|$PGDATABASE|$PGUSER|$DATABASE_URL"; psql -v ON_ERROR_STOP=1 -Atc '
               '"ALTER TABLE items ADD COLUMN fresh int NOT NULL DEFAULT 7"')
    done = lull.cli("upgrade", "shop", "--reason", "u", "--", "sh", "-c", command)
    line = next(text for text in done.stdout.splitlines() if text.count("|") == 4 and "$" not in text)
    host, port, database, user, url = line.split("|")
    assert (host, port, database, user) == ("127.0.0.1", str(lull.migration_port), "shop", "shop_owner")
    assert url.startswith("postgres") and str(lull.migration_port) in url
    assert lull.site()["mode"] == "read_write"
    with lull.wire() as client:
        assert client.one("SELECT fresh FROM items WHERE id = 1") == "7"
        assert lull.site()["last_window"]["reopened_at"]


def test_upgrade_that_fails_stays_sealed(lull):
    done = lull.cli("upgrade", "shop", "--", "sh", "-c", "exit 7", check=False)
    assert done.returncode == 7
    assert "lull maintenance off shop" in done.stdout + done.stderr
    assert lull.site()["mode"] == "sealed"
    with lull.wire() as client:
        assert errors(client.query(UPDATE))[0]["C"] == "25006"


def test_upgrade_that_cannot_enter_does_not_run_its_command(lull, tmp_path):
    client, _ = writer(lull)
    mark = tmp_path / "ran"
    done = lull.cli("upgrade", "shop", "--drain-timeout", "100ms", "--on-deadline", "abort", "--", "touch", str(mark), check=False)
    assert done.returncode != 0 and not mark.exists()
    assert lull.site()["mode"] == "read_write"
    client.query("ROLLBACK")
