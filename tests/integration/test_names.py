"""A primary that is given by a name whose address changes. Lull gets an /etc/hosts of its own, in a mount namespace."""
import subprocess
import time

import pytest

from harness.gate import Gate
from harness.wait import wait_for

NAMESPACE = ["unshare", "--mount", "sh", "-c"]


@pytest.mark.skipif(subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode != 0, reason="no right to a mount namespace")
def test_an_address_that_changes_is_followed(make_lull, cluster, tmp_path):
    hosts = tmp_path / "hosts"

    def name(address):
        with open(hosts, "w") as out:  # in place: the file is mounted
            out.write("127.0.0.1 localhost\n" + (f"{address} moving.example\n" if address else ""))

    name("127.0.0.2")
    old = Gate(cluster.primary.port, "127.0.0.2")
    new = Gate(cluster.primary.port, "127.0.0.3", old.port)
    lull = make_lull({"workers": 1, "clusters": {"main": {"primary": f"moving.example:{old.port}", "server_lifetime": "1s"}}}, replicas=False, start=False)
    lull.run_under = [*NAMESPACE, f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]
    lull.start()

    def writes():
        with lull.connect() as client:
            client.execute("UPDATE items SET n = n + 1 WHERE id = 1")
        return True

    try:
        assert writes() and old.heads and not new.heads
        name("127.0.0.3")
        wait_for(lambda: writes() and new.heads, "new connections go to the new address", 30, 0.2)
        name(None)
        later = time.monotonic() + 12  # what was found is not believed for so long
        seen = len(new.heads)
        wait_for(lambda: writes() and time.monotonic() > later, "time passes, and writes go on", 30, 0.2)
        assert len(new.heads) > seen + 4, "no new connections were made"
    finally:
        old.close()
        new.close()
