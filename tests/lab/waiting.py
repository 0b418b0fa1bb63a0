# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounded waits and looks, for what gives no event to wait on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(question: Callable[[], T], seconds: float, otherwise: str, *, every: float = 0.02) -> T:
    """Ask until the answer is true; returns it. Raises TimeoutError with ``otherwise`` after ``seconds``."""
    end = time.monotonic() + seconds
    while not (answer := question()):
        if time.monotonic() >= end:
            raise TimeoutError(f"{otherwise} (waited {seconds:g} s)")
        time.sleep(every)
    return answer


def throughout(question: Callable[[], T], seconds: float, otherwise: str | Callable[[], str], *, every: float = 0.05) -> int:
    """Ask for so many seconds, and tell how often. Raises AssertionError with ``otherwise`` at the first answer that is not true."""
    begin, asked = time.monotonic(), 0
    while (now := time.monotonic()) < begin + seconds or asked == 0:
        asked += 1
        if not question():
            raise AssertionError(f"{otherwise if isinstance(otherwise, str) else otherwise()} (after {now - begin:.1f} of {seconds:g} s)")
        time.sleep(every)
    return asked
