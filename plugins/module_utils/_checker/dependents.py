# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs the address: stopped in reverse order, within the time that is left, before the address goes."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.trigger_settings import Order, Outcome
from ansible_collections.holdfast.ha.plugins.module_utils._model import Dependent

Log = Callable[..., None]
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
        if outcome.ok and outcome.final:
            return True
        log("trouble", tag=tag, reason=f"the dependents could not be stopped by their playbook: {outcome.message}")
    stopped = [_stop_unit(tag, one.service, one.timeout, log) for one in reversed(dependents) if one.service]
    return all(stopped) and len(stopped) == len(dependents)


def _stop_unit(tag: str, unit: str, limit: float, log: Log) -> bool:
    begin = time.monotonic()
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            ["systemctl", "stop", unit], capture_output=True, text=True, check=False, timeout=limit, stdin=subprocess.DEVNULL
        )
        cause = "" if done.returncode == 0 else " ".join(done.stderr.split()) or f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        cause = f"it did not end within {limit:g} s"
    except OSError as error:
        cause = error.strerror or str(error)
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
        try:
            argv = ["systemctl", "is-active", *units]
            done = subprocess.run(  # pylint: disable=ansible-bad-function
                argv, capture_output=True, text=True, check=False, timeout=5, stdin=subprocess.DEVNULL
            )
            shown = done.stdout.split()
        except (OSError, subprocess.TimeoutExpired):
            shown = []
        found = dict(zip(units, shown)) if len(shown) == len(units) else {}
    return [{"name": one.name, "kind": "service" if one.service else "tasks", "state": found.get(one.service or "", "unknown")} for one in dependents]
