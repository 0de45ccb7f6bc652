"""Kills, and brings back. Runs on the thread that has started the servers: they die with it."""
import contextlib
import os
import random
import signal
import time

from harness.process import alive
from harness.wait import wait_for

# Behind a recovery, for those who connect again.
AFTERMATH = 1.5


class Chaos:
    def __init__(self, lull, cluster, gate, operator):
        self.lull, self.cluster, self.gate, self.operator = lull, cluster, gate, operator
        self.troubles = []  # (from, to): reads may fail
        self.counts = {}

    def do(self, event):
        began = time.time()
        dice = random.Random(event.seed)
        getattr(self, event.what.replace(" ", "_"))(dice)
        self.counts[event.what] = self.counts.get(event.what, 0) + 1
        self.troubles.append((began, time.time() + AFTERMATH))

    def kill_lull(self, dice):
        self.lull.kill9()
        if dice.random() < 0.5:
            time.sleep(dice.uniform(0, 0.5))
        self.lull.start(wait=False)
        wait_for(lambda: self.lull.admin("GET", "/status")[0] == 200, "Lull is back", 30)

    def kill_lull_while_entering(self, dice):
        if self.operator.entering.wait(3):
            time.sleep(dice.uniform(0, 0.15))
        self.kill_lull(dice)

    def kill_lull_while_sealed(self, dice):
        self.operator.sealed.wait(3)
        self.kill_lull(dice)

    def backends(self):
        return [pid for pid, in self.cluster.primary.sql("SELECT pid FROM pg_stat_activity WHERE datname = 'shop' AND "
                                                         "usename = 'app' ORDER BY pid")]

    def terminate_backends(self, dice):
        pids = self.backends()
        for pid in dice.sample(pids, min(len(pids), dice.randrange(1, 5))):
            self.cluster.primary.sql("SELECT pg_terminate_backend(%s)", (pid,))

    def cut_connections(self, dice):
        self.gate.stdin.write(f"cut {dice.randrange(1, 12)} {dice.randrange(1 << 30)}\n".encode())
        self.gate.stdin.flush()

    def kill_a_backend(self, dice):
        """SIGKILL: the whole server starts anew, as after any crash."""
        pids = self.backends()
        if not pids:
            return
        primary = self.cluster.primary
        primary.forget_connections()
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself meanwhile
            os.kill(dice.choice(pids), signal.SIGKILL)
        time.sleep(0.05)
        wait_for(lambda: self.answers(primary), "the primary recovers", 60)

    def answers(self, server):
        with server.connect() as one:
            return one.execute("SELECT NOT pg_is_in_recovery()").fetchone()[0]

    def kill_server(self, server, dice):
        server.forget_connections()
        # It makes no more of them now: one that comes between the look and the kill would wait for ever for a lock of the dead.
        server.process.send_signal(signal.SIGSTOP)
        with open(f"/proc/{server.process.pid}/task/{server.process.pid}/children") as children:
            pids = [int(pid) for pid in children.read().split()]
        server.process.kill()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        server.process.wait(10)
        server.process = None
        wait_for(lambda: not any(alive(pid) for pid in pids), f"{server.name} is gone", 30)
        if dice.random() < 0.5:
            time.sleep(dice.uniform(0, 0.5))
        server.start()

    def kill_the_primary(self, dice):
        self.kill_server(self.cluster.primary, dice)

    def kill_the_standby(self, dice):
        self.kill_server(self.cluster.standby, dice)
