# SPDX-License-Identifier: GPL-3.0-or-later
"""A bounded wait, for what gives no event to wait on."""

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
