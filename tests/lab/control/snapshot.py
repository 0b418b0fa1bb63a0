# SPDX-License-Identifier: GPL-3.0-or-later
"""moto's state as one frozen picture (`lab.view`)."""

from __future__ import annotations

from typing import Any

from lab.control import state
from lab.view import ElasticIpView, InstanceView, InterfaceView, RouteView, SubnetView, VpcView


def take(backend: Any, region: str, vpc_id: str) -> VpcView:
    """The VPC as it is now; raises KeyError if there is none of that id. The caller holds the lock."""
    vpc = backend.vpcs[vpc_id]
    enis = [eni for eni in backend.enis.values() if eni.subnet.vpc_id == vpc_id]
    instances = [one for one in backend.all_instances() if one.vpc_id == vpc_id]
    subnets = [one for zone in backend.subnets.values() for one in zone.values() if one.vpc_id == vpc_id]
    return VpcView(
        id=vpc_id,
        region=region,
        cidr=vpc.cidr_block,
        ipv6_cidr=state.first_ipv6_cidr(vpc.get_cidr_block_association_set(ipv6=True), "cidr_block"),
        subnets=tuple(_subnet(backend, one) for one in subnets),
        interfaces=tuple(_interface(one) for one in enis),
        elastic_ips=tuple(_elastic_ip(one) for one in backend.addresses if one.eni is None or one.eni.subnet.vpc_id == vpc_id),
        instances=tuple(InstanceView(one.id, one.state) for one in instances),
    )


def _subnet(backend: Any, subnet: Any) -> SubnetView:
    table = state.table_of_subnet(backend, subnet)
    routes = tuple(RouteView(state.destination(route), state.target(route), state.route_state(backend, route)) for route in table.routes)
    ipv6 = state.first_ipv6_cidr(subnet.ipv6_cidr_block_associations.values(), "ipv6CidrBlock")
    return SubnetView(subnet.id, subnet.cidr_block, ipv6, subnet.availability_zone, table.id, routes)


def _interface(eni: Any) -> InterfaceView:
    return InterfaceView(
        id=eni.id,
        mac=eni.mac_address,
        subnet_id=eni.subnet.id,
        private_ips=state.private_ips(eni),
        ipv6_addresses=tuple(eni.ipv6_addresses),
        source_dest_check=bool(eni.source_dest_check),
        instance_id=eni.instance.id if eni.instance else None,
        device_index=eni.device_index if eni.instance else None,
    )


def _elastic_ip(address: Any) -> ElasticIpView:
    return ElasticIpView(address.public_ip, address.eni.id if address.eni else None, state.private_ip(address))
