# SPDX-License-Identifier: GPL-3.0-or-later
"""Was a store, as everybody together saw it, one register that is read and swapped at single instants?

Every write has a nonce of its own and names the one that it replaces, so the writes that took effect form a chain, and
each call stands at a place in it. The history is linearizable exactly when no call that began after another had ended
stands before it. (Herlihy and Wing's definition, with the search spared by the chain.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, field

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Reading
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import Store

FOREVER = float("inf")
#: Stands for "no record".
NOTHING = ""


@dataclass(frozen=True)
class Op:
    """One call. ``kind``: read (``nonce`` was there), write (``record`` in place of ``nonce``), refused (``nonce`` was not there any more),
    unknown (a write of which nobody knows)."""

    kind: str
    begin: float
    end: float
    nonce: str
    record: Record | None = None


@dataclass
class History:
    """What all clients saw of one key."""

    ops: list[Op] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, op: Op) -> None:
        with self.lock:
            self.ops.append(op)


class Recorded:
    """A `Store` for one client that writes down what it sees."""

    def __init__(self, store: Store, histories: dict[str, History]) -> None:
        self._store, self._histories = store, histories
        self._nonces: dict[tuple[str, Hashable], str] = {}

    def read(self, key: str) -> Reading:
        begin = time.monotonic()
        reading = self._store.read(key)
        nonce = reading.record.nonce if reading.record else NOTHING
        self._nonces[key, reading.token] = nonce
        self._histories[key].add(Op("read", begin, time.monotonic(), nonce, reading.record))
        return reading

    def write(self, key: str, expected: Hashable, record: Record) -> Hashable | None:
        begin, old = time.monotonic(), self._nonces[key, expected]
        try:
            token = self._store.write(key, expected, record)
        except HoldfastError as error:
            if error.ambiguous:
                self._histories[key].add(Op("unknown", begin, FOREVER, old, record))
            raise
        if token is not None:
            self._nonces[key, token] = record.nonce
        self._histories[key].add(Op("refused" if token is None else "write", begin, time.monotonic(), old, record))
        return token


def chain(history: History) -> list[Record]:
    """The writes that took effect, in their order. AssertionError when two replaced the same one, or one that never was."""
    known = {op.nonce for op in history.ops}
    took = [op for op in history.ops if op.kind == "write" or (op.kind == "unknown" and op.record and op.record.nonce in known)]
    following: dict[str, Record] = {}
    for op in took:
        assert op.record is not None
        assert op.nonce not in following, f"two writes replaced {op.nonce or 'nothing'}: {following[op.nonce]} and {op.record}"
        following[op.nonce] = op.record
    order, nonce = [], NOTHING
    while nonce in following:
        order.append(following[nonce])
        nonce = order[-1].nonce
    assert len(order) == len(took), "a write replaced a record that was never there"
    return order


def check(history: History) -> list[Record]:
    """AssertionError unless the history is that of one register and the epochs rise; returns the chain of records."""
    order = chain(history)
    place = {NOTHING: 0, **{record.nonce: number + 1 for number, record in enumerate(order)}}
    began = [0.0] * (len(order) + 1)
    calls = []
    for op in history.ops:
        if op.kind == "unknown" and op.record and op.record.nonce not in place:
            continue
        assert op.nonce in place, f"{op} saw a record that nobody wrote"
        at = place[op.nonce] + (op.kind != "read")
        if op.kind in ("write", "unknown"):
            began[at] = op.begin
        calls.append((op.begin, op.end, at, op))
    for _begin, end, at, op in calls:
        assert at < len(began), f"{op} was refused although nobody had changed the record"
        assert began[at] <= end, f"{op} saw a write that had not begun"
    _check_real_time(calls)
    _check_epochs(order)
    return order


def _check_real_time(calls: list[tuple[float, float, int, Op]]) -> None:
    ended = sorted(calls, key=lambda call: call[1])
    furthest, number = 0, 0
    for begin, _end, at, op in sorted(calls, key=lambda call: call[0]):
        while number < len(ended) and ended[number][1] < begin:
            furthest = max(furthest, ended[number][2])
            number += 1
        least = furthest + (op.kind in ("write", "unknown"))
        assert at >= least, f"{op} stands before a call that had ended when it began"


def _check_epochs(order: list[Record]) -> None:
    for old, new in zip(order, order[1:], strict=False):
        assert new.epoch >= old.epoch, f"the epoch fell from {old} to {new}"
        if new.holder and new.holder != old.holder:
            assert new.epoch > old.epoch, f"the epoch did not rise from {old} to {new}"
