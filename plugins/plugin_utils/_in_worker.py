# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The second door to a module: on a local connection its work is done in Ansible's worker, without the process of its own that takes most time.

Both doors lead to the same core, and give the same answer. Where anything about the task asks for a process (another user, an environment, async, a
remote connection, another Python, a library that is missing here), the module is run as ever.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.holdfast.ha.plugins.module_utils._core.run import Invocation, answer_here


class InWorker(ActionBase):  # type: ignore[misc]
    """Each subclass is the action plugin of the module that its file is named like."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True
    _supports_async = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's answer."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        answer = self._answer_here() if self._may_stay(task_vars or {}) else None
        if answer is None:
            answer = self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val)
        elif not _returns_invocation(task_vars or {}):
            answer = {name: value for name, value in answer.items() if name != "invocation"}
        return {**result, **answer}

    def _may_stay(self, task_vars: dict[str, Any]) -> bool:
        """Whether a process of its own would do nothing else."""
        if not _is_ours(str(task_vars.get("ansible_python_interpreter") or "auto")):
            return False
        if getattr(self._connection, "transport", "") != "local" or self._task.async_val or any(self._task.environment or ()):
            return False
        become = getattr(self._connection, "become", None)
        return become is None or (os.geteuid() == 0 and self.get_become_option("become_user") in (None, "", "root"))

    def _answer_here(self) -> dict[str, Any] | None:
        try:
            args = json.loads(json.dumps(self._task.args))  # plain values, as a module gets them
        except (TypeError, ValueError):
            return None  # something that only Ansible's own way of passing arguments can carry
        name = type(self).__module__.rpartition(".")[2]
        module = importlib.import_module(f"ansible_collections.holdfast.ha.plugins.modules.{name}")
        return answer_here(module.main, Invocation(self._task.action, args, bool(self._task.check_mode), bool(self._task.diff)))


class OnController(InWorker):
    """The action plugin of a module that only plans: it needs the results of other tasks and nothing of a node, so it never runs there."""

    def _may_stay(self, task_vars: dict[str, Any]) -> bool:
        return True


def _returns_invocation(task_vars: dict[str, Any]) -> bool:
    """Whether a module's answer has the arguments that it was given: from ansible-core 2.21 on only if somebody asks for it."""
    try:
        return bool(C.config.get_config_value("INJECT_INVOCATION", variables=task_vars))
    except AnsibleError:
        return True


def _is_ours(interpreter: str) -> bool:
    """Whether this is the Python that runs Ansible, by the same environment's name for it, or left to Ansible to find."""
    if interpreter.startswith("auto"):
        return True
    here, there = Path(sys.executable), Path(interpreter)
    return here.parent == there.parent and here.resolve() == there.resolve()
