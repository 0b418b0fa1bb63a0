# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be meant, and what is missing on a node: one line, and nothing changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import netaddr
import pytest

from ansible_collections.holdfast.ha.tests.integration.recovery.cluster import Cluster, changed
from lab.faults import strike


@pytest.mark.parametrize(
    ("wrong", "variables", "says"),
    [
        ({}, {"local_recovery_tags": ["web", "wbe"]}, "No resource has the tag wbe; there is web."),
        ({}, {"local_recovery_faults": ["route"]}, "route"),
        ({"address": "10.1.0.10"}, {}, "address: '10.1.0.10' is not an address in CIDR notation; it needs a prefix length"),
        ({"interface": "eth0; touch /tmp/holdfast-was-here"}, {}, "is not an interface name"),
        ({"backup_interface": "eth0"}, {}, "eth0 is the interface itself"),
        ({"tag": "../web"}, {}, "is not a tag"),
        ({"tag": "web" * 400_000}, {}, "is not a text of 1 to 256 printable characters"),
        ({"adress": "10.1.0.10/32"}, {}, "holdfast_resources.adress"),
        ({"ec2": {"route_tables": ["tgw-1"]}}, {}, "is not the id of a route table"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else "",
)
def test_refused_before_anything_changes(cluster: Cluster, wrong: dict[str, Any], variables: dict[str, Any], says: str) -> None:
    for trouble in ("forgotten-table", "address-deleted"):
        strike(cluster.lab, trouble)
    broken = cluster.changes()

    run = cluster.recover({**cluster.web, **wrong}, **variables)

    assert run.status != 0
    assert says in run.message
    assert len(run.message) < 1000
    assert (changed(run), cluster.writes()) == ([], [])
    assert cluster.changes() == broken


@pytest.mark.parametrize("missing", ["netaddr", "boto3"])
def test_missing_library_is_named(cluster: Cluster, missing: str, tmp_path: Path) -> None:
    strike(cluster.lab, "forgotten-table")
    broken = cluster.changes()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    if missing != "netaddr":
        site = next(tmp_path.glob("lib/python*/site-packages"))
        (site / "netaddr").symlink_to(Path(netaddr.__file__).parent)

    run = cluster.recover(cluster.web, ansible_python_interpreter=str(tmp_path / "bin/python"))

    assert run.status != 0
    assert run.message.startswith("web: ")
    assert f"library ({missing}" in run.message
    assert (changed(run), cluster.writes()) == ([], [])
    assert cluster.changes() == broken
