# SPDX-License-Identifier: GPL-3.0-or-later
"""The second half of ``make demo``: a checker on each node, a lease in the lab's DynamoDB; the active node is killed, and the way back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lab import picture
from lab.checker import Checker
from lab.demo_run import BACK, as_administrator, from_a_controller, reminding, say, show_run, start_clients
from lab.faults import clear
from lab.oracle import Oracle, Stay, Tenure, lease_writes
from lab.prober import Prober, Report
from lab.vpc import Lab

CLUSTER, TABLE, TAG = "demo", "holdfast", "web"
STORE = {"type": "dynamodb", "table": TABLE}
KEY = f"{CLUSTER}/{TAG}"
TIMING = "fast"


def resource(lab: Lab) -> dict[str, Any]:
    """What is protected."""
    parts = {"route_tables": "all", "elastic_ip": lab.place.elastic_ip}
    return {"tag": TAG, "address": lab.place.vip, "interface": "eth0", "backup_interface": "eth1", "ec2": parts}


class Cluster:
    """Both nodes with their checkers."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        settings = {"cluster": CLUSTER, "store": STORE, "timing": TIMING}
        self.checkers = {node.name: Checker(node, settings, [resource(lab)]) for node in lab.nodes}

    def run(self, playbook: str, **variables: str) -> bool:
        """A playbook against both nodes; whether it succeeded."""
        shared = {"holdfast_cluster": CLUSTER, "holdfast_store": STORE, "holdfast_resources": [resource(self.lab)]}
        return show_run(from_a_controller(self.lab, playbook, {**shared, **variables})).status == 0

    def kill(self, name: str) -> str:
        """That machine is gone at once."""
        self.checkers[name].kill()
        for interface in self.lab.machines[name].place.interfaces:
            self.lab.router.cut(interface.id)
        return f"{name} is gone: its processes killed, its links dead"

    def bring_back(self, name: str) -> None:
        """The machine is there again."""
        clear(self.lab)
        self.lab.machines[name].configure()
        self.checkers[name].start()

    def oracle(self) -> Oracle:
        """Looks at both kernels and at the lease, and fails when there were two holders."""
        _when, holder, epoch = lease_writes(self.lab.control.calls, KEY, 0)[-1]
        looking = Oracle({node.name: node.namespace for node in self.lab.nodes}, self.lab.place.vip)
        return looking.follow(self.lab.control.calls, KEY, holder, epoch)


@contextmanager
def _cluster(lab: Lab) -> Iterator[Cluster]:
    cluster = Cluster(lab)
    try:
        for checker in cluster.checkers.values():
            checker.start()
        yield cluster
    finally:
        for checker in cluster.checkers.values():
            checker.stop()


def failover(lab: Lab, number: int) -> bool:
    """Play both scenes, the first as ``number``; whether all went well."""
    clear(lab)
    lab.node_a.configure()
    say("\nNow with a checker on each node, and a lease in DynamoDB that says which of them may be active. It begins on node-a.")
    if show_run(as_administrator(lab, "prepare_aws", {"holdfast_store": STORE})).status != 0:
        return False
    with _cluster(lab) as cluster:
        good = cluster.run("switchover", tag=TAG, to="node-a")
        if good and _play(cluster, number, "The active node is killed", "node-b", lambda: _killed(cluster)):
            cluster.bring_back("node-a")
            say("\nnode-a runs again, and leaves the service where it is.")
            return _play(cluster, number + 1, "A switchover to node-a", "node-a", lambda: cluster.run("switchover", tag=TAG, to="node-a"))
        return False


def _killed(cluster: Cluster) -> bool:
    say(f"  broken    {cluster.kill('node-a')}")
    return cluster.run("failover", tag=TAG)


def _play(cluster: Cluster, number: int, title: str, to: str, act: Callable[[], bool]) -> bool:
    """Show one scene; whether it ended with the clients answered by ``to``, and never with two holders."""
    say(f"\n{number}. {title}\n")
    before, oracle, probers = picture.take(cluster.lab), cluster.oracle().start(), start_clients(cluster.lab)
    begin = time.monotonic()
    good = act()
    say("")
    for line in picture.compare(before, picture.take(cluster.lab), ("route", "elastic ip", "address")):
        say(f"  {line}")
    say("")
    reports = {}
    for name, prober in probers.items():
        with reminding(f"waiting for {name} to be answered by {to}"):
            good = _answered(prober, to) and good
        reports[name] = prober.stop()
        say(f"  outage    {name}: {f'{reports[name].longest_ms:,.0f} ms' if reports[name].outages else 'none'}")
    verdict = oracle.stop()
    say("")
    for line in timeline(reports, verdict.tenures, verdict.stays, begin):
        say(f"  {line}")
    say(f"\n  holders   {verdict.line}")
    return good and not verdict.faults


def _answered(prober: Prober, by: str) -> bool:
    try:
        prober.wait_until_answered(BACK, by=by)
    except TimeoutError:
        say(f"  outage    {prober.address}: still no answer from {by}")
        return False
    return True


def timeline(reports: Mapping[str, Report], tenures: Sequence[Tenure], stays: Sequence[Stay], zero: float) -> list[str]:
    """Who held the lease, had the address in its kernel, and answered each client, in seconds from ``zero``. Pure."""
    rows = [("holder over time (s)", "epoch", "holds the lease", "has the address", *(f"answers {name}" for name in reports))]
    for held in tenures:
        if not held.node:
            rows.append(("nobody", str(held.epoch), _span(held.begin, held.end, zero), *[""] * (1 + len(reports))))
            continue
        there = [stay for stay in stays if stay.node == held.node and stay.begin <= held.end and held.begin <= stay.end]
        had = _span(there[0].begin, there[-1].end, zero) if there else "-"
        answered = []
        for report in reports.values():
            mine = [one for one in report.answers if one.node == held.node and held.begin <= one.asked <= held.end]
            answered.append(_span(mine[0].asked, max(one.answered for one in mine), zero) if mine else "-")
        rows.append((held.node, str(held.epoch), _span(held.begin, held.end, zero), had, *answered))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _span(begin: float, end: float, zero: float) -> str:
    return f"{begin - zero:6.2f} to {'now' if end == float('inf') else f'{end - zero:.2f}'}"
