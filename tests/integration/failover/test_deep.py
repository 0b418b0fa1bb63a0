# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checker sees of a resource on EC2: what is wrong by name, in two calls a look, and nothing where EC2 does not answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, TAG, Cluster
from harness.module import TREE
from lab import metadata
from lab.checker import Checker
from lab.control import Fault
from lab.faults import TROUBLES, ec2_on
from lab.waiting import until

_CLIENT = "ansible_collections.holdfast.ha.plugins.module_utils._control.client"
_ASK = f"import json\nfrom {_CLIENT} import ask\nprint(json.dumps(ask('status', tag='{TAG}')))"
CHECKS = {"grace": 0, "interval": 1, "deep_interval": 2}


@pytest.fixture(scope="module")
def deep(shared: Cluster) -> Iterator[Cluster]:
    """In service on node-a, with all that belongs to it on EC2; a checker on each node that looks often."""
    shared.reset()
    shared.stop()
    for node in shared.lab.nodes:
        settings = {"cluster": CLUSTER, "store": STORE, "checks": CHECKS}
        shared.checkers[node.name] = Checker(node, settings, [shared.resource]).start()
    shared.put_in_service(shared.lab.node_a)
    healthy(shared)
    yield shared
    shared.stop()


def status(cluster: Cluster, name: str = "node-a") -> dict[str, Any]:
    node = cluster.lab.machines[name]
    done = node.namespace.run("python3", "-c", _ASK, env={**node.environment, "PYTHONPATH": str(TREE)})
    checker: dict[str, Any] = json.loads(done.stdout)
    assert checker["tag"] == TAG
    return checker


def healthy(cluster: Cluster) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        told = status(cluster)
        return told if told["health"] == "healthy" and told["ec2"] else None

    return until(look, 30, "it is not healthy", every=0.1)


def failing(cluster: Cluster, fault: str) -> dict[str, Any]:
    return until(lambda: told if (told := status(cluster))["faults"] == [fault] else None, 30, f"{fault} is not seen", every=0.1)


@pytest.mark.parametrize(
    ("trouble", "fault", "shown"),
    [
        ("wrong-route", "routes", {"routes_right": 0}),
        ("sdc-on", "source_dest_check", {"source_dest_check": True}),
        ("eip-taken", "elastic_ip", {"elastic_ip_right": False}),
    ],
)
def test_what_is_wrong_on_ec2_is_seen(deep: Cluster, trouble: str, fault: str, shown: dict[str, object]) -> None:
    before = healthy(deep)["ec2"]
    assert before["routes_right"] == before["routes_total"] > 0
    assert (before["source_dest_check"], before["elastic_ip_right"], before["error"]) == (False, True, "")
    TROUBLES[trouble].strike(deep.lab)
    told = failing(deep, fault)
    assert {name: told["ec2"][name] for name in shown} == shown
    assert told["reasons"]
    assert not deep.checkers["node-a"].seen("reflex"), "what is on EC2 is for the playbook"
    ec2_on(deep.lab, deep.lab.node_a)  # as a recovery would
    healthy(deep)


def test_an_entry_for_a_gateway_is_no_fault(deep: Cluster) -> None:
    """A recovery leaves it as it is, so a fault would stay for good."""
    place, total = deep.lab.place, healthy(deep)["ec2"]["routes_total"]
    deep.lab.ec2.replace_route(RouteTableId=place.table("client-c"), DestinationCidrBlock=place.vip, GatewayId=place.internet_gateway_id)
    told = until(lambda: one if (one := status(deep))["ec2"]["routes_total"] == total - 1 else None, 30, "the entry is counted", every=0.1)
    assert (told["health"], told["faults"], told["ec2"]["routes_right"]) == ("healthy", [], total - 1)
    ec2_on(deep.lab, deep.lab.node_a)
    until(lambda: status(deep)["ec2"]["routes_total"] == total, 30, "the entry is not counted", every=0.1)


def test_a_node_is_ready_while_another_interface_is_being_detached(deep: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metadata lists the MAC address of that one for minutes, without its details."""
    leaves, stale = metadata.leaves, "meta-data/network/interfaces/macs/02:99:99:99:99:99/owner-id"
    deep.checkers["node-b"].stop()
    monkeypatch.setattr(metadata, "leaves", lambda *given: {**leaves(*given), stale: "123456789012"})
    settings = {"cluster": CLUSTER, "store": STORE, "checks": CHECKS}
    deep.checkers["node-b"] = Checker(deep.lab.node_b, settings, [deep.resource]).start()
    until(lambda: (told := status(deep, "node-b"))["ready"] and told["ec2"], 20, "it is not ready", every=0.1)


def test_a_look_is_two_calls_whatever_the_number_of_tables(deep: Cluster) -> None:
    healthy(deep)
    assert len(deep.lab.place.route_tables) >= 3
    calls = deep.lab.control.calls
    names = ("ec2:DescribeRouteTables", "ec2:DescribeNetworkInterfaces", "ec2:DescribeAddresses", "ec2:DescribeInstances")
    node = deep.lab.node_a.place.instance_id
    before = {name: len(calls.all(name)) for name in names}
    looks = deep.checkers["node-a"]
    assert looks.exit_code is None
    until(lambda: len(calls.all(names[0])) >= before[names[0]] + 3, 30, f"EC2 is not looked at by {node}")
    made = {name: len(calls.all(name)) - count for name, count in before.items()}
    # node-b, the standby, asks for its own interface alone: that is why there are more calls of that kind than looks
    assert made[names[0]] in (3, 4)
    assert made[names[2]] == made[names[3]] == 0
    assert made[names[1]] <= 3 * made[names[0]] + 2


@pytest.mark.scenario("E1", "F3")
@pytest.mark.parametrize("how", ["silent", "deny"])
def test_an_api_that_does_not_answer_is_no_fault(deep: Cluster, how: str) -> None:
    healthy(deep)
    deep.lab.control.faults.inject(Fault(how, "ec2:*"))
    told = until(lambda: one if (one := status(deep))["health"] == "unknown" else None, 30, "it is not unknown", every=0.1)
    assert told["faults"] == []
    assert told["ec2"]["error"]
    standby = until(lambda: one if not (one := status(deep, "node-b"))["ready"] else None, 30, "the standby still claims to be ready", every=0.1)
    assert standby["ready_reason"].startswith("EC2: ")
    assert status(deep)["held"]
    assert deep.has_address(deep.lab.node_a)
    deep.lab.control.faults.clear()
    healthy(deep)


def test_a_standby_is_ready_again_soon_after_a_look_that_failed(deep: Cluster) -> None:
    deep.checkers["node-b"].stop()
    deep.lab.control.faults.inject(Fault("deny", "ec2:*"))
    settings = {"cluster": CLUSTER, "store": STORE, "checks": {**CHECKS, "deep_interval": 60}}
    deep.checkers["node-b"] = Checker(deep.lab.node_b, settings, [deep.resource]).start()
    until(lambda: status(deep, "node-b")["ready_reason"].startswith("EC2: "), 20, "it is not told", every=0.1)
    deep.lab.control.faults.clear()
    until(lambda: status(deep, "node-b")["ready"], 20, "it waits for the usual time", every=0.1)
