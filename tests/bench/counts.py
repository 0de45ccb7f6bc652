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


def per_transaction(work, few, many):
    """What `work(transactions a client)` -> (counts, transactions) costs each, without what connecting costs."""
    (small, n), (large, m) = work(few), work(many)
    return {key: (large.get(key, 0) - small.get(key, 0)) / (m - n) for key in large}


def calls(target, workload):
    """For per_transaction(): the system calls of its workers, or of its one thread."""
    tasks = meters.workers(target.pid) or [str(target.pid)]

    def work(each):
        done = []
        return meters.system_calls(target.pid, lambda: done.append(workload.transactions(target, each)), tasks), done[0]

    return work


def instructions_of_lull(rig, workload, entrance, judge):
    """What `judge` makes of work for per_transaction(), of one Lull under callgrind that has opened its pool."""
    callgrind = meters.Callgrind()
    target = LullTarget(rig.cluster, rig.entrances[entrance], run_under=callgrind.command())

    def work(each):
        done = []
        return {"instructions": callgrind.instructions(target.pid, lambda: done.append(workload.transactions(target, each)))}, done[0]

    try:
        target.start()
        workload.transactions(target, 200)
        return judge(work)["instructions"]
    finally:
        target.remove()
        callgrind.remove()


def instructions_of_pgbouncer(rig, workload, entrance, few, many):
    """By two lives of its single thread: one with fewer transactions, one with more."""

    def life(each):
        callgrind = meters.Callgrind()
        os.chmod(callgrind.folder, 0o777)  # it runs as somebody else
        target = PgBouncerTarget(rig.cluster, rig.entrances[entrance],
                                 run_under=["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={callgrind.folder}/out.%p"])
        try:
            target.start()
            done = workload.transactions(target, each)
            target.remove()
            return {"instructions": callgrind.whole_life()}, done
        finally:
            target.remove()
            callgrind.remove()

    return per_transaction(life, few, many)["instructions"]


def rows(rig, wanted):
    """(workload, proxy, instructions, system calls, the commonest of them) a transaction, of those whose name `wanted` takes."""
    for name, workload, entrance, few, many in COUNTED:
        if not wanted(name):
            continue
        peers = ["lull"] if name == "prepared" else ["lull", "pgbouncer"]
        for peer in peers:
            if isinstance(workload, Copy):
                instructions = 0.0
            elif peer == "lull":
                instructions = instructions_of_lull(rig, workload, entrance, lambda work: per_transaction(work, few, many))
            else:
                instructions = instructions_of_pgbouncer(rig, workload, entrance, few, many)
            made = per_transaction(calls(rig.target(peer, entrance, False), workload), few, many)
            most = sorted(made.items(), key=lambda one: -one[1])[:6]
            yield name, peer, instructions, sum(made.values()), " ".join(f"{call} {each:.2f}" for call, each in most if each >= 0.05)
