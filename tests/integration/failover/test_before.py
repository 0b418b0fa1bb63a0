# SPDX-License-Identifier: GPL-3.0-or-later
"""Before the installation: the inventory names a store of leases already, and no node has a checker."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import Cluster


def test_check_shows_what_would_be_done_and_a_run_wants_the_checker(cluster: Cluster, tmp_path: Path) -> None:
    cluster.stop()
    node = cluster.lab.node_a

    check = cluster.play("local_recovery", tmp_path, words=["--limit", "node-a", "--check", "--diff"])
    assert check.status == 0, check.message
    assert any(task.action == "holdfast.ha.ip_address" for task in check.changed)
    assert any("No checker watches the lease here yet" in str(task.result.get("msg")) for task in check.tasks)
    assert not cluster.has_address(node)

    run = cluster.play("local_recovery", tmp_path, words=["--limit", "node-a"])
    assert run.status != 0
    assert "no checker on this host watches the lease" in run.message
    assert not cluster.has_address(node)
