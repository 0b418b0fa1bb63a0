# SPDX-License-Identifier: GPL-3.0-or-later
"""Rounds of independent writes."""

from __future__ import annotations

import threading

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.apply import Parallel


def test_every_action_is_attempted_and_named_in_its_error() -> None:
    def write(action: str) -> None:
        if action == "b":
            raise ServiceError("refused", code="UnauthorizedOperation")

    attempts = Parallel(write)(("a", "b", "c"))
    assert [(attempt.action, attempt.error and attempt.error.message) for attempt in attempts] == [("a", None), ("b", "b: refused"), ("c", None)]


def test_as_many_at_once_as_the_width_and_no_more() -> None:
    together = threading.Barrier(4)
    most, now, lock = 0, 0, threading.Lock()

    def write(action: int) -> None:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        together.wait(timeout=10)  # breaks unless four are under way at once
        with lock:
            now -= 1

    attempts = Parallel(write, width=4)(tuple(range(8)))
    assert all(attempt.error is None for attempt in attempts)
    assert most == 4


def test_throttling_halves_the_width_of_the_next_round_down_to_one() -> None:
    def write(action: int) -> None:
        raise ServiceError("slow down", code="RequestLimitExceeded", retryable=True)

    parallel = Parallel(write, width=10)
    seen = []
    for _round in range(5):
        parallel((1, 2))
        seen.append(parallel.width)
    assert seen == [5, 2, 1, 1, 1]
