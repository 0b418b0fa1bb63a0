# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkers left to themselves: what is broken is mended, who is gone is replaced, and never two nodes have the address."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from lab.lan import VIP, Lan
from lab.waiting import until

from .pair import KEY, Pair

TIMING = PROFILES["fast"]


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lan(f"pair{os.getpid()}-", links=2) as lan:
        pair = Pair(lan)
        try:
            yield pair
        finally:
            pair.stop()


@pytest.fixture
def pair(shared: Pair) -> Iterator[Pair]:
    """node-a is active. At the end the oracle has seen no instant with two holders."""
    shared.reset()
    with shared.lan.oracle(KEY):
        yield shared


def test_a_deleted_address_is_back_at_once(pair: Pair) -> None:
    with pair.lan.prober() as prober:
        prober.wait_until_answered(10, by="node-a")
        pair.node("node-a").drop(VIP)
        until(lambda: pair.checkers["node-a"].seen("reflex"), 10, "no reflex")
        prober.wait_until_answered(10, by="node-a")
        report = prober.stop()
    told = pair.checkers["node-a"].seen("reflex")[0]
    assert (told["ok"], told["faults"]) == (True, ["address"])
    assert report.longest_ms < 1000
    assert pair.status("node-a")["last_recovery"]["ok"]
    assert pair.status("node-b")["held"] is False
