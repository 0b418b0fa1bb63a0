# SPDX-License-Identifier: GPL-3.0-or-later
"""By which link replies from a protected address leave, and why that is not its own link."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Link
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import link_of_replies
from ansible_collections.holdfast.ha.plugins.module_utils._net.source_route import near_is_needed, plan_source_route, standing
from ansible_collections.holdfast.ha.plugins.module_utils._net.state import Desired, NetState

#: So many hosts of the address's network are tried until one is not this host's own address.
_TRIES = 16


@dataclass(frozen=True)
class Astray:
    """Why replies leave by another link. ``repairable``: a source route would change that."""

    reason: str
    repairable: bool


def leave_by(address: Address, link: Link, net: NetState) -> bool:
    """Whether the kernel sends replies by this link, to hosts that are far away and to those of the address's network; or does not tell."""
    near = _neighbour(address, net)
    return all(link_of_replies(address, to) in (None, link.index) for to in ((None,) if near is None else (None, near)))


def cause(desired: Desired, net: NetState) -> Astray | None:
    """Where they leave by another link: why. ``None`` where no source route is wanted, or no gateway is known."""
    where = f"its replies do not leave by {desired.interface}"
    if plan_source_route(desired, net):
        return Astray(f"{where}: its rule or its routes are missing", True)
    route = standing(desired.address, net)
    if route is not None and (route.default is not None or near_is_needed(desired, net)):
        return Astray(f"{where}: a rule before that with priority {route.rule.priority} sends them elsewhere; see `ip rule`", False)
    return None


def _neighbour(address: Address, net: NetState) -> str | None:
    """A host of the address's network that is not this one."""
    width = 32 if address.version == 4 else 128
    if width - address.prefixlen < 2:
        return None
    own = {held.address.ip for link in net.links for held in link.addresses}
    last = min(_TRIES, address.network.size - 2)
    return next((str(address.network[number]) for number in range(1, last + 1) if address.network[number] not in own), None)
