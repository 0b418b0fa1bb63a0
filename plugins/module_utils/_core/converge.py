# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe, plan, apply, look again: the one loop that every change goes through (DESIGN.md section 2).

A `Reconciler` says how to look, what would be right and how to do it. This file decides, once for all of them, what
counts as changed, what check mode leaves out, when a failed action is tried again and when a write that was accepted
but does not show yet is only waited for. EC2 is eventually consistent, and a lost reply may hide a write that took
effect: so after every round the truth is what reading shows, never what the write returned.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, Union

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotConverged, Refused

S = TypeVar("S")
A = TypeVar("A", bound=Hashable)

#: First and longest pause between two looks, in seconds; each pause is a random share of at least half of it.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


@dataclass(frozen=True)
class Attempt(Generic[A]):
    """One action that was tried. ``error`` is ``None`` when it was accepted."""

    action: A
    error: HoldfastError | None = None


class Reconciler(Protocol[S, A]):
    """What a change consists of. Only `observe` and `apply` do I/O."""

    def observe(self) -> S:
        """Look. Raises `HoldfastError`."""

    def plan(self, state: S) -> tuple[A, ...]:
        """Pure: the actions, in an order that is safe to interrupt, that make ``state`` right; empty when it is. Raises `Refused`."""

    def simulate(self, state: S, actions: tuple[A, ...]) -> S:
        """Pure: ``state`` as it would be after ``actions``."""

    def apply(self, actions: tuple[A, ...]) -> tuple[Attempt[A], ...]:
        """Carry out; an attempt for each action that was begun. Where actions build on one another, stop at the first error."""

    def table(self, state: S) -> str:
        """The state as the table that the diff shows."""

    def result(self, run: Run[S, A]) -> dict[str, object]:
        """The module's return values."""


@dataclass(frozen=True)
class Run(Generic[S, A]):
    """What happened. ``after`` is simulated in check mode, else read back. ``errors`` are of actions that did not come about.

    ``lacking``: what is wrong and no action could make right.
    """

    before: S
    after: S
    planned: tuple[A, ...] = ()
    errors: dict[A, HoldfastError] = field(default_factory=dict)
    changed: bool = False
    lacking: tuple[HoldfastError, ...] = ()


def preview(
    task: Reconciler[S, A],
    *,
    settle: float = 0.0,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Run[S, A]:
    """Check mode: look and plan, write nothing. The parameters are those of `converge`."""
    before = _Convergence(task, settle, now, pause).observe()
    planned = task.plan(before)
    return Run(before, task.simulate(before, planned), planned, {}, bool(planned), _lacking(task, before))


def converge(
    task: Reconciler[S, A],
    *,
    settle: float = 0.0,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Run[S, A]:
    """Make it so, and read it back.

    :param settle: For how many seconds, counted from the first look and anew from each round that got something accepted,
        errors that may pass are tried again and writes that do not show yet are waited for: so hundreds of writes that are
        let through a few at a time all come about, and a dead service is given up soon. 0: each action once, one look afterwards.
    :param now: A monotonic clock in seconds.
    :param pause: Waits that many seconds.
    :returns: The run; errors of single actions are in it, not raised.
    :raises HoldfastError: When looking fails for good before anything was written, or the plan is refused.
    """
    return _Convergence(task, settle, now, pause).run()


@dataclass(frozen=True)
class DependsOn:
    """A change that may be written only once another is right.

    :param name: The other.
    :param otherwise: What the user is told where the other does not come about.
    """

    name: str
    otherwise: str


@dataclass(frozen=True)
class ReconcilerGroup:
    """Changes that are looked at, made and read back at the same time, each by a loop of its own: what one is refused keeps none back.

    :param tasks: By name.
    :param after: Which of them has to wait for which with its writes; all of them look at once.
    :param result: Makes the module's return values of those that could be looked at.
    """

    tasks: Mapping[str, Reconciler[Any, Any]]
    result: Callable[[Mapping[str, Run[Any, Any]]], dict[str, object]]
    after: Mapping[str, DependsOn] = field(default_factory=dict)


#: What came of one of several changes: its run, or why there was none.
Outcome = Union[Run[Any, Any], HoldfastError]


def preview_together(together: ReconcilerGroup, *, settle: float = 0.0) -> dict[str, Outcome]:
    """`preview` of each, by name."""
    return _each(together, lambda name: preview(together.tasks[name], settle=settle))


def converge_together(together: ReconcilerGroup, *, settle: float = 0.0) -> dict[str, Outcome]:
    """`converge` of each, by name. What has to wait for another that does not come about is left as it is, and fails."""
    gates = {after.name: _Gate() for after in together.after.values()}

    def work(name: str) -> Run[Any, Any]:
        mine, after = gates.get(name), together.after.get(name)

        def wait() -> None:
            if after is not None and not gates[after.name].passed():
                raise Refused(after.otherwise)

        try:
            loop = _Convergence(together.tasks[name], settle, time.monotonic, time.sleep, wait=wait, right=mine.open if mine else _nothing)
            return loop.run()
        finally:
            if mine:
                mine.shut()

    return _each(together, work)


def _each(together: ReconcilerGroup, work: Callable[[str], Run[Any, Any]]) -> dict[str, Outcome]:
    def outcome(name: str) -> Outcome:
        try:
            return work(name)
        except HoldfastError as error:
            return error

    names = list(together.tasks)
    if len(names) == 1:
        return {names[0]: outcome(names[0])}
    with ThreadPoolExecutor(max(1, len(names)), "converge") as pool:
        return dict(zip(names, pool.map(outcome, names)))


class _Gate:
    """What one change waits at until another is right."""

    def __init__(self) -> None:
        self._decided = threading.Event()
        self._open = False

    def open(self) -> None:
        if not self._decided.is_set():
            self._open = True
            self._decided.set()

    def shut(self) -> None:
        """Nothing more is to come; of no consequence where it is open."""
        self._decided.set()

    def passed(self) -> bool:
        """Wait until it is decided; whether it is open."""
        self._decided.wait()
        return self._open


def _lacking(task: Reconciler[S, A], state: S) -> tuple[HoldfastError, ...]:
    """Of a reconciler that has ``lacking(state)``: what is wrong in ``state`` and no action can make right."""
    tell = getattr(task, "lacking", None)
    found: tuple[HoldfastError, ...] = tell(state) if tell else ()
    return found


def _nothing() -> None:
    pass


class _Convergence(Generic[S, A]):
    """The state of one `converge`. ``wait`` is called before the first write and may refuse it; ``right`` when nothing is left to be done."""

    def __init__(
        self,
        task: Reconciler[S, A],
        settle: float,
        now: Callable[[], float],
        pause: Callable[[float], None],
        *,
        wait: Callable[[], None] = _nothing,
        right: Callable[[], None] = _nothing,
    ) -> None:
        self._task = task
        self._wait_for_others = wait
        self._right = right
        self._settle = settle
        self._deadline = now() + settle
        self._now = now
        self._pause = pause
        self._step = _FIRST_PAUSE
        self._accepted: set[A] = set()
        self._errors: dict[A, HoldfastError] = {}

    def run(self) -> Run[S, A]:
        before = after = self.observe()
        pending = planned = self._task.plan(before)
        written = False
        if pending:
            self._wait_for_others()
            self._deadline = self._now() + self._settle
        else:
            self._right()
        while pending:
            written = self._write(pending) or written
            if not written and not self._may_pass(pending):
                break  # refused throughout: what was seen still stands
            try:
                after = self.observe()
                pending = self._task.plan(after)
                if not pending:
                    self._right()
            except HoldfastError as error:
                self._errors = {action: self._errors.get(action, error) for action in self._begun(pending)}
                break
            if not self._may_pass(pending) or not self._wait():
                break
        errors = {action: self._errors.get(action) or self._unseen(after, action) for action in self._begun(pending)}
        return Run(before, after, planned, errors, written, _lacking(self._task, after))

    def _begun(self, pending: tuple[A, ...]) -> tuple[A, ...]:
        """What was tried. What was not reached, since an earlier action failed, is no failure of its own."""
        return tuple(action for action in pending if action in self._errors or action in self._accepted) or pending

    def _write(self, pending: tuple[A, ...]) -> bool:
        """Try what has neither been accepted nor refused for good; whether anything may have been written."""
        todo = tuple(action for action in pending if action not in self._accepted and self._is_open(action))
        attempts = self._task.apply(todo) if todo else ()
        for attempt in attempts:
            if attempt.error is None:
                self._accepted.add(attempt.action)
                self._deadline = self._now() + self._settle
                self._errors.pop(attempt.action, None)
            else:
                self._errors[attempt.action] = attempt.error
        return any(attempt.error is None or attempt.error.ambiguous for attempt in attempts)

    def _is_open(self, action: A) -> bool:
        error = self._errors.get(action)
        return error is None or error.retryable or error.ambiguous

    def _may_pass(self, pending: tuple[A, ...]) -> bool:
        return any(self._is_open(action) for action in pending)

    def observe(self) -> S:
        """Look, again while an error may pass and time is left."""
        while True:
            try:
                return self._task.observe()
            except HoldfastError as error:
                if not error.retryable or not self._wait():
                    raise

    def _wait(self) -> bool:
        """Pause with backoff and jitter; false when the time is up."""
        left = self._deadline - self._now()
        if left <= 0:
            return False
        self._pause(min(left, self._step * random.uniform(0.5, 1.0)))
        self._step = min(self._step * 2, _LONGEST_PAUSE)
        return True

    def _unseen(self, state: S, action: A) -> HoldfastError:
        """The error of a write that was accepted and does not show. A reconciler that has ``unseen(state, action)`` may know more."""
        explain = getattr(self._task, "unseen", None)
        known: HoldfastError | None = explain(state, action) if explain else None
        return known or _still_old(action)


def _still_old(action: object) -> NotConverged:
    return NotConverged(f"{action} was accepted, yet reading it back still shows the old state; run it again, and see who else changes it")
