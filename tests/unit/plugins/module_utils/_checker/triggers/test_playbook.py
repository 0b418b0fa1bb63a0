# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose turn it is, with threads; the runs themselves are `tests/integration/checker/test_playbook.py`'s."""

from __future__ import annotations

import threading

from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.playbook import _FifoSemaphore

PATIENCE = 20.0


class Guest(threading.Thread):
    """Takes a turn and keeps it until `leave`."""

    def __init__(self, turns: _FifoSemaphore) -> None:
        super().__init__(daemon=True)
        self.turns, self.cancel = turns, threading.Event()
        self.ahead: list[int] = []
        self.stands, self.in_turn, self.leave = threading.Event(), threading.Event(), threading.Event()
        self.had: bool | None = None

    def run(self) -> None:
        def told(ahead: int) -> None:
            self.ahead.append(ahead)
            self.stands.set()

        with self.turns.turn(self.cancel, told) as had:
            self.had = had
            self.in_turn.set()
            self.leave.wait(PATIENCE)


def test_in_their_order_so_many_at_a_time() -> None:
    turns = _FifoSemaphore(1)
    guests = [Guest(turns) for _number in range(4)]
    guests[0].start()
    assert guests[0].in_turn.wait(PATIENCE)
    for guest in guests[1:]:
        guest.start()
        assert guest.stands.wait(PATIENCE)
    assert [guest.ahead for guest in guests] == [[], [1], [2], [3]]
    for number, guest in enumerate(guests):
        assert guest.in_turn.wait(PATIENCE)
        assert not any(later.in_turn.is_set() for later in guests[number + 1 :])
        guest.leave.set()
        guest.join(PATIENCE)
    assert [guest.had for guest in guests] == [True] * 4


def test_who_is_called_off_leaves_the_line() -> None:
    turns = _FifoSemaphore(1)
    first, second, third = guests = [Guest(turns) for _number in range(3)]
    first.start()
    assert first.in_turn.wait(PATIENCE)
    for guest in guests[1:]:
        guest.start()
        assert guest.stands.wait(PATIENCE)
    second.leave.set()
    second.cancel.set()
    second.join(PATIENCE)
    assert second.had is False
    first.leave.set()
    third.leave.set()
    third.join(PATIENCE)
    assert third.had is True


def test_who_goes_on_for_long_holds_nobody_up() -> None:
    turns = _FifoSemaphore(1, long=0.5)
    first, second = Guest(turns), Guest(turns)
    first.start()
    assert first.in_turn.wait(PATIENCE)
    second.start()
    assert second.in_turn.wait(PATIENCE)
    assert not first.leave.is_set()
    for guest in (first, second):
        guest.leave.set()
