# SPDX-License-Identifier: GPL-3.0-or-later
"""Who claims a lease that nobody gave away: tables of situations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY, Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.claim import Candidate, Situation, claim_at, rank
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import LONG_AGO, NEVER

TIMING = Timing()
LATER = TIMING.poll + 2 * TIMING.call
FREE, HELD = Record("", 7, "x.1"), Record("node-a", 7, "x.1")
A, C = Candidate("node-a", 1), Candidate("node-c", 3)


def situation(**changes: Any) -> Situation:
    """node-b, second of three; the lease is free since 100."""
    begin = Situation("node-b", 2, willing=True, going_on=True, seen=True, record=FREE, since=100.0, free_at=LONG_AGO, others=(A, C))
    return replace(begin, **changes)


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({}, 100 + LATER),
        ({"priority": 0}, 100),
        ({"others": ()}, 100),
        ({"others": (replace(A, able=False), C)}, 100),
        ({"others": (Candidate("node-a"), Candidate("node-c"))}, 100),  # those without a priority come last
        ({"priority": 5}, 100 + 2 * LATER),
        ({"record": None, "free_at": 110.0}, 110 + LATER),
        ({"record": HELD, "free_at": 110.0}, 110),  # node-a had it and let it run out: nobody is waited for but the lease
        ({"record": replace(HELD, holder="node-c"), "free_at": 110.0}, 110 + LATER),
        ({"record": replace(FREE, handoff_to="node-b")}, LONG_AGO),
        ({"record": replace(FREE, handoff_to="node-c"), "free_at": 110.0}, 110 + LATER),
        ({"record": replace(FREE, handoff_to=NOBODY)}, NEVER),
        ({"record": replace(HELD, holder="node-b"), "owned": True}, LONG_AGO),
        ({"record": replace(HELD, holder="node-b"), "owned": True, "willing": False}, LONG_AGO),
        ({"record": replace(HELD, holder="node-b"), "owned": True, "going_on": False}, NEVER),
        ({"willing": False}, NEVER),
        ({"willing": False, "record": replace(FREE, handoff_to="node-b")}, NEVER),
        ({"seen": False}, NEVER),
    ],
)
def test_when_it_is_claimed(changes: dict[str, object], at: float) -> None:
    assert claim_at(situation(**changes), TIMING) == at


def test_equal_priorities_are_told_apart_by_name() -> None:
    names = ("node-a", "node-b", "node-c")
    ranks = []
    for me in names:
        others = tuple(Candidate(name, 1) for name in names if name != me)
        ranks.append(rank(situation(me=me, priority=1, others=others)))
    assert ranks == [0, 1, 2]
