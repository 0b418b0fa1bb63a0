# SPDX-License-Identifier: GPL-3.0-or-later
"""A standby is ready only if a takeover can succeed there: it says within seconds what EC2 would refuse, and nothing is released for it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import TAG, Cluster
from ansible_collections.holdfast.ha.tests.integration.failover.test_deep import status
from harness.marks import STALLS
from lab.rights import NODE_RIGHTS
from lab.vpc import ROLE
from lab.waiting import until

pytestmark = STALLS

CHECKS = {"grace": 0, "interval": 1, "deep_interval": 1}


@pytest.fixture(scope="module")
def pair(shared: Cluster) -> Iterator[Cluster]:
    """In service on node-a, and node-b is ready."""
    shared.reset(reporting={"checks": CHECKS})
    shared.place_on(shared.lab.node_a)
    ready(shared)
    yield shared
    shared.stop()


def ready(cluster: Cluster) -> None:
    until(lambda: status(cluster, "node-b")["ready"], 20, "node-b is not ready", every=0.1)


def refusal(cluster: Cluster, text: str) -> str:
    def told() -> str:
        reason: str = status(cluster, "node-b")["ready_reason"]
        return reason if text in reason else ""

    return until(told, 20, f"node-b does not say {text!r}", every=0.1)


def test_the_address_that_the_elastic_ip_goes_to_has_one_already(pair: Cluster, tmp_path: Path) -> None:
    ec2, there = pair.lab.ec2, pair.lab.node_b.place.interfaces[0]
    own = ec2.allocate_address(Domain="vpc")
    held = ec2.associate_address(AllocationId=own["AllocationId"], NetworkInterfaceId=there.id, PrivateIpAddress=there.address)
    try:
        reason = refusal(pair, f"{there.address} of {there.id} has the Elastic IP {own['PublicIp']} already")
        assert reason.startswith("EC2: ")
        with pair.lab.prober("client-c") as prober:
            prober.wait_until_answered(5, by="node-a")
            run = pair.play("switchover", tmp_path, tag=TAG, to="node-b")
            assert prober.stop().longest_ms < 200
        assert run.status == 2
        assert f"no node is ready to take {TAG} over, so nothing was released (node-b: " in run.message
        assert own["PublicIp"] in run.message
    finally:
        ec2.disassociate_address(AssociationId=held["AssociationId"])
        ec2.release_address(AllocationId=own["AllocationId"])
    pair.all_on("node-a")
    ready(pair)


@pytest.mark.parametrize(
    "action", ["ReplaceRoute", "ModifyNetworkInterfaceAttribute", "AssociateAddress", "DescribeAddresses", "DescribeRouteTables"]
)
def test_a_right_is_missing(pair: Cluster, action: str) -> None:
    """It is asked for when the checker starts, and again until it is there. Nothing is changed by asking."""
    there = pair.lab.node_b.place.interfaces[0]
    pair.lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=there.id, SourceDestCheck={"Value": True})
    policy: dict[str, Any] = copy.deepcopy(NODE_RIGHTS)
    policy["Statement"][0]["Action"].remove(f"ec2:{action}")
    pair.lab.control.set_policy(ROLE, policy)
    try:
        pair.checkers["node-b"].stop()
        pair.checkers["node-b"].start()
        assert "IAM policy" in refusal(pair, f"add ec2:{action}")
        pair.lab.control.set_policy(ROLE, NODE_RIGHTS)
        ready(pair)
    finally:
        pair.lab.control.set_policy(ROLE, NODE_RIGHTS)
    pair.all_on("node-a")


def test_no_table_has_an_entry(pair: Cluster) -> None:
    """And none is to be made. The tables are looked at when the checker starts."""
    vip, there = pair.lab.place.vip, pair.lab.node_a.place.interfaces[0]
    tables = [subnet.route_table_id for subnet in pair.lab.view.subnets if any(route.destination == vip for route in subnet.routes)]
    for table in tables:
        pair.lab.ec2.delete_route(RouteTableId=table, DestinationCidrBlock=vip)
    try:
        pair.checkers["node-b"].stop()
        pair.checkers["node-b"].start()
        refusal(pair, vip)
    finally:
        for table in tables:
            pair.lab.ec2.create_route(RouteTableId=table, DestinationCidrBlock=vip, NetworkInterfaceId=there.id)
    ready(pair)


def test_asking_costs_a_standby_nothing_after_that(pair: Cluster) -> None:
    calls = pair.lab.control.calls
    names = ("ec2:ReplaceRoute", "ec2:AssociateAddress", "ec2:DescribeAddresses")
    before, looks = [len(calls.all(name)) for name in names], len(calls.all("ec2:DescribeNetworkInterfaces"))
    until(lambda: len(calls.all("ec2:DescribeNetworkInterfaces")) >= looks + 8, 20, "nobody looks")
    assert [len(calls.all(name)) for name in names] == before
