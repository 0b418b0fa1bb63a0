# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the faults of a resource ec2_resource repairs, and with which options. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Ec2Parts
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.arguments import host_destination, own_options
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault


def ordered_on_ec2(faults: Collection[str]) -> set[str]:
    """What a pre-started run repairs for an order before it observes the node. No fault: the resource has just come to this node.

    Empty if a fault is not on EC2 alone: then the whole recovery runs.
    """
    on_ec2 = {str(fault) for fault in Fault if fault.on_ec2}
    wanted = set(faults) or on_ec2
    if not wanted <= on_ec2:
        return set()
    return wanted | ({str(Fault.ROUTES)} if Fault.SOURCE_DEST_CHECK in wanted else set())


def resource_options(parts: Ec2Parts, host: str, link: str, faults: Collection[str], aws: Mapping[str, Any]) -> dict[str, Any]:
    """The options with which ec2_resource points the parts that ``faults`` names at ``link``; empty if it repairs none of these faults.

    :param host: The protected address without prefix length.
    :param faults: With ``source_dest_check`` alone there are no options: ec2_resource switches the check off only for route-table entries.
    :param aws: The options of AWS that all resources share.
    """
    given: dict[str, Any] = {}
    if parts.route_tables is not None and Fault.ROUTES in faults:
        given["destinations"] = [host_destination(host)]
        given["disable_source_dest_check"] = Fault.SOURCE_DEST_CHECK in faults
        given["route_table_ids"] = None if parts.route_tables == ("all",) else list(parts.route_tables)
        given.update({name: parts.extra[name] for name in ("vpc_id", "missing") if name in parts.extra})
    if parts.elastic_ip is not None and Fault.ELASTIC_IP in faults:
        given["public_ip"] = parts.elastic_ip
        given["private_ip_address"] = parts.extra.get("private_ip_address")
        given["preferred_private_ip_address"] = host
    if not given:
        return {}
    return {name: value for name, value in {**aws, **own_options(parts), "interface": link, **given}.items() if value is not None}
