# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done the moment that the kernel says an address has gone: decided beforehand, so that no other thread has to wake up first.

Before the loop of a resource goes to sleep, it says what it would do first if the address went now. Whoever hears of it does that at once, once,
and the loop, which is told, does all the rest as if it had seen the address missing. While the loop is awake nothing is done here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._checker.netlink import Change
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address


@dataclass(frozen=True)
class Foreseen:
    """If ``address`` goes from the link ``index``, ``act`` is called, which may raise `HoldfastError`: then the loop finds the address gone."""

    index: int
    address: Address
    act: Callable[[], None]


class FastPath:
    """Of one resource. Any thread may call it; nothing is done any more once `wake_up` has returned."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._foreseen: Foreseen | None = None
        self._done = False

    def sleep(self, foreseen: Foreseen | None) -> None:
        """The loop goes to sleep, and this is what it would do."""
        with self._lock:
            self._foreseen = foreseen

    def wake_up(self) -> None:
        """The loop decides itself again. Waits for what is being done."""
        with self._lock:
            self._foreseen = None

    def meet(self, change: Change) -> None:
        """Do what was foreseen of this change, if anything was."""
        if not change.gone or change.held is None:
            return
        with self._lock:
            foreseen = self._foreseen
            if foreseen is None or (change.index, change.held.address) != (foreseen.index, foreseen.address):
                return
            self._foreseen = None
            try:
                foreseen.act()
            except HoldfastError:
                return
            self._done = True

    def take(self) -> bool:
        """Whether the address went and was put back since this was asked last."""
        with self._lock:
            done, self._done = self._done, False
            return done
