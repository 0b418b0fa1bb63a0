# SPDX-License-Identifier: GPL-3.0-or-later
"""Never two holders: random schedules of the production rule in virtual time, and wrong implementations that the same test catches."""

from __future__ import annotations

import pytest

from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lease.simulation import WRONG, EpochFell, Hooks, Tally, TwoHolders, schedule

#: In shares, so that several workers can run them.
_SHARES, _EACH = 8, 2500


@pytest.mark.parametrize("share", range(_SHARES))
def test_no_instant_with_two_holders(share: int) -> None:
    tally = Tally()
    for seed in range(share * _EACH, (share + 1) * _EACH):
        try:
            schedule(seed, Hooks(), tally)
        except (TwoHolders, EpochFell) as error:
            raise AssertionError(f"schedule {seed}: {error}") from error
    # proof that the schedules are about something
    assert tally.schedules == _EACH
    assert tally.takeovers > _EACH * 0.9, tally
    assert tally.expiries > _EACH / 20, tally
    assert tally.handoffs > _EACH / 10, tally
    assert tally.kills > _EACH / 50, tally
    assert tally.unknown > _EACH, tally
    assert tally.served > 5 * _EACH, tally
    assert tally.refused > _EACH / 10, tally
    assert tally.prolonged > _EACH, tally
    assert tally.rescued > _EACH / 4, tally
    assert tally.let_off > _EACH / 100, tally


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_implementation_is_caught(name: str) -> None:
    with pytest.raises(TwoHolders):
        _run(range(_SHARES * _EACH), WRONG[name])


def _run(seeds: range, hooks: Hooks) -> None:
    for seed in seeds:
        schedule(seed, hooks, Tally())
