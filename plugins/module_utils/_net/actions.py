# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done to links, addresses, routes and rules of this host. Values alone; `apply` carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, KernelRoute, KernelRule, LinkAddress


@dataclass(frozen=True)
class SetUp:
    """Switch a link on and wait for its carrier. ``stays``: it stays on where none comes."""

    interface: str
    stays: bool = False

    def __str__(self) -> str:
        return f"setting {self.interface} up"


@dataclass(frozen=True)
class Bounce:
    """Switch a link off and on, once; then put back ``addresses`` and ``routes``, which the kernel drops on the way."""

    interface: str
    addresses: tuple[LinkAddress, ...] = ()
    routes: tuple[KernelRoute, ...] = ()

    def __str__(self) -> str:
        return f"setting {self.interface} down and up"


@dataclass(frozen=True)
class CheckUnclaimed:
    """Ask the link whether another host has the address; nothing is changed."""

    address: Address
    interface: str

    def __str__(self) -> str:
        return f"asking {self.interface} whether another host has {self.address.host}"


@dataclass(frozen=True)
class AddAddress:
    """Add an address. ``label``: of an IPv4 address, where it is not the interface's name. ``restore``: routes from it that a removal took along."""

    address: Address
    interface: str
    valid_lft: int | None = None
    restore: tuple[KernelRoute, ...] = ()
    label: str | None = None

    def __str__(self) -> str:
        return f"adding {self.address} to {self.interface}"


@dataclass(frozen=True)
class RefreshAddress:
    """Set the lifetime of an address that is there, or was until a moment ago. ``metric``: of the route to its network, if somebody gave one."""

    address: Address
    interface: str
    valid_lft: int | None = None
    noprefixroute: bool = False
    metric: int | None = None

    def __str__(self) -> str:
        return f"setting the lifetime of {self.address} on {self.interface} to {'forever' if self.valid_lft is None else f'{self.valid_lft} s'}"


@dataclass(frozen=True)
class RemoveAddress:
    """Remove an address. ``promote``: keep its secondary addresses. ``restore``: foreign routes that go with a link's last address."""

    address: Address
    interface: str
    promote: bool = False
    restore: tuple[KernelRoute, ...] = ()

    def __str__(self) -> str:
        return f"removing {self.address} from {self.interface}"


@dataclass(frozen=True)
class Announce:
    """Tell the neighbours, ``count`` times, where the address is now."""

    address: Address
    interface: str
    count: int

    def __str__(self) -> str:
        return f"announcing {self.address.host} on {self.interface}"


@dataclass(frozen=True)
class AddRoute:
    """Add or replace a route."""

    route: KernelRoute

    def __str__(self) -> str:
        return f"adding the route {_shown(self.route)}"


@dataclass(frozen=True)
class DeleteRoute:
    """Delete a route; it may have gone by itself."""

    route: KernelRoute

    def __str__(self) -> str:
        return f"deleting the route {_shown(self.route)}"


@dataclass(frozen=True)
class AddRule:
    """Add a rule of the routing policy."""

    rule: KernelRule

    def __str__(self) -> str:
        return f"adding the rule from {self.rule.source} lookup {self.rule.table}"


@dataclass(frozen=True)
class DeleteRule:
    """Delete a rule of the routing policy; it may have gone by itself."""

    rule: KernelRule

    def __str__(self) -> str:
        return f"deleting the rule from {self.rule.source} lookup {self.rule.table}"


Action = Union[SetUp, Bounce, CheckUnclaimed, AddAddress, RefreshAddress, RemoveAddress, Announce, AddRoute, DeleteRoute, AddRule, DeleteRule]


def _shown(route: KernelRoute) -> str:
    via = f" via {route.gateway}" if route.gateway else ""
    return f"{route.destination}{via} dev {route.interface} in table {route.table}"
