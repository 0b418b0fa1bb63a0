# SPDX-License-Identifier: GPL-3.0-or-later
"""CreateRoute, ReplaceRoute and DeleteRoute: canonical destinations, exactly one target, and only targets that can be meant."""

from __future__ import annotations

import ipaddress
from typing import Any

from moto.ec2.models.route_tables import Route

from lab.control import state
from lab.control.errors import ApiError
from lab.control.rules import targets
from lab.control.rules.registry import Ec2Call, answers

_ROUTE: Any = Route  # abstract in name only: moto instantiates it itself
_DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")


@answers("CreateRoute")
def create_route(call: Ec2Call) -> dict[str, Any]:
    """Source: EC2 API reference, CreateRoute."""
    table, destination = _table(call), _destination(call)
    target = targets.wanted(call, table, local=False)
    _refuse_inside(call, table, destination, target)
    _refuse_outside(call, table, destination)
    if _entry(table, destination) is not None:
        raise ApiError("RouteAlreadyExists", f"The route identified by {destination} already exists.")
    _put(call, table, destination, target)
    return {"Return": True}


@answers("ReplaceRoute")
def replace_route(call: Ec2Call) -> dict[str, Any]:
    """Source: EC2 API reference, ReplaceRoute."""
    table, destination = _table(call), _destination(call)
    target = targets.wanted(call, table, local=True)
    old = _entry(table, destination)
    if old is None:
        raise ApiError("InvalidParameterValue", f"There is no route defined for '{destination}' in the route table. Use CreateRoute instead.")
    if target == targets.LOCAL and destination not in state.vpc_cidrs(call.backend, table.vpc_id):
        raise ApiError("InvalidParameterValue", f"The target local is not possible for {destination}, which is not a CIDR block of the VPC.")
    _put(call, table, destination, target, place=old)
    return {}


@answers("DeleteRoute")
def delete_route(call: Ec2Call) -> dict[str, Any]:
    """Source: EC2 API reference, DeleteRoute."""
    table, destination = _table(call), _destination(call)
    old = _entry(table, destination)
    if old is None:
        raise ApiError("InvalidRoute.NotFound", f"no route with destination-cidr-block {destination} in route table {table.id}")
    if destination in state.vpc_cidrs(call.backend, table.vpc_id):
        raise ApiError("InvalidParameterValue", f"cannot remove local route {destination} in route table {table.id}")
    del table._routes[old.id]
    return {}


def _table(call: Ec2Call) -> Any:
    call.request.require("RouteTableId")
    table = call.backend.route_tables.get(call.params["RouteTableId"])
    if table is None:
        raise ApiError("InvalidRouteTableID.NotFound", f"The routeTable ID '{call.params['RouteTableId']}' does not exist")
    return table


def _destination(call: Ec2Call) -> str:
    given = [name for name in _DESTINATIONS if call.params.get(name)]
    if len(given) != 1:
        code = "InvalidParameterCombination" if given else "MissingParameter"
        raise ApiError(code, "The request must contain exactly one of destinationCidrBlock, destinationIpv6CidrBlock, destinationPrefixListId")
    name, text = given[0], str(call.params[given[0]])
    if name == "DestinationPrefixListId":
        if text not in call.backend.managed_prefix_lists:
            raise ApiError("InvalidPrefixListID.NotFound", f"The prefix list ID '{text}' does not exist")
        return text
    try:
        kind = ipaddress.IPv6Network if "Ipv6" in name else ipaddress.IPv4Network
        if "/" not in text or not text.rpartition("/")[2].isdigit():
            raise ValueError
        return str(kind(text, strict=False))  # EC2 clears host bits: 100.68.0.18/18 becomes 100.68.0.0/18
    except ValueError:
        parameter = name[0].lower() + name[1:]
        raise ApiError("InvalidParameterValue", f"Value ({text}) for parameter {parameter} is invalid. This is not a valid CIDR block.") from None


def _entry(table: Any, destination: str) -> Any:
    """The table's own entry: one that a route server advertises is no write's business."""
    return next((one for one in table._routes.values() if state.destination(one) == destination and not state.advertised(one)), None)


def _refuse_inside(call: Ec2Call, table: Any, destination: str, target: targets.Target) -> None:
    if destination.startswith("pl-"):
        return
    block = ipaddress.ip_network(destination)
    around = [one for one in map(ipaddress.ip_network, state.vpc_cidrs(call.backend, table.vpc_id)) if one.version == block.version]
    if not any(one.prefixlen < block.prefixlen and block.supernet(new_prefix=one.prefixlen) == one for one in around):
        return
    if destination not in state.subnet_cidrs(call.backend, table.vpc_id):
        raise ApiError("InvalidParameterValue", "Route destination doesn't match any subnet CIDR blocks.")
    if target.attribute not in ("interface", "vpc_endpoint_id"):
        text = f"The destination CIDR block {destination} is equal to or more specific than one of this VPC's CIDR blocks."
        raise ApiError("InvalidParameterValue", f"{text} This route can target only an interface or an instance.")


def _refuse_outside(call: Ec2Call, table: Any, destination: str) -> None:
    """Source: VPC user guide, "Gateway route tables"."""
    inside = {*state.vpc_cidrs(call.backend, table.vpc_id), *state.subnet_cidrs(call.backend, table.vpc_id)}
    if state.gateways_of(table) and destination not in inside:
        text = f"The route table {table.id} is associated with a gateway, and {destination} is no CIDR block of its VPC or of a subnet."
        raise ApiError("InvalidParameterValue", text)


def advertise(backend: Any, table_id: str, destination: str, eni_id: str, seen: str) -> None:
    """Put an entry into a table as a route server does, with the state ``seen``."""
    table = backend.route_tables[table_id]
    ipv6 = ":" in destination
    route = _ROUTE(table, None if ipv6 else destination, destination if ipv6 else None, interface=backend.enis[eni_id])
    route.id, route.advertised = f"{route.id}-advertised", seen
    table._routes[route.id] = route


def _put(call: Ec2Call, table: Any, destination: str, target: targets.Target, place: Any = None) -> None:
    prefix_list = call.backend.managed_prefix_lists.get(destination)
    ipv4 = None if prefix_list is not None or ":" in destination else destination
    ipv6 = destination if ":" in destination else None
    route = _ROUTE(table, ipv4, ipv6, prefix_list, **{target.attribute: target.value})
    if place is not None:
        route.id = place.id  # it keeps its place in the table
    table._routes[route.id] = route
