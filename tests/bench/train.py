"""The workloads of limits.py through one Lull, for a binary that counts what runs. Start it through deploy/train.sh."""
import argparse

from run import Rig, say  # also finds the rest
import limits
from workloads import Idle


def main():
    parser = argparse.ArgumentParser(prog="deploy/train.sh", description=__doc__)
    parser.add_argument("--seconds", type=int, default=2, help="of each workload")
    options = parser.parse_args()
    with Rig() as rig:
        for case in limits.CASES:
            if isinstance(case.workload, Idle):
                continue
            say(f"  {case.name}")
            case.workload.measure(rig.target("lull", case.entrance, False), options.seconds)


main()
