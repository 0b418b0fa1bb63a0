# SPDX-License-Identifier: GPL-3.0-or-later
"""ec2_route_target over HTTP against the strict control plane."""

from __future__ import annotations

import re
import time
from collections import Counter

import pytest

from harness.module import twelve_steps
from lab.control import Fault

from .conftest import OTHER, VIP, VIP6, World

MODULE = "ec2_route_target"
ASK = {"destinations": [VIP]}


@pytest.mark.scenario("A2", "F10")
@pytest.mark.parametrize(("count", "pages"), [(1, 1), (40, 1), (250, 3)])
def test_worked_example(world: World, count: int, pages: int) -> None:
    """scenarios.md A: with the VPC's main table, which has no entry, there is one table more."""
    tables = world.add_tables(count, {VIP: world.theirs, OTHER: world.theirs})
    before = world.everything()
    foreseen = world.run(MODULE, ASK, check=True)
    assert not foreseen["failed"], foreseen
    assert foreseen["changed"], foreseen
    assert (world.writes(), world.reads()) == ([], ["DescribeRouteTables"] * pages)
    assert world.everything() == before

    real = world.run(MODULE, ASK)
    assert not real["failed"], real
    assert real["changed"], real
    assert Counter(world.writes()) == {"ReplaceRoute": count}
    assert Counter(world.reads()) == {"DescribeRouteTables": 2 * pages}
    assert (real["routes"], real["diff"]) == (foreseen["routes"], foreseen["diff"])
    after = world.everything()
    wanted = {**before, "routes": {**before["routes"], **{(table, VIP): (world.ours, "active") for table in tables}}}
    assert after == wanted

    rows = {(row["route_table_id"], row["destination"]): row for row in real["routes"]}
    assert set(rows) == set(before["routes"])
    for key, row in rows.items():
        assert (row["before"], row["after"], row["error"]) == (before["routes"][key][0], after["routes"][key][0], None)

    again = world.run(MODULE, ASK)
    assert not again["failed"], again
    assert (again["changed"], world.writes(), world.reads()) == (False, [], ["DescribeRouteTables"] * pages)


def test_an_explicit_interface_costs_one_call_more(world: World) -> None:
    world.add_tables(1, {VIP: world.ours})
    assert world.run(MODULE, {**ASK, "network_interface_id": world.theirs})["changed"]
    assert world.reads() == ["DescribeNetworkInterfaces", "DescribeRouteTables", "DescribeRouteTables"]
    world.run(MODULE, {**ASK, "network_interface_id": world.theirs, "vpc_id": world.vpc})
    assert world.reads() == ["DescribeRouteTables"]
    world.run(MODULE, {**ASK, "network_interface_id": world.theirs, "route_table_ids": world.tables})
    assert world.reads() == ["DescribeRouteTables"]


def test_nothing_but_this_host_needs_to_be_told(world: World) -> None:
    """Region and network interface come from instance metadata."""
    world.add_tables(1, {VIP: world.theirs})
    env = {name: value for name, value in world.env.items() if name != "AWS_REGION"}
    assert world.run(MODULE, ASK, env=env)["changed"]
    assert world.routes()[world.tables[0], VIP][0] == world.ours


def test_the_role_of_the_instance_is_not_asked_through_a_proxy(world: World) -> None:
    """A proxy for outgoing traffic, with the API left out of it and metadata not."""
    table = world.add_tables(1, {VIP: world.theirs})[0]
    world.plane.set_policy("node", {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}]})
    env = {name: value for name, value in world.env.items() if name not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "no_proxy": world.plane.endpoint_url.removeprefix("http://")}
    answer = world.run(MODULE, ASK, env={**env, **proxy})
    assert answer["changed"], answer
    assert world.routes()[table, VIP][0] == world.ours


def test_ipv6(world: World) -> None:
    world.add_tables(2, {VIP6: world.theirs})
    answer = world.run(MODULE, {"destinations": ["FD00:0:0::10/128"]})
    assert answer["changed"], answer
    assert {world.routes()[table, VIP6] for table in world.tables} == {(world.ours, "active")}
    assert not world.run(MODULE, {"destinations": [VIP6]})["changed"]


@pytest.mark.python39
def test_only_the_named_tables(world: World) -> None:
    first, second = world.add_tables(2, {VIP: world.theirs})
    answer = world.run(MODULE, {**ASK, "route_table_ids": [first]})
    assert {row["route_table_id"] for row in answer["routes"]} == {first}
    assert world.routes()[first, VIP][0] == world.ours
    assert world.routes()[second, VIP][0] == world.theirs


def test_prefix_lists_are_listed_untouched(world: World) -> None:
    world.add_tables(1, {VIP: world.theirs})
    made = world.ec2.create_managed_prefix_list(PrefixListName="lists", MaxEntries=5, AddressFamily="IPv4", Entries=[{"Cidr": VIP}])
    listed = made["PrefixList"]["PrefixListId"]
    world.ec2.create_route(RouteTableId=world.tables[0], DestinationPrefixListId=listed, NetworkInterfaceId=world.theirs)
    answer = world.run(MODULE, ASK)
    row = next(row for row in answer["routes"] if row["destination"] == listed)
    assert (row["before"], row["after"]) == (world.theirs, world.theirs)
    assert world.writes() == ["ReplaceRoute"]


def test_prefix_lists_alone_are_no_entry(world: World) -> None:
    made = world.ec2.create_managed_prefix_list(PrefixListName="lists", MaxEntries=5, AddressFamily="IPv4", Entries=[{"Cidr": VIP}])
    table = world.add_tables(1, {})[0]
    world.ec2.create_route(RouteTableId=table, DestinationPrefixListId=made["PrefixList"]["PrefixListId"], NetworkInterfaceId=world.theirs)
    answer = world.run(MODULE, ASK)
    assert answer["failed"], answer
    assert "prefix list does not count" in answer["msg"]


def internet_gateway(world: World) -> str:
    found = world.ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [world.vpc]}])["InternetGateways"]
    return str(found[0]["InternetGatewayId"])


@pytest.mark.parametrize("destination", [VIP, "0.0.0.0/0"])
def test_an_entry_for_a_gateway_stays_unless_its_table_is_named(world: World, destination: str) -> None:
    gateway, ask = internet_gateway(world), {"destinations": [destination]}
    private = world.add_tables(2, {destination: world.theirs})
    public = world.add_tables(1, {})[0]
    world.ec2.create_route(RouteTableId=public, DestinationCidrBlock=destination, GatewayId=gateway)
    answer = world.run(MODULE, ask)
    assert (answer["failed"], answer["changed"], world.writes()) == (False, True, ["ReplaceRoute"] * 2), answer
    assert [world.routes()[table, destination][0] for table in (*private, public)] == [world.ours, world.ours, gateway]
    assert len(answer["warnings"]) == 1
    assert f"{destination} in {public} ({gateway})" in str(answer["warnings"])
    again = world.run(MODULE, {**ask, "missing": "create"})
    assert again["changed"], again  # the main table's entry
    assert world.routes()[public, destination][0] == gateway
    assert world.run(MODULE, {**ask, "route_table_ids": [public]})["changed"]
    assert world.routes()[public, destination][0] == world.ours


def test_nothing_but_entries_for_gateways(world: World) -> None:
    """The default route of public subnets: a node that took it would cut itself off."""
    gateway = internet_gateway(world)
    for table in world.add_tables(2, {}):
        world.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    before = world.everything()
    answer = world.run(MODULE, {"destinations": ["0.0.0.0/0"]})
    assert answer["failed"], answer
    assert re.search(r"No entry for 0\.0\.0\.0/0 leads to a network interface: .*name its table in route_table_ids", answer["msg"])
    ignored = world.run(MODULE, {"destinations": ["0.0.0.0/0"], "missing": "ignore"})
    assert (ignored["failed"], ignored["changed"], len(ignored["warnings"])) == (False, False, 1), ignored
    assert world.everything() == before


def test_a_gateways_own_table_is_left_out_unless_it_is_named(world: World) -> None:
    """EC2 takes no destination outside the VPC in such a table, so one would fail each recovery with missing=create."""
    *ordinary, edge = world.add_tables(4, {})
    world.ec2.associate_route_table(RouteTableId=edge, GatewayId=internet_gateway(world))
    answer = world.run(MODULE, {**ASK, "missing": "create"})
    assert not answer["failed"], answer
    assert {key[0] for key, value in world.routes().items() if key[1] == VIP} >= set(ordinary)
    assert edge not in {row["route_table_id"] for row in answer["routes"]}
    ask = {"destinations": [OTHER], "missing": "create", "route_table_ids": [edge, *ordinary]}
    named = world.run(MODULE, ask)
    assert (named["failed"], named["changed"]) == (True, True), named
    assert edge in named["msg"]
    assert {key[0] for key in world.routes() if key[1] == OTHER} == set(ordinary), "one table that refuses keeps no other back"


def test_a_route_servers_entry_is_not_ours(world: World) -> None:
    """ReplaceRoute does not know it. The table's own entry beside it wins."""
    own, foreign = world.add_tables(1, {VIP: world.theirs}) + world.add_tables(1, {})
    for table in (own, foreign):
        world.plane.advertise(table, VIP, world.theirs, seen="filtered" if table == own else "active")
    answer = world.run(MODULE, ASK)
    assert (answer["failed"], world.writes()) == (False, ["ReplaceRoute"]), answer
    assert [(row["before"], row["after"]) for row in answer["routes"] if row["route_table_id"] == foreign and row["destination"] == VIP] == [
        (world.theirs, world.theirs)
    ]
    assert not world.run(MODULE, ASK)["changed"]
    created = world.run(MODULE, {**ASK, "missing": "create", "route_table_ids": [foreign]})
    assert (created["failed"], world.writes()) == (False, ["CreateRoute"]), created


@pytest.mark.scenario("F5")
def test_one_table_refusing(world: World) -> None:
    tables = world.add_tables(12, {VIP: world.theirs})
    world.plane.faults.inject(Fault("deny", "ReplaceRoute", match={"RouteTableId": tables[5]}))
    answer = world.run(MODULE, ASK)
    assert answer["failed"]
    assert answer["changed"]
    assert tables[5] in answer["msg"]
    assert "ec2:ReplaceRoute" in answer["msg"]
    assert not any(table in answer["msg"] for table in tables if table != tables[5])
    assert [row["route_table_id"] for row in answer["routes"] if row["error"]] == [tables[5]]
    assert {table for table in tables if world.routes()[table, VIP][0] != world.ours} == {tables[5]}
    assert len(world.writes()) == 12


@pytest.mark.scenario("A5")
def test_missing(world: World) -> None:
    with_entry, without = world.add_tables(1, {VIP: world.theirs}) + world.add_tables(1, {})
    before = world.everything()
    both = {**ASK, "route_table_ids": [with_entry, without]}
    refused = world.run(MODULE, both)
    assert refused["failed"]
    assert without in refused["msg"]
    assert not refused["changed"]
    assert world.everything() == before
    ignored = world.run(MODULE, {**both, "missing": "ignore"})
    assert ignored["changed"]
    assert world.writes() == ["ReplaceRoute"]
    created = world.run(MODULE, {**both, "missing": "create"})
    assert created["changed"]
    assert world.writes() == ["CreateRoute"]
    assert world.routes()[without, VIP] == (world.ours, "active")
    row = next(row for row in created["routes"] if (row["route_table_id"], row["destination"]) == (without, VIP))
    assert (row["before"], row["after"]) == (None, world.ours)


@pytest.mark.scenario("F8")
def test_found_nowhere(world: World) -> None:
    world.add_tables(2, {OTHER: world.theirs})
    assert "No route table" in world.run(MODULE, ASK)["msg"]
    ignored = world.run(MODULE, {**ASK, "missing": "ignore"})
    assert not ignored["failed"]
    assert not ignored["changed"]
    assert VIP in str(ignored["warnings"])


def test_black_hole_is_written_once_and_explained(world: World) -> None:
    """An interface of a stopped instance takes no packets, however right the entry reads."""
    world.add_tables(1, {VIP: world.ours})
    world.ec2.stop_instances(InstanceIds=[world.instances[0]])
    answer = world.run(MODULE, {**ASK, "network_interface_id": world.ours})
    assert answer["failed"]
    assert "not attached to a running instance" in answer["msg"]
    assert world.writes() == ["ReplaceRoute"]
    assert f"{world.ours} (blackhole)" in answer["diff"]["after"]


def test_twelve_steps(world: World) -> None:
    table = world.add_tables(1, {OTHER: world.theirs})[0]
    common = {"destinations": [VIP, VIP6], "route_table_ids": [table]}
    twelve_steps(
        lambda args, check: world.run(MODULE, args, check=check),
        world.everything,
        create={**common, "missing": "create"},
        change={**common, "network_interface_id": world.theirs},
        remove=None,  # entries are never deleted
    )


@pytest.mark.parametrize("inside", ["10.0.1.99/32", "10.0.0.0/16"])
def test_inside_the_vpc(world: World, inside: str) -> None:
    world.add_tables(1, {VIP: world.theirs})
    answer = world.run(MODULE, {"destinations": [VIP, inside], "missing": "create"})
    assert answer["failed"]
    assert "inside the VPC" in answer["msg"]
    assert inside in answer["msg"]
    assert world.writes() == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"destinations": []}, "the list is empty"),
        ({"destinations": ["10.1.0.10"]}, "destinations/0"),
        ({"destinations": [VIP, "10.1.0.10/24"]}, "destinations/1.*host bits"),
        ({"destinations": ["10.1.0.300/32"]}, "not an address"),
        ({"destinations": [VIP, VIP]}, "twice"),
        ({"destinations": ["x" * 1_000_000]}, "not an address"),
        ({**ASK, "network_interface_id": "eni-xyz"}, "network_interface_id: .*is not an id"),
        ({**ASK, "network_interface_id": "eni-01234567; id"}, "is not an id"),
        ({**ASK, "route_table_ids": []}, "route_table_ids"),
        ({**ASK, "route_table_ids": ["rtb-1"]}, "route_table_ids/0"),
        ({**ASK, "vpc_id": "vpc"}, "vpc_id"),
        ({**ASK, "interface": "../etc"}, "interface: "),
        ({**ASK, "interface": "eth0", "network_interface_id": "eni-01234567"}, "mutually exclusive"),
        ({**ASK, "profile": "p", "access_key": "AKIA01234567"}, "exclude each other"),
        ({**ASK, "interface": "nosuch0"}, "no link nosuch0"),
        ({**ASK, "route_table_ids": ["rtb-01234567"]}, "no route table rtb-01234567"),
        ({**ASK, "network_interface_id": "eni-01234567"}, "no network interface eni-01234567"),
        ({**ASK, "vpc_id": "vpc-01234567"}, "no route table"),
    ],
)
def test_bad_input(world: World, args: dict[str, object], words: str) -> None:
    answer = world.run(MODULE, args)
    assert answer["failed"], answer
    assert not answer.get("changed"), answer
    assert len(answer["msg"]) < 400
    assert re.search(words, answer["msg"]), answer["msg"]
    assert world.writes() == []


@pytest.mark.parametrize("check", [False, True])
def test_a_table_that_was_deleted_does_not_keep_the_others_from_being_repaired(world: World, check: bool) -> None:
    first, gone, last = world.add_tables(3, {VIP: world.theirs})
    world.ec2.delete_route_table(RouteTableId=gone)
    answer = world.run(MODULE, {**ASK, "route_table_ids": [first, gone, last]}, check=check)
    assert (answer["failed"], answer["changed"]) == (True, True), answer
    assert answer["msg"].startswith(f"There is no route table {gone} in this region and account; take it out of route_table_ids")
    assert "\n" not in answer["msg"]
    assert {row["route_table_id"]: row["after"] for row in answer["routes"] if row["destination"] == VIP} == {first: world.ours, last: world.ours}
    assert {world.routes()[table, VIP][0] for table in (first, last)} == {world.theirs if check else world.ours}
    again = world.run(MODULE, {**ASK, "route_table_ids": [first, gone, last]}, check=check)
    assert (again["failed"], again["changed"], again["msg"]) == (True, check, answer["msg"])


def test_what_is_refused_is_told_beside_a_table_that_was_deleted(world: World) -> None:
    first, gone = world.add_tables(2, {VIP: world.theirs})
    world.ec2.delete_route_table(RouteTableId=gone)
    world.plane.faults.inject(Fault("deny", "ec2:ReplaceRoute"))
    answer = world.run(MODULE, {**ASK, "route_table_ids": [first, gone]})
    assert (answer["failed"], {error["kind"] for error in answer["errors"]}) == (True, {"service_error", "partly_missing"}), answer
    assert first in answer["msg"]
    assert gone in answer["msg"]


def test_a_named_table_without_the_entry_is_told_before_anything_changes(world: World) -> None:
    """Also where another one was deleted."""
    first, gone = world.add_tables(2, {VIP: world.theirs})
    empty = world.add_tables(1, {})[0]
    world.ec2.delete_route_table(RouteTableId=gone)
    answer = world.run(MODULE, {**ASK, "route_table_ids": [first, gone, empty]})
    assert answer["failed"]
    assert f"{empty}: no entry for {VIP}" in answer["msg"]
    assert world.writes() == []


def test_a_table_of_another_vpc(world: World) -> None:
    elsewhere = world.ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    table = world.ec2.create_route_table(VpcId=elsewhere)["RouteTable"]["RouteTableId"]
    answer = world.run(MODULE, {**ASK, "route_table_ids": [table], "missing": "create"})
    assert answer["failed"]
    assert table in answer["msg"]
    assert world.writes() == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault("throttle", "ReplaceRoute", times=15),
        Fault("throttle", "Describe*", times=2),
        Fault("http500", "ReplaceRoute", times=5),
        Fault("http500", "Describe*", times=1),
        Fault("lost_reply", "ReplaceRoute", times=6),
        Fault("lost_request", "ReplaceRoute", times=6),
        Fault("stale", "Describe*", seconds=2.0),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.action}",
)
def test_what_passes(world: World, fault: Fault) -> None:
    """Trouble that ends: the right end state, nothing else touched, and no error."""
    tables = world.add_tables(10, {VIP: world.theirs, OTHER: world.theirs})
    before = world.everything()
    if fault.kind == "stale":
        time.sleep(fault.seconds)  # the past that is shown has to have been
    world.plane.faults.inject(fault)
    answer = world.run(MODULE, ASK)
    writes = world.writes()
    world.plane.faults.clear()
    assert not answer["failed"], answer
    assert answer["changed"], answer
    assert world.everything() == {**before, "routes": {**before["routes"], **{(table, VIP): (world.ours, "active") for table in tables}}}
    if fault.kind == "stale":
        assert len(writes) == 10, "a write that did not show yet was repeated"
    if fault.kind == "lost_reply":
        assert len(writes) == 10, "a write that took effect was repeated"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("deny", "DescribeRouteTables"), "ec2:DescribeRouteTables"),
        (Fault("deny", "ReplaceRoute"), "ec2:ReplaceRoute"),
        (Fault("expired"), "expired"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_what_does_not_pass_is_said_at_once(world: World, fault: Fault, words: str) -> None:
    world.add_tables(3, {VIP: world.theirs})
    before = world.everything()
    world.plane.faults.inject(fault)
    start = time.monotonic()
    answer = world.run(MODULE, ASK)
    assert time.monotonic() - start < 8
    world.plane.faults.clear()
    assert answer["failed"], answer
    assert words in answer["msg"], answer
    assert not answer["changed"], answer
    assert world.everything() == before


@pytest.mark.parametrize("kind", ["throttle", "silent"])
def test_trouble_without_end_is_given_up(world: World, kind: str) -> None:
    world.add_tables(1, {VIP: world.theirs})
    before = world.everything()
    world.plane.faults.inject(Fault(kind, "ReplaceRoute"))
    start = time.monotonic()
    answer = world.run(MODULE, ASK)
    assert time.monotonic() - start < 30
    world.plane.faults.clear()
    assert answer["failed"], answer
    assert world.tables[0] in answer["msg"], answer
    if kind == "throttle":
        assert world.everything() == before


def test_keys_that_are_not_known(world: World) -> None:
    world.add_tables(1, {VIP: world.theirs})
    answer = world.run(MODULE, {**ASK, "access_key": "AKIAWRONG", "secret_key": "hunter2-secret"})
    assert answer["failed"]
    assert "credentials" in answer["msg"]
    assert "hunter2-secret" not in str(answer)


def test_a_dead_endpoint(world: World) -> None:
    start = time.monotonic()
    answer = world.run(MODULE, {**ASK, "endpoint_url": "http://127.0.0.1:9"})
    assert time.monotonic() - start < 25
    assert answer["failed"]
    assert "cannot reach http://127.0.0.1:9" in answer["msg"]
    start = time.monotonic()
    assert world.run(MODULE, {**ASK, "endpoint_url": "http://127.0.0.1:9"}, check=True)["failed"]
    assert time.monotonic() - start < 6


@pytest.mark.scenario("F5")
def test_a_role(world: World) -> None:
    """The role's rights count, and no more than scenarios.md E5 lists are needed."""
    world.add_tables(1, {VIP: world.theirs})
    allowed = {"Effect": "Allow", "Action": ["ec2:DescribeRouteTables", "ec2:ReplaceRoute"], "Resource": "*"}
    world.plane.set_policy("routes", {"Version": "2012-10-17", "Statement": [allowed]})
    world.plane.set_trust("routes", external_id="extern")
    role = {**ASK, "role_arn": world.plane.role_arn("routes")}
    refused = world.run(MODULE, role)
    assert refused["failed"], refused
    assert "sts:AssumeRole" in refused["msg"], refused
    answer = world.run(MODULE, {**role, "external_id": "extern"})
    assert answer["changed"], answer
    assert not answer["failed"], answer
    assert world.plane.calls.count("sts:AssumeRole") == 1
