# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at EC2: API answers in, the model's values out. Every answer is parsed, nothing is compared as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import NotFound, ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import (
    Association,
    Eip,
    Eni,
    EniAddress,
    Route,
    RouteState,
    RouteTable,
    parse_network,
)
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.errors import call, has_code
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan import in_order
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan_instance import Instance

#: The most that EC2 puts on one page of DescribeRouteTables, and the most values that it takes in one filter.
_PAGE, _FILTER_VALUES = 100, 200

#: What an entry may lead to, the most telling first: an interface of an instance comes with the instance's id.
_TARGETS = (
    "NetworkInterfaceId",
    "GatewayId",
    "NatGatewayId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
    "EgressOnlyInternetGatewayId",
    "LocalGatewayId",
    "CarrierGatewayId",
    "CoreNetworkArn",
    "OdbNetworkArn",
    "InstanceId",
)


def route_tables(client: Any, *, vpc_id: str | None = None, ids: Sequence[str] | None = None) -> tuple[RouteTable, ...]:
    """The tables with these ids, in the order of their ids. Tables that do not exist are left out.

    Without ids: all tables of the VPC except those of gateways, in which EC2 refuses most entries.
    One call for each 100 tables. Raises `ServiceError`.
    """
    if ids is None:
        found = [table for table in _pages(client, "vpc-id", [vpc_id or ""]) if not _is_of_gateway(table)]
    else:
        parts = [ids[start : start + _FILTER_VALUES] for start in range(0, len(ids), _FILTER_VALUES)]
        found = [table for part in parts for table in _pages(client, "route-table-id", part)]
    return tuple(sorted((_table(raw) for raw in found), key=lambda table: table.id))


def _pages(client: Any, name: str, values: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    more: dict[str, Any] = {}
    while True:
        answer = call(client, "DescribeRouteTables", Filters=[{"Name": name, "Values": list(values)}], MaxResults=_PAGE, **more)
        yield from answer.get("RouteTables", ())
        if not answer.get("NextToken"):
            return
        more = {"NextToken": answer["NextToken"]}


def _is_of_gateway(raw: Mapping[str, Any]) -> bool:
    """Whether an internet gateway or a virtual private gateway uses the table (an edge association)."""
    ended = ("disassociated", "failed")
    return any(one.get("GatewayId") and one.get("AssociationState", {}).get("State") not in ended for one in raw.get("Associations", ()))


def _table(raw: Mapping[str, Any]) -> RouteTable:
    routes = (_route(raw["RouteTableId"], entry) for entry in raw.get("Routes", ()))
    return RouteTable(raw["RouteTableId"], raw["VpcId"], in_order(routes))


def _route(table_id: str, raw: Mapping[str, Any]) -> Route:
    cidr = raw.get("DestinationCidrBlock") or raw.get("DestinationIpv6CidrBlock")
    destination = str(parse_network(cidr, f"{table_id}: destination")) if cidr else raw.get("DestinationPrefixListId", "?")
    state = next((state for state in RouteState if state.value == raw.get("State")), RouteState.ACTIVE)
    target = next((raw[name] for name in _TARGETS if raw.get(name)), "none")
    return Route(table_id, destination, target, state, raw.get("Origin", "CreateRoute"))


def network_interface(client: Any, eni_id: str) -> Eni:
    """One network interface. Raises `NotFound`, `ServiceError`."""
    try:
        answer = call(client, "DescribeNetworkInterfaces", NetworkInterfaceIds=[eni_id])
    except ServiceError as error:
        if has_code(error, "InvalidNetworkInterfaceID.NotFound"):
            raise _no_interface(eni_id) from error
        raise
    for raw in answer.get("NetworkInterfaces", ()):
        if raw["NetworkInterfaceId"] == eni_id:
            return _eni(raw)
    raise _no_interface(eni_id)


def _no_interface(eni_id: str) -> NotFound:
    message = f"There is no network interface {eni_id} in this region and account; check network_interface_id and region"
    return NotFound(message, network_interface_id=eni_id)


def _eni(raw: Mapping[str, Any]) -> Eni:
    return Eni(
        id=raw["NetworkInterfaceId"],
        mac=raw.get("MacAddress", "").lower(),
        vpc_id=raw.get("VpcId", ""),
        subnet_id=raw.get("SubnetId", ""),
        source_dest_check=bool(raw.get("SourceDestCheck", True)),
        addresses=_private_addresses(raw.get("PrivateIpAddresses", ())),
        ipv6_addresses=tuple(entry["Ipv6Address"] for entry in raw.get("Ipv6Addresses", ())),
        prefixes=tuple(entry[name] for name in ("Ipv4Prefix", "Ipv6Prefix") for entry in raw.get(f"{name}es", ())),
        instance_id=raw.get("Attachment", {}).get("InstanceId"),
        status=raw.get("Status", "in-use"),
    )


def _private_addresses(entries: Iterable[Mapping[str, Any]]) -> tuple[EniAddress, ...]:
    return tuple(
        EniAddress(
            private_ip=entry["PrivateIpAddress"],
            primary=bool(entry.get("Primary")),
            public_ip=entry.get("Association", {}).get("PublicIp"),
            allocation_id=entry.get("Association", {}).get("AllocationId"),
            association_id=entry.get("Association", {}).get("AssociationId"),
        )
        for entry in entries
    )


def instance(client: Any, instance_id: str) -> Instance:
    """One instance. Raises `NotFound`, `ServiceError`."""
    try:
        answer = call(client, "DescribeInstances", InstanceIds=[instance_id])
    except ServiceError as error:
        if has_code(error, "InvalidInstanceID.NotFound"):
            raise _no_instance(instance_id) from error
        raise
    for raw in (one for group in answer.get("Reservations", ()) for one in group.get("Instances", ())):
        if raw["InstanceId"] == instance_id:
            macs = tuple(entry.get("MacAddress", "").lower() for entry in raw.get("NetworkInterfaces", ()))
            return Instance(instance_id, raw.get("State", {}).get("Name", ""), tuple(filter(None, macs)))
    raise _no_instance(instance_id)


def _no_instance(instance_id: str) -> NotFound:
    return NotFound(f"There is no instance {instance_id} in this region and account; check it, region and the credentials", instance_id=instance_id)


def elastic_ip(client: Any, *, public_ip: str | None = None, allocation_id: str | None = None) -> Eip:
    """The Elastic IP with this address or allocation id. Raises `NotFound`, `ServiceError`."""
    named = {"PublicIps": [public_ip]} if public_ip else {"AllocationIds": [allocation_id]}
    try:
        found = call(client, "DescribeAddresses", **named).get("Addresses", ())
    except ServiceError as error:
        if not has_code(error, "InvalidAddress.NotFound", "InvalidAllocationID.NotFound"):
            raise
        found = ()
    for raw in found:
        if raw.get("AllocationId") and (raw["PublicIp"] == public_ip or raw["AllocationId"] == allocation_id):
            return Eip(raw["PublicIp"], raw["AllocationId"], _association(raw))
    name = public_ip or allocation_id
    raise NotFound(f"There is no Elastic IP {name} in this region and account; check it, region and the credentials", elastic_ip=name)


def _association(raw: Mapping[str, Any]) -> Association | None:
    if not raw.get("AssociationId"):
        return None
    return Association(raw["AssociationId"], raw.get("NetworkInterfaceId", ""), raw.get("PrivateIpAddress", ""))
