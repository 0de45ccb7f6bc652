"""The proxies that are compared, each in front of the same primary: Lull, PgBouncer, and HAProxy in TCP mode, which pools
nothing and shows what relaying alone costs."""
import os
import socket
import subprocess
import tempfile

from harness import cluster as c
from harness.lull import Lull
from harness.pgbouncer import PgBouncer
from harness.ports import free_port
from harness.process import die_with_parent
from harness.wait import wait_for

PASSWORD = c.APP_PASSWORD
POOL = 20
CLIENTS = 6000


class Entrance:
    """How clients come in: with `auth` trust or scram-sha-256; `tls` a Certificate for localhost whose authority's file is `ca`."""

    def __init__(self, auth="trust", tls=None, ca=None):
        self.auth, self.tls, self.ca = auth, tls, ca


def password_for(cluster, entrance):
    """With the server's own verifier nobody pays for the hashing of a password at login."""
    return cluster.verifier_of("app") if entrance.auth == "scram-sha-256" else PASSWORD


class LullTarget:
    name = "lull"

    def __init__(self, cluster, entrance, workers=1, run_under=()):
        self.entrance = entrance
        change = {"auth": entrance.auth, "workers": workers, "limits": {"max_clients": CLIENTS, "max_waiting_clients": CLIENTS},
                  "sites": {"bench": {"cluster": "main", "databases": ["bench"]}},
                  # The tests' own are shorter than those that are shipped.
                  "clusters": {"main": {"pool_size": POOL, "tls": {"mode": "disable"}, "probe_interval": "100ms", "catalog_interval": "1s"}}}
        change["users"] = {"app": {"password": password_for(cluster, entrance)}}
        if entrance.tls:
            change["client_tls"] = {"mode": "require", "certificate": entrance.tls.certificate, "key": entrance.tls.key}
        self.lull = Lull(cluster, change, replicas=False)
        self.lull.run_under = list(run_under)

    def start(self):
        self.lull.start()
        return self

    @property
    def port(self):
        return self.lull.port

    @property
    def pid(self):
        return self.lull.process.pid

    def remove(self):
        self.lull.remove()


class PgBouncerTarget:
    def __init__(self, cluster, entrance, buffer_bytes=None, run_under=()):
        self.entrance = entrance
        self.name = "pgbouncer-64k" if buffer_bytes else "pgbouncer"
        settings = {"auth_type": entrance.auth, "pool_mode": "transaction", "default_pool_size": POOL, "max_client_conn": CLIENTS,
                    "listen_backlog": 4096, "server_idle_timeout": 3600, "log_connections": 0, "log_disconnections": 0,
                    "log_stats": 0, "server_tls_sslmode": "disable"}
        if buffer_bytes:
            settings["pkt_buf"] = buffer_bytes
        if entrance.tls:
            settings |= {"client_tls_sslmode": "require", "client_tls_cert_file": entrance.tls.certificate,
                         "client_tls_key_file": entrance.tls.key}
        self.bouncer = PgBouncer(settings, databases={"bench": f"host=127.0.0.1 port={cluster.primary.port} dbname=bench"},
                                 users={"app": password_for(cluster, entrance)}, run_under=run_under)

    def start(self):
        self.bouncer.start()
        return self

    @property
    def port(self):
        return self.bouncer.port

    @property
    def pid(self):
        return self.bouncer.process.pid

    def remove(self):
        self.bouncer.remove()


class HaproxyTarget:
    name = "haproxy-tcp"

    def __init__(self, cluster, entrance):
        assert entrance.tls is None
        self.entrance = entrance
        self.folder = tempfile.mkdtemp(prefix="lull-haproxy-")
        self.port = free_port()
        self.process = None
        with open(f"{self.folder}/cfg", "w") as out:
            out.write(f"global\n  nbthread 1\n  maxconn {CLIENTS}\ndefaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n"
                      f"  timeout server 1h\nlisten pg\n  bind 127.0.0.1:{self.port}\n"
                      f"  server primary 127.0.0.1:{cluster.primary.port}\n")

    def start(self):
        self.process = subprocess.Popen(["/usr/sbin/haproxy", "-db", "-q", "-f", f"{self.folder}/cfg"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent())
        wait_for(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() or True, "haproxy listens")
        return self

    @property
    def pid(self):
        return self.process.pid

    def remove(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
        os.unlink(f"{self.folder}/cfg")
        os.rmdir(self.folder)
