"""Real servers, made once: a primary and a hot standby; and the real binary, one a module unless a test needs its own.

    /usr/bin/python3 -m pytest tests/integration [-k ...]

LULL_BINARY names the binary; without it the newest of build/{ci,release,debug}/proxy/lull is taken.
"""
import faulthandler
import os
import pickle
import signal
import sys
import threading

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import cluster as cluster_module  # noqa: E402
from harness import lull as lull_module  # noqa: E402
from harness import postgres18 as postgres18_module  # noqa: E402
from harness import report  # noqa: E402

differential_report = report.DifferentialReport()


@pytest.fixture(scope="session")
def cluster():
    servers = cluster_module.Cluster()
    try:
        yield servers.start()
    finally:
        servers.remove()


@pytest.fixture(scope="session")
def primary(cluster):
    return cluster.primary


@pytest.fixture(scope="session")
def standby(cluster):
    return cluster.standby


@pytest.fixture(scope="session")
def pg_primary(cluster):
    return cluster.primary


@pytest.fixture(scope="session")
def postgres18():
    installed = postgres18_module.Postgres18()
    yield installed
    installed.remove()


@pytest.fixture(scope="session")
def differential():
    return differential_report


# With -n, tests run in processes of their own, which tell the one that sums up.
def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["differential"] = pickle.dumps(differential_report.played)


def pytest_configure(config):
    if config.getoption("numprocesses", None):
        config.pluginmanager.register(DifferentialOfWorkers())


class DifferentialOfWorkers:
    def pytest_testnodedown(self, node, error):
        if "differential" in getattr(node, "workeroutput", {}):
            differential_report.merge(pickle.loads(node.workeroutput["differential"]))


def pytest_terminal_summary(terminalreporter):
    for line in differential_report.lines():
        terminalreporter.write_line(line)


@pytest.fixture(scope="module")
def shared_lull(cluster):
    """One for all tests of a module that change nothing of its configuration."""
    one = lull_module.Lull(cluster)
    try:
        yield one.start()
    finally:
        one.remove()


@pytest.fixture
def tables(cluster):
    """The tables as at first, replayed on the standby."""
    cluster.reset("shop", "held")


@pytest.fixture
def lull(shared_lull, tables):
    """The module's Lull, every site read_write, and the tables as at first. What a test leaves is put right."""
    if not shared_lull.alive:
        if shared_lull.process is not None:
            shared_lull.process = None
        shared_lull.start()
    shared_lull.open_all()
    yield shared_lull
    assert shared_lull.alive, f"lull died during the test:\n{shared_lull.log()[-5000:]}"
    shared_lull.open_all()


@pytest.fixture(scope="module")
def shared_one(cluster):
    single = lull_module.Lull(cluster, lull_module.ONE)
    try:
        yield single.start()
    finally:
        single.remove()


@pytest.fixture
def one(shared_one, tables):
    """The module's Lull with a single server connection, every site read_write, and the tables as at first."""
    shared_one.open_all()
    return shared_one


@pytest.fixture
def make_lull(cluster, tables):
    """Starts Lulls with a configuration of their own: make_lull({...changes...}, replicas=True, start=True)."""
    made = []

    def make(change=None, replicas=True, start=True):
        one = lull_module.Lull(cluster, change, replicas)
        made.append(one)
        return one.start() if start else one

    yield make
    problems = []
    for one in made:
        try:
            one.remove()
        except AssertionError as error:
            problems.append(str(error))
    assert not problems, "\n".join(problems)


# Begun first: where files run side by side, the longest must not be left alone at the end.
LONGEST = ["test_torture.py", "test_drivers.py", "test_differential.py", "test_escapes.py"]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """No test hangs: one that waits for what does not come fails, and shows where."""

    def too_long(*_):
        raise AssertionError("the test hangs")

    limit = 60 + 6 * int(float(os.environ.get("LULL_TORTURE_SECONDS", "20"))) * ("torture" in item.nodeid)
    # Where files run side by side it is left to chance whether the tests get the main thread, which alone takes signals.
    if threading.current_thread() is not threading.main_thread():
        faulthandler.dump_traceback_later(limit, exit=True, file=sys.__stderr__)
        yield
        faulthandler.cancel_dump_traceback_later()
        return
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(limit)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pytest_runtest_makereport(item, call):
    """A failing test shows the end of what its Lulls logged."""
    if call.when != "call" or call.excinfo is None:
        return
    for name in ("shared_lull", "lull"):
        one = item.funcargs.get(name) if hasattr(item, "funcargs") else None
        if one is not None:
            item.add_report_section("call", "lull's log", one.log()[-4000:])
            return
