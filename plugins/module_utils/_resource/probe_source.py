# SPDX-License-Identifier: GPL-3.0-or-later
"""The source and the targets of a resource's probe. The checker, the modules and the plan of a recovery use these rules. Pure.

Off EC2 the source is the protected address. If a VPC reaches the address by route-table entries, a probe from it does not show whether a link works:
replies use this link only after the entries target it. Then the source is the link's own address, and the entries are verified by reading them back.
A VPC has no broadcast. The targets are then those of the definition, else the VPC's router, the first host of the link's subnet (scenarios.md C9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Ec2Parts, Link, Probe
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource

_Of = TypeVar("_Of")


def source_of(ec2: Ec2Parts | None, address: _Of, own: Sequence[_Of]) -> _Of:
    """The source of the probe.

    :param address: The protected address.
    :param own: The other addresses of the link, of the same family.
    """
    by_routes = ec2 is not None and ec2.route_tables is not None
    return own[0] if by_routes and own else address


def targets_of(ec2: Ec2Parts | None, defined: Sequence[str], router: str | None) -> tuple[str, ...]:
    """The targets of the probe; empty for broadcast.

    :param defined: Those of the resource's definition.
    :param router: The VPC's router in the subnet of the link, if it is known.
    """
    if defined or ec2 is None or router is None:
        return tuple(defined)
    return (router,)


def probe_from(known: EffectiveResource, link: Link) -> Address:
    """The source of the probe on a link of this host."""
    return source_of(known.resource.ec2 if known.resource else None, known.address, _own(known, link))


def probe_of(known: EffectiveResource, link: Link, probe: Probe) -> Probe:
    """``probe`` with its targets on a link of this host: the given ones, else those of `targets_of`."""
    if probe.targets or known.resource is None:
        return probe
    return replace(probe, targets=targets_of(known.resource.ec2, known.resource.probe.targets, _router(known, link)))


def _own(known: EffectiveResource, link: Link) -> list[Address]:
    held = (one.address for one in link.addresses if one.scope == "global" and not one.dadfailed)
    return [address for address in held if address.ip != known.address.ip and address.version == known.address.version]


def _router(known: EffectiveResource, link: Link) -> str | None:
    """The first host of the link's subnet. Only IPv4: an IPv6 router announces itself."""
    networks = [address.network for address in (*_own(known, link), known.address) if address.version == 4 and address.prefixlen < 31]
    return str(networks[0][1]) if networks else None
