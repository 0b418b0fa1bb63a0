# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checker's state machine is set to, remembers, is told and asks for: frozen values. Pure. Times are seconds on one clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Union

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Health
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault

NEVER = float("inf")
LONG_AGO = float("-inf")


@dataclass(frozen=True)
class Checks:
    """How a resource is watched. All in seconds but the counts ``rise``, ``fall`` and ``max_recoveries``.

    :param interval: From one look at the kernel to the next; events of the kernel come besides.
    :param deep_interval: From one look at EC2 to the next.
    :param rise: So many healthy looks in a row end a fault; ``fall``: so many failed ones make it.
    :param grace: After the start nothing is repaired for so long.
    :param max_recoveries: So many within ``window`` is flapping: nothing more is tried until the window has passed, and for ``hold_down`` at least.
    :param backoff: The first pause after a recovery that did not help; doubled for each further one, up to ``backoff_max``.
    :param hold_down: Also for how long a node that took over repairs what may lead to the next failover by itself alone.
    :param failback_delay: For how long a node of better priority has to be ready before the resource returns to it.
    """

    interval: float = 5.0
    deep_interval: float = 30.0
    rise: int = 1
    fall: int = 1
    grace: float = 5.0
    max_recoveries: int = 5
    window: float = 600.0
    backoff: float = 5.0
    backoff_max: float = 300.0
    hold_down: float = 60.0
    failback_delay: float = 60.0


class Phase(str, Enum):
    """What the checker is at, in the words of the status."""

    STARTING = "starting"
    WATCHING = "watching"
    SUSPECT = "suspect"
    RECOVERING = "recovering"
    BACKING_OFF = "backing off"
    HELD_DOWN = "held down"
    PAUSED = "paused"


@dataclass(frozen=True)
class CheckResult:
    """What one look found. ``source``: kernel, probe or ec2, each looked at in its own time."""

    source: str
    health: Health
    faults: tuple[Fault, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckHistory:
    """What the looks of one source amount to. ``bad`` and ``good``: so many in a row. ``failed``: the fault is confirmed."""

    last: CheckResult
    bad: int = 0
    good: int = 0
    failed: bool = False


@dataclass(frozen=True)
class Lease:
    """How things stand with the lease, as the machine needs it.

    :param since: When it came to be held here. ``taken``: from another node, or it was free.
    :param serving: The address is kept up here.
    :param standby: The other node that is ready and preferred most; empty where none is known to be.
    :param fence_first: Who had it before has to be fenced before the address is up, which is the playbook's work.
    :param handed: It came by a hand-off, and nobody has taken the resource out of service here since.
    :param on_ec2: Parts of it are on EC2, so it is healthy only once those were looked at.
    :param elsewhere: Another node holds it.
    :param hands_off_until: Somebody else is at work on the resource here, and is left alone until then.
    :param better: A node of better priority, if failback is automatic, and since when it is ready.
    """

    held: bool = False
    epoch: int = 0
    since: float = LONG_AGO
    taken: bool = False
    serving: bool = False
    in_service: bool | None = None
    elsewhere: bool = False
    hands_off_until: float = LONG_AGO
    handed: bool = False
    better: tuple[str, float] | None = None
    standby: str = ""
    fence_first: bool = False
    on_ec2: bool = False


@dataclass(frozen=True)
class Operation:
    """What is under way. ``asked``: by a person."""

    kind: str
    faults: tuple[Fault, ...] = ()
    asked: bool = False


@dataclass(frozen=True)
class Failback:
    """Attempts to return to a node of better priority that did not lead there, and when the next one may begin."""

    failures: int = 0
    next_at: float = LONG_AGO


@dataclass(frozen=True)
class State:
    """All that the machine remembers of one resource.

    :param may_reflex: Repairs in the checker's own process are wanted. ``may_run``: there is a trigger. ``may_switch``: one that can switch over.
    :param attempts: When the recoveries of the last ``window`` began that the checker decided on because of a fault.
    :param failures: Recoveries since the resource was healthy last.
    :param reflexed: What a reflex tried to repair in vain, and when.
    :param mended: What a reflex has repaired, and when, as long as the kernel was not seen to be well since.
    :param reflexing: A reflex is under way.
    :param repairs: By fault, when the reflexes of the last minute ended that were not a takeover and repaired something.
    :param owed: A run that a reflex left to be done: its faults.
    :param restarts: When the runs of the last ``window`` began that were to start a dependent again.
    :param verified: When the runs of the last ``window`` began that a reflex left to be done.
    :param failback: How returning to a node of better priority went.
    :param aside_until: Until when the address is left to somebody on this host who moves it.
    :param untold_until: Until when a run whose end was not told may be under way still.
    """

    checks: Checks
    began: float
    may_reflex: bool = True
    may_run: bool = True
    may_switch: bool = True
    paused: bool = False
    lease: Lease = field(default_factory=Lease)
    tracks: Mapping[str, CheckHistory] = field(default_factory=dict)
    work: Operation | None = None
    reflexing: bool = False
    attempts: tuple[float, ...] = ()
    failures: int = 0
    next_at: float = LONG_AGO
    reflexed: tuple[tuple[str, float], ...] = ()
    mended: tuple[tuple[Fault, float], ...] = ()
    repairs: tuple[tuple[Fault, float], ...] = ()
    owed: tuple[Fault, ...] = ()
    restarts: tuple[float, ...] = ()
    verified: tuple[float, ...] = ()
    failback: Failback = field(default_factory=Failback)
    aside_until: float = LONG_AGO
    untold_until: float = LONG_AGO
    phase: Phase = Phase.STARTING


@dataclass(frozen=True)
class Tick:
    """Time has passed."""

    now: float


@dataclass(frozen=True)
class CheckDone:
    """Somebody looked. ``epoch``: of the lease that was held when that look began; without one it is about now."""

    now: float
    look: CheckResult
    epoch: int | None = None


@dataclass(frozen=True)
class LeaseSeen:
    """The lease, as it stands now."""

    now: float
    lease: Lease


@dataclass(frozen=True)
class ReflexEnded:
    """A reflex came to its end."""

    now: float
    ok: bool


@dataclass(frozen=True)
class RunEnded:
    """A run came to its end. ``jitter``: from 0 to 1, drawn for this event. ``final``: false where the end is not known, only that it was begun."""

    now: float
    ok: bool
    jitter: float
    final: bool = True


@dataclass(frozen=True)
class HoldOff:
    """Somebody on this host changes where the address is: it is left alone until then, or until the next such event."""

    now: float
    until: float


@dataclass(frozen=True)
class LinkRestored:
    """A link that the address can be on is up again, where there was none: what did not help before may help now."""

    now: float


@dataclass(frozen=True)
class OperatorRequest:
    """A person wants it: ``recover``, ``switchover`` (with ``to``), ``pause`` or ``resume``."""

    now: float
    what: str
    to: str = ""


@dataclass(frozen=True)
class Reflex:
    """Repair these in the kernel, in this process."""

    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return f"repair {', '.join(self.faults)} at once"


@dataclass(frozen=True)
class StartRun:
    """Have the triggers run that playbook."""

    playbook: str
    reason: str
    faults: tuple[Fault, ...] = ()
    to: str = ""

    def __str__(self) -> str:
        return f"run {self.playbook}: {self.reason}"


@dataclass(frozen=True)
class CheckNow:
    """Look at the kernel and at EC2 without waiting."""

    def __str__(self) -> str:
        return "look now"


@dataclass(frozen=True)
class LogEvent:
    """An event for the log."""

    event: str
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"tell {self.event}"


Event = Union[Tick, CheckDone, LeaseSeen, ReflexEnded, RunEnded, HoldOff, LinkRestored, OperatorRequest]
Action = Union[Reflex, StartRun, CheckNow, LogEvent]
Step = tuple[State, tuple[Action, ...]]
