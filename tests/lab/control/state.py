# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions about moto's EC2 objects that several rules and the snapshot ask. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: moto's attributes of a route that hold its target, with the member of EC2's answer that names it.
TARGETS = {
    "interface": "NetworkInterfaceId",
    "gateway": "GatewayId",
    "nat_gateway": "NatGatewayId",
    "egress_only_igw": "EgressOnlyInternetGatewayId",
    "transit_gateway": "TransitGatewayId",
    "vpc_pcx": "VpcPeeringConnectionId",
    "carrier_gateway": "CarrierGatewayId",
}


def first_ipv6_cidr(associations: Iterable[Mapping[str, Any]], key: str) -> str | None:
    """The IPv6 block of a VPC or subnet."""
    return next((str(one[key]) for one in associations), None)


def table_of_subnet(backend: Any, subnet: Any) -> Any:
    """The route table that the subnet is associated with, else the VPC's main one."""
    tables = [table for table in backend.route_tables.values() if table.vpc_id == subnet.vpc_id]
    own = [table for table in tables if subnet.id in table._associations.values()]
    return own[0] if own else next(table for table in tables if table.main_association_id)


def destination(route: Any) -> str:
    """A CIDR or the id of a prefix list."""
    return str(route.destination_cidr_block or route.destination_ipv6_cidr_block or route.destination_prefix_list.id)


def target(route: Any) -> str:
    """``local`` or an id."""
    if route.local:
        return "local"
    held = next((getattr(route, name) for name in TARGETS if getattr(route, name) is not None), None)
    return str(held.id if held is not None else route.vpc_endpoint_id)


def advertised(route: Any) -> str | None:
    """The state of an entry that a route server put there (see `ControlPlane.advertise`); None for all others."""
    return getattr(route, "advertised", None)


def gateways_of(table: Any) -> list[str]:
    """The gateways that use the route table."""
    return [str(one["GatewayId"]) for one in table.associations if one.get("GatewayId")]


def route_state(backend: Any, route: Any) -> str:
    """``active``, or ``blackhole`` while the route's target cannot take packets."""
    return "active" if _is_active(backend, route) else "blackhole"


def _is_active(backend: Any, route: Any) -> bool:
    if route.local:
        return True
    if route.interface is not None:
        eni = route.interface
        return eni.instance is not None and eni.instance.state in ("pending", "running")
    if route.gateway is not None:
        gateway = route.gateway
        known = gateway.id in backend.internet_gateways or gateway.id in backend.vpn_gateways or gateway.id in backend.vpc_end_points
        return known and (not gateway.id.startswith("igw-") or gateway.vpc is not None)
    if route.nat_gateway is not None:
        return getattr(route.nat_gateway, "state", "available") == "available" and route.nat_gateway.id in backend.nat_gateways
    if route.vpc_pcx is not None:
        return str(route.vpc_pcx._status.code) == "active"
    return True


def private_ips(eni: Any) -> tuple[str, ...]:
    """The interface's private IPv4 addresses, the primary one first."""
    listed = [str(one["PrivateIpAddress"]) for one in eni.private_ip_addresses]
    first = str(eni.private_ip_address or listed[0])
    return (first, *(one for one in listed if one != first))


def private_ip(address: Any) -> str | None:
    """The private address that an Elastic IP leads to."""
    if address.eni is None:
        return None
    return str(getattr(address, "associated_private_ip", None) or private_ips(address.eni)[0])


def interfaces_of(backend: Any, instance: Any) -> list[Any]:
    """The interfaces attached to an instance, by device index."""
    attached = [eni for eni in backend.enis.values() if eni.instance is not None and eni.instance.id == instance.id]
    return sorted(attached, key=lambda eni: int(eni.device_index or 0))


def tags(backend: Any, thing_id: str) -> dict[str, str]:
    """The tags of whatever has this id."""
    return dict(backend.tags.get(thing_id, {}))


def vpc_cidrs(backend: Any, vpc_id: str) -> list[str]:
    """The IPv4 and IPv6 blocks of a VPC: its local routes."""
    vpc = backend.vpcs[vpc_id]
    return [str(one["cidr_block"]) for ipv6 in (False, True) for one in vpc.get_cidr_block_association_set(ipv6=ipv6)]


def subnet_cidrs(backend: Any, vpc_id: str) -> set[str]:
    """The IPv4 and IPv6 blocks of a VPC's subnets."""
    subnets = [one for zone in backend.subnets.values() for one in zone.values() if one.vpc_id == vpc_id]
    ipv6 = {str(block["ipv6CidrBlock"]) for one in subnets for block in one.ipv6_cidr_block_associations.values()}
    return ipv6 | {str(one.cidr_block) for one in subnets}
