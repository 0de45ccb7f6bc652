"""What a process costs: CPU time and memory from /proc, system calls from strace, instructions from callgrind."""
import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")


def tree(root):
    """`root` and all that it started, by parent."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                children.setdefault(int(stat.read().rsplit(")", 1)[1].split()[1]), []).append(int(name))
        except OSError:
            continue
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_seconds(root):
    """User and system time of the tree: that of live threads in nanoseconds, that of children that ended in ticks."""
    total = 0.0
    for pid in tree(root):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            total += (int(fields[13]) + int(fields[14])) / TICK
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as schedstat:
                    total += int(schedstat.read().split()[0]) / 1e9
        except OSError:
            continue  # ended meanwhile
    return total


def rss_kib(root):
    total = 0
    for pid in tree(root):
        with open(f"/proc/{pid}/status") as status:
            total += int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))
    return total


def workers(pid):
    """The threads that serve clients: the others work by the clock, however many queries there are."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm") as name:
            if name.read().startswith("worker"):
                found.append(task)
    return found


def system_calls(pid, work, tasks=None):
    """{name: count} of the workers of `pid`, or of `tasks`, while `work` runs."""
    tasks = tasks or workers(pid)
    assert tasks, f"process {pid} has no thread whose name begins with worker"
    with tempfile.NamedTemporaryFile("r") as out:
        which = [argument for task in tasks for argument in ("-p", task)]
        strace = subprocess.Popen(["strace", "-c", "-qq", "-o", out.name, *which], stdin=subprocess.DEVNULL)
        try:
            _wait_traced(pid, tasks, strace)
            work()
        finally:
            strace.send_signal(signal.SIGINT)
            strace.wait(30)
        counts = {}
        for line in out:
            fields = line.split()
            if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
                counts[fields[-1]] = int(fields[3])
        return counts


def _wait_traced(pid, tasks, strace):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert strace.poll() is None, "strace ended at once: may this user trace?"
        tracers = []
        for task in tasks:
            with open(f"/proc/{pid}/task/{task}/status") as status:
                tracers.append(re.search(r"TracerPid:\s+(\d+)", status.read()).group(1))
        if "0" not in tracers:
            return
        time.sleep(0.01)
    raise RuntimeError("strace did not attach within 10 s")


class Callgrind:
    """Runs a program under callgrind (user space only), and counts the instructions of its worker while work runs, without
    those of threads that probe and log by the clock."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="lull-callgrind-")

    def command(self, *program):
        return ["valgrind", "--tool=callgrind", "--separate-threads=yes", "-q", f"--callgrind-out-file={self.folder}/out.%p", *program]

    def instructions(self, pid, work):
        self._control(pid, "--zero")
        for old in glob.glob(f"{self.folder}/out.*"):
            os.unlink(old)
        work()
        self._control(pid, "--dump")
        counted = [_total_of(path) for path in glob.glob(f"{self.folder}/out.*-*") if _is_worker(path)]
        assert counted, "callgrind has nothing of a worker"
        return max(counted)

    def whole_life(self):
        """All instructions of the one program that has run, and ended."""
        (path,) = glob.glob(f"{self.folder}/out.*")
        return _total_of(path)

    def _control(self, pid, what):
        done = subprocess.run(["callgrind_control", what, str(pid)], capture_output=True, text=True, timeout=60)
        if done.returncode != 0 or "OK" not in done.stdout:
            raise RuntimeError(f"callgrind_control {what}: {done.stdout}{done.stderr}")

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_worker(path):
    with open(path, errors="replace") as out:
        return any("worker::worker" in line for line in out)


def _total_of(path):
    with open(path, errors="replace") as out:
        totals = [int(line.split()[1]) for line in out if line.startswith(("totals:", "summary:"))]
    return max(totals, default=0)
