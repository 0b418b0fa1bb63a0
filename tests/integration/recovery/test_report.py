# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook report: from a controller over SSH, one page of both nodes, and nothing on them is changed; and the page on screens and on paper."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.plugins.plugin_utils._report import report_page
from ansible_collections.holdfast.ha.tests.integration.recovery.cluster import Cluster, changed
from harness import browser
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
    monkeypatch.setitem(cluster.node_a.environment, "ANSIBLE_BECOME_ALLOW_SAME_USER", "1")
    described = json.loads(inventory.read_text())
    described["all"]["vars"] |= {"ansible_become": True, "ansible_become_method": "ansible.builtin.su", "ansible_become_exe": str(become)}
    inventory.write_text(json.dumps(described))

    run = cluster.play("report", cluster.web, inventory=inventory, report=str(page), holdfast_cluster="web-prod")

    assert run.status == 0, run.message or run.other
    assert changed(run) == ["copy"]
    assert set(became.read_text().split()) == {"node-a", "node-b"}, "become is for the nodes, and reached the controller"
    assert cluster.writes() == []
    text = page.read_text()
    for shown in ("web-prod: protected addresses", "node-a", "node-b", lab.place.vip, "to be changed", "250 ms"):
        assert shown in text, shown
    assert text.count('<span class="bad">to be changed</span>') == 1  # the forgotten table
    for what in ("Interface", "Address", "Source/dest check", f"Route to {lab.place.vip}", "Elastic IP"):
        assert f'<td data-name="What"><span>{what}</span></td>' in text, what
    assert f"<span>{lab.place.vip} on eth0</span>" in text
    assert "{{ 7 * 191 }}&lt;b&gt;" in text

    run = cluster.play("report", cluster.web, inventory=inventory, report_on="no-node", holdfast_cluster="web-prod")
    assert run.message == "no-node is no host of the inventory. Give one that is: -e report_on=NODE"
    assert run.tasks[-1].task == run.failed[-1].task == "Refuse to write on a host that the inventory does not name"

    there = "/var/log/holdfast/report.html"
    run = cluster.play("report", cluster.web, inventory=inventory, report=there, report_on="node-b", holdfast_cluster="web-prod")
    assert run.status == 0, run.message or run.other
    assert changed(run) == ["copy"]
    assert "web-prod: protected addresses" in lab.node_b.run("cat", there).stdout
    assert lab.node_a.run("cat", there, check=False).returncode != 0
    lab.node_b.run("rm", there)
    for node in lab.nodes:
        node.run("rm", "/var/log/holdfast/events.jsonl")
    assert cluster.changes() == broken


def full_page() -> str:
    """Of two resources with everything that a page can show, long names among it."""
    begin = 1_790_000_000.0

    def line(second: float, node: str, event: str, **facts: object) -> str:
        at = datetime.datetime.fromtimestamp(begin + second, datetime.timezone.utc).isoformat(timespec="milliseconds")
        return json.dumps({"time": at, "cluster": "web-prod", "node": node, "event": event, "tag": "web", **facts})

    eni = ("eni-0aaaaaaaaaaaaaaa1", "eni-0bbbbbbbbbbbbbbb2")
    route = {"route_table_id": "rtb-0a1b2c3d4e5f60001", "destination": "10.1.0.10/32", "before": eni[1], "after": eni[0], "error": None}
    ec2 = {"error": "", "routes": [route], "source_dest_check": True, "elastic_ip": "203.0.113.5", "elastic_ip_right": False}
    checker = {"phase": "watching", "holder": "node-a", "epoch": 7, "dependents": [], "advice": "", "ready": True, "ready_reason": ""}
    shared = {"backup_interface": "eth1", "primary_interface": "eth0", "primary_state": "up", "reasons": [], "checker": checker}
    web = {**shared, "tag": "web", "address": "10.1.0.10/32", "in_service": True, "health": "failed", "places": []}
    web["ec2"] = {**ec2, "elastic_ip_before": eni[1], "elastic_ip_after": eni[0]}
    other = {**shared, "tag": "a-resource-with-a-long-name", "address": "fd00:1:2:3::10/128", "in_service": False, "health": "healthy"}
    other["ec2"] = {**ec2, "routes": [], "source_dest_check": None, "elastic_ip": None}
    entries = [
        {**one, "node": node, "in_service": bool(one["in_service"]) and node == "node-a"} for one in (web, other) for node in ("node-a", "node-b")
    ]
    long = "rtb-0a1b2c3d4e5f60001 leads to eni-0bbbbbbbbbbbbbbb2 " + "x" * 200
    lines = [line(0, "node-a", "acquired"), line(9, "node-a", "lost"), line(9.5, "node-b", "acquired"), line(20, "node-a", "acquired")]
    lines += [line(30, "node-a", "fault", reasons=[long]), *(line(31 + index, "node-a", "check", number=index) for index in range(60))]
    return report_page(entries, lines, entries, "web-prod", begin + 100)


in_browser = pytest.mark.skipif(not browser.is_there(), reason="a page is laid out by Chromium, which is not installed")


@in_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_page_on_a_screen(width: int, dark: bool, tmp_path: Path) -> None:
    seen = browser.lay_out(full_page(), tmp_path, width=width, dark=dark)
    assert seen.needed <= seen.there <= width, "it has to be pushed from side to side"
    assert seen.cut == 0, "headings are cut into pieces"
    assert seen.texts > 300
    assert seen.contrast >= 4.5, "some of it is hard to read"
    assert (seen.paper < 0.1) if dark else (seen.paper > 0.9)


@in_browser
def test_page_on_paper(tmp_path: Path) -> None:
    sheets, text = browser.print_out(full_page(), tmp_path)
    assert 2 <= sheets <= 8
    if shutil.which("pdftotext"):
        wanted = (
            "web-prod: protected addresses",
            "a-resource-with-a-long-name",
            "to be changed",
            "Elastic IP",
            "web on node-b",
            "70.0 s",
        )
        assert [shown for shown in wanted if shown not in text] == []
        assert text.count("Facts") >= 2, "a table that goes on has its header on each sheet"
