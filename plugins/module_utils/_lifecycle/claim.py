# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node claims a lease, and when, without being asked to (DESIGN.md sections 6 and 7). Pure. Times are seconds on one clock.

The rule of the lease alone keeps two nodes from holding it at once. This says who of several that might take it does: the ready node of the
best priority at once, the others each a little later, so that they find it taken.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY, Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.candidates import preference
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import LONG_AGO, NEVER


@dataclass(frozen=True)
class Candidate:
    """Another node. ``able``: false where the peers' channel says that it is not alive or not ready."""

    node: str
    priority: int | None = None
    able: bool = True


@dataclass(frozen=True)
class Situation:
    """What the decision is made from.

    :param willing: This node is ready, is not paused, and can bring the resource into service without a person.
    :param going_on: This node may go on with a lease that is its own already.
    :param seen: The lease has been read. ``record`` is what was there, unchanged since ``since``; ``owned``: it is this node's own.
    :param free_at: When the rule of the lease lets this node take it.
    """

    me: str
    priority: int | None
    willing: bool
    going_on: bool
    seen: bool
    record: Record | None = None
    owned: bool = False
    since: float = 0.0
    free_at: float = 0.0
    others: tuple[Candidate, ...] = ()


def claim_at(situation: Situation, timing: Timing) -> float:
    """When to claim the lease; infinite for not at all."""
    record = situation.record
    if not situation.seen:
        return NEVER
    if situation.owned:
        return LONG_AGO if situation.going_on else NEVER
    if not situation.willing or (record is not None and not record.holder and record.handoff_to == NOBODY):
        return NEVER
    if record is not None and not record.holder and record.handoff_to == situation.me:
        return LONG_AGO
    return max(situation.since, situation.free_at) + rank(situation) * (timing.poll + 2 * timing.call)


def rank(situation: Situation) -> int:
    """How many other nodes come first. The node that has let its lease run out does not."""
    gone = situation.record.holder if situation.record is not None else ""
    mine = preference(situation.priority, situation.me)
    return sum(1 for other in situation.others if other.able and other.node != gone and preference(other.priority, other.node) < mine)
