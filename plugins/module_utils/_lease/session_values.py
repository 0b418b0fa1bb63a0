# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rule of the session remembers, is told and asks for: frozen values. Pure. Times are readings of one clock, in seconds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Union

from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Intent, Notice, Outcome, Read, RecordChanged, Tick
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing

NEVER = float("inf")


def session_key(node: str) -> str:
    """The key of a node's session in the store."""
    return f"session/{node}"


def resource_key(tag: str) -> str:
    """The key of a resource in the store."""
    return f"resource/{tag}"


@dataclass(frozen=True)
class Session:
    """The record of a node's session.

    :param node: The node's name.
    :param origin: The boot of the machine that began the session. All processes of one boot continue one session.
    :param serial: Rises when a session begins and when it is ended. A renewal keeps it.
    :param nonce: New with every write.
    :param ttl: Seconds that the writer was promised.
    :param alive: False once the session was ended. The node then begins another one.
    """

    node: str
    origin: str
    serial: int
    nonce: str
    ttl: float = 10.0
    alive: bool = True

    @property
    def rank(self) -> int:
        """Never falls, unless the record was restored from a backup or changed by hand."""
        return self.serial


@dataclass(frozen=True)
class Resource:
    """The record of a resource. It binds as long as the session that it names is the node's latest.

    :param holder: The node's name. Empty once released.
    :param origin: With ``serial``: the session of the holder.
    :param epoch: Rises with every change of holder, and with every release.
    :param nonce: New with every write.
    :param handoff_to: After a release: the node that may acquire without a wait. Empty for any node. `record.NOBODY` if an operator holds it back.
    :param unfenced: Nodes that held the resource and did not release it, until the holder reports `Fenced`.
    """

    holder: str
    origin: str
    serial: int
    epoch: int
    nonce: str
    handoff_to: str = ""
    unfenced: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, str, int]:
        """The session by which the resource is held."""
        return self.holder, self.origin, self.serial

    @property
    def rank(self) -> int:
        """Never falls, unless the record was restored from a backup or changed by hand."""
        return self.epoch


AnyRecord = Union[Session, Resource]
#: Each key of the cluster with its record and the token to write against. A key that is missing has the token None.
#: A record that this release cannot parse is None, with its token: nobody replaces it.
Reading = Mapping[str, "tuple[AnyRecord | None, Hashable]"]


@dataclass(frozen=True)
class Seen:
    """What the last good read showed under one key.

    :param since: The end of the first read that showed it, as far as the reads can tell.
    :param promised: The longest time that a holder may have been promised.
    :param sound: The record exists, and this node has never seen a later one. Else somebody deleted or restored it.
    """

    record: AnyRecord | None
    token: Hashable
    since: float
    promised: float
    sound: bool

    @property
    def session(self) -> Session | None:
        """The record of a session."""
        return self.record if isinstance(self.record, Session) else None

    @property
    def resource(self) -> Resource | None:
        """The record of a resource."""
        return self.record if isinstance(self.record, Resource) else None

    @property
    def unreadable(self) -> bool:
        """There is a record, and this release cannot parse it."""
        return self.record is None and self.token is not None


#: Before the first read.
UNSEEN = Seen(None, None, NEVER, 0.0, sound=False)


@dataclass(frozen=True)
class Put:
    """Store ``record`` under ``key`` in place of what ``expected`` stands for. ``waited``: the write relies on a wait, so a promise excludes it."""

    key: str
    expected: Hashable
    record: AnyRecord
    waited: bool = False


@dataclass(frozen=True)
class Call:
    """The call to the store that is under way. A read has no ``puts``."""

    sent_at: float
    puts: tuple[Put, ...] = ()


@dataclass(frozen=True)
class Own:
    """This node's session, as long as its deadline has not passed.

    :param sent_at: When the last renewal that took effect was sent.
    :param kept: The deadline by the promises of all other nodes.
    """

    serial: int
    sent_at: float
    kept: float = -NEVER


@dataclass(frozen=True)
class Tenure:
    """One resource on this node.

    :param epoch: The epoch with which this node may serve. None if it may not.
    :param until: The deadline of a resource whose record was found deleted or restored.
    :param unfenced: See `Resource`, as long as ``epoch`` is set. ``fenced``: no former holder has to be fenced.
    :param released: `Released` was reported.
    """

    intent: Intent
    handoff_to: str = ""
    epoch: int | None = None
    until: float = NEVER
    unfenced: tuple[str, ...] = ()
    fenced: bool = False
    released: bool = False


@dataclass(frozen=True)
class Promise:
    """This node does not end that session, or an earlier one of ``holder``, before ``until`` on its clock."""

    holder: str
    serial: int
    until: float


@dataclass(frozen=True)
class Setup:
    """What stays the same in the life of a process.

    :param origin: The same for every process of one boot of this machine, and for no other.
    :param process: Distinguishes the nonces of this process.
    :param first: A serial or an epoch above that of any deleted record: the date in seconds.
    """

    name: str
    origin: str
    process: str
    timing: Timing
    first: int = 1


@dataclass(frozen=True)
class State:
    """All that the rule remembers.

    :param nodes: All nodes that this node is configured with or has heard.
    :param highest: The highest serial or epoch of each key. The caller keeps it across restarts.
    :param open: Writes that may still take effect, by key. After a start: what an earlier process may have written against.
    :param renewals: The same for this node's own session.
    :param read_from: When the last good read began. ``read_at``: when it ended.
    :param read_due: When the next regular read begins. ``look``: a read comes before anything else.
    :param lost: The last call to the store failed.
    """

    setup: Setup
    nodes: frozenset[str] = frozenset()
    highest: Mapping[str, int] = field(default_factory=dict)
    tenures: Mapping[str, Tenure] = field(default_factory=dict)
    seen: Mapping[str, Seen] = field(default_factory=dict)
    open: Mapping[str, Put] = field(default_factory=dict)
    renewals: tuple[tuple[Put, float], ...] = ()
    own: Own | None = None
    read_from: float = -NEVER
    read_at: float = -NEVER
    read_due: float = -NEVER
    look: bool = True
    nudged: bool = False
    call: Call | None = None
    nonces: int = 0
    next_at: float = -NEVER
    lost: bool = False
    promises: Mapping[str, Promise] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Of this node's session."""
        return session_key(self.setup.name)

    @property
    def deadline(self) -> float:
        """Until when this node may serve what it holds."""
        own = self.own
        return -NEVER if own is None else max(min(own.sent_at, self.read_from) + self.setup.timing.hold, own.kept)

    @property
    def held(self) -> tuple[str, ...]:
        """The resources that this node may serve."""
        return tuple(tag for tag, tenure in self.tenures.items() if tenure.epoch is not None)

    @property
    def asking(self) -> int | None:
        """The serial for which this node needs the promises of all other nodes: it serves, and the store does not answer."""
        return self.own.serial if self.own is not None and self.lost and self.held else None

    @property
    def due(self) -> float:
        """When the next `Tick` is wanted."""
        ends = min((tenure.until for tenure in self.tenures.values()), default=NEVER)
        ends = self.setup.timing.stop_from(min(ends, self.deadline)) if self.own is not None else NEVER
        return min(ends, self.next_at if self.call is None else NEVER)

    def gap(self, now: float) -> bool:
        """Whether nothing was read for longer than a session lasts. There may have been another record, which is gone."""
        return now - self.read_at > self.setup.timing.ttl

    def above(self, key: str) -> int:
        """A serial or an epoch above all that this node knows of the key."""
        return max(self.highest.get(key, 0) + 1, self.setup.first if self.seen.get(key, UNSEEN).record is None else 1)

    def free_at(self, key: str) -> float:
        """When the wait for an unchanged record is over."""
        seen, highest = self.seen.get(key, UNSEEN), self.highest.get(key, 0)
        if seen.unreadable:
            return NEVER
        binding = (one for one in self.promises.values() if key.startswith("resource/") or (key == session_key(one.holder) and one.serial >= highest))
        return max((seen.since + self.setup.timing.wait(seen.promised), *(one.until for one in binding)))


@dataclass(frozen=True)
class IntentChanged:
    """What the node wants of a resource.

    CLAIM: acquire and serve it. RELEASE: nothing of it runs on this node, so give it to ``handoff_to`` or to any node, now and whenever a record
    names this node. WATCH: neither. After `Stop` the intent is WATCH. The caller stops the resource and then claims or releases it.
    """

    now: float
    tag: str
    intent: Intent
    handoff_to: str = ""


@dataclass(frozen=True)
class NodesKnown:
    """The nodes that this node is configured with or has heard, itself included."""

    now: float
    nodes: frozenset[str]


@dataclass(frozen=True)
class ReadEnded:
    """A read of all keys ended. ``reading`` is None if it failed. Each key may have been read at another instant."""

    now: float
    reading: Reading | None


@dataclass(frozen=True)
class WriteEnded:
    """The writes ended, each with its outcome and the token of the new record."""

    now: float
    results: tuple[tuple[Outcome, Hashable], ...]


@dataclass(frozen=True)
class Fenced:
    """The resource is in service on this node, so no former holder has to be fenced."""

    now: float
    tag: str


@dataclass(frozen=True)
class PromiseAsked:
    """A node that serves by its session ``serial`` has lost the store. It knows ``nodes``, and its timing has ``ttl``."""

    now: float
    holder: str
    serial: int
    ttl: float
    nodes: frozenset[str]


@dataclass(frozen=True)
class Acknowledged:
    """``nodes`` have promised not to end this node's session, each on a request sent at ``sent_at`` or later."""

    now: float
    serial: int
    sent_at: float
    nodes: frozenset[str]


@dataclass(frozen=True)
class Write:
    """Carry out conditional writes, in any order or in transactions. Each may succeed or fail independently."""

    puts: tuple[Put, ...]


@dataclass(frozen=True)
class Serve:
    """Serve these resources, given as tag and epoch, until ``deadline``, through `deadman.extend`."""

    deadline: float
    epochs: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Stop:
    """These resources are lost: stop what depends on them and remove their addresses."""

    tags: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Released:
    """The store shows that this node does not hold the resource."""

    tag: str


Event = Union[Tick, IntentChanged, NodesKnown, ReadEnded, WriteEnded, Fenced, RecordChanged, PromiseAsked, Acknowledged]
Action = Union[Read, Write, Serve, Stop, Released, Notice, Promise]
Step = tuple[State, tuple[Action, ...]]
