"""What the primary itself knows of a round, read from its write-ahead log, its commit timestamps, its statement log and its rows;
nothing here asks Lull anything but what it claimed."""
import os
import re
import subprocess
import tempfile
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from harness.postgres import BIN
from harness.wait import wait_for

OWNER = "shop_owner"
OUTSIDER = "other"  # comes past Lull
JOURNALED = "-jour"  # tokens of writes that Lull may run from its journal, also again where the first time was rolled back
TOKEN = re.compile(rb"\b(\d{3}-\d{6}-[a-z]{4})\b")
# Lines that say what a client has sent, as log_statement has them; not those about what went wrong.
SENT = re.compile(rb"^\d+ (?:LOG:  (?:statement|execute [^:]*): |DETAIL:  [Pp]arameters: )")
RECORD = re.compile(r"rmgr: (\w+) .* tx: +(\d+), .*?desc: (\w+)(.*)$")
RELATION = re.compile(r"rel \d+/(\d+)/")


@dataclass
class Window:
    """A time in which a site was said to be sealed: from the answer that said so to the moment before it was told to open."""
    sealed_lsn: str        # as Lull claims
    began: object          # the server's clock, after the claim
    lsn: str               # of the server, after the claim
    ended: object = None
    end_lsn: str = None
    frozen: bool = False
    fenced: bool = False
    verdict: str = None    # of `lull verify`, where that could be asked for this very window
    commits: dict = field(default_factory=dict)  # transaction id -> whether it touched the site's database
    sequences: list = field(default_factory=list)


@contextmanager
def written_segments(pg_wal):
    """A folder of those of its segments that have been begun: pg_waldump asks any of them how long it is, and one that has only been
    made for later has no answer."""
    with tempfile.TemporaryDirectory(prefix="lull-torture-wal-") as folder:
        for name in os.listdir(pg_wal):
            if not re.fullmatch("[0-9A-F]{24}", name):
                continue
            path = os.path.join(pg_wal, name)
            with suppress(FileNotFoundError), open(path, "rb") as segment:  # it may be made another just now
                if segment.read(2) != b"\0\0":
                    os.symlink(path, os.path.join(folder, name))
        yield folder


class Judge:
    def __init__(self, primary, database="shop"):
        self.primary, self.database = primary, database
        self.oid = str(primary.one("SELECT oid FROM pg_database WHERE datname = %s", (database,)))
        self.windows = []
        self.log_from = os.path.getsize(primary.log)

    # -- the windows, as they come ------------------------------------------------------------------------------------

    def look(self):
        """The server's clock and where its log ends; waits for a server that was killed."""
        connection = []

        def asked():
            with self.primary.connect() as one:
                connection[:] = one.execute("SELECT clock_timestamp(), pg_current_wal_insert_lsn()::text").fetchall()
            return connection

        return wait_for(asked, "the primary says where its log ends", 60)[0]

    def open_window(self, sealed_lsn, frozen, fenced):
        began, lsn = self.look()
        window = Window(sealed_lsn or lsn, began, lsn, frozen=frozen, fenced=fenced)
        self.windows.append(window)
        return window

    def close_window(self, window):
        window.ended, window.end_lsn = self.look()

    def read_log(self, window):
        """Who committed in the window, according to the write-ahead log. Once everything up to its end is on the disk."""
        def flushed():
            with self.primary.connect() as one:
                one.execute("SELECT pg_logical_emit_message(true, 'judge', '')")
                return one.execute("SELECT pg_current_wal_flush_lsn() >= %s::pg_lsn", (window.end_lsn,)).fetchone()[0]

        wait_for(flushed, "the log of the window is on the disk", 60)
        if window.sealed_lsn == window.end_lsn:
            return
        with written_segments(os.path.join(self.primary.data, "pg_wal")) as folder:
            dump = subprocess.run([f"{BIN}/pg_waldump", "-p", folder, "-s", window.sealed_lsn, "-e", window.end_lsn],
                                  capture_output=True, text=True)
        if dump.returncode != 0:
            raise RuntimeError(f"pg_waldump from {window.sealed_lsn} to {window.end_lsn}: {dump.stderr}")
        touched = set()
        for line in dump.stdout.splitlines():
            found = RECORD.search(line)
            if not found:
                continue
            manager, xid, what, rest = found.groups()
            if self.oid in RELATION.findall(rest):
                touched.add(xid)
                if manager == "Sequence":
                    window.sequences.append(xid)
            if manager == "Transaction" and what.startswith("COMMIT"):
                window.commits[xid] = xid in touched

    # -- the verdict --------------------------------------------------------------------------------------------------

    def executed(self):
        """How often each token was sent to the primary in a statement."""
        sent = Counter()
        with open(self.primary.log, "rb") as log:
            log.seek(self.log_from)
            for line in log:
                if SENT.match(line):
                    sent.update(set(TOKEN.findall(line)))
        return {token.decode(): count for token, count in sent.items()}

    def verdict(self, outcomes):
        """Violations, each (kind, text); and counts for the report. `outcomes`: token -> what its client knows."""
        violations, counts = [], Counter()
        rows = self.primary.sql("SELECT token, role::text, (xid::text::bigint %% 4294967296)::text, "
                                "pg_xact_commit_timestamp(xid::xid) FROM ledger", (), db=self.database)
        signed = {xid: role for _, role, xid, _ in rows}
        for window in self.windows:
            counts["windows"] += 1
            counts["frozen windows"] += window.frozen
            counts["fenced windows"] += window.fenced
            past = []
            for xid, touches in window.commits.items():
                role = signed.get(xid)
                counts["commits of the migration"] += role == OWNER
                if role == OUTSIDER and not window.fenced:
                    past.append(xid)
                elif role != OWNER and (touches or role):
                    where = f"between {window.sealed_lsn} and {window.end_lsn}"
                    tokens = [token for token, _, at, _ in rows if at == xid]
                    violations.append(("committed while sealed", f"transaction {xid} of {role or 'nobody known'} {where}: {tokens}"))
            counts["commits past Lull"] += len(past)
            if past and window.verdict == "proved":
                violations.append(("not reported", f"verify says proved, and {past} committed past Lull after {window.sealed_lsn}"))
            # A function that resets READ ONLY gets as far as a sequence on a primary, and is undone then; the README names it.
            # Who commits is a violation above.
            counts["sequences moved and undone"] += sum(
                signed.get(xid) != OWNER and xid not in window.commits for xid in window.sequences)
            for token, role, xid, at in rows:
                stopped = role != OWNER and (role != OUTSIDER or window.fenced)
                if stopped and at is not None and window.began < at < window.ended and xid not in window.commits:
                    violations.append(("committed while sealed", f"{token} of {role}, transaction {xid}, at {at}, by the server's clock"))
        found = Counter(token for token, role, _, _ in rows if role != OWNER)
        for token, outcome in outcomes.items():
            counts[outcome] += 1
            counts["unknown and found"] += outcome == "unknown" and token in found
            if outcome == "acknowledged" and token not in found:
                violations.append(("lost", f"{token} was acknowledged and is not there"))
            if outcome == "never" and token in found:
                violations.append(("refused and done", f"{token} was refused, rolled back or never committed, and is there"))
        for token, count in found.items():
            if count > 1:
                violations.append(("doubled", f"{token} is there {count} times"))
            if token not in outcomes:
                violations.append(("doubled", f"{token} is there and nobody sent it"))
        for token, count in self.executed().items():
            counts["sent to the primary"] += 1
            if count > 1 and not token.endswith(JOURNALED):
                violations.append(("doubled", f"{token} was sent to the primary {count} times"))
        return violations, counts
