# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for the kernel to report something, rather than sleep."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

from ansible_collections.holdfast.ha.plugins.module_utils._core.poll import readable

T = TypeVar("T")

#: Multicast group of rtnetlink(7).
LINK = 0x1


def wait_until(look: Callable[[], T | None], groups: int, limit: float, now: Callable[[], float] = time.monotonic) -> T | None:
    """What ``look`` returns, as soon as that is not ``None``; ``None`` after ``limit`` seconds.

    It is called at once, and again after each event of the netlink ``groups``. The subscription comes before the first look, so no
    event is missed between the two.
    """
    deadline = now() + limit
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE) as events:
        events.bind((0, groups))
        while True:
            found = look()
            left = deadline - now()
            if found is not None or left <= 0:
                return found
            readable([events], left)
            _drain(events)


def _drain(events: socket.socket) -> None:
    """Drop what is queued: an event only says that it is time to look, and an overrun (ENOBUFS) says so too."""
    while True:
        try:
            events.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            continue
