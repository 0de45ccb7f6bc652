"""What clients do, and what each transaction of it costs: every function returns {metric: value}, of one round."""
import glob
import ssl
import tempfile
import time

import meters
from harness import bench
from harness import wire as w
from harness.wire import Wire
from targets import PASSWORD

BIG_SQL = "SELECT id, pad FROM bench_copy WHERE id <= 100000"  # about 10 MB
COPY_OUT = "COPY bench_copy TO STDOUT"
COPY_IN = "COPY bench_sink FROM STDIN WHERE id < 0"
ROW = b"1\tabcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnop\n"


def prepare(primary, bulk=True):
    """The tables of all workloads, once; without `bulk`, those of pgbench alone."""
    made = bench.run(primary.port, PASSWORD, "-i", "-q", "-s", "10" if bulk else "1")
    assert made.status == 0, made.text
    if not bulk:
        return
    for sql in ("CREATE TABLE bench_copy (id int, pad text)",
                "INSERT INTO bench_copy SELECT i, repeat(md5(i::text), 3) FROM generate_series(1, 1000000) i",
                "CREATE INDEX ON bench_copy (id)",
                "CREATE UNLOGGED TABLE bench_sink (id int, pad text)",
                "GRANT ALL ON bench_copy, bench_sink TO app",
                "VACUUM ANALYZE"):
        primary.sql(sql, db="bench")


def connect(target):
    """A logged-in client that parses as little as it can, so that it is never the slowest part."""
    wire = Wire("127.0.0.1", target.port, timeout=60)
    if target.entrance.tls:
        context = ssl.create_default_context(cafile=target.entrance.ca)
        wire.start_tls(context, "localhost")
    return wire.login("app", PASSWORD, "bench")


class Pgbench:
    """`arguments` as pgbench takes them; `sql` in place of its own script."""

    def __init__(self, *arguments, sql=None, sampled=0.25):
        self.arguments, self.sql, self.sampled = arguments, sql, sampled

    def run(self, target, *limit):
        """(Result of pgbench, latencies in ms, ascending)."""
        with tempfile.TemporaryDirectory(prefix="lull-bench-") as folder:
            more = ["-l", "--log-prefix", f"{folder}/log", "--sampling-rate", str(self.sampled)]
            if self.sql:
                with open(f"{folder}/script", "w") as out:
                    out.write(self.sql + ";\n")
                more += ["-f", f"{folder}/script"]
            done = bench.run(target.port, PASSWORD, *self.arguments, *limit, *more)
            assert done.clean, f"pgbench through {target.name}: {done.text[-1000:]}"
            latencies = []
            for path in glob.glob(f"{folder}/log*"):
                with open(path) as log:
                    latencies += [int(line.split(" ", 3)[2]) / 1000 for line in log]
        return done, sorted(latencies)

    def measure(self, target, seconds):
        before, began = meters.cpu_seconds(target.pid), time.monotonic()
        done, latencies = self.run(target, "-T", str(seconds))
        spent, wall = meters.cpu_seconds(target.pid) - before, time.monotonic() - began
        return {"cpu_us": spent * 1e6 / done.done, "tps": done.done / wall, "p50_ms": _at(latencies, 0.5),
                "p99_ms": _at(latencies, 0.99)}

    def transactions(self, target, each):
        """Runs `each` transactions a client; how many that were in all."""
        return self.run(target, "-t", str(each))[0].done


class Copy:
    """One connection, COPY of about 100 MB out or 36 MB in; a transaction is a megabyte."""

    def __init__(self, direction):
        self.once = {"out": _copy_out, "in": _copy_in}[direction]

    def measure(self, target, seconds):
        with connect(target) as client:
            before, began, total = meters.cpu_seconds(target.pid), time.monotonic(), 0
            while time.monotonic() - began < seconds:
                total += self.once(client)
            spent, wall = meters.cpu_seconds(target.pid) - before, time.monotonic() - began
        return {"cpu_us": spent / total * 1e12, "tps": total / 1e6 / wall}

    def transactions(self, target, each):
        """Copies `each` times; how many megabytes that were."""
        with connect(target) as client:
            return sum(self.once(client) for _ in range(each)) / 1e6


def _copy_out(client, room=memoryview(bytearray(1 << 20))):
    client.send(w.query(COPY_OUT))
    total, tail = 0, b""
    while tail != w.message("Z", b"I"):
        count = client.socket.recv_into(room)
        assert count, "closed within COPY"
        total += count
        tail = (tail + bytes(room[max(0, count - 6):count]))[-6:]
    return total


def _copy_in(client, chunk=w.copy_data(ROW) * 4000):
    begun = client.send(w.query(COPY_IN)).until("GE")
    assert begun[-1].type == "G", begun
    for _ in range(100):
        client.send(chunk)
    done = client.ask(w.copy_done())
    assert w.tags(done) == ["COPY 0"], done
    return len(chunk) * 100


class Idle:
    """Clients that logged in, asked once and then wait: memory of each, and the CPU time of all, in a fresh process."""

    def __init__(self, clients):
        self.clients = clients

    def measure(self, target, seconds):
        Pgbench("-S", "-c", "20").transactions(target, 50)  # what is made once is not counted against clients
        before = meters.rss_kib(target.pid)
        clients = []
        try:
            for _ in range(self.clients):
                clients.append(connect(target))
                assert clients[-1].one("SELECT 1") == "1"
            time.sleep(3)  # each is looked at once more
            rss = (meters.rss_kib(target.pid) - before) / self.clients
            spent, began = meters.cpu_seconds(target.pid), time.monotonic()
            time.sleep(max(seconds, 5))
            idle = (meters.cpu_seconds(target.pid) - spent) / (time.monotonic() - began)
        finally:
            for client in clients:
                client.close()
        return {"rss_kib": rss, "idle_ms_s": idle * 1000}


def _at(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
