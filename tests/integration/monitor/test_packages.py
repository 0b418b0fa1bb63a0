# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages that the role monitor installs as root: those that are pinned, and from nowhere that another user can write."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

_ROOT = Path(__file__).resolve().parents[3]
_PINS = _ROOT / "roles/monitor/files/requirements.txt"


def wheel(folder: Path, content: str) -> Path:
    """A package with one module."""
    path = folder / "pinned-1.0-py3-none-any.whl"
    about = "pinned-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pinned.py", content)
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: pinned\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def bring(tmp_path: Path, wheelhouse: Path, pins: str) -> tuple[str, list[Path]]:
    """Run the role's tasks; the failure that a user reads, and the modules that are there afterwards."""
    (tmp_path / "pins.txt").write_text(pins)
    variables: dict[str, Any] = {
        "ansible_python_interpreter": sys.executable,
        "monitor_base_python": sys.executable,
        "monitor_home": str(tmp_path / "home"),
        "monitor_requirements": str(tmp_path / "pins.txt"),
        "monitor_wheelhouse": str(wheelhouse),
    }
    role = {"ansible.builtin.include_role": {"name": "holdfast.ha.monitor", "tasks_from": "venv"}}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [role]}]))
    words = ["-i", "localhost,", "-e", json.dumps(variables), str(tmp_path / "play.yml")]
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(_ROOT / ".tree"), "HOME": str(tmp_path), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run([str(program), *words], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    told = [json.loads(line.partition("=> ")[2]) for line in done.stdout.splitlines() if line.startswith("fatal:")]
    assert (done.returncode == 0) is (not told), done.stdout + done.stderr
    return "".join(f"{one['msg']} {one.get('stderr', '')}" for one in told), [*(tmp_path / "home").rglob("site-packages/pinned.py")]


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Path:
    place = tmp_path / "wheels"
    place.mkdir(mode=0o755)
    return place


def pin(path: Path) -> str:
    return f"pinned==1.0 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def test_the_package_that_is_pinned_is_installed_and_no_other_of_its_name(tmp_path: Path, wheelhouse: Path) -> None:
    pins = pin(wheel(wheelhouse, "meant = True\n"))
    assert bring(tmp_path, wheelhouse, pins)[0] == ""
    (tmp_path / "home").rename(tmp_path / "before")
    wheel(wheelhouse, "meant = False\n")
    told, there = bring(tmp_path, wheelhouse, pins)
    assert "DO NOT MATCH THE HASHES" in told
    assert there == []
    told, there = bring(tmp_path, wheelhouse, "pinned==1.0\n")
    assert "Hashes are required" in told
    assert there == []


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, wheelhouse: Path, mode: int) -> None:
    pins = pin(wheel(wheelhouse, "meant = True\n"))
    wheelhouse.chmod(mode)
    told, there = bring(tmp_path, wheelhouse, pins)
    assert told.startswith(f"the packages in {wheelhouse} are refused: root installs them")
    assert "\n" not in told
    assert there == []


def test_each_package_of_a_node_has_hashes() -> None:
    pins = [line for line in _PINS.read_text().replace("\\\n", "").splitlines() if not line.startswith("#")]
    assert len(pins) > 10
    assert [line for line in pins if "--hash=sha256:" not in line] == []
