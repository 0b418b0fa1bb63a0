# SPDX-License-Identifier: GPL-3.0-or-later
"""When an address is announced again, in virtual time."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.announcements import Announcements
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Link

ETH0 = Link("eth0", 2, "02:00:00:00:00:01", admin_up=True, carrier=True)
EARLY = [1, 2, 5, 10, 20, 40]


def times(one: Announcements, until: float) -> list[float]:
    found = []
    while one.due <= until:
        found.append(one.due)
        one.announced(one.due)
    return found


@pytest.mark.parametrize(
    ("interval", "spread", "expected"),
    [
        pytest.param(60, 0.0, [*EARLY, 100, 160, 220], id="each-minute"),
        pytest.param(60, 1.0, [*EARLY, 85, 130, 175, 220], id="earlier-by-a-quarter-at-most"),
        pytest.param(0, 0.0, EARLY, id="off"),
        pytest.param(50, 0.0, [*EARLY, 90, 140, 190], id="longer-than-the-early-ones"),
    ],
)
def test_soon_after_the_address_came_and_then_at_each_interval(interval: float, spread: float, expected: list[float]) -> None:
    one = Announcements(lambda: spread)
    one.observe(ETH0, 1, interval, 0.0)
    assert times(one, 220) == expected


def test_a_short_interval_holds_from_the_start() -> None:
    one = Announcements(lambda: 0.0)
    one.observe(ETH0, 1, 3, 0.0)
    assert times(one, 12) == [1, 2, 5, 8, 10]


@pytest.mark.parametrize(
    ("link", "epoch", "anew"),
    [
        pytest.param(ETH0, 1, False, id="unchanged"),
        pytest.param(dataclasses.replace(ETH0, addresses=()), 1, False, id="another-look"),
        pytest.param(dataclasses.replace(ETH0, index=3), 1, True, id="another-interface"),
        pytest.param(dataclasses.replace(ETH0, mac="02:00:00:00:00:02"), 1, True, id="another-mac-address"),
        pytest.param(ETH0, 2, True, id="another-lease"),
    ],
)
def test_it_begins_anew_where_the_neighbours_have_to_learn_anew(link: Link, epoch: int, anew: bool) -> None:
    one = Announcements(lambda: 0.0)
    one.observe(ETH0, 1, 60, 0.0)
    times(one, 50)
    one.observe(link, epoch, 60, 50.0)
    assert one.due == (51 if anew else 100)


def test_nothing_is_due_while_it_is_not_in_service() -> None:
    one = Announcements(lambda: 0.0)
    assert one.due == float("inf")
    one.observe(ETH0, 1, 60, 0.0)
    one.observe(None, 1, 60, 0.5)
    assert (one.due, one.link) == (float("inf"), None)
    one.observe(ETH0, 1, 60, 10.0)
    assert one.due == 11


def test_what_was_missed_is_not_made_up_for() -> None:
    one = Announcements(lambda: 0.0)
    one.observe(ETH0, 1, 60, 0.0)
    one.announced(12.0)
    assert one.due == 20
