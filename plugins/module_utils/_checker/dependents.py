# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs the address: stopped in reverse order, within the time that is left, before the address goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.programs import run_command
from ansible_collections.holdfast.ha.plugins.module_utils._checker.trigger_settings import Order, Outcome
from ansible_collections.holdfast.ha.plugins.module_utils._model import Dependent

Log = Callable[..., None]
#: Seconds that systemctl may need to print the states of units.
_STATE_LIMIT = 5.0
RunOrder = Callable[[Order, threading.Event], Outcome]


def stop_all(tag: str, dependents: Sequence[Dependent], run: RunOrder | None, log: Log, limit: float) -> bool:
    """Stop them, the last one first, and wait for that ``limit`` seconds at most; the rest is stopped all the same, in the background.

    :param run: Has a playbook run, for those that are task files; ``None`` where there is no trigger.
    :returns: Whether all had stopped in time.
    """
    if not dependents:
        return True
    done: list[bool] = []
    worker = threading.Thread(target=lambda: done.append(_stop(tag, dependents, run, log)), name=f"dependents {tag}", daemon=True)
    worker.start()
    worker.join(max(0.0, limit))
    if not done and limit > 0:
        log("trouble", tag=tag, reason=f"the dependents had not stopped within {limit:.1f} s; they are stopped without the address")
    return done == [True]


def _stop(tag: str, dependents: Sequence[Dependent], run: RunOrder | None, log: Log) -> bool:
    if run is not None and any(one.tasks for one in dependents):
        outcome = run(Order(tag, "dependents", "the resource leaves this node", (), {"state": "stopped"}), threading.Event())
        if outcome.ok:
            return True
        log("trouble", tag=tag, reason=f"the dependents could not be stopped by their playbook: {outcome.message}")
    stopped = [_stop_unit(tag, one.service, one.timeout, log) for one in reversed(dependents) if one.service]
    return all(stopped) and len(stopped) == len(dependents)


def _stop_unit(tag: str, unit: str, limit: float, log: Log) -> bool:
    begin = time.monotonic()
    done = run_command(["systemctl", "stop", "--", unit], limit)
    cause = "" if done.rc == 0 else " ".join(done.stderr.split()) or f"exit code {done.rc}"
    if cause:
        log("trouble", tag=tag, reason=f"{unit} could not be stopped: {cause}")
    else:
        log("dependent stopped", tag=tag, unit=unit, seconds=round(time.monotonic() - begin, 3))
    return not cause


def states(dependents: Sequence[Dependent]) -> list[dict[str, Any]]:
    """As the status shows them. What a task file started cannot be looked at."""
    units = [one.service for one in dependents if one.service]
    found: dict[str, str] = {}
    if units:
        shown = run_command(["systemctl", "is-active", "--", *units], _STATE_LIMIT).stdout.split()
        found = dict(zip(units, shown)) if len(shown) == len(units) else {}
    return [{"name": one.name, "kind": "service" if one.service else "tasks", "state": found.get(one.service or "", "unknown")} for one in dependents]
