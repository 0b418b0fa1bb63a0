# SPDX-License-Identifier: GPL-3.0-or-later
"""The Elastic IP is associated with a private address of the second link: its clients are answered by that link, whatever becomes of the rule."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, Cluster
from harness.module import run_module
from lab.checker import Checker
from lab.forwarding import ROUTER6
from lab.node import Node
from lab.waiting import until

CHECKS = {"grace": 0, "interval": 1, "deep_interval": 2}
CLIENT = "198.51.100.2"


@dataclass(frozen=True)
class Second:
    """node-a, whose checker has the resource on eth1, while the default route leaves by eth0. ``own``: the private address of eth1."""

    cluster: Cluster
    node: Node
    own: str

    def table(self) -> str:
        """The table that the rule of the private address names; empty for no rule."""
        rules = json.loads(self.node.namespace.ip("-N -j rule"))
        return next((str(rule["table"]) for rule in rules if rule.get("src") == self.own and "table" in rule), "")

    def leaves_by(self) -> str:
        """The link by which the kernel sends replies of the private address to a client on the internet."""
        return str(json.loads(self.node.namespace.ip(f"-j route get {CLIENT} from {self.own}"))[0]["dev"])


@pytest.fixture(scope="module", params=["IPv4", "IPv6"])
def second(shared: Cluster, request: pytest.FixtureRequest) -> Iterator[Second]:
    """``param``: the family of the protected address. That of the Elastic IP is always IPv4."""
    node, lab = shared.lab.node_a, shared.lab
    vip, ec2 = lab.place.vip, shared.web["ec2"]
    more: dict[str, object] = {}
    if request.param == "IPv6":
        vip, ec2, more = lab.place.vip6, {"elastic_ip": lab.place.elastic_ip}, {"gateway": ROUTER6}
    shared.reset(interface="eth1", backup_interface="eth0", address=vip, ec2=ec2, **more)
    interface = node.place.interface("eth1")
    shared.checkers.pop("node-a").stop()
    for _machine, table in lab.place.route_tables:
        lab.ec2.replace_route(RouteTableId=table, DestinationCidrBlock=lab.place.vip, NetworkInterfaceId=interface.id)
    lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface.id, SourceDestCheck={"Value": False})
    where = {"NetworkInterfaceId": interface.id, "PrivateIpAddress": interface.address}
    lab.ec2.associate_address(AllocationId=lab.place.allocation_id, AllowReassociation=True, **where)
    # the first link forwards what has its own addresses alone, as EC2 has it unless told otherwise
    lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=node.place.interface("eth0").id, SourceDestCheck={"Value": True})
    answer = shared.module_of(node, "ip_resource", in_service=True)
    assert not answer["failed"], answer
    shared.checkers["node-a"] = Checker(node, {"cluster": CLUSTER, "store": STORE, "checks": CHECKS}, [shared.resource]).start()
    shared.put_in_service(node)
    found = Second(shared, node, interface.address)
    try:
        yield found
    finally:
        shared.stop()
        for held in (vip, interface.address):
            options = {"address": held, "interface": "eth1", "state": "absent"}
            assert not run_module("ip_source_route", options, where=node.namespace, env=dict(node.environment))["failed"]
        lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface.id, SourceDestCheck={"Value": True})


def rule_deleted(second: Second, table: str) -> None:
    second.node.namespace.ip(f"rule del from {second.own} table {table}")


def table_flushed(second: Second, table: str) -> None:
    second.node.namespace.ip(f"route flush table {table}")


@pytest.mark.scenario("C4")
@pytest.mark.parametrize("lose", [rule_deleted, table_flushed])
def test_what_others_delete_is_put_back_within_a_second(second: Second, lose: Callable[[Second, str], None]) -> None:
    checker = second.cluster.checkers["node-a"]
    table = until(second.table, 20, "the replies of the private address were not led by its link to begin with")
    until(lambda: second.leaves_by() == "eth1", 5, "they leave by another link")
    with second.cluster.lab.prober("outside") as prober:
        prober.wait_until_answered(10)
        before = len(checker.seen("reflex"))
        lose(second, table)
        until(lambda: second.leaves_by() == "eth1", 1, "replies go on leaving by the first link", every=0.02)
        told = until(lambda: checker.seen("reflex")[before:], 2, "nothing is told")[0]
        prober.wait_until_answered(2)
    assert (told["ok"], told["faults"]) == (True, ["elastic_ip_source_route"])
    assert told["what"] == f"made the replies of {second.own} leave by eth1"
    assert second.table() == table
