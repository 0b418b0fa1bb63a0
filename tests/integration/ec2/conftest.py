# SPDX-License-Identifier: GPL-3.0-or-later
"""A VPC on the strict control plane, with instance metadata over HTTP, for modules run as processes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from harness.module import run_module
from lab.control import ControlPlane
from lab.control.http import HttpServer
from lab.imds import Identity, Imds

VIP, OTHER, VIP6 = "10.1.0.10/32", "10.1.0.20/32", "fd00::10/128"
VPC_CIDR = "10.0.0.0/16"


@dataclass
class World:
    """One VPC: two running instances in two subnets; the first (ours) has a second network interface."""

    plane: ControlPlane
    ec2: Any
    vpc: str
    instances: tuple[str, str]
    ours: str
    second: str
    theirs: str
    metadata_url: str = ""
    tables: list[str] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        keys = self.plane.admin_credentials
        return {
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "AWS_REGION": self.plane.region,
            "AWS_ENDPOINT_URL": self.plane.endpoint_url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.metadata_url,
        }

    def run(
        self, name: str, args: dict[str, Any] | None = None, *, check: bool = False, env: dict[str, str] | None = None, **more: Any
    ) -> dict[str, Any]:
        """A module's answer; the log of calls begins anew with it."""
        self.plane.calls.reset()
        return run_module(name, args or {}, check=check, env=self.env if env is None else env, **more)

    def add_tables(self, count: int, entries: dict[str, str]) -> list[str]:
        """Route tables with an entry for each destination to its network interface."""
        made = [self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"] for _number in range(count)]
        for table in made:
            for destination, target in entries.items():
                version = "DestinationIpv6CidrBlock" if ":" in destination else "DestinationCidrBlock"
                self.ec2.create_route(RouteTableId=table, NetworkInterfaceId=target, **{version: destination})
        self.tables += made
        return made

    def routes(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Every entry of every table of the VPC: what it leads to, and its state."""
        found = {}
        for page in self.ec2.get_paginator("describe_route_tables").paginate(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}]):
            for table in page["RouteTables"]:
                for route in table["Routes"]:
                    destination = route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock") or route["DestinationPrefixListId"]
                    target = route.get("NetworkInterfaceId") or route.get("GatewayId")
                    found[table["RouteTableId"], destination] = (target, route["State"])
        return found

    def everything(self) -> dict[str, Any]:
        """All that a module could have touched."""
        interfaces = self.ec2.describe_network_interfaces()["NetworkInterfaces"]
        return {
            "routes": self.routes(),
            "checks": {eni["NetworkInterfaceId"]: eni["SourceDestCheck"] for eni in interfaces},
            "elastic": {
                one["PublicIp"]: (one.get("NetworkInterfaceId"), one.get("PrivateIpAddress")) for one in self.ec2.describe_addresses()["Addresses"]
            },
        }

    def writes(self) -> list[str]:
        """The mutating calls of the last run."""
        return [call.action for call in self.plane.calls.mutating()]

    def reads(self) -> list[str]:
        """The other calls of the last run."""
        return [call.action for call in self.plane.calls.all() if not call.mutating]


def build(plane: ControlPlane) -> World:
    """A new VPC."""
    ec2 = plane.client("ec2")
    vpc = ec2.create_vpc(CidrBlock=VPC_CIDR)["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"] for cidr in ("10.0.1.0/24", "10.0.2.0/24")]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    started = [ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1, SubnetId=subnet)["Instances"][0] for subnet in subnets]
    instances = (started[0]["InstanceId"], started[1]["InstanceId"])
    primary = [one["NetworkInterfaces"][0]["NetworkInterfaceId"] for one in started]
    second = ec2.create_network_interface(SubnetId=subnets[0])["NetworkInterface"]["NetworkInterfaceId"]
    ec2.attach_network_interface(NetworkInterfaceId=second, InstanceId=instances[0], DeviceIndex=1)
    return World(plane, ec2, vpc, instances, primary[0], second, primary[1])


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as made:
        yield made


@pytest.fixture
def world(plane: ControlPlane) -> Iterator[World]:
    made = build(plane)
    metadata = Imds(Identity(made.instances[0], "node"), lambda: plane.snapshot(made.vpc), plane.issue)
    listener = socket.create_server(("127.0.0.1", 0))
    made.metadata_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = HttpServer(metadata.answer)
    server.listen(listener)
    yield made
    server.stop()
    metadata.stop()
