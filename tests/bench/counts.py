"""What a transaction takes of system calls and instructions through Lull and through PgBouncer: steady on a busy machine, and the
reason where a limit is missed."""
import os

import meters
from targets import LullTarget, PgBouncerTarget
from workloads import Copy, Pgbench

# (name, workload, entrance, transactions a client: fewer and more). What few cost is taken off, and with it what connecting does.
COUNTED = [
    ("simple", Pgbench("-S", "-c", "1"), "plain", 200, 1000),
    ("extended", Pgbench("-S", "-M", "extended", "-c", "1"), "plain", 200, 1000),
    ("prepared", Pgbench("-S", "-M", "prepared", "-c", "1"), "plain", 200, 1000),  # nothing that PgBouncer 1.18 can pool
    ("TPC-B", Pgbench("-c", "1"), "plain", 50, 250),
    ("connect, trust", Pgbench("-S", "-C", "-c", "1"), "plain", 50, 150),
    ("connect, SCRAM", Pgbench("-S", "-C", "-c", "1"), "scram", 50, 150),
    ("connect, TLS", Pgbench("-S", "-C", "-c", "1"), "tls", 50, 150),
    ("COPY out, per MB", Copy("out"), "plain", 0, 2),
]


def _calls(target, workload, few, many):
    tasks = meters.workers(target.pid) or [str(target.pid)]
    found = []
    for each in (few, many):
        done = []
        counts = meters.system_calls(target.pid, lambda: done.append(workload.transactions(target, each)), tasks)
        found.append((counts, done[0]))
    (small, n), (large, m) = found
    return {name: (large[name] - small.get(name, 0)) / (m - n) for name in large}


def _instructions_of_lull(rig, workload, entrance, few, many):
    callgrind = meters.Callgrind()
    target = LullTarget(rig.cluster, rig.entrances[entrance], run_under=callgrind.command())
    try:
        target.start()
        workload.transactions(target, few)
        found = []
        for each in (few, many):
            done = []
            found.append((callgrind.instructions(target.pid, lambda: done.append(workload.transactions(target, each))), done[0]))
        return (found[1][0] - found[0][0]) / (found[1][1] - found[0][1])
    finally:
        target.remove()
        callgrind.remove()


def instructions_of_pgbouncer(rig, workload, entrance, few, many):
    """By two lives of its single thread: one with fewer transactions, one with more."""
    found = []
    for each in (few, many):
        callgrind = meters.Callgrind()
        os.chmod(callgrind.folder, 0o777)  # it runs as somebody else
        target = PgBouncerTarget(rig.cluster, rig.entrances[entrance],
                                 run_under=["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={callgrind.folder}/out.%p"])
        try:
            target.start()
            done = workload.transactions(target, each)
            target.remove()
            found.append((callgrind.whole_life(), done))
        finally:
            target.remove()
            callgrind.remove()
    return (found[1][0] - found[0][0]) / (found[1][1] - found[0][1])


def rows(rig, wanted):
    """(workload, proxy, instructions, system calls, the commonest of them) a transaction, of those whose name `wanted` takes."""
    for name, workload, entrance, few, many in COUNTED:
        if not wanted(name):
            continue
        peers = ["lull"] if name == "prepared" else ["lull", "pgbouncer"]
        for peer in peers:
            count = _instructions_of_lull if peer == "lull" else instructions_of_pgbouncer
            instructions = 0.0 if isinstance(workload, Copy) else count(rig, workload, entrance, few, many)
            calls = _calls(rig.target(peer, entrance, False), workload, few, many)
            most = sorted(calls.items(), key=lambda one: -one[1])[:6]
            yield name, peer, instructions, sum(calls.values()), " ".join(f"{call} {each:.2f}" for call, each in most if each >= 0.05)
