"""100 clients of eight kinds while the site is closed and opened and everything is killed: the promises, judged by the server
alone (see torture/). And the judge is shown to notice when each of them is broken on purpose.

The seed is printed and a run with it plays the same plan: LULL_TORTURE_SEED=N, or for long `tests/torture.sh`.
"""
import glob
import os
import random
import re

import pytest

from harness import lull as lull_module
from harness.lull import Lull
from harness.wait import wait_for
from harness.wire import tags
from torture.rounds import Cluster, Report, round_

SECONDS = float(os.environ.get("LULL_TORTURE_SECONDS", "20"))
SEED = int(os.environ.get("LULL_TORTURE_SEED", random.randrange(1_000_000)))


@pytest.fixture(scope="module")
def servers():
    """Not the ones that the other tests share: these are killed, and log every statement."""
    cluster = Cluster()
    try:
        yield cluster.start()
    finally:
        cluster.remove()


def told(report, seed):
    return f"\nseed {seed}\n{report}\n" + "\n".join(f"  VIOLATION {kind}: {text}" for kind, text in report.violations[:20])


@pytest.mark.parametrize("standby", [True, False], ids=["with a standby", "primary alone"])
def test_nothing_is_broken_whatever_dies(servers, standby):
    whole, enough = Report(), {"windows": 1, "acknowledged": 20, "reads": 50}
    for seed in range(SEED, SEED + 3):  # more than one where the machine is too busy for it to mean anything
        report = round_(servers, seed, SECONDS, standby)
        print(told(report, seed))
        assert not report.violations, told(report, seed)
        whole.add(report)
        if all(whole.counts[name] >= least for name, least in enough.items()):
            return
    pytest.fail(f"too little happened to mean anything\n{whole}")


# What is broken, what dies, and what the judge must find.
# (slya, slys, slyb: whose function left READ ONLY, see torture/clients.py.)
BROKEN = [
    ("sent_twice,lost_write,failed_read", [], {"lost", "doubled", "failed read"}),
    ("early_answer,replayed_twice,commit_guard,commit_segment,commit_block", [],
     {"lost", "doubled", "committed while sealed, slya", "committed while sealed, slys", "committed while sealed, slyb"}),
    ("crash_reopens", ["kill lull while sealed"], {"reopened by itself"}),
]


def test_each_break_point_must_be_noticed():
    """Here or in the simulation (some only there: by the time that it matters other layers have mostly caught it here)."""
    points = set()
    for folder in ("routing", "proxy"):
        for source in glob.glob(os.path.join(lull_module.ROOT, folder, "*.cpp")):
            with open(source) as text:
                points |= set(re.findall(r'\bbroken\("(\w+)"', text.read()))
    with open(os.path.join(lull_module.ROOT, "tests", "sim", "pg_sim_test.cpp")) as text:
        simulated = set(re.findall(r'\{"(\w+)", ', text.read()))
    here = {point for names, *_ in BROKEN for point in names.split(",")} | {"blind_replay"}
    assert len(points) > 10 and points <= here | simulated, points - here - simulated
    assert points - here == {"hasty_fence", "late_seal", "deaf_worker"}


def kinds(report):
    return {kind for kind, _ in report.violations} | {f"{kind}, {mark}" for kind, text in report.violations
                                                      for mark in re.findall(r"-(sly.|outs)\b", text)}


def broken_binary():
    binary = os.path.join(os.path.dirname(os.path.dirname(lull_module.binary())), "tests", "integration", "lull_broken")
    if not os.path.exists(binary):
        pytest.skip("no lull_broken: build it with -DLULL_BREAK=ON (preset ci has it)")
    return binary


@pytest.mark.parametrize("points, chaos, wanted", BROKEN, ids=[points for points, *_ in BROKEN])
def test_the_judge_notices(servers, monkeypatch, points, chaos, wanted):
    monkeypatch.setenv("LULL_BINARY", broken_binary())
    found = set()
    for seed in range(1, 9):
        report = round_(servers, seed, 7, False, chaos, {"LULL_BREAK": points})
        found |= kinds(report)
        if wanted <= found:
            return print(told(report, seed))
    pytest.fail(f"{points} was broken, and the judge found only {found}")


# What the server does instead of setting default_transaction_read_only, and what the judge must find.
FENCES = [("NULL", "committed while sealed, outs"), ("IF value = 'on' THEN PERFORM lull.as_it_is(database, role, value); END IF", "fence left")]


@pytest.mark.parametrize("body, wanted", FENCES, ids=["a fence of paper", "a fence that stays"])
def test_the_judge_notices_what_is_wrong_with_a_fence(servers, body, wanted):
    servers.primary.sql(f"""
        ALTER FUNCTION lull.set_read_only(name, name, text) RENAME TO as_it_is;
        CREATE FUNCTION lull.set_read_only(database name, role name, value text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
          AS $$BEGIN {body}; END$$;
        GRANT EXECUTE ON FUNCTION lull.set_read_only(name, name, text) TO lull_fence""")
    try:
        found = set()
        for seed in range(1, 9):
            # One outsider: Lull does not believe in a fence while it sees somebody write, and sees three all the time.
            report = round_(servers, seed, 7, False, [], fence=True, outsiders=1)
            found |= kinds(report)
            if wanted in found:
                return print(told(report, seed))
        pytest.fail(f"the judge found only {found}")
    finally:
        servers.primary.sql("DROP FUNCTION lull.set_read_only(name, name, text); "
                            "ALTER FUNCTION lull.as_it_is(name, name, text) RENAME TO set_read_only")


@pytest.mark.parametrize("points, times", [("", 1), ("blind_replay", 2)], ids=["as it is", "blind_replay"])
def test_a_replay_that_was_killed_amid_its_commit(servers, monkeypatch, points, times):
    """The server commits though nobody listens any more: who does not ask it runs the entry again."""
    monkeypatch.setenv("LULL_BINARY", broken_binary())
    servers.fresh_tables()
    servers.primary.sql("CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(1); RETURN NULL; END$$; "
                        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON ledger DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE "
                        "FUNCTION late()", db="shop")
    lull = Lull(servers, {"sites": {"held": None, "shop": {"write_rules": [{"action": "journal"}]}}}, replicas=False)
    lull.extra_environment = {"LULL_BREAK": points}
    try:
        lull.start().on()
        with lull.wire() as client:
            assert tags(client.query("INSERT INTO ledger (token) VALUES ('once')")) == ["INSERT 0 1"]
        lull.admin("DELETE", "/sites/shop/maintenance")
        wait_for(lambda: servers.primary.backends("query = 'COMMIT' AND state = 'active'"), "it commits")
        lull.kill9()
        lull.start()
        lull.wait_mode("read_write")
        assert servers.primary.one("SELECT count(*) FROM ledger WHERE token = 'once'", db="shop") == times
    finally:
        lull.remove()
