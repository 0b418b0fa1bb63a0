# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own VPC: two nodes and a client in three subnets, a virtual address of each protocol and an Elastic IP, all on node-a."""

from __future__ import annotations

from typing import Any

from lab.control.build import InstanceIds, InstancePlan, SubnetIds, build
from lab.place import Interface, Machine, Place

VIP, VIP6 = "10.1.0.10/32", "fd00:1::10/128"
ELASTIC_IP = "203.0.113.5"
NODES = ("node-a", "node-b")
CLIENT = "client-c"
_MACHINES = (InstancePlan(NODES[0], 0, (11, 12)), InstancePlan(NODES[1], 1, (21, 22)), InstancePlan(CLIENT, 2, (31,)))


def lay_out(ec2: Any, region: str, extra_tables: int = 0) -> Place:
    """Make it all. The virtual addresses lead to node-a's first interface from every table, as does the Elastic IP.

    :param ec2: A boto3 client of the control plane.
    :param extra_tables: Further route tables with entries for the virtual addresses, associated with no subnet.
    """
    made = build(ec2, instances=_MACHINES, vips=(VIP, VIP6), tables=len(_MACHINES) + extra_tables, elastic_ips=0)
    active = made.instance(NODES[0]).primary
    ec2.modify_network_interface_attribute(NetworkInterfaceId=active.id, SourceDestCheck={"Value": False})
    allocated = ec2.allocate_address(Domain="vpc", Address=ELASTIC_IP)
    ec2.associate_address(AllocationId=allocated["AllocationId"], NetworkInterfaceId=active.id, PrivateIpAddress=active.private_ips[0])
    subnets = {one.id: one for one in made.subnets}
    names = [*(plan.name for plan in _MACHINES), *(f"extra-{number}" for number in range(1, extra_tables + 1))]
    return Place(
        region=region,
        vpc_id=made.id,
        internet_gateway_id=made.internet_gateway_id,
        vip=VIP,
        vip6=VIP6,
        elastic_ip=allocated["PublicIp"],
        allocation_id=allocated["AllocationId"],
        machines=tuple(_machine(one, subnets[one.primary.subnet_id]) for one in made.instances),
        route_tables=tuple(zip(names, made.route_table_ids)),
    )


def _machine(instance: InstanceIds, subnet: SubnetIds) -> Machine:
    interfaces = (
        Interface(one.id, f"eth{number}", one.mac, one.private_ips[0], one.ipv6_address, one.subnet_id, subnet.cidr)
        for number, one in enumerate(instance.interfaces)
    )
    return Machine(instance.name, instance.id, tuple(interfaces))
