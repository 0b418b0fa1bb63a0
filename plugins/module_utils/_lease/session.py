# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule of the session: a pure function from (state, event) to (state, actions), for one node and any number of resources.

The times of `timing` apply to the session of a node. A *sound* record exists and is the latest that its reader knows. A session
with serial j is *void* for a node that has read a higher serial of that session in the store. In true time:

1. A holder counts its deadline from before it sent the last renewal that took effect, or from the begin of its last good read if that is earlier.
   It stops at the deadline. So it serves by a state of the store for less than T after that state was there.
2. Before a node ends a session, it reads the same session record for T(1+rho), counted from the end of the first read. It ends the session
   by compare-and-swap on that record. So no renewal took effect meanwhile, and by step 1 the holder's deadlines passed before the write was sent.
3. The end of a session raises its serial. A node begins a session only if its record was ended, or after the wait of step 2, and raises the serial
   too. So a record with serial k proves that the node never serves again by a serial below k.
4. A resource record that names session j of A permits only A to serve, and only by j. It is replaced by compare-and-swap: by A after A has stopped,
   or by a node that has read a session of A above j. By step 3, A has then stopped for good. The order of the two reads does not matter: the serial
   never falls, and the compare-and-swap proves that the resource record is still the same. If the read shows a session of A *below* j, the session
   record is older than the resource record. The next read decides, or the wait of step 2.
5. A node serves after its own write of the resource record was confirmed, or after it read a record that names its live session. Only the node
   itself may replace such a record before its deadline. It does not serve by a record against which it may have a write under way: it writes the
   record again first. A process that starts does so with every record that it finds in its name, because of the writes of an earlier process.
6. A claim that takes effect after its session was ended permits nobody to serve: the claimant's deadline has passed (step 2), and its next
   renewal conflicts. Every other node reads a higher serial of the claimant and may replace the record without a wait (step 4).
7. A hand-over is one write that names the successor's live session. If that session was ended meanwhile, step 6 applies.
8. A session or resource record may be missing, or older than one that a node has seen. That node does not serve by it. It replaces the record after
   a wait as in step 2, by the longest profile. If an older resource record names a live session, the node ends that session first, because its
   holder may know of nothing later. The node of the session itself replaces or releases it after the wait. A holder that finds its record missing
   or older serves no longer by the last read before (step 1). Until its deadline it writes the record again: the session with the same serial,
   because nobody has ended it (step 2), the resource with a higher epoch. A node whose deadline has passed waits, then uses a higher serial.
9. The same record twice does not prove that there was no other record in between. The wait begins again after a write that was refused, and after an
   interval without reads longer than T.
10. Failsafe: a node promises not to end a session for T(1+rho), and not to replace a missing or older resource record meanwhile. It refuses
    if it has such a write under way, or knows a node that the asker does not know. The promises of ALL other nodes count for the holder like
    a renewal sent before it asked. They prolong a deadline that has not passed, and cover all resources of the session. A write that an
    earlier process of a peer left under way was sent after the holder's deadline, so there was nothing to prolong. A new process of a peer waits
    longer than its predecessor had promised.
11. All processes of one boot continue one session, so a restart of the checker keeps the resources. A restart of the machine does not: its old
    session is waited for in full, because another machine with the same name and the same disk cannot be distinguished from it.

`Stop` ends a claim: the resource is acquired again only after the caller says so. Each write of a resource names the nodes that have to be fenced.
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Intent, Outcome, Read, RecordChanged, Tick
from ansible_collections.holdfast.ha.plugins.module_utils._lease.session_reading import mine, named, note
from ansible_collections.holdfast.ha.plugins.module_utils._lease.session_values import (
    NEVER,
    UNSEEN,
    Acknowledged,
    Action,
    Call,
    Event,
    Fenced,
    NodesKnown,
    Own,
    Promise,
    PromiseAsked,
    Put,
    ReadEnded,
    Released,
    Resource,
    Seen,
    Serve,
    Session,
    State,
    Step,
    Stop,
    Tenure,
    Write,
    WriteEnded,
    resource_key,
    session_key,
)

#: The most writes of one action: what DynamoDB carries out in one transaction. etcd's limit is 128.
MOST_PUTS = 100
#: So many renewals of unknown fate are remembered.
_REMEMBERED = 8
#: The token of a record that is known to have changed since it was read.
_REFUSED = Outcome.CONFLICT


def step(state: State, event: Event) -> Step:
    """What follows from one event."""
    state, stops = _expire(state, event.now)
    state, actions = _handle(state, event)
    return state, stops + actions


def _handle(state: State, event: Event) -> Step:
    if isinstance(event, Tick):
        return _tick(state, event.now)
    if isinstance(event, ReadEnded):
        return _read_ended(state, event)
    if isinstance(event, WriteEnded):
        return _write_ended(state, event)
    if isinstance(event, PromiseAsked):
        return _asked(state, event)
    if isinstance(event, Acknowledged):
        return _acknowledged(state, event)
    if isinstance(event, RecordChanged):
        return replace(state, nudged=state.call is not None, look=True, next_at=event.now), ()
    if isinstance(event, NodesKnown):
        return replace(state, nodes=event.nodes), ()
    tenure = state.tenures.get(event.tag, Tenure(Intent.WATCH))
    if isinstance(event, Fenced):
        return replace(_with(state, event.tag, replace(tenure, fenced=tenure.epoch is not None)), next_at=event.now), ()
    if event.intent is not Intent.CLAIM or tenure.epoch is None:
        tenure = Tenure(event.intent, event.handoff_to)
    return replace(_with(state, event.tag, tenure), next_at=event.now), ()


def _with(state: State, tag: str, tenure: Tenure) -> State:
    return replace(state, tenures={**state.tenures, tag: tenure})


# ---- what this node may serve


def _expire(state: State, now: float) -> Step:
    """Stop in time."""
    if state.own is None:
        return state, ()
    stop_from = state.setup.timing.stop_from
    over = now >= stop_from(state.deadline)
    tags = tuple(tag for tag in state.held if over or now >= stop_from(state.tenures[tag].until))
    return _stop(replace(state, own=None) if over else state, tags, "no renewal was confirmed in time")


def _stop(state: State, tags: tuple[str, ...], reason: str) -> Step:
    if not tags:
        return state, ()
    return replace(state, tenures={**state.tenures, **dict.fromkeys(tags, Tenure(Intent.WATCH))}), (Stop(tags, reason),)


def _settle(state: State, now: float, before: float) -> Step:
    """Serve what this node has acquired or was handed, and what it held ``before`` until a later deadline. Report what it has released."""
    released, changed = [], {}
    under_way = {*state.open, *(put.key for put in (state.call.puts if state.call is not None else ()))}
    alive = state.own is not None and now < state.setup.timing.stop_from(state.deadline)
    for tag, tenure in state.tenures.items():
        key = resource_key(tag)
        if tenure.intent is Intent.CLAIM and tenure.epoch is None and alive and key not in under_way:
            record = mine(state, tag)
            if record is not None:
                changed[tag] = replace(tenure, epoch=record.epoch, until=NEVER, unfenced=record.unfenced)
        elif (
            tenure.intent is Intent.RELEASE
            and not tenure.released
            and not state.look
            and key in state.seen
            and not (state.seen[key].sound and named(state, tag))
        ):
            changed[tag] = replace(tenure, released=True, handoff_to="")
            released.append(Released(tag))
    if changed:
        state = replace(state, tenures={**state.tenures, **changed})
    if not alive or not (len(changed) > len(released) or state.deadline > before):
        return state, tuple(released)
    epochs = tuple((tag, tenure.epoch) for tag, tenure in state.tenures.items() if tenure.epoch is not None and tenure.until == NEVER)
    return state, (*released, *((Serve(state.deadline, epochs),) if epochs else ()))


# ---- what is to be read and written


def _tick(state: State, now: float) -> Step:
    if state.call is not None or now < state.next_at:
        return state, ()
    if state.look or (state.own is None and (state.lost or now >= state.read_due)):
        return replace(state, call=Call(now)), (Read(),)
    state, actions = _settle(state, now, NEVER)
    renewal = _renewal(state, now)
    puts, soonest = ((renewal,), now) if renewal is not None else _puts(state, now)
    if puts:
        call = Call(now, puts[:MOST_PUTS])
        return replace(state, call=call, nonces=state.nonces + 1), (*actions, Write(call.puts))
    if now >= state.read_due:
        return replace(state, call=Call(now)), (*actions, Read())
    renew_at = state.free_at(state.key) if state.own is None else state.own.sent_at + state.setup.timing.renew
    return replace(state, next_at=min(at for at in (state.read_due, renew_at, soonest) if at > now)), actions


def _nonce(state: State) -> str:
    return f"{state.setup.origin}.{state.setup.process}.{state.nonces}"


def _waited(state: State, key: str, now: float) -> bool:
    return now >= state.free_at(key) and not state.gap(now)


def _renewal(state: State, now: float) -> Put | None:
    """The next write of this node's session: renew it, write it again, or begin one."""
    setup, own, seen = state.setup, state.own, state.seen.get(state.key, UNSEEN)
    record = seen.session if seen.sound else None
    if seen is UNSEEN or seen.unreadable or (own is not None and record is not None and now < own.sent_at + setup.timing.renew):
        return None
    if own is not None:
        serial = own.serial
    elif record is not None and record.alive and record.origin == setup.origin:
        serial = record.serial
    elif (record is not None and not record.alive) or _waited(state, state.key, now):
        serial = state.above(state.key)
    else:
        return None
    return Put(state.key, seen.token, Session(setup.name, setup.origin, serial, _nonce(state), setup.timing.ttl))


def _puts(state: State, now: float) -> tuple[tuple[Put, ...], float]:
    """The writes that are due for the resources, and when the next one may be."""
    puts, soonest = {}, NEVER
    for tag, tenure in state.tenures.items():
        put: Put | float = NEVER
        if tenure.intent is Intent.RELEASE:
            put = _release(state, tag, tenure, now)
        elif tenure.intent is Intent.CLAIM and state.own is not None:
            put = _claim(state, tag, tenure, state.own, now)
        if isinstance(put, Put):
            puts[put.key] = put
        else:
            soonest = min(soonest, put)
    return tuple(puts.values()), soonest


def _claim(state: State, tag: str, tenure: Tenure, own: Own, now: float) -> Put | float:
    """The write that brings this node nearer to the resource, or when there may be one."""
    key, held, own_record = resource_key(tag), tenure.epoch is not None, mine(state, tag)
    seen = state.seen.get(key, UNSEEN)
    record, epoch, waits = seen.resource, state.above(key), False
    if seen is UNSEEN or seen.unreadable or (held and own_record is not None and not (tenure.fenced and own_record.unfenced)):
        return NEVER
    if own_record is not None:
        epoch = own_record.epoch
    elif not held:
        waits = record is None or not seen.sound or (not record.holder and record.handoff_to not in ("", NOBODY, state.setup.name))
        if waits and not _waited(state, key, now):
            return state.free_at(key)
        if record is not None and record.holder and record.named != (state.setup.name, state.setup.origin, own.serial):
            session = state.seen.get(session_key(record.holder), UNSEEN).session
            if session is None or session.serial <= record.serial:
                return _end(state, record, now)
    names = _unfenced(state, record if seen.sound or not held else None, tenure)
    return Put(key, seen.token, Resource(state.setup.name, state.setup.origin, own.serial, epoch, _nonce(state), "", names), waits)


def _end(state: State, record: Resource, now: float) -> Put | float:
    """End the session that holds the resource, or when that may be."""
    key = session_key(record.holder)
    seen = state.seen.get(key, UNSEEN)
    if key == state.key or seen is UNSEEN:
        return NEVER
    if not _waited(state, key, now):
        return state.free_at(key)
    origin = seen.session.origin if seen.session is not None else record.origin
    return Put(key, seen.token, Session(record.holder, origin, state.above(key), _nonce(state), state.setup.timing.ttl, alive=False), waited=True)


def _release(state: State, tag: str, tenure: Tenure, now: float) -> Put | float:
    key, to, before = resource_key(tag), tenure.handoff_to, named(state, tag)
    waits = before is not None and not state.seen[key].sound
    if before is None or (waits and not _waited(state, key, now)):
        return state.free_at(key) if waits else NEVER
    target = state.seen.get(session_key(to), UNSEEN) if to != state.setup.name else UNSEEN
    names, epoch, nonce = _unfenced(state, before, tenure), state.above(key), _nonce(state)
    record = Resource("", "", 0, epoch, nonce, to, names)
    if target.sound and target.session is not None and target.session.alive:
        record = Resource(to, target.session.origin, target.session.serial, epoch, nonce, "", tuple(name for name in names if name != to))
    return Put(key, state.seen[key].token, record, waits)


def _unfenced(state: State, before: Resource | None, tenure: Tenure) -> tuple[str, ...]:
    """See `Resource`, for this node's next write."""
    if before is None or tenure.fenced:
        return () if tenure.fenced else tenure.unfenced
    return tuple(name for name in dict.fromkeys((*before.unfenced, before.holder)) if name not in ("", state.setup.name))


# ---- what was written and read


def _write_ended(state: State, event: WriteEnded) -> Step:
    call, now, before = state.call, event.now, state.deadline
    if call is None or len(call.puts) != len(event.results):
        raise ValueError("writes ended that were never begun")
    seen, highest, still_open = dict(state.seen), dict(state.highest), dict(state.open)
    own, renewals = state.own, state.renewals
    outcomes = {outcome for outcome, _token in event.results}
    for put, (outcome, token) in zip(call.puts, event.results):
        if outcome is Outcome.WRITTEN:
            highest[put.key] = max(highest.get(put.key, 0), put.record.rank)
            seen[put.key] = Seen(put.record, token, now, state.setup.timing.ttl, put.record.rank == highest[put.key])
            still_open.pop(put.key, None)
            if put.key == state.key:
                own, renewals = _renewed(own, put, call.sent_at), ()
        elif outcome is Outcome.CONFLICT:
            seen[put.key] = replace(seen.get(put.key, UNSEEN), record=None, token=_REFUSED, sound=False)  # there was another record: wait again
        elif outcome is Outcome.UNKNOWN and put.key == state.key:
            renewals = (*renewals, (put, call.sent_at))[-_REMEMBERED:]
        elif outcome is Outcome.UNKNOWN:
            still_open[put.key] = put
    state = replace(
        state,
        call=None,
        seen=seen,
        highest=highest,
        open=still_open,
        own=own,
        renewals=renewals,
        look=state.look or not outcomes.isdisjoint((Outcome.CONFLICT, Outcome.UNKNOWN)),
        nudged=False,
        lost=not outcomes.isdisjoint((Outcome.NOT_SENT, Outcome.UNKNOWN)),
        next_at=now + state.setup.timing.poll if Outcome.NOT_SENT in outcomes else now,
    )
    return _settle(state, now, before)


def _renewed(own: Own | None, put: Put, sent_at: float) -> Own:
    if own is None or own.serial != put.record.rank:
        return Own(put.record.rank, sent_at)
    return replace(own, sent_at=sent_at)


def _read_ended(state: State, event: ReadEnded) -> Step:
    call, now, before = state.call, event.now, state.deadline
    if call is None or call.puts:
        raise ValueError("a read ended that was never begun")
    poll = now + state.setup.timing.poll
    if event.reading is None:
        return replace(state, call=None, nudged=False, lost=True, read_due=poll, next_at=poll), ()
    state, notices = note(state, event.reading, now)
    seen, own = state.seen[state.key], state.own
    record = seen.session
    for put, sent_at in state.renewals:
        if put.record == record:
            own = _renewed(own, put, sent_at)
    state = replace(
        state,
        call=None,
        own=own,
        renewals=tuple(one for one in state.renewals if one[0].expected == seen.token),
        look=state.nudged,
        nudged=False,
        lost=False,
        read_from=call.sent_at,
        read_at=now,
        read_due=poll,
        next_at=now,
    )
    current = record is not None and own is not None and (record.origin, record.serial, record.alive) == (state.setup.origin, own.serial, True)
    stops: tuple[Action, ...] = ()
    if own is not None and ((seen.sound and not current) or state.highest.get(state.key, 0) > own.serial):
        state, stops = _stop(replace(state, own=None), state.held, "the session was ended by another node")
    state, lost = _checked(state, before)
    state, served = _settle(state, now, before)
    return state, notices + stops + lost + served


def _checked(state: State, before: float) -> Step:
    """What this node holds, by the records that were just read. What was shown before is good until the deadline ``before``."""
    tenures, gone = dict(state.tenures), []
    for tag in state.held:
        tenure, record = tenures[tag], mine(state, tag)
        if record is not None:
            tenures[tag] = replace(tenure, epoch=record.epoch, until=NEVER, unfenced=record.unfenced)
        elif state.seen[resource_key(tag)].sound:
            gone.append(tag)
        else:
            tenures[tag] = replace(tenure, until=min(tenure.until, before))
    return _stop(replace(state, tenures=tenures), tuple(gone), "the record no longer names this node's session")


# ---- the failsafe


def _asked(state: State, event: PromiseAsked) -> Step:
    """The promise, if it can be given."""
    key, now, old = session_key(event.holder), event.now, state.promises.get(event.holder)
    seen = state.seen.get(key, UNSEEN)
    ended = seen.session is not None and seen.session.serial == event.serial and not seen.session.alive
    later = state.highest.get(key, 0) > event.serial or (old is not None and old.serial > event.serial and old.until > now)
    under_way = (*state.open.values(), *(state.call.puts if state.call is not None else ()))
    against = any(put.waited and (put.key == key or isinstance(put.record, Resource)) for put in under_way)
    if event.holder == state.setup.name or ended or later or against or not state.nodes <= event.nodes:
        return state, ()
    until = now + state.setup.timing.wait(max(seen.promised, event.ttl))
    promise = Promise(event.holder, event.serial, max(until, old.until if old is not None else until))
    return replace(state, promises={**state.promises, event.holder: promise}), (promise,)


def _acknowledged(state: State, event: Acknowledged) -> Step:
    own, before, deadline = state.own, state.deadline, event.sent_at + state.setup.timing.hold
    others = state.nodes - {state.setup.name}
    if own is None or own.serial != event.serial or not state.lost or deadline <= before or not others <= event.nodes:
        return state, ()
    return _settle(replace(state, own=replace(own, kept=deadline)), event.now, before)
