# SPDX-License-Identifier: GPL-3.0-or-later
"""The tenure of one resource on one node: lease, address, dependents and hand-over. A pure function from (state, event) to (state, actions).

The rule of the lease (`_lease.rule`) says whether this node holds it. Tenure decides what follows from that, and when the lease is claimed or
released (DESIGN.md sections 6 and 7). It waits for nothing: each action that can take long or fail reports its result as an event.

Invariants
1. From the moment at which the address is to go until the lease is acquired again, the address gets no lifetime (`refusal`).
2. The lease is released only after the address was removed.
3. When the lease is lost, the dependents stop first, in the time that the address has left. If another node holds it, the address goes first.
4. Each request is answered once: with its result, with a refusal, or at its `Requested.give_up`.
5. The lease is claimed only for a request, as this node's own at the start, or when the policy says so (`State.claim_at`).
6. During a removal nothing else begins. Requests wait for its end.
7. A lease counts as not released by its former holder from the claim on, until it is known what the claim replaced.
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotConverged, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import LONG_AGO, LogEvent
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.tenure_values import (
    Action,
    AddressObserved,
    Do,
    Done,
    Event,
    Finish,
    LeaseView,
    Lost,
    MoveDeadline,
    ObserveAddress,
    Observed,
    Phase,
    Prolong,
    Prolonged,
    Released,
    ReleaseLease,
    Remember,
    Removal,
    Renewed,
    Requested,
    RequestKind,
    ResourceView,
    Stage,
    Start,
    State,
    Step,
    StopDependents,
)

#: Seconds for which the resource is left to a playbook that takes it over or gives it up, from each request on: while nothing is served, so that a
#: controller that dies costs no more; with the address up; and while the former holder is fenced first, which takes as long.
HANDS_OFF, HANDS_OFF_UP, HANDS_OFF_FENCING = 30.0, 300.0, 330.0
#: Why the address gets no lifetime, and why a resource without another node does not move.
NOT_HELD = "this node does not hold the lease, or is about to give it up"
STAYS = "it has no lease (store: type none), so it stays on this node; set a store of type dynamodb or etcd to have it move"


def step(state: State, event: Event) -> Step:
    """What follows from one event."""
    if isinstance(event, Requested):
        return _requested(state, event)
    if isinstance(event, AddressObserved):
        return _settled(state, event)
    if isinstance(event, Prolonged):
        return _prolonged(state, event)
    if isinstance(event, Done):
        return _done(state, event)
    state = _with_lease(state, event.lease, event.now)
    if isinstance(event, Lost):
        return _lost(state, event.now, event.reason)
    if isinstance(event, Released):
        return _released(state)
    if isinstance(event, Renewed):
        prolongs = state.serving and state.removal is None
        return state, (Prolong(state.link if event.now >= state.alive_until else None),) if prolongs else ()
    return _observed(state, event)


def refusal(state: State, permit: int | None) -> str:
    """Why the address may get no lifetime now; empty if it may, as far as tenure knows.

    :param permit: `State.withdrawals` at the time at which the work began that wants it; ``None`` for none.
    """
    if permit is not None and permit != state.withdrawals:
        return "it was taken out of service meanwhile"
    return NOT_HELD if state.removal is not None or state.phase is Phase.RELEASING else ""


def fence_first(state: State, resource: ResourceView | None) -> bool:
    """Whether the former holder has to be fenced before the address is up: it did not release the lease, and nothing is in service here yet."""
    return resource is None or (state.expired and not resource.in_service and resource.fence)


def left_longer(state: State, now: float, until: float) -> State:
    """A playbook is at work still. What was lost or released meanwhile is left to nobody."""
    return replace(state, hands_off_until=max(state.hands_off_until, until)) if now < state.hands_off_until else state


def hands_off(state: State, resource: ResourceView | None, *, up: bool) -> float:
    """For how many seconds the resource is left to who has just reported work on it. ``up``: the address is up."""
    return HANDS_OFF_UP if up else HANDS_OFF_FENCING if fence_first(state, resource) else HANDS_OFF


# --- the lease ---------------------------------------------------------------------------------------------------------


def _with_lease(state: State, lease: LeaseView, now: float) -> State:
    """The state with the lease as it is now. If this node acquired it, the record that it replaced shows how the lease came."""
    before, record, me = state.lease, state.lease.record, state.me
    state = replace(state, lease=lease)
    if before.held is not None or lease.held is None or before.owned:
        return state  # nothing new, or this node's own: how it came is known already
    handed = record is not None and not before.fell and not record.holder and record.handoff_to == me
    if record is None:  # somebody deleted it, if there ever was one
        expired = before.highest > 0 and not state.alone
    else:  # a restored record is out of date
        expired = before.fell or bool(state.others((record.holder, *record.unfenced)))
    return replace(state, since=now, taken=True, handed=handed, expired=expired)


def _not_held(state: State) -> State:
    """The state from the moment at which the node stops claiming the lease. The rule of the lease agrees, but a queued request comes first."""
    return replace(state, lease=replace(state.lease, held=None))


def _observed(state: State, event: Observed) -> Step:
    now, resource = event.now, event.resource
    todo: tuple[Action, ...] = ()
    removal = state.removal
    if removal is not None and removal.stage is Stage.DEPENDENTS and now >= removal.until:
        state, todo = _take_down(state, removal)
    state, settling = _settle(replace(state, claim_at=event.claim_at))
    state, answers = _attend(state, now, resource)
    state, claims = _consider(state, now)
    fenced = state.lease.held is not None and state.lease.held.unfenced and state.serving and not fence_first(state, resource)
    todo = (*todo, *settling, *answers, *claims, *((Do.END_FENCE,) if fenced else ()))
    return replace(state, reported=state.lease), (*todo, *_changes(state))


def _changes(state: State) -> tuple[Action, ...]:
    """What others want to know. The disk comes last, as it is slow."""
    old, new, todo = state.reported, state.lease, list[Action]()
    deadline = new.held.deadline if new.held is not None else None
    if deadline != (old.held.deadline if old.held is not None else None):
        todo.append(MoveDeadline(deadline))
    if (old.held is None) != (new.held is None) or old.record != new.record:
        todo.append(Do.REPORT_CHANGE)
    if new.highest > old.highest:
        todo.append(Remember(new.highest, new.held is not None and new.held.epoch == new.highest and not state.expired))
    return tuple(todo)


def _settle(state: State) -> Step:
    """Once, after the first reading: go on as the holder that this node still is, or remove what is left from before."""
    record = state.lease.record
    if state.start is not Start.UNREAD or not (state.lease.seen or state.ending):
        return state, ()
    if record is None or not (state.lease.owned or state.is_elsewhere):
        return replace(state, start=Start.SETTLED), ()
    return replace(state, start=Start.OBSERVING), (ObserveAddress(record.epoch),)


def _settled(state: State, event: AddressObserved) -> Step:
    state, todo = _noted(replace(state, start=Start.SETTLED), event.trouble or state.trouble)
    record = state.lease.record
    if record is None or state.removal is not None:
        return state, todo
    if state.lease.owned and state.phase is Phase.STANDBY and not state.ending:
        orderly = state.alone or (event.orderly and not state.others(record.unfenced))
        state = replace(state, phase=Phase.RESUMING, serving=event.link is not None, link=event.link)
        state = replace(state, since=event.now, taken=False, expired=not orderly)
        return state, (*todo, Do.CLAIM_LEASE, LogEvent("resumed", {"epoch": record.epoch}))
    if not state.is_elsewhere:
        return state, todo
    if event.link is None:
        return state, (*todo, Do.RECORD_OUT_OF_SERVICE)
    reason = f"{record.holder} holds the lease, and the address was still here"
    state, down = _take_down(state, Removal(Stage.ADDRESS))
    return state, (*todo, LogEvent("removed", {"reason": reason}), *down)


# --- claims ------------------------------------------------------------------------------------------------------------


def _consider(state: State, now: float) -> Step:
    """Claim the lease if it is this node's turn, and end the claim when it no longer is."""
    held = state.lease.held
    if state.phase is Phase.RESUMING and (held is not None or not state.lease.owned):
        state = replace(state, phase=Phase.HOLDING if held is not None else Phase.CLAIMING)  # another node came first: it claims like any other
    if state.phase is Phase.CLAIMING and held is not None:
        return replace(state, phase=Phase.HOLDING), (LogEvent("acquired", {"epoch": held.epoch}),)
    if state.phase not in (Phase.STANDBY, Phase.CLAIMING) or not state.may_claim:
        return state, ()
    wanted = now >= state.claim_time
    if wanted and state.phase is Phase.STANDBY:
        return _claim(state, now, Phase.CLAIMING)
    if not wanted and state.phase is Phase.CLAIMING:
        return replace(state, phase=Phase.STANDBY), (Do.WATCH_LEASE,)
    return state, ()


def _claim(state: State, now: float, phase: Phase) -> Step:
    if state.lease.held is None and not state.lease.owned:
        state = replace(state, since=now, expired=True)  # other threads can see the lease held before it is known what was replaced
    return replace(state, phase=phase), (Do.CLAIM_LEASE,)


# --- the address -------------------------------------------------------------------------------------------------------


def _prolonged(state: State, event: Prolonged) -> Step:
    """An address that somebody removed is not added again: repairs are the policy's."""
    if state.removal is not None or not state.serving:
        return state, ()
    if event.over:
        if state.lease.held is None:
            return state, ()
        state, todo = _lost(_not_held(state), event.now, event.trouble)
        return state, (Do.WATCH_LEASE, *todo)
    if event.trouble:
        return _noted(state, event.trouble)
    return _noted(replace(state, link=event.link), "" if event.link else "the address is on no interface of this host; run holdfast.ha.recover")


def _noted(state: State, trouble: str) -> Step:
    """Log a trouble once, and its end."""
    if trouble == state.trouble:
        return state, ()
    return replace(state, trouble=trouble), (LogEvent("trouble", {"reason": trouble}) if trouble else LogEvent("well"),)


def _lost(state: State, now: float, reason: str) -> Step:
    """The lease is lost, and so is the work of a playbook that takes the resource over."""
    theirs, told = state.is_elsewhere, LogEvent("lost", {"reason": reason})
    limit = 0.0 if theirs else max(0.0, min(state.timing.stop_budget, state.alive_until - now))
    state = replace(state, phase=Phase.STANDBY, hands_off_until=LONG_AGO)
    if state.removal is not None:  # the address is going already
        return replace(state, removal=replace(state.removal, lost=reason)), (told, StopDependents(limit))
    if theirs:
        state, down = _take_down(state, Removal(Stage.ADDRESS, lost=reason))
        return state, (told, *down, StopDependents(limit))
    return replace(state, removal=Removal(Stage.DEPENDENTS, now + limit, lost=reason)), (told, StopDependents(limit))


def _take_down(state: State, removal: Removal) -> Step:
    return replace(state, serving=False, removal=replace(removal, stage=Stage.ADDRESS)), (Do.TAKE_DOWN,)


def _done(state: State, event: Done) -> Step:
    removal, error = state.removal, event.error
    todo: tuple[Action, ...] = ()
    if event.action is Do.RECORD_OUT_OF_SERVICE and error is not None:
        return _noted(state, error.message)
    if isinstance(event.action, StopDependents) and removal is not None and removal.stage is Stage.DEPENDENTS:
        return _take_down(state, removal)
    if event.action is not Do.TAKE_DOWN or removal is None or removal.stage is not Stage.ADDRESS:
        return state, ()  # a late result
    state = replace(state, removal=None)
    if removal.lost or removal.request is None:
        state, todo = _after_loss(state, removal, error)
    if removal.request is not None:
        state, more = _after_request(state, event.now, removal.request, error)
        todo = (*todo, *more)
    while state.queue and state.removal is None:
        state, more = _requested(replace(state, queue=state.queue[1:]), state.queue[0])
        todo = (*todo, *more)
    return state, todo


def _after_loss(state: State, removal: Removal, error: HoldfastError | None) -> Step:
    state, todo = _noted(state, error.message if error is not None else state.trouble)
    todo, request = (*todo, Do.RECORD_OUT_OF_SERVICE), state.waiting
    if removal.lost and request is not None:
        why = f"the lease of {state.tag} could not be held: {removal.lost}; see which node holds it"
        state, todo = replace(state, waiting=None), (*todo, *_finish(request, NotConverged(why)))
    return state, (*todo, Do.REPORT_CHANGE)


# --- requests ----------------------------------------------------------------------------------------------------------


def _requested(state: State, event: Requested) -> Step:
    kind, waiting, lease = event.kind, state.waiting, state.lease
    if state.removal is not None:
        return replace(state, queue=(*state.queue, event)), ()
    mine = lease.held is not None or not lease.seen or (lease.record is not None and lease.record.holder == state.me)
    if kind is RequestKind.RELEASE and event.blocked is not None and mine and not state.ending:
        return state, _finish(event, event.blocked)
    up = state.serving and kind is RequestKind.ACQUIRE
    state = replace(state, hands_off_until=event.now + hands_off(state, event.resource, up=up))
    if kind is RequestKind.RELEASE and state.alone:
        return state, _finish(event, Refused(f"{state.tag} cannot be released: {STAYS}"))
    if kind is RequestKind.ACQUIRE:
        if waiting is not None or state.ending:
            why = "the checker of this node is about to end; ask again when it runs"
            return state, _finish(event, Refused(why if state.ending else f"the checker is at work on the lease of {state.tag} already; ask again"))
        return _claim(replace(state, waiting=event), event.now, Phase.ACQUIRING)
    answers: tuple[Action, ...] = ()
    if kind is not RequestKind.WITHDRAW:
        if waiting is not None:
            answers = _finish(waiting, Refused(f"the lease of {state.tag} was to be released meanwhile"))
        state = replace(state, waiting=None, phase=Phase.HOLDING if lease.held is not None else state.phase)
        if state.phase in (Phase.RESUMING, Phase.CLAIMING, Phase.ACQUIRING):
            state, answers = replace(state, phase=Phase.STANDBY), (*answers, Do.WATCH_LEASE)
    state = replace(state, withdrawals=state.withdrawals + 1, link=None, handed=False)
    state, down = _take_down(state, Removal(Stage.ADDRESS, request=event))
    return state, (*answers, *down)


def _after_request(state: State, now: float, request: Requested, error: HoldfastError | None) -> Step:
    """The address is gone, or could not be removed: then the lease is not released, as another node may use it while the address is here."""
    kind, held = request.kind, state.lease.held is not None
    told = () if error is not None else (LogEvent(kind.value),)
    if kind is RequestKind.WITHDRAW:
        return state, (*told, *_finish(request, error), Do.REPORT_CHANGE)
    if kind is RequestKind.EXPIRE:
        todo = (Do.WATCH_LEASE, Do.RECORD_OUT_OF_SERVICE, *told, *_finish(request, error), Do.REPORT_CHANGE)
        return replace(_not_held(state), phase=Phase.STANDBY), todo
    if error is None:
        state = replace(state, phase=Phase.RELEASING, waiting=request if request.number else None, released_at=now if held else state.released_at)
        return _not_held(state), (Do.RECORD_OUT_OF_SERVICE, ReleaseLease(request.handoff_to))
    return state, (*_finish(request, error), Do.REPORT_CHANGE)


def _released(state: State) -> Step:
    todo: tuple[Action, ...] = (LogEvent("released"),)
    request = state.waiting
    state = replace(state, phase=Phase.STANDBY)
    if request is not None and request.kind is RequestKind.RELEASE:
        state = replace(state, waiting=None, hands_off_until=LONG_AGO)
        todo = (*todo, Finish(request.number, handoff_to=request.handoff_to))
    return state, todo


def _attend(state: State, now: float, resource: ResourceView | None) -> Step:
    """Answer the requests whose result is known, and those whose time is over."""
    request, held, error, removal = state.waiting, state.lease.held, state.lease.error, state.removal
    todo: tuple[Action, ...] = ()
    if request is not None and state.phase is Phase.ACQUIRING and held is not None and removal is None:
        state = replace(state, phase=Phase.HOLDING, waiting=None, hands_off_until=now + hands_off(state, resource, up=state.serving))
        todo = (LogEvent("acquired", {"epoch": held.epoch}), *_finish(request))
    elif request is not None and error is not None and not (error.retryable or error.ambiguous):
        state, todo = _give_up(state, request, error)
    elif request is not None and now >= request.give_up:
        record = state.lease.record
        who = f"{record.holder} holds it" if record is not None and record.holder else "it is reserved, or its record is missing"
        late = NotConverged(f"the lease of {state.tag} was not free within {request.wait:g} s: {who}")
        state, todo = _give_up(state, request, error or late)
    busy = NotConverged(f"the checker is busy with {state.tag}; see its log, and ask again")
    if removal is not None and removal.request is not None and now >= removal.request.give_up:
        todo = (*todo, *_finish(removal.request, busy))  # it is carried out all the same
        state = replace(state, removal=replace(removal, request=replace(removal.request, number=0)))
    for late_one in (one for one in state.queue if now >= one.give_up):
        todo = (*todo, *_finish(late_one, busy))
    return replace(state, queue=tuple(one for one in state.queue if now < one.give_up)), todo


def _give_up(state: State, request: Requested, error: HoldfastError) -> Step:
    todo: tuple[Action, ...] = ()
    if request.kind is RequestKind.ACQUIRE:
        state, todo = replace(state, phase=Phase.STANDBY), (Do.WATCH_LEASE,)
    else:  # it is tried on, so nothing may be begun here again on the strength of this lease
        left = f"the store did not confirm it within {request.patience:g} s, and the lease ends by itself in {state.timing.ttl:g} s at the latest"
        what = f"the address of {state.tag} is down here and stays down, and its release is not confirmed: {left}; do not start here what needs it"
        error = NotConverged(f"{what} ({error.message})")
    told = LogEvent("gave up", {"op": request.kind.value, "reason": error.message})
    return replace(state, waiting=None), (*todo, told, *_finish(request, error))


def _finish(request: Requested, error: HoldfastError | None = None) -> tuple[Action, ...]:
    return (Finish(request.number, error),) if request.number else ()
