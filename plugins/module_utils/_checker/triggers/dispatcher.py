# SPDX-License-Identifier: GPL-3.0-or-later
"""Triggers in their order: the next one is asked where one cannot have the order run (DESIGN.md section 7)."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.awx import AwxRunner
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.playbook import PlaybookRunner
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.playbook_run import cut
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import (
    AwxTrigger,
    CannotStart,
    Order,
    Outcome,
    PlaybookTrigger,
    TriggerSettings,
    WebhookTrigger,
    parse_triggers,
)
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.webhook import WebhookRunner

__all__ = ["CannotStart", "Order", "Outcome", "TriggerSettings", "Triggers", "parse_triggers"]

Log = Callable[..., None]
FOLDER, DEFINITIONS = Path("/run/holdfast"), Path("/etc/holdfast/resources")


class Runner(Protocol):
    """One trigger."""

    name: str
    #: What it runs; empty for all.
    playbooks: tuple[str, ...]

    def run(self, order: Order, cancel: threading.Event) -> Outcome:
        """Until its end. Raises `CannotStart`."""


class Triggers:
    """All of them. Safe from several threads; that a resource has one run at a time is the caller's to see to.

    :param log: Takes the name of an event and its facts.
    :param folder: A private folder for the armed run.
    :param definitions: Where the resources are defined.
    """

    def __init__(
        self,
        settings: Sequence[TriggerSettings],
        log: Log,
        *,
        cluster: str = "",
        node: str = "",
        folder: Path = FOLDER,
        definitions: Path = DEFINITIONS,
    ) -> None:
        self._log = log
        self._runners: list[Runner] = []
        for one in settings:
            if isinstance(one, PlaybookTrigger):
                self._runners.append(PlaybookRunner(one, log, folder=folder, definitions=definitions))
            elif isinstance(one, AwxTrigger):
                self._runners.append(AwxRunner(one))
            elif isinstance(one, WebhookTrigger):
                self._runners.append(WebhookRunner(one, cluster, node))

    def run(self, order: Order, cancel: threading.Event) -> Outcome:
        """Have it run and wait for its end, its time-out or ``cancel``. Never raises for what can go wrong outside of us."""
        begin, causes = time.monotonic(), []
        for runner in self._runners:
            if cancel.is_set():
                causes.append("it was called off")
                break
            if runner.playbooks and order.playbook not in runner.playbooks:
                causes.append(f"{runner.name}: it does not run {order.playbook}; add a trigger of type playbook")
                continue
            if not isinstance(runner, PlaybookRunner):  # that one says more
                self._log("run started", tag=order.tag, trigger=runner.name, playbook=order.playbook, reason=order.reason)
            try:
                outcome = runner.run(order, cancel)
            except CannotStart as error:
                causes.append(f"{runner.name}: {cut(str(error))}")
                self._log("trigger failed", tag=order.tag, trigger=runner.name, playbook=order.playbook, reason=cut(str(error)))
                continue
            facts = {"ok": outcome.ok, "seconds": outcome.seconds, "final": outcome.final, "changes": outcome.changes, "message": outcome.message}
            self._log("run ended", tag=order.tag, trigger=outcome.trigger, playbook=order.playbook, **facts)
            return outcome
        message = "; ".join(causes) if causes else "no trigger is set; give the role holdfast.ha.monitor at least one"
        return Outcome(False, self._runners[-1].name if self._runners else "none", message, round(time.monotonic() - begin, 3))

    def can_run(self, playbook: str) -> bool:
        """Whether one of them runs that playbook at all."""
        return any(not runner.playbooks or playbook in runner.playbooks for runner in self._runners)

    @property
    def is_armed(self) -> bool:
        """Whether a run waits for an order."""
        return any(runner.is_armed for runner in self._playbooks())

    def arm(self) -> None:
        """Start the armed run, where one is wanted. Returns at once; safe to repeat."""
        for runner in self._playbooks():
            runner.arm()

    def close(self) -> None:
        """End the armed run."""
        for runner in self._playbooks():
            runner.close()

    def describe(self) -> dict[str, Any]:
        """For the status: the triggers' names in order, and the armed run (``None`` where none is wanted)."""
        armed = next((about for runner in self._playbooks() if (about := runner.describe()) is not None), None)
        return {"triggers": [runner.name for runner in self._runners], "armed": armed, "python": sys.version.split()[0]}

    def _playbooks(self) -> list[PlaybookRunner]:
        return [runner for runner in self._runners if isinstance(runner, PlaybookRunner)]
