# SPDX-License-Identifier: GPL-3.0-or-later
"""DescribeRouteTables: states that follow their targets, every filter, pages of 5 to 100."""

from __future__ import annotations

from typing import Any

from lab.control import state
from lab.control.errors import ApiError
from lab.control.rules import filters
from lab.control.rules.paging import page
from lab.control.rules.registry import Ec2Call, answers

_FILTERS = {
    "association.gateway-id": "Associations[].GatewayId",
    "association.main": "Associations[].Main",
    "association.route-table-association-id": "Associations[].RouteTableAssociationId",
    "association.route-table-id": "Associations[].RouteTableId",
    "association.subnet-id": "Associations[].SubnetId",
    "owner-id": "OwnerId",
    "route-table-id": "RouteTableId",
    "route.carrier-gateway-id": "Routes[].CarrierGatewayId",
    "route.destination-cidr-block": "Routes[].DestinationCidrBlock",
    "route.destination-ipv6-cidr-block": "Routes[].DestinationIpv6CidrBlock",
    "route.destination-prefix-list-id": "Routes[].DestinationPrefixListId",
    "route.egress-only-internet-gateway-id": "Routes[].EgressOnlyInternetGatewayId",
    "route.gateway-id": "Routes[].GatewayId",
    "route.instance-id": "Routes[].InstanceId",
    "route.nat-gateway-id": "Routes[].NatGatewayId",
    "route.transit-gateway-id": "Routes[].TransitGatewayId",
    "route.origin": "Routes[].Origin",
    "route.state": "Routes[].State",
    "route.vpc-peering-connection-id": "Routes[].VpcPeeringConnectionId",
    "vpc-id": "VpcId",
}


@answers("DescribeRouteTables")
def describe_route_tables(call: Ec2Call) -> dict[str, Any]:
    """Source: EC2 API reference, DescribeRouteTables."""
    wanted = call.params.get("RouteTableIds")
    known = call.backend.route_tables
    for one in wanted or []:
        if one not in known:
            raise ApiError("InvalidRouteTableID.NotFound", f"The routeTable ID '{one}' does not exist")
    tables = [_table(call, table) for table in known.values() if not wanted or table.id in wanted]
    found = filters.apply(tables, call.params.get("Filters") or [], _FILTERS)
    return page(call, found, "RouteTables", "RouteTableIds", least=5, most=100, default=100)


def _table(call: Ec2Call, table: Any) -> dict[str, Any]:
    return {
        "RouteTableId": table.id,
        "VpcId": table.vpc_id,
        "OwnerId": call.account,
        "Associations": table.associations,
        "PropagatingVgws": [],
        "Routes": [_route(call, route) for route in table._routes.values()],
        "Tags": [{"Key": key, "Value": value} for key, value in state.tags(call.backend, table.id).items()],
    }


def _origin(call: Ec2Call, route: Any) -> str:
    if state.advertised(route):
        return "Advertisement"
    return "CreateRouteTable" if state.destination(route) in state.vpc_cidrs(call.backend, route.route_table.vpc_id) else "CreateRoute"


def _route(call: Ec2Call, route: Any) -> dict[str, Any]:
    result: dict[str, Any] = {
        "DestinationCidrBlock": route.destination_cidr_block,
        "DestinationIpv6CidrBlock": route.destination_ipv6_cidr_block,
        "DestinationPrefixListId": route.destination_prefix_list.id if route.destination_prefix_list else None,
        "State": state.advertised(route) or state.route_state(call.backend, route),
        "Origin": _origin(call, route),
    }
    if route.local:
        result["GatewayId"] = "local"
    else:
        name = next((member for held, member in state.TARGETS.items() if getattr(route, held) is not None), "GatewayId")
        result[name] = state.target(route)
    if route.interface is not None and route.interface.instance is not None:
        result.update({"InstanceId": route.interface.instance.id, "InstanceOwnerId": call.account})
    return {name: value for name, value in result.items() if value is not None}
