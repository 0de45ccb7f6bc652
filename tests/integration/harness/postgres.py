"""A throw-away PostgreSQL server: a primary, or a hot standby of one. Runs as `postgres` when the tests run as root."""
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

import psycopg

from .ports import free_port
from .process import die_with_parent
from .wait import wait_for

BIN = os.environ.get("PG_BIN", "/usr/lib/postgresql/15/bin")

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "wal_level": "replica",
    "hot_standby": "on",
    "max_connections": "200",
    "max_wal_senders": "4",
    "fsync": "off",  # crash safety of the operating system is not what is tested
    "track_commit_timestamp": "on",
    "max_prepared_transactions": "4",
    "shared_buffers": "32MB",
    "autovacuum": "off",  # nobody but the tests takes a transaction id
    "log_min_messages": "warning",
    "wal_retrieve_retry_interval": "100ms",
    "wal_receiver_status_interval": "1s",
    "password_encryption": "scram-sha-256",
    "max_wal_size": "256MB",
    "min_wal_size": "80MB",
}

HBA = """\
local   all          postgres                trust
local   replication  postgres                trust
host    all          trusty   127.0.0.1/32   trust
host    all          all      127.0.0.1/32   scram-sha-256
host    replication  all      127.0.0.1/32   scram-sha-256
"""


def _as_server_user():
    """Arguments for Popen that leave root behind: PostgreSQL refuses to run as root, rightly."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("postgres")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _run(*args):
    done = subprocess.run(args, capture_output=True, text=True, cwd="/", **_as_server_user())
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(args)}: {done.stderr or done.stdout}")


class Postgres:
    """`bin`: the folder of its programs, where it is not Debian's PostgreSQL."""

    def __init__(self, name, bin=BIN):
        self.name = name
        self.bin = bin
        self.port = free_port()
        self.root = tempfile.mkdtemp(prefix=f"lull-{name}-")
        self.data = os.path.join(self.root, "data")
        self.log = os.path.join(self.root, "log")
        self.process = None
        self._connections = {}
        if os.geteuid() == 0:
            entry = pwd.getpwnam("postgres")
            os.chown(self.root, entry.pw_uid, entry.pw_gid)

    # -- making it ------------------------------------------------------------------------------------------------

    def initdb(self):
        _run(f"{self.bin}/initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8",
             "--no-sync", "--no-instructions")
        self._write("pg_hba.conf", HBA)
        self._append_settings(SETTINGS)
        return self

    def basebackup_of(self, primary):
        _run(f"{self.bin}/pg_basebackup", "-h", primary.root, "-p", str(primary.port), "-U", "postgres", "-D", self.data, "-R",
             "-X", "stream", "-c", "fast", "--no-sync")
        self._append_settings({})
        return self

    def _append_settings(self, settings):
        lines = dict(settings, port=str(self.port), unix_socket_directories=self.root)
        with open(os.path.join(self.data, "postgresql.conf"), "a") as conf:
            conf.writelines(f"{key} = '{value}'\n" for key, value in lines.items())

    def _write(self, name, text):
        with open(os.path.join(self.data, name), "w") as out:
            out.write(text)

    def take_file(self, source, name):
        """A copy of it, as a file of its own, in the data folder."""
        target = os.path.join(self.data, name)
        shutil.copyfile(source, target)
        os.chmod(target, 0o600)
        owner = os.stat(self.data)
        os.chown(target, owner.st_uid, owner.st_gid)

    # -- running it -----------------------------------------------------------------------------------------------

    def start(self):
        assert self.process is None, f"{self.name} already runs"
        self._launch()
        self.wait_ready()
        return self

    def _launch(self):
        log = open(self.log, "ab")
        self.process = subprocess.Popen([f"{self.bin}/postgres", "-D", self.data], stdout=log, stderr=log, cwd="/",
                                        stdin=subprocess.DEVNULL, preexec_fn=die_with_parent(signal.SIGQUIT),
                                        **_as_server_user())
        log.close()

    def wait_ready(self):
        def answers():
            if self.process.poll() is not None:
                ended = f"{self.name} ended with {self.process.returncode}: {self.log_text()[-2000:]}"
                if "pre-existing shared memory block" in ended:  # of one that was killed, and whose children still end
                    self._launch()
                raise RuntimeError(ended)
            with self.connect() as connection:
                return connection.execute("SELECT 1").fetchone()

        wait_for(answers, f"{self.name} accepts connections", 60)

    def stop(self, how=signal.SIGINT):
        """SIGINT: fast, clients are disconnected. SIGQUIT: immediate, as a crash. SIGTERM: smart."""
        self.forget_connections()
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    def restart(self, how=signal.SIGINT):
        self.stop(how)
        return self.start()

    @property
    def running(self):
        return self.process is not None

    def remove(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.root, ignore_errors=True)

    def log_text(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    # -- asking it directly, past Lull ----------------------------------------------------------------------------

    def connect(self, dbname="postgres", autocommit=True, user="postgres", **kwargs):
        """A superuser's connection over the server's own socket."""
        return psycopg.connect(host=self.root, port=self.port, user=user, dbname=dbname, autocommit=autocommit, **kwargs)

    def sql(self, query, params=None, db="postgres"):
        """Rows of a statement (or None) run as superuser directly on this server; one connection a database is kept."""
        connection = self._connections.get(db)
        if connection is None or connection.closed or connection.broken:
            connection = self._connections[db] = self.connect(db, prepare_threshold=None)
        cursor = connection.execute(query, params)
        return cursor.fetchall() if cursor.description else None

    def one(self, query, params=None, db="postgres"):
        """The first column of the first row."""
        return self.sql(query, params, db)[0][0]

    def forget_connections(self):
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def tcp(self, dbname, user, password=None, **kwargs):
        """What a client would do without Lull."""
        return psycopg.connect(host="127.0.0.1", port=self.port, user=user, password=password, dbname=dbname, **kwargs)

    # -- what the tests want to know ------------------------------------------------------------------------------

    def next_xid(self):
        """No statement of a client changed anything between two calls that return the same: writing takes a number."""
        return int(self.one("SELECT pg_snapshot_xmax(pg_current_snapshot())::text"))

    def writers_in_progress(self):
        return self.one("SELECT count(*) FROM pg_snapshot_xip(pg_current_snapshot())")

    def insert_lsn(self):
        return self.one("SELECT pg_current_wal_insert_lsn()::text")

    def replay_lsn(self):
        return self.one("SELECT pg_last_wal_replay_lsn()::text")

    def pause_state(self):
        return self.one("SELECT pg_get_wal_replay_pause_state()")

    def pause(self):
        self.sql("SELECT pg_wal_replay_pause()")
        wait_for(lambda: self.pause_state() == "paused", "replay is paused")

    def resume(self):
        self.sql("SELECT pg_wal_replay_resume()")

    def wait_replayed(self, primary, timeout=15):
        """Everything that is committed on the primary now is visible here afterwards. (Flushed, not inserted: a record that
        is no commit, such as a reader's pruning, may stay unflushed for many seconds, and standbys get what is flushed.)"""
        lsn = primary.one("SELECT pg_current_wal_flush_lsn()::text")
        wait_for(lambda: self.one("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (lsn,)), f"the standby replays to {lsn}",
                 timeout)

    def backends(self, where="true", params=None):
        return self.sql("SELECT pid, usename, datname, application_name, state, query FROM pg_stat_activity "
                        f"WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND {where} ORDER BY pid", params)

    def end_clients(self):
        """Ends every session that came over TCP: the proxy's, whatever a test left behind."""
        self.sql("SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE backend_type = 'client backend' "
                 "AND client_addr IS NOT NULL AND pid <> pg_backend_pid()")
