# SPDX-License-Identifier: GPL-3.0-or-later
"""A planned switchover: for how long a client is without the service.

    tests/holdfast-bench bench_switchover [--rounds N] [--playbook-rounds N] [--profiles fast,standard] [--only WORD]

By the checkers alone: on a plain network, beside keepalived that is stopped in good order, each in turn, to a client that asks every half a
millisecond, then Pacemaker by itself, where it is installed; and in the lab's VPC, where the new node's checker has the routes of three
tables, the source/dest check and the Elastic IP moved by its waiting run. By the playbook over SSH: on a plain network, and in the VPC, where the new
node's checker has a run that waits, or no trigger at all. In the VPC without latency and with 100 ms for each call to EC2. In the VPC and by the
playbook a client asks every 5 ms, and no figure counts where two nodes held the address at once.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore
from ansible_collections.holdfast.ha.tests.integration.failover.cluster import Cluster
from bench.client import Client
from bench.contestants import HOST, PATIENCE, Contestant, Holdfast, keepaliveds, new_lan
from bench.figures import Table
from bench.pacemaker import pacemakers, why_not
from harness.pair import CLUSTER, STORE, TAG, Pair
from lab.control import Fault
from lab.handover import hand_over
from lab.installed import Installed
from lab.lan import Lan
from lab.oracle import Oracle
from lab.playbook import run_playbook
from lab.prober import Prober
from lab.vpc import Lab

PLAIN = "switchover, no EC2 parts"
EC2 = {"switchover, EC2 parts": 0.0, "switchover, EC2, 100 ms a call": 0.1}
GOALS = {PLAIN: 0.1, **dict.fromkeys(EC2, 0.5)}
#: Moves the resource between the named nodes.
Move = Callable[[str, str], object]


def _by_checkers(both: Installed, old: str, new: str) -> None:
    hand_over(both.checkers[old], both.checkers[new], TAG)


def leave(one: Contestant) -> float:
    """The active node gives the service up; returns the outage."""
    one.settle()
    with Client(one.lan.machines["client-c"].namespace, HOST) as client:
        [(node, _link)] = one.places()
        begin = time.monotonic()
        one.leave(node)
        seconds = client.outage(begin, PATIENCE).seconds
    if not isinstance(one, Holdfast):
        one.revive(node)
    return seconds


def beside_rivals(profiles: list[str], rounds: int, table: Table) -> None:
    with ExitStack() as stack:
        ours = [stack.enter_context(Holdfast(new_lan(stack, f"s{number}"), profile)) for number, profile in enumerate(profiles)]
        rivals = keepaliveds(stack)
        turns([*ours, *rivals], rounds, table, ours[0].name)
        if not rivals:
            table.left_out(PLAIN, "keepalived", "not installed")
    with ExitStack() as stack:
        turns(pacemakers(stack), rounds, table, ours[0].name)
    if why_not():
        table.left_out(PLAIN, "pacemaker", why_not())


def turns(contestants: list[Contestant], rounds: int, table: Table, against: str) -> None:
    """Each in turn, as many times as ``rounds``; then a row for each."""
    found: dict[str, list[float]] = {one.name: [] for one in contestants}
    for _round in range(rounds):
        for one in contestants:
            found[one.name].append(leave(one))
    for name, seconds in found.items():
        goal = GOALS[PLAIN] if name.startswith("holdfast") else None
        table.row(PLAIN, name, seconds, goal=goal, against=against)


def outages(rounds: int, move: Move, oracle: Oracle, prober: Prober, rest: Callable[[str], object] = lambda new: None) -> list[float]:
    """There and back in turn, as many moves as ``rounds``. ``rest``: returns once all is well on that node."""
    with oracle, prober:
        prober.wait_until_answered(10, by="node-a")
        for number in range(rounds):
            old, new = ("node-a", "node-b") if number % 2 == 0 else ("node-b", "node-a")
            move(old, new)
            first = prober.wait_until_answered(PATIENCE, by=new)
            prober.wait_until_answered(10, by=new, since=first.answered + 0.1)
            rest(new)
        report, verdict = prober.stop(), oracle.stop()
    assert not verdict.faults, verdict.line
    found = [one.seconds for one in report.outages if one.before and one.after and one.before.node != one.after.node]
    assert len(found) == rounds, found
    return found


def by_the_playbook(profile: str, rounds: int, table: Table) -> None:
    name = f"holdfast {profile}, playbook over SSH"
    with Lan(f"bp{os.getpid()}-", with_ssh=True) as lan, Pair(lan, profile) as pair, tempfile.TemporaryDirectory() as folder:
        move = _playbook(pair, Path(folder))
        table.row(PLAIN, name, outages(rounds, move, pair.oracle(), lan.prober()), goal=GOALS[PLAIN])
    with Lab(f"bv{os.getpid()}-", with_ssh=True) as lab, tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(lab, timing=profile)
        try:
            with _installed(lab, profile, cluster.web) as both:
                cluster.resource = dict(cluster.web)
                in_the_vpc(name, rounds, table, both, lambda _old, new: _quietly(cluster, new, Path(folder)))
            cluster.reset()
            _quietly(cluster, "node-a", Path(folder))
            for what, latency in EC2.items():
                with slowly(lab, latency):
                    found = outages(rounds, lambda _old, new: _quietly(cluster, new, Path(folder)), cluster.oracle(), lab.prober("client-c"))
                table.row(what, f"{name}, no trigger", found, goal=GOALS[what])
        finally:
            cluster.stop()


def by_checkers_in_the_vpc(profile: str, rounds: int, table: Table) -> None:
    with Lab(f"bc{os.getpid()}-") as lab:
        DynamoDbStore(lab.control.client("dynamodb"), STORE["table"]).create(pause=lambda _: time.sleep(0.05))
        parts = {"route_tables": "all", "elastic_ip": lab.place.elastic_ip}
        with _installed(lab, profile, {"tag": TAG, "address": lab.place.vip, "interface": "eth0", "ec2": parts}) as both:
            in_the_vpc(f"holdfast {profile}, checkers", rounds, table, both, partial(_by_checkers, both))


def _installed(lab: Lab, profile: str, resource: dict[str, Any]) -> Installed:
    return Installed(lab, CLUSTER, STORE, {**resource, "priority": {"node-a": 1, "node-b": 2}}, profile)


def in_the_vpc(name: str, rounds: int, table: Table, both: Installed, move: Move) -> None:
    """Between two moves all comes to rest: the new node serves, the old one is ready, and a run waits on each."""

    def rest(new: str) -> None:
        both.until_in_service(new, PATIENCE)
        both.until_ready(next(name for name in both.checkers if name != new), PATIENCE)
        both.until_armed(PATIENCE)

    rest("node-a")
    for what, latency in EC2.items():
        with slowly(both.lab, latency):
            found = outages(rounds, move, both.oracle(), both.lab.prober("client-c"), rest)
        table.row(what, name, found, goal=GOALS[what])


@contextmanager
def slowly(lab: Lab, latency: float) -> Iterator[None]:
    """Each call to EC2 takes so much longer."""
    if latency:
        lab.control.faults.inject(Fault("latency", "ec2:*", seconds=latency))
    yield
    lab.control.faults.clear()


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


def _quietly(cluster: Cluster, new: str, folder: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        cluster.switch(new, folder)


def main() -> int:
    parser = argparse.ArgumentParser(description="Time planned switchovers.")
    parser.add_argument("--rounds", type=int, default=20, help="switchovers by the checkers, and rivals' stops (default: %(default)s)")
    parser.add_argument("--playbook-rounds", type=int, default=20, help="switchovers by the playbook; 0: none (default: %(default)s)")
    parser.add_argument("--profiles", default="fast,standard", help="timing profiles (default: %(default)s)")
    parser.add_argument("--only", choices=("lan", "vpc", "playbook"), help="only this part")
    given = parser.parse_args()
    profiles = given.profiles.split(",")
    if given.rounds % 2 or given.playbook_rounds % 2:
        parser.error("the resource has to come back: give even numbers")
    table = Table("planned switchover: the outage that a client saw; ratio to the first line")
    if given.only in (None, "lan"):
        beside_rivals(profiles, given.rounds, table)
    for profile in profiles:
        if given.only in (None, "vpc"):
            by_checkers_in_the_vpc(profile, given.rounds, table)
        if given.only in (None, "playbook") and given.playbook_rounds:
            by_the_playbook(profile, given.playbook_rounds, table)
    table.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
