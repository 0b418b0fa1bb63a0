# SPDX-License-Identifier: GPL-3.0-or-later
"""What the data plane and instance metadata need to know of the control plane: one frozen picture of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class InterfaceView:
    """A network interface. ``private_ips`` with the primary one first."""

    id: str
    mac: str
    subnet_id: str
    private_ips: tuple[str, ...]
    ipv6_addresses: tuple[str, ...]
    source_dest_check: bool
    instance_id: str | None
    device_index: int | None


@dataclass(frozen=True)
class RouteView:
    """A route table's entry; ``state`` is ``active`` or ``blackhole``; ``target`` is ``local``, an ``eni-``, an ``igw-`` ..."""

    destination: str
    target: str
    state: str


@dataclass(frozen=True)
class SubnetView:
    """A subnet with the routes of the table that it is associated with (its own, else the VPC's main one)."""

    id: str
    cidr: str
    ipv6_cidr: str | None
    availability_zone: str
    route_table_id: str
    routes: tuple[RouteView, ...]


@dataclass(frozen=True)
class ElasticIpView:
    """An Elastic IP and, if it is associated, where its packets go."""

    public_ip: str
    network_interface_id: str | None
    private_ip: str | None


@dataclass(frozen=True)
class InstanceView:
    """An instance; ``state`` as EC2 names it (``running``, ``stopped`` ...)."""

    id: str
    state: str


@dataclass(frozen=True)
class VpcView:
    """One VPC at one instant."""

    id: str
    region: str
    cidr: str
    ipv6_cidr: str | None
    subnets: tuple[SubnetView, ...] = ()
    interfaces: tuple[InterfaceView, ...] = ()
    elastic_ips: tuple[ElasticIpView, ...] = ()
    instances: tuple[InstanceView, ...] = ()
