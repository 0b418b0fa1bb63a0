# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a host's network at one instant, and what one address on it should be. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._errors import NotFound
from ansible_collections.holdfast.ha.plugins.module_utils._model import Address, KernelRoute, KernelRule, Link, LinkAddress

#: A route or rule with this protocol number was made by this collection; every other one is foreign. (rtnetlink(7): numbers
#: above 4 are for user space to choose; 72 is in nobody's rt_protos.)
OUR_PROTOCOL = "72"
#: The protocol number of what the kernel itself adds and removes with an address.
KERNEL_PROTOCOL = "2"
MAIN_TABLE = 254


@dataclass(frozen=True)
class NetState:
    """Links with their addresses, unicast routes of all tables, and rules; IPv4 and IPv6."""

    links: tuple[Link, ...] = ()
    routes: tuple[KernelRoute, ...] = ()
    rules: tuple[KernelRule, ...] = ()

    def find(self, name: str) -> Link | None:
        """The link of that name."""
        return next((link for link in self.links if link.name == name), None)

    def link(self, name: str, path: str = "interface") -> Link:
        """The link of that name; `NotFound` naming ``path`` when there is none."""
        found = self.find(name)
        if found is None:
            there = ", ".join(sorted(link.name for link in self.links)[:8])
            raise NotFound(f"{path}: this host has no link {name}; it has {there}", path=path, interface=name)
        return found

    def places(self, address: Address) -> Iterator[tuple[Link, LinkAddress]]:
        """Where this IP stands on the host, whatever the prefix length."""
        for link in self.links:
            for held in link.addresses:
                if held.address.ip == address.ip:
                    yield link, held


@dataclass(frozen=True)
class Desired:
    """What is wanted of one address. The fields are the options of the ip_address module.

    :param valid_lft: Seconds, ``None`` for ever.
    :param label: What follows the interface's name in the label of an IPv4 address. Without it, the address keeps the one that it has.
    :param leave_up: A link that was switched off stays on even where it has no carrier then: what comes next is not tried on it again.
    :param require_up: False: put the address there even if the link is dead (when it goes back after a failed swap).
    """

    address: Address
    interface: str
    present: bool = True
    valid_lft: int | None = None
    check_unique: bool = True
    bring_up: bool = True
    leave_up: bool = False
    announce: int = 3
    source_route: bool = True
    gateway: str | None = None
    label: str | None = None
    require_up: bool = True
