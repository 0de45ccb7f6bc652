"""Drivers that applications use, run through Lull in session mode, and with TLS in transaction mode: prepared statements, transactions,
COPY, errors, cancel, a server that restarts and a window, each by the driver's own means. The programs stand in drivers/; at each
step that they print they wait until it is done. Three run side by side, and a step is done for all of them at once."""
import os
import shutil
import subprocess

import pytest

from harness import cluster as c
from harness.certificates import Authority
from harness.lull import Lull
from harness.process import die_with_parent

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drivers")
PYTHON = "/usr/bin/python3"
JDBC = "/usr/share/java/postgresql.jar"

DRIVERS = {
    "psycopg2": [PYTHON, f"{HERE}/psycopg2_client.py"],
    "psycopg3": [PYTHON, f"{HERE}/psycopg3_client.py"],
    "asyncpg": [PYTHON, f"{HERE}/asyncpg_client.py"],
    "node-pg": ["node", "{work}/node_pg_client.mjs"],
    "postgres.js": ["node", "{work}/postgres_js_client.mjs"],
    "jdbc": ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", JDBC, f"{HERE}/JdbcClient.java"],
    "lib/pq": ["{work}/lib_pq_client"],
    "ruby-pg": ["ruby", f"{HERE}/ruby_pg_client.rb"],
    "php-pdo": ["php", f"{HERE}/php_pdo_client.php"],
}

GROUPS = [list(DRIVERS)[at::3] for at in range(3)]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Where the packages of the npm registry are, and what has to be compiled."""
    folder = tmp_path_factory.mktemp("drivers")
    for name in ("package.json", "node_pg_client.mjs", "postgres_js_client.mjs"):
        shutil.copy(f"{HERE}/{name}", folder)
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True, timeout=300)
    subprocess.run(["go", "build", "-o", f"{folder}/lib_pq_client", f"{HERE}/lib_pq_client.go"], check=True, timeout=600, cwd=folder,
                   env=dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOCACHE=f"{folder}/cache", GOFLAGS=""))
    return folder


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue("localhost", ["localhost", "127.0.0.1"])


@pytest.fixture(scope="module", params=["session", "transaction"])
def through(request, cluster, certificate):
    """Whether with TLS, and a Lull."""
    tls = request.param == "transaction"
    change = {"sites": {"shop": {"pool_mode": request.param}}}
    if tls:
        change["client_tls"] = {"mode": "require", "certificate": certificate.certificate, "key": certificate.key}
    lull = Lull(cluster, change)
    try:
        yield tls, lull.start()
    finally:
        lull.remove()


class Program:
    """A driver's program: its steps as they come, None when it has ended."""

    def __init__(self, driver, work, **environment):
        self.driver = driver
        self.steps = []
        self.process = subprocess.Popen([part.format(work=work) for part in DRIVERS[driver]], cwd=work, text=True,
                                        env=dict(os.environ, **environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, preexec_fn=die_with_parent())

    def step(self):
        line = self.process.stdout.readline()
        if line:
            self.steps.append(line.strip())
        return line.strip() or None

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        """What it complained about, if it did not come to its end."""
        problem = "" if self.steps[-1:] == ["done"] else self.process.stderr.read()
        self.process.kill()
        self.process.communicate()
        return problem


@pytest.mark.parametrize("drivers", GROUPS, ids="+".join)
def test_drivers(drivers, through, work, authority, cluster, tables, tmp_path):
    tls, lull = through
    cluster.primary.sql("CREATE TABLE driver_rows (driver text, n int); ALTER TABLE driver_rows OWNER TO app", db="shop")
    programs = []
    for driver in drivers:
        folder = tmp_path / driver.replace("/", "-")
        folder.mkdir()
        programs.append(Program(driver, work, PORT=str(lull.port), PASSWORD=c.APP_PASSWORD, TLS="1" if tls else "0", CA=authority.ca,
                                FOLDER=str(folder)))
    do = {"restart": lambda: restart(cluster, lull), "seal": lull.on, "open": lull.off}
    try:
        for name, act in do.items():
            going = [one for one in programs if one.step() == name]
            act()
            for one in going:
                one.go_on()
        for one in programs:
            one.step()
    finally:
        problems = {one.driver: one.end() for one in programs}
        lull.open_all()
    for one in programs:
        assert one.steps == [*do, "done"], f"{one.driver}: {problems[one.driver]}"
        assert cluster.primary.one("SELECT count(*) FROM driver_rows WHERE driver = %s", (one.driver,), db="shop") == 1002, one.driver


def restart(cluster, lull):
    cluster.primary.restart()
    cluster.wait_streaming()
    lull.wait_ready()
