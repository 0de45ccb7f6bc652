"""The scripts of scripts/*.txt, played to a server and through Lull in front of it, in transaction and in session mode: what comes back is
the same, byte for byte, and so is what the tables hold afterwards; or the script says what differs, and why.

The table at the end of the run lists what differs. A difference that is not there any more fails, too."""
import pytest

from harness import script as s
from harness.cluster import Cluster
from harness.lull import Lull

SCRIPTS = {one.name: one for one in s.load_all()}
VERSIONS = (15, 18)
MODES = ("transaction", "session")


class House:
    """A server of one version, and a Lull for each mode."""

    def __init__(self, version, cluster):
        self.version, self.cluster = version, cluster
        self.clean_until = None  # the next transaction id: while it is that, nobody has changed anything
        self.lulls = {mode: Lull(cluster, {"sites": {"shop": {"pool_mode": mode}}}, replicas=not cluster.alone) for mode in MODES}

    def start(self):
        for one in self.lulls.values():
            one.start()
        return self

    def remove(self):
        for one in self.lulls.values():
            one.remove()

    def play(self, script, port, cut=None):
        """What came, and what the tables hold then."""
        primary = self.cluster.primary
        if self.clean_until != primary.next_xid():
            self.cluster.reset("shop")
            self.clean_until = primary.next_xid()
        servers = (primary,) if self.cluster.alone else (primary, self.cluster.standby)
        seen = s.Player(port, lambda sql: any(one.one(sql, db="shop") for one in servers), cut).play(script)
        return seen, primary.sql("SELECT array(SELECT (id, who, md5(what)) FROM log ORDER BY id)::text, array(SELECT items FROM items "
                                 "WHERE n <> 0 OR id > 100 ORDER BY id)::text, last_value, is_called FROM counter", db="shop")


@pytest.fixture(scope="module")
def houses(cluster, postgres18):
    other = Cluster(postgres18.bin, alone=True)
    made = []
    try:
        made = [House(15, cluster), House(18, other.start())]
        yield {one.version: one.start() for one in made}
    finally:
        for one in made:
            one.remove()
        other.remove()


def compare(script, house, mode, wanted, got):
    differences = script.differences(mode, house.version)
    for index, (step, want, have) in enumerate(zip(script.reads, wanted[0], got[0])):
        where = f"{script.name}.txt, line {step.line}, PostgreSQL {house.version}, {mode} mode"
        if index in differences:
            assert not s.same(want, have), f"{where}: this does not differ any more: {differences[index]}"
        else:
            assert s.same(want, have), f"{where}:\nthe server says {want}\nLull says       {have}"
    assert len(wanted[0]) == len(got[0])
    assert got[1] == wanted[1], f"{script.name}, PostgreSQL {house.version}, {mode} mode: the tables differ"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_same_as_the_server(name, version, houses, differential):
    script, house = SCRIPTS[name], houses[version]
    if version < script.version:
        pytest.skip(f"for PostgreSQL {script.version}")
    wanted = house.play(script, house.cluster.primary.port)
    assert not any("TimeoutError" in seen for seen in wanted[0]), f"{name}.txt waits for what the server does not say: {wanted[0]}"
    for mode in MODES:
        compare(script, house, mode, wanted, house.play(script, house.lulls[mode].port))
    if version == VERSIONS[0]:  # once more, in pieces that end anywhere
        compare(script, house, "transaction", wanted, house.play(script, house.lulls["transaction"].port, s.cut_of(script)))
    differential.add(script, version, {mode: script.differences(mode, version) for mode in MODES})
