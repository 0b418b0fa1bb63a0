# SPDX-License-Identifier: GPL-3.0-or-later
"""When an address that is in service is announced to its neighbours again: the first announcement may be lost. Pure.

A switch port that has just come up forwards nothing for up to 30 s (spanning tree), and a burst may be dropped. So there are announcements within
the first minute, and then one at each interval, for a neighbour that missed those too.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Link
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import NEVER

#: Seconds after the address came.
_AFTER = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
#: By so much of the interval an announcement may be early, at random: a node may have hundreds of addresses.
_SPREAD = 0.25


class Announcements:
    """Of one resource.

    ``due``: when the next one is, in seconds of the caller's clock. ``link``: where; ``None`` while there is nothing to announce.
    """

    def __init__(self, spread: Callable[[], float] = random.random) -> None:
        self._spread = spread
        self._came_with: tuple[int, str, int] | None = None
        self._since = self._interval = 0.0
        self.link: Link | None = None
        self.due = NEVER

    def observe(self, link: Link | None, epoch: int, interval: float, now: float) -> None:
        """The address is in service on ``link``, or on none. It has come if the link, its MAC address or the lease is another than before.

        :param epoch: Of the lease.
        :param interval: Seconds; 0 for no announcements after the first minute.
        """
        came_with = None if link is None else (link.index, link.mac, epoch)
        self.link, self._interval = link, interval
        if came_with != self._came_with:
            self._came_with, self._since = came_with, now
            self.due = NEVER if came_with is None else self._next(now)

    def announced(self, now: float) -> None:
        """It was announced, or could not be."""
        self.due = self._next(now)

    def _next(self, now: float) -> float:
        early = next((self._since + after for after in _AFTER if self._since + after > now), NEVER)
        return min(early, now + self._interval * (1 - _SPREAD * self._spread())) if self._interval else early
