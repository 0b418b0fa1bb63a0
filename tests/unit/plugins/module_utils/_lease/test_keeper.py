# SPDX-License-Identifier: GPL-3.0-or-later
"""The keeper between the thread of the lease and that of the peers: what is put by, and what is dropped."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._lease.keeper import Keeper
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Demote, Identity, Intent, Reading, Serve, State
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing


class Shelf:
    """A store of one record. ``before``: called at each call; it may raise."""

    def __init__(self, record: Record) -> None:
        self.record, self.token = record, 1
        self.before: Callable[[], None] = lambda: None

    def read(self, key: str) -> Reading:
        self.before()
        return Reading(self.record, self.token)

    def write(self, key: str, expected: Hashable, record: Record) -> Hashable | None:
        self.before()
        if expected != self.token:
            return None
        self.record, self.token = record, self.token + 1
        return self.token


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(Record("", 7, "far.s.2"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(shelf: Shelf, clock: Clock) -> Keeper:
    return Keeper(shelf, "web-prod/web", State(Identity("me", "boot"), "s", Timing()), clock)


def silent() -> None:
    raise ServiceError("no answer", ambiguous=True)


def hold(keeper: Keeper) -> None:
    keeper.tell(Intent.CLAIM)
    assert keeper.turn() == ()
    assert keeper.turn() == (Serve(8, pytest.approx(107.8)),)


def cut_off(keeper: Keeper, shelf: Shelf, clock: Clock) -> None:
    """It holds, and its renewal at 102 gets no answer."""
    hold(keeper)
    shelf.before = silent
    clock.now = 102
    assert keeper.asking is None
    assert keeper.turn() == ()
    assert keeper.asking == 8


def test_what_the_peers_acknowledge_comes_with_the_next_turn(keeper: Keeper, shelf: Shelf, clock: Clock) -> None:
    cut_off(keeper, shelf, clock)
    assert keeper.acknowledged(8, 102.5)
    assert not keeper.acknowledged(8, 102.5), "nothing new"
    assert keeper.turn() == (Serve(8, pytest.approx(110.3)),)
    assert keeper.turn() == ()


def test_also_while_the_store_is_waited_for(keeper: Keeper, shelf: Shelf, clock: Clock) -> None:
    cut_off(keeper, shelf, clock)

    def acknowledge() -> None:
        assert keeper.acknowledged(8, 102.5)
        silent()

    shelf.before = acknowledge
    assert keeper.turn() == (Serve(8, pytest.approx(110.3)),)


@pytest.mark.parametrize("intent", [Intent.RELEASE, Intent.WATCH])
def test_what_is_let_go_is_not_served_by_an_order_from_before(keeper: Keeper, shelf: Shelf, clock: Clock, intent: Intent) -> None:
    cut_off(keeper, shelf, clock)
    assert keeper.acknowledged(8, 102.5)
    keeper.tell(intent)
    assert keeper.turn() == ()


def test_nor_what_is_lost(keeper: Keeper, shelf: Shelf, clock: Clock) -> None:
    cut_off(keeper, shelf, clock)
    assert keeper.acknowledged(8, 102.5)
    clock.now = 110.3
    assert keeper.turn() == (Demote("no renewal was confirmed in time"),)


def test_a_promise_is_kept_although_the_store_is_being_read(keeper: Keeper, shelf: Shelf, clock: Clock) -> None:
    keeper.tell(Intent.CLAIM)
    given: list[bool] = []

    def ask() -> None:
        given.append(keeper.acknowledge("other", 9, 10.0))

    shelf.before = ask
    keeper.turn()
    assert given == [True]
    shelf.before = lambda: None
    clock.now = 105
    keeper.turn()
    assert shelf.record.holder == "", "the record says that it is free"
    clock.now = 110.3
    shelf.before = ask
    given.clear()
    keeper.turn()
    assert (shelf.record.holder, given) == ("me", [False]), "over; and no other while this is being written"
