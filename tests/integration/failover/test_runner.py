# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks that move a resource as jobs of ansible-runner, the engine of AWX, against both nodes over SSH."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, TAG, Cluster
from harness.runner import RunnerJob, run_job


def job(cluster: Cluster, playbook: str, folder: Path, **variables: Any) -> RunnerJob:
    """It has to succeed."""
    told = {"holdfast_cluster": CLUSTER, "holdfast_store": STORE, "holdfast_resources": [cluster.resource], **variables}
    lab = cluster.lab
    done = run_job(playbook, told, folder=folder, where=lab.router.namespace, environment=lab.node_a.environment, inventory=lab.inventory())
    assert done.status == "successful", done.output
    assert done.events[-1]["event"] == "playbook_on_stats"
    return done


def test_what_a_job_template_runs(cluster: Cluster, tmp_path: Path) -> None:
    there = job(cluster, "switchover", tmp_path, tag=TAG, to="node-a")
    assert there.stats["changed"]["node-a"] > 0
    cluster.all_on("node-a")

    job(cluster, "failover", tmp_path, tag=TAG)
    cluster.all_on("node-b")

    still = job(cluster, "recover", tmp_path, tag=TAG)
    assert still.changed == []
    cluster.all_on("node-b")
