"""What the server knows about a window of maintenance, asked of PostgreSQL itself as superuser and never through Lull:
its commit timestamps, its write-ahead log and its rows."""

import os
import re
import subprocess
import tempfile

import psycopg2


NOBODY = "nobody of the site"


def begun(segment):
    """Whether something has been written to a segment of the write-ahead log."""
    try:
        with open(segment, "rb") as file:
            return file.read(2) != b"\0\0"
    except FileNotFoundError:  # the server has just made a later one of it
        return False


class Proof:
    def __init__(self, settings):
        self.settings = settings
        self.connection = psycopg2.connect(settings["admin_dsn"], application_name="proof")
        self.connection.autocommit = True
        self.failures = []

    def check(self, held, text):
        print(f"  {'ok  ' if held else 'FAIL'}  {text}", flush=True)
        if not held:
            self.failures.append(text)

    def rows(self, text, *arguments):
        with self.connection.cursor() as cursor:
            cursor.execute(text, arguments)
            return cursor.fetchall()

    def committed_while_sealed(self, window):
        """Transactions by login role whose commit the server dates between sealed and reopened."""
        return dict(self.rows(
            "SELECT role::text, count(DISTINCT xid) FROM witness.transactions"
            " WHERE pg_xact_commit_timestamp(xid::xid) > %s::timestamptz AND pg_xact_commit_timestamp(xid::xid) < %s::timestamptz"
            " GROUP BY role", window["sealed_at"], window["reopened_at"]))

    def commits_in_log(self, window):
        """The same from the write-ahead log, between the LSN of sealing and the LSN at which the window was finished:
        commits by login role; those without a witness changed nothing of the site (autovacuum, Lull's own proof of the LSN)."""
        if window["sealed_lsn"] == window["finish_lsn"]:
            return {}  # nothing at all was written in between, which pg_waldump takes for a mistake
        with tempfile.TemporaryDirectory(prefix="lull-demo-wal-") as folder:
            # It asks any segment there how long it is, and one that has only been made for later has no answer.
            for name in os.listdir(self.settings["wal_folder"]):
                path = os.path.join(os.path.abspath(self.settings["wal_folder"]), name)
                if re.fullmatch("[0-9A-F]{24}", name) and begun(path):
                    os.symlink(path, os.path.join(folder, name))
            dump = subprocess.run([self.settings["pg_waldump"], "-p", folder, "-r", "Transaction",
                                   "-s", window["sealed_lsn"], "-e", window["finish_lsn"]], capture_output=True, text=True)
        if dump.returncode != 0:
            raise RuntimeError(f"pg_waldump: {dump.stderr.strip()}")
        roles = dict(self.rows("SELECT xid::text, max(role::text) FROM witness.transactions GROUP BY xid"))
        counts = {}
        for xid in re.findall(r"tx: +(\d+), .*desc: COMMIT", dump.stdout):
            role = roles.get(xid, NOBODY)
            counts[role] = counts.get(role, 0) + 1
        return counts

    def check_window(self, window):
        self.check(bool(window.get("sealed_lsn")), f"sealed at LSN {window.get('sealed_lsn')}, {window.get('sealed_at')} "
                                                   f"(epoch {window.get('epoch')}), reopened {window.get('reopened_at')}")
        app, owner = self.settings["app_user"], self.settings["owner_user"]
        dated = self.committed_while_sealed(window)
        self.check(dated.get(app, 0) == 0,
                   f"{dated.get(app, 0)} commits by clients while sealed, by the server's commit timestamps ({dated.get(owner, 0)} by the migration's role)")
        logged = self.commits_in_log(window)
        self.check(logged.get(app, 0) == 0,
                   f"{logged.get(app, 0)} commits by clients in the write-ahead log from {window['sealed_lsn']} to {window['finish_lsn']}"
                   f" ({logged.get(owner, 0)} by the migration's role, {logged.get(NOBODY, 0)} that touch nothing of the site)")

    def check_writes(self, table, acknowledged, unknown):
        found = {token: count for token, count in self.rows(f"SELECT token, count(*) FROM {table} GROUP BY token")}
        missing = [token for token in acknowledged if token not in found]
        self.check(not missing, f"{len(acknowledged)} acknowledged {table}, {len(acknowledged) - len(missing)} of them found afterwards")
        twice = sum(1 for token in (*acknowledged, *unknown) if found.get(token, 0) > 1)
        self.check(twice == 0, f"{twice} {table} stored twice")

    def check_migration(self):
        applied = self.rows("SELECT count(*) FROM schema_migrations WHERE name = '0002_sku'")[0][0]
        left = self.rows("SELECT count(*) FROM articles WHERE sku IS NULL")[0][0] if applied else None
        dropped = self.rows("SELECT to_regclass('legacy_import') IS NULL")[0][0]
        self.check(applied == 1 and left == 0 and dropped, "the migration is applied: column filled, type changed, index built, table dropped")
