# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches that never two nodes hold the address at once: looks at every node's kernel each 10 ms, and at the store's log."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.control import CallLog
from lab.netns import DIES_WITH_PARENT, Inside

INTERVAL = 0.01
#: Seconds between two looks beyond which what happened between them is not known, and a verdict says nothing.
BLIND = 1.0
_PROGRAM = Path(__file__).with_name("sampler.py")


class TwoHolders(AssertionError):
    """Two at once: what must never be seen, not even in a test that would pass when it is run again."""


@dataclass(frozen=True)
class Stay:
    """A node's kernel had the address, for certain, from ``begin`` to ``end`` (`time.monotonic` seconds)."""

    node: str
    begin: float
    end: float


@dataclass(frozen=True)
class Tenure:
    """By the store, the node held the lease with this epoch from ``begin`` to ``end``; without a ``node`` it was free."""

    node: str
    epoch: int
    begin: float
    end: float


@dataclass(frozen=True)
class Verdict:
    """What was seen. ``faults``: a line for each instant with two holders, empty when there was none."""

    stays: tuple[Stay, ...]
    tenures: tuple[Tenure, ...]
    samples: int
    widest: float
    faults: tuple[str, ...]

    @property
    def line(self) -> str:
        """In a line, for a person."""
        told = f"{self.samples} looks at every node, at most {self.widest * 1000:.0f} ms apart"
        return f"{told}: {'; '.join(self.faults) or 'never two holders'}"

    def confirm(self) -> None:
        """Raises `TwoHolders` when there were; RuntimeError when it looked too seldom to know."""
        if self.faults:
            raise TwoHolders(self.line)
        if self.widest > BLIND:
            raise RuntimeError(f"the oracle looked too seldom for a verdict: {self.line}")


def two_at_once(stays: Iterable[Stay]) -> list[str]:
    """A line for each two nodes that had the address at the same time. Pure."""
    return [
        f"{one.node} and {other.node} both had the address for at least {min(one.end, other.end) - max(one.begin, other.begin):.3f} s"
        for one, other in combinations(stays, 2)
        if one.node != other.node and one.begin <= other.end and other.begin <= one.end
    ]


def without_lease(stays: Iterable[Stay], tenures: Sequence[Tenure]) -> list[str]:
    """A line for each stay that is not within one time of the same node's holding the lease. Pure."""
    faults = []
    for stay in stays:
        if not any(held.node == stay.node and held.begin <= stay.begin and stay.end <= held.end for held in tenures):
            by_the_store = [f"{held.node or 'nobody'} ({held.epoch})" for held in tenures if held.begin <= stay.end and stay.begin <= held.end]
            faults.append(
                f"{stay.node} had the address for {stay.end - stay.begin:.3f} s while the lease was held by {', '.join(by_the_store) or 'nobody'}"
            )
    return faults


def epochs_that_fell(tenures: Sequence[Tenure]) -> list[str]:
    """A line for each holder that followed another without a higher epoch. Pure."""
    held = [one for one in tenures if one.node]
    return [f"{new.node} followed {old.node} with epoch {new.epoch} after {old.epoch}" for old, new in pairwise(held) if new.epoch <= old.epoch]


def tenures_of(writes: Iterable[tuple[float, str, int]]) -> tuple[Tenure, ...]:
    """The times of each holder and epoch from the record as it was first and all that was written after: (when, holder, epoch). Pure."""
    made: list[Tenure] = []
    for when, node, epoch in writes:
        if made and (made[-1].node, made[-1].epoch) == (node, epoch):
            continue
        if made:
            made[-1] = Tenure(made[-1].node, made[-1].epoch, made[-1].begin, when)
        made.append(Tenure(node, epoch, when, float("inf")))
    return tuple(made)


def lease_writes(calls: CallLog, key: str, since: float) -> list[tuple[float, str, int]]:
    """What took effect on a lease of the lab's DynamoDB since then: (when, holder, epoch)."""
    found = []
    for call in calls.all("dynamodb:PutItem"):
        item = call.params.get("Item", {})
        epoch = item.get("epoch", {}).get("N")  # a test may have damaged it
        if call.effective and call.time >= since and item.get("lease", {}).get("S") == key and epoch is not None:
            found.append((call.time, item.get("holder", {}).get("S", ""), int(epoch)))
    return found


class Oracle:
    """Looks at all nodes from `start` to `stop`. Also a context manager, which fails at its end when there was an instant with two holders.

    Start it from a thread that lasts: the process that looks dies with it.

    :param nodes: The machines, by name.
    :param address: Without a prefix length.
    """

    def __init__(self, nodes: Mapping[str, Inside], address: str, *, interval: float = INTERVAL) -> None:
        self._nodes, self._address, self._interval = dict(nodes), address.partition("/")[0], interval
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._told: list[dict[str, Any]] = []
        self._log: CallLog | None = None
        self._key, self._first = "", (0.0, "", 0)

    def follow(self, calls: CallLog, key: str, holder: str, epoch: int) -> Oracle:
        """Compare with a lease in the lab's DynamoDB too, which is held so now. Call it before `start`."""
        self._log, self._key, self._first = calls, key, (time.monotonic(), holder, epoch)
        return self

    def start(self) -> Oracle:
        """Begin to look; returns once it does."""
        sockets = {name: inside.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) for name, inside in self._nodes.items()}
        try:
            words = [f"{name}={made.fileno()}" for name, made in sockets.items()]
            self._process = subprocess.Popen(
                [*DIES_WITH_PARENT, sys.executable, "-I", "-S", str(_PROGRAM), str(self._interval), self._address, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=[made.fileno() for made in sockets.values()],
            )
        finally:
            for made in sockets.values():
                made.close()
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("the oracle's process ended at once")
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="oracle", daemon=True)
        self._reader.start()
        return self

    def stop(self) -> Verdict:
        """End, and tell what was seen. Safe to repeat. Raises RuntimeError when it has not looked to the end."""
        assert self._process is not None, "the oracle was not started"
        assert self._process.stdin is not None, "the oracle was not started"
        assert self._reader is not None, "the oracle was not started"
        if not self._process.stdin.closed:
            self._process.stdin.close()
        self._reader.join(timeout=10)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        return self.verdict()

    def verdict(self) -> Verdict:
        """After `stop`: all of it."""
        if not self._told or "samples" not in self._told[-1]:
            raise RuntimeError("the oracle's process did not live to the end, so it has no verdict")
        stays = tuple(Stay(one["node"], one["begin"], one["end"]) for one in self._told if "end" in one)
        faults = two_at_once(stays)
        tenures: tuple[Tenure, ...] = ()
        if self._log is not None:
            tenures = tenures_of([self._first, *lease_writes(self._log, self._key, self._first[0])])
            faults += without_lease(stays, tenures) + epochs_that_fell(tenures)
        return Verdict(stays, tenures, self._told[-1]["samples"], self._told[-1]["widest"], tuple(faults))

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._told.append(json.loads(line))

    def __enter__(self) -> Oracle:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        verdict = self.stop()
        if kind is None or verdict.faults:  # whatever else was wrong, this is worse
            verdict.confirm()
