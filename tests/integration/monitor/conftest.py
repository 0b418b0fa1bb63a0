# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab with two nodes that boot, for all tests of this folder; installed by the first of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import Installed
from lab import booted
from lab.vpc import Lab

_ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    if booted.why_not():
        pytest.skip(booted.why_not())
    wheels = booted.wheels(_ROOT / "roles/monitor/files/requirements.txt")
    folder = tmp_path_factory.mktemp("monitor")
    version = folder / "collection"  # what a release has; a copy, so that a test can make a newer one of it
    for name in ("plugins", "roles", "playbooks", "meta"):
        shutil.copytree(_ROOT / name, version / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("galaxy.yml", "LICENSE", "README.md"):
        shutil.copy(_ROOT / name, version)
    with Lab(f"mo{os.getpid()}-", booted=True, binds={wheels: booted.WHEELS}) as lab:
        made = Installed(lab, folder)
        made.variables["monitor_collection"] = str(version)
        yield made


@pytest.fixture
def active(cluster: Installed) -> str:
    """All is well; the node that it is on."""
    return cluster.reset()
