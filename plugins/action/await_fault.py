# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits for the order of the checker that started this run in advance; the module await_fault documents it.

What the order needs on EC2 alone is done here and now: the next task would begin a tenth of a second later, and clients wait.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from typing import Any

from ansible.plugins.action import ActionBase

#: No order of a checker is longer, in bytes.
_LONGEST = 65536
#: What the task has then done, as the run's report tells it: the name of the task of the role local_recovery that does the same.
_LED = "Let route table entries and Elastic IP lead here"
_NOTHING: tuple[str, dict[str, Any]] = ("", {})
#: The names of faults that the kernel has no part in.
_ON_EC2 = frozenset({"source_dest_check", "routes", "elastic_ip"})


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs in Ansible's worker, which has the socket from the process that the checker started."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The order, or a failure of one line."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        spec = {"socket": {"type": "int", "required": True}, "aws": {"type": "dict", "default": {}, "no_log": True}}
        _spec, given = self.validate_argument_spec(argument_spec=spec)
        if self._task.check_mode:
            return {**result, "skipped": True, "msg": "in check mode there is nothing to wait for"}
        number = given["socket"]
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                raise OSError
            line = socket.socket(fileno=os.dup(number))
        except OSError:
            return _failed(result, f"socket: {number} is no socket of this process; only the checker starts a run that waits for it")
        with line:
            return _wait(result, line, given["aws"])


def _wait(result: dict[str, Any], line: socket.socket, aws: dict[str, Any]) -> dict[str, Any]:
    line.setblocking(True)
    try:
        line.sendall(b'{"waiting":true}\n')
        with line.makefile("rb") as orders:
            text = orders.readline(_LONGEST)
    except OSError:
        text = b""
    if not text.endswith(b"\n"):
        return _failed(result, "the checker that started this run is gone, so there is nothing to do")
    try:
        order = json.loads(text)
        facts = {name: order[name] for name in ("tag", "reason", "faults")}
    except (ValueError, KeyError, TypeError):
        return _failed(result, "the checker sent something that is not an order; do its version and the collection's agree?")
    interface, led = _lead(facts["tag"], facts["faults"], aws)
    did = {"did": _LED} if led.get("changed") else {}
    return {**result, "changed": bool(did), **facts, "interface": interface, "led": led, **did}


def _lead(tag: str, faults: list[str], aws: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The link of the address and what ec2_resource answered, where there is something that needs no look at anything else; otherwise nothing.

    So it is where only EC2 is at fault, and where the checker has just put up an address that came from another node: the VPC leads there still.
    """
    from ansible_collections.holdfast.ha.plugins.module_utils._checker.client import ask
    from ansible_collections.holdfast.ha.plugins.module_utils._ec2.arguments import lead_here
    from ansible_collections.holdfast.ha.plugins.module_utils._errors import HoldfastError
    from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store
    from ansible_collections.holdfast.ha.plugins.module_utils._run import Asked, answer_here
    from ansible_collections.holdfast.ha.plugins.modules import ec2_resource

    if not set(faults) <= _ON_EC2:
        return _NOTHING
    try:
        known, here = Store().effective(tag), ask("status", tag=tag)
        parts = known.resource.ec2 if known.resource is not None else None
        if parts is None or not (here["held"] and here["serving"]) or bool(known.in_service) != bool(faults):
            return _NOTHING
    except (HoldfastError, KeyError):
        return _NOTHING  # the whole repair will say why
    options = lead_here(parts, known.address, known.interface, faults or _ON_EC2, aws)
    if not options:
        return _NOTHING
    answer = answer_here(ec2_resource.main, Asked("holdfast.ha.ec2_resource", options, check=False, diff=False)) or {}
    return known.interface, {name: value for name, value in answer.items() if name not in ("invocation", "exception")}


def _failed(result: dict[str, Any], message: str) -> dict[str, Any]:
    return {**result, "failed": True, "msg": message}
