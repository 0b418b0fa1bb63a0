# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rule of the lease remembers, is told and asks for: frozen values. Pure. Times are readings of one clock, in seconds."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Union

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY, Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing


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


class Contact(Enum):
    """How the last calls to the store ended. DISPUTED: a write was refused since the record has changed, and nobody has read it since."""

    GOOD = "good"
    DISPUTED = "disputed"
    LOST = "lost"


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

    record: Record | None
    token: Hashable


@dataclass(frozen=True)
class Held:
    """The node may serve, with this epoch, until ``deadline`` on its clock. ``unfenced``: see `Record`."""

    epoch: int
    deadline: float
    unfenced: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """One of this node's writes, counted from before it was sent."""

    record: Record
    expected: Hashable
    sent_at: float


@dataclass(frozen=True)
class Promise:
    """This node has acknowledged that ``holder`` holds with ``epoch``: it claims nothing before ``until`` on its clock."""

    holder: str
    epoch: int
    until: float

    def __str__(self) -> str:
        return f"{self.holder} is acknowledged as the holder with epoch {self.epoch}"


@dataclass(frozen=True)
class State:
    """All that the rule remembers.

    ``nonces`` counts this process's writes; ``session`` tells them from those of other processes. ``seen`` is what the last good read showed, at
    ``read_at``; it has been the same since ``since``, as far as the reads can tell. ``fenced``: no earlier holder has to be fenced any more.
    """

    me: Identity
    session: str
    timing: Timing
    first_epoch: int = 1
    highest: int = 0
    intent: Intent = Intent.WATCH
    handoff_to: str = ""
    held: Held | None = None
    seen: Reading | None = None
    since: float = 0.0
    read_at: float = float("-inf")
    promised: float = 0.0
    look: bool = True
    busy: bool = False
    sent: Attempt | None = None
    open: tuple[Attempt, ...] = ()
    nonces: int = 0
    next_at: float = float("-inf")
    contact: Contact = Contact.GOOD
    promise: Promise | None = None
    nudged: bool = False
    fenced: bool = False

    @property
    def bound_until(self) -> float:
        """Until when a promise keeps this node from claiming."""
        return self.promise.until if self.promise else float("-inf")

    @property
    def asking(self) -> int | None:
        """The epoch for which this node needs the acknowledgement of all others: it holds and cannot reach the store."""
        return self.held.epoch if self.held is not None and self.contact is Contact.LOST else None

    @property
    def fell(self) -> bool:
        """Whether the record is older than one that this node has seen: changed by hand, or restored. What it says of its holder is out of date."""
        record = self.seen.record if self.seen else None
        return record is not None and record.epoch < self.highest

    @property
    def owned(self) -> bool:
        """Whether this node may go on by the record: it is the node's own, and the latest."""
        record = self.seen.record if self.seen else None
        return record is not None and self.me.owns(record) and not self.fell

    def may_take(self, now: float) -> bool:
        """The standby's rule, for the record as it was read last, which was not too long ago."""
        return self.seen is not None and now >= self.free_at() and not self.gap(now)

    def gap(self, now: float) -> bool:
        """Whether nothing has been read for longer than a lease lasts: there may have been another record, which is gone again."""
        return now - self.read_at > self.timing.ttl

    def free_at(self) -> float:
        """When the record, if it stays as it is, may be taken."""
        record = self.seen.record if self.seen else None
        released = record is not None and not record.holder and record.handoff_to in ("", NOBODY, self.me.name)
        if released and not self.fell:  # whoever is told to claim may
            return self.bound_until
        return max(self.since + self.timing.wait(self.promised), self.bound_until)

    @property
    def due(self) -> float:
        """When the next `Tick` is wanted."""
        if self.held is None:
            return self.next_at
        return min(self.next_at, self.timing.stop_from(self.held.deadline))


@dataclass(frozen=True)
class Tick:
    """Time has passed."""

    now: float


@dataclass(frozen=True)
class IntentChanged:
    """A change of mind. RELEASE: all that needs the lease has stopped on this node; hand it to ``handoff_to``, or to any."""

    now: float
    intent: Intent
    handoff_to: str = ""


@dataclass(frozen=True)
class ReadEnded:
    """A read came to its end; ``reading`` is ``None`` where it failed."""

    now: float
    reading: Reading | None


@dataclass(frozen=True)
class WriteEnded:
    """The write came to its end; with ``token`` of the new record where it was written."""

    now: float
    outcome: Outcome
    token: Hashable = None


@dataclass(frozen=True)
class Fenced:
    """What this node holds is in service, so no former holder has to be fenced any more."""

    now: float


@dataclass(frozen=True)
class RecordChanged:
    """Somebody said that the record has changed."""

    now: float


@dataclass(frozen=True)
class PromiseAsked:
    """Another node asks to be acknowledged: it holds with ``epoch``, cannot reach the store, and its timing has ``ttl``."""

    now: float
    holder: str
    epoch: int
    ttl: float


@dataclass(frozen=True)
class Acknowledged:
    """ALL other nodes have acknowledged this node's hold of ``epoch``, each a request sent at ``sent_at`` or later."""

    now: float
    epoch: int
    sent_at: float


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


Event = Union[Tick, IntentChanged, ReadEnded, WriteEnded, Fenced, RecordChanged, PromiseAsked, Acknowledged]
Action = Union[Read, Write, Serve, Demote, Released, Notice, Promise]
Step = tuple[State, tuple[Action, ...]]


def valid_lft(deadline: float, now: float) -> int:
    """The whole seconds that an address may still live; 0 and less: none."""
    return int((deadline - now) // 1)
