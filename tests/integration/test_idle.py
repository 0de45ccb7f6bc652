"""What Lull does while nobody asks it anything, in figures that a busy machine does not change: how often its threads wake."""
import os
import re
import time


def wakes(pid):
    """{thread: (name, how often it has gone to sleep)}"""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as status:
            text = status.read()
        found[int(task)] = (re.search(r"Name:\s+(.*)", text).group(1), int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", text).group(1)))
    return found


def test_idle_clients_and_an_unchanged_server_wake_nobody_but_by_the_second(make_lull):
    """A second after their last answer clients cost nothing, the control thread is not told what it knows, and one question
    each is asked of the server's health and of the catalogs of all databases."""
    lull = make_lull({"workers": 1, "limits": {"max_clients": 400},
                      "clusters": {"main": {"probe_interval": "100ms", "catalog_interval": "1s"}}}, replicas=False)
    clients = []
    try:
        for _ in range(300):
            clients.append(lull.wire())
            assert clients[-1].one("SELECT 1") == "1"
        time.sleep(3)
        before, began = wakes(lull.process.pid), time.monotonic()
        time.sleep(5)
        seconds = time.monotonic() - began
        rates = {task: (name, (count - before[task][1]) / seconds) for task, (name, count) in wakes(lull.process.pid).items() if task in before}
    finally:
        for client in clients:
            client.close()
    assert rates[lull.process.pid][1] < 0.7, rates  # the control thread
    assert sum(rate for name, rate in rates.values() if name.startswith("worker")) < 2, rates
    assert sum(rate for _, rate in rates.values()) < 7, rates
