# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a fence hits: the node that the route-table entries or the Elastic IP of a resource still target. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.arguments import host_destination


@dataclass(frozen=True)
class Fence:
    """``interfaces``: the old node's network interfaces, by id. ``nodes``: whose they are, as far as that is known."""

    interfaces: tuple[str, ...]
    nodes: tuple[str, ...]


def find_old_node(
    resource: Mapping[str, Any],
    node: str,
    instances: Mapping[str, str],
    unfenced: Sequence[str],
    *,
    routes: Sequence[Mapping[str, Any]],
    association: Mapping[str, Any],
    owners: Sequence[Mapping[str, Any]] | None = None,
) -> Fence:
    """Whom to fence: the network interface that the route-table entries or the Elastic IP of the resource target. Raises `Refused`.

    An entry may have been changed by hand, so all of them have to belong to one instance, and if ``instances`` are given, to the old node's. What
    targets this node already was pointed at it by an earlier run, which began with the fence.

    :param instances: Instance id by node. ``unfenced``: the old holders.
    :param routes: ``routes`` of ec2_route_target in check mode; ``association``: the result of ec2_eip_association in check mode.
    :param owners: The results of ec2_source_dest_check for each interface; ``None`` before they are known.
    """
    destination = host_destination(str(resource["address"]).partition("/")[0])
    led = [route for route in routes if route.get("destination") == destination]
    before, after = ((association.get(when) or {}).get("network_interface_id") or "" for when in ("before", "after"))
    hints = dict.fromkeys([*(route["before"] for route in led if str(route.get("before") or "").startswith("eni-")), *([before] if before else [])])
    ours = {after, *(route.get("after") for route in led)}
    old = tuple(one for one in hints if one not in ours)
    mode, tag, parts = resource.get("fence"), resource["tag"], resource.get("ec2") or {}
    if not hints:
        none = (
            "none leads to a network interface"
            if parts.get("route_tables") or parts.get("elastic_ip")
            else "there is neither; set ec2, or fence: none"
        )
        raise Refused(f"fence: {mode} finds the old node by route table entries or the Elastic IP, and of {tag} {none}")
    others = list(unfenced) or [name for name in instances if name != node]
    suspects = [instances[name] for name in instances if name in others]
    hit = list(dict.fromkeys(owner.get("instance_id") or "no instance" for owner in owners or ()))
    if len(hit) > 1 or (instances and not set(hit) <= set(suspects)):
        raise Refused(
            f"fence: {mode} is not certain whom it would hit: what belongs to {tag} leads to {' and '.join(old)} of {' and '.join(hit)}, and "
            f"{' or '.join(others) or 'the old node'} is {' or '.join(suspects) or 'none of holdfast_instances'}"
        )
    return Fence(old, tuple(name for name, instance in instances.items() if instance in hit) or tuple(unfenced))
