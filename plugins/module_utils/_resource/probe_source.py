# SPDX-License-Identifier: GPL-3.0-or-later
"""From which address, and whom, a resource is probed on a link. Pure.

Off EC2 it is the protected address itself. An address that a VPC reaches by route entries cannot tell whether a link works: the reply
finds this link only after the entries have followed, which is later. There the link's own address is probed from, and the entries
are verified by reading them back. A VPC has no broadcast either: its router, the first host of the subnet, stands in (scenarios.md C9).
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Link, Probe
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource


def probe_from(known: EffectiveResource, link: Link) -> Address:
    """The address to ping from."""
    if known.resource is None or known.resource.ec2 is None or known.resource.ec2.route_tables is None:
        return known.address
    own = (held.address for held in link.addresses if held.scope == "global" and not held.dadfailed and held.address.ip != known.address.ip)
    return next((address for address in own if address.version == known.address.version), known.address)


def probe_of(known: EffectiveResource, source: Address, probe: Probe) -> Probe:
    """``probe`` with its targets: those given, else the definition's, else on EC2 the subnet's router; empty for broadcast."""
    if probe.targets or known.resource is None:
        return probe
    targets = known.resource.probe.targets
    if not targets and known.resource.ec2 is not None and source.version == 4 and source.prefixlen < 31:
        targets = (str(source.network[1]),)
    return replace(probe, targets=targets)
