# SPDX-License-Identifier: GPL-3.0-or-later
"""Dependents that are systemd units, on a node that has booted with systemd, over SSH."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lab import booted
from lab.node import Node
from lab.playbook import PlaybookRun, run_playbook
from lab.vpc import Lab

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(bool(booted.why_not()), reason=booted.why_not() or "-")
_NOTED = "ExecStart=/bin/sleep infinity\n" + "\n".join(
    f"{when}=/bin/sh -c 'echo %p {when} >> /run/diary'" for when in ("ExecStartPost", "ExecStopPost")
)
_UNITS = {
    "good": _NOTED,
    "other": _NOTED,
    "brief": "ExecStart=/bin/false",
    "stuck": "ExecStart=/bin/sleep infinity\nExecStop=/bin/sleep 600\nTimeoutStopSec=600",
}


def put_units(node: Node) -> None:
    """Each with what it does."""
    for name, does in _UNITS.items():
        node.run("install", "-m", "0644", "/dev/stdin", f"/etc/systemd/system/{name}.service", input=f"[Service]\n{does}\n")
    node.run("systemctl", "daemon-reload")


def test_units(tmp_path: Path) -> None:
    wheels = booted.wheels(ROOT / "roles/monitor/files/requirements.txt")
    with Lab(f"fu{os.getpid()}-", booted=True, binds={wheels: booted.WHEELS}) as lab:
        node = lab.booted_nodes[0]
        # A module records that dependents may run, and imports netaddr for it.
        node.run("sh", "-c", f"python3 -m zipfile -e {booted.WHEELS}/netaddr-*.whl /usr/lib/python3/dist-packages")
        put_units(node)
        told = lab.inventory()
        told["all"]["hosts"] = {node.name: told["all"]["hosts"][node.name]}
        inventory = tmp_path / "inventory.json"
        inventory.write_text(json.dumps(told))

        def change(state: str, *names: str, **more: Any) -> PlaybookRun:
            dependents = [{"name": name, "service": f"{name}.service", **more} for name in names]
            resource = {"tag": "web", "address": "10.1.0.10/32", "interface": "eth0", "dependents": dependents}
            given = {"holdfast_resources": [resource], "tag": "web", "state": state}
            run = run_playbook("dependents", given, where=lab.router.namespace, environment=lab.client.environment, inventory=inventory)
            print(f"{state} {names}: exit {run.status} after {run.seconds:.1f} s; {run.message} {run.other[-500:]}")
            return run

        assert change("started", "good", "other").status == 0
        assert change("started", "good", "other").changed == ()
        assert change("stopped", "good", "other").status == 0
        diary = node.run("cat", "/run/diary").stdout.splitlines()
        assert diary == ["good ExecStartPost", "other ExecStartPost", "other ExecStopPost", "good ExecStopPost"]
        ended = change("started", "brief", "good")
        assert (ended.status, ended.message) == (2, "the dependent brief could not be started: brief.service is failed")
        assert node.run("systemctl", "is-active", "good.service", check=False).stdout.strip() == "inactive", "started after one that failed"
        assert "the dependent gone could not be started: Could not find the requested service gone.service" in change("started", "gone").message
        assert change("started", "stuck").status == 0
        stuck = change("stopped", "stuck", timeout=3)
        assert "the dependent stuck could not be stopped" in stuck.message
        assert stuck.seconds < 300
