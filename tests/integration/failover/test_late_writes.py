# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes of an old holder that reach EC2 after another node took over: EC2 is right again within a bounded time, and the fence holds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import TAG, Cluster
from harness.module import run_module
from lab.checker import write
from lab.waiting import until

#: Looks at EC2 each 2 s. Every test here undoes something, which is no flapping.
CHECKS = {"grace": 0, "interval": 1, "deep_interval": 2, "hold_down": 2, "max_recoveries": 100}
#: Seconds until EC2 is right again: the time to the next look, the look, and a playbook that starts cold on a busy machine.
BOUND = 60.0


def taken_over(cluster: Cluster) -> None:
    """node-a was active, its checker died, and node-b has fenced it and serves."""
    cluster.reset(peers=True, reporting={"checks": CHECKS}, fence="source_dest_check")
    cluster.place_on(cluster.lab.node_a)
    until(lambda: status(cluster, "node-b")["ready"], 30, "node-b is not ready", every=0.1)
    cluster.checkers["node-a"].kill()
    until(lambda: is_on_node_b(cluster) and (record := cluster.record()) and record.unfenced == (), 120, "node-b did not take over", every=0.1)
    until(lambda: status(cluster, "node-b")["phase"] == "watching", 60, "the takeover does not end", every=0.1)
    assert is_fenced(cluster)


@pytest.fixture(scope="module")
def after(shared: Cluster) -> Iterator[Cluster]:
    taken_over(shared)
    yield shared
    shared.stop()


def status(cluster: Cluster, name: str) -> dict[str, Any]:
    return cluster.checkers[name].ask("status", tag=TAG)


def is_on_node_b(cluster: Cluster) -> bool:
    return cluster.where() == {"address": {"node-b"}, "routes": {"node-b"}, "elastic ip": {"node-b"}}


def is_fenced(cluster: Cluster) -> bool:
    """Whether EC2 drops what arrives at node-a's interface for the address."""
    old = cluster.lab.node_a.place.interface("eth0").id
    return next(one.source_dest_check for one in cluster.lab.view.interfaces if one.id == old)


def route_call(cluster: Cluster) -> None:
    place, old = cluster.lab.place, cluster.lab.node_a.place.interface("eth0")
    cluster.lab.ec2.replace_route(RouteTableId=place.table("client-c"), DestinationCidrBlock=place.vip, NetworkInterfaceId=old.id)


def elastic_ip_call(cluster: Cluster) -> None:
    place, old = cluster.lab.place, cluster.lab.node_a.place.interface("eth0")
    where = {"NetworkInterfaceId": old.id, "PrivateIpAddress": old.address}
    cluster.lab.ec2.associate_address(AllocationId=place.allocation_id, AllowReassociation=True, **where)


def source_dest_check_call(cluster: Cluster) -> None:
    old = cluster.lab.node_a.place.interface("eth0")
    cluster.lab.ec2.modify_network_interface_attribute(NetworkInterfaceId=old.id, SourceDestCheck={"Value": False})


def run(cluster: Cluster) -> None:
    """The task of a playbook that began on node-a while that node was the holder, and gets to its writes only now: all three kinds at once."""
    a, place = cluster.lab.node_a, cluster.lab.place
    options = {"interface": "eth0", "destinations": [place.vip], "public_ip": place.elastic_ip}
    answer = run_module("ec2_resource", options, where=a.namespace, env=dict(a.environment))
    assert answer["changed"], answer


def changes(cluster: Cluster) -> int:
    """How often EC2 was asked to change something."""
    return len([call for call in cluster.lab.control.calls.mutating() if not call.action.endswith("Item")])


@pytest.mark.parametrize("late", [route_call, elastic_ip_call, source_dest_check_call, run], ids=lambda late: late.__name__)
def test_a_late_write_is_undone(after: Cluster, late: Callable[[Cluster], None]) -> None:
    assert is_on_node_b(after)
    assert is_fenced(after)
    before = changes(after)
    late(after)
    began = time.monotonic()
    until(lambda: changes(after) > before + 1 and is_on_node_b(after) and is_fenced(after), BOUND, "what was written late is still there", every=0.05)
    print(f"EC2 was right again after {time.monotonic() - began:.1f} s")
    assert after.holder() == "node-b"


def test_a_flapping_resource_is_still_fenced(after: Cluster) -> None:
    """The limit of recoveries holds up a late route, and not the fence; nor does a new process of the checker."""
    b = after.lab.node_b
    settings = json.loads(b.run("cat", "/etc/holdfast/checker.json").stdout)
    after.checkers["node-b"].kill()
    write(b, "/etc/holdfast/checker.json", {**settings, "checks": {**CHECKS, "max_recoveries": 1}})
    after.checkers["node-b"].start()
    route_call(after)
    until(lambda: is_on_node_b(after), BOUND, "the first route is not undone", every=0.05)
    until(lambda: status(after, "node-b")["phase"] == "watching", BOUND, "the recovery does not end", every=0.1)
    route_call(after)
    until(lambda: status(after, "node-b")["phase"] == "held down", BOUND, "it is not flapping", every=0.1)
    before = changes(after)
    source_dest_check_call(after)
    until(lambda: changes(after) > before + 1 and is_fenced(after), BOUND, "the fence is not restored", every=0.05)
    assert not is_on_node_b(after)


def test_a_node_that_is_ready_again_decides_for_itself(after: Cluster, tmp_path: Path) -> None:
    """A takeover there switches the check off before it holds the lease, and nobody switches it on again meanwhile."""
    after.checkers["node-a"].start()
    until(lambda: [one for one in status(after, "node-b")["peers"] if one["node"] == "node-a" and one["ready"]], 30, "node-a is not ready", every=0.1)
    calls, name = after.lab.control.calls, "ec2:DescribeRouteTables"
    source_dest_check_call(after)
    before = len(calls.all(name))
    until(lambda: len(calls.all(name)) >= before + 4, 30, "node-b does not look at EC2")
    assert not is_fenced(after)
    after.switch("node-a", tmp_path)
    after.all_on("node-a")
