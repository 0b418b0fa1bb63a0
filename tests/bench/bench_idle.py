# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs while nothing happens: share of a core and memory of the checker and of the run that waits, and calls to EC2 for a look.

    tests/holdfast-bench bench_idle [--seconds N]

Profile `standard` as delivered, with 1 and 20 resources: on a plain network, the active node and the standby, with leases in etcd, and in DynamoDB,
whose client alone takes some 20 MB; and in the lab's VPC with three route tables and an Elastic IP, the active node. All idle at the same time, each
process by its own account; keepalived with one address beside them. PSS shares out what processes have in common, so with fewer of them on a machine
it comes closer to the resident size.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.subreaper import below
from ansible_collections.holdfast.ha.tests.integration.failover.etcd import LabEtcd
from bench.contestants import Holdfast, Keepalived, keepalived_there, new_lan
from bench.figures import load
from bench.in_vpc import Watched
from lab.forwarding import router_address
from lab.lan import CIDR

SHARE_GOAL, PLAIN_GOAL, EC2_GOAL = 0.005, 30e6, 70e6


@dataclass(frozen=True)
class Idler:
    """Processes that are looked at as one."""

    name: str
    pids: Callable[[], list[int]]
    memory_goal: float | None = None
    share_goal: float | None = None


def cpu_seconds(pids: list[int]) -> float:
    """Processor time used so far, children that have ended included."""
    fields = [Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split() for pid in pids]
    return sum(int(number) for one in fields for number in one[11:15]) / os.sysconf("SC_CLK_TCK")


def memory(pids: list[int], what: str) -> float:
    """``Pss`` or ``Rss`` of all, in bytes."""
    lines = [line.split() for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()]
    return sum(1024.0 * int(line[1]) for line in lines if line[0] == f"{what}:")


def on_a_lan(stack: ExitStack, count: int, store: str) -> list[Idler]:
    """Active node and standby with so many resources; with one of them also a run that waits."""
    lan, etcd = new_lan(stack, f"i{store[0]}{count}"), None
    if store == "etcd":
        folder = stack.enter_context(TemporaryDirectory())
        etcd = stack.enter_context(LabEtcd(lan.switch, Path(folder), router_address(CIDR)))
    one = Holdfast(lan, "standard", runs="armed" if count == 1 else "", etcd=etcd)
    one.settings["checks"] = {"grace": 0}
    one.others = [
        {**one.resource, "tag": f"web{number}", "address": f"10.9.0.{150 + number}/24", "backup_interface": None} for number in range(1, count)
    ]
    stack.enter_context(one)
    one.settle()
    a, b = (one.checkers[name] for name in ("node-a", "node-b"))
    told = f"{count} resource{'s' if count > 1 else ''}, {store}"
    goals = (PLAIN_GOAL, SHARE_GOAL) if count == 1 and store == "etcd" else (None, None)
    found = [Idler(f"checker, active, {told}", lambda: [a.pid], *goals), Idler(f"checker, standby, {told}", lambda: [b.pid], *goals)]
    if goals[0]:
        armed = a.ask("status")["armed"]["pid"]
        found.append(Idler("the run that waits", lambda: [armed, *below(armed)]))
    return found


def in_the_vpc(stack: ExitStack, count: int) -> tuple[Idler, Callable[[], int]]:
    """The active node with so many resources, all right on EC2; and how many calls one look at one of them makes."""
    one = Watched(stack, 3, armed=False, more=count - 1)
    one.settle()

    def calls() -> int:
        before = one.lab.control.calls.count("ec2:*")
        one.checker.ask("check", tag="web", wait=5)
        return one.lab.control.calls.count("ec2:*") - before

    goals = (EC2_GOAL, SHARE_GOAL) if count == 1 else (None, None)
    return Idler(f"checker, active, {count} resource{'s' if count > 1 else ''}, EC2", lambda: [one.checker.pid], *goals), calls


def show(idlers: list[Idler], seconds: float) -> None:
    """Look at them for so long, and print the table."""
    before = {one.name: cpu_seconds(one.pids()) for one in idlers}
    begin = time.monotonic()
    time.sleep(seconds)  # what is measured is that nothing happens
    lasted = time.monotonic() - begin
    print(f"\nidle for {lasted:.0f} s ({load()})\n{'process':44}  {'of a core':>9}  {'PSS':>8}  {'resident':>8}  goals")
    for one in idlers:
        share, pss, rss = (cpu_seconds(one.pids()) - before[one.name]) / lasted, memory(one.pids(), "Pss"), memory(one.pids(), "Rss")
        goal = f"{one.share_goal:.1%}, {one.memory_goal / 1e6:.0f} MB" if one.share_goal and one.memory_goal else ""
        missed = one.share_goal and one.memory_goal and (share > one.share_goal or pss > one.memory_goal)
        print(f"{one.name:44}  {share:9.2%}  {pss / 1e6:5.1f} MB  {rss / 1e6:5.1f} MB  {goal}{'  MISSED' if missed else ''}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what idling costs.")
    parser.add_argument("--seconds", type=float, default=300, help="for how long (default: %(default)s)")
    given = parser.parse_args()
    with ExitStack() as stack:
        idlers = [*on_a_lan(stack, 1, "etcd"), *on_a_lan(stack, 1, "dynamodb"), *on_a_lan(stack, 20, "etcd")]
        counts = {}
        for count in (1, 20):
            idler, counts[count] = in_the_vpc(stack, count)
            idlers.append(idler)
        if keepalived_there():
            rival = stack.enter_context(Keepalived(new_lan(stack, "ik"), 1.0, (254, 253)))
            rival.settle()
            idlers.append(Idler("keepalived, advert 1 s", rival.pids))
        show(idlers, given.seconds)
        for count, calls in counts.items():
            print(f"EC2 calls for a look at one of {count}: {calls()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
