# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook recover: what is repaired here, what moves, and what stays as nobody can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import Cluster
from ansible_collections.holdfast.ha.tests.integration.failover.shared import MOVED, dependents, epoch
from lab.control import Fault
from lab.faults import strike


def test_recover_repairs_here_what_can_be_repaired(cluster: Cluster, tmp_path: Path) -> None:
    cluster.place_on(cluster.lab.node_a)
    before = epoch(cluster)
    for trouble in ("forgotten-table", "address-deleted"):
        strike(cluster.lab, trouble)
    run = cluster.play("recover", tmp_path)
    assert run.status == 0, run.message
    cluster.all_on("node-a")
    assert epoch(cluster) == before


def test_recover_fails_over_when_both_interfaces_are_dead(cluster: Cluster, tmp_path: Path) -> None:
    """Over a management link the node could still be reached; here it cannot, so the lease has to run out."""
    a = cluster.lab.node_a
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.place_on(a)
    for interface in a.place.interfaces:
        cluster.lab.router.cut(interface.id)
    run = cluster.play("recover", tmp_path)
    assert run.status == 0, run.message or run.other
    cluster.all_on("node-b")
    assert (tmp_path / "diary").read_text().splitlines() == ["first started node-b 1", "second started node-b 1"]


@pytest.mark.scenario("C5")
def test_recover_releases_on_a_node_whose_interfaces_are_dead(cluster: Cluster, tmp_path: Path) -> None:
    """It is reached by a third one: dependents stop there in reverse and start in order on the standby, at once. Another resource, which cannot be
    moved, does not keep this one from it."""
    a = cluster.lab.node_a
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.place_on(a)
    other = {"tag": "aaa", "address": "10.1.0.99/32", "interface": "eth0"}
    with cluster.management_link(a) as way, cluster.oracle():
        for interface in a.place.interfaces:
            cluster.lab.router.cut(interface.id)
        run = cluster.play("recover", tmp_path, resources=[other, cluster.resource], ways={"node-a": way})
        released = cluster.checkers["node-a"].seen("released")
    assert released, "it was taken without a release"
    cluster.all_on("node-b")
    assert (tmp_path / "diary").read_text().splitlines() == MOVED
    assert run.status != 0
    assert run.message.startswith("no node is ready to take aaa over")


def test_recover_is_not_held_up_by_a_dead_way_to_a_node_that_lives(cluster: Cluster, tmp_path: Path) -> None:
    """The link that SSH goes by has died, the node renews its lease by its other one: nothing is taken from it, and the run ends soon."""
    a = cluster.lab.node_a
    cluster.place_on(a)
    before = epoch(cluster)
    cluster.lab.router.cut(a.place.interface("eth0").id)
    run = cluster.play("recover", tmp_path)
    assert run.status != 0
    assert "was not free within 17 s: node-a holds it; node-a cannot be reached from here, yet it still renews its lease" in run.message
    ways = [task.seconds for task in run.tasks if task.action == "ansible.builtin.ping"]
    assert max(ways) < 30, "SSH was waited for"
    assert (cluster.holder(), epoch(cluster)) == ("node-a", before)


@pytest.mark.scenario("A4", "B3")
def test_recover_fails_over_where_ec2_denies_this_node_only(cluster: Cluster, tmp_path: Path) -> None:
    a = cluster.lab.node_a
    cluster.place_on(a)
    strike(cluster.lab, "forgotten-table")
    for interface in a.place.interfaces:
        cluster.lab.control.faults.inject(Fault("deny", "ec2:*", source=interface.address))
    run = cluster.play("recover", tmp_path)
    assert run.status == 0, run.message or run.other
    cluster.all_on("node-b")
    assert not cluster.has_address(a)


def test_recover_with_an_api_that_does_not_answer_the_active_node_stays(cluster: Cluster, tmp_path: Path) -> None:
    """The standby would do better; but silence and throttling say nothing about the service."""
    a = cluster.lab.node_a
    cluster.place_on(a)
    before = epoch(cluster)
    for interface in a.place.interfaces:
        cluster.lab.control.faults.inject(Fault("throttle", "ec2:*", source=interface.address))
    run = cluster.play("recover", tmp_path)
    cluster.lab.control.faults.clear()
    assert run.status != 0
    assert "whether web works is unknown, as EC2 does not answer node-a (" in run.message
    assert "so nothing was released" in run.message
    cluster.all_on("node-a")
    assert epoch(cluster) == before
