# SPDX-License-Identifier: GPL-3.0-or-later
"""ec2_fence over HTTP against the strict control plane: the old node is found by what targets it, and nobody else is hit."""

from __future__ import annotations

from typing import Any

import pytest

from harness.module import twelve_steps
from lab.control import Fault

from .conftest import VIP, World

MODULE = "ec2_fence"


def args(world: World, fence: str = "source_dest_check", **ec2: Any) -> dict[str, Any]:
    """The first instance takes over from the second."""
    resource = {"tag": "web", "address": VIP, "interface": "eth0", "fence": fence, "ec2": ec2 or {"route_tables": "all", "vpc_id": world.vpc}}
    instances = dict(zip(("node-a", "node-b"), world.instances))
    return {"resource": resource, "node": "node-a", "instances": instances, "old_nodes": ["node-b"], "network_interface_id": world.ours}


def states(world: World) -> list[str]:
    found = world.ec2.describe_instances(InstanceIds=list(world.instances))["Reservations"]
    named = {one["InstanceId"]: one["State"]["Name"] for each in found for one in each["Instances"]}
    return [named[instance] for instance in world.instances]


def check_of(world: World, eni: str) -> bool:
    return bool(world.everything()["checks"][eni])


@pytest.fixture
def routed(world: World) -> World:
    """Two route tables target the second instance, whose source/destination check is off."""
    world.add_tables(2, {VIP: world.theirs})
    for eni in (world.ours, world.theirs):
        world.ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, SourceDestCheck={"Value": False})
    return world


def test_idempotent_and_foreseen(routed: World) -> None:
    twelve_steps(
        lambda given, check: routed.run(MODULE, given, check=check),
        lambda: [routed.everything(), states(routed)],
        create=args(routed),
        change=args(routed, "stop_instance"),
        remove=None,
    )


@pytest.mark.python39
def test_packets_that_still_reach_the_old_node_are_dropped(routed: World) -> None:
    answer = routed.run(MODULE, args(routed))
    assert (answer["changed"], answer["interfaces"], answer["nodes"]) == (True, [routed.theirs], ["node-b"])
    assert routed.writes() == ["ModifyNetworkInterfaceAttribute"]
    assert (check_of(routed, routed.ours), check_of(routed, routed.theirs)) == (False, True)


def test_the_old_node_is_stopped(routed: World) -> None:
    answer = routed.run(MODULE, {**args(routed, "stop_instance"), "timeout": 60})
    assert (answer["changed"], answer["interfaces"]) == (True, [routed.theirs])
    assert (routed.writes(), states(routed)) == (["StopInstances"], ["running", "stopped"])


def test_it_is_found_by_the_elastic_ip_alone(world: World) -> None:
    made = world.ec2.allocate_address(Domain="vpc")
    world.ec2.associate_address(AllocationId=made["AllocationId"], NetworkInterfaceId=world.theirs)
    world.ec2.modify_network_interface_attribute(NetworkInterfaceId=world.theirs, SourceDestCheck={"Value": False})
    answer = world.run(MODULE, args(world, elastic_ip=made["PublicIp"]))
    assert (answer["changed"], answer["interfaces"], check_of(world, world.theirs)) == (True, [world.theirs], True)


def test_what_targets_this_node_is_not_fenced(world: World) -> None:
    world.add_tables(1, {VIP: world.ours})
    before = world.everything()
    answer = world.run(MODULE, args(world, "stop_instance"))
    assert (answer["failed"], answer["changed"], answer["interfaces"]) == (False, False, [])
    assert (world.everything(), states(world)) == (before, ["running", "running"])


@pytest.mark.parametrize("fault", [Fault("throttle", "*", times=3), Fault("lost_reply", "Modify*", times=1)], ids=lambda fault: fault.kind)
def test_a_transient_error_is_tried_again(routed: World, fault: Fault) -> None:
    routed.plane.faults.inject(fault)
    answer = routed.run(MODULE, args(routed))
    assert (answer["failed"], answer["changed"], check_of(routed, routed.theirs)) == (False, True, True), answer


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"instances": {"node-a": "i-0123456789abcdef0"}}, "is not certain whom it would hit"),
        ({"resource": {"fence": "none"}}, "resource/fence: it is none, so nobody is fenced; set it to source_dest_check or stop_instance"),
        ({"resource": {"fence": "kill"}}, "resource/fence"),
        ({"resource": {"address": "10.1.0.99/32"}}, "none leads to a network interface"),
        ({"resource": {"ec2": {}}}, "there is neither; set ec2, or fence: none"),
        ({"timeout": 0}, "timeout: 0 is out of range"),
        ({"deny": "DescribeRouteTables"}, "ec2:DescribeRouteTables"),
        ({"deny": "DescribeNetworkInterfaces"}, "ec2:DescribeNetworkInterfaces"),
        ({"deny": "ModifyNetworkInterfaceAttribute"}, "ec2:ModifyNetworkInterfaceAttribute"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_one_line_and_nothing_changed(routed: World, change: dict[str, Any], words: str) -> None:
    given = args(routed)
    resource = {**given["resource"], "ec2": {**given["resource"]["ec2"], "missing": "ignore"}, **change.get("resource", {})}
    before = [routed.everything(), states(routed)]
    if "deny" in change:
        routed.plane.faults.inject(Fault("deny", change["deny"]))
    answer = routed.run(MODULE, {**given, **{name: change[name] for name in change if name in given or name == "timeout"}, "resource": resource})
    routed.plane.faults.clear()
    assert answer["failed"], answer
    assert words in answer["msg"], answer
    assert "\n" not in answer["msg"]
    assert [routed.everything(), states(routed)] == before


def test_an_entry_changed_by_hand_fences_nobody(routed: World) -> None:
    """It targets an instance that is no node of the cluster."""
    subnet = routed.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [routed.vpc]}])["Subnets"][0]["SubnetId"]
    other = routed.ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1, SubnetId=subnet)["Instances"][0]
    eni = other["NetworkInterfaces"][0]["NetworkInterfaceId"]
    routed.ec2.replace_route(RouteTableId=routed.tables[0], DestinationCidrBlock=VIP, NetworkInterfaceId=eni)
    answer = routed.run(MODULE, args(routed, "stop_instance"))
    assert "is not certain whom it would hit" in answer["msg"]
    assert other["InstanceId"] in answer["msg"]
    assert (routed.writes(), states(routed)) == ([], ["running", "running"])
