# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits for the order of the checker that started this run in advance; the module await_fault documents it."""

from __future__ import annotations

import json
import os
import socket
import stat
from typing import Any

from ansible.plugins.action import ActionBase

#: No order of a checker is longer, in bytes.
_LONGEST = 65536
#: The names of faults that the kernel has no part in.
_ON_EC2 = frozenset({"source_dest_check", "routes", "elastic_ip"})


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs in Ansible's worker, which has the socket from the process that the checker started."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The order, or a failure of one line."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _spec, given = self.validate_argument_spec(argument_spec={"socket": {"type": "int", "required": True}})
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
            return _wait(result, line)


def _wait(result: dict[str, Any], line: socket.socket) -> dict[str, Any]:
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
    return {**result, "changed": False, **facts, "interface": _interface(facts["tag"], facts["faults"])}


def _interface(tag: str, faults: list[str]) -> str:
    """The link that the address is on, where nothing but EC2 is to be repaired and this node holds the lease; otherwise empty."""
    from ansible_collections.holdfast.ha.plugins.module_utils._checker.client import ask
    from ansible_collections.holdfast.ha.plugins.module_utils._errors import HoldfastError
    from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

    if not faults or not set(faults) <= _ON_EC2:
        return ""
    try:
        known = Store().effective(tag)
        return known.interface if known.in_service and ask("status", tag=tag)["held"] else ""
    except (HoldfastError, KeyError):
        return ""  # the whole repair will say why


def _failed(result: dict[str, Any], message: str) -> dict[str, Any]:
    return {**result, "failed": True, "msg": message}
