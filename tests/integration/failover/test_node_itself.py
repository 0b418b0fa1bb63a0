# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks on the node itself, and parts of a failover alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from ansible_collections.holdfast.ha.tests.integration.failover.cluster import STORE, TAG, Cluster
from ansible_collections.holdfast.ha.tests.integration.failover.shared import dependents, epoch, instances
from harness.module import run_module
from lab.control import Fault
from lab.faults import strike
from lab.forwarding import router_address
from lab.node import Node
from lab.playbook import run_playbook
from lab.rights import NODE_RIGHTS
from lab.vpc import ROLE
from lab.waiting import until

TIMING = PROFILES["standard"]


def test_on_the_node_itself(cluster: Cluster, tmp_path: Path) -> None:
    """Without SSH: nothing is released while no standby is known, what is held is put in service, what others hold is left alone."""
    a, b = cluster.lab.nodes
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.put_in_service(a)  # held, and not in service: nothing leads here, nothing was started
    run = cluster.play_on(a, "recover", tag=TAG)
    assert run.status == 0, run.message or run.other
    cluster.all_on("node-a")
    assert (tmp_path / "diary").read_text().splitlines() == ["first started node-a 1", "second started node-a 1"]
    before = epoch(cluster)
    other = cluster.play_on(b, "recover", tag=TAG)
    assert other.status == 0, other.message
    assert any("node-a holds web: there is nothing to repair here" in str(task.result.get("msg")) for task in other.tasks)
    for run in (cluster.play_on(a, "failover", tag=TAG), cluster.play_on(a, "switchover", tag=TAG, to="node-b")):
        assert run.status != 0
        assert "nothing was released (no ready standby is known on this node" in run.message
    cluster.all_on("node-a")
    assert epoch(cluster) == before


def test_on_the_node_itself_the_other_half_goes_through_the_lease(cluster: Cluster, tmp_path: Path) -> None:
    """Released to the peer that is ready, whose checker takes the lease, puts the address up, and has the rest done by a run of its own; by failover,
    and by a recover that cannot repair it."""
    a = cluster.lab.node_a
    cluster.reset(peers=True, dependents=dependents(cluster, tmp_path))
    cluster.place_on(a)
    until(lambda: [one for one in _peers(cluster, a) if one["alive"] and one["ready"]], 20, "node-a does not hear of node-b")
    run = cluster.play_on(a, "failover", tag=TAG)
    assert run.status == 0, run.message or run.other
    assert cluster.holder() == "node-b"
    assert not cluster.has_address(a)
    taken = cluster.play_on(a, "switchover", tag=TAG, to="node-a")
    assert "node-b holds web and is alive; run this on node-b, or from a controller" in taken.message
    diary = tmp_path / "diary"
    until(lambda: len(diary.read_text().splitlines()) == 4, 120, "node-b's checker did not finish the takeover")
    assert diary.read_text().splitlines() == [
        "second stopped node-a 1",
        "first stopped node-a 1",
        "first started node-b 1",
        "second started node-b 1",
    ]
    cluster.all_on("node-b")

    b = cluster.lab.node_b  # and back, since EC2 denies node-b what it would have to repair
    for interface in b.place.interfaces:
        cluster.lab.control.faults.inject(Fault("deny", "ec2:*", source=interface.address))
    strike(cluster.lab, "forgotten-table")
    until(lambda: [one for one in _peers(cluster, b) if one["alive"] and one["ready"]], 60, "node-b does not hear of node-a")
    moved = cluster.play_on(b, "recover", tag=TAG)
    assert moved.status == 0, moved.message or moved.other
    until(lambda: len(diary.read_text().splitlines()) == 8, 120, "node-a's checker did not finish the takeover")
    assert [line.rpartition(" ")[0] for line in diary.read_text().splitlines()[4:]] == [
        "second stopped node-b",
        "first stopped node-b",
        "first started node-a",
        "second started node-a",
    ]
    cluster.all_on("node-a")


def _peers(cluster: Cluster, node: Node) -> list[dict[str, Any]]:
    lease = cluster.module_of(node, "ip_resource_info")["resources"][0]["lease"]
    return list(lease["peers"]) if lease else []


def test_dependents_alone(cluster: Cluster, tmp_path: Path) -> None:
    a = cluster.lab.node_a
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    for state in ("stopped", "started"):
        run = cluster.play_on(a, "dependents", tag=TAG, state=state)
        assert run.status == 0, run.message or run.other
    assert (tmp_path / "diary").read_text().splitlines() == [
        "second stopped node-a 0",
        "first stopped node-a 0",
        "first started node-a 0",
        "second started node-a 0",
    ]
    for name, more in (("dependents", {"state": "stopped"}), ("recover", {})):
        refused = cluster.play_on(a, name, tag="wep", **more)
        assert (refused.status, refused.message) == (2, "No resource has the tag wep; there is web.")


def test_a_move_to_the_backup_interface_keeps_the_address_under_the_lease(cluster: Cluster) -> None:
    a, b = cluster.lab.nodes
    cluster.put_in_service(a)
    a.drop(cluster.lab.place.vip)
    cluster.module_of(a, "ip_resource", in_service=True)
    answer = cluster.module_of(a, "ip_swap_interface", to="eth1", targets=[router_address(a.place.interface("eth1").cidr)])
    lives = a.namespace.ip("-o -4 addr show dev eth1").partition(cluster.lab.place.vip)[2]
    assert "valid_lft" in lives, answer
    assert int(lives.partition("valid_lft ")[2].split("sec")[0]) <= TIMING.hold
    cluster.module_of(b, "ip_resource", in_service=True)
    refused = cluster.module_of(b, "ip_swap_interface", to="eth1")
    assert "does not hold the lease of web" in refused["msg"]
    assert not cluster.has_address(b)


def test_prepare_aws(cluster: Cluster) -> None:
    """Creates the table once, and prints the rights that the lab enforces, with which a node can then use it."""
    lab = cluster.lab
    store = {"type": "dynamodb", "table": "fresh", "region": lab.control.region}
    resource = {**cluster.resource, "fence": "stop_instance", "ec2": {**cluster.resource["ec2"], "missing": "create"}}
    keys = lab.control.admin_credentials
    admin = {**lab.node_a.environment, "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
    given = {"holdfast_store": store, "holdfast_resources": [resource], "holdfast_instances": instances(cluster)}
    runs = [run_playbook("prepare_aws", given, where=lab.node_a.namespace, environment=admin) for _time in range(2)]
    assert [(run.status, [task.task for task in run.changed]) for run in runs] == [(0, ["Create the lease table"]), (0, [])], runs
    policy = runs[1].tasks[-1].result["msg"]
    granted, known = ({action for part in one["Statement"] for action in part["Action"]} for one in (policy, NODE_RIGHTS))
    assert granted == known
    (fence,) = (part for part in policy["Statement"] if part["Action"] == ["ec2:StopInstances"])
    assert sorted(one.rpartition("/")[2] for one in fence["Resource"]) == sorted(instances(cluster).values()), "it may stop others"
    elsewhere = {**given, "holdfast_store": {"type": "etcd", "endpoints": ["http://127.0.0.1:1"]}}
    refused = run_playbook("prepare_aws", elsewhere, where=lab.node_a.namespace, environment=admin)
    assert refused.status == 2
    assert "holdfast_store names no DynamoDB table, so there is nothing to prepare on AWS" in refused.message
    unnamed = run_playbook("prepare_aws", {**given, "holdfast_instances": {}}, where=lab.node_a.namespace, environment=admin)
    (any_fence,) = (part for part in unnamed.tasks[-1].result["msg"]["Statement"] if part["Action"] == ["ec2:StopInstances"])
    assert [one.rpartition("/")[2] for one in any_fence["Resource"]] == ["*"]
    shared = [{**resource, "fence": "none", "ec2": {**resource["ec2"], "role_arn": "arn:aws:iam::123456789012:role/vpc"}}]
    other = run_playbook("prepare_aws", {**given, "holdfast_resources": shared}, where=lab.node_a.namespace, environment=admin)
    (assume,) = (part for part in other.tasks[-1].result["msg"]["Statement"] if part["Action"] == ["sts:AssumeRole"])
    assert assume["Resource"] == ["arn:aws:iam::123456789012:role/vpc"]
    lab.control.set_policy(ROLE, policy)
    try:
        stop = {"instance_id": lab.node_b.place.instance_id}
        assert not run_module("ec2_instance_stop", stop, where=lab.node_a.namespace, env=dict(lab.node_a.environment), check=True)["failed"]
        answer = cluster.module(lab.node_a, "lease", holder="node-a", tag="other", ttl=10, wait=12, store=store)
        assert (answer["failed"], answer["holder"]) == (False, "node-a"), answer
        other = cluster.module(lab.node_a, "lease_info", store=STORE)
        assert "dynamodb:GetItem" in other["msg"], "the policy is for one table"
    finally:
        lab.control.set_policy(ROLE, NODE_RIGHTS)
