"""One round: servers of its own, 100 clients, the operator and the chaos, and the verdict. From the command line as many as
fit into the time, see tests/torture.sh."""
import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from harness import cluster as servers  # noqa: E402
from harness.lull import ROOT, Lull  # noqa: E402
from harness.ports import free_port  # noqa: E402
from harness.process import die_with_parent  # noqa: E402
from harness.wait import wait_for  # noqa: E402
from torture.chaos import Chaos  # noqa: E402
from torture.judge import OUTSIDER, Judge  # noqa: E402
from torture.flips import Operator  # noqa: E402
from torture.plan import CHAOS, Plan  # noqa: E402

CLIENTS = 100
PROCESSES = 2
OUTSIDERS = 3

FENCE_PASSWORD = "fence-secret"

# What the judge reads. The log says what was sent, and not again what failed.
SETTINGS = {"log_statement": "all", "log_line_prefix": "%p ", "log_min_messages": "log", "log_min_error_statement": "panic",
            "log_checkpoints": "off", "wal_keep_size": "1GB", "max_wal_size": "2GB"}


class Cluster(servers.Cluster):
    def start(self):
        self.primary.initdb()._append_settings(SETTINGS)
        self.primary.start()
        self.primary.sql(servers.ROLES)
        self.primary.sql("CREATE DATABASE shop OWNER app")
        with open(os.path.join(ROOT, "deploy", "fence-role.sql")) as text:
            script = "".join(line for line in text if not line.startswith("--"))
        self.primary.sql(script.replace(":'password'", f"'{FENCE_PASSWORD}'"))
        # A setting of his own, which would win over the database's.
        self.primary.sql(f"ALTER ROLE {OUTSIDER} IN DATABASE shop SET default_transaction_read_only = off")
        self.standby.basebackup_of(self.primary).start()
        self.fresh_tables()
        return self

    def fresh_tables(self):
        self.primary.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION app; "
                         "GRANT ALL ON SCHEMA public TO app, shop_owner, other; SET ROLE app", db="shop")
        with open(os.path.join(HERE, "schema.sql")) as schema:
            self.primary.sql(schema.read(), db="shop")
        self.primary.sql("RESET ROLE", db="shop")
        self.standby.resume()
        self.catch_up()


class Report:
    """What a round came to, or several."""

    def __init__(self):
        self.counts, self.errors, self.violations, self.rounds = Counter(), Counter(), [], 0

    def add(self, other):
        self.counts += other.counts
        self.errors += other.errors
        self.violations += other.violations
        self.rounds += other.rounds

    def kinds(self):
        return {kind for kind, _ in self.violations}

    def __str__(self):
        c, v = self.counts, Counter(kind for kind, _ in self.violations)
        kills = {name: n for name, n in sorted(c.items()) if name.startswith(("kill", "terminate", "cut"))}
        operations = {name: n for name, n in sorted(c.items()) if name.startswith("op ")}
        lines = [
            f"rounds {self.rounds}, clients {CLIENTS} each (connections made {c['connections']}), statements "
            + ", ".join(f"{name[3:]} {n}" for name, n in operations.items()),
            f"writes: acknowledged {c['acknowledged']}, refused or given up {c['never']}, outcome unknown to the client "
            f"{c['unknown']} (found {c['unknown and found']}), sent to the primary {c['sent to the primary']}",
            f"reads {c['reads']}: failed {v['failed read']}; while something was dead, and not counted: {c['failed in trouble']}",
            f"flips {c['flips']}, sealed windows {c['windows']} (frozen {c['frozen windows']}, fenced {c['fenced windows']}), not entered {c['not entered']}, "
            f"commits of the migration {c['commits of the migration']}",
            f"commits past Lull in windows without a fence {c['commits past Lull']}, of which verify said nothing {v['not reported']}",
            f"writes journaled since Lull was last started {c['journaled']}",
            "kills: " + (", ".join(f"{name} {n}" for name, n in kills.items()) or "none"),
            "errors that clients saw: " + (", ".join(f"{n} x {what}" for what, n in self.errors.most_common(12)) or "none"),
            f"commits while sealed {v['committed while sealed']}, sequences moved there by what was undone {c['sequences moved and undone']}, "
            f"lost {v['lost']}, done or sent twice {v['doubled']}, refused and done {v['refused and done']}, "
            f"windows reopened by themselves {v['reopened by itself']}, fences that were missing or left {v['sealed without its fence'] + v['fence left']}, wrong answers {v['wrong answer']}",
        ]
        return "\n".join("  " + line for line in lines)


def settings(primary):
    return primary.sql("SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2")


def round_(cluster, seed, seconds, standby=True, chaos=None, environment=None, fence=None, outsiders=OUTSIDERS):
    """Plays one round and returns its Report. `environment`: for the process of Lull alone. `fence`: else as planned."""
    plan = Plan(seed, seconds, standby, chaos)
    plan.fence = plan.fence if fence is None else fence
    cluster.fresh_tables()
    unfenced = settings(cluster.primary)
    port = free_port()
    gate = subprocess.Popen([sys.executable, os.path.join(HERE, "gate.py"), str(port), str(cluster.primary.port)],
                            stdin=subprocess.PIPE, preexec_fn=die_with_parent())
    lull = Lull(cluster, {
        "clusters": {"main": {"primary": f"127.0.0.1:{port}", "pool_size": 30}},
        "sites": {"held": None, "shop": {"writes": plan.writes, "write_rules": [{"applications": ["journaled *"], "action": "journal"}], "hold": {"max_age": "3s"}, "seal_timeout": "10s"}},
    }, replicas=standby)
    if plan.fence:
        lull.config["clusters"]["main"]["fence"] = {"user": "lull_fence", "password": FENCE_PASSWORD}
        lull.config["sites"]["shop"]["fence"] = "required"
    lull.extra_environment = environment or {}
    children = []
    try:
        lull.start()
        judge = Judge(cluster.primary)
        operator = Operator(lull, judge, plan, servers.OWNER_PASSWORD)
        disturber = Chaos(lull, cluster, gate, operator)
        for process in range(PROCESSES):
            numbers = [process * CLIENTS // PROCESSES, (process + 1) * CLIENTS // PROCESSES]
            children.append(start_clients(port=lull.port, user="app", password=servers.APP_PASSWORD, seed=seed, numbers=numbers,
                                          seconds=seconds, pause=0.3))
        children.append(start_clients(port=cluster.primary.port, user=OUTSIDER, password="other-secret", seed=seed,
                                      numbers=[900, 900 + outsiders], seconds=seconds, pause=0.6, outsiders=True))
        began = time.monotonic()
        operator.start()
        for event in plan.events:
            time.sleep(max(0.0, began + event.at - time.monotonic()))
            disturber.do(event)
        books = [book for child in children for book in json.loads(child.communicate(timeout=seconds + 60)[0])]
        operator.stop.set()
        operator.join(120)
        assert not operator.is_alive() and operator.problem is None, f"the operator is stuck: {operator.problem!r}\n{lull.log()[-4000:]}"
        assert gate.poll() is None, "the gate died"
        assert lull.alive, f"Lull died:\n{lull.log()[-4000:]}"
        wait_for(lambda: lull.site()["mode"] == "read_write" and lull.site()["journal"]["pending"] == 0, "the journal has run", 60)
        left = None
        try:
            wait_for(lambda: lull.site()["fence"]["state"] == "none" and settings(cluster.primary) == unfenced, "no fence is left", 10)
        except AssertionError:
            left = f"{lull.site()['fence']}, {settings(cluster.primary)}"
            cluster.primary.sql("ALTER DATABASE shop RESET default_transaction_read_only")
            cluster.primary.sql(f"ALTER ROLE {OUTSIDER} IN DATABASE shop SET default_transaction_read_only = off")
        operator.violations += [("fence left", left)] if left else []
        operator.counts["journaled"] = lull.site()["journaled"]
        if lull.site()["journal"]["kept"]:
            operator.violations.append(("lost", f"the journal was not all done: {lull.cli('journal', 'shop').stdout[-2000:]}"))
        wait_for(lambda: not cluster.primary.backends("datname = 'shop' AND usename = 'app' AND state <> 'idle'"), "all is over", 30)
        return sum_up(judge, operator, disturber, books)
    finally:
        for child in [*children, gate]:
            child.kill()
            child.wait(10)
        for server in (cluster.primary, cluster.standby):
            if not server.running:
                server.start()
        lull.remove()


def start_clients(**arguments):
    return subprocess.Popen([sys.executable, os.path.join(HERE, "clients.py"), json.dumps(arguments)], stdout=subprocess.PIPE,
                            preexec_fn=die_with_parent())


def sum_up(judge, operator, disturber, books):
    report = Report()
    report.rounds = 1
    outcomes = {}
    for book in books:
        outcomes.update(book["outcomes"])
        report.counts["reads"] += book["reads"]
        report.counts["connections"] += book["connections"]
        report.counts.update({f"op {name}": n for name, n in book["operations"].items()})
        report.errors.update(book["errors"])
        report.violations += [("wrong answer", text) for text in book["wrong"]]
        for began, ended, text in book["failed_reads"]:
            if any(begin <= ended and began <= end for begin, end in disturber.troubles):
                report.counts["failed in trouble"] += 1
            else:
                report.violations.append(("failed read", text))
    violations, counts = judge.verdict(outcomes)
    found = {token for token, in judge.primary.sql("SELECT token FROM ledger WHERE role = 'shop_owner'", db="shop")}
    violations += [("lost", f"{token} of the migration") for token in operator.migrated if token not in found]
    report.violations += violations + operator.violations
    report.counts += Counter(counts) + Counter(operator.counts) + Counter(disturber.counts)
    return report


def main():
    parser = argparse.ArgumentParser(prog="tests/torture.sh", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; each has the next")
    parser.add_argument("--round-seconds", type=float, default=60)
    parser.add_argument("--chaos", default=None, help=f"kinds of it, commas between, '' for none: {', '.join(CHAOS)}")
    parser.add_argument("--keep-going", action="store_true", help="play on after a violation")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1_000_000)
    chaos = None if options.chaos is None else [name for name in options.chaos.split(",") if name]
    until = time.monotonic() + options.minutes * 60
    whole = Report()
    cluster = Cluster()
    try:
        cluster.start()
        while whole.rounds == 0 or time.monotonic() + options.round_seconds < until:
            standby = seed % 2 == 0
            print(f"seed {seed}, {'with standby' if standby else 'primary alone'}", flush=True)
            one = round_(cluster, seed, options.round_seconds, standby, chaos)
            whole.add(one)
            print(one, flush=True)
            for kind, text in one.violations[:20]:
                print(f"  VIOLATION {kind}: {text}", flush=True)
            if one.violations and not options.keep_going:
                break
            os.truncate(cluster.primary.log, 0)
            seed += 1
    finally:
        cluster.remove()
    print(f"in all:\n{whole}\n{len(whole.violations)} violations")
    sys.exit(1 if whole.violations else 0)


if __name__ == "__main__":
    main()
