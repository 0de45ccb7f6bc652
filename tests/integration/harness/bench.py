"""pgbench, and what it said."""
import os
import re
import subprocess

from .postgres import BIN
from .process import die_with_parent


class Result:
    def __init__(self, status, text):
        self.status, self.text = status, text
        done = re.search(r"number of transactions actually processed: (\d+)", text)
        failed = re.search(r"number of failed transactions: (\d+)", text)
        self.done = int(done.group(1)) if done else 0
        self.failed = int(failed.group(1)) if failed else None

    @property
    def clean(self):
        """Every client ran to its end, and nothing failed."""
        return self.status == 0 and self.failed == 0 and "aborted" not in self.text and self.done > 0


def command(port, user, dbname, *args):
    return [f"{BIN}/pgbench", "-h", "127.0.0.1", "-p", str(port), "-U", user, "-n", *args, dbname]


def start(port, password, *args, user="app", dbname="bench"):
    return subprocess.Popen(command(port, user, dbname, *args), env=dict(os.environ, PGPASSWORD=password), text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            preexec_fn=die_with_parent())


def finish(process, timeout=120):
    try:
        text = process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        text = process.communicate()[0] + "\n(killed: it did not end)"
    return Result(process.returncode, text)


def run(port, password, *args, timeout=120, **kwargs):
    return finish(start(port, password, *args, **kwargs), timeout)
