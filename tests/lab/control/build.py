# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the lab's VPC through the EC2 API, as a person would: nothing here knows of the control plane."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_CIDR = "10.0.0.0/16"


@dataclass(frozen=True)
class SubnetIds:
    """A subnet with a route table of its own."""

    id: str
    cidr: str
    ipv6_cidr: str
    availability_zone: str
    route_table_id: str


@dataclass(frozen=True)
class InterfaceIds:
    """A network interface. ``private_ips`` with the primary one first."""

    id: str
    mac: str
    subnet_id: str
    private_ips: tuple[str, ...]
    ipv6_address: str


@dataclass(frozen=True)
class InstanceIds:
    """An instance with its interfaces by device index."""

    id: str
    name: str
    interfaces: tuple[InterfaceIds, ...]

    @property
    def primary(self) -> InterfaceIds:
        """The interface with device index 0."""
        return self.interfaces[0]

    @property
    def backup(self) -> InterfaceIds:
        """The interface with device index 1."""
        return self.interfaces[1]


@dataclass(frozen=True)
class ElasticIpIds:
    """An Elastic IP, not associated yet."""

    public_ip: str
    allocation_id: str


@dataclass(frozen=True)
class VpcIds:
    """What `build` made. ``route_table_ids``: every table but the main one, the subnets' own first."""

    id: str
    cidr: str
    ipv6_cidr: str
    main_route_table_id: str
    internet_gateway_id: str
    subnets: tuple[SubnetIds, ...]
    instances: tuple[InstanceIds, ...]
    elastic_ips: tuple[ElasticIpIds, ...]
    route_table_ids: tuple[str, ...]

    def instance(self, name: str) -> InstanceIds:
        """The instance of that name; KeyError if there is none."""
        return {one.name: one for one in self.instances}[name]


@dataclass(frozen=True)
class InstancePlan:
    """An instance to make: its subnet by position, and the host numbers of its interfaces in that subnet."""

    name: str
    subnet: int
    hosts: tuple[int, ...] = (10, 11)


#: Two nodes in two subnets; a third subnet is for a client.
NODES = (InstancePlan("node-a", 0), InstancePlan("node-b", 1))


def build(
    ec2: Any,
    *,
    cidr: str = _CIDR,
    subnets: int = 3,
    instances: Sequence[InstancePlan] = NODES,
    vips: Sequence[str] = ("10.1.0.10/32",),
    tables: int = 0,
    elastic_ips: int = 1,
) -> VpcIds:
    """The lab's VPC, IPv4 and IPv6.

    :param ec2: A boto3 client.
    :param subnets: How many /24 (and /64), in the region's zones in turn, each with a route table that leads to the internet gateway.
    :param vips: Destinations that every route table gets an entry for, to the first instance's primary interface.
    :param tables: How many route tables in all there should be beside the main one; more than ``subnets`` makes unassociated ones.
    """
    vpc = ec2.create_vpc(CidrBlock=cidr, AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    vpc_id, ipv6 = vpc["VpcId"], _ipv6_of_vpc(ec2, vpc["VpcId"])
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
    zones = [one["ZoneName"] for one in ec2.describe_availability_zones()["AvailabilityZones"]]
    made = [_subnet(ec2, vpc_id, cidr, ipv6, number, zones[number % len(zones)], gateway) for number in range(subnets)]
    ran = [_instance(ec2, plan, made[plan.subnet]) for plan in instances]
    extra = [ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"] for _number in range(tables - subnets)]
    ids = [*(one.route_table_id for one in made), *extra]
    for vip in vips if ran else ():
        for table in ids:
            ec2.create_route(RouteTableId=table, NetworkInterfaceId=ran[0].primary.id, **{destination_parameter(vip): vip})
    main = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "association.main", "Values": ["true"]}])
    return VpcIds(
        id=vpc_id,
        cidr=cidr,
        ipv6_cidr=ipv6,
        main_route_table_id=main["RouteTables"][0]["RouteTableId"],
        internet_gateway_id=gateway,
        subnets=tuple(made),
        instances=tuple(ran),
        elastic_ips=tuple(_elastic_ip(ec2) for _number in range(elastic_ips)),
        route_table_ids=tuple(ids),
    )


def destination_parameter(destination: str) -> str:
    """The parameter of CreateRoute and ReplaceRoute that takes this destination."""
    if destination.startswith("pl-"):
        return "DestinationPrefixListId"
    return "DestinationIpv6CidrBlock" if ":" in destination else "DestinationCidrBlock"


def _ipv6_of_vpc(ec2: Any, vpc_id: str) -> str:
    vpc = ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"][0]
    return str(vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"])


def _subnet(ec2: Any, vpc_id: str, cidr: str, ipv6: str, number: int, zone: str, gateway: str) -> SubnetIds:
    ipv4_block = _nth(cidr, 24, number + 1)
    ipv6_block = _nth(ipv6, 64, number + 1)
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock=ipv4_block, Ipv6CidrBlock=ipv6_block, AvailabilityZone=zone)["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    ec2.create_route(RouteTableId=table, DestinationIpv6CidrBlock="::/0", GatewayId=gateway)
    return SubnetIds(subnet, ipv4_block, ipv6_block, zone, table)


def _nth(block: str, prefix: int, number: int) -> str:
    network = ipaddress.ip_network(block)
    size = 1 << (network.max_prefixlen - prefix)
    return str(ipaddress.ip_network((int(network.network_address) + number * size, prefix)))


def _instance(ec2: Any, plan: InstancePlan, subnet: SubnetIds) -> InstanceIds:
    interfaces = tuple(_interface(ec2, plan.name, subnet, host) for host in plan.hosts)
    attached = [{"DeviceIndex": index, "NetworkInterfaceId": one.id} for index, one in enumerate(interfaces)]
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": plan.name}]}]
    done = ec2.run_instances(
        ImageId="ami-0123456789abcdef0", InstanceType="t3.small", MinCount=1, MaxCount=1, NetworkInterfaces=attached, TagSpecifications=tags
    )
    return InstanceIds(done["Instances"][0]["InstanceId"], plan.name, interfaces)


def _interface(ec2: Any, name: str, subnet: SubnetIds, host: int) -> InterfaceIds:
    ipv4 = str(ipaddress.ip_network(subnet.cidr).network_address + host)
    ipv6 = str(ipaddress.ip_network(subnet.ipv6_cidr).network_address + host)
    made = ec2.create_network_interface(
        SubnetId=subnet.id, PrivateIpAddress=ipv4, Ipv6Addresses=[{"Ipv6Address": ipv6}], Description=f"{name} {host}"
    )["NetworkInterface"]
    return InterfaceIds(made["NetworkInterfaceId"], made["MacAddress"], subnet.id, (ipv4,), ipv6)


def _elastic_ip(ec2: Any) -> ElasticIpIds:
    made = ec2.allocate_address(Domain="vpc")
    return ElasticIpIds(made["PublicIp"], made["AllocationId"])
