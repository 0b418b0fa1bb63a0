# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells a program or a URL of what happened. It never holds up the checker: a bounded queue for each receiver, bounded time for each event."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.log import CommandReceiver, Receiver
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.supervised_process import SupervisedProcess
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._core.http import call

_LONGEST_QUEUE = 100
_FAILED, _WELL = "notify failed", "notify well"
#: Seconds to give what is still to be told at the end, and from SIGTERM to SIGKILL for a program that takes too long.
_LAST, _GRACE = 5.0, 0.5


class Notifier:
    """A listener of `EventLog`. A failure is logged once, and its end."""

    def __init__(self, receivers: Sequence[Receiver], log: Callable[..., None]) -> None:
        self._lines = [_Line(one, log) for one in receivers]

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take it in; what does not fit is left out. Never waits."""
        if event.get("event") not in (_FAILED, _WELL):
            for line in self._lines:
                line.put(event)

    def start(self) -> None:
        """Begin to tell."""
        for line in self._lines:
            line.start()

    def stop(self, seconds: float = _LAST) -> None:
        """Tell what is left within ``seconds`` altogether, and end."""
        for line in self._lines:
            line.stop()
        for line in self._lines:
            line.join(seconds)


class _Line(threading.Thread):
    """One receiver."""

    def __init__(self, receiver: Receiver, log: Callable[..., None]) -> None:
        super().__init__(name="notify", daemon=True)
        self._receiver, self._log = receiver, log
        self._waiting: queue.Queue[Mapping[str, Any] | None] = queue.Queue(_LONGEST_QUEUE)
        self._ending = False
        self._trouble = ""
        self._left_out = 0
        self.target = receiver.command[0] if isinstance(receiver, CommandReceiver) else receiver.endpoint.url

    def put(self, event: Mapping[str, Any]) -> None:
        if event.get("event") not in self._receiver.events or self._ending:
            return
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._left_out += 1

    def stop(self) -> None:
        self._ending = True
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            pass  # it sees that it is to end after the next one

    def run(self) -> None:
        while not (self._ending and self._waiting.empty()):
            event = self._waiting.get()
            if event is None:
                continue
            left_out, self._left_out = self._left_out, 0
            trouble = self._tell({**event, **({"left_out": left_out} if left_out else {})})
            if bool(trouble) != bool(self._trouble):
                self._log(_FAILED if trouble else _WELL, target=self.target, **({"reason": trouble} if trouble else {}))
            self._trouble = trouble

    def _tell(self, event: Mapping[str, Any]) -> str:
        """What went wrong; empty where nothing did."""
        receiver = self._receiver
        if not isinstance(receiver, CommandReceiver):
            try:
                reply = call(receiver.endpoint, "POST", "", event, seconds=receiver.timeout)
            except HoldfastError as error:
                return error.message
            return "" if 200 <= reply.status < 300 else f"HTTP {reply.status}"
        try:
            run = SupervisedProcess(receiver.command, _environment(), stdin=json.dumps(event, default=str).encode() + b"\n", grace=_GRACE)
        except OSError as error:
            return f"cannot be started: {error.strerror}"
        code = run.wait(receiver.timeout)
        if code is None:
            run.end()
            return f"did not end within {receiver.timeout:g} s"
        said = run.tail()
        return "" if code == 0 else f"ended with {code}{': ' + said[-1][:200] if said else ''}"


def _environment() -> dict[str, str]:
    """What a program may rely on; nothing of the checker's own, such as keys of AWS."""
    return {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
