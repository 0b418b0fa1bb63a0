# SPDX-License-Identifier: GPL-3.0-or-later
"""The outage of one fault as a client saw it that asks every half a millisecond, or as often as it is told."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from lab.netns import Inside
from lab.responder import PORT

#: Seconds between two asks, so also how fine the figures are.
INTERVAL = 0.0005
_PROGRAM = Path(__file__).with_name("ticker.py")


@dataclass(frozen=True)
class Back:
    """The service is there (again): after ``seconds`` without it, answered by ``node``, to an ask made at ``asked``."""

    seconds: float
    lost: int
    node: str
    asked: float


class Client:
    """Use it as a context manager, from a thread that lasts. It asks ``address`` from ``where``."""

    def __init__(self, where: Inside, address: str, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._where, self._words = where, (address.partition("/")[0], str(PORT), str(interval))
        self._news = threading.Condition()
        self._told: list[Back] = []
        self._process: subprocess.Popen[str]

    def outage(self, since: float, patience: float, *, quiet: float = 0.3, struck: bool = False) -> Back:
        """The outage of a fault made at ``since``: all the time without answers from then until ``quiet`` seconds passed without a further gap.

        With the node and the ask of the answer that ended it. Raises TimeoutError.

        :param struck: The fault has taken effect by now, so where no ask was lost within ``quiet`` seconds, it was over between two: the time
            between two is given as the outage, which it cannot have exceeded.
        """
        end, asked_for = time.monotonic() + patience, False
        with self._news:
            while True:
                found = [one for one in self._told if one.asked >= since and one.lost]
                now = time.monotonic()
                if found and now - found[-1].asked >= quiet:
                    return replace(found[-1], seconds=sum(one.seconds for one in found), lost=sum(one.lost for one in found))
                answered = next((one for one in reversed(self._told) if one.asked >= since + quiet), None)
                if struck and not found and answered is not None:
                    return replace(answered, seconds=self._interval)
                if struck and not asked_for and now >= since + quiet:
                    self._tell_next()
                    asked_for = True
                if now >= end:
                    raise TimeoutError(f"the service was not back, or no outage was seen, within {patience:g} s")
                self._news.wait(min(end - now, quiet))

    def _tell_next(self) -> None:
        """Have the next answered ask told."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def __enter__(self) -> Client:
        self._process = self._where.spawn(sys.executable, "-I", "-S", str(_PROGRAM), *self._words, stdin=subprocess.PIPE)
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        with self._news:
            if not self._news.wait_for(lambda: self._told, 10):
                raise TimeoutError("the service does not answer at all")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with self._news:
                    self._told.append(Back(**json.loads(line)))
                    self._news.notify_all()
