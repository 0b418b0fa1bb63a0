# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy that prepare_aws prints: everything works with it, each right of it is needed, and it reaches nothing else."""

from __future__ import annotations

import copy
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._ec2.policy import iam_policy
from ansible_collections.holdfast.ha.plugins.module_utils._lease.dynamodb import DynamoDbStore
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record

from .conftest import VIP, World, build

CLUSTER = "web-prod"


@pytest.fixture
def elastic(world: World) -> dict[str, Any]:
    leases = DynamoDbStore(world.plane.client("dynamodb"), "leases")
    leases.create(pause=lambda _seconds: None)
    for cluster in (CLUSTER, "web-test"):
        leases.write(f"{cluster}/web", None, Record("", 1, "released.1"))
    made: dict[str, Any] = world.ec2.allocate_address(Domain="vpc")
    return made


def policy_for(world: World, elastic: dict[str, Any], **more: Any) -> dict[str, Any]:
    ec2 = {"route_tables": "all", "elastic_ip": elastic["PublicIp"], "vpc_id": world.vpc, "missing": "create", **more}
    resource = {"tag": "web", "ec2": ec2, "fence": "stop_instance"}
    table = world.plane.client("dynamodb").describe_table(TableName="leases")["Table"]["TableArn"]
    aws = {"region": world.plane.region}
    return iam_policy([resource], {"type": "dynamodb", "table": "leases"}, CLUSTER, aws, {"node-b": world.instances[1]}, table)


#: Every right of a policy for everything: its statement, and the action.
RIGHTS = [
    (part["Sid"], action)
    for part in iam_policy([{"ec2": {"route_tables": "all", "elastic_ip": "", "missing": "create"}, "fence": "stop_instance"}], {})["Statement"]
    for action in part["Action"]
]


def env_of(world: World, policy: dict[str, Any]) -> dict[str, str]:
    """A node whose role has that policy."""
    world.plane.set_policy("node", policy)
    keys = world.plane.issue("node", 600)
    return {**world.env, "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key, "AWS_SESSION_TOKEN": keys.token}


def lease(cluster: str = CLUSTER) -> dict[str, Any]:
    store = {"type": "dynamodb", "table": "leases"}
    return {"cluster": cluster, "tag": "web", "holder": "node-a", "ttl": 10, "store": store}


def work(world: World, elastic: dict[str, Any], env: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All that a node does on AWS: it repairs, takes over, fences and holds a lease."""

    def does(name: str, **args: Any) -> tuple[str, dict[str, Any]]:
        return name, world.run(name, args, env=env)

    yield does("ec2_route_target", destinations=[VIP], missing="create")
    yield does("ec2_source_dest_check")
    yield does("ec2_eip_association", public_ip=elastic["PublicIp"])
    yield does("ec2_eip_association", public_ip=elastic["PublicIp"], state="absent")
    yield does("lease", **lease())
    yield does("ec2_instance_stop", instance_id=world.instances[1], force=True)


def broken(world: World) -> None:
    """One table leads elsewhere, one has no entry, and the check is on."""
    world.add_tables(1, {VIP: world.theirs})
    world.add_tables(1, {})
    world.ec2.modify_network_interface_attribute(NetworkInterfaceId=world.ours, SourceDestCheck={"Value": True})


def test_everything_works_with_the_policy(world: World, elastic: dict[str, Any]) -> None:
    broken(world)
    done = list(work(world, elastic, env_of(world, policy_for(world, elastic))))
    assert [(name, answer["msg"]) for name, answer in done if answer["failed"]] == []
    assert [name for name, answer in done if not answer["changed"]] == []


@pytest.mark.parametrize(("sid", "action"), RIGHTS, ids=lambda value: value.rpartition(":")[2])
def test_each_right_is_needed(world: World, elastic: dict[str, Any], sid: str, action: str) -> None:
    broken(world)
    policy = copy.deepcopy(policy_for(world, elastic))
    (statement,) = (part for part in policy["Statement"] if part["Sid"] == sid)
    statement["Action"].remove(action)
    refused = next((answer["msg"] for _name, answer in work(world, elastic, env_of(world, policy)) if answer["failed"]), "nothing failed")
    assert action in refused


def another_vpc(world: World) -> World:
    """Another VPC of the account."""
    return build(world.plane)


REACHES: dict[str, Callable[[World, World, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "a route table of another VPC": lambda _world, other, _elastic: (
        "ec2_route_target",
        {"destinations": [VIP], "route_table_ids": other.add_tables(1, {VIP: other.theirs}), "network_interface_id": other.ours},
    ),
    "an interface of another VPC": lambda _world, other, _elastic: ("ec2_source_dest_check", {"network_interface_id": other.ours}),
    "another Elastic IP": lambda world, _other, _elastic: (
        "ec2_eip_association",
        {"public_ip": world.ec2.allocate_address(Domain="vpc")["PublicIp"]},
    ),
    "an interface of another VPC for the Elastic IP": lambda _world, other, elastic: (
        "ec2_eip_association",
        {"public_ip": elastic["PublicIp"], "network_interface_id": other.ours},
    ),
    "an instance that is no node": lambda world, _other, _elastic: ("ec2_instance_stop", {"instance_id": world.instances[0], "force": True}),
    "the lease of another cluster": lambda _world, _other, _elastic: ("lease", lease("web-test")),
}


@pytest.mark.parametrize("what", REACHES)
def test_it_does_not_reach(world: World, elastic: dict[str, Any], what: str) -> None:
    other = another_vpc(world)
    module, args = REACHES[what](world, other, elastic)
    before = other.everything(), world.everything()
    answer = world.run(module, args, env=env_of(world, policy_for(world, elastic)))
    assert answer["failed"], answer
    assert "may not do this" in answer["msg"]
    assert (other.everything(), world.everything()) == before


def test_route_tables_that_are_listed_are_the_only_ones(world: World, elastic: dict[str, Any]) -> None:
    mine, foreign = world.add_tables(2, {VIP: world.theirs})
    env = env_of(world, policy_for(world, elastic, route_tables=[mine]))
    assert not world.run("ec2_route_target", {"destinations": [VIP], "route_table_ids": [mine]}, env=env)["failed"]
    refused = world.run("ec2_route_target", {"destinations": [VIP], "route_table_ids": [foreign]}, env=env)
    assert "ec2:ReplaceRoute" in refused["msg"]


def test_the_session_of_a_role_names_the_node(world: World) -> None:
    world.plane.set_trust("network")
    world.plane.set_policy("network", policy_for_reading())
    world.run("ec2_source_dest_check", {"role_arn": world.plane.role_arn("network")}, check=True)
    sessions = {call.params["RoleSessionName"] for call in world.plane.calls.all("AssumeRole")}
    assert sessions == {f"holdfast-{socket.gethostname()}"}


def policy_for_reading() -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}]}
