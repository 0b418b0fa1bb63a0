# SPDX-License-Identifier: GPL-3.0-or-later
"""A stdout callback for programs: a JSON line for each task that begins, and one when it ended on a host: how long it took, what it changed."""

from __future__ import annotations

import json
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: lab_report
type: stdout
short_description: One JSON line for each task that ended
description: Used by the lab's demonstration and by tests, which read what a playbook did.
"""


def _named(task: Any) -> str:
    return str(task.get_name().removeprefix("holdfast.ha.local_recovery : "))


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Prints results as they come."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "lab_report"

    def __init__(self) -> None:
        super().__init__()
        self._began: dict[str, float] = {}

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._began[task._uuid] = time.monotonic()
        self._display.display(json.dumps({"began": _named(task)}))

    def v2_runner_on_ok(self, result: Any) -> None:
        self._report("changed" if result._result.get("changed") else "ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._report("failed", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._report("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._report("unreachable", result)

    def _report(self, outcome: str, result: Any) -> None:
        began = self._began.get(result._task._uuid, time.monotonic())
        line = {
            "host": result._host.get_name(),
            "task": _named(result._task),
            "action": result._task.action,
            "outcome": outcome,
            "seconds": round(time.monotonic() - began, 3),
            "result": {key: value for key, value in result._result.items() if not key.startswith("_")},
        }
        self._display.display(json.dumps(line, default=str))
