"""Clients that come and go against one Lull, and its RSS meanwhile. See tests/churn.sh."""
import itertools
import multiprocessing
import os
import random
import statistics
import sys
import time

from harness import cluster as c
from harness import wire as w
from harness.cluster import Cluster
from harness.lull import Lull

SECONDS = int(os.environ.get("LULL_CHURN_SECONDS", "3600"))
CLIENTS = int(os.environ.get("LULL_CHURN_CLIENTS", "16"))
BOUND_KB = int(os.environ.get("LULL_CHURN_BOUND_KB", "1024"))


def one_client(port, dice, number):
    """Connects, prepares, errs in each way, and goes in one of several."""
    client = w.Wire("127.0.0.1", port).login("app", c.APP_PASSWORD, "shop", application_name=f"churn {dice.randrange(100)}")
    # Some texts come again and again, others never: what remembers them has to forget.
    text = f"SELECT name, {dice.randrange(50)} FROM items WHERE id = $1" if number % 4 else f"SELECT {number}, $1::text, '{dice.random()}'"
    client.extended(text, [number % 100], name=f"s{number % 7}")
    for wrong in ("SELECT 1 / 0", "SELEKT", f"SELECT * FROM nowhere_{number}"):
        assert w.errors(client.query(wrong)), wrong
    assert w.errors(client.extended("SELECT nothing FROM items"))
    client.query("BEGIN")
    client.query(f"UPDATE items SET n = n + 1 WHERE id = {number % 100}")
    assert w.errors(client.query("SELECT 1 / 0"))
    client.query("ROLLBACK")
    if number % 5 == 0:
        client.query("SET search_path TO public, other_schema")
        client.query("CREATE TEMP TABLE mine (a int)")  # keeps its server until it goes
    match number % 4:
        case 0:
            client.send(w.message("X"))
        case 1:
            client.send(w.query("SELECT pg_sleep(0.01)"))  # and is not there when the answer comes
        case 2:
            client.send(w.query("SELECT pg_sleep(5)"))
            client.cancel()
            client.until("Z")
        case 3:
            client.send(w.parse("half", "SELECT 1")[:9])  # in the middle of a message
    client.close()


def churn(port, seed, count, until):
    dice = random.Random(seed)
    for number in itertools.count():
        if time.monotonic() > until:
            return
        one_client(port, dice, number)
        with count.get_lock():
            count.value += 1


def resident_kb(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def main():
    cluster = Cluster(alone=True)
    lull = None
    workers = []
    try:
        cluster.start()
        cluster.reset("shop", "held")
        lull = Lull(cluster, {"clusters": {"main": {"server_lifetime": "10s"}}}, replicas=False).start()
        count = multiprocessing.Value("Q", 0)
        began = time.monotonic()
        until = began + SECONDS
        workers = [multiprocessing.Process(target=churn, args=(lull.port, seed, count, until), daemon=True) for seed in range(CLIENTS)]
        for one in workers:
            one.start()
        samples = []
        told = 0
        while (now := time.monotonic()) < until:
            samples.append((now - began, resident_kb(lull.process.pid)))
            if now - began >= told:
                print(f"{now - began:8.0f} s {count.value:12,} clients came and went {samples[-1][1]:10,} kB", flush=True)
                told += SECONDS / 12
            if any(one.exitcode not in (None, 0) for one in workers):
                sys.exit("a client failed: see above")
            time.sleep(min(1, SECONDS / 60))
        for one in workers:
            one.join(60)
        first, second, last = (statistics.median(kb for at, kb in samples if SECONDS * third / 3 <= at < SECONDS * (third + 1) / 3)
                               for third in range(3))
        print(f"{SECONDS} s, {count.value:,} clients; median RSS of the first, second and last third: {first:,.0f}, {second:,.0f}, {last:,.0f} kB; "
              f"the last may be {BOUND_KB:,} kB above the second")
        return 0 if last <= second + BOUND_KB else 1
    finally:
        for one in workers:
            if one.is_alive():
                one.terminate()
        if lull:
            lull.remove()
        cluster.remove()


if __name__ == "__main__":
    sys.exit(main())
