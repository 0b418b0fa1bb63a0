# SPDX-License-Identifier: GPL-3.0-or-later
"""Switchover and back again and again, under a client that asks every 5 ms: by the checkers alone, and by the playbook with dependents."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import TAG, Cluster
from ansible_collections.holdfast.ha.tests.integration.failover.test_failover import dependents, never_two
from harness.pair import Pair
from lab.handover import hand_over
from lab.lan import Lan
from lab.oracle import Verdict
from lab.prober import Prober, Report

#: There and back so many times: by the checkers, and by the playbook.
BY_CHECKERS, BY_PLAYBOOK = 10, 1


@pytest.fixture
def pair() -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lan(f"many{os.getpid()}-") as lan, Pair(lan, "fast") as both:
        yield both


def tell(how: str, report: Report, verdict: Verdict) -> None:
    """Print the figures, and assert what has to hold whoever did it."""
    outages = [one.ms for one in report.outages]
    median, worst = statistics.median(outages), max(outages)
    print(f"\n{how}: {len(outages)} outages, median {median:.0f} ms, worst {worst:.0f} ms; {verdict.line}")
    assert verdict.faults == ()
    epochs = [one.epoch for one in verdict.tenures if one.node]
    assert all(one < other for one, other in pairwise(epochs)), epochs


def turns(report: Report) -> list[str]:
    """Who answered, one after the other; fails where two nodes answered in the same instant."""
    return [node for node, _begin, _end in never_two(report)]


def await_turn(prober: Prober, node: str) -> None:
    """The client is answered by that node, and goes on to be for a while."""
    first = prober.wait_until_answered(10, by=node)
    prober.wait_until_answered(10, by=node, since=first.answered + 0.1)


def test_ten_times_there_and_back_by_the_checkers(pair: Pair) -> None:
    with pair.oracle() as oracle, pair.lan.prober() as prober:
        await_turn(prober, "node-a")
        for _number in range(BY_CHECKERS):
            for old, new in (("node-a", "node-b"), ("node-b", "node-a")):
                hand_over(pair.checkers[old], pair.checkers[new], TAG)
                await_turn(prober, new)
        report, verdict = prober.stop(), oracle.stop()
    tell("by the checkers", report, verdict)
    assert turns(report) == ["node-a", *["node-b", "node-a"] * BY_CHECKERS]
    assert len({one.epoch for one in verdict.tenures if one.node}) == 2 * BY_CHECKERS + 1


def test_there_and_back_by_the_playbook(cluster: Cluster, tmp_path: Path) -> None:
    """In the VPC, with the route table entries, the Elastic IP and dependents that keep a diary."""
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.switch("node-a", tmp_path)
    cluster.all_on("node-a")
    (tmp_path / "diary").unlink()
    moves = [("node-a", "node-b"), ("node-b", "node-a")] * BY_PLAYBOOK
    with cluster.oracle() as oracle, cluster.lab.prober("client-c") as prober:
        await_turn(prober, "node-a")
        for _old, new in moves:
            cluster.switch(new, tmp_path)
            await_turn(prober, new)
        report, verdict = prober.stop(), oracle.stop()
    tell("by the playbook", report, verdict)
    cluster.all_on("node-a")
    assert turns(report) == ["node-a", *(new for _old, new in moves)]
    assert (tmp_path / "diary").read_text().splitlines() == [
        line
        for old, new in moves
        for line in (f"second stopped {old} 1", f"first stopped {old} 1", f"first started {new} 1", f"second started {new} 1")
    ]
