"""Maintenance goes on and off every second while pgbench reads and writes: no read fails, nothing is committed while the
site is sealed, every acknowledged write is found.

Commits are counted by the server, in two ways. Between the moment when `maintenance on` has returned and the moment before
`maintenance off` is said, (1) no transaction may be in progress and no transaction id may be taken: the horizon of
pg_current_snapshot() is the same at both ends, to the transaction; (2) no row of the tables that every writing transaction
inserts into may have a commit timestamp (pg_xact_commit_timestamp of its xmin) between the two, by the server's clock.

How it was made to fail: one writer connected straight to the primary instead of to Lull. Both counts then found it in every
window; test_the_counts_can_fail does that again each time.

LULL_TORTURE_SECONDS (20) is how long the flipping goes on; 60 is for the record.
"""
import os
import threading
import time

import pytest

from harness import bench
from harness.cluster import APP_PASSWORD
from harness.wait import wait_for
from harness.wire import Closed, bind, errors, execute, parse, query, sync, tags

SECONDS = float(os.environ.get("LULL_TORTURE_SECONDS", "20"))


class Window:
    """One stay in sealed, as the server saw it."""

    def __init__(self, lull, primary, site):
        self.lull, self.primary, self.site = lull, primary, site

    def __enter__(self):
        self.lull.on(self.site, reason="torture")
        self.began, self.xid, self.busy = self.look()
        return self

    def look(self):
        return self.primary.sql("SELECT clock_timestamp(), pg_snapshot_xmax(pg_current_snapshot())::text::bigint, "
                                "(SELECT count(*) FROM pg_snapshot_xip(pg_current_snapshot()))")[0]

    def __exit__(self, kind, *_):
        self.ended, self.xid_after, self.busy_after = self.look()
        mode = self.lull.site(self.site)["mode"]
        self.lull.off(self.site)
        if kind is None:
            assert mode == "sealed"

    def transactions(self):
        """Transactions that were in progress, or began, while it was sealed."""
        return self.busy + self.busy_after + (self.xid_after - self.xid)

    def commits(self, table, db):
        return self.primary.one(f"SELECT count(*) FROM {table} WHERE pg_xact_commit_timestamp(xmin) BETWEEN %s AND %s",
                                (self.began, self.ended), db=db)


def flip(lull, primary, site, while_, table, db):
    """On and off, twice a second at most, one period a second; returns the windows."""
    windows = []
    while while_():
        started = time.monotonic()
        with Window(lull, primary, site) as window:
            time.sleep(0.5)
        windows.append(window)
        time.sleep(max(0.0, started + 1 - time.monotonic()))
    assert [w.transactions() for w in windows] == [0] * len(windows), "transactions while sealed"
    assert [w.commits(table, db) for w in windows] == [0] * len(windows), "commits while sealed"
    return windows


@pytest.fixture
def bench_tables(primary, cluster):
    done = bench.run(primary.port, APP_PASSWORD, "-i", "-s", "2", "-q")
    assert done.status == 0, done.text
    cluster.catch_up()


BENCH = {"sites": {"bench": {"cluster": "main", "databases": ["bench"], "writes": "hold", "hold": {"max_age": "60s"}}}}


@pytest.mark.parametrize("replicas, seconds", [(True, SECONDS), (False, SECONDS / 2)], ids=["frozen replica", "primary alone"])
def test_pgbench(make_lull, bench_tables, primary, replicas, seconds):
    """pgbench -S, default and -M prepared, unchanged, with writes held: no transaction fails, and the sums are right."""
    lull = make_lull(BENCH, replicas=replicas)
    run = ["-T", str(max(3, round(seconds)))]
    readers = {mode: bench.start(lull.port, APP_PASSWORD, "-S", "-M", mode, "-c", "3", *run)
               for mode in ("simple", "extended", "prepared")}
    writers = {mode: bench.start(lull.port, APP_PASSWORD, "-M", mode, "-c", "4", *run) for mode in ("simple", "prepared")}
    everybody = [*readers.values(), *writers.values()]
    wait_for(lambda: primary.one("SELECT count(*) FROM pgbench_history", db="bench") > 10, "they write")
    windows = flip(lull, primary, "bench", lambda: any(p.poll() is None for p in everybody), "pgbench_history", "bench")
    results = {f"-S -M {mode}": bench.finish(p) for mode, p in readers.items()}
    results.update({f"-M {mode}": bench.finish(p) for mode, p in writers.items()})
    for name, result in results.items():
        assert result.clean, f"pgbench {name}:\n{result.text}"
    assert len(windows) >= seconds / 3, "it flipped too seldom to mean anything"
    done = sum(results[f"-M {mode}"].done for mode in writers)
    assert primary.one("SELECT count(*) FROM pgbench_history", db="bench") == done
    assert primary.sql("SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers), "
                       "(SELECT sum(bbalance) FROM pgbench_branches)", db="bench") == \
        primary.sql("SELECT s, s, s FROM (SELECT sum(delta) AS s FROM pgbench_history) h", db="bench")
    print(f"\n{len(windows)} windows; " + "; ".join(f"pgbench {n}: {r.done} transactions, {r.failed} failed"
                                                  for n, r in results.items()) + f"; {done} writes acknowledged and found; "
          "0 commits while sealed")


def test_refused_writers(make_lull, bench_tables, primary):
    """Writers of five kinds that are refused and try again, and readers, over sites that refuse."""
    lull = make_lull({"sites": {"shop": {"writes": "refuse"}, "bench": {"cluster": "main", "databases": ["bench"]}}})
    stop = threading.Event()
    acknowledged, refused, problems = set(), [0], []
    seconds = SECONDS / 2

    def autocommit(client, what):
        return client.query(f"INSERT INTO log (who) VALUES ('{what}')")

    def block(client, what):
        client.query("BEGIN")
        client.query("SELECT count(*) FROM items")
        client.query(f"INSERT INTO log (who) VALUES ('{what}')")
        return client.query("COMMIT")

    def block_in_one_text(client, what):
        return client.query(f"BEGIN; INSERT INTO log (who) VALUES ('{what}'); COMMIT")

    def extended(client, what):
        return client.extended("INSERT INTO log (who) VALUES ($1)", [what])

    def pipeline(client, what):
        return client.ask(parse("", "BEGIN"), bind(), execute(), parse("", "INSERT INTO log (who) VALUES ($1)"),
                          bind("", "", [what]), execute(), parse("", "COMMIT"), bind(), execute(), sync())

    def write(number, kind):
        try:
            with lull.wire() as client:
                turn = 0
                while not stop.is_set():
                    turn += 1
                    what = f"{number}-{turn}"
                    answer = kind(client, what)
                    codes = {e["C"] for e in errors(answer)}
                    if not codes and tags(answer)[-1] in ("COMMIT", "INSERT 0 1"):
                        acknowledged.add(what)
                    elif codes <= {"25006", "25P02"}:
                        refused[0] += 1
                        client.query("ROLLBACK")
                    else:
                        problems.append((what, answer))
        except (Closed, OSError, RuntimeError) as error:
            problems.append((number, repr(error)))

    def read(number):
        try:
            with lull.connect(prepare_threshold=0 if number % 2 else None) as connection:
                while not stop.is_set():
                    if connection.execute("SELECT count(*) FROM items").fetchone() != (100,):
                        problems.append("a wrong answer")
        except Exception as error:  # noqa: BLE001
            problems.append(repr(error))

    kinds = [autocommit, block, block_in_one_text, extended, pipeline]
    threads = [threading.Thread(target=write, args=(i, kind)) for i, kind in enumerate(kinds * 2)]
    threads += [threading.Thread(target=read, args=(i,)) for i in range(3)]
    reader = bench.start(lull.port, APP_PASSWORD, "-S", "-M", "prepared", "-c", "2", "-T", str(max(3, round(seconds))))
    [t.start() for t in threads]
    until = time.monotonic() + seconds
    try:
        windows = flip(lull, primary, "shop", lambda: time.monotonic() < until and not problems, "log", "shop")
    finally:
        stop.set()
        [t.join(20) for t in threads]
    result = bench.finish(reader)
    assert not problems, problems[:3]
    assert result.clean, result.text
    found = {who for who, in primary.sql("SELECT who FROM log", db="shop")}
    assert acknowledged == found, (sorted(acknowledged - found)[:5], sorted(found - acknowledged)[:5])
    assert primary.one("SELECT count(*) FROM log", db="shop") == len(found), "something was written twice"
    assert refused[0] > 0 and len(windows) >= seconds / 3
    print(f"\n{len(windows)} windows; {len(acknowledged)} writes acknowledged and found, {refused[0]} refused; "
          f"{result.done} reads of pgbench, 0 failed; 0 commits while sealed")


def test_the_counts_can_fail(make_lull, primary):
    """One that does not go through Lull writes in a window: both counts must find exactly that."""
    lull = make_lull()
    with Window(lull, primary, "shop") as window:
        primary.sql("INSERT INTO log (who) VALUES ('a burglar')", db="shop")
    assert window.transactions() == 1 and window.commits("log", "shop") == 1
    with primary.connect("shop", autocommit=False) as burglar:
        burglar.execute("INSERT INTO log (who) VALUES ('another')")
        with Window(lull, primary, "shop") as window:
            burglar.commit()
        assert window.transactions() >= 1 and window.commits("log", "shop") == 1
    with lull.wire() as client:
        client.query("INSERT INTO log (who) VALUES ('honest')")
    with Window(lull, primary, "shop") as window:
        with lull.wire() as client:
            assert errors(client.ask(query("INSERT INTO log (who) VALUES ('honest')")))
    assert window.transactions() == 0 and window.commits("log", "shop") == 0
