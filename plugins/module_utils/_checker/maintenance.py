# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules checker_info and checker_maintenance do: ask the checker of this host how things stand, and have it repair nothing for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.client import NoChecker, ask
from ansible_collections.holdfast.ha.plugins.module_utils._converge import Attempt, Run
from ansible_collections.holdfast.ha.plugins.module_utils._errors import HoldfastError, NotFound
from ansible_collections.holdfast.ha.plugins.module_utils._model import parse_tag, text_table


def checker_info(params: Mapping[str, Any]) -> dict[str, object]:
    """The return values of checker_info. Raises `HoldfastError` where a checker runs and cannot be asked."""
    tag = None if params["tag"] is None else parse_tag(params["tag"])
    try:
        reply = ask("status")
    except NoChecker:
        return {"running": False, "status": None}
    status = {name: value for name, value in reply.items() if name != "ok"}
    if tag is not None:
        status["resources"] = [one for one in status["resources"] if one["tag"] == tag]
    return {"running": True, "status": status}


@dataclass(frozen=True)
class Pauses:
    """For each resource that the checker watches whether it is paused, sorted by tag."""

    paused: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Tell:
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

    def plan(self, state: Pauses) -> tuple[Tell, ...]:
        """One action for each resource that is not as wanted."""
        return tuple(Tell(tag, self._pause) for tag, paused in state.paused if paused is not self._pause)

    def simulate(self, state: Pauses, actions: tuple[Tell, ...]) -> Pauses:
        """With what was told."""
        told = {action.tag: action.pause for action in actions}
        return Pauses(tuple((tag, told.get(tag, paused)) for tag, paused in state.paused))

    def apply(self, actions: tuple[Tell, ...]) -> tuple[Attempt[Tell], ...]:
        """Tell the checker; each for itself."""
        return tuple(_attempt(action) for action in actions)

    def table(self, state: Pauses) -> str:
        """One row for each resource."""
        return text_table(("tag", "paused"), [(tag, "yes" if paused else "no") for tag, paused in state.paused])

    def result(self, run: Run[Pauses, Tell]) -> dict[str, object]:
        """The return values of checker_maintenance."""
        return {"resources": [{"tag": tag, "paused": paused} for tag, paused in run.after.paused]}


def is_paused(one: Mapping[str, Any]) -> bool:
    """Whether the checker says that it repairs nothing of a resource."""
    return bool(one.get("paused") or one.get("phase") == "paused")


def _attempt(action: Tell) -> Attempt[Tell]:
    try:
        ask("pause" if action.pause else "resume", tag=action.tag)
    except HoldfastError as error:
        return Attempt(action, error)
    return Attempt(action)
