# SPDX-License-Identifier: GPL-3.0-or-later
"""ec2_instance_stop over HTTP against the strict control plane, where an instance takes a while to stop."""

from __future__ import annotations

from typing import Any

import pytest

from harness.module import twelve_steps
from lab.control import Fault

from .conftest import World

MODULE = "ec2_instance_stop"


def state(world: World, number: int = 1) -> str:
    """As EC2 tells it."""
    found = world.ec2.describe_instances(InstanceIds=[world.instances[number]])["Reservations"][0]["Instances"][0]
    return str(found["State"]["Name"])


def test_idempotent_and_foreseen(world: World) -> None:
    twelve_steps(
        lambda args, check: world.run(MODULE, args, check=check),
        lambda: [state(world, number) for number in (0, 1)],
        create={"network_interface_id": world.theirs},
        change={"instance_id": world.instances[0], "force": True},
        remove=None,
    )


@pytest.mark.python39
def test_it_waits_until_the_instance_has_stopped(world: World) -> None:
    answer = world.run(MODULE, {"network_interface_id": world.theirs, "force": True})
    assert (answer["before"], answer["after"], answer["changed"], answer["instance_id"]) == ("running", "stopped", True, world.instances[1])
    assert world.writes() == ["StopInstances"]
    assert [call.params.get("Force") for call in world.plane.calls.mutating()] == [True]
    assert world.reads().count("DescribeInstances") > 2, "it did not have to wait"


def test_one_that_was_terminated_is_off_already(world: World) -> None:
    world.ec2.terminate_instances(InstanceIds=[world.instances[1]])
    answer = world.run(MODULE, {"instance_id": world.instances[1]})
    assert (answer["failed"], answer["changed"], answer["after"]) == (False, False, "terminated")
    assert world.writes() == []


@pytest.mark.parametrize("fault", [Fault("throttle", "Stop*", times=2), Fault("lost_reply", "Stop*", times=1)], ids=lambda fault: fault.kind)
def test_what_passes(world: World, fault: Fault) -> None:
    world.plane.faults.inject(fault)
    answer = world.run(MODULE, {"instance_id": world.instances[1]})
    assert (answer["failed"], answer["changed"], state(world)) == (False, True, "stopped")


@pytest.mark.parametrize(
    ("args", "fault", "words"),
    [
        ({}, Fault("deny", "StopInstances"), "ec2:StopInstances"),
        ({}, Fault("deny", "DescribeInstances"), "ec2:DescribeInstances"),
        ({"instance_id": "i-01234567"}, None, "There is no instance i-01234567"),
        ({"instance_id": "i-0123456"}, None, "is not an id"),
        ({"timeout": 0}, None, "timeout: 0 is out of range"),
    ],
)
def test_one_line_and_nothing_changed(world: World, args: dict[str, Any], fault: Fault | None, words: str) -> None:
    if fault:
        world.plane.faults.inject(fault)
    answer = world.run(MODULE, {"instance_id": world.instances[1], **args})
    world.plane.faults.clear()
    assert answer["failed"], answer
    assert words in answer["msg"], answer
    assert state(world) == "running"


def test_an_instance_that_does_not_stop_in_time_is_a_failure(world: World) -> None:
    world.plane.faults.inject(Fault("stale", "Describe*", seconds=30.0))
    answer = world.run(MODULE, {"instance_id": world.instances[1], "timeout": 1})
    world.plane.faults.clear()
    assert answer["failed"], answer
    assert "is running, not stopped, 1 s after it was asked to stop" in answer["msg"]


def test_an_interface_of_no_instance(world: World) -> None:
    made = world.ec2.create_network_interface(SubnetId=world.ec2.describe_subnets()["Subnets"][0]["SubnetId"])
    answer = world.run(MODULE, {"network_interface_id": made["NetworkInterface"]["NetworkInterfaceId"]})
    assert "is attached to no instance" in answer["msg"]
