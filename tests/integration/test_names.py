"""A primary that is given by a name whose address changes. Lull gets an /etc/hosts of its own, in a mount namespace."""
import subprocess
import time

import pytest

from harness.gate import Gate
from harness.wait import wait_for
from harness.wire import errors

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
    change = {"workers": 1, "limits": {"dns_max_ttl": "1s"}, "clusters": {"main": {"primary": f"moving.example:{old.port}"}}}
    lull = make_lull(change, replicas=False, start=False)
    lull.run_under = [*NAMESPACE, f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]
    lull.start()

    def writes(user="app"):
        with lull.connect(user=user) as client:
            client.execute("UPDATE items SET n = n + 1 WHERE id = 1")

    try:
        with lull.wire() as staying:
            staying.query("BEGIN")
            staying.query("UPDATE items SET n = n + 1 WHERE id = 2")
            writes()
            assert old.open() > 2 and not new.heads
            name("127.0.0.3")
            # Who is in a transaction stays; all others leave, Lull's own too.
            wait_for(lambda: old.open() == 1 and new.heads, "the old address is left", 10)
            writes()
            assert old.open() == 1
            assert not errors(staying.query("COMMIT"))
            wait_for(lambda: old.open() == 0, "it is left by the last one", 5)
            assert staying.one("SELECT 1") == "1"
        name(None)
        time.sleep(2.5)  # what was found is not believed for so long
        seen = len(new.heads)
        writes("shop_owner")
        assert len(new.heads) > seen, "no new connection was made"
        lull.on()
        lull.off()
    finally:
        old.close()
        new.close()
