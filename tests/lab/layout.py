# SPDX-License-Identifier: GPL-3.0-or-later
"""Lays out the lab's VPC through the EC2 API: two nodes and a client in three subnets, each subnet with a route table of its own."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from lab.place import Interface, Machine, Place

VPC_CIDR = "10.0.0.0/16"
VIP, VIP6 = "10.1.0.10/32", "fd00:1::10/128"
ELASTIC_IP = "203.0.113.5"
NODES = ("node-a", "node-b")
CLIENT = "client-c"
#: Machine, its subnet, the suffix of its zone, and its links with the last part of their addresses.
_MACHINES = (
    ("node-a", "10.0.1.0/24", "a", {"eth0": 11, "eth1": 12}),
    ("node-b", "10.0.2.0/24", "b", {"eth0": 21, "eth1": 22}),
    (CLIENT, "10.0.3.0/24", "c", {"eth0": 31}),
)


def lay_out(ec2: Any, region: str, extra_tables: int = 0) -> Place:
    """Make it all. The virtual address leads to node-a's first interface from every table, as does the Elastic IP.

    :param ec2: A boto3 client of the control plane.
    :param extra_tables: Further route tables with entries for the virtual address, associated with no subnet.
    """
    vpc = ec2.create_vpc(CidrBlock=VPC_CIDR, AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    vpc_id = vpc["VpcId"]
    # EC2 gives the block a moment after the VPC; it is in the description once it is there.
    block = ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
    blocks = list(ipaddress.ip_network(block).subnets(new_prefix=64))
    machines, tables = [], {}
    for number, (name, cidr, zone, links) in enumerate(_MACHINES, start=1):
        subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock=cidr, Ipv6CidrBlock=str(blocks[number]), AvailabilityZone=region + zone)["Subnet"]["SubnetId"]
        machines.append(_machine(ec2, name, subnet, region + zone, cidr, blocks[number], links))
        tables[name] = _table(ec2, vpc_id, name, gateway)
        ec2.associate_route_table(RouteTableId=tables[name], SubnetId=subnet)
    tables.update({f"extra-{number}": _table(ec2, vpc_id, f"extra-{number}", gateway) for number in range(1, extra_tables + 1)})
    active = machines[0].interfaces[0]
    for table in tables.values():
        ec2.create_route(RouteTableId=table, DestinationCidrBlock=VIP, NetworkInterfaceId=active.id)
        ec2.create_route(RouteTableId=table, DestinationIpv6CidrBlock=VIP6, NetworkInterfaceId=active.id)
    ec2.modify_network_interface_attribute(NetworkInterfaceId=active.id, SourceDestCheck={"Value": False})
    allocated = ec2.allocate_address(Domain="vpc", Address=ELASTIC_IP)
    ec2.associate_address(AllocationId=allocated["AllocationId"], NetworkInterfaceId=active.id, PrivateIpAddress=active.address)
    return Place(region, vpc_id, gateway, VIP, VIP6, allocated["PublicIp"], allocated["AllocationId"], tuple(machines), tuple(tables.items()))


def _table(ec2: Any, vpc_id: str, name: str, gateway: str) -> str:
    table: str = ec2.create_route_table(VpcId=vpc_id, TagSpecifications=_named("route-table", name))["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    ec2.create_route(RouteTableId=table, DestinationIpv6CidrBlock="::/0", GatewayId=gateway)
    return table


def _machine(ec2: Any, name: str, subnet: str, zone: str, cidr: str, block: Any, links: Mapping[str, int]) -> Machine:
    interfaces = []
    for link, last in links.items():
        address, ipv6 = str(ipaddress.ip_network(cidr)[last]), str(block[last])
        made = ec2.create_network_interface(
            SubnetId=subnet, PrivateIpAddress=address, Ipv6Addresses=[{"Ipv6Address": ipv6}], TagSpecifications=_named("network-interface", f"{name} {link}")
        )["NetworkInterface"]
        interfaces.append(Interface(made["NetworkInterfaceId"], link, made["MacAddress"], address, ipv6, subnet, cidr))
    launched = ec2.run_instances(
        ImageId="ami-12345678",
        MinCount=1,
        MaxCount=1,
        Placement={"AvailabilityZone": zone},
        NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": interfaces[0].id}],
        TagSpecifications=_named("instance", name),
    )["Instances"][0]["InstanceId"]
    for number, interface in enumerate(interfaces[1:], start=1):
        ec2.attach_network_interface(DeviceIndex=number, InstanceId=launched, NetworkInterfaceId=interface.id)
    return Machine(name, launched, tuple(interfaces))


def _named(kind: str, name: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}]}]
