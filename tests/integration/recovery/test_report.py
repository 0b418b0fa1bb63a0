# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook report: from a controller over SSH, one page of both nodes, and nothing on them is changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.tests.integration.recovery.cluster import Cluster, changed
from lab.faults import strike


def test_one_page_of_both_nodes(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = cluster.lab
    strike(lab, "forgotten-table")
    broken = cluster.changes()
    page = tmp_path / "report.html"
    trap = "{{ 7 * 191 }}<b>"
    about = {"cluster": "web-prod", "tag": "web"}
    for node, events in (
        (lab.node_a, [("10:00:00.000", "acquired", {}), ("10:00:01.000", "fault", {"reasons": [trap]}), ("10:00:01.250", "recovered", {})]),
        (lab.node_b, [("10:00:09.000", "acquired", {})]),
    ):
        lines = [{"time": f"2026-11-20T{time}Z", "node": node.name, "event": event, **about, **facts} for time, event, facts in events]
        node.run("sh", "-c", "cat > /var/log/holdfast/events.jsonl", input="".join(f"{json.dumps(line)}\n" for line in lines))

    inventory, became = cluster.inventory(tmp_path), tmp_path / "became"
    become = tmp_path / "su"
    become.write_text(f'#!/bin/sh\nhostname >> {became}\nfor command; do :; done\nexec sh -c "$command"\n')  # Ansible passes "-c COMMAND" last
    become.chmod(0o755)
    monkeypatch.setitem(cluster.node_a.environment, "ANSIBLE_BECOME_ALLOW_SAME_USER", "1")  # type: ignore[arg-type]
    described = json.loads(inventory.read_text())
    described["all"]["vars"] |= {"ansible_become": True, "ansible_become_method": "ansible.builtin.su", "ansible_become_exe": str(become)}
    inventory.write_text(json.dumps(described))

    run = cluster.play("report", cluster.web, inventory=inventory, report=str(page), holdfast_cluster="web-prod")

    assert run.status == 0, run.message or run.other
    assert changed(run) == ["Write the report"]
    assert set(became.read_text().split()) == {"node-a", "node-b"}, "become is for the nodes, and reached the controller"
    assert cluster.writes() == []
    text = page.read_text()
    for shown in ("web-prod: protected addresses", "node-a", "node-b", lab.place.vip, "to be changed", "250 ms"):
        assert shown in text, shown
    assert text.count('<span class="bad">to be changed</span>') == 1
    assert "{{ 7 * 191 }}&lt;b&gt;" in text

    there = "/var/log/holdfast/report.html"
    run = cluster.play("report", cluster.web, inventory=inventory, report=there, report_on="node-b", holdfast_cluster="web-prod")
    assert run.status == 0, run.message or run.other
    assert changed(run) == ["Write the report on a certain host"]
    assert "web-prod: protected addresses" in lab.node_b.run("cat", there).stdout
    assert lab.node_a.run("cat", there, check=False).returncode != 0
    lab.node_b.run("rm", there)
    for node in lab.nodes:
        node.run("rm", "/var/log/holdfast/events.jsonl")
    assert cluster.changes() == broken
