# SPDX-License-Identifier: GPL-3.0-or-later
"""What one run of the lease module would do about a record. Pure. There is never more than one action, so there is no order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Union

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY, Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import LONGEST_TTL, Timing


@dataclass(frozen=True)
class Wanted:
    """What the user asks: ``holder`` to hold the lease, or not to. ``wait`` in seconds."""

    key: str
    holder: str
    held: bool
    handoff_to: str = ""
    wait: float = 0.0


@dataclass(frozen=True)
class Observed:
    """The record, and whether this run has written it, so that it need not do so again.

    For a release without the checker of this host, which would take the address down first:

    :param elsewhere: The record was written by another machine, or before this one booted.
    :param places: The interfaces of this host that have the address.
    """

    record: Record | None
    renewed: bool = False
    elsewhere: bool = False
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hold:
    """Acquire or renew. ``free``: nobody has to be waited for."""

    key: str
    holder: str
    free: bool

    def __str__(self) -> str:
        return f"hold the lease {self.key} for {self.holder}"


@dataclass(frozen=True)
class Release:
    """Let go, or reserve what was let go for another."""

    key: str
    handoff_to: str = ""

    def __str__(self) -> str:
        return f"release the lease {self.key}" + (f" to {self.handoff_to}" if self.handoff_to else "")


Change = Union[Hold, Release]


def plan_lease(wanted: Wanted, state: Observed, timing: Timing) -> tuple[Change, ...]:
    """The action that brings it about; none where it is so. Raises `Refused` when that would take the lease from another."""
    return _plan_held(wanted, state, timing) if wanted.held else _plan_released(wanted, state)


def _plan_held(wanted: Wanted, state: Observed, timing: Timing) -> tuple[Change, ...]:
    record = state.record
    if state.renewed:
        return ()
    free = record is not None and (record.holder == wanted.holder or (not record.holder and record.handoff_to in ("", NOBODY, wanted.holder)))
    if not free and wanted.wait <= 0:
        raise Refused(
            _why_not(wanted, record, timing), returns={"holder": record.holder if record else "", "epoch": record.epoch if record else None}
        )
    return (Hold(wanted.key, wanted.holder, free),)


def _why_not(wanted: Wanted, record: Record | None, timing: Timing) -> str:
    needed = int(timing.wait(record.ttl if record else LONGEST_TTL) + timing.poll) + 1
    if record is None:
        return (
            f"the lease {wanted.key} has no record yet; as somebody may have deleted it under a live holder, it is taken only after it was seen "
            f"missing for {timing.wait(LONGEST_TTL):g} s: set wait to at least {needed}"
        )
    if record.holder:
        return (
            f"the lease {wanted.key} is held by {record.holder} (epoch {record.epoch}); release it there, or set wait to at least {needed} "
            f"to take it should {record.holder} no longer renew it"
        )
    return (
        f"the lease {wanted.key} was handed off to {record.handoff_to}; hold it there, or set wait to at least {needed} "
        f"to take it should {record.handoff_to} not come"
    )


def _plan_released(wanted: Wanted, state: Observed) -> tuple[Change, ...]:
    record = state.record
    if record is not None and record.holder == wanted.holder:
        _refuse_unseen(wanted, state, record)
        return (Release(wanted.key, wanted.handoff_to),)
    if wanted.handoff_to in ("", NOBODY) or (record is not None and wanted.handoff_to in (record.holder, record.handoff_to)):
        return ()
    who = (
        "nobody has held it yet"
        if record is None
        else f"{record.holder} holds it"
        if record.holder
        else f"it is already released to {record.handoff_to or 'any'}"
    )
    raise Refused(
        f"the lease {wanted.key} cannot be handed off to {wanted.handoff_to}: {wanted.holder} does not hold it, {who}",
        returns=_returns(record),
    )


def _refuse_unseen(wanted: Wanted, state: Observed, record: Record) -> None:
    """Whoever takes a released lease serves at once, so the address has to be seen to be gone before."""
    if state.elsewhere:
        raise Refused(
            f"the lease {wanted.key} was renewed on another machine than this one, or before this one started, so it cannot be seen from here "
            f"whether {wanted.holder} still has the address; release it on {wanted.holder}, or let it run out",
            returns=_returns(record),
        )
    if state.places:
        raise Refused(
            f"the lease {wanted.key} is not released, as its address is still on {', '.join(state.places)} and no checker answers on this host; "
            "remove the address first, or start holdfast-checker.service",
            returns=_returns(record),
        )


def _returns(record: Record | None) -> dict[str, object]:
    return {"holder": record.holder if record else "", "epoch": record.epoch if record else None}


def simulate_lease(state: Observed, actions: tuple[Change, ...]) -> Observed:
    """The record as it would be. A new record's epoch is not known before it is made."""
    record = state.record
    for action in actions:
        if isinstance(action, Release):
            record = None if record is None else replace(record, holder="", handoff_to=action.handoff_to)
        elif record is None:
            record = Record(action.holder, 1, "new")
        elif record.holder != action.holder:
            record = replace(record, holder=action.holder, epoch=record.epoch + 1, handoff_to="")
    return Observed(record, bool(actions))
