# SPDX-License-Identifier: GPL-3.0-or-later
"""Dependents of a resource that can be watched: units on nodes without systemd, and an oracle that sees when they run on two nodes at once.

Each unit is a process of `lab.stamper`. All of them write to one file of the machine, and all times in it are of one clock.
"""

from __future__ import annotations

import json
import math
import shlex
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from lab import stamper, systemctl
from lab.oracle import TwoHolders

#: Seconds within which two nodes may not both have written: two intervals of `stamper`.
WITHIN = 0.1
_STAMPER, _SYSTEMCTL = Path(stamper.__file__), Path(systemctl.__file__)
#: Seconds for which a stop that never ends is waited for; the caller has long gone by then.
_LONGEST_STOP = 600.0
Answer = tuple[int, str, str]


@dataclass(frozen=True)
class Stamp:
    """The dependent ran on ``node`` at ``time`` (`time.monotonic` seconds). ``serial`` counts its starts there."""

    node: str
    serial: int
    time: float


def read_stamps(path: Path) -> list[Stamp]:
    """All that the file has, in the order of time."""
    lines = (line.split() for line in path.read_text().splitlines()) if path.exists() else ()
    return sorted((Stamp(node, int(serial), float(at)) for node, serial, at in lines), key=lambda one: one.time)


def two_ran(stamps: Iterable[Stamp], within: float = WITHIN) -> list[str]:
    """A line for each change of node that came sooner than ``within`` after the last sign of the other node. Pure."""
    return [
        f"a dependent still ran on {old.node} (start {old.serial}) {new.time - old.time:.3f} s before it ran on {new.node} (start {new.serial})"
        for old, new in pairwise(sorted(stamps, key=lambda one: one.time))
        if old.node != new.node and new.time - old.time < within
    ]


@dataclass(frozen=True)
class Span:
    """The dependent ran on ``node`` from ``begin`` to ``end``, in seconds of the epoch."""

    node: str
    begin: float
    end: float


def read_spans(node: str, notes: str, cuts: Sequence[float]) -> list[Span]:
    """From the lines ``SECONDS started`` and ``SECONDS stopped`` that a unit wrote. Pure.

    :param cuts: When the power of the node was cut, which ends a dependent without a note.
    """
    spans, begin = [], None
    for at, what in [*(line.split() for line in notes.splitlines()), (math.inf, "stopped")]:
        if begin is not None:
            cut = next((cut for cut in cuts if begin < cut < float(at)), math.inf)
            spans.append(Span(node, begin, min(float(at), cut)))
        begin = float(at) if what == "started" else None
    return spans


def two_at_once(spans: Iterable[Span], since: float) -> list[str]:
    """A line for each two spans on different nodes with less than `WITHIN` between them that ended after ``since``. Pure."""
    known = sorted((span for span in spans if span.end > since), key=lambda span: span.begin)
    return [
        f"a dependent ran on {old.node} until {old.end:.3f}, and on {new.node} from {new.begin:.3f}"
        for number, old in enumerate(known)
        for new in known[number + 1 :]
        if old.node != new.node and new.begin - old.end < WITHIN
    ]


class DependentsOracle:
    """A context manager, which fails with `TwoHolders` at its end if dependents ran on two nodes at once since its beginning."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._since = 0.0

    def faults(self) -> list[str]:
        """What was seen so far."""
        return two_ran(one for one in read_stamps(self._path) if one.time >= self._since)

    def __enter__(self) -> DependentsOracle:
        self._since = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        faults = self.faults()
        if faults:  # whatever else was wrong, this is worse
            raise TwoHolders(f"{len(faults)} times two at once: {faults[0]}")


class _Unit:
    """A unit. ``stopping``: the process of its stop is under way, as a job of systemd is."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.serial = 0
        self.takes = 0.0
        self.refuses = False
        self.stopping = False


class Units:
    """The units of one node, and a program `systemctl` in the folder `path` that starts, stops and shows them as systemd would.

    They belong to the test, not to whoever asks for them: they outlive a checker that is killed. Call `stop`, or use it as a context manager.

    :param stamps: The one file of the machine in which all dependents write.
    """

    def __init__(self, node: str, folder: Path, stamps: Path) -> None:
        self.node, self.stamps = node, stamps
        self.path = folder / f"{node}-bin"
        self.path.mkdir()
        #: What systemctl was called with, in order.
        self.calls: list[str] = []
        self._units: dict[str, _Unit] = {}
        self._lock = threading.Condition()
        socket = folder / f"{node}.systemctl"
        program = self.path / "systemctl"
        program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-I", "-S", str(_SYSTEMCTL), str(socket)])} "$@"\n')
        program.chmod(0o755)
        self._server = _Server(str(socket), self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name=f"units {node}", daemon=True).start()

    def environment(self, path: str) -> dict[str, str]:
        """For a process that is to find this systemctl first."""
        return {"PATH": f"{self.path}:{path}"}

    def behave(self, unit: str, *, takes: float = 0.0, refuses: bool = False) -> None:
        """How a unit stops from now on: after so many seconds, or not at all, with an error. A stop that is under way goes by it too."""
        with self._lock:
            one = self._unit(unit)
            one.takes, one.refuses = takes, refuses
            self._lock.notify_all()

    def start(self, unit: str) -> None:
        """Start a unit, as `systemctl start` does."""
        with self._lock:
            one = self._unit(unit)
            if one.process is None or one.process.poll() is not None:
                one.serial += 1
                argv = [sys.executable, "-I", "-S", str(_STAMPER), str(self.stamps), self.node, str(one.serial)]
                one.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def state(self, unit: str) -> str:
        """ActiveState."""
        one = self._unit(unit)
        if one.process is None or one.process.poll() is not None:
            return "inactive"
        return "deactivating" if one.stopping else "active"

    def runs(self, unit: str) -> bool:
        """Whether its process is there."""
        return self.state(unit) != "inactive"

    def end(self) -> None:
        """Every process is gone at once, as when the machine is switched off."""
        with self._lock:
            for one in self._units.values():
                _kill(one)

    def stop(self) -> None:
        """End everything. Safe to repeat."""
        self.end()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Units:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def answer(self, words: Sequence[str]) -> Answer:
        """What `systemctl WORDS` does: exit code, standard output, standard error."""
        self.calls.append(" ".join(words))
        options = [word for word in words if word.startswith("-")]
        verb, *units = [word for word in words if not word.startswith("-")]
        if verb == "start":
            for unit in units:
                self.start(unit)
        elif verb == "stop":
            return self._stop(units[0])
        elif verb == "is-active":
            states = [self.state(unit) for unit in units]
            return (0 if "active" in states else 3), "".join(f"{state}\n" for state in states), ""
        elif verb == "show":
            short = "--property=ActiveState" in options
            return 0, "\n".join(self._show(unit, short=short) for unit in units), ""
        elif verb == "reboot":
            self.end()
        return 0, "", ""

    def _show(self, unit: str, *, short: bool) -> str:
        active = f"ActiveState={self.state(unit)}\n"
        return active if short else f"Id={unit}\nLoadState=loaded\n{active}SubState={'running' if self.runs(unit) else 'dead'}\n"

    def _stop(self, unit: str) -> Answer:
        begin = time.monotonic()
        with self._lock:
            one = self._unit(unit)
            if one.refuses:
                return 1, "", f"Failed to stop {unit}: the bus is busy\n"
            one.stopping = True
            while (left := begin + one.takes - time.monotonic()) > 0 and not one.refuses:
                self._lock.wait(min(left, _LONGEST_STOP))
            _kill(one)
            one.stopping = False
        return 0, "", ""

    def _unit(self, name: str) -> _Unit:
        return self._units.setdefault(name, _Unit())


def _kill(one: _Unit) -> None:
    if one.process is not None:
        one.process.kill()
        one.process.wait()
        if one.process.stdin is not None:
            one.process.stdin.close()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: str, units: Units) -> None:
        self.units = units
        super().__init__(path, _Caller)


class _Caller(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        answer: Any = cast(_Server, self.server).units.answer(json.loads(self.rfile.readline()))
        try:
            self.wfile.write(json.dumps(answer).encode() + b"\n")
        except OSError:
            return  # the caller was killed; its job goes on all the same
