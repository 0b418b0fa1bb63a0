# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel as dead-man's switch: letting an address live on for as long as the lease does, and not longer (DESIGN.md section 6).

An address gets a lifetime from the kernel's clock, so it goes when its process is stopped or killed. What is left is a
process that stands still after reading the clock and before the kernel has the new lifetime: it would bring the address back
late. So for that moment a kernel timer stands ready to end the process. The moment's length is part of the lease's margin.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import valid_lft
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing

_ONE_AT_A_TIME = threading.Lock()  # a process has one such timer


def hold_still() -> None:
    """No address is prolonged by this process any more, and no timer of `guard` runs: what comes before it executes another program."""
    _ONE_AT_A_TIME.acquire()


class LeaseOver(HoldfastError):
    """The deadline has come: stop serving and remove the address."""


def boottime() -> float:
    """The clock of the lease: seconds since this machine started, suspended or not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def extend(deadline: float, timing: Timing, set_lifetime: Callable[[int], None], clock: Callable[[], float] = boottime) -> int:
    """Let the address live until ``deadline`` and no longer.

    :param deadline: On ``clock``, as in `rule_values.Serve`.
    :param timing: Its window is for how long this may take: a process that stands still for longer in here is ended by the kernel (SIGALRM).
    :param set_lifetime: Gives the address so many seconds, in this process or in a child that dies with it (PR_SET_PDEATHSIG).
    :returns: The seconds given.
    :raises LeaseOver: When the deadline has come, before or meanwhile.
    """
    with _ONE_AT_A_TIME, guard(timing.window):
        seconds = valid_lft(deadline - timing.reserve, clock())  # read with the timer running, so never older than the window when it is used
        if seconds >= 1:
            set_lifetime(seconds)
    if seconds < 1 or clock() >= deadline:
        raise LeaseOver("the lease was not renewed in time; the address has to go")
    return seconds


@contextmanager
def guard(seconds: float) -> Iterator[None]:
    """The kernel ends this process unless it leaves within ``seconds``; a stopped process ends as soon as it is to go on.

    Raises `RuntimeError` when somebody in this process catches or ignores SIGALRM: the guard would not hold.
    """
    if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        raise RuntimeError("SIGALRM has to keep its default action while an address is refreshed")
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
