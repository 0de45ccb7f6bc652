#!/usr/bin/python3
"""Puts readers and writers on the demo site, upgrades it with `lull upgrade`, shows second by second what they saw, and
then asks the server for the proof.

  traffic.py --settings FILE [--once]

Exit status 0 only if no read failed, no client committed while the site was sealed, and every acknowledged write is there.
Without --once the traffic then goes on, and whatever happens to it is shown, until SIGTERM or SIGINT.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

import psycopg2

from clients import Client, DirectReader, HttpReader, HttpWriter, SchemaProbe, SqlReader, SqlWriter, Tally
from proof import Proof

SLOW = 5.0  # seconds: half of what the migration holds its locks; a read that took longer has waited for it
HEADING = ("   time  mode        reads ok  failed  slowest  pgbench/s  writes ok  refused  failed  schema  without Lull",
           "  -----  ----------  --------  ------  -------  ---------  ---------  -------  ------  ------  ------------")


def say(line=""):
    print(line, flush=True)


def milliseconds(seconds):
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


class Status:
    """`lull status SITE --json`, asked by one thread and kept."""

    def __init__(self, settings, stop):
        self.settings, self.value = settings, {}
        threading.Thread(target=self.follow, args=(stop,), daemon=True).start()

    def ask(self):
        run = subprocess.run([self.settings["lull"], "status", self.settings["site"], "--json"], capture_output=True, text=True)
        if run.returncode == 0:
            self.value = json.loads(run.stdout)
        return self.value

    def follow(self, stop):
        while not stop.wait(0.25):
            self.ask()

    @property
    def mode(self):
        state = self.value.get("state") or self.value.get("mode") or "?"
        return "open" if state == "read_write" else state


class Pgbench:
    """A plain pgbench client with prepared statements: it stops at the first failed read, so that it must still run
    at the end."""

    def __init__(self, settings):
        script = os.path.join(settings["folder"], "read.pgbench")
        with open(script, "w") as file:
            file.write("\\set id random(1, 20000)\nSELECT title, price FROM articles WHERE id = :id;\n")
        self.rate, self.said = 0.0, []
        self.process = subprocess.Popen(
            ["pgbench", "-n", "-M", "prepared", "-f", script, "-c", "4", "-R", "100", "-P", "1", "-T", "864000", settings["site_dsn"]],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        for line in self.process.stderr:
            found = re.match(r"progress: .* s, ([\d.]+) tps", line)
            if found:
                self.rate = float(found[1])
            else:
                self.said = [*self.said[-9:], line.rstrip()]
        self.rate = 0.0


class Show:
    def __init__(self, settings, proof):
        self.settings, self.proof = settings, proof
        self.stop, self.stop_writers = threading.Event(), threading.Event()
        self.reads, self.writes, self.probes, self.direct = Tally(), Tally(), Tally(), Tally()
        self.began = time.monotonic()
        self.status = Status(settings, self.stop)
        self.status.ask()
        self.probe = SchemaProbe(settings, self.probes, self.stop)
        self.writers = [kind(settings, self.writes, self.stop_writers) for kind in (HttpWriter, HttpWriter, HttpWriter, SqlWriter, SqlWriter)]
        readers = [kind(settings, self.reads, self.stop) for kind in (HttpReader,) * 6 + (SqlReader,) * 3]
        for client in (*readers, *self.writers, self.probe, DirectReader(settings, self.direct, self.stop)):
            client.start()
        self.pgbench = Pgbench(settings)
        self.upgrade = None

    def row(self):
        """The last second as (line, whether it was one like any other)."""
        (read, slowest), (written, _), (direct, waited) = self.reads.look(), self.writes.look(), self.direct.look()
        at = int(time.monotonic() - self.began)
        without = "down" if direct.get("failed") else f"waits {milliseconds(waited)}" if waited > 0.5 else milliseconds(waited)
        mode = self.status.mode
        line = (f"  {at // 60:02}:{at % 60:02}  {mode:<10}  {read.get('ok', 0):8}  {read.get('failed', 0):6}  {milliseconds(slowest):>7}  "
                f"{self.pgbench.rate:9.0f}  {written.get('ok', 0):9}  {written.get('refused', 0):7}  {written.get('failed', 0):6}  "
                f"{self.probe.seen:<6}  {without}")
        return line, mode == "open" and not (read.get("failed") or written.get("failed") or written.get("refused"))

    def second(self):
        time.sleep(1 - (time.monotonic() - self.began) % 1)
        return self.row()

    def seconds_of(self, count):
        for _ in range(count):
            say(self.second()[0])

    def run_upgrade(self):
        command = [self.settings["lull"], "upgrade", self.settings["site"], "--reason", "The catalogue gets article numbers",
                   "--eta", "15s", "--", "psql", "-X", "-q", "-f", self.settings["migration"]]
        say(f"  $ lull {shlex.join(command[1:])}")
        self.upgrade = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = []

        def follow():
            for line in self.upgrade.stdout:
                said.append(line)
                say(f"         | {line.rstrip()}")

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        while self.upgrade.poll() is None:
            say(self.second()[0])
        follower.join(5)
        self.proof.check(self.upgrade.returncode == 0, f"lull upgrade ended with status {self.upgrade.returncode}")

    def prove(self):
        check = self.proof.check
        say("\n  The proof")
        window = self.status.ask().get("last_window") or {}
        if window.get("sealed_lsn"):
            self.proof.check_window(window)
        else:
            check(False, "lull status tells no window that was sealed")
        self.proof.check_migration()
        check(self.reads.of("failed") == 0 and self.reads.of("ok") > 0, f"{self.reads.of('failed')} failed reads of {self.reads.of('ok') + self.reads.of('failed')}")
        check(self.probes.of("failed") == 0, f"{self.probes.of('failed')} failed looks at the catalog")
        check(self.reads.slowest_ever < SLOW, f"slowest read {milliseconds(self.reads.slowest_ever)}; "
                                              f"straight to the primary the same read waited {milliseconds(self.direct.slowest_ever)}")
        check(self.direct.slowest_ever > SLOW, "the migration did hold its locks that long")
        check(self.pgbench.process.poll() is None, "pgbench -M prepared never stopped" if self.pgbench.process.poll() is None
              else f"pgbench stopped: {' / '.join(self.pgbench.said)}")
        check(self.writes.of("refused") > 0, f"{self.writes.of('refused')} writes refused while sealed, each repeated by its client until it was taken")
        check(self.writes.of("failed") == 0, f"{self.writes.of('failed')} writes failed in any other way")
        self.check_writes()
        for complaint in (*self.reads.complaints, *self.probes.complaints, *self.writes.complaints):
            say(f"        {complaint}")

    def check_writes(self):
        for table, kind in (("comments", HttpWriter), ("orders", SqlWriter)):
            of_kind = [writer for writer in self.writers if type(writer) is kind]
            self.proof.check_writes(table, [token for writer in of_kind for token in writer.acknowledged],
                                    [token for writer in of_kind for token in writer.unknown])

    def perform(self):
        say("\n  Readers: 6 browsers (lists, articles, search by POST), 3 psycopg2 sessions, 4 pgbench clients with prepared statements.")
        say("  Writers: 3 browsers that post comments, 2 psycopg2 sessions that take orders. All of them go through Lull;")
        say("  \"without Lull\" is one more reader, straight at the primary.\n")
        for line in HEADING:
            say(line)
        self.seconds_of(4)
        self.run_upgrade()
        for _ in range(30):
            if self.status.mode == "open":
                break
            say(self.second()[0])
        self.seconds_of(4)
        if self.settings["once"]:
            self.stop_writers.set()
            for writer in self.writers:
                writer.join(30)
            self.proof.check(not any(writer.is_alive() for writer in self.writers), "every writer got its last answer")
        self.prove()
        return not self.proof.failures

    def linger(self):
        """Traffic goes on, slower; seconds worth seeing are shown, and each further window is proved."""
        Client.pace, SqlReader.pace, HttpWriter.pace, SqlWriter.pace = 0.15, 0.15, 0.5, 0.5
        epoch, quiet = (self.status.value.get("last_window") or {}).get("epoch"), True
        while True:
            line, usual = self.second()
            if not usual:
                if quiet:
                    say("\n" + HEADING[0])
                say(line)
            quiet = usual
            window = self.status.value.get("last_window") or {}
            if self.status.mode == "open" and window.get("epoch") != epoch and window.get("reopened_at"):
                epoch = window["epoch"]
                try:
                    self.proof.check_window(window)
                    self.check_writes()
                except (RuntimeError, psycopg2.Error) as error:  # whoever tries things out may also have stopped the server
                    say(f"  no proof: {error}")

    def end(self):
        self.stop.set()
        self.stop_writers.set()
        for process in (self.upgrade, self.pgbench.process):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", required=True, help="JSON file that deploy/quickstart.sh writes")
    parser.add_argument("--once", action="store_true", help="end after the proof")
    options = parser.parse_args()
    with open(options.settings) as file:
        settings = json.load(file)
    settings["once"] = options.once
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(130))
    show = Show(settings, Proof(settings))
    try:
        held = show.perform()
        say("\n  All of it held." if held else "\n  NOT ALL OF IT HELD:")
        for failure in show.proof.failures:
            say(f"    {failure}")
        if options.once:
            return 0 if held else 1
        say(settings["to_try"])
        show.linger()
    finally:
        show.end()


if __name__ == "__main__":
    sys.exit(main())
