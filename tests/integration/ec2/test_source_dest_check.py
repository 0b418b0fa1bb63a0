# SPDX-License-Identifier: GPL-3.0-or-later
"""ec2_source_dest_check over HTTP against the strict control plane."""

from __future__ import annotations

import pytest

from harness.module import twelve_steps
from lab.control import Fault

from .conftest import World

MODULE = "ec2_source_dest_check"


def test_twelve_steps(world: World) -> None:
    twelve_steps(
        lambda args, check: world.run(MODULE, args, check=check),
        world.everything,
        create={},
        change={"network_interface_id": world.theirs, "enabled": False},
        remove={"enabled": True},
    )


@pytest.mark.python39
def test_only_what_is_needed_is_called(world: World) -> None:
    before = world.everything()
    answer = world.run(MODULE)
    assert (answer["before"], answer["after"], answer["changed"]) == (True, False, True)
    assert world.writes() == ["ModifyNetworkInterfaceAttribute"]
    assert world.reads() == ["DescribeNetworkInterfaces"] * 2
    assert world.everything() == {**before, "checks": {**before["checks"], world.ours: False}}
    again = world.run(MODULE)
    assert (again["before"], again["after"], again["changed"]) == (False, False, False)
    assert (world.writes(), world.reads()) == ([], ["DescribeNetworkInterfaces"])


@pytest.mark.parametrize(
    "fault",
    [
        Fault("throttle", "Modify*", times=2),
        Fault("http500", "Modify*", times=1),
        Fault("lost_reply", "Modify*", times=1),
        Fault("lost_request", "Describe*", times=1),
    ],
    ids=lambda fault: fault.kind,
)
def test_what_passes(world: World, fault: Fault) -> None:
    world.plane.faults.inject(fault)
    answer = world.run(MODULE)
    assert not answer["failed"], answer
    assert answer["changed"], answer
    assert world.everything()["checks"] == {**world.everything()["checks"], world.ours: False, world.theirs: True}


@pytest.mark.parametrize(
    ("args", "fault", "words"),
    [
        ({}, Fault("deny", "Modify*"), "ec2:ModifyNetworkInterfaceAttribute"),
        ({"network_interface_id": "eni-01234567"}, None, "no network interface eni-01234567"),
        ({"network_interface_id": "eni-0123456"}, None, "is not an id"),
        ({"enabled": "perhaps"}, None, "enabled"),
        ({"interface": "lo"}, None, "lo has no network interface"),
    ],
)
def test_one_line_and_nothing_changed(world: World, args: dict[str, object], fault: Fault | None, words: str) -> None:
    before = world.everything()
    if fault:
        world.plane.faults.inject(fault)
    answer = world.run(MODULE, args)
    world.plane.faults.clear()
    assert answer["failed"], answer
    assert not answer.get("changed"), answer
    assert words in answer["msg"], answer
    assert world.everything() == before
