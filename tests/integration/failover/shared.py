# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of failovers share: dependents that keep a diary, and what has to hold of a client's report."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def struck_when(condition: Callable[[], object], strike: Callable[[], object]) -> Iterator[None]:
    """Strikes once, within milliseconds after the condition holds. Fails if it never held until the end."""
    over, struck = threading.Event(), threading.Event()

    def wait() -> None:
        while not over.is_set():
            if condition():
                strike()
                struck.set()
                return
            over.wait(0.01)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)
    assert struck.is_set(), "what was waited for never came"


def released(cluster: Cluster) -> bool:
    """Whether node-a no longer has the lease."""
    return cluster.holder() != "node-a"


def up_there(cluster: Cluster) -> bool:
    """Whether the address is up on node-b."""
    return cluster.has_address(cluster.lab.node_b)


def switched_while_cut(cluster: Cluster, folder: Path, way: str, *links: str, at: Callable[[Cluster], bool] = released) -> PlaybookRun:
    """A switchover to node-b, which loses these links at that moment. ``way``: how it is reached all the same."""
    with struck_when(lambda: at(cluster), lambda: cut(cluster, cluster.lab.node_b, *links)):
        return cluster.play("switchover", folder, ways={"node-b": way}, tag=TAG, to="node-b")


def on_its_backup(cluster: Cluster, node: Node) -> None:
    """Fails unless the address is on eth1 alone, and the VPC leads to that interface, which may forward."""
    assert [link for link, held in node.addresses() if held == cluster.lab.place.vip] == ["eth1"]
    cluster.all_on(node.name)
    backup = node.place.interface("eth1").id
    leads = {route.target for subnet in cluster.lab.view.subnets for route in subnet.routes if route.destination == cluster.lab.place.vip}
    assert leads == {backup}
    (found,) = cluster.lab.ec2.describe_network_interfaces(NetworkInterfaceIds=[backup])["NetworkInterfaces"]
    assert found["SourceDestCheck"] is False
