# SPDX-License-Identifier: GPL-3.0-or-later
"""ec2_eip_association over HTTP against the strict control plane."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harness.module import twelve_steps
from lab.control import Fault

from .conftest import World

MODULE = "ec2_eip_association"


@pytest.fixture
def elastic(world: World) -> dict[str, Any]:
    made: dict[str, Any] = world.ec2.allocate_address(Domain="vpc")
    return made


def private(world: World, eni: str) -> str:
    found: str = world.ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]["PrivateIpAddress"]
    return found


def place(world: World, elastic: dict[str, Any]) -> tuple[str | None, str | None]:
    found: tuple[str | None, str | None] = world.everything()["elastic"][elastic["PublicIp"]]
    return found


def put(world: World, elastic: dict[str, Any], eni: str, **more: Any) -> str:
    answer = world.ec2.associate_address(AllocationId=elastic["AllocationId"], NetworkInterfaceId=eni, AllowReassociation=True, **more)
    return str(answer["AssociationId"])


@pytest.mark.parametrize("by", ["public_ip", "allocation_id"])
def test_twelve_steps(world: World, elastic: dict[str, Any], by: str) -> None:
    named = {by: elastic["PublicIp" if by == "public_ip" else "AllocationId"]}
    twelve_steps(
        lambda args, check: world.run(MODULE, args, check=check),
        world.everything,
        create=named,
        change={**named, "network_interface_id": world.theirs},
        remove={**named, "network_interface_id": world.theirs, "state": "absent"},
    )


@pytest.mark.python39
def test_moved_in_one_call_and_only_when_needed(world: World, elastic: dict[str, Any]) -> None:
    other = world.ec2.allocate_address(Domain="vpc")
    put(world, other, world.second)
    old = put(world, elastic, world.theirs)
    before = world.everything()
    answer = world.run(MODULE, {"public_ip": elastic["PublicIp"]})
    assert answer["changed"], answer
    assert not answer["failed"], answer
    assert world.writes() == ["AssociateAddress"]
    sent = world.plane.calls.all("AssociateAddress")[0].params
    assert {"AllocationId", "NetworkInterfaceId", "PrivateIpAddress", "AllowReassociation"} <= set(sent)
    assert answer["before"] == {"network_interface_id": world.theirs, "private_ip_address": private(world, world.theirs), "association_id": old}
    assert answer["after"]["network_interface_id"] == world.ours
    assert answer["association_id"] == answer["after"]["association_id"] != old
    moved = {elastic["PublicIp"]: (world.ours, private(world, world.ours))}
    assert world.everything() == {**before, "elastic": {**before["elastic"], **moved}}
    again = world.run(MODULE, {"public_ip": elastic["PublicIp"]})
    assert not again["changed"]
    assert again["association_id"] == answer["association_id"]
    assert world.writes() == []


def test_a_secondary_private_address(world: World, elastic: dict[str, Any]) -> None:
    world.ec2.assign_private_ip_addresses(NetworkInterfaceId=world.second, PrivateIpAddresses=["10.0.1.77"])
    args = {"public_ip": elastic["PublicIp"], "network_interface_id": world.second}
    assert world.run(MODULE, {**args, "private_ip_address": "10.0.1.77"})["after"]["private_ip_address"] == "10.0.1.77"
    assert place(world, elastic) == (world.second, "10.0.1.77")
    back = world.run(MODULE, args)
    assert back["changed"]
    assert place(world, elastic) == (world.second, private(world, world.second))


def test_absent_leaves_a_foreign_association(world: World, elastic: dict[str, Any]) -> None:
    put(world, elastic, world.theirs)
    before = world.everything()
    answer = world.run(MODULE, {"public_ip": elastic["PublicIp"], "state": "absent"})
    assert not answer["changed"]
    assert not answer["failed"]
    assert answer["before"] == answer["after"]
    assert answer["after"]
    assert (world.writes(), world.everything()) == ([], before)


def test_another_elastic_ip_is_not_pushed_off(world: World, elastic: dict[str, Any]) -> None:
    other = world.ec2.allocate_address(Domain="vpc")
    put(world, other, world.ours)
    before = world.everything()
    answer = world.run(MODULE, {"public_ip": elastic["PublicIp"]})
    assert answer["failed"]
    assert other["PublicIp"] in answer["msg"]
    assert (world.writes(), world.everything()) == ([], before)


def test_not_taken_from_elsewhere_unless_allowed(world: World, elastic: dict[str, Any]) -> None:
    put(world, elastic, world.theirs)
    before = world.everything()
    answer = world.run(MODULE, {"public_ip": elastic["PublicIp"], "allow_reassociation": False})
    assert answer["failed"]
    assert world.theirs in answer["msg"]
    assert (world.writes(), world.everything()) == ([], before)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "one of the following is required"),
        ({"public_ip": "203.0.113.5", "allocation_id": "eipalloc-01234567"}, "mutually exclusive"),
        ({"public_ip": "203.0.113.5"}, "no Elastic IP 203.0.113.5"),
        ({"allocation_id": "eipalloc-01234567"}, "no Elastic IP eipalloc-01234567"),
        ({"allocation_id": "eipalloc-x"}, "is not an id"),
        ({"public_ip": "203.0.113"}, "is not an IP address"),
        ({"public_ip": "fd00::1"}, "Elastic IPs are IPv4"),
        ({"public_ip": "9" * 1_000_000}, "is not an IP address"),
        ({"public_ip": "ELASTIC", "private_ip_address": "10.0.1.250"}, "does not have 10.0.1.250; it has 10.0.1."),
        ({"public_ip": "ELASTIC", "private_ip_address": "10.0.1.0/24"}, "is not an IP address"),
        ({"public_ip": "ELASTIC", "network_interface_id": "eni-01234567"}, "no network interface eni-01234567"),
    ],
)
def test_bad_input(world: World, elastic: dict[str, Any], args: dict[str, str], words: str) -> None:
    before = world.everything()
    answer = world.run(MODULE, {name: value.replace("ELASTIC", elastic["PublicIp"]) for name, value in args.items()})
    assert answer["failed"], answer
    assert not answer.get("changed"), answer
    assert words in answer["msg"], answer
    assert (world.writes(), world.everything()) == ([], before)


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("kind", ["throttle", "http500", "lost_reply", "lost_request", "stale"])
def test_what_passes(world: World, elastic: dict[str, Any], kind: str, state: str) -> None:
    put(world, elastic, world.theirs if state == "present" else world.ours)
    if kind == "stale":
        time.sleep(2)  # the past that is shown has to have been
        world.plane.faults.inject(Fault("stale", "Describe*", seconds=2.0))
    else:
        world.plane.faults.inject(Fault(kind, "*ssociateAddress", times=1))
    answer = world.run(MODULE, {"public_ip": elastic["PublicIp"], "state": state})
    effective = [call for call in world.plane.calls.mutating() if call.effective]
    world.plane.faults.clear()
    assert not answer["failed"], answer
    assert answer["changed"], answer
    assert place(world, elastic)[0] == (world.ours if state == "present" else None)
    assert len(effective) == 1, "a write that took effect was repeated"


def test_denied(world: World, elastic: dict[str, Any]) -> None:
    before = world.everything()
    world.plane.faults.inject(Fault("deny", "AssociateAddress"))
    answer = world.run(MODULE, {"public_ip": elastic["PublicIp"]})
    world.plane.faults.clear()
    assert answer["failed"]
    assert not answer["changed"]
    assert "ec2:AssociateAddress" in answer["msg"]
    assert answer["after"] is None
    assert world.everything() == before
