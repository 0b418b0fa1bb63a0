# SPDX-License-Identifier: GPL-3.0-or-later
"""The node that is to take a resource over has a dead link itself: its backup interface carries the address, else another node does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import TAG, Cluster
from ansible_collections.holdfast.ha.tests.integration.failover.shared import cut, on_its_backup, released, switched_while_cut, up_there
from harness.marks import STALLS
from lab.faults import clear
from lab.node import Node
from lab.waiting import until

pytestmark = STALLS

#: Seconds for a takeover by a checker and its playbook.
PATIENCE = 120.0


def until_on_b(cluster: Cluster) -> None:
    """Until address, routes and Elastic IP are all on node-b."""
    wanted = {place: {"node-b"} for place in ("address", "routes", "elastic ip")}
    until(lambda: cluster.where() == wanted, PATIENCE, "node-b does not serve")


def peer_of(cluster: Cluster, node: Node) -> dict[str, Any]:
    """What this node's checker hears of the other node."""
    (peer,) = cluster.checkers[node.name].ask("status", tag=TAG)["peers"]
    return dict(peer)


def test_the_holder_puts_it_in_service_on_its_backup_interface(cluster: Cluster) -> None:
    """It has the lease, and its primary interface died before the address was up: recover on the node finishes it, and then changes nothing."""
    b = cluster.lab.node_b
    cluster.lease(b, wait=2)
    cut(cluster, b, "eth0")
    run = cluster.play_on(b, "recover", tag=TAG)
    assert run.status == 0, run.message or run.other
    on_its_backup(cluster, b)
    again = cluster.play_on(b, "recover", tag=TAG)
    assert (again.status, again.changed) == (0, ()), again.message


@pytest.mark.parametrize("at", [released, up_there], ids=["before it is up", "after it is up"])
def test_a_link_that_dies_on_the_way(cluster: Cluster, tmp_path: Path, at: Callable[[Cluster], bool]) -> None:
    """The standby was looked at when its primary interface dies: its checker uses the other one at once, or has the address up already."""
    a, b = cluster.lab.nodes
    cluster.place_on(a)
    with cluster.management_link(b) as way, cluster.oracle():
        run = switched_while_cut(cluster, tmp_path, way, "eth0", at=at)
    assert run.status == 0, run.message or run.other
    on_its_backup(cluster, b)


def test_a_holder_without_any_link_lets_go(cluster: Cluster, tmp_path: Path) -> None:
    """It has the lease, and not the address yet. While no other node is ready it says why it cannot; then another one gets it."""
    b = cluster.lab.node_b
    with cluster.management_link(b) as way:
        cluster.lease(b, wait=2)
        cut(cluster, b, "eth0", "eth1")
        alone = cluster.play_on(b, "recover", tag=TAG)
        assert alone.status != 0
        assert "no node is ready to take web over, so nothing was released (node-b: eth0 and eth1 are down)" in alone.message
        assert cluster.holder() == "node-b"
        with cluster.oracle():
            run = cluster.play("recover", tmp_path, ways={"node-b": way}, tag=TAG)
    assert run.status == 0, run.message or run.other
    cluster.all_on("node-a")


def test_a_standby_with_a_dead_link_replaces_a_node_that_is_gone(cluster: Cluster) -> None:
    """The checkers alone, and no reflex: the playbook does it."""
    a, b = cluster.lab.nodes
    cluster.reset(peers=True, reporting={"reflex": False})
    cluster.place_on(a)
    cut(cluster, b, "eth0")
    try:
        with cluster.oracle():
            cluster.kill(a)
            until_on_b(cluster)
        on_its_backup(cluster, b)
        runs = cluster.checkers["node-b"].seen("run ended")
        assert all(run["ok"] for run in runs), runs
    finally:
        clear(cluster.lab)


@pytest.mark.parametrize("way", ["playbook", pytest.param("reflex", marks=pytest.mark.scenario("B4")), "checker"])
def test_a_link_that_is_switched_off_is_switched_on(cluster: Cluster, tmp_path: Path, way: str) -> None:
    """The standby has no other interface for the address. Whoever puts it up there switches the link on before."""
    a, b = cluster.lab.nodes
    there = {"interface": "eth1", "backup_interface": None}
    cluster.reset(peers=way != "playbook", reporting={"reflex": way == "reflex"}, **there)
    cluster.switch("node-a", tmp_path)
    b.namespace.ip("link set eth1 down")
    with cluster.oracle():
        if way == "playbook":
            cluster.switch("node-b", tmp_path)
        else:
            until(lambda: peer_of(cluster, a)["ready"], 20, "node-b does not stand by")
            cluster.kill(a)
            until_on_b(cluster)
    on_its_backup(cluster, b)
    assert bool(cluster.checkers["node-b"].seen("takeover")) == (way == "reflex")


@contextmanager
def kept_off(node: Node, interface: str) -> Iterator[None]:
    """Something else on the node switches the interface off ten times a second, for a minute at most."""
    loop = f"for _ in $(seq 600); do ip link set {interface} down; sleep 0.1; done"
    other = node.namespace.spawn("sh", "-c", loop)
    try:
        yield
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("off", ["once", "again and again"])
def test_a_link_that_is_switched_off_and_dead_is_tried_once(cluster: Cluster, tmp_path: Path, off: str) -> None:
    """The link counts as down afterwards, also if it is off again. The node that is ready acquires the lease once it is on and dead."""
    _a, b = cluster.lab.nodes
    cluster.reset(interface="eth1", backup_interface=None)
    cluster.switch("node-a", tmp_path)
    b.namespace.ip("link set eth1 down")
    cut(cluster, b, "eth1")
    with cluster.oracle():
        with nullcontext() if off == "once" else kept_off(b, "eth1"):
            run = cluster.play("switchover", tmp_path, tag=TAG, to="node-b")
        assert run.status != 0
        assert "web is held by node-b and not in service, as eth1 is down there" in run.message
        assert cluster.holder() == "node-b"
        b.namespace.ip("link set eth1 up")
        back = cluster.play("recover", tmp_path, tag=TAG)
    assert back.status == 0, back.message or back.other
    cluster.all_on("node-a")


def test_a_node_that_loses_all_links_on_the_way_goes_on_when_one_is_back(cluster: Cluster, tmp_path: Path) -> None:
    """Nobody else is ready, since it is paused there: the lease stays."""
    a, b = cluster.lab.nodes
    cluster.reset(peers=True, reporting={"reflex": False})
    cluster.place_on(a)
    cluster.checkers["node-a"].ask("pause")
    until(lambda: "it is paused there" in str(peer_of(cluster, b)["reason"]), 20, "node-b does not hear of it")
    with cluster.management_link(b) as way, cluster.oracle():
        run = switched_while_cut(cluster, tmp_path, way, "eth0", "eth1")
        assert run.status != 0
        assert "web is held by node-b and not in service, as eth0 and eth1 are down there; its checker goes on as soon as" in run.message
        assert cluster.holder() == "node-b"
        checker = cluster.checkers["node-b"]
        until(lambda: len(checker.seen("backing off")) > 1, PATIENCE, "its checker does not try on")
        pause, runs = checker.seen("backing off")[-1]["seconds"], len(checker.seen("run started"))
        clear(cluster.lab)
        until(lambda: len(checker.seen("run started")) > runs, pause, "the link was not noticed")
        until(lambda: checker.seen("serve"), PATIENCE, "the run did not put the address up")
        until_on_b(cluster)
    cluster.all_on("node-b")
