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
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from ansible.plugins.action import ActionBase

#: No order of a checker is longer, in bytes.
_LONGEST = 65536
#: What the task has then done, as the run's report tells it: the name of the task of the role local_recovery that does the same.
_LED = "Let route table entries and Elastic IP lead here"
_NOTHING: tuple[str, str, dict[str, Any]] = ("", "", {})
#: So many resources are led at the same time.
_AT_ONCE = 5


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
    from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.repair import source_route

    led = _lead(facts["tag"], facts["faults"], aws)
    interface, host, own = led.pop(facts["tag"], _NOTHING)
    others = {tag: answer for tag, (_link, _host, answer) in led.items()}
    changed = sorted(tag for tag, answer in others.items() if answer.get("changed"))
    did = f"{_LED}, for {', '.join(changed)} too" if changed else _LED
    done = {"changed": True, "did": did} if changed or own.get("changed") else {"changed": False}
    return {**result, **facts, "interface": interface, "led": own, "source_route": source_route(own, host, interface), "others": others, **done}


def _lead(tag: str, faults: list[str], aws: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """By tag: the link of the address, the address and what ec2_resource answered, where there is something that needs no look at anything else.

    So it is where only EC2 is at fault, and where the checker has just put up an address that came from another node: the VPC leads there still.
    Other resources of this node whose recovery is ordered too are led with it: they would wait for their turn, and their clients as well.
    """
    from ansible_collections.holdfast.ha.plugins.module_utils._control.client import ask
    from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError

    under_way: dict[str, tuple[str, str, Future[dict[str, Any]]]] = {}
    seen: set[str] = set()
    with ThreadPoolExecutor(_AT_ONCE) as pool:

        def begin(orders: dict[str, tuple[dict[str, Any], list[str]]]) -> bool:
            """Whether there was anything to do."""
            seen.update(orders)
            tasks = {name: task for name, (here, wrong) in orders.items() if (task := _task(here, name, wrong, aws))}
            under_way.update({name: (link, host, pool.submit(_answer, options)) for name, (link, host, options) in tasks.items()})
            return bool(tasks)

        try:
            if not begin({tag: (ask("status", tag=tag), faults)}):
                return {}  # the order is about more than that, and is not to wait for others
            first = True
            while begin({one["tag"]: (one, one["ordered"]) for one in _others(seen)}) or first:
                first = False
                wait([answer for _link, _host, answer in under_way.values()])
        except (HoldfastError, KeyError):
            pass  # the whole repair will say why
    return {name: (link, host, answer.result()) for name, (link, host, answer) in under_way.items()}


def _others(seen: set[str]) -> list[dict[str, Any]]:
    """What the checker says of further resources whose recovery is ordered. Not asked where there are no further ones: it takes a while."""
    from ansible_collections.holdfast.ha.plugins.module_utils._control.client import ask
    from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

    if seen.issuperset(Store().tags()):
        return []
    return [one for one in ask("status")["resources"] if one["tag"] not in seen and one["ordered"] is not None]


def _task(here: dict[str, Any], tag: str, faults: list[str], aws: dict[str, Any]) -> tuple[str, str, dict[str, Any]] | None:
    """The link of the address, the address, and the options of ec2_resource."""
    from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
    from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.ec2_repair import ordered_on_ec2, resource_options
    from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store

    wanted = ordered_on_ec2(faults)
    if not wanted or not (here["held"] and here["serving"]):
        return None
    try:
        known = Store().effective(tag)
    except HoldfastError:
        return None
    parts = known.resource.ec2 if known.resource is not None else None
    if parts is None or bool(known.in_service) != bool(faults):
        return None
    options = resource_options(parts, known.address.host, known.interface, wanted, aws)
    return (known.interface, known.address.host, options) if options else None


def _answer(options: dict[str, Any]) -> dict[str, Any]:
    from ansible_collections.holdfast.ha.plugins.module_utils._core.run import Invocation, answer_here
    from ansible_collections.holdfast.ha.plugins.modules import ec2_resource

    answer = answer_here(ec2_resource.main, Invocation("holdfast.ha.ec2_resource", options, check=False, diff=False)) or {}
    return {name: value for name, value in answer.items() if name not in ("invocation", "exception")}


def _failed(result: dict[str, Any], message: str) -> dict[str, Any]:
    return {**result, "failed": True, "msg": message}
