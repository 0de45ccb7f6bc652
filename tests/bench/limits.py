"""What must hold: each limit with the workload it is measured on. Ratios are to the named peer in the same round."""
from dataclasses import dataclass, field

from workloads import BIG_SQL, Copy, Idle, Pgbench


@dataclass
class Ratio:
    """The metric of Lull over that of the peer, at most."""
    peer: str
    at_most: float
    metric: str = "cpu_us"


@dataclass
class Absolute:
    """A metric of Lull itself, at most."""
    metric: str
    at_most: float


@dataclass
class Case:
    name: str
    workload: object
    limits: list
    entrance: str = "plain"  # plain (trust), scram or tls
    fresh: bool = False  # needs processes that nothing has run through before
    rounds: int = 0  # other than the run's own
    beside: list = field(default_factory=list)  # peers that are measured too, without a limit
    peers: list = field(init=False)

    def __post_init__(self):
        self.peers = list(dict.fromkeys([*(limit.peer for limit in self.limits if isinstance(limit, Ratio)), *self.beside]))


def pooled(most, *more):
    return [Ratio("pgbouncer", most), *more]


CASES = [
    Case("simple, 1 client", Pgbench("-S", "-c", "1"), pooled(1.0)),
    Case("simple, 16 clients", Pgbench("-S", "-c", "16", "-j", "2"), pooled(1.0)),
    Case("simple, 64 clients", Pgbench("-S", "-c", "64", "-j", "2"), pooled(1.0)),
    Case("extended, 16 clients", Pgbench("-S", "-M", "extended", "-c", "16", "-j", "2"), pooled(1.0)),
    Case("prepared, 16 clients", Pgbench("-S", "-M", "prepared", "-c", "16", "-j", "2"), [Ratio("haproxy-tcp", 1.1)]),
    Case("prepared, 64 clients", Pgbench("-S", "-M", "prepared", "-c", "64", "-j", "2"), [Ratio("haproxy-tcp", 1.1)]),
    Case("TPC-B, 16 clients", Pgbench("-c", "16", "-j", "2"), pooled(1.0)),
    Case("result of 10 MB", Pgbench("-c", "2", "-j", "2", sql=BIG_SQL, sampled=1), pooled(0.5)),
    Case("COPY out, per MB", Copy("out"), pooled(0.5, Ratio("pgbouncer-64k", 0.9))),
    Case("COPY in, per MB", Copy("in"), pooled(0.45, Ratio("pgbouncer-64k", 0.9))),
    Case("connect, trust", Pgbench("-S", "-C", "-c", "8", "-j", "2", sampled=1), pooled(1.0)),
    Case("connect, SCRAM", Pgbench("-S", "-C", "-c", "8", "-j", "2", sampled=1), pooled(1.0), "scram"),
    Case("connect, TLS", Pgbench("-S", "-C", "-c", "8", "-j", "2", sampled=1), pooled(0.9), "tls"),
    Case("2,000 tx/s, 16 clients", Pgbench("-S", "-c", "16", "-j", "2", "-R", "2000", sampled=1), [Ratio("pgbouncer", 1.0, "p99_ms")]),
    Case("idle, 5,000 clients", Idle(5000), [Absolute("rss_kib", 1.5), Absolute("idle_ms_s", 1.0)], fresh=True, rounds=1,
         beside=["pgbouncer"]),
    Case("idle, 5,000 TLS clients", Idle(5000), [Absolute("rss_kib", 16.0)], "tls", fresh=True, rounds=1, beside=["pgbouncer"]),
]

# Steady on a busy machine, so these gate. Of a simple query:
CALLS = {1: 6.1, 16: 4.5}
SENDS = 2.0  # one to the server and one to the client
# Of queries by the protocol they come with, in user space of the worker's thread:
INSTRUCTIONS = {"simple": 4500, "extended": 5800, "prepared": 5800}
