# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of the tests shows a person, and how the tests are shared out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("harness", reason="ansible-test does not offer the harness")
from harness import gates, progress, workers

ROOT = Path(__file__).resolve().parents[2]
THREE = """
import pytest
@pytest.mark.parametrize("number", range(3))
def test_number(number):
    assert number != {bad}
"""


def test_the_line():
    running = {"tests/unit/test_a.py::test_x": 3.2, "tests/integration/net/test_b.py::test_y": 75.0}
    shown = progress.line(130, 65, 200, 40, 1, running)
    assert shown == "2:10  40 of 200 tests, 1 failed, about 1:05 left; running: net/test_b.py::test_y (1:15), unit/test_a.py::test_x (0:03)"
    assert progress.line(0, 0, 1, 1, 0, {}).endswith("1 of 1 tests, about 0:00 left; running: nothing")


TWICE = """
import pytest
tries = []
@pytest.mark.flaky(reruns=1)
def test_twice():
    print("what was seen")
    tries.append(1)
    assert len(tries) == 2
"""


def run(folder, text, *words):
    (folder / "test_three.py").write_text(text)
    argv = [sys.executable, "-m", "pytest", f"--rootdir={ROOT}", f"-c{ROOT}/pyproject.toml", f"--confcutdir={ROOT}", "-p", "harness.progress"]
    environment = {"PYTHONPATH": str(ROOT / "tests"), "PATH": str(Path(sys.executable).parent)}
    return subprocess.run([*argv, *words, "test_three.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("spread", [(), ("-n", "2")])
def test_a_test_that_is_run_again_shows_why(tmp_path, spread):
    done = run(tmp_path, TWICE, *spread)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^RERUN  \S*::test_twice \(call\): .*", done.stdout, re.MULTILINE)
    assert "assert 1 == 2" in done.stdout
    assert "--- Captured stdout call\nwhat was seen\n" in done.stdout


@pytest.mark.parametrize("spread", [(), ("-n", "2")])
def test_a_run(tmp_path, spread):
    done = run(tmp_path, THREE.format(bad=1), *spread)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^FAILED  \S*::test_number\[1\] \(call\): .*", done.stdout, re.MULTILINE)
    assert not re.search(r"^\S*[.F]{2,}", done.stdout, re.MULTILINE), "there are dots"
    assert re.search(r"^=+ 1 failed, 2 passed in \S+s =+$", done.stdout, re.MULTILINE), "pytest's closing line is missing"


def test_groups():
    assert workers.group("tests/integration/monitor/test_a.py::test_x") == workers.group("tests/integration/monitor/test_b.py::test_y[1]")
    assert workers.group("tests/integration/net/test_a.py::test_x") != workers.group("tests/integration/net/test_b.py::test_x")


def test_gates_start_with_the_longest():
    assert gates.in_order(["types", "style", "ansible-lint", "ansible-test-sanity"]) == ["ansible-test-sanity", "ansible-lint", "style", "types"]
