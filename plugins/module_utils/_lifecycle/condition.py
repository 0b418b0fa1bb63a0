# SPDX-License-Identifier: GPL-3.0-or-later
"""What a state of the policy amounts to: health, faults, reasons, and whether recoveries are held down. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Health
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import LONG_AGO, State

_T = TypeVar("_T")
#: So many repairs in the kernel within so many seconds do not stay: something on this node undoes them.
_MOST_REPAIRS, WITHIN = 10, 60.0


def health(state: State) -> Health:
    """What the looks amount to."""
    tracks = list(state.tracks.values())
    if any(track.failed and track.last.health is not Health.UNKNOWN for track in tracks):
        return Health.FAILED
    if not tracks or is_unseen_on_ec2(state) or any(track.last.health is Health.UNKNOWN for track in tracks):
        return Health.UNKNOWN
    return Health.HEALTHY


def faults(state: State) -> tuple[Fault, ...]:
    """The names of what is wrong and confirmed."""
    return unique(fault for track in state.tracks.values() if track.failed for fault in track.last.faults)  # none of an unknown one


def ordered(state: State) -> tuple[Fault, ...] | None:
    """What is wrong by the order of the recovery that is under way, which may wait for its turn still; ``None`` where none is."""
    return names(state.work.faults) if state.work is not None and state.work.kind == "recover" else None


def reasons(state: State) -> tuple[str, ...]:
    """What is wrong, in words, and why something is not known."""
    unseen = ("EC2 was not looked at yet since this node has the lease",) if is_unseen_on_ec2(state) else ()
    return unique((*(reason for track in state.tracks.values() for reason in track.last.reasons), *unseen))


def is_unseen_on_ec2(state: State) -> bool:
    """What a standby saw there says nothing: it asks only whether EC2 answers."""
    return state.lease.held and state.lease.on_ec2 and "ec2" not in state.tracks


def undone_in_kernel(state: State) -> str:
    """That repairs in the kernel do not stay, in words; empty where they do."""
    often = max(Counter(fault for fault, _at in state.repairs).values(), default=0)  # one event may cause several faults
    if often < _MOST_REPAIRS:
        return ""
    return f"it was repaired in the kernel {often} times within {WITHIN:.0f} s, as something on this node undoes that"


def is_flapping(state: State, now: float) -> bool:
    """Whether it was recovered as often as is allowed within the window."""
    return held_down_until(state) > now


def held_down_until(state: State) -> float:
    """Until when nothing more is tried."""
    most = state.checks.max_recoveries
    if len(state.attempts) < most:
        return LONG_AGO
    return max(state.attempts[-most] + state.checks.window, state.attempts[-1] + state.checks.hold_down)


def names(found: tuple[Fault, ...]) -> tuple[Fault, ...]:
    """As the recovery playbook calls them. What is to be taken over is looked at as a whole."""
    if Fault.TAKEOVER in found:
        return ()
    return unique(_name(fault) for fault in found)


def _name(fault: Fault) -> Fault:
    if fault is Fault.ELASTIC_IP_SOURCE_ROUTE:
        return Fault.ELASTIC_IP
    return Fault.ADDRESS if fault.in_kernel or fault is Fault.PROBE else fault


def unique(values: Iterable[_T]) -> tuple[_T, ...]:
    """Each value once, in the order of their first places."""
    return tuple(dict.fromkeys(values))
