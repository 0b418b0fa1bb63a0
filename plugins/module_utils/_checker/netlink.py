# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel reports of links, addresses, routes and rules, handed to those whom it concerns: one thread for all resources."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import CommandFailed
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import LinkAddress
from ansible_collections.holdfast.ha.plugins.module_utils._net import rtnetlink
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import OUR_PROTOCOL

#: Multicast groups of rtnetlink(7): links, IPv4 and IPv6 addresses, IPv4 and IPv6 routes, IPv4 and IPv6 rules.
_GROUPS = 0x1 | 0x10 | 0x100 | 0x40 | 0x400 | 0x80 | 0x40000
_BUFFER = 1 << 16
_QUEUE = 1 << 20
_RTM_PROTOCOL = 5


@dataclass(frozen=True)
class Change:
    """What has changed: an address (``held`` on the link ``index``), a link (``index``), or anything at all (neither is given)."""

    index: int = 0
    held: LinkAddress | None = None
    gone: bool = False


ANYTHING = Change()


class Monitor(threading.Thread):
    """Calls ``tell`` with each change. Raises `CommandFailed` where the kernel does not let us listen."""

    def __init__(self, tell: Callable[[Change], None]) -> None:
        super().__init__(name="netlink", daemon=True)
        self._tell = tell
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE)
            self._socket.bind((0, _GROUPS))
        except OSError as error:
            raise CommandFailed(f"cannot listen to the kernel's events: {error.strerror}") from None

    def run(self) -> None:
        """For as long as the process lives."""
        while True:
            try:
                data = self._socket.recv(_BUFFER)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._tell(ANYTHING)  # more came than could be queued
                continue
            for kind, body in rtnetlink.messages(data):
                change = change_of(kind, body)
                if change is not None:
                    self._tell(change)


def change_of(kind: int, body: bytes) -> Change | None:
    """What a message is worth: ``None`` where nobody has to look."""
    if kind in (rtnetlink.NEW_LINK, rtnetlink.DEL_LINK):
        return Change(rtnetlink.link_index(body), gone=kind == rtnetlink.DEL_LINK)
    if kind in (rtnetlink.NEW_ADDRESS, rtnetlink.DEL_ADDRESS):
        message = rtnetlink.parse_address(body)
        return None if message is None else Change(message.index, message.held, kind == rtnetlink.DEL_ADDRESS)
    if kind in (rtnetlink.NEW_RULE, rtnetlink.DEL_RULE):  # also a foreign one can lead replies elsewhere
        return ANYTHING
    if kind == rtnetlink.DEL_ROUTE and struct.unpack_from("=B", body, _RTM_PROTOCOL)[0] == int(OUR_PROTOCOL):
        return ANYTHING
    return None
