# SPDX-License-Identifier: GPL-3.0-or-later
"""State, events and actions of the tenure of one resource on one node: frozen values. Pure. Times are seconds on one clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Union

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Held
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import LONG_AGO, NEVER, LogEvent

#: Seconds within which a release has to be confirmed. An acquisition has that long too, or the ``wait`` of its request.
PATIENCE = 10.0


@dataclass(frozen=True)
class LeaseView:
    """The lease as this node knows it.

    :param seen: The record was read. ``record``: ``None`` where there is none.
    :param owned: The record is this node's own, and the latest.
    :param fell: The record is older than one that this node has seen.
    :param highest: The highest epoch that this node has seen.
    :param error: Why the last call to the store failed; ``None`` after a success.
    """

    held: Held | None = None
    seen: bool = False
    record: Record | None = None
    owned: bool = False
    fell: bool = False
    highest: int = 0
    error: HoldfastError | None = None


@dataclass(frozen=True)
class ResourceView:
    """The resource as this node's files describe it. ``fence``: its old holder is fenced at a failover."""

    in_service: bool
    fence: bool


class Start(Enum):
    """How far a process has dealt with what the process before it left."""

    UNREAD = "the lease was not read yet"
    OBSERVING = "the address is being observed"
    SETTLED = "settled"


class Phase(Enum):
    """What this node does about the lease. RESUMING: it is this node's own. ACQUIRING: somebody asked for it."""

    STANDBY = "standby"
    RESUMING = "resuming"
    CLAIMING = "claiming"
    ACQUIRING = "acquiring"
    HOLDING = "holding"
    RELEASING = "releasing"


class RequestKind(str, Enum):
    """Requests of people, playbooks and the process itself. EXPIRE: take the address down and do not renew the lease any more."""

    ACQUIRE = "acquire"
    RELEASE = "release"
    WITHDRAW = "withdraw"
    EXPIRE = "expire"


class Stage(Enum):
    """How far a removal has come."""

    DEPENDENTS = "the dependents are being stopped"
    ADDRESS = "the address is being removed"


@dataclass(frozen=True)
class Requested:
    """A request. It is answered by one `Finish` with its number.

    :param number: Above 0, and different for each request.
    :param wait: Seconds for which an acquisition may wait for a lease that is not free. ``patience``: what any request may take.
    :param blocked: Of a release: the refusal because of a dependent that runs here, as observed just before.
    """

    now: float
    number: int
    kind: RequestKind
    resource: ResourceView | None = None
    wait: float = 0.0
    handoff_to: str = ""
    blocked: HoldfastError | None = None
    patience: float = PATIENCE

    @property
    def give_up(self) -> float:
        """When it is answered at the latest."""
        return self.now + max(self.wait, self.patience)


@dataclass(frozen=True)
class Removal:
    """The address is to go, so it gets no lifetime any more.

    :param stage: The action under way. ``until``: when the address is removed even if the dependents have not stopped.
    :param request: The request that it is for, ``None`` for none. Its number is 0 once it was answered.
    :param lost: Why the lease was lost; empty if it was not.
    """

    stage: Stage
    until: float = NEVER
    request: Requested | None = None
    lost: str = ""


@dataclass(frozen=True)
class State:
    """All that tenure remembers.

    :param me: The name of this node. ``alone``: no other node can hold the resource.
    :param lease: The lease as of the last event. ``reported``: as of the last `Observed`, which reports changes.
    :param claim_at: When the policy claims the lease unasked.
    :param waiting: The acquisition or release that waits for the store.
    :param queue: Requests that wait for the end of a removal.
    :param ending: The process hands over, so nothing is claimed any more.
    :param serving: The address is prolonged with the lease, on ``link``. ``alive_until``: when the lifetime of the address ends.
    :param since: When the lease came to be held here. ``taken``: it was another node's, or free.
    :param handed: It came by a hand-over, and nobody took the resource out of service since. So no other node has the address.
    :param expired: As far as is known, the holder before did not release it.
    :param hands_off_until: Until when the resource is left to a playbook that takes it over or gives it up.
    :param withdrawals: How often the resource was taken out of service by a request.
    :param released_at: When this node last gave up the lease that it held.
    :param trouble: The trouble with the address that was logged last; empty after its end.
    """

    tag: str
    me: str
    timing: Timing
    alone: bool = False
    start: Start = Start.UNREAD
    phase: Phase = Phase.STANDBY
    lease: LeaseView = field(default_factory=LeaseView)
    reported: LeaseView = field(default_factory=LeaseView)
    claim_at: float = NEVER
    waiting: Requested | None = None
    queue: tuple[Requested, ...] = ()
    removal: Removal | None = None
    ending: bool = False
    serving: bool = False
    link: str | None = None
    alive_until: float = 0.0
    since: float = LONG_AGO
    taken: bool = False
    handed: bool = False
    expired: bool = False
    hands_off_until: float = LONG_AGO
    withdrawals: int = 0
    released_at: float = LONG_AGO
    trouble: str = ""

    @property
    def due(self) -> float:
        """When the next `Observed` is wanted; infinite if only another event can change anything."""
        removal = self.removal
        requests = (*self.queue, self.waiting, removal.request if removal is not None else None)
        times = [request.give_up for request in requests if request is not None and request.number]
        if removal is not None and removal.stage is Stage.DEPENDENTS:
            times.append(removal.until)
        if self.phase is Phase.STANDBY and self.may_claim:
            times.append(self.claim_time)
        return min(times, default=NEVER)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do before the end of the process."""
        idle = self.start is Start.SETTLED and self.waiting is None and self.removal is None and not self.queue
        return self.ending and idle and self.lease.held is None

    @property
    def may_claim(self) -> bool:
        """Whether nothing keeps this node from a claim that nobody asked for."""
        return self.start is Start.SETTLED and self.removal is None and not self.ending

    @property
    def claim_time(self) -> float:
        """When it claims unasked. After a release, it leaves the others the time to acquire the lease."""
        return self.claim_at if self.claim_at == LONG_AGO else max(self.claim_at, self.released_at + self.timing.wait(0.0))

    @property
    def is_elsewhere(self) -> bool:
        """Whether the record names another node as the holder."""
        return self.lease.record is not None and bool(self.others((self.lease.record.holder,)))

    def others(self, names: Iterable[str]) -> list[str]:
        """The names of other nodes."""
        return [name for name in names if name not in ("", self.me)]


# --- events ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Observed:
    """The lease after its rule had a turn. ``resource``: ``None`` where its files cannot be read."""

    now: float
    lease: LeaseView
    resource: ResourceView | None = None
    claim_at: float = NEVER


@dataclass(frozen=True)
class Renewed:
    """The lease is held until a later deadline."""

    now: float
    lease: LeaseView


@dataclass(frozen=True)
class Lost:
    """The lease is no longer held."""

    now: float
    lease: LeaseView
    reason: str


@dataclass(frozen=True)
class Released:
    """The store has the release, or showed that there was nothing to release."""

    now: float
    lease: LeaseView


@dataclass(frozen=True)
class AddressObserved:
    """After `ObserveAddress`. ``link``: where the address is up. ``orderly``: this node took that epoch from a holder that had released it."""

    now: float
    link: str | None
    orderly: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class Prolonged:
    """After `Prolong`. ``link``: where the address is up. ``trouble``: why it was not prolonged. ``over``: because the deadline has come."""

    now: float
    link: str | None = None
    trouble: str = ""
    over: bool = False


@dataclass(frozen=True)
class Done:
    """After a `StopDependents`, and a `Do` that can fail. ``error``: why it failed."""

    now: float
    action: Do | StopDependents
    error: HoldfastError | None = None


# --- actions -----------------------------------------------------------------------------------------------------------


class Do(Enum):
    """Actions without facts."""

    CLAIM_LEASE = "acquire the lease, and renew it from then on"
    WATCH_LEASE = "claim and renew the lease no more"
    END_FENCE = "have the record name no former holder that is to be fenced"
    TAKE_DOWN = "remove the address from every link"
    RECORD_OUT_OF_SERVICE = "record that the resource is not in service on this node"
    REPORT_CHANGE = "report to the rest of the checker that something about the lease has changed"


@dataclass(frozen=True)
class ReleaseLease:
    """Release the lease to ``handoff_to``, or to any node."""

    handoff_to: str = ""


@dataclass(frozen=True)
class ObserveAddress:
    """Find out where the address is up, and whether this node took the lease with that epoch in good order."""

    epoch: int


@dataclass(frozen=True)
class Prolong:
    """Give the address a lifetime until the deadline, wherever it is up. ``restore_on``: the link to add it to where it is up nowhere."""

    restore_on: str | None


@dataclass(frozen=True)
class StopDependents:
    """Stop them. ``limit``: seconds after which the removal goes on, whether or not they have stopped."""

    limit: float


@dataclass(frozen=True)
class Finish:
    """Answer the request with that number. ``handoff_to``: after a release, to announce it to other nodes."""

    number: int
    error: HoldfastError | None = None
    handoff_to: str | None = None


@dataclass(frozen=True)
class MoveDeadline:
    """Report the deadline of the lease; ``None``: it is not held."""

    deadline: float | None


@dataclass(frozen=True)
class Remember:
    """Keep the highest epoch on disk. ``orderly``: see `AddressObserved`."""

    epoch: int
    orderly: bool


LeaseEvent = Union[Observed, Renewed, Lost, Released]
Result = Union[AddressObserved, Prolonged, Done]
Event = Union[LeaseEvent, Requested, Result]
Action = Union[Do, ReleaseLease, ObserveAddress, Prolong, StopDependents, Finish, MoveDeadline, Remember, LogEvent]
Step = tuple[State, tuple[Action, ...]]
