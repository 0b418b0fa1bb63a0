# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module of the collection the way Ansible does on a node: as a process that reads its arguments and prints JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable

from lab.netns import Namespace

_ROOT = Path(__file__).resolve().parents[2]
TREE = _ROOT / ".tree"
#: AWS settings of the person who runs the tests must not reach a test.
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")
#: What the modules run with where a test names no Python. The marker `python39` changes it for a test.
PYTHON = sys.executable


def run_module(
    name: str,
    args: dict[str, Any],
    *,
    where: Namespace | None = None,
    check: bool = False,
    diff: bool = True,
    env: dict[str, str] | None = None,
    timeout: float = 120,
    python: str = "",
) -> dict[str, Any]:
    """The module's JSON answer; ``failed`` is always in it. ``where``: the namespace to run in, else this machine.

    Asserts what holds for every module: exactly one JSON document on standard output, no traceback, a message of one line.
    """
    given = {**args, "_ansible_check_mode": check, "_ansible_diff": diff}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as handle:
        json.dump({"ANSIBLE_MODULE_ARGS": given}, handle)
        handle.flush()
        argv = [python or PYTHON, "-m", f"ansible_collections.holdfast.ha.plugins.modules.{name}", handle.name]
        done = subprocess.run(
            where.command(argv) if where else argv,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**{key: os.environ[key] for key in _PASSED_ON if key in os.environ}, "PYTHONPATH": str(TREE), **(env or {})},
        )
    assert "Traceback" not in done.stderr, done.stderr
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"{name} printed no JSON (exit {done.returncode}): {done.stdout!r} {done.stderr!r}") from None
    answer.setdefault("failed", False)
    assert "\n" not in str(answer.get("msg", "")), answer["msg"]
    assert "defect in holdfast.ha" not in str(answer.get("msg", "")), answer
    return answer


def twelve_steps(
    run: Callable[[dict[str, Any], bool], dict[str, Any]],
    snapshot: Callable[[], object],
    create: dict[str, Any],
    change: dict[str, Any],
    remove: dict[str, Any] | None,
) -> None:
    """The idempotence cycle: for create, change and remove each: check mode twice, then for real twice.

    :param run: Runs the module with arguments and a check-mode flag.
    :param snapshot: Everything that the module could have touched, comparable with ``==``.
    """
    for args in (create, change, remove):
        if args is None:
            continue
        before = snapshot()
        foreseen = run(args, True)
        assert not foreseen["failed"], foreseen
        assert foreseen["changed"] is True, foreseen
        assert run(args, True)["changed"] is True
        assert snapshot() == before, "check mode changed something"
        real = run(args, False)
        assert not real["failed"], real
        assert real["changed"] is True, real
        assert real.get("diff") == foreseen.get("diff"), f"check mode foresaw something else: {foreseen} but {real}"
        after = snapshot()
        assert after != before
        assert run(args, True)["changed"] is False
        assert run(args, False)["changed"] is False
        assert snapshot() == after, "the second run changed something"
