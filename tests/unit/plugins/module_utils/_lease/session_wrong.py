# SPDX-License-Identifier: GPL-3.0-or-later
"""Implementations of the rule of the session that are wrong on purpose, for `session_simulation`. Each replaces parts of a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lease import session as rule
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Intent, Outcome, Tick
from ansible_collections.holdfast.ha.plugins.module_utils._lease.session import step
from ansible_collections.holdfast.ha.plugins.module_utils._lease.session_values import (
    Acknowledged,
    AnyRecord,
    Event,
    Own,
    PromiseAsked,
    Put,
    ReadEnded,
    Resource,
    Seen,
    Serve,
    Session,
    State,
    Step,
    Write,
    WriteEnded,
    resource_key,
    session_key,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lease.session_simulation import Hooks, Node
from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lease.simulation import Faults, _without_rate_margin, _without_reserve

_NEVER = float("inf")


# ---- what several of them need


def _serving(after: State, actions: tuple[Any, ...]) -> Step:
    """With the deadline that the state has now."""
    return after, tuple(Serve(after.deadline, action.epochs) if isinstance(action, Serve) else action for action in actions)


def _shown(event: ReadEnded, change: Callable[[str, AnyRecord], AnyRecord]) -> ReadEnded:
    """The reading as the wrong implementation takes it."""
    if event.reading is None:
        return event
    return replace(event, reading={key: (change(key, one) if one is not None else None, token) for key, (one, token) in event.reading.items()})


def _remembered(state: State, change: Callable[[str, Seen], Seen]) -> State:
    return replace(state, seen={key: change(key, seen) for key, seen in state.seen.items()})


# ---- time


def _deadline_after_reply(node: Node, state: State, event: Event) -> Step:
    after, actions = step(state, event)
    if after.own is not None and after.own != state.own:
        after = replace(after, own=replace(after.own, sent_at=event.now))
    if isinstance(event, ReadEnded) and event.reading is not None:
        after = replace(after, read_from=event.now)
    return _serving(after, actions)


def _wait_before_read(node: Node, state: State, event: Event) -> Step:
    after, actions = step(state, event)
    if isinstance(event, ReadEnded) and state.call is not None:
        sent_at = state.call.sent_at
        after = _remembered(after, lambda key, seen: replace(seen, since=sent_at) if seen.since == event.now else seen)
    return after, actions


def _wall_clock(node: Node, state: State, event: Event) -> Step:
    """A session is over once this node's wall clock says that the writer's promise, by the writer's wall clock, is."""
    after, actions = step(state, event)

    def wall(local: float) -> float:
        return (local - node.offset) / node.rate + node.wall_error

    for action in actions:
        for put in action.puts if isinstance(action, Write) else ():
            if isinstance(put.record, Session):
                _WALL[put.record.nonce] = wall(event.now) + put.record.ttl
    if isinstance(event, ReadEnded):
        now = wall(event.now)
        after = _remembered(
            after, lambda key, seen: replace(seen, since=-_NEVER) if seen.session and _WALL.get(seen.session.nonce, now) < now else seen
        )
    return after, actions


_WALL: dict[str, float] = {}


@dataclass(frozen=True)
class _ShortWait(Timing):
    def wait(self, promised: float) -> float:
        return 0.8 * max(self.ttl, promised)


def _with_short_wait(timing: Timing) -> Timing:
    return _ShortWait(timing.ttl, timing.renew, timing.call, timing.margin, timing.poll, timing.rho, timing.stop_budget)


def _renewals_only(node: Node, state: State, event: Event) -> Step:
    """The deadline counts renewals, whether the records of the resources can be read or not."""
    after, actions = step(replace(state, read_from=event.now), event)
    tenures = {tag: replace(tenure, until=_NEVER) for tag, tenure in after.tenures.items()}
    return _serving(replace(after, read_from=event.now, tenures=tenures), actions)


def _gap_unnoticed(node: Node, state: State, event: Event) -> Step:
    return step(replace(state, read_at=event.now) if state.read_at > -_NEVER else state, event)


# ---- sessions


def _held_by_reading(node: Node, state: State, event: Event) -> Step:
    """A process that begins serves from its first reading on, without a renewal."""
    after, actions = step(state, event)
    seen = after.seen.get(after.key)
    if not isinstance(event, ReadEnded) or state.read_at > -_NEVER or seen is None or seen.session is None or not seen.sound:
        return after, actions
    if not seen.session.alive or seen.session.origin != after.setup.origin:
        return after, actions
    return rule._settle(replace(after, own=Own(seen.session.serial, event.now), read_from=event.now, open={}), event.now, -_NEVER)


def _claim_counts_without_the_session(node: Node, state: State, event: Event) -> Step:
    """A claim that was confirmed is served, also after the deadline of its session."""
    after, actions = step(state, event)
    if isinstance(event, WriteEnded) and state.call is not None and after.own is None:
        for put, (outcome, _token) in zip(state.call.puts, event.results):
            if outcome is Outcome.WRITTEN and isinstance(put.record, Resource) and put.record.holder == after.setup.name:
                after = replace(after, own=Own(put.record.serial, event.now), read_from=event.now)
                return rule._settle(after, event.now, -_NEVER)
    return after, actions


def _without_ending(node: Node, state: State, event: Event) -> Step:
    """The resources of a session that was waited for are acquired while the session goes on."""
    after, actions = step(state, event)
    if after.call is None or after.own is None or not any(put.key.startswith("session/") and put.key != after.key for put in after.call.puts):
        return after, actions
    puts = []
    for put in after.call.puts:
        for tag, tenure in after.tenures.items():
            seen = after.seen.get(resource_key(tag))
            record = seen.resource if seen is not None else None
            if record is not None and seen is not None and put.key == session_key(record.holder) and tenure.intent is Intent.CLAIM:
                nonce = f"{put.record.nonce}{tag}"
                mine = Resource(after.setup.name, after.setup.origin, after.own.serial, after.above(resource_key(tag)), nonce)
                puts.append(Put(resource_key(tag), seen.token, mine))
    after = replace(after, call=replace(after.call, puts=tuple(puts)))
    return after, tuple(Write(tuple(puts)) if isinstance(action, Write) else action for action in actions)


def _any_session_of_mine(own_claim: bool) -> Callable[[Node, State, Event], Step]:
    """A record that names another session of this node counts. Either one that it wrote itself, or one that it was handed."""

    def wrong(node: Node, state: State, event: Event) -> Step:
        own = state.own
        if not isinstance(event, ReadEnded) or own is None:
            return step(state, event)

        def change(key: str, one: AnyRecord) -> AnyRecord:
            older = isinstance(one, Resource) and one.holder == state.setup.name and one.serial < own.serial
            if isinstance(one, Resource) and older and one.nonce.startswith(f"{state.setup.origin}.") == own_claim:
                return replace(one, origin=state.setup.origin, serial=own.serial)
            return one

        return step(state, _shown(event, change))

    return wrong


def _ended_is_renewed(node: Node, state: State, event: Event) -> Step:
    def change(key: str, one: AnyRecord) -> AnyRecord:
        if isinstance(one, Session) and key == state.key and not one.alive and one.origin == state.setup.origin:
            return replace(one, serial=one.serial - 1, alive=True)
        return one

    return step(state, _shown(event, change) if isinstance(event, ReadEnded) else event)


def _other_serial_is_void(node: Node, state: State, event: Event) -> Step:
    """A resource is free if its session is not the one that the read shows, also if that one is older: the read may be no snapshot."""
    if not isinstance(event, ReadEnded) or event.reading is None:
        return step(state, event)
    named: dict[str, int] = {}
    for one, _token in event.reading.values():
        if isinstance(one, Resource):
            named[session_key(one.holder)] = max(named.get(session_key(one.holder), 0), one.serial)

    def change(key: str, one: AnyRecord) -> AnyRecord:
        older = isinstance(one, Session) and one.serial < named.get(key, 0) and key != state.key
        return replace(one, serial=named[key] + 1, alive=False) if older and isinstance(one, Session) else one

    after, actions = step(state, _shown(event, change))
    return replace(after, highest={**after.highest, **{key: serial for key, serial in named.items() if key != after.key}}), actions


def _by_the_name_alone(node: Node, state: State, event: Event) -> Step:
    """The session of another boot is continued."""

    def change(key: str, one: AnyRecord) -> AnyRecord:
        mine = isinstance(one, Session) and one.node == state.setup.name and one.alive
        mine = mine or (isinstance(one, Resource) and one.holder == state.setup.name)
        return replace(one, origin=state.setup.origin) if mine else one

    return step(state, _shown(event, change) if isinstance(event, ReadEnded) else event)


def _begun_without_a_wait(node: Node, state: State, event: Event) -> Step:
    """A node whose session record is missing, older or of another boot begins the next session without a wait."""
    after, actions = step(state, event)
    free = after.own is None
    return _remembered(after, lambda key, seen: replace(seen, since=-_NEVER) if free and key == after.key else seen), actions


# ---- hand-over and restarts


def _lost_reply_ignored(node: Node, state: State, event: Event) -> Step:
    """After a hand-over whose reply was lost, the node serves by the record that it reads."""
    after, actions = step(state, event)
    name = after.setup.name
    mine = {key: put for key, put in after.open.items() if not (isinstance(put.record, Resource) and put.record.holder != name)}
    return replace(after, open=mine), actions


def _restart_serves_what_it_finds(node: Node, state: State, event: Event) -> Step:
    """A process that starts does not write the records again that it finds in its name."""
    after, actions = step(state, event)
    return (replace(after, open={}) if state.read_at == -_NEVER else after), actions


# ---- failsafe


def _without_promise(node: Node, state: State, event: Event) -> Step:
    after, actions = step(state, event)
    return (state if isinstance(event, PromiseAsked) else after), actions


def _counted_from_the_reply(node: Node, state: State, event: Event) -> Step:
    return step(state, replace(event, sent_at=event.now) if isinstance(event, Acknowledged) else event)


def _promise_from_the_last_read(node: Node, state: State, event: Event) -> Step:
    seen = state.seen.get(session_key(event.holder)) if isinstance(event, PromiseAsked) else None
    return step(state, replace(event, now=min(event.now, seen.since)) if seen is not None and isinstance(event, PromiseAsked) else event)


def _last_serial(state: State) -> int | None:
    seen = state.seen.get(state.key)
    mine = seen.session if seen is not None and seen.sound else None
    return mine.serial if mine is not None and mine.alive and mine.origin == state.setup.origin and state.lost else None


def _revived(node: Node, state: State, event: Event) -> Step:
    """A deadline that has passed is prolonged. And a peer promises while a write of its own is under way."""
    if isinstance(event, PromiseAsked):
        after, actions = step(replace(state, call=None, open={}), event)
        return replace(after, call=state.call, open=state.open), actions
    if not isinstance(event, Acknowledged) or state.own is not None or _last_serial(state) != event.serial:
        return step(state, event)
    own = Own(event.serial, -_NEVER, event.sent_at + state.setup.timing.hold)
    tenures = {tag: replace(one, intent=Intent.CLAIM) if one.intent is Intent.WATCH else one for tag, one in state.tenures.items()}
    return rule._settle(replace(state, own=own, tenures=tenures), event.now, -_NEVER) if own.kept > event.now else (state, ())


def _promised_for_one_resource(node: Node, state: State, event: Event) -> Step:
    """The promise covers the first resource instead of the session."""
    promises = state.promises
    after, actions = step(replace(state, promises={}), event)
    promises = {**promises, **after.promises}
    bound = any(promise.until > event.now for promise in promises.values())
    if isinstance(event, Tick) and bound and any(isinstance(action, Write) and action.puts[0].key == "resource/r0" for action in actions):
        return replace(state, next_at=event.now + state.setup.timing.poll), ()
    return replace(after, promises=promises), actions


def _let_off_by_any_reading(node: Node, state: State, event: Event) -> Step:
    after, actions = step(state, event)
    return (replace(after, promises={}) if isinstance(event, ReadEnded) and event.reading is not None else after), actions


# ---- what people do


def _missing_is_free(node: Node, state: State, event: Event) -> Step:
    after, actions = step(state, event)
    return _remembered(after, lambda key, seen: replace(seen, since=-_NEVER) if seen.record is None else seen), actions


def _by_the_own_ttl(missing: bool) -> Callable[[Node, State, Event], Step]:
    def wrong(node: Node, state: State, event: Event) -> Step:
        after, actions = step(state, event)
        return _remembered(after, lambda key, seen: replace(seen, promised=0.0) if not missing or seen.record is None else seen), actions

    return wrong


def _promised_by_the_own_ttl(node: Node, state: State, event: Event) -> Step:
    if not isinstance(event, PromiseAsked):
        return step(state, event)
    after, actions = step(_remembered(state, lambda key, seen: replace(seen, promised=0.0)), replace(event, ttl=0.0))
    return replace(after, seen=state.seen), actions


def _believed(old: Callable[[State, AnyRecord], bool]) -> Callable[[Node, State, Event], Step]:
    """An older record of that kind is believed."""

    def wrong(node: Node, state: State, event: Event) -> Step:
        reading: Mapping[str, Any] = event.reading if isinstance(event, ReadEnded) and event.reading is not None else {}
        ranks = {key: one.rank for key, (one, _token) in reading.items() if one is not None and old(state, one)}
        lowered = {key: min(highest, ranks.get(key, highest)) for key, highest in state.highest.items()}
        after, actions = step(replace(state, highest=lowered), event)
        kept = {key: max(highest, state.highest.get(key, 0)) for key, highest in after.highest.items()}
        return replace(after, highest=kept), actions

    return wrong


WRONG: dict[str, Hooks] = {
    "deadline counted after the reply": Hooks(step=_deadline_after_reply),
    "waiting counted from before the read": Hooks(step=_wait_before_read),
    "wall clock compared": Hooks(step=_wall_clock),
    "short wait": Hooks(timing=_with_short_wait),
    "no rate margin": Hooks(timing=_without_rate_margin),
    "a margin that does not cover the kernel's delay": Hooks(timing=_without_reserve),
    "demotion in user space only": Hooks(kernel_expiry=False),
    "refresh without the kernel's guard": Hooks(guard=False),
    "a process that begins serves from its first reading on": Hooks(step=_held_by_reading),
    "a claim counts after its session was ended": Hooks(step=_claim_counts_without_the_session),
    "a takeover without ending the session": Hooks(step=_without_ending),
    "a claim of an old session counts": Hooks(step=_any_session_of_mine(own_claim=True)),
    "a hand-over to an old session counts": Hooks(step=_any_session_of_mine(own_claim=False)),
    "an ended session is renewed": Hooks(step=_ended_is_renewed),
    "a session older than the resource record is void": Hooks(step=_other_serial_is_void),
    "hand-over while serving": Hooks(stops_first=False),
    "served on after a lost hand-over reply": Hooks(step=_lost_reply_ignored),
    "a restarted process serves what it finds": Hooks(step=_restart_serves_what_it_finds),
    "acknowledged without a promise": Hooks(step=_without_promise),
    "acknowledgements counted from the reply": Hooks(step=_counted_from_the_reply),
    "a promise counted from the last read": Hooks(step=_promise_from_the_last_read),
    "promised by a majority": Hooks(needed=lambda others: (others + 1) // 2),
    "a promise for one resource": Hooks(step=_promised_for_one_resource),
    "let off a promise by any reading": Hooks(step=_let_off_by_any_reading),
}

WRONG_WITH_FAULTS: dict[str, tuple[Faults, Hooks]] = {
    "a missing record is free": (Faults(deleted=True), Hooks(step=_missing_is_free)),
    "a missing record is waited for by the own profile": (Faults(deleted=True, mixed=True), Hooks(step=_by_the_own_ttl(missing=True))),
    "the deadline counts renewals only": (Faults(deleted=True), Hooks(step=_renewals_only)),
    "a deleted session is begun again without a wait": (Faults(deleted=True), Hooks(step=_begun_without_a_wait)),
    "a gap in the reads is not noticed": (Faults(deleted=True), Hooks(step=_gap_unnoticed)),
    "the holder's ttl is ignored": (Faults(mixed=True), Hooks(step=_by_the_own_ttl(missing=False))),
    "a deadline revived, and promised with a write under way": (Faults(mixed=True), Hooks(step=_revived, asks=_last_serial)),
    "a promise by the own ttl": (Faults(mixed=True), Hooks(step=_promised_by_the_own_ttl)),
    "an older resource record of its own is believed": (
        Faults(restored=True),
        Hooks(step=_believed(lambda state, one: isinstance(one, Resource) and one.holder == state.setup.name)),
    ),
    "an older resource record is free as it says": (
        Faults(restored=True),
        Hooks(step=_believed(lambda state, one: isinstance(one, Resource) and not one.holder)),
    ),
    "an older resource record of another node is believed": (
        Faults(restored=True),
        Hooks(step=_believed(lambda state, one: isinstance(one, Resource) and one.holder not in ("", state.setup.name))),
    ),
    "promised although a stranger was heard": (Faults(stranger=True), Hooks(heard=False)),
    "a new boot begins a session without a wait": (Faults(namesake=True), Hooks(step=_begun_without_a_wait)),
    "a session of another boot is continued": (Faults(namesake=True), Hooks(step=_by_the_name_alone)),
}
