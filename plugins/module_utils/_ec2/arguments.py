# SPDX-License-Identifier: GPL-3.0-or-later
"""The EC2 side of a resource as options of modules and clients. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Ec2Parts


def own_options(parts: Ec2Parts) -> dict[str, Any]:
    """Those AWS options that a resource has for itself."""
    own = {name: value for name, value in parts.extra.items() if name in ("region", "profile", "endpoint_url", "aws_ca_bundle", "external_id")}
    return {**own, **({"role_arn": parts.role_arn} if parts.role_arn else {})}


def resource_options(parts: Ec2Parts, host: str, link: str, faults: Collection[str], aws: Mapping[str, Any]) -> dict[str, Any]:
    """The options with which ec2_resource points the parts that ``faults`` names at ``link``; empty if it repairs none of these faults.

    :param host: The protected address without prefix length.
    :param faults: With ``source_dest_check`` alone there are no options: ec2_resource switches the check off only for route-table entries.
    :param aws: The options of AWS that all resources share.
    """
    given: dict[str, Any] = {}
    if parts.route_tables is not None and "routes" in faults:
        given["destinations"] = [f"{host}/{128 if ':' in host else 32}"]
        given["disable_source_dest_check"] = "source_dest_check" in faults
        given["route_table_ids"] = None if parts.route_tables == ("all",) else list(parts.route_tables)
        given.update({name: parts.extra[name] for name in ("vpc_id", "missing") if name in parts.extra})
    if parts.elastic_ip is not None and "elastic_ip" in faults:
        given["public_ip"] = parts.elastic_ip
        given["private_ip_address"] = parts.extra.get("private_ip_address")
        given["preferred_private_ip_address"] = host
    if not given:
        return {}
    return {name: value for name, value in {**aws, **own_options(parts), "interface": link, **given}.items() if value is not None}
