# SPDX-License-Identifier: GPL-3.0-or-later
"""ec2_resource over HTTP against the strict control plane: what its three parts do together, and what one part's trouble means for the others."""

from __future__ import annotations

from typing import Any

import pytest

from lab.control import Fault

from .conftest import OTHER, VIP, VIP6, World

MODULE = "ec2_resource"


@pytest.fixture
def ask(world: World) -> dict[str, Any]:
    """Everything leads elsewhere, and this is what would lead it here."""
    world.add_tables(3, {VIP: world.theirs, OTHER: world.theirs})
    public_ip = world.ec2.allocate_address(Domain="vpc")["PublicIp"]
    allocation = world.ec2.describe_addresses(PublicIps=[public_ip])["Addresses"][0]["AllocationId"]
    world.ec2.associate_address(AllocationId=allocation, NetworkInterfaceId=world.theirs)
    return {"destinations": [VIP], "public_ip": public_ip}


def denied(world: World, action: str) -> None:
    world.plane.faults.inject(Fault("deny", f"ec2:{action}"))


def led(world: World) -> tuple[set[str], bool, str | None]:
    """Where the entries lead, whether our check is on, and who has the Elastic IP."""
    now = world.everything()
    entries = {now["routes"][table, VIP][0] for table in world.tables}
    return entries, now["checks"][world.ours], next(iter(now["elastic"].values()))[0]


@pytest.mark.python39
def test_all_of_it_and_nothing_else(world: World, ask: dict[str, Any]) -> None:
    before = world.everything()
    foreseen = world.run(MODULE, ask, check=True)
    assert (foreseen["failed"], foreseen["changed"], world.writes(), world.everything()) == (False, True, [], before)
    real = world.run(MODULE, ask)
    assert (real["failed"], real["changed"]) == (False, True)
    assert sorted(world.writes()) == ["AssociateAddress", "ModifyNetworkInterfaceAttribute", *["ReplaceRoute"] * 3]
    assert real["diff"] == foreseen["diff"]
    assert real["routes"] == foreseen["routes"]
    assert real["source_dest_check"] == {"before": True, "after": False, "instance_id": world.instances[0]}
    assert real["elastic_ip"]["before"]["network_interface_id"] == world.theirs
    assert real["elastic_ip"]["after"]["network_interface_id"] == world.ours
    after = world.everything()
    assert led(world) == ({world.ours}, False, world.ours)
    assert {key: value for key, value in after["routes"].items() if key[1] != VIP} == {k: v for k, v in before["routes"].items() if k[1] != VIP}
    assert {**after["checks"], world.ours: True} == before["checks"]

    again = world.run(MODULE, ask)
    assert (again["failed"], again["changed"], world.writes()) == (False, False, [])
    assert sorted(world.reads()) == ["DescribeAddresses", *["DescribeNetworkInterfaces"] * 2, "DescribeRouteTables"]


@pytest.mark.scenario("A3")
def test_no_entry_leads_here_before_the_check_is_off(world: World, ask: dict[str, Any]) -> None:
    """The write of the check is slow and slow to show; entries are written after it shows, the Elastic IP does not wait for it."""
    world.plane.faults.inject(Fault("latency", "ec2:ModifyNetworkInterfaceAttribute", seconds=0.5))
    world.plane.faults.inject(Fault("stale", "ec2:DescribeNetworkInterfaces", times=4, seconds=0.7))
    assert world.run(MODULE, ask)["changed"]
    assert world.writes() == ["AssociateAddress", "ModifyNetworkInterfaceAttribute", *["ReplaceRoute"] * 3]
    looks = [call.action for call in world.plane.calls.all()]
    assert "DescribeNetworkInterfaces" in looks[looks.index("ModifyNetworkInterfaceAttribute") : looks.index("ReplaceRoute")]
    assert led(world) == ({world.ours}, False, world.ours)


def test_one_part_does_not_wait_for_another(world: World, ask: dict[str, Any]) -> None:
    world.plane.faults.inject(Fault("latency", "ec2:DescribeAddresses", seconds=1))
    assert world.run(MODULE, ask)["changed"]
    assert world.writes() == ["ModifyNetworkInterfaceAttribute", *["ReplaceRoute"] * 3, "AssociateAddress"]
    world.ec2.modify_network_interface_attribute(NetworkInterfaceId=world.ours, SourceDestCheck={"Value": True})
    for table in world.tables:
        world.ec2.replace_route(RouteTableId=table, DestinationCidrBlock=VIP, NetworkInterfaceId=world.theirs)
    world.ec2.disassociate_address(AssociationId=world.ec2.describe_addresses()["Addresses"][0]["AssociationId"])
    world.plane.faults.clear()
    world.plane.faults.inject(Fault("latency", "ec2:DescribeRouteTables", seconds=1))
    assert world.run(MODULE, ask)["changed"]
    assert world.writes()[-3:] == ["ReplaceRoute"] * 3


@pytest.mark.parametrize(
    ("action", "stays", "names"),
    [
        ("AssociateAddress", lambda world: ({world.ours}, False, world.theirs), ["AssociateAddress"]),
        ("DescribeAddresses", lambda world: ({world.ours}, False, world.theirs), ["DescribeAddresses"]),
        ("ReplaceRoute", lambda world: ({world.theirs}, False, world.ours), ["ReplaceRoute"]),
        ("DescribeRouteTables", lambda world: ({world.theirs}, False, world.ours), ["DescribeRouteTables"]),
        (
            "ModifyNetworkInterfaceAttribute",
            lambda world: ({world.theirs}, True, world.ours),
            ["ModifyNetworkInterfaceAttribute", "the route table entries are left as they are"],
        ),
    ],
)
def test_what_one_part_is_refused_keeps_no_other_back(world: World, ask: dict[str, Any], action: str, stays: Any, names: list[str]) -> None:
    denied(world, action)
    answer = world.run(MODULE, ask)
    assert answer["failed"]
    assert "\n" not in answer["msg"]
    assert all(name in answer["msg"] for name in names), answer["msg"]
    assert answer["changed"] is True
    world.plane.faults.clear()
    assert led(world) == stays(world)


def test_parts_that_are_not_named_are_not_looked_at(world: World, ask: dict[str, Any]) -> None:
    answer = world.run(MODULE, {"destinations": [VIP]})
    assert "DescribeAddresses" not in world.reads()
    assert (led(world), "elastic_ip" in answer) == (({world.ours}, False, world.theirs), False)
    world.ec2.modify_network_interface_attribute(NetworkInterfaceId=world.ours, SourceDestCheck={"Value": True})
    answer = world.run(MODULE, {"public_ip": ask["public_ip"]})
    assert world.writes() == ["AssociateAddress"]
    assert (led(world), set(answer) & {"routes", "source_dest_check"}) == (({world.ours}, True, world.ours), set())


def test_ipv6_created_where_it_is_missing(world: World) -> None:
    world.add_tables(1, {VIP: world.theirs})
    answer = world.run(MODULE, {"destinations": [VIP6], "missing": "create"})
    assert answer["changed"], answer
    assert world.routes()[world.tables[0], VIP6] == (world.ours, "active")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"destinations": None, "public_ip": None}, "one of the following is required: destinations, public_ip, allocation_id"),
        ({"destinations": []}, "destinations"),
        ({"destinations": ["10.1.0.10/24"]}, "destinations"),
        ({"public_ip": "fd00::1"}, "is an IPv6 address; Elastic IPs are IPv4"),
        ({"route_table_ids": []}, "route_table_ids: give between 1 and"),
        ({"private_ip_address": "10.0.9.9.9"}, "private_ip_address"),
        ({"network_interface_id": "eth0"}, "network_interface_id: 'eth0' is not an id"),
        ({"allocation_id": "eipalloc-0123456789abcdef0"}, "mutually exclusive: public_ip|allocation_id"),
    ],
)
def test_bad_input_is_refused_before_anything_changes(world: World, ask: dict[str, Any], more: dict[str, Any], told: str) -> None:
    before = world.everything()
    answer = world.run(MODULE, {name: value for name, value in {**ask, **more}.items() if value is not None})
    assert answer["failed"]
    assert told in answer["msg"], answer["msg"]
    assert "\n" not in answer["msg"]
    assert (world.writes(), world.everything()) == ([], before)
