"""Adds up JUnit files of ctest and pytest; a doctest program counts as its test cases, the include test as its checks.

again.xml is the second try of what failed in integration.xml: its outcomes take the place of the first ones.

The last line is `N passed, N failed, N skipped`. Exit status 1 if anything failed or nothing ran.
"""

import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

DOCTEST = re.compile(r"\[doctest\] test cases: +(\d+) \| +(\d+) passed \| +(\d+) failed \| +(\d+) skipped")
PLAIN = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)


def outcome(case):
    """(passed, failed, skipped) of one <testcase>."""
    # ctest says "notrun" of a program that was not built, which nobody asked for.
    broken = any(case.find(tag) is not None for tag in ("failure", "error")) or case.get("status") in ("fail", "notrun")
    output = case.findtext("system-out") or ""
    if found := DOCTEST.search(output):
        _, passed, failed, skipped = map(int, found.groups())
    elif found := PLAIN.search(output):
        passed, failed, skipped = int(found[1]), int(found[2]), 0
    elif case.find("skipped") is not None and not broken:
        return 0, 0, 1
    else:
        return int(not broken), int(broken), 0
    # A program that died after its last test case, or a leak found at its end, has failed all the same.
    return passed, max(failed, int(broken)), skipped


def identity(case):
    return case.get("classname"), case.get("name")


def main(files):
    totals = (0, 0, 0)
    again = {identity(case) for file in files if Path(file).stem == "again" for case in xml.parse(file).iter("testcase")}
    for file in files:
        sums = (0, 0, 0)
        first = Path(file).stem == "integration"
        for case in xml.parse(file).iter("testcase"):
            result = outcome(case)
            if first and identity(case) in again:
                if result[1]:
                    print(f"tried again: {case.get('classname', '')} {case.get('name')}")
                continue
            sums = tuple(map(sum, zip(sums, result)))
            if result[1]:
                print(f"FAILED {Path(file).stem}: {case.get('classname', '')} {case.get('name')}")
        print(f"{Path(file).stem + ':':<13} {sums[0]} passed, {sums[1]} failed, {sums[2]} skipped")
        totals = tuple(map(sum, zip(totals, sums)))
    print("{} passed, {} failed, {} skipped".format(*totals))
    return 1 if totals[1] or not totals[0] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
