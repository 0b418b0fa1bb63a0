# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of what test_life.py begins."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import APP, Installed

ROOT = Path(__file__).resolve().parents[3]


def test_uninstall_leaves_the_address_and_nothing_else(cluster: Installed, active: str) -> None:
    with cluster.kernels(), cluster.lab.prober("client-c") as prober:
        run = cluster.play("uninstall")
        assert run.status == 0, run.message or run.other
        report = prober.stop()
    assert report.longest_ms < 500
    assert {node for node, _epoch in report.answered_by} == {active}
    for node in cluster.nodes:
        left = node.run("sh", "-c", "find / -xdev -path /proc -prune -o -path /srv -prune -o -iname '*holdfast*' -print").stdout.split()
        assert [path for path in left if "/.ansible/" not in path and not path.startswith(("/sys", "/tmp", "/var/tmp"))] == []
        assert cluster.pid(node) == 0
    shown = json.loads(cluster.node(active).run("ip", "-j", "addr").stdout)
    vip = next(one for link in shown for one in link["addr_info"] if one["local"] == cluster.lab.place.vip.partition("/")[0])
    assert (vip["valid_life_time"], vip["preferred_life_time"]) == (2**32 - 1, 2**32 - 1)
    record = cluster.record()
    assert record is not None
    assert (record.holder, record.handoff_to) == ("", "-")
    # what the role runs to leave addresses for ever, again and with one that has run out; it tells of that one
    program = yaml.safe_load((ROOT / "roles/monitor/vars/main.yml").read_text())["monitor_leave"].replace("{{ monitor_unit }}", APP)
    told = cluster.node(active).run("/bin/sh", "-euc", program, "sh", "192.0.2.9/32", cluster.lab.place.vip).stdout
    assert told.split() == ["192.0.2.9/32"]
