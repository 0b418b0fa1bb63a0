# SPDX-License-Identifier: GPL-3.0-or-later
"""install, uninstall and install again as jobs of ansible-runner, the engine of AWX, from whatever the tests before have left."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import TOKEN, UNIT, Installed
from harness.runner import RunnerJob, run_job
from lab.waiting import until


def job(cluster: Installed, playbook: str, folder: Path) -> RunnerJob:
    """It has to succeed, and to keep what is secret out of its events."""
    lab = cluster.lab
    done = run_job(
        playbook,
        cluster.variables,
        folder=folder,
        where=lab.router.namespace,
        environment=lab.client.environment,
        inventory=lab.inventory(),
        limit=900,
    )
    assert done.status == "successful", done.output
    assert TOKEN not in done.output
    assert TOKEN not in str(done.events)
    return done


def test_install_and_uninstall_as_jobs(cluster: Installed, tmp_path: Path) -> None:
    installed = job(cluster, "install", tmp_path / "install")
    assert set(installed.stats["ok"]) == {"node-a", "node-b"}
    for node in cluster.nodes:
        assert cluster.is_active(node, UNIT)

    name = until(cluster.holder, 60, "it does not come into service")
    until(lambda: cluster.is_quiet(name), 120, f"{name} is not at rest: the tests before may have left the address on the other link")
    place = cluster.places()

    removed = job(cluster, "uninstall", tmp_path / "uninstall")
    assert set(removed.stats["changed"]) == {"node-a", "node-b"}
    for node in cluster.nodes:
        assert not cluster.is_active(node, UNIT)
        assert node.run("test", "-e", "/etc/holdfast", check=False).returncode != 0
    assert (cluster.places(), cluster.holder()) == (place, "")

    job(cluster, "install", tmp_path / "again")  # the address is there still, its lease left to nobody
    assert cluster.places() == place
    assert {where.partition(" ")[0] for where in place} == {cluster.holder()}, "on whichever link the tests before have left it"
    cluster.wait_settled(cluster.holder())
