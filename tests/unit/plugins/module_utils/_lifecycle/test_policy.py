# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker's state machine in virtual time: tables of single steps, and random schedules in which some things must never happen."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Health
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.condition import faults, health, held_down_until, reasons
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.faults import Fault
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy import due, step, would_put_back
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import (
    NEVER,
    Action,
    CheckDone,
    CheckNow,
    CheckResult,
    Checks,
    Event,
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
    Tick,
)

CHECKS = Checks(grace=0)
HELD = Lease(held=True, epoch=7, since=-1000, serving=True, in_service=True)
WELL = CheckResult("kernel", Health.HEALTHY)
GONE = CheckResult("kernel", Health.FAILED, (Fault.ADDRESS,), ("10.1.0.10/32 is not on eth0",))
WRONG_ROUTE = CheckResult("ec2", Health.FAILED, (Fault.ROUTES,), ("rtb-1: 10.1.0.10/32 leads to eni-2",))
SILENT = CheckResult("ec2", Health.UNKNOWN, (), ("EC2 does not answer",))


def state(**changes: Any) -> State:
    """In service here, and nothing known yet."""
    return replace(State(CHECKS, began=0.0, lease=HELD), **changes)


def after(begin: State, *events: Event) -> tuple[State, list[Action]]:
    """The state after these, and all actions but the log's."""
    done: list[Action] = []
    for event in events:
        begin, actions = step(begin, event)
        done += actions
    return begin, [action for action in done if isinstance(action, (Reflex, StartRun))]


def test_a_healthy_resource_is_left_alone() -> None:
    end, done = after(state(), CheckDone(1, WELL), CheckDone(2, replace(WELL, source="ec2")), Tick(100))
    assert (done, health(end), end.phase) == ([], Health.HEALTHY, Phase.WATCHING)


def test_a_reflex_comes_first_and_the_playbook_after_it() -> None:
    end, done = after(state(), CheckDone(1, GONE))
    assert done == [Reflex((Fault.ADDRESS,))]
    end, done = after(end, CheckDone(1.1, WELL), ReflexEnded(1.2, True))
    assert done == [StartRun("recover", "address repaired at once", (Fault.ADDRESS,))]
    end, done = after(end, RunEnded(6, True, 0.5), CheckDone(6.1, WELL), Tick(700))
    assert (done, end.phase, len(end.attempts)) == ([], Phase.WATCHING, 0)


def test_what_a_reflex_repairs_is_repaired_by_it_every_time() -> None:
    """However often, also while a run is under way. The runs that verify it are limited."""
    end, runs, ends = state(), 0, NEVER
    for number in range(200):
        now = float(number)
        if now >= ends:
            end, done = after(end, RunEnded(now, True, 0.5))
            runs, ends = runs + len(done), NEVER
        end, done = after(end, CheckDone(now, GONE), CheckDone(now + 0.001, WELL), ReflexEnded(now + 0.002, True))
        assert done[0] == Reflex((Fault.ADDRESS,)), f"the deletion number {number}"
        runs += len(done) - 1
        ends = now + 3 if len(done) > 1 else ends
    assert end.attempts == ()
    assert runs == CHECKS.max_recoveries + 200 // CHECKS.hold_down


def test_what_a_reflex_does_not_repair_is_the_playbooks() -> None:
    end, done = after(state(), *(event for _time in range(10) for event in (CheckDone(1, GONE), ReflexEnded(1.1, True))), CheckDone(1.2, GONE))
    assert [type(action) for action in done] == [*[Reflex] * 10, StartRun]
    end, done = after(end, RunEnded(6, True, 0.5), CheckDone(6.1, GONE), Tick(6 + CHECKS.backoff))
    assert done == [StartRun("recover", GONE.reasons[0], (Fault.ADDRESS,))]
    end, done = after(state(), CheckDone(1, GONE), ReflexEnded(1.1, False), RunEnded(6, True, 0.5), CheckDone(6.1, WELL), CheckDone(60, GONE))
    assert [type(action) for action in done] == [Reflex, StartRun, StartRun], "it has failed, so it is not tried again soon"


def test_what_does_not_stay_moves_to_a_standby_that_is_ready() -> None:
    end = state(lease=replace(HELD, standby="node-b"), verified=(0.0,) * CHECKS.max_recoveries)
    for now in range(1, 10):
        end, done = after(end, CheckDone(now, GONE), CheckDone(now + 0.001, WELL), ReflexEnded(now + 0.002, True))
        assert done == [Reflex((Fault.ADDRESS,))]
    end, done = after(end, CheckDone(10, GONE), CheckDone(10.001, WELL), ReflexEnded(10.002, True))
    reason = "it was repaired in the kernel 10 times within 60 s, as something on this node undoes that"
    assert done == [Reflex((Fault.ADDRESS,)), StartRun("switchover", reason, (), "node-b")]
    end, done = after(end, CheckDone(11, GONE), CheckDone(11.001, WELL), ReflexEnded(11.002, True))
    assert done == [Reflex((Fault.ADDRESS,))], "it goes on while the run is under way"
    end, done = after(end, RunEnded(12, False, 1.0), Tick(16.9))
    assert done == [], "a run that failed is not repeated at once"
    _end, done = after(end, Tick(17))
    assert [getattr(action, "playbook", "") for action in done] == ["switchover"]


def test_what_goes_together_counts_once() -> None:
    """A restart of a network manager takes the address and the rule of the Elastic IP's own address: one event, and two repairs."""
    end = state(lease=replace(HELD, standby="node-b"), verified=(0.0,) * CHECKS.max_recoveries)
    rule = replace(GONE, faults=(Fault.ELASTIC_IP_SOURCE_ROUTE,))
    for now in range(1, 10):
        end, done = after(end, CheckDone(now, GONE), CheckDone(now + 0.001, rule), ReflexEnded(now + 0.002, True), CheckDone(now + 0.003, rule))
        assert done == [Reflex((Fault.ADDRESS,)), Reflex((Fault.ELASTIC_IP_SOURCE_ROUTE,))]
        end, done = after(end, CheckDone(now + 0.004, WELL), ReflexEnded(now + 0.005, True))
        assert done == []
    _end, done = after(end, CheckDone(10, GONE), CheckDone(10.001, WELL), ReflexEnded(10.002, True))
    assert [getattr(action, "playbook", "reflex") for action in done] == ["reflex", "switchover"]


def test_what_no_repair_could_undo_does_not_move_it() -> None:
    """The repairs fail, say because the lease was not renewed in time. Nothing undid them, so the standby would help nobody."""
    end = state(lease=replace(HELD, standby="node-b"))
    end, done = after(end, CheckDone(1, GONE), ReflexEnded(1, False), *(CheckDone(1 + number / 1000, GONE) for number in range(20)))
    assert [getattr(action, "playbook", "reflex") for action in done] == ["reflex", "recover"]
    taken = replace(HELD, epoch=8, since=3, standby="node-b")
    end, done = after(end, RunEnded(2, False, 1.0), LeaseSeen(3, taken), CheckDone(3, WELL), CheckDone(4, WELL), CheckDone(100, GONE))
    assert done == [Reflex((Fault.ADDRESS,))], "with a new lease it is repaired at once again"


def test_one_reflex_at_a_time() -> None:
    """Also in the middle of a run: what is seen before it has ended is what it repairs."""
    end, _done = after(state(), CheckDone(1, WRONG_ROUTE))
    end, done = after(end, *(CheckDone(2 + number / 1000, GONE) for number in range(20)))
    assert done == [Reflex((Fault.ADDRESS,))]
    _end, done = after(end, ReflexEnded(2.1, True))
    assert done == [Reflex((Fault.ADDRESS,))], "it is gone again"


DEAD = CheckResult("dependents", Health.FAILED, (Fault.DEPENDENTS,), ("app.service is failed",))
ALIVE = CheckResult("dependents", Health.HEALTHY)


def test_a_dependent_that_does_not_stay_up_moves_the_resource() -> None:
    """Twice it is started again, the third time it moves; without a ready standby it is started again, as often as the flap limit allows."""
    for standby, last in (("node-b", "switchover"), ("", "recover")):
        end = state(lease=replace(HELD, standby=standby))
        for now in (100.0, 200.0):
            end, done = after(end, CheckDone(now, DEAD), RunEnded(now + 5, True, 1.0), CheckDone(now + 6, ALIVE), CheckDone(now + 6, WELL))
            assert done == [StartRun("recover", "app.service is failed", (Fault.DEPENDENTS,))]
        _end, done = after(end, CheckDone(300, DEAD))
        assert [(type(action), getattr(action, "playbook", "")) for action in done] == [(StartRun, last)]


def test_a_dependent_that_died_is_started_at_once_also_right_after_a_takeover() -> None:
    _end, done = after(state(lease=replace(HELD, taken=True, since=0.0)), CheckDone(1, DEAD))
    assert done == [StartRun("recover", "app.service is failed", (Fault.DEPENDENTS,))]


def test_without_a_ready_standby_it_stays_and_is_repaired() -> None:
    end = state(verified=(0.0,) * CHECKS.max_recoveries)
    for now in range(1, 50):
        end, done = after(end, CheckDone(now, GONE), CheckDone(now + 0.001, WELL), ReflexEnded(now + 0.002, True))
        assert done == [Reflex((Fault.ADDRESS,))]


@pytest.mark.parametrize(
    "changes",
    [
        {"paused": True},
        {"may_reflex": False},
        {"lease": Lease()},
        {"lease": replace(HELD, serving=False)},
        {"checks": replace(CHECKS, grace=60)},
        {"checks": replace(CHECKS, fall=2)},
        {"work": Operation("reflex")},
        {"reflexed": ((Fault.ADDRESS, 0.5),)},
        {"aside_until": 60.0},
    ],
    ids=" ".join,
)
def test_it_is_not_put_back_ahead_where_no_reflex_would_follow(changes: dict[str, Any]) -> None:
    well, _done = after(state(), CheckDone(0.9, WELL))
    assert would_put_back(well, 1)
    wrong = replace(well, **changes)
    assert not would_put_back(wrong, 1)
    _end, done = after(wrong, CheckDone(1, GONE))
    assert Reflex((Fault.ADDRESS,)) not in done


def test_without_a_trigger_the_reflex_tries_on() -> None:
    end, done = after(state(may_run=False), CheckDone(1, GONE), ReflexEnded(1.1, False), CheckDone(1.2, GONE))
    assert done == [Reflex((Fault.ADDRESS,))]
    _end, done = after(end, Tick(1.1 + CHECKS.backoff))
    assert done == [Reflex((Fault.ADDRESS,))]


def test_what_has_to_be_fenced_first_is_not_put_up_by_a_reflex() -> None:
    begin = replace(HELD, serving=False, in_service=False, taken=True)
    _end, done = after(state(), LeaseSeen(1, replace(begin, epoch=8)))
    assert [type(action) for action in done] == [Reflex]
    end, done = after(state(), LeaseSeen(1, replace(begin, epoch=8, fence_first=True)), CheckDone(1.1, GONE))
    assert [(type(action), getattr(action, "playbook", "")) for action in done] == [(StartRun, "recover")]
    _end, done = after(end, RunEnded(5, False, 1.0), CheckDone(5, GONE), Tick(5 + CHECKS.backoff))
    assert [type(action) for action in done] == [StartRun]


def test_what_is_not_in_the_kernel_is_the_playbooks() -> None:
    _end, done = after(state(), CheckDone(1, WRONG_ROUTE))
    assert done == [StartRun("recover", WRONG_ROUTE.reasons[0], (Fault.ROUTES,))]


def test_without_reflex_the_playbook_does_it() -> None:
    _end, done = after(state(may_reflex=False), CheckDone(1, GONE))
    assert done == [StartRun("recover", GONE.reasons[0], (Fault.ADDRESS,))]


def test_not_known_is_not_failed() -> None:
    end, done = after(state(), CheckDone(1, WELL), CheckDone(2, SILENT), Tick(500), CheckDone(501, SILENT))
    assert (done, health(end), reasons(end)) == ([], Health.UNKNOWN, SILENT.reasons)
    end, _done = after(state(checks=replace(CHECKS, rise=2)), CheckDone(1, SILENT), CheckDone(2, replace(WELL, source="ec2")))
    assert health(end) is Health.HEALTHY, "nothing was wrong that would have to end"


def test_a_fault_that_is_no_longer_known_is_not_acted_on() -> None:
    end, _done = after(state(), CheckDone(1, WRONG_ROUTE), CheckDone(2, SILENT), RunEnded(5, False, 0.5), CheckDone(5.5, SILENT))
    end, done = after(end, Tick(100))
    assert (done, health(end), faults(end)) == ([], Health.UNKNOWN, ())
    _end, done = after(end, CheckDone(101, WRONG_ROUTE))
    assert done == [StartRun("recover", WRONG_ROUTE.reasons[0], (Fault.ROUTES,))]


def test_taken_over_it_is_healthy_once_ec2_was_looked_at_in_this_epoch() -> None:
    lease = Lease(held=True, epoch=8, since=10, taken=True, on_ec2=True)
    well = replace(WELL, source="ec2")
    end, _actions = step(State(CHECKS, began=0.0, lease=Lease(elsewhere=True)), CheckDone(1, WELL))
    assert health(end) is Health.HEALTHY
    end, _done = after(end, LeaseSeen(10, lease), LeaseSeen(10.1, replace(lease, serving=True)), ReflexEnded(10.2, True))
    end, actions = step(end, LeaseSeen(12, replace(lease, serving=True, in_service=True)))
    assert CheckNow() in actions, "it has come into service"
    end, actions = step(end, LeaseSeen(12.1, replace(lease, serving=True, in_service=True)))
    assert CheckNow() not in actions, "once is enough"
    for late in (CheckDone(13, well, 7), CheckDone(13, WRONG_ROUTE, 7), CheckDone(13, WELL)):
        end, _done = after(end, late)
        assert (health(end), faults(end)) == (Health.UNKNOWN, ())
        assert reasons(end) == ("EC2 was not looked at yet since this node has the lease",)
    end, _done = after(end, CheckDone(14, well, 8))
    assert (health(end), reasons(end)) == (Health.HEALTHY, ())


def test_a_look_that_ends_once_the_lease_is_gone_says_nothing() -> None:
    end, done = after(state(), LeaseSeen(1, Lease(elsewhere=True, epoch=7)), CheckDone(1.1, WRONG_ROUTE, 7), CheckDone(1.2, WELL))
    assert (done, health(end), faults(end)) == ([], Health.HEALTHY, ())


def test_a_run_is_told_the_reason_of_the_fault_that_it_is_for() -> None:
    _end, done = after(state(may_reflex=False), CheckDone(1, SILENT), CheckDone(2, GONE))
    assert done == [StartRun("recover", GONE.reasons[0], (Fault.ADDRESS,))]


def test_fall_and_rise() -> None:
    begin = state(checks=replace(CHECKS, fall=3, rise=2))
    end, done = after(begin, CheckDone(1, GONE), CheckDone(2, GONE), CheckDone(3, WELL), CheckDone(4, GONE), CheckDone(5, GONE))
    assert (done, end.phase) == ([], Phase.SUSPECT)
    end, done = after(end, CheckDone(6, GONE))
    assert done == [Reflex((Fault.ADDRESS,))]
    end, _done = after(end, CheckDone(7, WELL))
    assert health(end) is Health.FAILED
    end, _done = after(end, CheckDone(8, WELL))
    assert health(end) is Health.HEALTHY


def test_grace() -> None:
    begin = state(checks=Checks(grace=5))
    end, done = after(begin, CheckDone(1, GONE), Tick(4.9))
    assert done == []
    assert due(end, 1) == 5
    _end, done = after(end, Tick(5))
    assert done == [Reflex((Fault.ADDRESS,))]


def test_a_recovery_that_fails_is_retried_with_backoff() -> None:
    end, _done = after(state(), CheckDone(0, WRONG_ROUTE))
    now, waits = 0.0, []
    for _turn in range(4):
        end, done = after(end, RunEnded(now, False, 1.0), CheckDone(now, WRONG_ROUTE))
        assert (done, end.phase) == ([], Phase.BACKING_OFF)
        waits.append(due(end, now) - now)
        now += waits[-1]
        end, done = after(end, Tick(now))
        assert [type(action) for action in done] == [StartRun]
    assert waits == [5, 10, 20, 40]


def test_jitter_shortens_the_wait_by_half_at_most() -> None:
    for jitter, wait in ((0.0, 2.5), (0.5, 3.75), (1.0, 5.0)):
        end, _done = after(state(), CheckDone(0, WRONG_ROUTE), RunEnded(10, False, jitter))
        assert end.next_at == 10 + wait


def test_flapping_is_held_down_and_told() -> None:
    current, now, told, runs = state(), 0.0, [], 0
    for _turn in range(20):
        for event in (
            CheckDone(now, WRONG_ROUTE),
            RunEnded(now + 1, True, 0.0),
            CheckDone(now + 2, replace(WELL, source="ec2")),
            CheckDone(now + 2, WELL),
        ):
            if isinstance(event, RunEnded) and current.work is None:
                continue
            current, actions = step(current, event)
            told += [action.event for action in actions if isinstance(action, LogEvent)]
            runs += sum(isinstance(action, StartRun) for action in actions)
        now += 3
    assert runs == CHECKS.max_recoveries
    assert "held down" in told
    assert "flapping" in told
    current, _actions = step(current, CheckDone(now, WRONG_ROUTE))
    assert current.phase is Phase.HELD_DOWN
    _current, actions = step(current, Tick(held_down_until(current)))
    assert any(isinstance(action, StartRun) for action in actions)


def test_paused_nothing_is_done_and_resumed_it_goes_on() -> None:
    end, done = after(
        state(), OperatorRequest(0, "pause"), CheckDone(1, GONE), CheckDone(2, WRONG_ROUTE), Tick(1000), OperatorRequest(1001, "recover")
    )
    assert (done, end.phase, faults(end)) == ([], Phase.PAUSED, (Fault.ADDRESS, Fault.ROUTES))
    _end, done = after(end, OperatorRequest(1002, "resume"))
    assert done == [Reflex((Fault.ADDRESS,))]


def test_paused_during_a_reflex_no_run_follows() -> None:
    _end, done = after(state(), CheckDone(1, GONE), OperatorRequest(1.1, "pause"), ReflexEnded(1.2, True), Tick(1000))
    assert done == [Reflex((Fault.ADDRESS,))]


def test_what_a_person_asks_for_does_not_wait() -> None:
    end, _done = after(state(), CheckDone(0, WRONG_ROUTE), RunEnded(1, False, 1.0))
    end, done = after(end, OperatorRequest(2, "recover"))
    assert done == [StartRun("recover", "a person asked for it", (Fault.ROUTES,))]
    _end, done = after(end, OperatorRequest(3, "switchover", "node-b"))
    assert done == []  # one thing at a time


def test_taken_over_it_is_brought_up_and_the_rest_is_the_playbooks() -> None:
    taken = Lease(held=True, epoch=8, since=10, taken=True)
    end, done = after(State(CHECKS, began=0.0), LeaseSeen(10, taken))
    assert done == [Reflex((Fault.TAKEOVER,))]
    up = replace(taken, serving=True)
    end, done = after(end, LeaseSeen(10.1, up), ReflexEnded(10.2, True))
    assert done == [StartRun("recover", "this node has taken the lease", ())]
    end, done = after(end, LeaseSeen(12, replace(up, in_service=True)), RunEnded(13, True, 0.5), CheckDone(13.1, WELL))
    assert (done, end.phase, end.failures) == ([], Phase.WATCHING, 0)


def test_whoever_has_the_lease_serves_however_often_it_was_handed_over() -> None:
    """Held and not served, nobody else could serve either: the flap limit is for repairs."""
    current, done = State(CHECKS, began=0.0), []
    for turn in range(3 * CHECKS.max_recoveries):
        taken = Lease(held=True, epoch=turn, since=turn, taken=True)
        served = replace(taken, serving=True, in_service=True)
        current, actions = after(
            current, LeaseSeen(turn, taken), LeaseSeen(turn + 0.1, served), ReflexEnded(turn + 0.1, True), CheckDone(turn + 0.2, WELL)
        )
        done += actions
        current, actions = after(current, RunEnded(turn + 0.3, True, 0.0), LeaseSeen(turn + 0.5, Lease()))
        done += actions
    assert [action for action in done if isinstance(action, Reflex)] == [Reflex((Fault.TAKEOVER,))] * 3 * CHECKS.max_recoveries


def test_somebody_else_at_work_is_left_alone() -> None:
    begin = state(lease=replace(HELD, serving=False, hands_off_until=300))
    end, done = after(begin, CheckDone(1, GONE), Tick(299))
    assert done == []
    assert due(end, 1) == 300
    _end, done = after(end, Tick(300))
    assert done == [Reflex((Fault.TAKEOVER, Fault.ADDRESS))]


def test_an_address_that_was_handed_to_this_node_is_up_at_once_whoever_does_the_rest() -> None:
    """Nobody else can have it. All but the address is left to who is at work here, for as long as he may be."""
    handed = replace(HELD, serving=False, in_service=False, taken=True, handed=True, hands_off_until=30)
    end, done = after(state(lease=Lease()), LeaseSeen(1, handed))
    assert done == [Reflex((Fault.TAKEOVER,))]
    up = replace(handed, serving=True)
    end, done = after(end, LeaseSeen(1.01, up), ReflexEnded(1.01, True), CheckDone(2, WELL), Tick(29))
    assert done == [], "no run beside the one that is under way"
    _end, done = after(end, Tick(30))
    assert done == [StartRun("recover", "this node has taken the lease", ())], "who was at work here has not finished it"
    _end, done = after(end, LeaseSeen(3, replace(up, in_service=True)), CheckDone(4, WELL), Tick(31))
    assert StartRun not in map(type, done)
    _end, done = after(state(lease=Lease()), LeaseSeen(1, handed), ReflexEnded(1.01, False), Tick(29))
    assert done == [Reflex((Fault.TAKEOVER,))], "it is not tried again beside who is at work"
    for left in (replace(handed, handed=False), replace(handed, fence_first=True)):
        assert after(state(lease=Lease()), LeaseSeen(1, left))[1] == []
    for cautious in (state(lease=Lease(), may_reflex=False), state(lease=Lease(), paused=True)):
        assert after(cautious, LeaseSeen(1, handed))[1] == []


def test_a_link_that_is_back_ends_a_pause_and_no_more() -> None:
    taken = replace(HELD, serving=False, in_service=False, taken=True)
    dark = CheckResult("kernel", Health.FAILED, (Fault.LINK, Fault.ADDRESS), ("eth0 has no carrier",))
    again = StartRun("recover", "this node has taken the lease", ())
    end, done = after(state(lease=taken, may_reflex=False), CheckDone(1, dark), RunEnded(3, False, 1.0), CheckDone(3.1, dark), Tick(4))
    assert (done, end.phase) == ([again], Phase.BACKING_OFF)
    end, done = after(end, LinkRestored(4.1))
    assert done == [again]
    _end, done = after(end, LinkRestored(4.2))
    assert done == [], "one is under way"
    _end, done = after(state(), CheckDone(1, WELL), LinkRestored(2))
    assert done == []
    end, done = after(state(lease=taken, may_reflex=False), CheckDone(1, dark), RunEnded(3, False, 1.0, final=False), LinkRestored(4), Tick(60))
    assert (done, due(end, 60)) == ([again], 3 + CHECKS.hold_down), "the run may be under way still"
    held_down = state(attempts=(1.0,) * CHECKS.max_recoveries)
    _end, done = after(held_down, CheckDone(2, WRONG_ROUTE), LinkRestored(3))
    assert done == []


def test_whoever_moves_it_on_this_host_is_left_alone() -> None:
    end, done = after(state(), HoldOff(1, 61), CheckDone(2, GONE), CheckDone(3, WRONG_ROUTE), Tick(60))
    assert (done, due(end, 3), would_put_back(end, 3)) == ([], 61, False)
    _end, done = after(end, Tick(61))
    assert done == [Reflex((Fault.ADDRESS,))]
    end, actions = step(end, HoldOff(5, 5))
    assert actions == (CheckNow(), Reflex((Fault.ADDRESS,)))
    taken = replace(HELD, serving=False, in_service=False, taken=True)
    end, done = after(state(), HoldOff(1, 61), LeaseSeen(2, Lease()), LeaseSeen(3, taken))
    assert done == [Reflex((Fault.TAKEOVER,))], "with the lease the address has gone, and the move with it"
    _end, done = after(end, LeaseSeen(3, replace(taken, serving=True)), ReflexEnded(3.1, True))
    assert done == [StartRun("recover", "this node has taken the lease", ())]
    _end, done = after(state(lease=Lease(elsewhere=True)), HoldOff(1, 61), CheckDone(2, CheckResult("kernel", Health.FAILED, (Fault.STRAY,))))
    assert done == [Reflex((Fault.STRAY,))]


def test_right_after_it_came_here_it_is_not_sent_on() -> None:
    taken = replace(HELD, taken=True, since=0)
    end, done = after(state(lease=taken), CheckDone(1, GONE), ReflexEnded(1.1, False), CheckDone(2, GONE), Tick(59))
    assert done == [Reflex((Fault.ADDRESS,))]
    end, done = after(end, Tick(60))
    assert [type(action) for action in done] == [StartRun]
    _end, done = after(state(lease=taken), CheckDone(1, WRONG_ROUTE))
    assert [type(action) for action in done] == [StartRun]  # EC2 is repaired from here at once


def test_failback() -> None:
    lease = replace(HELD, better=("node-a", 100.0))
    end, done = after(state(lease=lease), CheckDone(101, WELL), Tick(159))
    assert done == []
    assert due(end, 101) == 160
    _end, done = after(end, Tick(160))
    assert done == [StartRun("switchover", "node-a has the better priority and is ready", (), "node-a")]


def test_a_failback_that_fails_is_tried_ever_more_rarely_and_costs_nothing_when_something_breaks() -> None:
    end, _done = after(state(lease=replace(HELD, better=("node-a", 0.0))), CheckDone(1, WELL))
    now, begun = 60.0, []
    for _turn in range(2 * CHECKS.max_recoveries):
        end, done = after(end, Tick(now))
        assert done == [StartRun("switchover", "node-a has the better priority and is ready", (), "node-a")]
        begun.append(now)
        end, done = after(end, RunEnded(now + 1, False, 1.0), CheckDone(now + 1.1, WELL))
        assert (done, end.phase) == ([], Phase.WATCHING)
        now = due(end, now + 1.1)
    waits = [round(later - earlier - 1) for earlier, later in zip(begun, begun[1:], strict=False)]
    assert waits[:7] == [5, 10, 20, 40, 80, 160, 300]
    _end, done = after(end, CheckDone(begun[-1] + 2, GONE))
    assert done == [Reflex((Fault.ADDRESS,))]
    _end, done = after(end, LeaseSeen(begun[-1] + 2, replace(HELD, better=("node-c", begun[-1] - 100))), Tick(begun[-1] + 3))
    assert [getattr(action, "to", "") for action in done] == ["node-c"], "another node is another matter"


def test_where_no_trigger_can_switch_over_there_is_no_failback() -> None:
    _end, done = after(state(lease=replace(HELD, better=("node-a", 0.0)), may_switch=False), CheckDone(1, WELL), Tick(1000))
    assert done == []


def test_what_a_person_asks_for_is_not_counted() -> None:
    end = state()
    for turn in range(2 * CHECKS.max_recoveries):
        end, done = after(end, OperatorRequest(turn, "recover"), RunEnded(turn + 0.5, True, 0.0), CheckDone(turn + 0.6, WELL))
        assert [type(action) for action in done] == [StartRun]
    _end, done = after(end, CheckDone(100, GONE))
    assert done == [Reflex((Fault.ADDRESS,))]


def test_whoever_cannot_finish_a_takeover_tries_on_and_is_not_held_down() -> None:
    up = replace(HELD, in_service=False)
    end, now, tries = state(lease=up, may_reflex=False), 0.0, 0
    for _turn in range(2 * CHECKS.max_recoveries):
        end, done = after(end, CheckDone(now, WELL), Tick(now))
        tries += [type(action) for action in done] == [StartRun]
        end, _done = after(end, RunEnded(now + 1, False, 1.0))
        assert (end.attempts, end.phase) == ((), Phase.BACKING_OFF)
        now = end.next_at
    assert tries == 2 * CHECKS.max_recoveries
    assert end.next_at - now < CHECKS.backoff_max + 2


def test_a_standby_does_nothing_but_clear_what_should_not_be_there() -> None:
    stray = CheckResult("kernel", Health.FAILED, (Fault.STRAY,), ("it is out of service here, yet 10.1.0.10/32 is on eth0",))
    begin = state(lease=Lease(elsewhere=True))
    end, done = after(begin, CheckDone(1, GONE), CheckDone(2, WRONG_ROUTE))
    assert done == []
    end, done = after(end, CheckDone(3, stray), ReflexEnded(3.1, True), CheckDone(3.2, replace(WELL)), Tick(50))
    assert done == [Reflex((Fault.STRAY,))]


def test_the_lease_lost_midway_nothing_is_owed() -> None:
    end, done = after(state(), CheckDone(1, GONE), LeaseSeen(1.1, Lease(elsewhere=True)), ReflexEnded(1.2, False), Tick(50))
    assert (done, end.owed) == ([Reflex((Fault.ADDRESS,))], ())


# --- random schedules --------------------------------------------------------------------------------------------------


@dataclass
class World:
    """A resource whose faults come and go, in virtual time. What the machine begins takes a while, and works or does not."""

    dice: random.Random
    state: State
    now: float = 0.0
    broken: set[Fault] = field(default_factory=set)
    silent: bool = False
    ends: float = NEVER
    kind: str = ""
    begun: list[tuple[float, str, State]] = field(default_factory=list)
    counted: list[float] = field(default_factory=list)
    works: float = 0.7

    def tell(self, event: Event) -> None:
        """One event, and what the machine wants then."""
        before = self.state
        self.state, actions = step(self.state, event)
        for action in actions:
            if isinstance(action, Reflex) and self.ends != NEVER:
                assert self.kind != "reflex", "two at once"
                assert Fault.TAKEOVER not in action.faults
                ok = self.dice.random() < self.works
                self.broken -= {Fault.ADDRESS, Fault.LINK} if ok else set()
                self.tell(ReflexEnded(self.now, ok))
                continue
            if isinstance(action, (Reflex, StartRun)):
                assert self.ends == NEVER, "two at once"
                assert not self.state.paused, "begun while paused"
                assert not before.paused or isinstance(event, OperatorRequest)
                assert self.now >= self.state.aside_until or isinstance(event, OperatorRequest), "begun while somebody moves it"
                kind = "reflex" if isinstance(action, Reflex) else action.playbook
                self.begun.append((self.now, kind, self.state))
                self.kind = kind
                self.ends = self.now + (self.dice.uniform(0.001, 5) if kind == "reflex" else self.dice.uniform(0.5, 30))
        if len(self.state.attempts) > len(before.attempts) and not isinstance(event, OperatorRequest):
            self.counted.append(self.now)

    def look(self) -> None:
        """At the kernel and at EC2."""
        kernel = tuple(sorted(self.broken & {Fault.ADDRESS, Fault.LINK}))
        self.tell(CheckDone(self.now, CheckResult("kernel", Health.FAILED if kernel else Health.HEALTHY, kernel)))
        routes = tuple(self.broken & {Fault.ROUTES})
        if self.silent:
            self.tell(CheckDone(self.now, SILENT))
        else:
            self.tell(CheckDone(self.now, CheckResult("ec2", Health.FAILED if routes else Health.HEALTHY, routes)))

    def end(self) -> None:
        """What is under way comes to its end."""
        ok, self.ends = self.dice.random() < self.works, NEVER
        if ok:
            self.broken -= {Fault.ADDRESS, Fault.LINK} if self.kind == "reflex" else {Fault.ADDRESS, Fault.LINK, Fault.ROUTES}
        if self.kind == "reflex":
            self.tell(ReflexEnded(self.now, ok))
        else:
            self.tell(RunEnded(self.now, ok, self.dice.random(), final=self.dice.random() < 0.9))

    def go_on(self, seconds: float) -> None:
        """Until something is due, at most so long."""
        until = min(self.now + seconds, due(self.state, self.now), self.ends)
        self.now = max(self.now, until)
        if self.now >= self.ends:
            self.end()
        self.tell(Tick(self.now))


def worlds(number: int) -> Iterator[World]:
    for seed in range(number):
        dice = random.Random(seed)
        checks = Checks(
            grace=dice.choice([0, 5]),
            fall=dice.choice([1, 1, 2, 3]),
            rise=dice.choice([1, 1, 2]),
            max_recoveries=dice.choice([1, 2, 5]),
            window=dice.choice([60, 600]),
            hold_down=dice.choice([0, 60]),
        )
        lease = replace(HELD, taken=dice.random() < 0.5, since=-dice.uniform(0, 100))
        yield World(dice, State(checks, began=0.0, lease=lease, may_reflex=dice.random() < 0.8, may_run=dice.random() < 0.8))


def disturb(world: World) -> None:
    dice = world.dice
    what = dice.random()
    if what < 0.35:
        world.broken.add(dice.choice([Fault.ADDRESS, Fault.LINK, Fault.ROUTES]))
    elif what < 0.5:
        world.broken.discard(dice.choice([Fault.ADDRESS, Fault.LINK, Fault.ROUTES]))
    elif what < 0.55:
        world.silent = not world.silent
    elif what < 0.6:
        world.tell(OperatorRequest(world.now, dice.choice(["pause", "resume", "resume"])))
    elif what < 0.63:
        world.tell(OperatorRequest(world.now, "recover"))
    elif what < 0.65:
        world.tell(HoldOff(world.now, world.now + dice.uniform(0, 60)))
    elif what < 0.68:
        world.tell(LinkRestored(world.now))
    elif what < 0.72:
        until, serving, handed = world.now + dice.uniform(0, 60), dice.random() < 0.5, dice.random() < 0.5
        lease = replace(world.state.lease, hands_off_until=until, serving=serving, handed=handed)
        world.tell(LeaseSeen(world.now, lease))
    world.look()


def check_flap_limit(world: World) -> None:
    checks = world.state.checks
    for index, at in enumerate(world.counted):
        recent = [other for other in world.counted[: index + 1] if other > at - checks.window + 1e-6]
        assert len(recent) <= checks.max_recoveries, f"{len(recent)} recoveries within {checks.window} s"


def test_random_schedules() -> None:
    """Never two at once, never while paused (`World.tell`), never more than the flap limit."""
    for world in worlds(150):
        for _turn in range(120):
            disturb(world)
            world.go_on(world.dice.uniform(0, 20))
        check_flap_limit(world)


def test_from_any_state_a_fault_that_stays_is_attended_to() -> None:
    for world in worlds(120):
        for _turn in range(world.dice.randrange(60)):
            disturb(world)
            world.go_on(world.dice.uniform(0, 20))
        world.tell(OperatorRequest(world.now, "resume"))
        world.tell(LeaseSeen(world.now, replace(world.state.lease, serving=True, in_service=True)))
        world.works, world.silent = 0.0, False
        if not (world.state.may_reflex or world.state.may_run):
            continue
        fault = Fault.ADDRESS
        world.broken = {fault}
        checks = world.state.checks
        bound = world.now + checks.window + checks.backoff_max + checks.hold_down + 120
        seen = len(world.begun)
        while len(world.begun) == seen:
            assert world.now < bound, f"nothing was tried for {fault}: {world.state}"
            world.look()
            world.go_on(5.0)


def test_unknown_alone_triggers_nothing() -> None:
    for world in worlds(40):
        world.silent = True
        for _turn in range(50):
            world.tell(CheckDone(world.now, SILENT))
            world.tell(CheckDone(world.now, WELL))
            world.go_on(world.dice.uniform(0, 60))
        assert world.begun == []


@pytest.mark.parametrize("fault", [Fault.ADDRESS, Fault.LINK])
def test_flapping_at_one_hertz_moves_once_a_minute_at_most(fault: Fault) -> None:
    """Two nodes, each with a fault that comes and goes every second, and runs that always end in a failover to the other."""
    nodes = {name: State(Checks(grace=0, max_recoveries=1000), began=0.0, lease=Lease(elsewhere=True)) for name in ("a", "b")}
    active, epoch, moves, runs = "a", 1, [], 0.0
    nodes["a"] = replace(nodes["a"], lease=Lease(held=True, epoch=1, since=0.0, taken=True, serving=True, in_service=True))
    now, step_of = 0.0, 0.05
    ends: dict[str, tuple[float, str]] = {}
    while now < 400:
        now += step_of
        bad = int(now) % 2 == 0
        events: list[Event] = [CheckDone(now, CheckResult("kernel", Health.FAILED if bad else Health.HEALTHY, (fault,) if bad else ())), Tick(now)]
        ended = ends.get(active)
        if ended and now >= ended[0]:
            del ends[active]
            if ended[1] == "reflex":
                events.append(ReflexEnded(now, False))
            else:
                nodes[active], _actions = step(nodes[active], LeaseSeen(now, Lease(elsewhere=True)))
                nodes[active], _actions = step(nodes[active], RunEnded(now, True, 0.5))
                active, epoch = ("b" if active == "a" else "a"), epoch + 1
                moves.append(now)
                events = [LeaseSeen(now, Lease(held=True, epoch=epoch, since=now, taken=True, serving=True, in_service=True))]
        for event in events:
            nodes[active], actions = step(nodes[active], event)
            for action in actions:
                if isinstance(action, (Reflex, StartRun)):
                    ends[active] = (now + 2, "reflex" if isinstance(action, Reflex) else "run")
                    runs += 1
    assert len(moves) >= 4
    assert all(later - earlier >= 60 for earlier, later in zip(moves, moves[1:], strict=False))
