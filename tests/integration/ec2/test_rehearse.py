# SPDX-License-Identifier: GPL-3.0-or-later
"""To ask whether a takeover would be allowed changes nothing, also on an emulator that carries dry runs out."""

from __future__ import annotations

import boto3
from moto import mock_aws

from ansible_collections.holdfast.ha.plugins.module_utils._ec2.plan import ReplaceRoute
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.rehearse import denial

VIP = "10.1.0.10/32"


@mock_aws
def test_an_emulator_that_knows_no_dry_runs_is_asked_for_none() -> None:
    ec2 = boto3.client("ec2", region_name="eu-central-1", aws_access_key_id="emulator", aws_secret_access_key="emulator")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    active, standby = (ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"] for _number in range(2))
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock=VIP, NetworkInterfaceId=active)

    assert denial(ec2, [ReplaceRoute(table, VIP, standby)]) == ""

    routes = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
    assert [one["NetworkInterfaceId"] for one in routes if one["DestinationCidrBlock"] == VIP] == [active]
