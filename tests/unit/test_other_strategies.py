# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategies that run modules without Ansible's own wrapper, such as Mitogen's: a module cannot start itself again with another Python there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from harness.module import run_module

BROUGHT = "/opt/holdfast/venv/bin/python"


STORE = {"type": "dynamodb", "table": "holdfast", "region": "eu-central-1"}
CASES = [("ip_resource_info", "netaddr", {}), ("lease_info", "boto3", {"cluster": "web-prod", "tag": "web", "store": STORE})]


@pytest.mark.parametrize(("module", "library", "given"), CASES)
@pytest.mark.parametrize("installed", [True, False])
def test_a_missing_library_is_told_in_one_line(tmp_path: Path, module: str, library: str, given: dict[str, Any], installed: bool) -> None:
    python = tmp_path / "python"
    lines = (
        "import os, sys",
        f"sys.modules[{library!r}] = None",
        "access = os.access",
        f"os.access = lambda path, mode: {installed} if path == {BROUGHT!r} else access(path, mode)",
    )
    (tmp_path / "sitecustomize.py").write_text("\n".join(lines))
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}:$PYTHONPATH exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    answer = run_module(module, given, python=str(python))
    assert answer["failed"]
    assert library in answer["msg"]
    assert (f"Set ansible_python_interpreter to {BROUGHT}" in answer["msg"]) is installed
