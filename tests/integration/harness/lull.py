"""The real binary under test: writes its configuration, starts it, asks it, stops it, kills it."""
import copy
import glob
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile

import psycopg
import psycopg2
import yaml

from . import cluster as c
from .ports import free_port
from .process import die_with_parent
from .wait import wait_for
from .wire import Wire

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def binary():
    """$LULL_BINARY, or the newest that a preset built."""
    named = os.environ.get("LULL_BINARY")
    if named:
        return os.path.abspath(named)
    built = [path for preset in ("ci", "release", "debug") for path in glob.glob(f"{ROOT}/build/{preset}/proxy/lull")]
    if not built:
        raise RuntimeError("no lull binary: build one (cmake --preset ci && ninja -C build/ci lull) or set LULL_BINARY")
    return max(built, key=os.path.getmtime)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def merge(base, change):
    """`change` laid over `base`; None takes a key away."""
    result = copy.deepcopy(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


# One worker and one server connection: whatever a client leaves behind, the next one would see.
ONE = {"workers": 1, "clusters": {"main": {"pool_size": 1}}}


class Lull:
    """`change` is laid over the usual configuration (see usual_config)."""

    def __init__(self, cluster, change=None, replicas=True):
        self.cluster = cluster
        self.folder = tempfile.mkdtemp(prefix="lull-serve-")
        self.state_dir = os.path.join(self.folder, "state")
        self.socket = os.path.join(self.folder, "admin.sock")
        self.config_file = os.path.join(self.folder, "lull.yaml")
        self.log_file = os.path.join(self.folder, "log")
        self.port = free_port()
        self.migration_port = free_port()
        self.process = None
        self.extra_environment = {}
        self.run_under = []  # a command that runs it: valgrind, strace
        self.config = merge(self.usual_config(replicas), change or {})
        # A test may move these; the helpers below follow.
        self.socket = self.config["admin_socket"]
        self.state_dir = self.config["state_dir"]

    def usual_config(self, replicas):
        main = {
            "primary": f"127.0.0.1:{self.cluster.primary.port}",
            "control": {"user": "lull", "password": c.CONTROL_PASSWORD, "database": "postgres"},
            "auth_query": {"user": "lull_auth", "password": c.AUTH_PASSWORD, "database": "postgres"},
            "probe_interval": "50ms",
            "catalog_interval": "250ms",
        }
        if replicas:
            main["replicas"] = [f"127.0.0.1:{self.cluster.standby.port}"]
        return {
            "listen": {"postgres": f"127.0.0.1:{self.port}", "migration": f"127.0.0.1:{self.migration_port}"},
            "auth": "scram-sha-256",
            "admin_socket": self.socket,
            "state_dir": self.state_dir,
            "workers": 2,
            "clusters": {"main": main},
            "sites": {
                "shop": {"cluster": "main", "databases": ["shop"], "migration": {"users": ["shop_owner"]}, "writes": "refuse"},
                "held": {"cluster": "main", "databases": ["held"], "migration": {"users": ["shop_owner"]}, "writes": "hold"},
            },
            "users": {
                "app": {"password": c.APP_PASSWORD},
                "other": {"password": "other-secret"},
                "shop_owner": {"password": c.OWNER_PASSWORD},
                "verifier_user": {"password": self.cluster.verifier_of("verifier_user")},
            },
        }

    # -- running it -----------------------------------------------------------------------------------------------

    def write_config(self, config=None):
        if config is not None:
            self.config = config
        with open(os.open(self.config_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(self.config if isinstance(self.config, str) else yaml.safe_dump(self.config, sort_keys=False))

    def start(self, wait=True):
        assert self.process is None
        self.write_config()
        log = open(self.log_file, "ab")
        self.process = subprocess.Popen([*self.run_under, binary(), "serve", "--config", self.config_file], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log, preexec_fn=die_with_parent(),
                                        env=dict(os.environ, **self.extra_environment))
        log.close()
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                return True
            return self.admin("GET", "/status")[0] == 200

        wait_for(ready, "lull answers on its admin socket", 20)
        assert self.process.poll() is None, f"lull ended with {self.process.returncode}:\n{self.log()}"
        wait_for(self._probed, "lull has probed its servers", 20)

    def _probed(self):
        """All servers that run are known to be healthy, and how fresh their data is."""
        running = [server for server in (self.cluster.primary, self.cluster.standby) if server.running]
        up = {f"{host}:{server.port}" for host in ("127.0.0.1", "localhost") for server in running}
        sites = [self.site(name) for name in self.config["sites"]]
        asks = all("control" in cluster for cluster in self.config["clusters"].values()) and self.cluster.primary.running
        if asks and not all(one["known"] or one["trouble"] for site in sites for one in site["catalogs"]):
            return False
        closed = any(site["mode"] != "read_write" for site in sites)  # a frozen replica is not fresh
        for backend in (backend for site in sites for backend in site["backends"]):
            fresh = closed or backend["role"] == "primary" or backend["lag_ms"] is not None
            if backend["address"] in up and not (backend["healthy"] and fresh):
                return False
        return True

    def stop(self, timeout=15):
        """Fast: sessions are ended. (SIGTERM would wait for transactions that tests left open.)"""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.kill()
            self.process.wait(10)
            self.process = None
            raise AssertionError(f"lull did not stop within {timeout} s:\n{self.log()[-3000:]}") from None
        self.process = None
        return status

    def kill9(self):
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def restart(self, wait=True):
        self.stop()
        return self.start(wait)

    def reload(self):
        """SIGHUP; the caller waits for what it expects to change."""
        self.write_config()
        self.process.send_signal(signal.SIGHUP)

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        if not os.path.exists(self.log_file):
            return ""
        with open(self.log_file, errors="replace") as text:
            return text.read()

    def remove(self):
        """Stops it, and fails loudly if it had died by itself or a sanitizer complained."""
        died = self.process is not None and self.process.poll() is not None
        status = self.process.returncode if died else None
        if died:
            self.process = None
        problem = None
        try:
            self.stop()
        except AssertionError as error:
            problem = str(error)
        text = self.log()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert problem is None, problem
        assert not died, f"lull died with status {status}:\n{text[-5000:]}"
        for word in ("AddressSanitizer", "runtime error:", "invariant broken", "LULL_ASSERT"):
            assert word not in text, text[-5000:]

    # -- the operator's side --------------------------------------------------------------------------------------

    def admin(self, method, path, body=None, timeout=30):
        """(status, parsed JSON or None)."""
        connection = _UnixConnection(self.socket, timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            response = connection.getresponse()
            text = response.read()
            self.last_content_type = response.getheader("Content-Type", "")
            return response.status, json.loads(text) if text else None
        finally:
            connection.close()

    def site(self, name="shop"):
        status, answer = self.admin("GET", f"/sites/{name}")
        assert status == 200, answer
        return answer

    def on(self, site="shop", wait_ms=20000, **body):
        """Enters maintenance and waits until it is sealed."""
        status, answer = self.admin("PUT", f"/sites/{site}/maintenance", dict(body, wait_ms=wait_ms), timeout=60)
        assert status == 200, (status, answer)
        assert answer["mode"] == "sealed", answer
        return answer

    def begin(self, site="shop", **body):
        """Begins to enter maintenance and does not wait."""
        status, answer = self.admin("PUT", f"/sites/{site}/maintenance", body)
        assert status in (200, 202), (status, answer)
        return answer

    def off(self, site="shop", wait_ms=20000):
        status, answer = self.admin("DELETE", f"/sites/{site}/maintenance?wait_ms={wait_ms}", timeout=60)
        assert status == 200, (status, answer)
        assert answer["mode"] == "read_write", answer
        return answer

    def open_all(self):
        """Whatever a test left: every site read_write again."""
        for name in self.config["sites"]:
            if self.site(name)["mode"] != "read_write":
                self.off(name)

    def wait_mode(self, mode, site="shop", timeout=15):
        return wait_for(lambda: self.site(site)["mode"] == mode and self.site(site), f"{site} is {mode}", timeout)

    def environment(self):
        return dict(os.environ, LULL_SOCKET=self.socket, LULL_CONFIG=self.config_file)

    def cli(self, *args, check=True, timeout=60, **kwargs):
        """Runs a verb to its end; text in stdout and stderr."""
        done = subprocess.run([binary(), *args], env=self.environment(), capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, **kwargs)
        if check:
            assert done.returncode == 0, f"lull {' '.join(args)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def cli_start(self, *args):
        """Starts a verb and leaves it running; the caller ends it."""
        return subprocess.Popen([binary(), *args], env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent())

    # -- the client's side ----------------------------------------------------------------------------------------

    PASSWORDS = {"app": c.APP_PASSWORD, "other": "other-secret", "shop_owner": c.OWNER_PASSWORD,
                 "verifier_user": "verifier-secret", "query_user": "query-secret"}

    def dsn(self, dbname="shop", user="app", password=None, port=None, **more):
        return dict(host="127.0.0.1", port=port or self.port, dbname=dbname, user=user,
                    password=password or self.PASSWORDS.get(user), connect_timeout=10, **more)

    def connect(self, dbname="shop", user="app", autocommit=True, password=None, port=None, prepare_threshold=None, **more):
        """psycopg 3."""
        return psycopg.connect(**self.dsn(dbname, user, password, port, **more), autocommit=autocommit,
                               prepare_threshold=prepare_threshold)

    def connect2(self, dbname="shop", user="app", autocommit=True, **more):
        """psycopg2: simple protocol only."""
        connection = psycopg2.connect(**self.dsn(dbname, user, **more))
        connection.autocommit = autocommit
        return connection

    def migration(self, dbname="shop", user="shop_owner", **more):
        return self.connect(dbname, user, port=self.migration_port, **more)

    def wire(self, dbname="shop", user="app", port=None, password=None, **parameters):
        """A raw client that is logged in."""
        return Wire("127.0.0.1", port or self.port).login(user, password or self.PASSWORDS.get(user), dbname, **parameters)

    def raw(self, port=None):
        """A raw client that has said nothing yet."""
        return Wire("127.0.0.1", port or self.port)
