# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes and route tables at the lab's control plane behave as EC2's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config

from lab.control import ControlPlane
from lab.control.build import VpcIds, build
from lab.control.expect import refused

VIP, VIP6 = "10.1.0.10/32", "fd00::10/128"
ROUTE = {"RouteTableId": "rtb-12345678", "DestinationCidrBlock": VIP}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module")
def ec2(plane: ControlPlane) -> Any:
    return plane.client("ec2")


@pytest.fixture
def vpc(ec2: Any) -> VpcIds:
    return build(ec2, vips=[VIP, VIP6])


def entries(ec2: Any, table: str) -> dict[str, dict[str, Any]]:
    routes = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
    return {one.get("DestinationCidrBlock") or one.get("DestinationIpv6CidrBlock") or one["DestinationPrefixListId"]: one for one in routes}


def found_by(ec2: Any, name: str, *values: str) -> set[str]:
    pages = ec2.get_paginator("describe_route_tables").paginate(Filters=[{"Name": name, "Values": list(values)}])
    return {table["RouteTableId"] for page in pages for table in page["RouteTables"]}


def test_dry_run_changes_nothing(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    table, other = vpc.route_table_ids[0], vpc.instance("node-b").primary.id
    before = entries(ec2, table)
    plane.calls.reset()
    with refused("DryRunOperation"):
        ec2.replace_route(RouteTableId=table, DestinationCidrBlock=VIP, NetworkInterfaceId=other, DryRun=True)
    with refused("DryRunOperation"):
        ec2.describe_route_tables(DryRun=True)
    assert plane.calls.mutating() == []
    assert plane.calls.all("ReplaceRoute")[0].status == 412
    assert entries(ec2, table) == before


def test_create_route_refuses_a_destination_that_exists(ec2: Any, vpc: VpcIds) -> None:
    table, other = vpc.route_table_ids[0], vpc.instance("node-b").primary.id
    before = entries(ec2, table)
    with refused("RouteAlreadyExists", VIP):
        ec2.create_route(RouteTableId=table, DestinationCidrBlock=VIP, NetworkInterfaceId=other)
    with refused("RouteAlreadyExists", VIP6):
        ec2.create_route(RouteTableId=table, DestinationIpv6CidrBlock="fd00:0::0010/128", NetworkInterfaceId=other)
    with refused("RouteAlreadyExists"):
        ec2.create_route(RouteTableId=table, DestinationCidrBlock=vpc.cidr, NetworkInterfaceId=other)
    assert entries(ec2, table) == before


def test_replace_route_changes_only_its_own_entry(ec2: Any, vpc: VpcIds) -> None:
    table, other = vpc.route_table_ids[0], vpc.instance("node-b").primary.id
    before = entries(ec2, table)
    ec2.replace_route(RouteTableId=table, DestinationCidrBlock=VIP, NetworkInterfaceId=other)
    after = entries(ec2, table)
    assert after.pop(VIP)["NetworkInterfaceId"] == other
    before.pop(VIP)
    assert after == before


def test_replace_route_needs_an_entry(ec2: Any, vpc: VpcIds) -> None:
    with refused("InvalidParameterValue", "There is no route defined for"):
        ec2.replace_route(RouteTableId=vpc.main_route_table_id, DestinationCidrBlock=VIP, NetworkInterfaceId=vpc.instance("node-a").primary.id)


def test_replace_route_takes_exactly_one_target(ec2: Any, vpc: VpcIds) -> None:
    table, node = vpc.route_table_ids[0], vpc.instance("node-a")
    before = entries(ec2, table)
    with refused("MissingParameter"):
        ec2.replace_route(RouteTableId=table, DestinationCidrBlock=VIP)
    with refused("InvalidParameterCombination"):
        ec2.replace_route(RouteTableId=table, DestinationCidrBlock=VIP, NetworkInterfaceId=node.backup.id, GatewayId=vpc.internet_gateway_id)
    with refused("InvalidInstanceID", "multiple interfaces"):
        ec2.replace_route(RouteTableId=table, DestinationCidrBlock=VIP, InstanceId=node.id)
    assert entries(ec2, table) == before


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"DestinationCidrBlock": "100.68.0.18/18"}, "100.68.0.0/18"),
        ({"DestinationIpv6CidrBlock": "FD00:0:0:1::0020/128"}, "fd00:0:0:1::20/128"),
    ],
)
def test_destinations_are_put_in_canonical_form(ec2: Any, vpc: VpcIds, given: dict[str, str], stored: str) -> None:
    table, node = vpc.route_table_ids[1], vpc.instance("node-a")
    ec2.create_route(RouteTableId=table, NetworkInterfaceId=node.primary.id, **given)
    assert stored in entries(ec2, table)
    ec2.replace_route(RouteTableId=table, NetworkInterfaceId=node.backup.id, **given)
    assert entries(ec2, table)[stored]["NetworkInterfaceId"] == node.backup.id
    ec2.delete_route(RouteTableId=table, **given)
    assert stored not in entries(ec2, table)


@pytest.mark.parametrize("text", ["10.1.0.10", "10.1.0/24", "10.1.0.10/33", "fd00::1/128", "10.1.0.10/255.255.255.255", "x/32"])
def test_destinations_that_are_none_are_refused(ec2: Any, vpc: VpcIds, text: str) -> None:
    with refused("InvalidParameterValue", "not a valid CIDR block"):
        ec2.create_route(RouteTableId=vpc.route_table_ids[0], DestinationCidrBlock=text, NetworkInterfaceId=vpc.instance("node-a").primary.id)


def test_a_destination_is_needed_once(ec2: Any, vpc: VpcIds) -> None:
    eni = vpc.instance("node-a").primary.id
    with refused("MissingParameter"):
        ec2.create_route(RouteTableId=vpc.route_table_ids[0], NetworkInterfaceId=eni)
    with refused("InvalidParameterCombination"):
        both = {"DestinationCidrBlock": "10.9.0.0/16", "DestinationIpv6CidrBlock": "fd00::/64"}
        ec2.create_route(RouteTableId=vpc.route_table_ids[0], NetworkInterfaceId=eni, **both)


def test_a_route_inside_the_vpc_must_be_a_whole_subnet(ec2: Any, vpc: VpcIds) -> None:
    table, eni = vpc.route_table_ids[0], vpc.instance("node-a").primary.id
    with refused("InvalidParameterValue", "subnet CIDR"):
        ec2.create_route(RouteTableId=table, DestinationCidrBlock="10.0.2.77/32", NetworkInterfaceId=eni)
    with refused("InvalidParameterValue", "only an interface"):
        ec2.create_route(RouteTableId=table, DestinationCidrBlock=vpc.subnets[1].cidr, GatewayId=vpc.internet_gateway_id)
    ec2.create_route(RouteTableId=table, DestinationCidrBlock=vpc.subnets[1].cidr, NetworkInterfaceId=eni)
    assert entries(ec2, table)[vpc.subnets[1].cidr]["NetworkInterfaceId"] == eni


def test_targets_of_another_vpc_are_refused(ec2: Any, vpc: VpcIds) -> None:
    other = build(ec2)
    before = entries(ec2, vpc.route_table_ids[0])
    with refused("InvalidParameterValue", "different networks"):
        ec2.replace_route(RouteTableId=vpc.route_table_ids[0], DestinationCidrBlock=VIP, NetworkInterfaceId=other.instance("node-a").primary.id)
    with refused("InvalidParameterValue", "different networks"):
        ec2.replace_route(RouteTableId=vpc.route_table_ids[0], DestinationCidrBlock=VIP, GatewayId=other.internet_gateway_id)
    assert entries(ec2, vpc.route_table_ids[0]) == before


def test_the_local_route_stays(ec2: Any, vpc: VpcIds) -> None:
    with refused("InvalidParameterValue", "local route"):
        ec2.delete_route(RouteTableId=vpc.route_table_ids[0], DestinationCidrBlock=vpc.cidr)
    with refused("InvalidRoute.NotFound"):
        ec2.delete_route(RouteTableId=vpc.route_table_ids[0], DestinationCidrBlock="10.77.0.0/16")


def state_of(ec2: Any, table: str) -> str:
    return str(entries(ec2, table)[VIP]["State"])


def test_a_stopped_or_terminated_instance_leaves_a_black_hole(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    table, node = vpc.route_table_ids[0], vpc.instance("node-a")
    assert state_of(ec2, table) == "active"
    ec2.stop_instances(InstanceIds=[node.id])
    assert state_of(ec2, table) == "blackhole"
    seen = {route.destination: route.state for route in plane.snapshot(vpc.id).subnets[0].routes}
    assert seen[VIP] == "blackhole"
    assert seen[vpc.cidr] == "active"
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[node.id], WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    ec2.start_instances(InstanceIds=[node.id])
    assert state_of(ec2, table) == "active"
    ec2.terminate_instances(InstanceIds=[node.id])
    assert state_of(ec2, table) == "blackhole"
    with refused("IncorrectInstanceState"):
        ec2.start_instances(InstanceIds=[node.id])


def test_a_detached_or_deleted_interface_leaves_a_black_hole(ec2: Any, vpc: VpcIds) -> None:
    table, eni = vpc.route_table_ids[0], vpc.instance("node-a").backup.id
    ec2.replace_route(RouteTableId=table, DestinationCidrBlock=VIP, NetworkInterfaceId=eni)
    assert state_of(ec2, table) == "active"
    attachment = ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]["Attachment"]
    ec2.detach_network_interface(AttachmentId=attachment["AttachmentId"])
    assert state_of(ec2, table) == "blackhole"
    ec2.delete_network_interface(NetworkInterfaceId=eni)
    assert entries(ec2, table)[VIP]["NetworkInterfaceId"] == eni
    assert state_of(ec2, table) == "blackhole"


def test_a_detached_internet_gateway_leaves_a_black_hole(ec2: Any, vpc: VpcIds) -> None:
    ec2.detach_internet_gateway(InternetGatewayId=vpc.internet_gateway_id, VpcId=vpc.id)
    assert entries(ec2, vpc.route_table_ids[0])["0.0.0.0/0"]["State"] == "blackhole"


def test_prefix_lists_are_destinations(plane: ControlPlane, ec2: Any, vpc: VpcIds) -> None:
    node, table = vpc.instance("node-a"), vpc.route_table_ids[0]
    made = ec2.create_managed_prefix_list(PrefixListName="office", MaxEntries=1, AddressFamily="IPv4", Entries=[{"Cidr": "192.0.2.0/24"}])
    prefix_list = made["PrefixList"]["PrefixListId"]
    ec2.create_route(RouteTableId=table, DestinationPrefixListId=prefix_list, NetworkInterfaceId=node.primary.id)
    with refused("RouteAlreadyExists"):
        ec2.create_route(RouteTableId=table, DestinationPrefixListId=prefix_list, NetworkInterfaceId=node.primary.id)
    ec2.replace_route(RouteTableId=table, DestinationPrefixListId=prefix_list, NetworkInterfaceId=node.backup.id)
    assert entries(ec2, table)[prefix_list]["NetworkInterfaceId"] == node.backup.id
    assert found_by(ec2, "route.destination-prefix-list-id", prefix_list) == {table}
    assert prefix_list in {route.destination for route in plane.snapshot(vpc.id).subnets[0].routes}
    with refused("InvalidPrefixListID.NotFound"):
        ec2.create_route(RouteTableId=table, DestinationPrefixListId="pl-00000000", NetworkInterfaceId=node.primary.id)


def test_every_filter_of_describe_route_tables(ec2: Any) -> None:
    vpc = build(ec2, vips=["10.55.0.1/32", "fd55::1/128"], tables=4)
    node, all_tables = vpc.instance("node-a"), set(vpc.route_table_ids)
    ec2.create_tags(Resources=[vpc.route_table_ids[3]], Tags=[{"Key": "role", "Value": "spare"}])
    assert found_by(ec2, "vpc-id", vpc.id) == all_tables | {vpc.main_route_table_id}
    assert found_by(ec2, "route-table-id", vpc.route_table_ids[0]) == {vpc.route_table_ids[0]}
    assert found_by(ec2, "route.destination-cidr-block", "10.55.0.1/32") == all_tables
    assert found_by(ec2, "route.destination-cidr-block", "10.55.*") == all_tables
    assert found_by(ec2, "route.destination-ipv6-cidr-block", "fd55::1/128") == all_tables
    assert found_by(ec2, "route.gateway-id", vpc.internet_gateway_id) == set(vpc.route_table_ids[:3])
    assert found_by(ec2, "route.instance-id", node.id) == all_tables
    assert found_by(ec2, "association.subnet-id", vpc.subnets[2].id) == {vpc.route_table_ids[2]}
    assert vpc.main_route_table_id in found_by(ec2, "association.main", "true")
    assert found_by(ec2, "association.route-table-id", vpc.main_route_table_id) == {vpc.main_route_table_id}
    assert found_by(ec2, "tag:role", "spare") == found_by(ec2, "tag-key", "role") == {vpc.route_table_ids[3]}
    assert all_tables <= found_by(ec2, "route.origin", "CreateRoute")
    assert vpc.main_route_table_id not in found_by(ec2, "route.origin", "CreateRoute")
    assert not all_tables & found_by(ec2, "route.state", "blackhole")
    ec2.stop_instances(InstanceIds=[node.id])
    assert all_tables <= found_by(ec2, "route.state", "blackhole")
    for name in ("nat-gateway-id", "transit-gateway-id", "vpc-peering-connection-id", "carrier-gateway-id", "egress-only-internet-gateway-id"):
        assert found_by(ec2, f"route.{name}", "none") == set()
    with refused("InvalidParameterValue", "route.network-interface-id"):
        found_by(ec2, "route.network-interface-id", node.primary.id)


def test_route_tables_come_in_pages(plane: ControlPlane, ec2: Any) -> None:
    vpc = build(ec2, tables=121)
    mine = [{"Name": "vpc-id", "Values": [vpc.id]}]
    first = ec2.describe_route_tables(Filters=mine)
    assert len(first["RouteTables"]) == 100
    second = ec2.describe_route_tables(Filters=mine, NextToken=first["NextToken"])
    assert "NextToken" not in second
    ids = [table["RouteTableId"] for page in (first, second) for table in page["RouteTables"]]
    assert sorted(ids) == sorted([*vpc.route_table_ids, vpc.main_route_table_id])
    assert len(ec2.describe_route_tables(Filters=mine, MaxResults=5)["RouteTables"]) == 5
    unchecked = plane.client("ec2", config=Config(parameter_validation=False))
    for size in (4, 101):
        with refused("InvalidParameterValue", "maxResults"):
            unchecked.describe_route_tables(MaxResults=size)
    with refused("InvalidNextToken"):
        ec2.describe_route_tables(NextToken=first["NextToken"])
    with refused("InvalidParameterCombination"):
        ec2.describe_route_tables(RouteTableIds=list(vpc.route_table_ids[:6]), MaxResults=5)


@pytest.mark.parametrize(
    ("method", "arguments", "code"),
    [
        ("describe_route_tables", {"RouteTableIds": ["rtb-xyz"]}, "InvalidRouteTableId.Malformed"),
        ("describe_route_tables", {"RouteTableIds": ["vpc-12345678"]}, "InvalidRouteTableId.Malformed"),
        ("describe_route_tables", {"RouteTableIds": ["rtb-12345678"]}, "InvalidRouteTableID.NotFound"),
        ("replace_route", {**ROUTE, "NetworkInterfaceId": "eni-1"}, "InvalidNetworkInterfaceId.Malformed"),
        ("replace_route", {**ROUTE, "NetworkInterfaceId": "eni-12345678"}, "InvalidRouteTableID.NotFound"),
        ("describe_network_interfaces", {"NetworkInterfaceIds": ["eni-12345678;"]}, "InvalidNetworkInterfaceId.Malformed"),
        ("describe_network_interfaces", {"NetworkInterfaceIds": ["eni-12345678"]}, "InvalidNetworkInterfaceID.NotFound"),
        ("describe_instances", {"InstanceIds": ["i-1"]}, "InvalidInstanceID.Malformed"),
        ("stop_instances", {"InstanceIds": ["x"]}, "InvalidInstanceID.Malformed"),
        ("describe_vpcs", {"VpcIds": ["vpc-"]}, "InvalidVpcID.Malformed"),
        ("describe_subnets", {"SubnetIds": ["subnet-G2345678"]}, "InvalidSubnetID.Malformed"),
        ("create_route", {"RouteTableId": "rtb-12345678", "DestinationPrefixListId": "pl-z"}, "InvalidPrefixListId.Malformed"),
        ("create_route", {**ROUTE, "GatewayId": "eni-12345678"}, "InvalidGatewayID.Malformed"),
        ("release_address", {"AllocationId": "eipalloc-x"}, "InvalidAllocationID.NotFound"),
    ],
)
def test_malformed_ids_are_told_from_unknown_ones(ec2: Any, method: str, arguments: dict[str, Any], code: str) -> None:
    with refused(code):
        getattr(ec2, method)(**arguments)
