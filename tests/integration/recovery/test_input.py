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
    ("wrong", "says"),
    [
        ({"address": "10.1.0.10"}, "address: '10.1.0.10' is not an address in CIDR notation; it needs a prefix length"),
        ({"tag": "web" * 400_000}, "is not a text of 1 to 256 printable characters"),
    ],
    ids=["address", "tag"],
)
def test_refused_before_anything_changes(cluster: Cluster, wrong: dict[str, Any], says: str) -> None:
    """Of each way that bad input takes, one; every row is in the tables of the core."""
    for trouble in ("forgotten-table", "address-deleted"):
        strike(cluster.lab, trouble)
    broken = cluster.changes()

    run = cluster.recover({**cluster.web, **wrong})

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
