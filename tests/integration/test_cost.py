"""What a query costs, in figures that a busy machine does not change: system calls, sends and instructions."""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench"))

import run  # noqa: E402


@pytest.fixture(scope="module")
def lines():
    with run.Rig(bulk=False) as rig:
        return run.gate(rig)


@pytest.mark.parametrize("what", ["system calls", "sends", "instructions"])
def test_a_query_costs_no_more_than_it_may(lines, what):
    found = [line for line in lines if line[1] == what]
    assert found
    missed = [line for line in found if not line[-1]]
    assert not missed, "\n" + run.table(missed)
