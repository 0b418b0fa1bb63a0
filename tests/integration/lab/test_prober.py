# SPDX-License-Identifier: GPL-3.0-or-later
"""The prober: what it calls an outage, and that it measures a real one."""

from __future__ import annotations

import json
import time

import pytest

from lab.prober import Answer, outages
from lab.vpc import Lab

_BLOCK = 'table inet block { chain forward { type filter hook forward priority -10; oifname != "lo" udp dport 7000 drop\n }\n }\n'


def answers(*sequence: int) -> list[Answer]:
    return [Answer(one, one * 0.005, one * 0.005 + 0.001, "node-a", 0) for one in sequence]


@pytest.mark.parametrize(
    ("answered", "asked", "expected"),
    [
        ((), 0, []),
        ((0, 1, 2), 3, []),
        ((2, 1, 0), 3, []),
        ((0, 3), 4, [(2, 15.0)]),
        ((2, 3), 4, [(2, 10.0)]),
        ((0, 1), 5, [(3, 15.0)]),
        ((), 4, [(4, 20.0)]),
        ((0, 2, 3, 7), 8, [(1, 10.0), (3, 20.0)]),
    ],
)
def test_outages(answered, asked, expected):
    assert [(one.lost, round(one.ms, 3)) for one in outages(answers(*answered), asked)] == expected


#: For how long a busy machine may keep a process from running, in seconds.
_BUSY = 0.09


@pytest.mark.parametrize("blocked", [0.1, 0.4])
def test_it_measures_an_outage_of_a_known_length(lab: Lab, blocked: float):
    """Blocked in the router for a time that is measured here; an outage is two runs of nft longer, and what a busy machine takes."""
    router = lab.router.namespace
    with lab.prober("client-c") as prober:
        prober.wait_until_answered(2)
        before = time.monotonic()
        router.run("nft", "-f", "-", input=_BLOCK)
        began = time.monotonic()
        time.sleep(blocked)
        ending = time.monotonic()
        router.run("nft", "delete", "table", "inet", "block")
        after = time.monotonic()
        prober.wait_until_answered(2)
        report = prober.stop()
    outage = max(report.outages, key=lambda one: one.ms)
    assert (ending - began) * 1000 <= outage.ms <= (after - before) * 1000 + _BUSY * 1000
    assert outage.lost >= (ending - began - _BUSY) / 0.005
    assert outage.before is not None
    assert outage.after is not None
    assert before - _BUSY <= outage.before.asked <= began
    assert ending <= outage.after.asked <= after + _BUSY


def test_it_tells_who_answered_and_in_which_epoch(lab: Lab):
    lab.node_a.set_epoch(3)
    with lab.prober("client-c", lab.place.vip6) as prober:
        assert prober.wait_until_answered(2, by="node-a").epoch == 3
        lab.node_a.set_epoch(4)
        while prober.wait_until_answered(2).epoch != 4:
            pass
        report = prober.stop()
    assert report.answered_by == (("node-a", 3), ("node-a", 4))
    assert json.loads(report.lines()[-1])["answered_by"] == ["node-a 3", "node-a 4"]


def test_waiting_is_bounded(lab: Lab):
    with lab.prober("client-c") as prober:
        prober.wait_until_answered(2)
        with pytest.raises(TimeoutError, match=r"10\.1\.0\.10 was not answered by node-b within 0\.2 s"):
            prober.wait_until_answered(0.2, by="node-b")
        with pytest.raises(TimeoutError, match="still answered after"):
            prober.wait_until_silent(0.3)
        lab.node_a.drop(lab.place.vip)
        gone = time.monotonic()
        assert abs(prober.wait_until_silent(2) - gone) < 0.1 + _BUSY


def test_it_ends_by_itself(lab: Lab):
    with lab.prober("client-c", seconds=0.2) as prober:
        prober.wait_until_over(5)
        report = prober.stop()
    assert 1 <= report.asked <= 41, "one each 5 ms, both ends included"
    assert report.answers
