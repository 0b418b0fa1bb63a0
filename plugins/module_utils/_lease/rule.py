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
* Failsafe: a node that holds nothing and has no write under way acknowledges a holder that has lost the store. That is a promise to
  claim nothing for as long as a write of that holder would bind it, unless the record shows that the holder let go. So the
  acknowledgements of ALL other nodes count for the holder like a write that was sent when it asked for them. They prolong a hold and
  never revive one: as it has gone on since a write Y that took effect, and nobody was free to write against Y meanwhile, no write
  that an ended process of a peer left under way can take effect either; and a fresh process waits longer than its forerunner had promised.
* A record with a lower epoch than this node has seen was restored or changed by hand. It is waited for like one that is held, whatever it says: also
  if it says that it was released, or is this node's own.
* A missing record is waited for like one that is held, for as long as the longest profile: somebody may have deleted it under a live holder. The
  holder that finds it gone puts it back with a higher epoch. A node that takes a missing record and remembers no epoch begins at
  ``first_epoch``, the date in seconds, which is above the count of changes of any earlier record.
* Every record names the nodes that held the lease and did not release it, until the holder says `Fenced`. A node's own name leaves the list when it
  holds the lease itself.
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import (
    Acknowledged,
    Action,
    Attempt,
    Contact,
    Demote,
    Event,
    Fenced,
    Held,
    Identity,
    Intent,
    Notice,
    Outcome,
    Promise,
    PromiseAsked,
    Read,
    ReadEnded,
    Reading,
    RecordChanged,
    Released,
    Serve,
    State,
    Step,
    Tick,
    Write,
    WriteEnded,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import LONGEST_TTL

#: So many writes of unknown fate are remembered; an older one is recognised as the node's own by its origin.
_REMEMBERED = 8


def step(state: State, event: Event) -> Step:
    """What follows from one event."""
    if isinstance(event, Tick):
        return _tick(state, event.now)
    if isinstance(event, ReadEnded):
        return _looking_again(_read_ended(state, event), event.now)
    if isinstance(event, WriteEnded):
        return _looking_again(_write_ended(state, event), event.now)
    if isinstance(event, PromiseAsked):
        return _asked(state, event)
    if isinstance(event, Acknowledged):
        return _acknowledged(state, event)
    if isinstance(event, RecordChanged):
        return _nudged(state, event.now), ()
    if isinstance(event, Fenced):
        return _fenced(state, event.now), ()
    state = replace(state, fenced=state.fenced and state.held is not None)
    if event.intent is Intent.CLAIM:
        return replace(state, intent=Intent.CLAIM, next_at=event.now), ()
    return replace(state, intent=event.intent, handoff_to=event.handoff_to, held=None, next_at=event.now), ()


def _tick(state: State, now: float) -> Step:
    if state.held is not None and now >= state.timing.stop_from(state.held.deadline):
        return _demote(state, "no renewal was confirmed in time")
    if state.busy or now < state.next_at:
        return state, ()
    if state.look or state.seen is None:
        return replace(state, busy=True), (Read(),)
    record = state.seen.record
    if state.intent is Intent.RELEASE:
        mine = record is not None and state.me.owns(record)
        if record is None or not mine:
            return replace(state, intent=Intent.WATCH, next_at=now + state.timing.poll), (Released(),)
        return _write(state, now, "", record.epoch)
    if state.intent is Intent.CLAIM and now >= state.bound_until:
        if record is not None and state.owned:
            return _write(state, now, state.me.name, record.epoch)
        if state.held is not None or state.may_take(now):
            lowest = state.first_epoch if record is None else 1
            return _write(state, now, state.me.name, max(state.highest + 1, lowest))
    return replace(state, busy=True), (Read(),)


def _write(state: State, now: float, holder: str, epoch: int) -> Step:
    expected = state.seen.token if state.seen else None
    nonce = f"{state.me.origin}.{state.session}.{state.nonces}"
    record = Record(holder, epoch, nonce, "" if holder else state.handoff_to, state.timing.ttl, _unfenced(state))
    attempt = Attempt(record, expected, now)
    return replace(state, busy=True, sent=attempt, nonces=state.nonces + 1), (Write(attempt.expected, record),)


def _unfenced(state: State) -> tuple[str, ...]:
    """See `Record`, for this node's next write."""
    before = state.seen.record if state.seen else None
    if state.fenced:
        return ()
    if before is None:
        return state.held.unfenced if state.held is not None else ()
    names = dict.fromkeys((*before.unfenced, before.holder))
    return tuple(name for name in names if name not in ("", state.me.name))


def _fenced(state: State, now: float) -> State:
    """The record is to say so at once: whoever takes the lease next would fence in vain."""
    if state.held is None or not state.held.unfenced:
        return state
    return replace(state, fenced=True, held=replace(state.held, unfenced=()), next_at=min(state.next_at, now))


def _write_ended(state: State, event: WriteEnded) -> Step:
    attempt, now = state.sent, event.now
    if attempt is None:
        raise ValueError("a write ended that was never begun")
    state = replace(state, sent=None, busy=False)
    if event.outcome is Outcome.WRITTEN:
        state = replace(state, seen=Reading(attempt.record, event.token), since=now, read_at=now, promised=attempt.record.ttl)
        state = replace(state, contact=Contact.GOOD)
        return _succeeded(state, attempt, now)
    if event.outcome is Outcome.NOT_SENT:
        return replace(state, contact=_lost(state), next_at=now + state.timing.poll), ()
    if event.outcome is Outcome.CONFLICT:
        return replace(state, contact=Contact.DISPUTED, look=True, next_at=now), ()
    return replace(state, contact=_lost(state), open=(*state.open, attempt)[-_REMEMBERED:], look=True, next_at=now), ()


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
    if state.held is not None:
        deadline = max(deadline, state.held.deadline)  # what the peers have acknowledged since stays good
    if now >= state.timing.stop_from(deadline):
        return _demote(state, "the renewal was confirmed too late") if state.held else (replace(state, next_at=now), ())
    held = Held(record.epoch, deadline, () if state.fenced else record.unfenced)
    at = now if held.unfenced != record.unfenced else attempt.sent_at + state.timing.renew
    return replace(state, held=held, next_at=at), (Serve(record.epoch, deadline),)


def _read_ended(state: State, event: ReadEnded) -> Step:
    reading, now = event.reading, event.now
    if reading is None:
        return replace(state, busy=False, contact=_lost(state), next_at=now + state.timing.poll), ()
    record, fell = reading.record, _fallen(state, reading)
    state = _note(state, reading, now)
    own = next((attempt for attempt in state.open if record is not None and attempt.record.nonce == record.nonce), None)
    if own is not None:
        return _succeeded(state, own, now)
    kept = tuple(attempt for attempt in state.open if attempt.expected == reading.token)
    if state.held is None or (record is not None and state.me.owns(record)):
        return replace(state, look=False, open=kept, next_at=_next_act(state, now)), fell
    state = replace(state, look=False, open=kept, next_at=now)
    if record is None:
        return state, (Notice("the lease's record was deleted; it is put back with a higher epoch"),)
    lost, actions = _demote(state, _loss(state.me, record))
    return lost, fell + actions


def _fallen(state: State, reading: Reading) -> tuple[Action, ...]:
    """A notice, once, for a record with a lower epoch than this node has seen."""
    record = reading.record
    if record is None or record.epoch >= state.highest or (state.seen is not None and state.seen.token == reading.token):
        return ()
    return (
        Notice(
            f"the lease's epoch fell from {state.highest} to {record.epoch}: the record was changed by hand or restored from a backup, "
            "so it is waited for whatever it says"
        ),
    )


def _note(state: State, reading: Reading, now: float) -> State:
    """Remember what was read, and since when it has not changed. A promise to a holder that has released since is over.

    The same record twice is no proof that there was no other one in between: it may have been deleted or restored. So the wait begins anew where a
    write of this node was refused meanwhile, and where nothing was read for longer than a lease lasts. A missing or older record does not say
    what its last holder was promised: the longest that is known counts.
    """
    old, new = state.seen.record if state.seen else None, reading.record
    same = state.seen is not None and (old == new if old is None or new is None else (old.epoch, old.nonce) == (new.epoch, new.nonce))
    if state.contact is Contact.DISPUTED or state.gap(now):
        same = False
    promised = max(state.promised, LONGEST_TTL) if new is None else new.ttl if new.epoch >= state.highest else max(state.promised, new.ttl)
    promise = state.promise
    if promise is not None and new is not None and not new.holder and new.epoch == promise.epoch:
        promise = None
    return replace(
        state,
        busy=False,
        contact=Contact.GOOD,
        promise=promise,
        seen=reading,
        since=state.since if same else now,
        read_at=now,
        promised=promised,
        highest=max(state.highest, new.epoch if new is not None else 0),
    )


def _next_act(state: State, now: float) -> float:
    poll = now + state.timing.poll
    if state.intent is not Intent.CLAIM:
        return now if state.intent is Intent.RELEASE else poll
    return min(poll, max(now, state.bound_until if state.owned or state.held is not None else state.free_at()))


def _asked(state: State, event: PromiseAsked) -> Step:
    """The promise, if it can be given. A node that has seen a later epoch knows better than the one that asks."""
    record, old = state.seen.record if state.seen else None, state.promise
    newer = state.highest > event.epoch or (record is not None and record.epoch == event.epoch)
    stale = newer and (record is None or record.holder != event.holder)
    if stale or event.holder == state.me.name or (old is not None and old.epoch > event.epoch and old.until > event.now):
        return state, ()
    if state.held is not None or state.sent is not None or state.open:
        return state, ()
    until = event.now + state.timing.wait(max(state.promised, event.ttl))
    promise = Promise(event.holder, event.epoch, max(until, state.bound_until))
    return replace(state, promise=promise), (promise,)


def _acknowledged(state: State, event: Acknowledged) -> Step:
    held, deadline = state.held, event.sent_at + state.timing.hold
    if held is None or held.epoch != event.epoch or state.contact is not Contact.LOST:
        return state, ()
    if deadline <= held.deadline or event.now >= state.timing.stop_from(held.deadline):
        return state, ()  # what has ended is not revived
    return replace(state, held=replace(held, deadline=deadline)), (Serve(held.epoch, deadline),)


def _lost(state: State) -> Contact:
    return Contact.LOST if state.contact is not Contact.DISPUTED else Contact.DISPUTED


def _loss(me: Identity, record: Record) -> str:
    if record.holder == me.name:
        return f"another machine holds the lease under the name {me.name}; give each node a name of its own"
    return f"{record.holder} holds the lease with epoch {record.epoch}" if record.holder else "the lease was released by somebody else"


def _nudged(state: State, now: float) -> State:
    if state.held is not None:
        return state
    return replace(state, nudged=True) if state.busy else replace(state, next_at=min(state.next_at, now))


def _looking_again(after: Step, now: float) -> Step:
    """What was read or written while the nudge came may be older than what it is about."""
    state, actions = after
    return (replace(state, nudged=False, next_at=min(state.next_at, now)), actions) if state.nudged else after


def _demote(state: State, reason: str) -> Step:
    return replace(state, held=None, intent=Intent.WATCH), (Demote(reason),)
