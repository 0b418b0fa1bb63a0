# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that asks the service every few milliseconds and tells each outage, with who answered before and after."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.netns import Inside
from lab.responder import PORT

INTERVAL = 0.005
_PROGRAM = Path(__file__).with_name("asker.py")


@dataclass(frozen=True)
class Answer:
    """One answered ask. Times are `time.monotonic` seconds."""

    seq: int
    asked: float
    answered: float
    node: str
    epoch: int


@dataclass(frozen=True)
class Outage:
    """Asks without an answer, from the last answered one before them to the first answered one after. None: there was none (yet)."""

    before: Answer | None
    after: Answer | None
    lost: int
    seconds: float

    @property
    def ms(self) -> float:
        """How long it was, in milliseconds."""
        return self.seconds * 1000


@dataclass(frozen=True)
class Report:
    """What a prober saw. ``answered_by``: every (node, epoch) in the order of its first answer."""

    address: str
    asked: int
    answers: tuple[Answer, ...]
    outages: tuple[Outage, ...]
    answered_by: tuple[tuple[str, int], ...]

    @property
    def longest_ms(self) -> float:
        """The longest outage in milliseconds; 0 if there was none."""
        return max((outage.ms for outage in self.outages), default=0.0)

    def lines(self) -> list[str]:
        """One JSON line per outage and one for the whole."""
        told = [
            json.dumps({"outage_ms": round(one.ms, 1), "lost": one.lost, "before": _who(one.before), "after": _who(one.after)})
            for one in self.outages
        ]
        whole = {"address": self.address, "asked": self.asked, "answered": len(self.answers), "longest_ms": round(self.longest_ms, 1)}
        return [*told, json.dumps({**whole, "answered_by": [f"{node} {epoch}" for node, epoch in self.answered_by]})]


def _who(answer: Answer | None) -> dict[str, Any] | None:
    return None if answer is None else asdict(answer)


def outages(answers: Iterable[Answer], asked: int, interval: float = INTERVAL) -> tuple[Outage, ...]:
    """The outages among ``asked`` asks. Pure. An outage without an answer on one side is as long as its asks took by their interval."""
    found = []
    before: Answer | None = None
    for answer in sorted(answers, key=lambda one: one.seq):
        lost = answer.seq - (before.seq + 1 if before else 0)
        if lost:
            found.append(Outage(before, answer, lost, answer.asked - before.asked if before else lost * interval))
        before = answer
    lost = asked - (before.seq + 1 if before else 0)
    if lost > 0:
        found.append(Outage(before, None, lost, lost * interval))
    return tuple(found)


class Prober:
    """Asks ``address`` from inside ``namespace`` from `start` until `stop`, at most ``seconds`` long. Also a context manager.

    Start it from a thread that lasts: the asking process dies with that thread.
    """

    def __init__(self, namespace: Inside, address: str, *, port: int = PORT, interval: float = INTERVAL, seconds: float = 600) -> None:
        self.namespace, self.address, self.interval = namespace, address, interval
        self._argv = (sys.executable, "-I", "-S", str(_PROGRAM), address, str(port), str(interval), str(seconds))
        self._news = threading.Condition()
        self._answers: list[Answer] = []
        self._asked: int | None = None
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> Prober:
        """Begin to ask."""
        self._process = self.namespace.spawn(*self._argv, stdin=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="prober", daemon=True)
        self._reader.start()
        return self

    def stop(self) -> Report:
        """Stop asking and tell what was seen. Answers to the last asks that are still on their way get a moment."""
        assert self._process is not None, "the prober was not started"
        assert self._process.stdin is not None, "the prober was not started"
        assert self._reader is not None, "the prober was not started"
        if not self._process.stdin.closed:
            self._process.stdin.close()
        self._reader.join(timeout=10)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        return self.report()

    def report(self) -> Report:
        """What was seen so far."""
        with self._news:
            answers, asked = tuple(self._answers), self._asked
        if asked is None:  # still asking: the asks after the last answer are not known, and not yet lost
            asked = answers[-1].seq + 1 if answers else 0
        seen = dict.fromkeys((one.node, one.epoch) for one in answers)
        return Report(self.address, asked, answers, outages(answers, asked, self.interval), tuple(seen))

    def wait_until_answered(self, timeout: float, *, by: str | None = None, since: float | None = None) -> Answer:
        """The first answer to an ask made after ``since`` (default: now), by node ``by`` if given. Raises TimeoutError."""
        begin = time.monotonic() if since is None else since
        found = self._wait(lambda: next((one for one in reversed(self._answers) if one.asked >= begin and by in (None, one.node)), None), timeout)
        if found is None:
            raise TimeoutError(f"{self.address} was not answered{f' by {by}' if by else ''} within {timeout:g} s")
        return found

    def wait_until_silent(self, timeout: float, *, quiet: float = 0.1) -> float:
        """Wait until the last answer is ``quiet`` seconds old; returns when it came. Raises TimeoutError."""
        end = time.monotonic() + timeout
        begin = time.monotonic()
        while True:
            with self._news:
                last = max(begin, self._answers[-1].answered if self._answers else begin)
                now = time.monotonic()
                if now - last >= quiet:
                    return last
                if now >= end:
                    raise TimeoutError(f"{self.address} was still answered after {timeout:g} s")
                self._news.wait(min(last + quiet, end) - now)

    def wait_until_over(self, timeout: float) -> None:
        """Wait until it has asked for as long as it may. Raises TimeoutError."""
        with self._news:
            if not self._news.wait_for(lambda: self._asked is not None, timeout):
                raise TimeoutError(f"the prober of {self.address} still asks after {timeout:g} s")

    def _wait(self, question: Callable[[], Answer | None], timeout: float) -> Answer | None:
        end = time.monotonic() + timeout
        with self._news:
            while (found := question()) is None and time.monotonic() < end and self._asked is None:
                self._news.wait(end - time.monotonic())
        return found

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                told = json.loads(line)
                with self._news:
                    if "asked_in_all" in told:
                        self._asked = told["asked_in_all"]
                    else:
                        self._answers.append(Answer(**told))
                    self._news.notify_all()

    def __enter__(self) -> Prober:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
