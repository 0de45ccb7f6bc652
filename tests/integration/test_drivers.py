"""Drivers that applications use, run through Lull with and without TLS: prepared statements, transactions, COPY, errors, cancel, a
server that restarts and a window, each by the driver's own means. The programs stand in drivers/; at each step that they print
they wait until it is done."""
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


@pytest.fixture(scope="module", params=["plain", "tls"])
def through(request, cluster, certificate):
    change = {}
    if request.param == "tls":
        change = {"client_tls": {"mode": "require", "certificate": certificate.certificate, "key": certificate.key}}
    lull = Lull(cluster, change)
    try:
        yield request.param, lull.start()
    finally:
        lull.remove()


@pytest.mark.parametrize("driver", DRIVERS)
def test_driver(driver, through, work, authority, cluster, tables, tmp_path):
    how, lull = through
    cluster.primary.sql("CREATE TABLE driver_rows (driver text, n int); ALTER TABLE driver_rows OWNER TO app", db="shop")
    environment = dict(os.environ, PORT=str(lull.port), PASSWORD=c.APP_PASSWORD, TLS="1" if how == "tls" else "0", CA=authority.ca,
                       FOLDER=str(tmp_path))
    program = subprocess.Popen([part.format(work=work) for part in DRIVERS[driver]], env=environment, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent(), cwd=work)
    do = {"restart": lambda: restart(cluster, lull), "seal": lull.on, "open": lull.off}
    steps = []
    try:
        for line in program.stdout:
            steps.append(line.strip())
            if steps[-1] == "done":
                break
            do[steps[-1]]()
            program.stdin.write("\n")
            program.stdin.flush()
        problem = program.stderr.read() if steps[-1:] != ["done"] else ""
    finally:
        program.kill()
        program.communicate()
        lull.open_all()
    assert steps == ["restart", "seal", "open", "done"], problem
    assert cluster.primary.one("SELECT count(*) FROM driver_rows WHERE driver = %s", (driver,), db="shop") == 1002


def restart(cluster, lull):
    cluster.primary.restart()
    cluster.wait_streaming()
    lull.wait_ready()
