# SPDX-License-Identifier: GPL-3.0-or-later
"""What lease_address asks of the checker, by where the address stands."""

from __future__ import annotations

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Completed
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import Refused
from ansible_collections.holdfast.ha.plugins.module_utils._modules.lease_address import BringUp, LeasedAddressState, LeasedAddressTask, TakeDown

RIGHT = LeasedAddressState("eth0", ("eth0",), serving=True, held=True)


def task(state: str = "present") -> LeasedAddressTask:
    def run(argv: object) -> Completed:
        raise AssertionError("a plan runs nothing")

    return LeasedAddressTask({"cluster": "web-prod", "tag": "web", "state": state, "gateway": None}, run)


@pytest.mark.parametrize(
    "sight",
    [
        LeasedAddressState("eth0", (), serving=True, held=True),
        LeasedAddressState("eth0", ("eth1",), serving=True, held=True),
        LeasedAddressState("eth0", ("eth0", "eth1"), serving=True, held=True),
        LeasedAddressState("eth0", ("eth0",), serving=False, held=True),
        LeasedAddressState("eth0", ("eth0",), serving=True, held=True, exact=False),  # another prefix length
        LeasedAddressState("eth0", ("eth0",), serving=True, held=True, alive=False),
    ],
)
def test_what_is_not_right_is_brought_up(sight: LeasedAddressState) -> None:
    up = task()
    actions = up.plan(sight)
    assert actions == (BringUp("web", None),)
    assert up.plan(up.simulate(sight, actions)) == ()


def test_what_is_right_is_left_alone() -> None:
    assert task().plan(RIGHT) == ()


def test_without_the_lease_nothing_is_brought_up() -> None:
    with pytest.raises(Refused, match="does not hold the lease"):
        task().plan(LeasedAddressState("eth0", (), serving=False, held=False))


@pytest.mark.parametrize(("sight", "actions"), [(RIGHT, (TakeDown("web"),)), (LeasedAddressState("eth0", (), serving=False, held=True), ())])
def test_taken_down(sight: LeasedAddressState, actions: tuple[TakeDown, ...]) -> None:
    assert task("absent").plan(sight) == actions
