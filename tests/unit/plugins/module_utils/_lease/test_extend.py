# SPDX-License-Identifier: GPL-3.0-or-later
"""An address is prolonged only while the lease lasts, with the kernel's timer set: on a clock that the test moves, and with a window of minutes.

What the kernel does then is shown in `tests/integration/lease/test_deadman.py`.
"""

from __future__ import annotations

import signal

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import LeaseOver, extend
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing

#: Of a window that no busy machine exceeds.
SLOW = Timing(ttl=1000, renew=200, call=150, margin=200, poll=100)
DEADLINE = 1780.0


def armed() -> float:
    """In how many seconds the kernel would end this process; 0 for never."""
    return signal.getitimer(signal.ITIMER_REAL)[0]


@pytest.mark.parametrize(("now", "given"), [(1000.0, 728), (1700.0, 28), (1727.9, 1)])
def test_it_lives_for_what_is_left(now: float, given: int) -> None:
    seconds: list[int] = []
    assert extend(DEADLINE, SLOW, seconds.append, lambda: now) == given
    assert seconds == [given]


@pytest.mark.parametrize("now", [1728.0, 1780.0, 2000.0])
def test_it_gets_nothing_when_less_than_a_second_is_left(now: float) -> None:
    seconds: list[int] = []
    with pytest.raises(LeaseOver, match="not renewed in time"):
        extend(DEADLINE, SLOW, seconds.append, lambda: now)
    assert (seconds, armed()) == ([], 0.0)


@pytest.mark.parametrize(("then", "over"), [(1779.9, False), (1780.0, True), (1900.0, True)])
def test_one_that_ends_after_the_deadline_is_no_success(then: float, over: bool) -> None:
    """The process was stopped after it had set the lifetime: whoever goes on would believe that it serves."""
    now, seconds = [1000.0], list[int]()

    def set_lifetime(given: int) -> None:
        seconds.append(given)
        now[0] = then

    if over:
        with pytest.raises(LeaseOver, match="the address has to go"):
            extend(DEADLINE, SLOW, set_lifetime, lambda: now[0])
    else:
        extend(DEADLINE, SLOW, set_lifetime, lambda: now[0])
    assert len(seconds) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_the_kernel_would_end_a_process_that_stands_still_meanwhile(fails: bool) -> None:
    """From before the clock is read until the kernel has the lifetime, and no longer."""
    seen: list[float] = []

    def clock() -> float:
        seen.append(armed())
        return 1000.0

    def set_lifetime(given: int) -> None:
        seen.append(armed())
        if fails:
            raise OSError("no such link")

    if fails:
        with pytest.raises(OSError, match="no such link"):
            extend(DEADLINE, SLOW, set_lifetime, clock)
    else:
        extend(DEADLINE, SLOW, set_lifetime, clock)
    assert all(0 < left <= SLOW.window for left in seen[:2]), seen
    assert seen[2:] == [0.0] * (not fails)
    assert armed() == 0.0
