# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a playbook of the collection as a user does, and read what each task did."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.netns import Namespace

_ROOT = Path(__file__).resolve().parents[2]
_CALLBACKS = Path(__file__).with_name("callback")
#: What Ansible itself needs; a user's own settings must not reach the lab.
_ENVIRONMENT = {
    "ANSIBLE_COLLECTIONS_PATH": str(_ROOT / ".tree"),
    "ANSIBLE_CALLBACK_PLUGINS": str(_CALLBACKS),
    "ANSIBLE_STDOUT_CALLBACK": "lab_report",
    "ANSIBLE_CONFIG": str(_CALLBACKS / "ansible.cfg"),
    "ANSIBLE_LOCALHOST_WARNING": "0",
    "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    "ANSIBLE_HOST_KEY_CHECKING": "0",
}
HERE = "localhost,"


@dataclass(frozen=True)
class TaskReport:
    """One task on one host. ``outcome``: ok, changed, failed, skipped or unreachable."""

    host: str
    task: str
    action: str
    outcome: str
    seconds: float
    result: Mapping[str, Any]


@dataclass(frozen=True)
class PlaybookRun:
    """What a run did. ``other``: what Ansible printed besides, warnings and errors."""

    status: int
    seconds: float
    tasks: tuple[TaskReport, ...]
    other: str

    @property
    def changed(self) -> tuple[TaskReport, ...]:
        """The tasks that changed something, or in check mode would have."""
        return tuple(task for task in self.tasks if task.outcome == "changed")

    @property
    def failed(self) -> tuple[TaskReport, ...]:
        """The tasks that failed, also those that the play recovered from."""
        return tuple(task for task in self.tasks if task.outcome == "failed")

    @property
    def message(self) -> str:
        """The message of the last task that failed."""
        return str(self.failed[-1].result.get("msg", "")) if self.failed else ""


def run_playbook(
    name: str,
    variables: Mapping[str, Any],
    *,
    where: Namespace,
    environment: Mapping[str, str],
    inventory: str | Path = HERE,
    words: Sequence[str] = (),
    collections: Path | None = None,
    seen: Callable[[TaskReport], object] = lambda report: None,
    began: Callable[[str], object] = lambda task: None,
) -> PlaybookRun:
    """Run ``holdfast.ha.NAME`` in a machine of the lab, or the playbook with the file name ``NAME``.

    :param inventory: An inventory file; by default the machine itself, without SSH.
    :param words: More of ansible-playbook's arguments, such as ``--check``.
    :param collections: Where the collection is; by default this tree's.
    :param seen: Is given each task's report as it comes.
    :param began: Is given each task's name as it begins.
    """
    local = ("--connection", "local") if inventory == HERE else ()
    reports: list[TaskReport] = []
    with tempfile.NamedTemporaryFile("w", suffix=".json") as extra, tempfile.TemporaryFile("w+") as errors:
        json.dump(dict(variables), extra)
        extra.flush()
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        book = name if name.endswith(".yml") else f"holdfast.ha.{name}"
        tree = {"ANSIBLE_COLLECTIONS_PATH": str(collections)} if collections else {}
        argv = [program, "--inventory", str(inventory), *local, "--extra-vars", f"@{extra.name}", *words, book]
        begin = time.monotonic()
        with subprocess.Popen(
            where.command(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**environment, **_ENVIRONMENT, **tree},
        ) as process:
            assert process.stdout is not None
            others = []
            for line in process.stdout:
                told = _told(line)
                if isinstance(told, TaskReport):
                    reports.append(told)
                    seen(told)
                elif told is not None:
                    began(told)
                else:
                    others.append(line)
        errors.seek(0)
        return PlaybookRun(process.returncode, time.monotonic() - begin, tuple(reports), "".join(others) + errors.read())


def _told(line: str) -> TaskReport | str | None:
    """A task's report, or the name of one that begins."""
    try:
        told = json.loads(line)
        return str(told["began"]) if "began" in told else TaskReport(**told)
    except (ValueError, TypeError):
        return None
