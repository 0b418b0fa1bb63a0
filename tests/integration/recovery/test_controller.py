# SPDX-License-Identifier: GPL-3.0-or-later
"""From a controller over SSH with both nodes in the play: only the node in service is repaired, and doubt repairs none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ansible_collections.holdfast.ha.tests.integration.recovery.cluster import Cluster, changed, forget, told
from lab.faults import active, strike
from lab.python39 import Python39


def test_only_the_node_in_service_is_repaired(cluster: Cluster, tmp_path: Path) -> None:
    for trouble in ("sdc-on", "address-deleted"):
        strike(cluster.lab, trouble)

    run = cluster.recover(cluster.web, inventory=cluster.inventory(tmp_path))

    assert run.status == 0, run.message
    assert {task.host for task in run.changed} == {"node-a"}
    assert {task.host for task in run.tasks} == {"node-a", "node-b"}
    assert cluster.changes() == {}
    cluster.assert_served()


def test_nodes_with_python_3_9_are_repaired(cluster: Cluster, tmp_path: Path, python_39: Python39) -> None:
    """And with the libraries and the `ip` of Debian 11."""
    older = {"ansible_python_interpreter": str(python_39.plain)}
    inventory = cluster.inventory(tmp_path, node_a=older, node_b=older)
    for trouble in ("eip-taken", "sdc-on", "address-deleted"):
        strike(cluster.lab, trouble)

    run = cluster.recover(cluster.web, inventory=inventory)

    assert run.status == 0, run.message
    assert {task.host for task in run.changed} == {"node-a"}
    assert cluster.changes() == {}
    cluster.assert_served()


def test_a_dead_link_of_a_node_with_python_3_9(cluster: Cluster, python_39: Python39) -> None:
    """On the node itself, since its dead link is the one to the controller. The modules run with its Python, not with that of Ansible."""
    strike(cluster.lab, "primary-dead")

    run = cluster.recover(cluster.web, ansible_python_interpreter=str(python_39.plain))

    assert run.status == 0, run.message
    assert active(cluster.lab) == (cluster.node_a, "eth1")
    vip, _vip6, neighbour, outside = cluster.clients
    cluster.assert_served(vip, neighbour, outside)


def test_in_service_nowhere_it_is_for_a_person_to_say_where(cluster: Cluster, tmp_path: Path) -> None:
    lab = cluster.lab
    for node in lab.nodes:
        forget(node)
    lab.node_a.drop(lab.place.vip)
    before = cluster.changes()
    inventory = cluster.inventory(tmp_path)

    refused = cluster.recover(cluster.web, inventory=inventory)
    assert refused.status != 0
    assert refused.message == "web: in service on none of the hosts that answered; limit the run to the node that should have it (--limit NODE)"
    assert (changed(refused), cluster.writes()) == ([], [])
    assert cluster.changes() == before

    told = cluster.recover(cluster.web, inventory=inventory, words=["--limit", "node-b"])
    assert told.status == 0, told.message
    assert active(lab) == (lab.node_b, "eth0")
    vip, _vip6, _neighbour, outside = cluster.clients
    assert cluster.who_answers(vip, outside) == [{"node-b"}, {"node-b"}]


def test_host_that_cannot_be_reached_keeps_what_it_has(cluster: Cluster, tmp_path: Path) -> None:
    strike(cluster.lab, "wrong-route")
    broken = cluster.changes()

    run = cluster.recover(cluster.web, inventory=cluster.inventory(tmp_path, node_a={"ansible_port": 2222}))

    assert run.status != 0
    assert {task.host for task in run.tasks if task.outcome == "unreachable"} == {"node-a"}
    assert "in service on none of the hosts that answered" in run.message
    assert (changed(run), cluster.writes()) == ([], [])
    assert cluster.changes() == broken


def test_nobody_has_to_name_the_python_that_has_the_libraries(cluster: Cluster, tmp_path: Path) -> None:
    """The node's own Python lacks them; that of the role monitor is used as soon as it is there."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    given = {"ansible_python_interpreter": str(bare / "bin/python")}
    inventory = cluster.inventory(tmp_path, node_a=given, node_b=given)
    strike(cluster.lab, "address-deleted")

    without = cluster.recover(cluster.web, inventory=inventory)
    assert without.status != 0
    assert "netaddr" in without.message
    assert "holdfast.ha.install" in without.message

    for node in cluster.lab.nodes:
        node.run("sh", "-c", 'mkdir -p /opt && mount -t tmpfs tmpfs /opt && mkdir /opt/holdfast && ln -s "$0" /opt/holdfast/venv', sys.prefix)
    try:
        run = cluster.recover(cluster.web, inventory=inventory)
        assert run.status == 0, run.message
        assert {task.host for task in run.changed} == {"node-a"}
        status = cluster.play("status", cluster.web, inventory=inventory)
        assert status.status == 0, status.message
        asked = told(status, "checker_info")
        assert asked.outcome == "ok", asked
    finally:
        for node in cluster.lab.nodes:
            node.run("umount", "/opt")
    assert cluster.changes() == {}
    cluster.assert_served()
