# SPDX-License-Identifier: GPL-3.0-or-later
"""The trigger `playbook`: ansible-playbook on this node, from a run that waits already where there is one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.playbook_run import Run, cut, variables_of, write_configuration
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.prestarted_run import PLAYBOOK as RECOVER
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.prestarted_run import Armed
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import CannotStart, Order, Outcome, PlaybookTrigger

Log = Callable[..., None]
#: Seconds between two looks at whether an order that waits for its turn was called off.
_LOOK = 0.2
#: Seconds after which a recovery no longer keeps another one from beginning.
_LONG = 60.0


class _FifoSemaphore:
    """Lets so many go on at the same time, in the order in which they came. Safe from several threads.

    One that has gone on for ``long`` seconds is no longer counted: it waits for something, not for the processor, and is not to hold up the others.
    """

    def __init__(self, most: int, long: float = _LONG) -> None:
        self._most, self._long = most, long
        self._change = threading.Condition()
        self._line: dict[object, float | None] = {}  # when each began; None: not yet

    @contextmanager
    def turn(self, cancel: threading.Event, told: Callable[[int], None]) -> Iterator[bool]:
        """Wait for a turn and have it until the end; false where ``cancel`` was set before. ``told``: how many others have to end before, if any."""
        mine = object()
        with self._change:
            self._line[mine] = None
            ahead = self._ahead(mine)
        try:
            if ahead > 0:
                told(ahead)
            with self._change:
                while self._ahead(mine) > 0 and not cancel.is_set():
                    self._change.wait(_LOOK)
                self._line[mine] = time.monotonic()
            yield not cancel.is_set()
        finally:
            with self._change:
                del self._line[mine]
                self._change.notify_all()

    def _ahead(self, mine: object) -> int:
        """How many have to end, or go on for long, before this one may begin."""
        now, before = time.monotonic(), 0
        for one, since in self._line.items():
            if one is mine:
                break
            before += since is None or now - since < self._long
        return before - self._most + 1


class PlaybookRunner:
    """Runs orders, each in the thread of who asks. Recoveries take turns: a node that takes over twenty resources has to go on renewing their leases.

    :param folder: A private folder of the checker's for what its runs need.
    :param definitions: Where the resources are defined: an armed run that has read other ones is started anew.
    """

    name = "playbook"
    playbooks: tuple[str, ...] = ()

    def __init__(self, settings: PlaybookTrigger, log: Log, *, folder: Path, definitions: Path) -> None:
        self._settings, self._log = settings, log
        self._folder = folder
        self._turns = _FifoSemaphore(settings.at_once)
        self._armed = Armed(settings, log, folder=folder, definitions=definitions) if settings.armed else None

    def arm(self) -> None:
        """Start a run in advance, where that is wanted. Returns at once."""
        if self._armed is not None:
            self._armed.start()

    @property
    def is_armed(self) -> bool:
        """Whether a run waits for an order."""
        return self._armed is not None and self._armed.is_waiting

    def close(self) -> None:
        """End what waits."""
        if self._armed is not None:
            self._armed.stop()

    def describe(self) -> dict[str, Any] | None:
        """The armed run; ``None`` where none is wanted."""
        return None if self._armed is None else self._armed.describe()

    def run(self, order: Order, cancel: threading.Event) -> Outcome:
        """Until its end, its time-out or ``cancel``. Raises `CannotStart` where there is no ansible-playbook."""
        if order.playbook != RECOVER:  # somebody waits for it, or a deadline comes
            return self._run(order, cancel)
        with self._turns.turn(cancel, lambda ahead: self._log("run waits", tag=order.tag, playbook=order.playbook, ahead=ahead)) as has_turn:
            if not has_turn:
                return Outcome(False, self.name, f"the playbook {order.playbook} was called off before it began", 0.0)
            return self._run(order, cancel)

    def _run(self, order: Order, cancel: threading.Event) -> Outcome:
        begin = time.monotonic()
        run = self._armed.take(order) if self._armed is not None else None
        armed = run is not None
        while True:
            if run is None:
                try:
                    plain = write_configuration(self._folder, "ansible-plain.cfg", "[defaults]\n")
                    run = Run(self._settings, order.playbook, variables_of(order), configuration=plain)
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
            self._log("run killed", tag=order.tag, playbook=order.playbook, reason=why, task=run.last_task())
            return self._outcome(False, f"the playbook {order.playbook} was ended with all that it had started: {why}", begin)
        if run.missing:
            raise CannotStart(f"{self._settings.command} cannot be run; install ansible-core there, or see triggers.command")
        ok, message = run.result()
        return self._outcome(ok, message, begin, run.changes())

    def _outcome(self, ok: bool, message: str, begin: float, changes: tuple[str, ...] = ()) -> Outcome:
        return Outcome(ok, self.name, cut(message), round(time.monotonic() - begin, 3), changes=changes)
