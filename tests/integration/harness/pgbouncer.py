"""A real PgBouncer, to compare with. Unless told otherwise its database leads nowhere, and only its console is asked."""
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

import psycopg2

from .ports import free_port
from .process import die_with_parent
from .wait import wait_for

BINARY = "/usr/sbin/pgbouncer"


class PgBouncer:
    """`settings` are those of its [pgbouncer] section, `databases` maps names to connection strings, `users` to passwords."""

    def __init__(self, settings=None, databases=None, users=None, run_under=()):
        self.settings = settings or {}
        self.databases = databases or {"shop": "host=127.0.0.1 port=1"}
        self.users = users or {"app": "x"}
        self.run_under = list(run_under)
        self.folder = tempfile.mkdtemp(prefix="lull-pgbouncer-")
        self.port = free_port()
        self.process = None

    def start(self):
        settings = {"listen_addr": "127.0.0.1", "listen_port": self.port, "auth_type": "trust", "unix_socket_dir": "",
                    "auth_file": f"{self.folder}/users", "admin_users": "app", "logfile": f"{self.folder}/log", **self.settings}
        with open(f"{self.folder}/ini", "w") as out:
            out.write("[databases]\n")
            out.writelines(f"{name} = {where}\n" for name, where in self.databases.items())
            out.write("[pgbouncer]\n")
            out.writelines(f"{key} = {value}\n" for key, value in settings.items())
        with open(f"{self.folder}/users", "w") as out:
            out.writelines(f'"{name}" "{password}"\n' for name, password in self.users.items())
        who = {}
        if os.geteuid() == 0:  # as which it does not run
            entry = pwd.getpwnam("postgres")
            who = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            for path in (self.folder, f"{self.folder}/ini", f"{self.folder}/users"):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        self.process = subprocess.Popen([*self.run_under, BINARY, "-q", f"{self.folder}/ini"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=die_with_parent(), **who)
        wait_for(self._answers, "pgbouncer answers", 30 if self.run_under else 15)
        return self

    def _answers(self):
        socket.create_connection(("127.0.0.1", self.port), 5).close()
        return True

    def console(self):
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="app", dbname="pgbouncer", connect_timeout=5)
        connection.autocommit = True
        return connection

    def remove(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)
