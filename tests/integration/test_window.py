"""Holding a window: reasons with names, leases, hooks, what is overdue, and the proof afterwards."""
import json
import os
import signal
import stat
import time

from harness.cluster import Cluster
from harness.lull import Lull
from harness.wait import stays, wait_for
from harness.wire import errors, tags

UPDATE = "UPDATE items SET n = n + 1 WHERE id = 1"


def reasons(lull):
    return [r["as"] for r in lull.site()["reasons"]]


def audit(lull):
    with open(os.path.join(lull.state_dir, "audit.jsonl")) as lines:
        return [json.loads(line) for line in lines]


# -- reasons -----------------------------------------------------------------------------------------------------------------------------

def test_reasons_are_set_and_cleared_alone(lull):
    lull.cli("maintenance", "on", "shop", "--reason", "by hand")
    sealed = lull.site()
    lull.cli("maintenance", "on", "shop", "--as", "schedule", "--reason", "nightly")
    assert reasons(lull) == ["operator", "schedule"]
    assert lull.site()["epoch"] == sealed["epoch"]
    shown = lull.cli("status", "shop").stdout
    assert "by hand" in shown and "nightly" in shown
    done = lull.cli("maintenance", "off", "shop")  # the operator's, since there are several
    assert "stays closed" in done.stdout and "nightly" in done.stdout
    assert lull.site()["mode"] == "sealed" and reasons(lull) == ["schedule"]
    with lull.wire() as client:
        refused = errors(client.query(UPDATE))[0]
        assert refused["C"] == "25006" and "nightly" in str(refused)
        lull.cli("maintenance", "off", "shop")  # the only one
        assert lull.site()["mode"] == "read_write"
        assert tags(client.query(UPDATE)) == ["UPDATE 1"]


def test_off_asks_which_where_none_is_the_operators(lull):
    lull.cli("maintenance", "on", "shop", "--as", "one")
    lull.cli("maintenance", "on", "shop", "--as", "two")
    done = lull.cli("maintenance", "off", "shop", check=False)
    assert done.returncode == 1 and "--as" in done.stderr and "one, two" in done.stderr
    done = lull.cli("maintenance", "off", "shop", "--as", "three", check=False)
    assert done.returncode == 1 and "one, two" in done.stderr
    lull.cli("maintenance", "off", "shop", "--as", "one")
    assert reasons(lull) == ["two"]
    lull.cli("maintenance", "on", "shop", "--as", "one")
    lull.cli("maintenance", "off", "shop", "--all")
    assert lull.site()["mode"] == "read_write"


def test_reasons_outlive_a_crash(make_lull):
    lull = make_lull()
    lull.on(**{"as": "schedule"})
    lull.on(**{"as": "lost-primary", "lease_ms": 60000, "on_lease_end": "reopen"})
    lull.kill9()
    lull.start()
    lull.wait_mode("sealed")
    assert reasons(lull) == ["schedule", "lost-primary"]
    assert lull.site()["reasons"][1]["on_lease_end"] == "reopen"
    assert lull.cli("maintenance", "off", "shop", "--as", "lost-primary").returncode == 0
    assert lull.site()["mode"] == "sealed"


def test_an_upgrade_leaves_a_window_of_the_operator_closed(lull):
    lull.on(reason="by hand")
    done = lull.cli("upgrade", "shop", "--", "true")
    assert "stays closed" in done.stdout and reasons(lull) == ["operator"]


def test_bad_names_and_leases(lull):
    for body in ({"as": ""}, {"as": "a b"}, {"as": "x" * 64}, {"as": 1}, {"lease_ms": 5}, {"lease_ms": -1}, {"on_lease_end": "explode"}):
        status, problem = lull.admin("PUT", "/sites/shop/maintenance", body)
        assert status == 400 and problem["detail"], body
    assert lull.admin("PUT", "/sites/shop/lease", {"as": "nobody"})[0] == 404
    assert lull.admin("DELETE", "/sites/shop/maintenance?as=nobody")[0] == 200  # nothing to clear
    assert lull.site()["mode"] == "read_write"


# -- leases ------------------------------------------------------------------------------------------------------------------------------

def test_a_lease_that_nobody_renews_stays_closed_and_shouts(make_lull, tmp_path):
    called = tmp_path / "called"
    lull = make_lull({"sites": {"shop": {"hooks": {"on_overdue": ["sh", "-c", f"echo $LULL_EVENT $LULL_SITE >> {called}"]},
                                         "overdue_again": "1s"}}}, replicas=False)
    lull.cli("maintenance", "on", "shop", "--as", "tool", "--lease", "1s")
    for _ in range(4):
        lull.cli("maintenance", "renew", "shop", "--as", "tool")
        stays(lambda: not lull.site()["reasons"][0]["lapsed"], 0.5, "it is renewed")
    wait_for(lambda: lull.site()["reasons"][0]["lapsed"], "its lease ends")
    wait_for(lambda: called.exists() and called.read_text().count("overdue shop") >= 2, "the hook is called again and again")
    assert lull.site()["mode"] == "sealed"
    assert "lease of tool" in lull.log() and "lull maintenance off shop --as tool" in lull.log()
    assert "LEASE HAS ENDED" in lull.cli("status", "shop").stdout
    assert any(line["event"] == "lease_ended" for line in audit(lull))


def test_a_lease_that_ends_reopens_where_that_was_chosen(make_lull):
    lull = make_lull(replicas=False)
    lull.cli("maintenance", "on", "shop", "--lease", "1s", "--on-lease-end", "reopen")
    lull.wait_mode("read_write", timeout=5)


def test_upgrade_renews_and_is_not_disturbed(lull, tmp_path):
    go_on = tmp_path / "go on"
    running = lull.cli_start("upgrade", "shop", "--lease", "1s", "--on-lease-end", "reopen", "--", "sh", "-c",
                             f"until [ -e '{go_on}' ]; do sleep 0.05; done")
    try:
        lull.wait_mode("sealed")
        stays(lambda: lull.site()["mode"] == "sealed", 2.5, "its lease is renewed")
        other = lull.cli("upgrade", "shop", "--", "true", check=False)
        assert other.returncode == 1 and "held by" in other.stderr
        off = lull.cli("maintenance", "off", "shop", check=False)
        assert off.returncode == 1 and "--as upgrade" in off.stderr
        go_on.write_text("")
        assert running.wait(20) == 0
    finally:
        running.kill()
        running.communicate()
    assert lull.site()["mode"] == "read_write"


def test_upgrade_that_is_killed_is_missed(make_lull):
    lull = make_lull(replicas=False)
    running = lull.cli_start("upgrade", "shop", "--lease", "1s", "--", "sleep", "60")
    try:
        lull.wait_mode("sealed")
    finally:
        running.send_signal(signal.SIGKILL)
        running.communicate()
    wait_for(lambda: lull.site()["reasons"][0]["lapsed"], "nobody renews its lease")
    assert lull.site()["mode"] == "sealed"
    lull.cli("maintenance", "off", "shop")


def test_upgrade_that_fails_gives_up_its_lease(lull):
    assert lull.cli("upgrade", "shop", "--lease", "1s", "--", "false", check=False).returncode == 1
    assert lull.site()["reasons"][0]["lease_ms"] is None
    lull.cli("maintenance", "off", "shop")


def test_upgrade_says_that_it_may_reopen_while_nobody_answers(make_lull, tmp_path):
    lull = make_lull(replicas=False)
    go_on = tmp_path / "go on"
    running = lull.cli_start("upgrade", "shop", "--lease", "3s", "--on-lease-end", "reopen", "--", "sh", "-c",
                             f"touch '{go_on}.begun'; until [ -e '{go_on}' ]; do sleep 0.05; done; exit 5")
    wait_for(lambda: os.path.exists(f"{go_on}.begun"), "the command runs")
    lull.kill9()
    go_on.write_text("")
    lull_is_back = False
    try:
        time.sleep(0.5)
        lull.start()
        lull_is_back = True
        assert running.wait(20) == 5
    finally:
        running.kill()
        out, _ = running.communicate()
    assert lull_is_back and "MAY REOPEN in" in out and "STAYS SEALED" in out, out
    assert lull.site()["reasons"][0]["lease_ms"] is None


def test_upgrade_says_when_the_window_is_taken_away(lull, tmp_path):
    go_on = tmp_path / "go on"
    running = lull.cli_start("upgrade", "shop", "--lease", "1s", "--", "sh", "-c",
                             f"touch '{go_on}.begun'; until [ -e '{go_on}' ]; do sleep 0.05; done; exit 5")
    try:
        wait_for(lambda: os.path.exists(f"{go_on}.begun"), "the command runs")
        lull.cli("maintenance", "off", "shop", "--as", "upgrade")
        stays(lambda: running.poll() is None, 0.8, "the command is not ended by us")
        go_on.write_text("")
        assert running.wait(20) == 5
    finally:
        running.kill()
        out, _ = running.communicate()
    assert "no longer closed" in out and "NOT HELD CLOSED" in out and "STAYS SEALED" not in out, out
    assert lull.site()["mode"] == "read_write"


def test_an_overdue_window_shouts(make_lull):
    lull = make_lull(replicas=False)
    lull.on(eta_seconds=1)
    wait_for(lambda: lull.site()["overdue"], "it is overdue")
    wait_for(lambda: "longer than was expected" in lull.log(), "the log says so")
    assert "OVERDUE" in lull.cli("status", "shop").stdout


# -- hooks -------------------------------------------------------------------------------------------------------------------------------

def test_hooks_are_called_in_their_order(make_lull, tmp_path):
    told = tmp_path / "told"
    script = tmp_path / "hook.sh"
    script.write_text(f'#!/bin/sh\necho "$1 $LULL_SITE $LULL_EVENT $LULL_MODE $LULL_REASON $LULL_SEALED_LSN" >> "{told}"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    hooks = {f"on_{name}": [str(script), f"{name}; true"] for name in ("enter", "sealed", "exit")}
    lull = make_lull({"sites": {"shop": {"hooks": hooks}}}, replicas=False)
    sealed = lull.on(reason="why $(not) 'so'")
    lull.off()
    lines = wait_for(lambda: told.exists() and len(told.read_text().splitlines()) == 3 and told.read_text().splitlines(), "all are called")
    assert lines[0].startswith("enter; true shop enter draining why $(not) 'so'")  # no shell has seen it
    assert lines[1] == f"sealed; true shop sealed sealed why $(not) 'so' {sealed['sealed_lsn']}"
    assert lines[2].startswith("exit; true shop exit read_write why $(not) 'so'")
    wait_for(lambda: [h["ok"] for h in lull.site()["hooks"]] == [True] * 3, "all have ended well")
    assert sum(line["event"] == "hook" and line["ok"] for line in audit(lull)) == 3


def test_a_hook_that_hangs_fails_or_is_not_there_delays_nothing(make_lull):
    lull = make_lull({"sites": {"shop": {"hooks": {
        "on_enter": ["sh", "-c", "echo it goes on; sleep 60 & sleep 60"], "on_sealed": ["sh", "-c", "echo broken >&2; exit 3"],
        "on_exit": ["/no/such/program"], "timeout": "300ms"}}}}, replicas=False)
    lull.on()
    lull.off()
    hooks = wait_for(lambda: len(lull.site()["hooks"]) == 3 and {h["hook"]: h for h in lull.site()["hooks"]}, "all have ended")
    assert "killed" in hooks["on_enter"]["text"] and "it goes on" in hooks["on_enter"]["output"]
    assert "status 3" in hooks["on_sealed"]["text"] and "broken" in hooks["on_sealed"]["output"]
    assert not hooks["on_exit"]["ok"]
    assert "FAILED" in lull.cli("status", "shop").stdout


def test_the_end_is_told_again_after_a_crash_and_names_its_own_window(make_lull, tmp_path):
    told, go_on = tmp_path / "told", tmp_path / "go on"
    command = ["sh", "-c", f'echo "$LULL_EVENT $LULL_REASON" >> "{told}"; until [ -e "{go_on}" ]; do sleep 0.05; done']
    lull = make_lull({"sites": {"shop": {"hooks": {"on_exit": command}}}}, replicas=False)
    lines = lambda: told.read_text().splitlines() if told.exists() else []
    lull.on(reason="first")
    lull.off()
    wait_for(lambda: lines() == ["exit first"], "it is called")
    lull.kill9()
    lull.start()
    wait_for(lambda: lines() == ["exit first"] * 2, "it had not ended: it is called again")
    go_on.write_text("")
    wait_for(lambda: lull.site()["hooks"], "it has ended")
    with lull.wire() as client:
        client.query("BEGIN")
        client.query(UPDATE)
        lull.begin(reason="second")
        lull.off()
    wait_for(lambda: lines()[2:] == ["exit second"], "a cancelled entering has a reason of its own")
    wait_for(lambda: sum(line["event"] == "hook" for line in audit(lull)) == 2, "it has ended")
    lull.kill9()
    lull.start()
    stays(lambda: len(lines()) == 3, 0.5, "called although it had been")


# -- the proof ---------------------------------------------------------------------------------------------------------------------------

def test_verify_of_a_window_in_which_nothing_was_written(lull):
    lull.on()
    assert "not reopened yet" in lull.cli("verify", "shop").stdout
    with lull.wire() as client:
        assert errors(client.query(UPDATE))
    lull.off()
    done = lull.cli("verify", "shop")
    assert "PROVED" in done.stdout and "0 of them committed" in done.stdout


def test_verify_knows_the_migration_by_its_port(lull):
    lull.on()
    with lull.migration(autocommit=False) as migration:
        migration.execute("UPDATE items SET n = 5")
        migration.execute("SELECT pg_sleep(2.2)")  # longer than it takes to look
        migration.commit()
    lull.off()
    assert "the migration's" in lull.cli("verify", "shop").stdout


def test_verify_finds_a_commit_past_lull(lull, primary):
    lull.on()
    with primary.connect("shop", autocommit=False, application_name="the intruder") as direct:
        direct.execute("UPDATE items SET n = 6")
        wait_for(lambda: any(line["event"] == "outsider" and "the intruder" in line["text"] for line in audit(lull)), "it was seen at work")
        direct.commit()
    lull.off()
    done = lull.cli("verify", "shop", check=False)
    assert done.returncode == 1 and "VIOLATED" in done.stdout and "the intruder" in done.stdout
    verdict = json.loads(lull.cli("verify", "shop", "--json", check=False).stdout)
    assert verdict["verdict"] == "violated"


def test_verify_says_what_it_cannot_tell(lull, primary):
    lull.on()
    primary.sql("UPDATE items SET n = 7", db="shop")  # too short to be seen
    lull.off()
    done = lull.cli("verify", "shop", check=False)
    assert done.returncode == 4 and "NOT PROVED" in done.stdout and "too short" in done.stdout, done.stdout


def test_verify_where_the_server_keeps_no_commit_timestamps():
    """What it can tell without them, and what it says that it cannot."""
    servers = Cluster(alone=True)
    lull = None
    try:
        servers.start()
        servers.primary.sql("ALTER SYSTEM SET track_commit_timestamp = off")
        servers.primary.restart()
        servers.reset("shop")
        lull = Lull(servers, {"sites": {"held": None}}, replicas=False).start()

        def window(*writes):
            lull.on()
            for connection in writes:
                with connection, connection.transaction():
                    connection.execute("UPDATE items SET n = n + 1")
                    with connection.transaction():  # a savepoint
                        connection.execute("UPDATE items SET n = n + 1")
                    connection.execute("SELECT pg_sleep(1.3)")  # longer than it takes to look
            lull.off()
            return lull.cli("verify", "shop", check=False)

        done = window()
        assert done.returncode == 0 and "PROVED" in done.stdout, done.stdout
        done = window(lull.migration())
        assert done.returncode == 4 and "1 commit was the migration's" in done.stdout, done.stdout
        assert "which of them are parts of others: track_commit_timestamp is off" in done.stdout, done.stdout
        done = window(servers.primary.connect("shop", application_name="the intruder"))
        assert done.returncode == 1 and "COMMITTED PAST LULL" in done.stdout and "the intruder" in done.stdout, done.stdout
    finally:
        if lull is not None:
            lull.remove()
        servers.remove()


def test_verify_tells_of_a_prepared_transaction_that_somebody_committed(lull, primary):
    with lull.wire() as client:
        client.query("BEGIN")
        client.query("INSERT INTO log (who) VALUES ('2pc')")
        client.query("PREPARE TRANSACTION 'left'")
    lull.on()
    wait_for(lambda: any(line["event"] == "outsider" and "left" in line["text"] for line in audit(lull)), "it was seen")
    assert lull.cli("verify", "shop").returncode == 0  # it is open still
    primary.sql("COMMIT PREPARED 'left'", db="shop")
    lull.off()
    done = lull.cli("verify", "shop", check=False)
    assert done.returncode == 1 and "prepared transaction left" in done.stdout, done.stdout


def test_the_audit_file_has_both_ends(lull):
    lull.on(reason="for the record")
    before = lull.site()["refused"]
    with lull.wire() as client:
        for _ in range(3):
            client.query(UPDATE)
        wait_for(lambda: lull.site()["refused"] >= before + 3, "the refusals are counted")
    lull.off()
    lines = [line for line in audit(lull) if line["site"] == "shop"]
    sealed = [line for line in lines if line["event"] == "sealed"][-1]
    end = [line for line in lines if line["event"] == "reopened"][-1]
    assert sealed["sealed_lsn"] and sealed["snapshot"] and "outsiders" in sealed
    assert end["reason"] == "for the record" and end["sealed_lsn"] and end["finish_lsn"]
    assert end["refused"] >= 3 and "most_held" in end and end["writes_through_lull_while_sealed"] == 0
    assert end["snapshot"] and end["sealed_snapshot"] == sealed["snapshot"]


def test_the_end_of_a_window_is_proved_without_being_asked(lull, primary):
    lull.on(reason="for the proof")
    lull.off()
    wait_for(lambda: lull.site()["last_window"]["proof"] == "proved" and lull.site()["last_window"]["reason"] == "for the proof", "it is proved")
    proved = [line for line in audit(lull) if line["event"] == "verified"]
    assert proved[-1]["verdict"] == "proved" and proved[-1]["window"]["finish_lsn"] and proved[-1]["shown"]
    shown = lull.cli("status", "shop").stdout
    assert "PROVED: nobody but the migration" in shown and "for the proof" in shown
    lull.on()
    primary.sql("UPDATE items SET n = 7", db="shop")  # too short to be seen
    lull.off()
    wait_for(lambda: lull.site()["last_window"]["proof"] == "not_proved", "it says what it could not")
    assert "lull verify shop" in lull.cli("status", "shop").stdout


# -- the record --------------------------------------------------------------------------------------------------------------------------

def test_a_window_that_outlives_two_files_of_the_record_can_still_be_found(make_lull):
    """Past 64 MB a file is put aside, and the one before that is gone: each that begins amid a window says again what it is."""
    lull = make_lull(replicas=False)
    lull.on(reason="new shelves")
    lull.on(**{"as": "second", "reason": "the other reason"})
    site = lull.site()

    def fill():
        os.truncate(os.path.join(lull.state_dir, "audit.jsonl"), 65 << 20)  # with a hole: it takes no room

    for _ in range(2):
        fill()
        lull.cli("maintenance", "off", "shop", "--as", "second")  # a line, behind which the file is put aside
        lull.on(**{"as": "second"})
    fill()
    lull.kill9()  # what is known comes from the state file
    lull.start()
    lull.wait_mode("sealed")
    lines = [line for line in audit(lull) if line["event"] == "continues"]
    assert len(lines) == 1 and lines[0]["site"] == "shop", lines
    line = lines[0]
    assert (line["as"], line["reason"], line["sealed_lsn"]) == ("operator", "new shelves", site["sealed_lsn"])
    assert line["sealed_epoch"] == site["epoch"] and line["snapshot"] and line["sealed_at"] == site["sealed_at"]
    lull.cli("maintenance", "off", "shop", "--all")
