# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks for a cluster with checkers as jobs of ansible-runner, the engine of AWX, against both nodes over SSH."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, TAG, Cluster
from harness import browser
from harness.runner import RunnerJob, run_job


def job(cluster: Cluster, playbook: str, folder: Path, **variables: Any) -> RunnerJob:
    """It has to succeed."""
    told = {"holdfast_cluster": CLUSTER, "holdfast_store": STORE, "holdfast_resources": [cluster.resource], **variables}
    lab = cluster.lab
    done = run_job(playbook, told, folder=folder, where=lab.router.namespace, environment=lab.node_a.environment, inventory=lab.inventory())
    assert done.status == "successful", done.output
    return done


def results(done: RunnerJob, task: str) -> dict[str, Any]:
    """What that task answered, by host."""
    told = [event["event_data"] for event in done.events if event["event"] == "runner_on_ok"]
    return {data["host"]: data["res"] for data in told if data["task"].endswith(task)}


def test_what_a_job_template_runs(cluster: Cluster, tmp_path: Path) -> None:
    there = job(cluster, "switchover", tmp_path, tag=TAG, to="node-a")
    assert there.stats["changed"]["node-a"] > 0
    cluster.all_on("node-a")

    job(cluster, "failover", tmp_path, tag=TAG)
    cluster.all_on("node-b")

    still = job(cluster, "recover", tmp_path, tag=TAG)
    assert still.changed == []
    cluster.all_on("node-b")


def test_maintenance_dependents_and_report(cluster: Cluster, tmp_path: Path) -> None:
    """With checkers that run, and that write their events as an installation has them do."""
    diary = tmp_path / "diary"
    task = tmp_path / "note.yml"
    task.write_text(f"- name: Note it\n  ansible.builtin.shell: echo {{{{ holdfast_state }}}} $(hostname) >> {diary}\n  changed_when: true\n")
    cluster.reset(reporting={"events": "/var/log/holdfast/events.jsonl"}, dependents=[{"name": "note", "tasks": str(task)}])
    cluster.place_on(cluster.lab.node_a)

    for state, paused in (("paused", True), ("resumed", False)):
        done = job(cluster, "maintenance", tmp_path / state, state=state, tag=TAG)
        assert done.changed == ["Pause or resume"] * 2
        assert {name: checker.ask("status", tag=TAG)["paused"] for name, checker in cluster.checkers.items()} == {"node-a": paused, "node-b": paused}

    job(cluster, "dependents", tmp_path / "dependents", state="stopped", tag=TAG)
    assert diary.read_text().split() == ["stopped", "node-a"]

    page = tmp_path / "report.html"
    done = job(cluster, "report", tmp_path / "report", report=str(page))
    assert done.changed == ["Write the report"]
    asked = results(done, "Ask the checker")
    assert {name: answer["running"] for name, answer in asked.items()} == {"node-a": True, "node-b": True}
    text = page.read_text()
    for shown in ("web-prod: protected addresses", ">watching<", ">acquired<", f"<span>{cluster.lab.place.vip} on eth0</span>", "web on node-a"):
        assert shown in text, shown
    assert text.count("<rect class=") >= 1, "who held it shows in the timeline"
    assert "to be changed" not in text
    if browser.is_there():
        for width in (1280, 400):
            seen = browser.lay_out(text, tmp_path, width=width)
            assert (seen.needed <= seen.there, seen.cut) == (True, 0)
