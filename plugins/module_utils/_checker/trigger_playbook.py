# SPDX-License-Identifier: GPL-3.0-or-later
"""The trigger `playbook`: ansible-playbook on this node, from a run that waits already where there is one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.armed import Armed
from ansible_collections.holdfast.ha.plugins.module_utils._checker.run import Run, cut, variables_of
from ansible_collections.holdfast.ha.plugins.module_utils._checker.trigger_settings import CannotStart, Order, Outcome, PlaybookTrigger

Log = Callable[..., None]


class PlaybookRunner:
    """Runs orders one after another or at the same time, one thread each.

    :param folder: A private folder of the checker's for what an armed run needs.
    :param definitions: Where the resources are defined: an armed run that has read other ones is started anew.
    """

    name = "playbook"
    playbooks: tuple[str, ...] = ()

    def __init__(self, settings: PlaybookTrigger, log: Log, *, folder: Path, definitions: Path) -> None:
        self._settings, self._log = settings, log
        self._armed = Armed(settings, log, folder=folder, definitions=definitions) if settings.armed else None

    def arm(self) -> None:
        """Start a run in advance, where that is wanted. Returns at once."""
        if self._armed is not None:
            self._armed.start()

    def close(self) -> None:
        """End what waits."""
        if self._armed is not None:
            self._armed.stop()

    def describe(self) -> dict[str, Any] | None:
        """The armed run; ``None`` where none is wanted."""
        return None if self._armed is None else self._armed.describe()

    def run(self, order: Order, cancel: threading.Event) -> Outcome:
        """Until its end, its time-out or ``cancel``. Raises `CannotStart` where there is no ansible-playbook."""
        begin = time.monotonic()
        run = self._armed.take(order) if self._armed is not None else None
        armed = run is not None
        while True:
            if run is None:
                try:
                    run = Run(self._settings, order.playbook, variables_of(order))
                except OSError as error:
                    raise CannotStart(f"no process can be started: {error.strerror}") from None
            self._log("run started", tag=order.tag, trigger=self.name, playbook=order.playbook, reason=order.reason, armed=armed, pid=run.pid)
            ended = run.wait(self._settings.timeout, cancel)
            if not (ended and armed) or run.told_its_end:
                return self._outcome_of(run, order, begin, ended, cancel)
            self._log("trouble", tag=order.tag, what="armed run", reason="it was gone before its playbook had ended; a new run gets the order")
            run.kill()  # what is left of it
            run, armed = None, False

    def _outcome_of(self, run: Run, order: Order, begin: float, ended: bool, cancel: threading.Event) -> Outcome:
        if not ended:
            run.kill()
            why = "it was called off" if cancel.is_set() else f"it did not end within {self._settings.timeout:g} s; see why, or raise its timeout"
            last = run.tail()
            self._log("run killed", tag=order.tag, playbook=order.playbook, reason=why, output=list(last[-5:]))
            return self._outcome(False, f"the playbook {order.playbook} was ended with all that it had started: {why}", begin)
        if run.missing:
            raise CannotStart(f"{self._settings.command} cannot be run; install ansible-core there, or see triggers.command")
        ok, message = run.result()
        return self._outcome(ok, message, begin, run.changes())

    def _outcome(self, ok: bool, message: str, begin: float, changes: tuple[str, ...] = ()) -> Outcome:
        return Outcome(ok, self.name, cut(message), round(time.monotonic() - begin, 3), changes=changes)
