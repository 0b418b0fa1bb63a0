# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules checker_info and checker_maintenance do: ask the checker of this host how things stand, and have it repair nothing for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._control.client import NoChecker, ask
from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError, NotFound
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import parse_tag, text_table

#: Seconds from one question to the next while a takeover is waited for; in which the lease has to be held; and in which something has to begin then.
_AGAIN, _HELD_WITHIN, _BEGUN_WITHIN = 0.1, 15.0, 2.0
#: A failed attempt of so many seconds ago may be the one that is waited for: it may have been over when the wait began.
_JUST_NOW = 5.0
_LONGEST_WAIT = 3600.0


def checker_info(
    params: Mapping[str, Any], clock: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep
) -> dict[str, object]:
    """The return values of checker_info. Raises `BadInput`, and `HoldfastError` where a checker runs and cannot be asked."""
    tag, within = None if params["tag"] is None else parse_tag(params["tag"]), float(params["in_service_within"])
    if not 0 <= within <= _LONGEST_WAIT:
        raise BadInput(f"in_service_within: give seconds from 0 to {_LONGEST_WAIT:g}", path="in_service_within")
    if within and tag is None:
        raise BadInput("in_service_within: say with tag which resource is to come into service", path="in_service_within")
    begin = clock()
    while tag is not None and (waited := clock() - begin) < within and not _is_decided(tag, waited):
        pause(min(_AGAIN, within - waited))
    try:
        reply = ask("status")
    except NoChecker:
        return {"running": False, "status": None}
    status = {name: value for name, value in reply.items() if name != "ok"}
    if tag is not None:
        status["resources"] = [one for one in status["resources"] if one["tag"] == tag]
    return {"running": True, "status": status}


def _is_decided(tag: str, waited: float) -> bool:
    """Whether the resource is in service here and nothing is under way, or will not be soon."""
    try:
        one = ask("status", tag=tag)
    except NoChecker:  # it may be executing itself anew
        return waited >= _HELD_WITHIN
    if one["phase"] == "recovering":
        return False
    if one["held"]:
        up = one["serving"] and (one["in_service"] or one["phase"] == "watching")  # without a trigger nobody records it
        return bool(up) or one["phase"] in ("backing off", "held down", "paused") or waited >= _BEGUN_WITHIN
    last = one["last_recovery"]
    return waited >= _HELD_WITHIN or (last is not None and not last["ok"] and last["ago"] <= waited + _JUST_NOW)


@dataclass(frozen=True)
class Pauses:
    """For each resource that the checker watches whether it is paused, sorted by tag."""

    paused: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class SetPaused:
    """Pause or resume one resource."""

    tag: str
    pause: bool

    def __str__(self) -> str:
        return f"{'pausing' if self.pause else 'resuming'} {self.tag}"


class MaintenanceTask:
    """A `Reconciler` for the maintenance of one resource or of all that the checker watches. There is no order among them."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._tag = None if params["tag"] is None else parse_tag(params["tag"])
        self._pause = params["state"] == "paused"

    def observe(self) -> Pauses:
        """Ask the checker. Raises `NoChecker`, and `NotFound` for a resource that it does not watch."""
        watched = {str(one["tag"]): is_paused(one) for one in ask("status")["resources"]}
        if self._tag is None:
            return Pauses(tuple(sorted(watched.items())))
        if self._tag not in watched:
            raise NotFound(f"the checker of this host watches no resource {self._tag}; it has {', '.join(sorted(watched)) or 'none'}")
        return Pauses(((self._tag, watched[self._tag]),))

    def plan(self, state: Pauses) -> tuple[SetPaused, ...]:
        """One action for each resource that is not as wanted."""
        return tuple(SetPaused(tag, self._pause) for tag, paused in state.paused if paused is not self._pause)

    def simulate(self, state: Pauses, actions: tuple[SetPaused, ...]) -> Pauses:
        """With what was told."""
        told = {action.tag: action.pause for action in actions}
        return Pauses(tuple((tag, told.get(tag, paused)) for tag, paused in state.paused))

    def apply(self, actions: tuple[SetPaused, ...]) -> tuple[Attempt[SetPaused], ...]:
        """Tell the checker; each for itself."""
        return tuple(_attempt(action) for action in actions)

    def table(self, state: Pauses) -> str:
        """One row for each resource."""
        return text_table(("tag", "paused"), [(tag, "yes" if paused else "no") for tag, paused in state.paused])

    def result(self, run: Run[Pauses, SetPaused]) -> dict[str, object]:
        """The return values of checker_maintenance."""
        return {"resources": [{"tag": tag, "paused": paused} for tag, paused in run.after.paused]}


def is_paused(one: Mapping[str, Any]) -> bool:
    """Whether the checker says that it repairs nothing of a resource."""
    return bool(one.get("paused") or one.get("phase") == "paused")


def _attempt(action: SetPaused) -> Attempt[SetPaused]:
    try:
        ask("pause" if action.pause else "resume", tag=action.tag)
    except HoldfastError as error:
        return Attempt(action, error)
    return Attempt(action)
