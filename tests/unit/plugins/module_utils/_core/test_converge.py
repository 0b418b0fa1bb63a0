# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop that every change goes through, in virtual time: wrong, late, lost and refused writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import (
    Attempt,
    DependsOn,
    Outcome,
    ReconcilerGroup,
    Run,
    converge,
    converge_together,
    preview,
    preview_together,
)
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, NotConverged, Refused, ServiceError

DENIED = Refused("denied")


def throttled() -> ServiceError:
    return ServiceError("slow down", retryable=True)


def lost() -> ServiceError:
    return ServiceError("no reply", retryable=True, ambiguous=True)


class Clock:
    """A clock that only `pause` moves."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.time

    def pause(self, seconds: float) -> None:
        assert seconds > 0
        self.pauses.append(seconds)
        self.time += seconds


@dataclass
class Numbers:
    """A reconciler whose state is a set of numbers and whose actions add one each. ``fates``: what happens to the tries of one, in turn:
    an error, or how many seconds later the write shows."""

    clock: Clock
    wanted: tuple[int, ...]
    fates: dict[int, list[HoldfastError | float]] = field(default_factory=dict)
    looks: list[HoldfastError | None] = field(default_factory=list)
    ordered: bool = False
    shows: dict[int, float] = field(default_factory=dict)
    tries: list[int] = field(default_factory=list)

    def observe(self) -> frozenset[int]:
        error = self.looks.pop(0) if self.looks else None
        if error is not None:
            raise error
        return frozenset(number for number, time in self.shows.items() if time <= self.clock.time)

    def plan(self, state: frozenset[int]) -> tuple[int, ...]:
        return tuple(number for number in self.wanted if number not in state)

    def simulate(self, state: frozenset[int], actions: tuple[int, ...]) -> frozenset[int]:
        return state | set(actions)

    def apply(self, actions: tuple[int, ...]) -> tuple[Attempt[int], ...]:
        attempts: list[Attempt[int]] = []
        for number in actions:
            attempts.append(Attempt(number, self._write(number)))
            if self.ordered and attempts[-1].error:
                break
        return tuple(attempts)

    def _write(self, number: int) -> HoldfastError | None:
        self.tries.append(number)
        fates = self.fates.get(number, [])
        fate = fates.pop(0) if fates else 0.0
        if isinstance(fate, HoldfastError):
            if fate.ambiguous:
                self.shows[number] = self.clock.time
            return fate
        self.shows[number] = self.clock.time + fate
        return None

    def table(self, state: frozenset[int]) -> str:
        return str(sorted(state))

    def result(self, run: Run[frozenset[int], int]) -> dict[str, object]:
        return {}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def go(clock: Clock) -> Callable[..., Run[frozenset[int], int]]:
    def run(task: Numbers, settle: float = 10.0) -> Run[frozenset[int], int]:
        return converge(task, settle=settle, now=clock.now, pause=clock.pause)

    return run


Go = Callable[..., Run[frozenset[int], int]]


def test_nothing_to_do_writes_nothing(clock: Clock, go: Go) -> None:
    task = Numbers(clock, (1,), shows={1: 0.0})
    run = go(task)
    assert not run.changed
    assert not run.errors
    assert task.tries == []
    assert clock.pauses == []


def test_check_mode_only_looks(clock: Clock) -> None:
    task = Numbers(clock, (1, 2), shows={1: 0.0})
    run = preview(task)
    assert run.changed
    assert run.planned == (2,)
    assert run.after == {1, 2}
    assert task.tries == []


def test_a_plain_change_is_read_back_without_waiting(clock: Clock, go: Go) -> None:
    run = go(Numbers(clock, (1, 2)))
    assert run.changed
    assert run.before == frozenset()
    assert run.after == {1, 2}
    assert clock.pauses == []
    assert not run.errors


def test_a_late_write_is_waited_for_and_not_repeated(clock: Clock, go: Go) -> None:
    task = Numbers(clock, (1,), {1: [3.0]})
    run = go(task)
    assert run.changed
    assert not run.errors
    assert task.tries == [1]
    assert 3.0 <= sum(clock.pauses) < 6.0


def test_a_write_that_never_shows_is_an_error_after_settle(clock: Clock, go: Go) -> None:
    task = Numbers(clock, (1,), {1: [1e9]})
    run = go(task, 10.0)
    assert isinstance(run.errors[1], NotConverged)
    assert run.changed
    assert task.tries == [1]
    assert sum(clock.pauses) == pytest.approx(10.0)


def test_a_refusal_is_final_and_the_others_are_done(clock: Clock, go: Go) -> None:
    task = Numbers(clock, (1, 2, 3), {2: [DENIED]})
    run = go(task)
    assert run.errors == {2: DENIED}
    assert run.after == {1, 3}
    assert run.changed
    assert task.tries == [1, 2, 3]


def test_refused_throughout_changes_nothing(clock: Clock, go: Go) -> None:
    run = go(Numbers(clock, (1,), {1: [DENIED]}))
    assert not run.changed
    assert run.errors == {1: DENIED}
    assert clock.pauses == []


def test_throttling_is_tried_again(clock: Clock, go: Go) -> None:
    task = Numbers(clock, (1,), {1: [throttled(), throttled()]})
    run = go(task)
    assert run.changed
    assert not run.errors
    assert task.tries == [1, 1, 1]
    assert len(clock.pauses) == 2


def test_throttled_for_good_is_given_up(clock: Clock, go: Go) -> None:
    run = go(Numbers(clock, (1,), {1: [throttled() for _number in range(1000)]}), 5.0)
    assert not run.changed
    assert run.errors[1].message == "slow down"
    assert sum(clock.pauses) == pytest.approx(5.0)


def test_a_lost_reply_is_settled_by_reading(clock: Clock, go: Go) -> None:
    task = Numbers(clock, (1,), {1: [lost()]})
    run = go(task)
    assert run.changed
    assert not run.errors
    assert task.tries == [1]


def test_a_first_look_that_fails_is_tried_again_then_raised(clock: Clock, go: Go) -> None:
    assert go(Numbers(clock, (1,), looks=[throttled()])).changed
    with pytest.raises(ServiceError):
        go(Numbers(clock, (1,), looks=[throttled() for _number in range(1000)]))
    with pytest.raises(Refused):
        go(Numbers(clock, (1,), looks=[DENIED]))


def test_a_look_back_that_fails_is_reported_with_the_change(clock: Clock, go: Go) -> None:
    run = go(Numbers(clock, (1,), looks=[None, DENIED]))
    assert run.changed
    assert run.errors == {1: DENIED}


def test_what_was_not_begun_is_not_blamed(clock: Clock, go: Go) -> None:
    """Actions that build on one another: the first error stops the rest, and is the only one to be told of."""
    task = Numbers(clock, (1, 2, 3), {2: [DENIED]}, ordered=True)
    run = go(task, 0.0)
    assert run.errors == {2: DENIED}
    assert run.after == {1}
    assert task.tries == [1, 2]
    first = go(Numbers(clock, (1, 2, 3), {1: [DENIED]}, ordered=True), 0.0)
    assert first.errors == {1: DENIED}
    assert not first.changed


def both(first: Numbers, second: Numbers) -> ReconcilerGroup:
    """The second waits for the first."""
    return ReconcilerGroup({"second": second, "first": first}, lambda runs: {}, {"second": DependsOn("first", "left as it is")})


def told(outcome: Outcome) -> object:
    return outcome.after if isinstance(outcome, Run) else outcome.message


def test_together_each_comes_about() -> None:
    outcomes = converge_together(both(Numbers(Clock(), (1, 2)), Numbers(Clock(), (3,))))
    assert {name: told(outcome) for name, outcome in outcomes.items()} == {"first": {1, 2}, "second": {3}}


def test_what_waits_is_left_where_the_other_does_not_come_about() -> None:
    first, second = Numbers(Clock(), (1, 2), {2: [DENIED]}), Numbers(Clock(), (3,))
    outcomes = converge_together(both(first, second))
    assert (told(outcomes["second"]), second.tries) == ("left as it is", [])
    assert isinstance(outcomes["first"], Run)
    assert outcomes["first"].errors == {2: DENIED}


def test_what_waits_is_left_where_the_other_cannot_be_looked_at() -> None:
    first, second = Numbers(Clock(), (1,), looks=[DENIED]), Numbers(Clock(), (3,))
    outcomes = converge_together(both(first, second))
    assert (told(outcomes["first"]), told(outcomes["second"]), second.tries) == (DENIED.message, "left as it is", [])


def test_what_has_nothing_to_write_waits_for_nothing() -> None:
    outcomes = converge_together(both(Numbers(Clock(), (1,), looks=[DENIED]), Numbers(Clock(), ())))
    assert told(outcomes["second"]) == frozenset()


def test_what_is_right_already_lets_the_other_go_on() -> None:
    second = Numbers(Clock(), (3,))
    assert told(converge_together(both(Numbers(Clock(), ()), second))["second"]) == {3}


def test_a_defect_of_one_is_no_outcome_and_holds_nobody_up() -> None:
    class Broken(Numbers):
        def observe(self) -> frozenset[int]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        converge_together(both(Broken(Clock(), (1,)), Numbers(Clock(), (3,))))


def test_together_foreseen_nothing_is_written() -> None:
    first, second = Numbers(Clock(), (1,)), Numbers(Clock(), (3,))
    outcomes = preview_together(both(first, second))
    assert {name: told(outcome) for name, outcome in outcomes.items()} == {"first": {1}, "second": {3}}
    assert (first.tries, second.tries) == ([], [])
