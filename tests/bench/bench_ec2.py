# SPDX-License-Identifier: GPL-3.0-or-later
"""Route entries or the Elastic IP lead to the other node: how long from the checker's seeing it to the service, with 100 ms for each call to EC2.

    tests/holdfast-bench bench_ec2 [--rounds N] [--tables 1,10,50] [--cold-rounds N] [--latency SECONDS] [--many N]
        [--profiles fast,standard]

In the lab's VPC: node-a's checker, with the collection's `recover` in a run that waited (armed) or is started then (cold). All entries are broken,
then the checker is asked to look; detection, which takes up to ``deep_interval``, is left out: the time begins with the event ``fault`` and ends with
the first ask that node-a answers, from a client whose own table is among the broken ones (Elastic IP: from the internet). Beside it: until the last
of the tables was right, by the control plane's log. At the end, all entries of many resources are broken at once: until the last of them was right.
Rivals: `bench_route_target.py`.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

from bench.figures import Table
from bench.in_vpc import Watched

#: Each round is a fault of its own, seen when the checker is told to look.
CHECKS = {"deep_interval": 3600, "max_recoveries": 1000, "backoff": 0.1, "hold_down": 0}
GOAL = 1.0
ROUTES, LAST, EIP = "wrong route, {}", "  to the last table, {}", "wrong Elastic IP, {}"


def measure(tables: int, rounds: int, latency: float, table: Table, profile: str, *, armed: bool) -> None:
    """The rows of one number of tables."""
    number, by = f"{tables} table{'s' if tables > 1 else ''}", f"holdfast {profile}, {'armed' if armed else 'cold'}"
    with ExitStack() as stack:
        one = Watched(stack, tables, armed=armed, checks=CHECKS, timing=profile)
        found = [one.repaired(one.break_routes, "client-c", latency) for _round in range(rounds)]
        goal = GOAL if armed else None
        table.row(ROUTES.format(number), by, [service for service, _all in found], goal=goal)
        table.row(LAST.format(number), by, [last for _service, last in found], goal=goal)
        found = [one.repaired(one.break_eip, "outside", latency) for _round in range(rounds)]
        table.row(EIP.format(number), by, [service for service, _all in found], goal=goal)


def measure_many(count: int, rounds: int, latency: float, table: Table, profile: str) -> None:
    """All entries of so many resources in three tables."""
    with ExitStack() as stack:
        one = Watched(stack, 3, armed=True, more=count - 1, checks=CHECKS, timing=profile)
        found = [one.all_repaired(latency) for _round in range(rounds)]
        table.row(f"wrong routes of {count} resources", f"holdfast {profile}, armed", found)


def main() -> int:
    parser = argparse.ArgumentParser(description="Time repairs on EC2.")
    parser.add_argument("--rounds", type=int, default=20, help="faults of each kind (default: %(default)s)")
    parser.add_argument("--tables", default="1,10,50", help="numbers of route tables (default: %(default)s)")
    parser.add_argument("--cold-rounds", type=int, default=3, help="faults of each kind without a run that waits; 0: none (default: %(default)s)")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds that each EC2 call takes longer (default: %(default)s)")
    parser.add_argument("--many", type=int, default=20, help="resources that are all broken at once; 0: not done (default: %(default)s)")
    parser.add_argument("--profiles", default="fast,standard", help="timing profiles (default: %(default)s)")
    given = parser.parse_args()
    counts = [int(count) for count in given.tables.split(",")]
    table = Table(f"wrong on EC2, {given.latency * 1000:g} ms a call: from the checker's seeing it to the service")
    for profile in given.profiles.split(","):
        for count in counts:
            measure(count, given.rounds, given.latency, table, profile, armed=True)
        if given.cold_rounds:
            measure(counts[0], given.cold_rounds, given.latency, table, profile, armed=False)
        if given.many:
            measure_many(given.many, max(1, given.rounds // 4), given.latency, table, profile)
    table.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
