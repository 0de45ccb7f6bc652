"""Lull beside PgBouncer and HAProxy in one interleaved run, against limits. Start it through run.sh."""
import argparse
import os
import re
import resource
import shutil
import statistics
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "integration")]

import counts  # noqa: E402
import limits  # noqa: E402
from harness.certificates import Authority  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from targets import Entrance, HaproxyTarget, LullTarget, PgBouncerTarget  # noqa: E402
from workloads import Pgbench, prepare  # noqa: E402


def say(text):
    print(text, file=sys.stderr, flush=True)


class Rig:
    def __init__(self, bulk=True):
        self.bulk = bulk
        self.cluster = Cluster(alone=True)
        self.folder = tempfile.mkdtemp(prefix="lull-bench-tls-")
        self.running = {}

    def __enter__(self):
        os.chmod(self.folder, 0o755)
        authority = Authority(self.folder)
        certificate = authority.issue("localhost", ["localhost", "127.0.0.1"])
        os.chmod(certificate.key, 0o644)  # PgBouncer runs as somebody else; the key is worth nothing
        self.entrances = {"plain": Entrance(), "scram": Entrance("scram-sha-256"), "tls": Entrance(tls=certificate, ca=authority.ca)}
        self.cluster.start()
        prepare(self.cluster.primary, self.bulk)
        return self

    def __exit__(self, *_):
        for target in self.running.values():
            target.remove()
        self.cluster.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def make(self, name, entrance):
        if name == "lull":
            return LullTarget(self.cluster, entrance)
        if name == "haproxy-tcp":
            return HaproxyTarget(self.cluster, entrance)
        return PgBouncerTarget(self.cluster, entrance, 65536 if name == "pgbouncer-64k" else None)

    def target(self, name, entrance, fresh):
        if fresh and (name, entrance) in self.running:
            self.running.pop((name, entrance)).remove()
        if (name, entrance) not in self.running:
            self.running[name, entrance] = self.make(name, self.entrances[entrance]).start()
            Pgbench("-S", "-c", "20").transactions(self.running[name, entrance], 20)  # opens its pool
        return self.running[name, entrance]


def measure(rig, case, rounds, seconds):
    """{target: [metrics of each round]}; who begins changes with every round."""
    names = ["lull", *case.peers]
    rows = {name: [] for name in names}
    for turn in range(case.rounds or rounds):
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            row = case.workload.measure(rig.target(name, case.entrance, case.fresh), seconds)
            rows[name].append(row)
            say(f"  {case.name} #{turn + 1} {name}: " + " ".join(f"{key}={value:.2f}" for key, value in row.items()))
    return rows


def judge(case, rows):
    """(what, measured, limit, range, holds) of each limit; ratios are taken within a round."""
    for limit in case.limits:
        mine = [row[limit.metric] for row in rows["lull"]]
        if isinstance(limit, limits.Absolute):
            values, what = mine, limit.metric
        else:
            values = [a / b for a, b in zip(mine, (row[limit.metric] for row in rows[limit.peer])) if b > 0]
            what = f"{limit.metric} / {limit.peer}"
        middle = statistics.median(values)
        yield what, middle, limit.at_most, f"{min(values):.2f}..{max(values):.2f}", middle <= limit.at_most


def costs(rig, only, rounds, seconds):
    lines = []
    for case in limits.CASES:
        if not re.search(only, case.name):
            continue
        rows = measure(rig, case, rounds, seconds)
        metric = case.limits[0].metric
        absolute = {name: statistics.median(row[metric] for row in found) for name, found in rows.items()}
        lines += [(case.name, what, got, most, spread, " ".join(f"{name} {value:.4g}" for name, value in absolute.items()), holds)
                  for what, got, most, spread, holds in judge(case, rows)]
    return lines


def least(measure, most, at_least, tries=3):
    """What the clock does beside the queries of a slow machine only adds: the least of some tries, or the first that holds."""
    best = None
    for _ in range(tries):
        found = measure()
        assert sum(found.values()) >= at_least, f"counted next to nothing: {found}"
        best = found if best is None else min(best, found, key=lambda one: sum(one.values()))
        if sum(best.values()) <= most:
            break
    return best


def gate(rig):
    """System calls and instructions: steady whatever else the machine does."""
    lines = []
    for clients, most in limits.CALLS.items():
        target = rig.target("lull", "plain", False)
        workload = Pgbench("-S", "-c", str(clients), "-j", "2" if clients > 1 else "1")

        def calls(each):
            made, done = counts.calls(target, workload)(each)
            # A tick is one of each; how many there are is the clock's doing, and on a slow machine there are more a query.
            made["epoll_wait"] = made.get("epoll_wait", 0) - made.pop("timerfd_settime", 0)
            return made, done

        each = least(lambda: counts.per_transaction(calls, 500 // clients + 50, 3000 // clients + 100), most, 2 * limits.SENDS - 0.1)
        shown = " ".join(f"{name} {count:.2f}" for name, count in sorted(each.items(), key=lambda one: -one[1])[:4])
        who = "1 client" if clients == 1 else f"{clients} clients"
        lines.append((f"simple, {who}", "system calls", sum(each.values()), most, "", shown, sum(each.values()) <= most))
        sends = sum(count for name, count in each.items() if name.startswith(("send", "write")))
        lines.append((f"simple, {who}", "sends", sends, limits.SENDS + 0.01, "", "", sends <= limits.SENDS + 0.01))
    for protocol, most in limits.INSTRUCTIONS.items():
        count = counts.instructions_of_lull(
            rig, Pgbench("-S", "-M", protocol, "-c", "1"), "plain",
            lambda work, most=most: least(lambda: counts.per_transaction(work, 500, 2000), most, 1000))
        lines.append((f"{protocol}, 1 client", "instructions", count, most, "", "user space, worker's thread", count <= most))
    return lines


def table(lines):
    heads = ("workload", "metric", "Lull", "limit", "rounds", "each", "")
    rows = [heads] + [(name, what, f"{got:,.2f}", f"{most:,.2f}", spread, each, "ok" if holds else "MISSED")
                      for name, what, got, most, spread, each, holds in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["all", "gate", "costs", "counts"], default="all",
                        help="gate: system calls and instructions alone; costs: what is compared with peers; counts: why it costs that")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    parser.add_argument("--only", default=".", metavar="REGEXP", help="workloads to compare; see limits.py")
    arguments = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    lines = []
    with Rig(bulk=arguments.what != "gate") as rig:
        if arguments.what == "counts":
            for name, peer, instructions, calls, which in counts.rows(rig, lambda name: re.search(arguments.only, name)):
                print(f"{name:18} {peer:10} {instructions:10,.0f} instructions {calls:8.2f} system calls: {which}", flush=True)
            return 0
        if arguments.what != "costs":
            lines += gate(rig)
            peers = counts.instructions_of_pgbouncer(rig, Pgbench("-S", "-c", "1"), "plain", 500, 2000)
            say(f"pgbouncer takes {peers:,.0f} instructions a simple query in user space, and classifies none")
        if arguments.what != "gate":
            lines += costs(rig, arguments.only, arguments.rounds, max(1, round(arguments.seconds)))
    print(table(lines))
    missed = sum(not line[-1] for line in lines)
    print(f"{len(lines) - missed} of {len(lines)} limits hold")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
