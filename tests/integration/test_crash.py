"""Crashes, restarts, disks and second processes: after any of them a site is as closed as it was said to be, or more."""
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import threading

import pytest

from harness.cluster import Cluster
from harness.fingerprint import changes, fingerprint
from harness.lull import Lull, binary
from harness.process import stopped
from harness.wait import stays, wait_for
from harness.wire import errors, query, rows, tags

UPDATE = "UPDATE items SET n = n + 1 WHERE id = 1"


def refuses(lull, dbname="shop"):
    """A new client is refused, and reads."""
    with lull.wire(dbname) as client:
        answer = client.query(UPDATE)
        assert client.one("SELECT count(*) FROM items") == "100"
        return bool(errors(answer)) and errors(answer)[0]["C"] == "25006"


def writes(lull, dbname="shop"):
    with lull.wire(dbname) as client:
        return tags(client.query(UPDATE)) == ["UPDATE 1"]


@contextlib.contextmanager
def stalled(standby):
    """The standby receives but does not replay: its startup process is stopped, as by a machine that hangs."""
    pid = standby.one("SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'")
    with stopped(pid):
        yield


# -- kill -9 in every state --------------------------------------------------------------------------------------------------------

def test_killed_while_open(make_lull):
    lull = make_lull()
    lull.on()
    lull.off()
    lull.kill9()
    lull.start()
    assert lull.site()["mode"] == "read_write" and writes(lull)


@pytest.mark.parametrize("replicas", [True, False], ids=["frozen replica", "primary alone"])
def test_killed_while_sealed(make_lull, primary, standby, replicas):
    lull = make_lull(replicas=replicas)
    before_window = lull.on(reason="kept over the crash", eta_seconds=900)
    before = fingerprint(primary)
    client = lull.wire()
    client.query("SELECT 1")
    lull.kill9()
    client.until_closed()
    if replicas:
        assert standby.pause_state() == "paused", "nobody thawed it"
    lull.start()
    assert lull.site()["mode"] == "sealed", "it restarts closed"
    assert refuses(lull)
    after = wait_for(lambda: lull.site()["state"] == before_window["state"] and lull.site(), "it is what it was")
    assert (after["reason"], after["sealed_lsn"][:2]) == ("kept over the crash", before_window["sealed_lsn"][:2])
    assert after["until"] == before_window["until"]
    assert after["epoch"] >= before_window["epoch"]
    if replicas:
        with lull.wire() as reader:
            assert reader.one("SELECT pg_is_in_recovery()") == "t", "reads go to the frozen replica again"
    assert changes(before, fingerprint(primary)) == []
    lull.off()
    assert standby.pause_state() == "not paused"
    assert writes(lull)


def test_closed_from_the_first_moment_of_the_restart(make_lull, primary):
    """Writers hammer at the port while Lull comes back; not one of them gets through."""
    lull = make_lull()
    lull.on()
    before = primary.next_xid()
    stop, refusals, problems = threading.Event(), [], []

    def hammer():
        while not stop.is_set():
            try:
                with lull.wire() as client:
                    for _ in range(20):
                        answer = client.query(UPDATE)
                        (refusals if errors(answer) else problems).append(answer)
            except Exception:  # noqa: BLE001, S110 -- it is down just now
                pass

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    [t.start() for t in threads]
    try:
        for _ in range(3):
            seen = len(refusals)
            wait_for(lambda: len(refusals) > seen + 50, "writers are refused")
            lull.kill9()
            lull.start()
    finally:
        stop.set()
        [t.join() for t in threads]
    assert not problems
    assert primary.next_xid() == before


def test_killed_while_draining(make_lull, primary):
    """A writer's backend outlives Lull. After the restart the site stays closed, and sealed is not said before it has ended."""
    lull = make_lull()
    client = lull.wire()
    sql = "INSERT INTO log (who) SELECT 'outlived' FROM pg_sleep(1.5)"
    client.send(query(sql))
    wait_for(lambda: primary.backends("query = %s AND state = 'active'", (sql,)), "it runs")
    lull.begin(reason="r")
    lull.wait_mode("draining")
    lull.kill9()
    lull.start()
    assert lull.site()["mode"] in ("draining", "sealed")
    assert refuses(lull)
    site = wait_for(lambda: lull.site()["state"] in ("sealed", "frozen") and lull.site()["sealed_lsn"] and lull.site(), "sealed")
    assert not primary.backends("query = %s AND state = 'active'", (sql,)), "sealed was said while the old backend still ran"
    assert site["mode"] == "sealed"
    lull.off()
    assert writes(lull)


def test_killed_while_sealing(make_lull, primary, standby):
    """It waits for the replica to catch up; killed there, it goes on to sealed after the restart."""
    lull = make_lull({"sites": {"shop": {"seal_timeout": "20s"}}})
    with stalled(standby):
        assert writes(lull)
        lull.begin()
        wait_for(lambda: lull.site()["state"] == "sealing", "it waits for the replica")
        assert refuses_on_the_primary(lull)
        lull.kill9()
        lull.start(wait=False)
        wait_for(lambda: lull.admin("GET", "/status")[0] == 200, "it is back")
        assert lull.site()["mode"] != "read_write"
        assert refuses_on_the_primary(lull)
    lull.wait_ready()
    wait_for(lambda: lull.site()["state"] == "frozen", "sealed and frozen in the end")
    lull.off()
    assert writes(lull)


def refuses_on_the_primary(lull):
    with lull.wire() as client:
        return errors(client.query(UPDATE))[0]["C"] == "25006"


def test_killed_while_reopening(make_lull, standby):
    """Replay is resumed and not caught up yet. It restarts closed and finishes what it was at."""
    lull = make_lull({"sites": {"shop": {"seal_timeout": "20s"}}})
    lull.on()
    with lull.migration() as migration:
        migration.execute("UPDATE items SET n = 40 WHERE id = 4")
    with stalled(standby):
        assert lull.admin("DELETE", "/sites/shop/maintenance")[0] in (200, 202)
        assert lull.site()["mode"] == "reopening"
        assert refuses_on_the_primary(lull)
        lull.kill9()
        lull.start(wait=False)
        wait_for(lambda: lull.admin("GET", "/status")[0] == 200, "it is back")
        assert lull.site()["mode"] != "read_write"
        assert refuses_on_the_primary(lull)
    lull.wait_mode("read_write")
    assert standby.pause_state() == "not paused"
    assert writes(lull)
    with lull.wire() as client:
        assert client.one("SELECT n FROM items WHERE id = 4") == "40"


def test_a_graceful_restart_stays_sealed(make_lull):
    lull = make_lull()
    lull.on(reason="over the restart")
    assert lull.stop() == 0
    lull.start()
    assert lull.site()["mode"] == "sealed" and lull.site()["reason"] == "over the restart"
    assert refuses(lull)
    lull.off()


def test_a_renamed_site_does_not_leave_acknowledged_writes_behind(make_lull, primary):
    lull = make_lull({"sites": {"shop": {"write_rules": [{"tables": ["log"], "action": "journal"}]}}}, replicas=False)
    lull.on()
    with lull.wire() as client:
        assert not errors(client.query("INSERT INTO log (who, what) VALUES ('ack', 'journaled')"))
    lull.stop()
    sites = lull.config["sites"]
    sites["store"] = sites.pop("shop")
    lull.write_config()
    refused = lull.cli("serve", "--config", lull.config_file, check=False)
    assert refused.returncode == 1 and "1 journaled writes wait under that name; call it shop again" in refused.stderr, refused.stderr
    sites["shop"] = sites.pop("store")
    lull.start()
    lull.off()
    wait_for(lambda: primary.sql("SELECT what FROM log WHERE who = 'ack'", db="shop") == [("journaled",)], "it has run")


def test_a_sealed_site_that_is_renamed_for_the_restart_stays_sealed(make_lull, primary):
    lull = make_lull()
    sealed = lull.on(reason="renamed meanwhile")
    lull.stop()
    lull.config["sites"]["store"] = lull.config["sites"].pop("shop")
    lull.start()
    store = lull.wait_mode("sealed", "store")
    assert store["reason"] == "renamed meanwhile" and store["sealed_lsn"] == sealed["sealed_lsn"]
    assert "lull maintenance off store" in lull.log()
    assert refuses(lull)
    wait_for(lambda: lull.site("store")["state"] == "frozen", "its replica is found again")
    lull.kill9()
    lull.start()
    assert lull.site("store")["mode"] == "sealed" and refuses(lull)
    lull.off("store")
    assert writes(lull)


def test_databases_of_a_sealed_site_that_is_taken_away_come_back_closed(make_lull):
    lull = make_lull(replicas=False)
    lull.on()
    lull.stop()
    shop = lull.config["sites"].pop("shop")
    lull.start()
    assert "site shop is closed and no longer configured" in lull.log()
    lull.config["sites"]["held"]["databases"] = ["held", "shop"]
    lull.write_config()
    status, problem = lull.admin("POST", "/reload")
    assert status == 422 and "restart" in problem["fix"], problem
    del lull.config["sites"]["held"]["databases"][1]
    lull.config["sites"]["later"] = shop
    lull.reload()
    lull.wait_mode("sealed", "later")
    assert refuses(lull)
    lull.off("later")
    assert writes(lull)


def test_a_sealed_site_whose_databases_are_spread_over_others_does_not_start_open(make_lull):
    lull = make_lull({"sites": {"shop": {"databases": ["shop", "bench"]}}}, replicas=False)
    lull.on()
    lull.stop()
    lull.config["sites"]["shop"]["databases"] = ["bench"]
    lull.config["sites"]["held"]["databases"] = ["held", "shop"]
    lull.start(wait=False)
    assert lull.process.wait(15) == 1
    lull.process = None
    assert 'put "shop" back to sites.shop.databases' in lull.log() and "lull maintenance off shop" in lull.log()
    lull.config["sites"]["shop"]["databases"] = ["shop", "bench"]
    lull.config["sites"]["held"]["databases"] = ["held"]
    lull.start()
    assert lull.site()["mode"] == "sealed" and refuses(lull)
    lull.off()


def test_killed_again_and_again(make_lull, primary):
    lull = make_lull()
    lull.on()
    epoch = lull.site()["epoch"]
    for _ in range(4):
        lull.kill9()
        lull.start()
        assert lull.site()["mode"] == "sealed" and refuses(lull)
        assert lull.site()["epoch"] >= epoch
        epoch = lull.site()["epoch"]
    assert lull.off()["epoch"] > epoch


# -- what lies in the state folder ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("what", ["torn", "empty", "newer", "nonsense", "missing"])
def test_a_state_file_that_cannot_be_read_means_closed(make_lull, what):
    lull = make_lull()
    lull.on()
    lull.off()
    lull.stop()
    path = os.path.join(lull.state_dir, "state.json")
    with open(path) as file:
        text = file.read()
    newer = dict(json.loads(text), version=999)
    os.unlink(path)
    with open(path if what != "missing" else os.devnull, "w") as file:
        file.write({"missing": "", "torn": text[:len(text) // 2], "empty": "", "newer": json.dumps(newer), "nonsense": "\0\xff{]"}[what])
    lull.start(wait=False)
    wait_for(lambda: lull.admin("GET", "/status")[0] == 200, "it serves")
    for name in ("shop", "held"):
        assert lull.site(name)["mode"] != "read_write"
    with lull.wire() as client:
        assert errors(client.query(UPDATE))[0]["C"] == "25006"
        wait_for(lambda: client.one("SELECT count(*) FROM items") == "100", "reads go on")
    said = [line for line in lull.log().splitlines() if path in line and "starts closed" in line]
    assert said and "`lull maintenance off held`, `lull maintenance off shop`" in said[0], "the one command to run, for each"
    kept = [name for name in os.listdir(lull.state_dir) if ".unreadable-" in name]
    assert what == "missing" or kept, "a newer version may want it back"
    lull.cli("maintenance", "off", "shop")
    lull.cli("maintenance", "off", "held")
    assert writes(lull)
    lull.restart()
    assert lull.site()["mode"] == "read_write"


def test_the_state_folder_is_made_and_is_private(make_lull):
    lull = make_lull()
    assert os.stat(lull.state_dir).st_mode & 0o777 == 0o700
    lull.on()
    state = json.load(open(os.path.join(lull.state_dir, "state.json")))
    assert state["epoch"] >= 1 and "shop" in state["sites"]
    lull.off()


def test_the_audit_file_tells_the_story(make_lull):
    lull = make_lull()
    sealed = lull.on(reason="for the record", owner="the tests")
    lull.off()
    files = [os.path.join(lull.state_dir, name) for name in os.listdir(lull.state_dir) if "audit" in name]
    assert len(files) == 1, os.listdir(lull.state_dir)
    events = [json.loads(line) for line in open(files[0])]
    text = json.dumps(events)
    assert "for the record" in text and "the tests" in text and sealed["sealed_lsn"] in text
    assert len(events) >= 3


def test_a_second_serve_on_the_same_state_folder_is_refused(make_lull):
    first = make_lull()
    second = make_lull({"state_dir": first.state_dir}, start=False)
    second.write_config()
    done = subprocess.run([binary(), "serve", "--config", second.config_file], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert str(first.process.pid) in done.stderr and first.state_dir in done.stderr, done.stderr
    assert writes(first) and first.site()["mode"] == "read_write"
    assert not os.path.exists(second.socket), "nothing was begun"
    # The folder is free when its owner has gone, however it went.
    first.kill9()
    second.start()
    assert writes(second)


def test_a_port_in_use_is_said(make_lull):
    first = make_lull()
    second = make_lull({"listen": {"postgres": f"127.0.0.1:{first.port}"}}, start=False)
    second.write_config()
    done = subprocess.run([binary(), "serve", "--config", second.config_file], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and str(first.port) in done.stderr, done.stderr
    assert writes(first)


def test_a_stale_admin_socket_is_replaced_and_a_live_one_is_not(make_lull):
    first = make_lull()
    second = make_lull({"admin_socket": first.socket}, start=False)
    second.write_config()
    done = subprocess.run([binary(), "serve", "--config", second.config_file], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and first.socket in done.stderr, done.stderr
    assert first.site()["mode"] == "read_write"
    first.kill9()
    assert os.path.exists(first.socket)
    first.start()
    assert first.site()["mode"] == "read_write"


# -- full disks -------------------------------------------------------------------------------------------------------------------------

def as_root():
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")


class FullDisk:
    """A disk without room."""

    def __init__(self, folder):
        as_root()
        self.folder = folder
        os.makedirs(folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", folder], check=True)

    def break_it(self, lull):
        with open(os.path.join(self.folder, "filler"), "wb", buffering=0) as out, contextlib.suppress(OSError):
            while True:
                out.write(b"x" * 512)

    def mend(self, lull):
        os.unlink(os.path.join(self.folder, "filler"))

    def remove(self):
        subprocess.run(["umount", "-l", self.folder], check=True)


class ReadOnlyDisk(FullDisk):
    """One that the system has turned read-only, as it does after errors: what is opened from now on cannot be written."""

    def break_it(self, lull):
        subprocess.run(["mount", "--bind", self.folder, self.folder], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", self.folder], check=True)

    def mend(self, lull):
        subprocess.run(["umount", "-l", self.folder], check=True)


class LimitedFiles:
    """No file may grow: by default the system ends who tries."""

    def __init__(self, folder):
        os.makedirs(folder)

    def break_it(self, lull):
        lull.run_under = ["prlimit", "--fsize=0:"]  # what is started from now on
        if lull.process is not None:
            resource.prlimit(lull.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def mend(self, lull):
        lull.run_under = []
        if lull.process is not None:
            resource.prlimit(lull.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def remove(self):
        pass


def is_told(lull, problem, verb):
    """What cannot be written, and the one command to run when it can."""
    assert lull.state_dir in str(problem) and f"lull maintenance {verb} shop" in problem["fix"], problem
    done = lull.cli("maintenance", verb, "shop", check=False)
    assert done.returncode != 0 and lull.state_dir in done.stderr and f"lull maintenance {verb} shop" in done.stderr, done
    return True


@pytest.mark.parametrize("kind", [FullDisk, ReadOnlyDisk, LimitedFiles])
def test_a_disk_that_cannot_be_written(make_lull, tmp_path, kind):
    folder = str(tmp_path / "small")
    disk = kind(folder)
    lull = make_lull({"state_dir": os.path.join(folder, "state")})

    @contextlib.contextmanager
    def broken():
        disk.break_it(lull)
        try:
            yield
        finally:
            disk.mend(lull)

    try:
        with broken():
            # Entering is refused, and nothing has changed.
            status, problem = lull.admin("PUT", "/sites/shop/maintenance", {"wait_ms": 5000})
            assert status >= 500 and is_told(lull, problem, "on")
            assert lull.site()["mode"] == "read_write" and writes(lull)
        lull.on()
        with broken():
            # Leaving is refused too: the file says sealed, so it stays sealed.
            status, problem = lull.admin("DELETE", "/sites/shop/maintenance?wait_ms=3000")
            assert status >= 500 and is_told(lull, problem, "off")
            assert lull.site()["mode"] == "sealed" and refuses(lull)
            lull.kill9()
            if kind is ReadOnlyDisk:  # not even its lock can be had: nobody is served, and it says why
                done = subprocess.run([binary(), "serve", "--config", lull.config_file], capture_output=True, text=True, timeout=20)
                assert done.returncode != 0 and lull.state_dir in done.stderr and "state_dir writable" in done.stderr, done.stderr
            else:
                lull.start()
                assert lull.site()["mode"] == "sealed" and refuses(lull)
                assert is_told(lull, lull.admin("DELETE", "/sites/shop/maintenance?wait_ms=3000")[1], "off")
        if lull.process is None:
            lull.start()
        assert lull.site()["mode"] == "sealed" and refuses(lull)
        wait_for(lambda: lull.cli("maintenance", "off", "shop", check=False).returncode == 0, "the same command works now")
        assert writes(lull)
        assert json.load(open(os.path.join(lull.state_dir, "state.json")))["sites"]["shop"]["phase"] == "read_write"
    finally:
        if lull.process is not None:
            lull.stop()
        disk.remove()


FLUSH = r"""
#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <stdlib.h>
#include <unistd.h>
int fsync(int fd) {
    struct stat of;
    if (access(getenv("FOLDERS_FAIL"), F_OK) == 0 && fstat(fd, &of) == 0 && S_ISDIR(of.st_mode)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}
"""


def test_a_folder_that_cannot_be_flushed(make_lull, tmp_path):
    """The new state is in its place then. What is told is what a restart finds: not entered and open, or opened and open."""
    source, library, broken = tmp_path / "flush.c", tmp_path / "flush.so", tmp_path / "broken"
    source.write_text(FLUSH)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    lull = make_lull(start=False)
    lull.extra_environment = {"LD_PRELOAD": str(library), "FOLDERS_FAIL": str(broken)}
    lull.start()
    broken.touch()
    status, problem = lull.admin("PUT", "/sites/shop/maintenance", {"wait_ms": 5000})
    assert status >= 500 and "cannot flush the folder" in str(problem) and is_told(lull, problem, "on")
    assert lull.site()["mode"] == "read_write" and writes(lull)
    lull.kill9()
    lull.start()
    assert lull.site()["mode"] == "read_write" and writes(lull)
    broken.unlink()
    lull.on()
    broken.touch()
    lull.off()
    assert writes(lull) and "After a loss of power" in lull.log()
    lull.kill9()
    lull.start()
    assert lull.site()["mode"] == "read_write" and writes(lull)
    broken.unlink()


def test_an_unusable_state_folder_is_said_at_the_start(make_lull, tmp_path):
    file = tmp_path / "a file"
    file.write_text("x")
    lull = make_lull({"state_dir": str(file)}, start=False)
    lull.write_config()
    done = subprocess.run([binary(), "serve", "--config", lull.config_file], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and str(file) in done.stderr


def test_the_state_folder_disappears(make_lull):
    lull = make_lull()
    shutil.rmtree(lull.state_dir)
    status, problem = lull.admin("PUT", "/sites/shop/maintenance", {"wait_ms": 5000})
    if status >= 500:
        assert lull.state_dir in str(problem)
        assert lull.site()["mode"] == "read_write" and writes(lull)
    else:  # made again: then it must hold what was promised
        assert os.path.exists(os.path.join(lull.state_dir, "state.json"))
        lull.off()


# -- servers that restart -----------------------------------------------------------------------------------------------------------------

def test_standby_restarts_while_frozen(make_lull, primary, standby):
    """A restart forgets the pause. Nothing was written meanwhile: it is paused again where it was, or is not read."""
    lull = make_lull()
    lull.on()
    with lull.wire() as client:
        assert client.one("SELECT pg_is_in_recovery()") == "t"
        standby.restart()
        wait_for(lambda: client.one("SELECT count(*) FROM items") == "100", "reads go on")
        wait_for(lambda: client.one("SELECT pg_is_in_recovery()") == "f" or standby.pause_state() == "paused",
                 "paused again, or left alone")
        assert errors(client.query(UPDATE))[0]["C"] == "25006"
    lull.off()
    wait_for(lambda: standby.pause_state() == "not paused", "it goes on")
    assert writes(lull)


def test_standby_restarts_while_frozen_and_moves_on(make_lull, primary, standby):
    """The migration has committed. The restarted standby replays that: it is not what readers were promised any more."""
    lull = make_lull()
    lull.on()
    with lull.wire() as client:
        with lull.migration() as migration:
            migration.execute("UPDATE items SET n = 1000 WHERE id = 2")
        assert client.one("SELECT n FROM items WHERE id = 2") == "0"
        standby.restart()
        standby.wait_replayed(primary)
        wait_for(lambda: rows(client.query("SELECT pg_is_in_recovery()")) == [("f",)], "reads leave the standby that moved on")
        assert errors(client.query(UPDATE))[0]["C"] == "25006"
        shouted = wait_for(lambda: [line for line in lull.log().splitlines() if str(standby.port) in line
                                    and ("WARNING" in line or "ERROR" in line)], "it is said in the log")
        assert shouted
    lull.off()
    assert standby.pause_state() == "not paused"
    assert writes(lull)


def test_standby_stops_while_frozen(make_lull, standby):
    lull = make_lull()
    lull.on()
    with lull.wire() as client:
        client.query("SELECT 1")
        standby.stop()
        try:
            wait_for(lambda: rows(client.query("SELECT count(*), pg_is_in_recovery() FROM items")) == [("100", "f")],
                     "reads go to the primary")
            assert errors(client.query(UPDATE))[0]["C"] == "25006"
            client.query("BEGIN")
            client.query("SELECT 1")
            assert errors(client.query("SET TRANSACTION READ WRITE")) or errors(client.query(UPDATE))[0]["C"] == "25006"
            client.query("ROLLBACK")
            lull.off()
            assert writes(lull)
        finally:
            standby.start()


def test_a_replica_that_is_down_is_left_out(make_lull, standby):
    """All replicas are down: there is nothing to freeze. Entering says so, or seals and reads from the primary."""
    standby.stop()
    try:
        lull = make_lull({"sites": {"shop": {"seal_timeout": "2s"}}})
        status, answer = lull.admin("PUT", "/sites/shop/maintenance", {"wait_ms": 10000})
        if status == 200:
            assert answer["mode"] == "sealed"
        else:
            assert str(standby.port) in str(answer) or "replica" in str(answer), answer
            assert lull.site()["mode"] == "read_write" and writes(lull)
            assert lull.admin("PUT", "/sites/shop/maintenance", {"wait_ms": 10000, "freeze": False})[0] == 200
        assert refuses(lull)
        lull.off()
        assert writes(lull)
    finally:
        standby.start()


def test_a_standby_found_paused(make_lull, primary, standby):
    """Somebody else paused it. Entering does not wait for ever, and says what it found."""
    lull = make_lull({"sites": {"shop": {"seal_timeout": "1s"}}})
    standby.pause()
    try:
        assert writes(lull)  # so that the standby is behind
        status, answer = lull.admin("PUT", "/sites/shop/maintenance", {"wait_ms": 15000})
        if status == 200:
            assert answer["mode"] == "sealed"
            assert refuses(lull)
            lull.off()
        else:
            assert "pause" in str(answer).lower() or "replay" in str(answer).lower(), answer
            wait_for(lambda: lull.site()["mode"] == "read_write", "as before")
        assert writes(lull)
    finally:
        standby.resume()


def test_primary_restarts_while_sealed(make_lull, primary):
    lull = make_lull()
    lull.on()
    xid = primary.next_xid()
    primary.restart()
    assert lull.site()["mode"] == "sealed"
    wait_for(lambda: refuses(lull), "still sealed, still read")
    assert primary.next_xid() == xid
    wait_for(lambda: lull.admin("DELETE", "/sites/shop/maintenance?wait_ms=5000")[0] == 200, "it can be opened")
    wait_for(lambda: writes(lull), "writes go on")


def test_primary_is_away_when_entering(make_lull, primary):
    """Nothing can be proved about a server that does not answer: not sealed, within the time that was given."""
    lull = make_lull({"sites": {"shop": {"seal_timeout": "1s"}}})
    primary.stop()
    try:
        status, answer = lull.admin("PUT", "/sites/shop/maintenance", {"wait_ms": 10000})
        assert status != 200, answer
        stays(lambda: lull.site()["state"] not in ("sealed", "frozen"), 0.3, "sealed was said without proof")
    finally:
        primary.start()
    wait_for(lambda: lull.admin("DELETE", "/sites/shop/maintenance?wait_ms=5000")[0] == 200, "it is open")
    wait_for(lambda: writes(lull), "writes go on")


def test_clients_hear_of_a_crash_of_the_server_at_once():
    """PostgreSQL warns every session and closes: the bytes and the end of the connection come together."""
    cluster = Cluster(alone=True)
    try:
        cluster.start().reset("shop")
        lull = Lull(cluster, {"workers": 2}, replicas=False).start()
        try:
            sleepers = [lull.wire() for _ in range(8)]
            for client in sleepers:
                client.send(query("SELECT pg_sleep(60)"))
            wait_for(lambda: cluster.primary.one("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'") == 8, "they sleep")
            os.kill(cluster.primary.one("SELECT pg_backend_pid()"), signal.SIGKILL)
            for client in sleepers:
                assert errors(client.until("Z"))[0]["C"] == "08006"
        finally:
            lull.remove()
    finally:
        cluster.remove()


def test_stop_lets_transactions_end(make_lull):
    """SIGTERM: idle clients are told to go, those in a transaction may end it."""
    lull = make_lull()
    idle, busy = lull.wire(), lull.wire()
    busy.query("BEGIN")
    busy.query(UPDATE)
    lull.process.terminate()
    seen = idle.until_closed()
    assert not errors(seen) or errors(seen)[0]["C"] == "57P01"
    assert tags(busy.query("COMMIT")) == ["COMMIT"]
    assert lull.process.wait(15) == 0
    lull.process = None
    assert lull.cluster.primary.one("SELECT n FROM items WHERE id = 1", db="shop") == 1
