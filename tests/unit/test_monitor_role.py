# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role monitor brings to a node runs there as DESIGN.md section 7 says, from a checkout and from a collection of Galaxy's alike."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import jinja2
import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "ansible_collections.holdfast.ha.plugins.module_utils._checker"


def pack(collection: Path, archive: Path) -> str:
    """Returns the name of the content."""
    argv = [sys.executable, str(ROOT / "roles/monitor/files/archive.py"), str(collection), str(archive)]
    return str(json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)["id"])


@pytest.mark.parametrize("from_galaxy", [False, True])
def test_the_packed_collection_is_run_by_its_name(tmp_path: Path, from_galaxy: bool) -> None:
    collection = ROOT
    if from_galaxy:  # which lacks what galaxy.yml leaves out
        collection = tmp_path / "collection"
        for name in ("plugins", "meta"):
            shutil.copytree(ROOT / name, collection / name, ignore=shutil.ignore_patterns("__pycache__", "__main__.py"))
    name = pack(collection, tmp_path / "one.tar")
    assert pack(collection, tmp_path / "two.tar") == name, "the same files, and yet another version"
    node = tmp_path / "node"
    with tarfile.open(tmp_path / "one.tar") as archive:
        archive.extractall(node, filter="data")
    environment = {"PYTHONPATH": str(node), "PYTHONDONTWRITEBYTECODE": "1"}
    told = subprocess.run([sys.executable, "-m", PROGRAM, "--help"], env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("usage: holdfast-checker")


@pytest.mark.parametrize("may_reboot", [False, True])
def test_the_checker_may_restart_the_machine_only_where_a_resource_asks_for_it(may_reboot: bool) -> None:
    template = jinja2.Template((ROOT / "roles/monitor/templates/holdfast-checker.service.j2").read_text(encoding="utf-8"))
    unit = template.render(
        monitor_home="/opt/holdfast",
        monitor_longest_stop=150,
        monitor_writable=[],
        monitor_needed=["CAP_NET_ADMIN"],
        monitor_capabilities=[],
        monitor_may_reboot=may_reboot,
    )
    lines = unit.splitlines()
    assert ("CapabilityBoundingSet=CAP_NET_ADMIN CAP_SYS_BOOT" in lines, "SystemCallFilter=@system-service @reboot" in lines) == (may_reboot,) * 2
    assert ("CapabilityBoundingSet=CAP_NET_ADMIN" in lines, "SystemCallFilter=@system-service" in lines) == (not may_reboot,) * 2
