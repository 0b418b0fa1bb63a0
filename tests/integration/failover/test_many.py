# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten switchovers there and back under a client that asks every 5 ms, by the checkers' hand-off; by the playbook: `test_failover`."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from itertools import pairwise

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.shared import never_two
from harness.marks import STALLS
from harness.pair import TAG, Pair
from lab.handover import hand_over
from lab.lan import Lan
from lab.prober import Prober

pytestmark = STALLS

TIMES = 10


@pytest.fixture
def pair() -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lan(f"many{os.getpid()}-") as lan, Pair(lan, "fast") as both:
        yield both


def await_turn(prober: Prober, node: str) -> None:
    """The client is answered by that node, and goes on to be for a while."""
    first = prober.wait_until_answered(10, by=node)
    prober.wait_until_answered(10, by=node, since=first.answered + 0.1)


def test_ten_times_there_and_back_by_the_checkers(pair: Pair) -> None:
    with pair.oracle() as oracle, pair.lan.prober() as prober:
        await_turn(prober, "node-a")
        for _number in range(TIMES):
            for old, new in (("node-a", "node-b"), ("node-b", "node-a")):
                hand_over(pair.checkers[old], pair.checkers[new], TAG)
                await_turn(prober, new)
        report, verdict = prober.stop(), oracle.stop()
    outages = [one.ms for one in report.outages]
    print(f"\n{len(outages)} outages, median {statistics.median(outages):.0f} ms, worst {max(outages):.0f} ms; {verdict.line}")
    verdict.confirm()
    assert [node for node, _begin, _end in never_two(report)] == ["node-a", *["node-b", "node-a"] * TIMES]
    epochs = [one.epoch for one in verdict.tenures if one.node]
    assert len(epochs) == 2 * TIMES + 1
    assert all(one < other for one, other in pairwise(epochs)), epochs
