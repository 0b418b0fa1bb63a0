# SPDX-License-Identifier: GPL-3.0-or-later
"""When the checker acts on a resource, and when it leaves it alone: a pure function from (state, event) to (state, actions) (DESIGN.md section 7).

Invariants
* A repair in the kernel that works is never withheld: neither by a limit, nor by a pause between runs, nor by a run that is under way. If repairs are
  undone again and again, the resource moves to a standby that is ready.
* No run begins while another is under way, and no takeover.
* Nothing begins while paused, and only what a person asks for while somebody else is at work on the resource.
* What is not known triggers nothing: a failed look does, and the lease being held by a node that does not serve.
* The flap limit counts what was begun because of a fault: not what a person asks for, nor a failback, nor the end of a takeover.
* A fault that stays is attended to in bounded time, whatever came before: each look at the state decides anew.
* A fault that a few reflexes in a row did not mend is the playbook's.
"""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Health
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.condition import (
    WITHIN,
    faults,
    health,
    held_down_until,
    is_unseen_on_ec2,
    names,
    undone_in_kernel,
    unique,
)
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import (
    LONG_AGO,
    NEVER,
    Action,
    CheckDone,
    CheckHistory,
    CheckNow,
    CheckResult,
    Event,
    Failback,
    HoldOff,
    Lease,
    LeaseSeen,
    LinkRestored,
    LogEvent,
    Operation,
    OperatorRequest,
    Phase,
    Reflex,
    ReflexEnded,
    RunEnded,
    StartRun,
    State,
    Step,
)

#: Doubling goes no further; `Checks.backoff_max` comes long before.
_MOST_DOUBLINGS = 30
#: So many reflexes in a row are made without the fault being seen to be well in between: it may come back while one is at work.
_MOST_IN_A_ROW = 10
#: So many times within `Checks.window` a dependent is started again; the next time the resource moves.
_MOST_RESTARTS = 2


def step(state: State, event: Event) -> Step:
    """What follows from one event."""
    told: tuple[Action, ...] = ()
    if isinstance(event, CheckDone):
        if event.epoch is None or (state.lease.held and event.epoch == state.lease.epoch):  # else it is about a time that is over
            state, told = _looked(state, event.look)
    elif isinstance(event, LeaseSeen):
        state, told = _lease_seen(state, event.lease)
    elif isinstance(event, ReflexEnded):
        state, told = _reflex_ended(state, event), (CheckNow(),)
    elif isinstance(event, RunEnded):
        state, told = _run_ended(state, event), (CheckNow(),)
    elif isinstance(event, HoldOff):
        over = event.until <= event.now
        state, told = replace(state, aside_until=LONG_AGO if over else event.until), (CheckNow(),) if over else ()
    elif isinstance(event, LinkRestored):
        state = replace(state, next_at=min(state.next_at, state.untold_until))
    elif isinstance(event, OperatorRequest):
        state, told = _asked(state, event)
    attempts = tuple(at for at in state.attempts if at > event.now - state.checks.window)
    verified = tuple(at for at in state.verified if at > event.now - state.checks.window)
    restarts = tuple(at for at in state.restarts if at > event.now - state.checks.window)
    repairs = tuple((fault, at) for fault, at in state.repairs if at > event.now - WITHIN)
    state = replace(state, attempts=attempts, verified=verified, restarts=restarts, repairs=repairs)
    state, begun = _decide(state, event.now)
    return _name_phase(state, event.now, told + begun)


def would_put_back(state: State, now: float) -> bool:
    """Whether a reflex would follow at once, were the address looked for now and not found."""
    _after, actions = step(state, CheckDone(now, CheckResult("kernel", Health.FAILED, (Fault.ADDRESS,))))
    return Reflex((Fault.ADDRESS,)) in actions


def due(state: State, now: float) -> float:
    """When the next `Tick` is wanted; infinite where only an event can change anything."""
    lease, checks = state.lease, state.checks
    times = [state.began + checks.grace, state.next_at, held_down_until(state), state.aside_until]
    times += [lease.hands_off_until, lease.since + checks.hold_down]
    if state.owed:
        times.append(_verify_at(state))
    if lease.standby and _undone(state, now):
        times.append(state.failback.next_at)
    if lease.better is not None:
        times += [lease.better[1] + checks.failback_delay, state.failback.next_at]
    return min((at for at in times if at > now), default=NEVER)


# --- what is remembered ------------------------------------------------------------------------------------------------


def _looked(state: State, look: CheckResult) -> Step:
    old = state.tracks.get(look.source)
    bad, good, failed = (old.bad, old.good, old.failed) if old else (0, 0, False)
    if look.health is Health.FAILED:
        bad, good = bad + 1, 0
        confirmed = failed or bad >= state.checks.fall
    elif look.health is Health.HEALTHY:
        bad, good = 0, good + 1
        confirmed = failed and good < state.checks.rise
    else:
        confirmed = failed  # nothing is counted, and until it is known again nothing is done about it
    state = replace(state, tracks={**state.tracks, look.source: CheckHistory(look, bad, good, confirmed)})
    if look.source == "kernel" and look.health is Health.HEALTHY:
        state = replace(state, mended=())
    told: tuple[Action, ...] = ()
    if confirmed and not failed:
        facts = {"faults": list(look.faults), "reasons": list(look.reasons)}
        drifted = look.source == "ec2" and old is not None and old.last.health is Health.HEALTHY
        told = (LogEvent("fault", facts), *((LogEvent("drift", facts),) if drifted else ()))
    elif failed and not confirmed and not faults(state):
        told = (LogEvent("recovered", {"source": look.source}),)
    return _well(state), told


def _well(state: State) -> State:
    """A resource that works starts counting anew; the flap limit goes on counting."""
    if faults(state) or health(state) is not Health.HEALTHY or Fault.TAKEOVER in _unfinished(state):
        return state
    return replace(state, failures=0, next_at=LONG_AGO)


def _lease_seen(state: State, lease: Lease) -> Step:
    fresh = (state.lease.held and not lease.held) or lease.epoch != state.lease.epoch
    served = not fresh and state.lease.serving and state.lease.in_service
    if fresh:
        state = replace(state, owed=(), failures=0, next_at=LONG_AGO, tracks={}, reflexed=(), mended=(), repairs=(), restarts=(), failback=Failback())
    elif lease.better != state.lease.better:
        state = replace(state, failback=Failback())
    state = replace(state, lease=lease)
    begins = lease.serving and lease.in_service and not served
    return state, (CheckNow(),) if begins and is_unseen_on_ec2(state) else ()


def _reflex_ended(state: State, event: ReflexEnded) -> State:
    """The playbook follows in any case: it verifies, finishes what is left and records. Who is at work on the resource does so anyway."""
    alone = state.work is not None and state.work.kind == "reflex"
    faults_done = state.work.faults if state.work is not None and alone else tuple(name for name, _at in state.mended)
    put_back = [fault for fault in faults_done if fault.in_kernel] if event.ok and Fault.TAKEOVER not in faults_done else []
    state = replace(state, reflexing=False, repairs=(*state.repairs, *((fault, event.now) for fault in put_back)))
    if not event.ok:
        vain = tuple((fault, event.now) for fault in faults_done if fault.in_kernel)
        state = replace(state, reflexed=(*state.reflexed, *vain), mended=())
    if not alone:  # it came in the middle of a run, which verifies
        return state
    if not state.may_run:
        return replace(state, work=None, next_at=_later(state, 1.0, event.now))
    left_to_others = _is_left_to_others(state, event.now) or faults_done == (Fault.STRAY,)
    return replace(state, work=None, owed=faults_done if state.lease.held and not left_to_others else ())


def _run_ended(state: State, event: RunEnded) -> State:
    work, least = state.work, LONG_AGO if event.final else event.now + state.checks.hold_down
    if work is not None and work.kind == "switchover" and not work.asked:  # the resource is still here, or its lease would have gone
        failures = state.failback.failures + 1
        again = max(_later(state, event.jitter, event.now, failures), least)
        return replace(state, work=None, owed=(), failback=Failback(failures, again))
    return replace(state, work=None, owed=(), next_at=max(_later(state, event.jitter, event.now), least), untold_until=least)


def _later(state: State, jitter: float, now: float, failures: int | None = None) -> float:
    """When to try again should it not have helped."""
    doubled = 2.0 ** min(max((state.failures if failures is None else failures) - 1, 0), _MOST_DOUBLINGS)
    return now + min(state.checks.backoff * doubled, state.checks.backoff_max) * (0.5 + 0.5 * jitter)


def _asked(state: State, event: OperatorRequest) -> Step:
    if event.what == "pause":
        return replace(state, paused=True, owed=()), (LogEvent("paused"),) if not state.paused else ()
    if event.what == "resume":
        return replace(state, paused=False), (LogEvent("resumed by hand"), CheckNow()) if state.paused else ()
    if state.work is not None or state.paused:
        return state, ()
    reason = "a person asked for it"
    found = _wanted(state)
    state = replace(state, work=Operation(event.what, found, asked=True), owed=())
    return state, (StartRun(event.what, reason, names(found) if event.what == "recover" else (), event.to),)


# --- what is done ------------------------------------------------------------------------------------------------------


def _decide(state: State, now: float) -> Step:
    """At most one thing to begin."""
    if state.paused:
        return state, ()
    if state.work is not None:
        return _put_back(state, now) if state.work.kind != "reflex" else (state, ())
    if not state.lease.held:
        return _clear_stray(state, now)
    if now < state.aside_until:
        if state.lease.serving:
            return state, ()
        state = replace(state, aside_until=LONG_AGO)  # with its lease the address has gone, and the move with it
    if _is_left_to_others(state, now):
        return _bring_up(state, now)
    repaired, repairs = _put_back(state, now)
    if repairs:
        return repaired, repairs
    if _does_not_stay(state, now):
        return _leave(state, now)
    if state.owed and now >= _verify_at(state) and not _too_soon_to_move_again(state, state.owed, now):
        return _run(replace(state, verified=(*state.verified, now)), now, state.owed, counted=False)
    found = _wanted(state)
    if not found:
        return _fail_back(state, now)
    if now < state.began + state.checks.grace and Fault.TAKEOVER not in found:
        return state, ()
    if now < state.next_at:
        return state, ()
    fresh = _for_reflex(state, found, now)
    if Fault.TAKEOVER in fresh:  # whoever holds the lease and does not serve keeps everybody else from it: no limit holds that up
        return _reflex(state, now, fresh, found)
    if now < held_down_until(state) and Fault.TAKEOVER not in found:
        return state, ()
    if fresh:
        return _reflex(state, now, fresh, found)
    if not state.may_run or _too_soon_to_move_again(state, found, now):
        return state, ()
    return _run(state, now, found, counted=True)


def _verify_at(state: State) -> float:
    """When the run may begin that a reflex left to be done: at once, but not again and again."""
    often = len(state.verified) >= state.checks.max_recoveries
    return state.verified[-1] + state.checks.hold_down if often else LONG_AGO


def _put_back(state: State, now: float) -> Step:
    """What is in service here and the kernel lacks, at once."""
    if not state.lease.held or state.reflexing or _unfinished(state) or now < max(state.began + state.checks.grace, state.aside_until):
        return state, ()
    found = faults(state)
    fresh = tuple(fault for fault in _for_reflex(state, found, now) if fault.in_kernel)
    return _reflex(state, now, fresh, found) if fresh else (state, ())


def _does_not_stay(state: State, now: float) -> bool:
    """Whether another node should have it, as what is repaired here is undone."""
    lease, earliest = state.lease, max(state.failback.next_at, state.lease.since + state.checks.hold_down)
    return bool(lease.standby and _undone(state, now)) and state.may_run and state.may_switch and now >= earliest


def _undone(state: State, now: float) -> str:
    """What does not stay repaired on this node, in words; empty for nothing."""
    if told := undone_in_kernel(state):
        return told
    if Fault.DEPENDENTS in faults(state) and len(state.restarts) >= _MOST_RESTARTS and now >= state.next_at:  # it was looked at since the last one
        return f"a dependent was started again {len(state.restarts)} times within {state.checks.window:.0f} s, and does not run"
    return ""


def _leave(state: State, now: float) -> Step:
    reason = _undone(state, now)
    return replace(state, work=Operation("switchover", ()), owed=()), (StartRun("switchover", reason, (), state.lease.standby),)


def _is_left_to_others(state: State, now: float) -> bool:
    """Whether somebody is about to take the resource over, or to give it up."""
    return now < state.lease.hands_off_until and not (state.lease.serving and state.lease.in_service)


def _bring_up(state: State, now: float) -> Step:
    """Who takes over does the rest, but nobody else can have an address that was handed to this node, and clients wait for it."""
    fresh = tuple(fault for fault in _for_reflex(state, _unfinished(state), now) if fault is Fault.TAKEOVER)
    return _reflex(state, now, fresh, fresh) if fresh and state.lease.handed and now >= state.next_at else (state, ())


def _wanted(state: State) -> tuple[Fault, ...]:
    return unique((*_unfinished(state), *faults(state)))


def _unfinished(state: State) -> tuple[Fault, ...]:
    lease = state.lease
    return (Fault.TAKEOVER,) if lease.held and not (lease.in_service and lease.serving) and (state.may_run or not lease.serving) else ()


def _for_reflex(state: State, found: tuple[Fault, ...], now: float) -> tuple[Fault, ...]:
    """What a reflex may repair: not what it has tried in vain within the window, or within the pause where nobody else would."""
    if not state.may_reflex:
        return ()
    if state.lease.fence_first and not state.lease.serving:
        return ()
    mine = tuple(fault for fault in found if fault.in_kernel or (fault is Fault.TAKEOVER and not state.lease.serving))
    if not state.may_run and state.work is None and now >= state.next_at:
        return mine
    recent = {name for name, at in state.reflexed if at > now - state.checks.window}
    again = [name for name, at in state.mended if at > now - state.checks.window]
    return tuple(fault for fault in mine if _key(state, fault) not in recent and again.count(fault) < _MOST_IN_A_ROW)


def _key(state: State, fault: Fault) -> str:
    return f"{fault} {state.lease.epoch}" if fault is Fault.TAKEOVER else fault


def _too_soon_to_move_again(state: State, found: tuple[Fault, ...], now: float) -> bool:
    """Right after it came here, what may send it on waits: so it moves once in ``hold_down`` at most."""
    risky = Fault.TAKEOVER not in found and not any(not fault.in_kernel and fault is not Fault.PROBE for fault in found)
    return risky and state.lease.taken and now < state.lease.since + state.checks.hold_down


def _reflex(state: State, now: float, fresh: tuple[Fault, ...], found: tuple[Fault, ...]) -> Step:
    kept = tuple((name, at) for name, at in state.reflexed if at > now - state.checks.window)
    work = state.work or Operation("reflex", fresh)
    if Fault.TAKEOVER in fresh:
        return replace(_count(state, now, found), work=work, reflexing=True, reflexed=(*kept, *((_key(state, fault), now) for fault in fresh))), (
            Reflex(fresh),
        )
    return replace(state, work=work, reflexing=True, reflexed=kept, mended=(*state.mended, *((fault, now) for fault in fresh))), (Reflex(fresh),)


def _run(state: State, now: float, found: tuple[Fault, ...], *, counted: bool) -> Step:
    if counted:
        state = _count(state, now, found)
    if not state.may_run:
        return replace(state, owed=()), ()
    restarts = (*state.restarts, now) if Fault.DEPENDENTS in found else state.restarts
    return replace(state, work=Operation("recover", found), owed=(), restarts=restarts), (StartRun("recover", _why(state, found), names(found)),)


def _why(state: State, found: tuple[Fault, ...]) -> str:
    """In the words of a look that found it; what another look does not know is no reason."""
    if Fault.TAKEOVER in found:
        return "this node has taken the lease"
    told = (reason for track in state.tracks.values() if track.failed and set(track.last.faults) & set(found) for reason in track.last.reasons)
    return next(told, f"{', '.join(found)} repaired at once")


def _count(state: State, now: float, found: tuple[Fault, ...]) -> State:
    """A takeover is no recovery: only the pauses between its attempts grow."""
    return replace(state, attempts=state.attempts if Fault.TAKEOVER in found else (*state.attempts, now), failures=state.failures + 1)


def _clear_stray(state: State, now: float) -> Step:
    if not (state.lease.elsewhere and Fault.STRAY in faults(state)) or now < state.next_at:
        return state, ()
    return replace(state, work=Operation("reflex", (Fault.STRAY,)), next_at=now + state.checks.backoff), (Reflex((Fault.STRAY,)),)


def _fail_back(state: State, now: float) -> Step:
    better, checks = state.lease.better, state.checks
    ready = better is not None and now >= better[1] + checks.failback_delay
    if better is None or not ready or not (state.may_run and state.may_switch) or health(state) is not Health.HEALTHY:
        return state, ()
    if now < max(held_down_until(state), state.next_at, state.failback.next_at, state.lease.since + checks.hold_down):
        return state, ()
    state = replace(state, work=Operation("switchover", ()))
    return state, (StartRun("switchover", f"{better[0]} has the better priority and is ready", (), better[0]),)


def _name_phase(state: State, now: float, actions: tuple[Action, ...]) -> Step:
    """The phase, and an event where a new one is something that a person should know of."""
    phase = _phase(state, now)
    told: tuple[Action, ...] = ()
    if phase is not state.phase and phase is Phase.BACKING_OFF:
        told = (LogEvent("backing off", {"seconds": round(state.next_at - now, 1), "failures": state.failures}),)
    elif phase is not state.phase and phase is Phase.HELD_DOWN:
        told = (LogEvent("flapping", {"recoveries": len(state.attempts)}), LogEvent("held down", {"seconds": round(held_down_until(state) - now, 1)}))
    return replace(state, phase=phase), (*actions, *told)


def _phase(state: State, now: float) -> Phase:
    if state.paused:
        return Phase.PAUSED
    if state.work is not None:
        return Phase.RECOVERING
    if not state.tracks and now < state.began + state.checks.grace:
        return Phase.STARTING
    if state.lease.held and _wanted(state):
        if now < held_down_until(state) and Fault.TAKEOVER not in _wanted(state):
            return Phase.HELD_DOWN
        return Phase.BACKING_OFF if now < state.next_at else Phase.SUSPECT
    suspect = any(track.last.health is Health.FAILED for track in state.tracks.values())
    return Phase.SUSPECT if suspect else Phase.WATCHING
