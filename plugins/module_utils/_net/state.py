# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a host's network at one instant, and what one address on it should be. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import NotFound
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, KernelRoute, KernelRule, Link, LinkAddress

#: A route or rule with this protocol number was made by this collection; every other one is foreign. (rtnetlink(7): numbers
#: above 4 are for user space to choose; 72 is in nobody's rt_protos.)
OUR_PROTOCOL = "72"
#: The protocol number of what the kernel itself adds and removes with an address.
KERNEL_PROTOCOL = "2"
MAIN_TABLE = 254
#: Metrics of the routes to a protected address's own network: worse than any that network managers and routing daemons give, so that the node's
#: own route to that network wins. Each address has its own metric, so that what is removed with one address serves no other.
_NETWORK_METRICS = range(7_200_000, 7_300_000)


def network_metric(address: Address) -> int:
    """The metric of the route to the network of a protected address: the same one on every run."""
    return _NETWORK_METRICS[zlib.crc32(address.host.encode()) % len(_NETWORK_METRICS)]


def network_route(address: Address, interface: str, valid_lft: int | None = None) -> KernelRoute | None:
    """The route to the network of a protected IPv6 address, which lasts as long as the address. ``None`` for IPv4, where the kernel makes it.

    For IPv6 the kernel may do more than add a route: it lets the node's own route to that network expire, or deletes it, where an address
    without an end gets one (modify_prefix_route in net/ipv6/addrconf.c). So it is not left to the kernel.
    """
    if address.version == 4 or address.prefixlen == 128:
        return None
    words = () if valid_lft is None else ("expires", str(valid_lft))
    return KernelRoute(str(address.network), interface, None, MAIN_TABLE, OUR_PROTOCOL, metric=network_metric(address), version=6, words=words)


def preferred_lft(address: Address, valid_lft: int | None) -> int | None:
    """An IPv6 address is deprecated from the start: the node's own connections do not use it as their source (RFC 6724, rule 3)."""
    return 0 if address.version == 6 else valid_lft


def precedes_own(link: Link, held: LinkAddress) -> bool:
    """Whether the node's own address on the link is a secondary of the protected one, so that it goes with it, and is not its connections' source."""
    others = [other for other in link.addresses if other.secondary and other.address.network == held.address.network]
    return held.address.version == 4 and not held.secondary and any(other.metric not in _NETWORK_METRICS for other in others)


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
