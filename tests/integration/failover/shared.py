# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of failovers share: dependents that keep a diary, and what has to hold of a client's report."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import TAG, Cluster
from lab.node import Node
from lab.oracle import TwoHolders
from lab.playbook import PlaybookRun
from lab.prober import Report

#: A dependent: writes down what it is told, where, and whether the address is there at that moment.
_DIARY = """---
- name: Note it in the diary of the node
  ansible.builtin.shell: |
    echo {name} {{{{ holdfast_state }}}} $(hostname) $(ip -o addr show | grep -c ' {address} ') >> {folder}/diary
    echo $(date +%s.%N) {{{{ holdfast_state }}}} >> {folder}/$(hostname).{name}
  changed_when: true
{more}
"""


def dependents(cluster: Cluster, folder: Path, **more: str) -> list[dict[str, Any]]:
    """Two of them, with more tasks by name. The test fails if one of them ran on two nodes at once."""
    made = []
    for name in ("first", "second"):
        cluster.watch(name, folder)
        path = folder / f"{name}.yml"
        path.write_text(_DIARY.format(name=name, folder=folder, address=cluster.lab.place.vip, more=more.get(name, "")))
        made.append({"name": name, "tasks": str(path)})
    return made


#: What the dependents write when the resource moves from node-a to node-b: stopped in reverse, started in order.
MOVED = ["second stopped node-a 1", "first stopped node-a 1", "first started node-b 1", "second started node-b 1"]


def never_two(report: Report) -> list[tuple[str, float, float]]:
    """Asserts that the nodes' times of answering do not overlap; returns the turns: node, first ask, last answer."""
    turns: list[tuple[str, float, float]] = []
    for answer in sorted(report.answers, key=lambda one: one.asked):
        if turns and turns[-1][0] == answer.node:
            turns[-1] = (answer.node, turns[-1][1], max(turns[-1][2], answer.answered))
        else:
            turns.append((answer.node, answer.asked, answer.answered))
    for (one, _begin, end), (other, begin, _end) in pairwise(turns):
        if end > begin:
            raise TwoHolders(f"{one} still answered {end - begin:.3f} s after {other} had been asked")
    return turns


def instances(cluster: Cluster) -> dict[str, str]:
    """The inventory's `holdfast_instances`."""
    return {node.name: node.place.instance_id for node in cluster.lab.nodes}


def epoch(cluster: Cluster) -> int:
    record = cluster.record()
    assert record is not None
    return record.epoch


def cut(cluster: Cluster, node: Node, *links: str) -> None:
    """Take the carrier from these links."""
    for link in links:
        cluster.lab.router.cut(node.place.interface(link).id)


#: Tasks of a switchover: after the first looks, and when the checker has the address up where its reflex is on.
RELEASE, UP = "Release the lease, the address before it, or hold it", "Have the address up for as long as the lease lasts"


def switched_while_cut(cluster: Cluster, folder: Path, way: str, *links: str, at: str = RELEASE) -> PlaybookRun:
    """A switchover to node-b, which loses these links when that task begins. ``way``: how it is reached all the same."""
    struck: list[str] = []

    def began(task: str) -> None:
        if task.endswith(at) and not struck:
            struck.append(task)
            cut(cluster, cluster.lab.node_b, *links)

    run = cluster.play("switchover", folder, ways={"node-b": way}, began=began, tag=TAG, to="node-b")
    assert struck
    return run


def on_its_backup(cluster: Cluster, node: Node) -> None:
    """Fails unless the address is on eth1 alone, and the VPC leads to that interface, which may forward."""
    assert [link for link, held in node.addresses() if held == cluster.lab.place.vip] == ["eth1"]
    cluster.all_on(node.name)
    backup = node.place.interface("eth1").id
    leads = {route.target for subnet in cluster.lab.view.subnets for route in subnet.routes if route.destination == cluster.lab.place.vip}
    assert leads == {backup}
    (found,) = cluster.lab.ec2.describe_network_interfaces(NetworkInterfaceIds=[backup])["NetworkInterfaces"]
    assert found["SourceDestCheck"] is False
