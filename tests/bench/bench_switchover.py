# SPDX-License-Identifier: GPL-3.0-or-later
"""A planned switchover: for how long a client that asks every 5 ms is without the service.

    tests/bench/bench_switchover.py [--rounds N] [--playbook-rounds N] [--profile fast] [--only WORD]

By the checkers alone, on a plain network (no EC2 parts); by the playbook over SSH, on the same network; and by the playbook in the lab's VPC, with
the route table entries of three tables, the source/dest check and an Elastic IP, without latency and with 100 ms for each call to EC2.
No figure counts where two nodes held the address at once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".tree")]

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import Cluster  # noqa: E402
from harness.pair import CLUSTER, STORE, TAG, Pair  # noqa: E402
from lab.control import Fault  # noqa: E402
from lab.handover import hand_over  # noqa: E402
from lab.lan import Lan  # noqa: E402
from lab.oracle import Oracle  # noqa: E402
from lab.playbook import run_playbook  # noqa: E402
from lab.prober import Prober  # noqa: E402
from lab.vpc import Lab  # noqa: E402

CHECKERS, PLAYBOOK = "by the checkers, no EC2 parts", "by the playbook, no EC2 parts"
EC2 = {"by the playbook, EC2 parts": 0.0, "by the playbook, EC2 parts, 100 ms a call": 0.1}
ROWS = (CHECKERS, PLAYBOOK, *EC2)
#: Moves the resource between the named nodes.
Move = Callable[[str, str], object]


def measure(what: str, rounds: int, move: Move, oracle: Oracle, prober: Prober) -> None:
    """There and back in turn, as many moves as ``rounds``; prints a line."""
    with oracle, prober:
        prober.wait_until_answered(10, by="node-a")
        begin = time.monotonic()
        for number in range(rounds):
            old, new = ("node-a", "node-b") if number % 2 == 0 else ("node-b", "node-a")
            move(old, new)
            first = prober.wait_until_answered(30, by=new)
            prober.wait_until_answered(10, by=new, since=first.answered + 0.1)
        each = (time.monotonic() - begin) / rounds
        report, verdict = prober.stop(), oracle.stop()
    assert not verdict.faults, verdict.line
    outages = [one.ms for one in report.outages if one.before and one.after and one.before.node != one.after.node]
    assert len(outages) == rounds, outages
    print(f"{what:44} {rounds:5}  {statistics.median(outages):6.0f} ms  {max(outages):6.0f} ms  {each:8.1f} s", flush=True)


def on_a_lan(profile: str, rounds: int, playbook_rounds: int, only: str) -> None:
    with Lan(f"bs{os.getpid()}-", with_ssh=True) as lan, Pair(lan, profile) as pair:
        if only in CHECKERS:
            checkers = pair.checkers
            measure(
                CHECKERS,
                rounds,
                lambda old, new: hand_over(checkers[old], checkers[new], TAG),
                pair.oracle(),
                lan.prober(),
            )
        if only in PLAYBOOK:
            with tempfile.TemporaryDirectory() as folder:
                measure(PLAYBOOK, playbook_rounds, _playbook(pair, Path(folder)), pair.oracle(), lan.prober())


def _playbook(pair: Pair, folder: Path) -> Move:
    shared = {"holdfast_cluster": CLUSTER, "holdfast_store": STORE, "holdfast_resources": [pair.resource], "tag": TAG}
    inventory = folder / "inventory.json"
    inventory.write_text(json.dumps(pair.lan.inventory()))
    environment = {**pair.lan.node_a.environment, "ANSIBLE_PIPELINING": "1"}

    def move(_old: str, new: str) -> None:
        run = run_playbook("switchover", {**shared, "to": new}, where=pair.lan.switch, environment=environment, inventory=inventory)
        if run.status != 0:
            raise RuntimeError(run.message or run.other)

    return move


def in_the_vpc(profile: str, rounds: int, only: str) -> None:
    with Lab(f"bv{os.getpid()}-", with_ssh=True) as lab, tempfile.TemporaryDirectory() as folder, _in_service(lab, profile, Path(folder)) as cluster:
        for what, latency in EC2.items():
            if only not in what:
                continue
            if latency:
                lab.control.faults.inject(Fault("latency", "ec2:*", seconds=latency))
            measure(what, rounds, lambda _old, new: cluster.switch(new, Path(folder)), cluster.oracle(), lab.prober("client-c"))
            lab.control.faults.clear()


@contextmanager
def _in_service(lab: Lab, profile: str, folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(lab, timing=profile)
    try:
        cluster.reset()
        cluster.switch("node-a", folder)
        yield cluster
    finally:
        cluster.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description="Time planned switchovers.")
    parser.add_argument("--rounds", type=int, default=20, help="switchovers by the checkers (default: %(default)s)")
    parser.add_argument("--playbook-rounds", type=int, default=4, help="switchovers by the playbook (default: %(default)s)")
    parser.add_argument("--profile", default="fast", help="timing profile (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="WORD", help="only the rows whose text has this in it, such as checkers")
    given = parser.parse_args()
    if given.rounds % 2 or given.playbook_rounds % 2:
        parser.error("the resource has to come back: give even numbers")
    if not any(given.only in what for what in ROWS):
        parser.error(f"--only: it has to be part of one of these: {', '.join(ROWS)}")
    print(f"{'planned switchover, ' + given.profile:44} {'moves':>5}  {'median':>9}  {'worst':>9}  {'a move':>10}")
    if given.only in CHECKERS or given.only in PLAYBOOK:
        on_a_lan(given.profile, given.rounds, given.playbook_rounds, given.only)
    if any(given.only in what for what in EC2):
        in_the_vpc(given.profile, given.playbook_rounds, given.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
