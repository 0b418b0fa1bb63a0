# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule of the lease: a pure function from (state, event) to (state, actions). Source: DESIGN.md section 6; why it is safe: `timing`.

Every event carries a reading of one clock (CLOCK_BOOTTIME where it is real, in seconds). The times that count are taken so
that a pause of the process anywhere only makes it more careful: a write counts from the `Tick` that asked for it, which
is before it was sent; an unchanged record counts from the `ReadEnded`, which is after it was read.

Invariants
* Every write is conditional on the token of a reading, so of all nodes that act on one state of the record one succeeds.
* Whether a write that got no answer took effect is found by reading: the record then shows its nonce. It counts from its own sending.
* The epoch of a write is above every epoch that this node has seen, unless it prolongs the node's own hold.
* `Demote` ends the claim: the node takes nothing again until it is told to.
* A missing record is waited for like one that is held: somebody may have deleted it under a live holder. The holder that
  finds it gone puts it back with a higher epoch. A node that takes a missing record and remembers no epoch begins at
  ``first_epoch``, the date in seconds, which is above the count of changes of any earlier record.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Optional, Union

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing

#: So many writes of unknown fate are remembered; an older one is recognised as the node's own by its origin.
_REMEMBERED = 8


class Intent(Enum):
    """What the node is after."""

    WATCH = "watch"
    CLAIM = "claim"
    RELEASE = "release"


class Outcome(Enum):
    """How a write ended. UNKNOWN: it may have taken effect, now or later. NOT_SENT: it has not and will not."""

    WRITTEN = "written"
    CONFLICT = "conflict"
    UNKNOWN = "unknown"
    NOT_SENT = "not sent"


@dataclass(frozen=True)
class Identity:
    """Who this is.

    :param name: The node's name, one of its own in the cluster.
    :param origin: The same for every process of one boot of this machine, in each nonce it writes; so a restarted process goes on
        with its node's lease at once, and a second machine with the same name does not.
    :param trusting: The name alone is enough (a person said so).
    """

    name: str
    origin: str
    trusting: bool = False

    def owns(self, record: Record) -> bool:
        """Whether this node holds by this record."""
        return record.holder == self.name and (self.trusting or record.nonce.startswith(self.origin + "."))


@dataclass(frozen=True)
class Reading:
    """What the store showed: the record, ``None`` where there is none, and the token to write against."""

    record: Optional[Record]
    token: Hashable


@dataclass(frozen=True)
class Held:
    """The node may serve, with this epoch, until ``deadline`` on its clock."""

    epoch: int
    deadline: float


@dataclass(frozen=True)
class Attempt:
    """One of this node's writes, counted from before it was sent."""

    record: Record
    expected: Hashable
    sent_at: float


@dataclass(frozen=True)
class State:
    """All that the rule remembers. ``nonces`` counts this process's writes; ``session`` tells them from those of other processes."""

    me: Identity
    session: str
    timing: Timing
    first_epoch: int = 1
    highest: int = 0
    intent: Intent = Intent.WATCH
    handoff_to: str = ""
    held: Optional[Held] = None
    seen: Optional[Reading] = None
    since: float = 0.0
    promised: float = 0.0
    look: bool = True
    busy: bool = False
    sent: Optional[Attempt] = None
    open: tuple[Attempt, ...] = ()
    nonces: int = 0
    next_at: float = float("-inf")

    def may_take(self, now: float) -> bool:
        """The standby's rule, for the record as it was read last."""
        return self.seen is not None and now >= self.free_at()

    def free_at(self) -> float:
        """When the record, if it stays as it is, may be taken."""
        record = self.seen.record if self.seen else None
        if record is not None and not record.holder and record.handoff_to in ("", self.me.name):
            return float("-inf")
        return self.since + self.timing.wait(self.promised)

    @property
    def due(self) -> float:
        """When the next `Tick` is wanted."""
        if self.held is None:
            return self.next_at
        return min(self.next_at, self.held.deadline - self.timing.stop_budget)


@dataclass(frozen=True)
class Tick:
    """Time has passed."""

    now: float


@dataclass(frozen=True)
class Told:
    """A change of mind. RELEASE: all that needs the lease has stopped on this node; hand it to ``handoff_to``, or to any."""

    now: float
    intent: Intent
    handoff_to: str = ""


@dataclass(frozen=True)
class ReadEnded:
    """A read came to its end; ``reading`` is ``None`` where it failed."""

    now: float
    reading: Optional[Reading]


@dataclass(frozen=True)
class WriteEnded:
    """The write came to its end; with ``token`` of the new record where it was written."""

    now: float
    outcome: Outcome
    token: Hashable = None


@dataclass(frozen=True)
class Read:
    """Ask the store."""

    def __str__(self) -> str:
        return "read the lease"


@dataclass(frozen=True)
class Write:
    """Put ``record`` in place of what ``expected`` stands for, or nothing."""

    expected: Hashable
    record: Record

    def __str__(self) -> str:
        return f"write the lease for {self.record.holder or 'nobody'} with epoch {self.record.epoch}"


@dataclass(frozen=True)
class Serve:
    """The lease is held: let the address live until ``deadline``, through `deadman.extend`."""

    epoch: int
    deadline: float

    def __str__(self) -> str:
        return f"serve with epoch {self.epoch}"


@dataclass(frozen=True)
class Demote:
    """The lease is lost: stop what depends on it and remove the address."""

    reason: str

    def __str__(self) -> str:
        return f"stop serving: {self.reason}"


@dataclass(frozen=True)
class Released:
    """The store has the release, or shows that there was nothing to release."""

    def __str__(self) -> str:
        return "the lease is released"


@dataclass(frozen=True)
class Notice:
    """Something that a person should know of."""

    text: str

    def __str__(self) -> str:
        return self.text


Event = Union[Tick, Told, ReadEnded, WriteEnded]
Action = Union[Read, Write, Serve, Demote, Released, Notice]
Step = tuple[State, tuple[Action, ...]]


def valid_lft(deadline: float, now: float) -> int:
    """The whole seconds that an address may still live; 0 and less: none."""
    return int((deadline - now) // 1)


def step(state: State, event: Event) -> Step:
    """What follows from one event."""
    if isinstance(event, Tick):
        return _tick(state, event.now)
    if isinstance(event, ReadEnded):
        return _read_ended(replace(state, busy=False), event)
    if isinstance(event, WriteEnded):
        return _write_ended(replace(state, busy=False), event)
    if event.intent is Intent.CLAIM:
        return replace(state, intent=Intent.CLAIM, next_at=event.now), ()
    return replace(state, intent=event.intent, handoff_to=event.handoff_to, held=None, next_at=event.now), ()


def _tick(state: State, now: float) -> Step:
    if state.held is not None and now >= state.held.deadline - state.timing.stop_budget:
        return _demote(state, "no renewal was confirmed in time")
    if state.busy or now < state.next_at:
        return state, ()
    if state.look or state.seen is None:
        return replace(state, busy=True), (Read(),)
    record = state.seen.record
    mine = record is not None and state.me.owns(record)
    if state.intent is Intent.RELEASE:
        if record is None or not mine:
            return replace(state, intent=Intent.WATCH, next_at=now + state.timing.poll), (Released(),)
        return _write(state, now, "", record.epoch)
    if state.intent is Intent.CLAIM:
        if mine and record is not None and record.epoch >= state.highest:
            return _write(state, now, state.me.name, record.epoch)
        if mine or state.held is not None or state.may_take(now):
            lowest = state.first_epoch if record is None else 1
            return _write(state, now, state.me.name, max(state.highest + 1, lowest))
    return replace(state, busy=True), (Read(),)


def _write(state: State, now: float, holder: str, epoch: int) -> Step:
    assert state.seen is not None
    nonce = f"{state.me.origin}.{state.session}.{state.nonces}"
    record = Record(holder, epoch, nonce, "" if holder else state.handoff_to, state.timing.ttl)
    attempt = Attempt(record, state.seen.token, now)
    return replace(state, busy=True, sent=attempt, nonces=state.nonces + 1), (Write(attempt.expected, record),)


def _write_ended(state: State, event: WriteEnded) -> Step:
    attempt, now = state.sent, event.now
    assert attempt is not None
    state = replace(state, sent=None)
    if event.outcome is Outcome.WRITTEN:
        state = replace(state, seen=Reading(attempt.record, event.token), since=now, promised=attempt.record.ttl)
        return _succeeded(state, attempt, now)
    if event.outcome is Outcome.NOT_SENT:
        return replace(state, next_at=now + state.timing.poll), ()
    unsure = (*state.open, attempt)[-_REMEMBERED:] if event.outcome is Outcome.UNKNOWN else state.open
    return replace(state, open=unsure, look=True, next_at=now), ()


def _succeeded(state: State, attempt: Attempt, now: float) -> Step:
    record = attempt.record
    state = replace(state, open=(), look=False, highest=max(state.highest, record.epoch))
    if not record.holder:
        if state.intent is not Intent.RELEASE:
            return replace(state, next_at=now), ()
        return replace(state, intent=Intent.WATCH, next_at=now + state.timing.poll), (Released(),)
    if state.intent is not Intent.CLAIM:
        return replace(state, next_at=now), ()
    deadline = attempt.sent_at + state.timing.hold
    if now >= deadline - state.timing.stop_budget:
        return _demote(state, "the renewal was confirmed too late") if state.held else (replace(state, next_at=now), ())
    return replace(state, held=Held(record.epoch, deadline), next_at=attempt.sent_at + state.timing.renew), (Serve(record.epoch, deadline),)


def _read_ended(state: State, event: ReadEnded) -> Step:
    reading, now = event.reading, event.now
    if reading is None:
        return replace(state, next_at=now + state.timing.poll), ()
    record, fell = reading.record, _fallen(state, reading)
    state = _note(state, reading, now)
    own = next((attempt for attempt in state.open if record is not None and attempt.record.nonce == record.nonce), None)
    if own is not None:
        return _succeeded(state, own, now)
    state = replace(state, look=False, open=tuple(attempt for attempt in state.open if attempt.expected == reading.token))
    if state.held is None or (record is not None and state.me.owns(record)):
        return replace(state, next_at=_next_act(state, now)), fell
    if record is None:
        return replace(state, next_at=now), (Notice("the lease's record was deleted; it is put back with a higher epoch"),)
    lost, actions = _demote(state, _loss(state.me, record))
    return lost, fell + actions


def _fallen(state: State, reading: Reading) -> tuple[Action, ...]:
    """A notice, once, for a record with a lower epoch than this node has seen."""
    record = reading.record
    if record is None or record.epoch >= state.highest or (state.seen is not None and state.seen.token == reading.token):
        return ()
    return (Notice(f"the lease's epoch fell from {state.highest} to {record.epoch}: the record was changed by hand or restored from a backup"),)


def _note(state: State, reading: Reading, now: float) -> State:
    """Remember what was read, and since when it has not changed."""
    old, new = state.seen.record if state.seen else None, reading.record
    same = state.seen is not None and (old == new if old is None or new is None else (old.epoch, old.nonce) == (new.epoch, new.nonce))
    return replace(
        state,
        seen=reading,
        since=state.since if same else now,
        promised=new.ttl if new is not None else state.promised,
        highest=max(state.highest, new.epoch if new is not None else 0),
    )


def _next_act(state: State, now: float) -> float:
    assert state.seen is not None
    record = state.seen.record
    if state.intent is Intent.RELEASE or (state.intent is Intent.CLAIM and record is not None and state.me.owns(record)):
        return now
    poll = now + state.timing.poll
    return min(poll, max(now, state.free_at())) if state.intent is Intent.CLAIM else poll


def _loss(me: Identity, record: Record) -> str:
    if record.holder == me.name:
        return f"another machine holds the lease under the name {me.name}; give each node a name of its own"
    return f"{record.holder} holds the lease with epoch {record.epoch}" if record.holder else "the lease was released by somebody else"


def _demote(state: State, reason: str) -> Step:
    return replace(state, held=None, intent=Intent.WATCH), (Demote(reason),)
