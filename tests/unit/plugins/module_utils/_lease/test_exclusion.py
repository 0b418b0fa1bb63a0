# SPDX-License-Identifier: GPL-3.0-or-later
"""Never two holders: random schedules of the production rule in virtual time, and wrong implementations that the same test catches."""

from __future__ import annotations

import pytest

from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lease.simulation import (
    WRONG,
    WRONG_WITH_FAULTS,
    EpochFell,
    Faults,
    Hooks,
    Tally,
    TwoHolders,
    schedule,
)

#: In shares, so that several workers can run them.
_SHARES, _EACH = 8, 1000
#: With faults, of each kind; and at most so many until a wrong implementation is caught.
_WITH_FAULTS, _CAUGHT_WITHIN = 1000, 20_000
#: What only a rare schedule shows is looked for from here on, to save time.
_RARE = {
    "no rate margin": 11_800,
    "deadline counted after the reply": 700,
    "acknowledgements counted from the reply": 1300,
    "an older record is free as it says": 1200,
}
FAULTS = {
    "deleted": Faults(deleted=True),
    "restored": Faults(restored=True),
    "mixed timing": Faults(mixed=True),
    "a stranger": Faults(stranger=True),
    "deleted, restored, mixed timing": Faults(deleted=True, restored=True, mixed=True),
    "a namesake": Faults(namesake=True),
    "dependents": Faults(dependents=True),
    "dependents, deleted, restored, mixed timing": Faults(deleted=True, restored=True, mixed=True, dependents=True),
}


@pytest.mark.parametrize("share", range(_SHARES))
def test_no_instant_with_two_holders(share: int) -> None:
    tally = _run(range(share * _EACH, (share + 1) * _EACH), Faults())
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


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_nor_with_what_people_do_to_a_cluster(name: str) -> None:
    _has_taken_place(_run(range(_WITH_FAULTS), FAULTS[name]), FAULTS[name], _WITH_FAULTS)


@pytest.mark.long
@pytest.mark.parametrize("name", ["none", *sorted(FAULTS)])
def test_nor_in_many_more_schedules(name: str) -> None:
    faults = FAULTS.get(name, Faults())
    _has_taken_place(_run(range(10_000), faults), faults, 10_000)


def _has_taken_place(tally: Tally, faults: Faults, schedules: int) -> None:
    assert tally.schedules == schedules
    assert tally.takeovers > schedules / 2, tally
    assert not faults.deleted or tally.deleted > schedules / 2, tally
    assert not faults.restored or tally.restored > schedules / 20, tally
    assert not faults.stranger or tally.withheld > schedules / 10, tally
    assert not faults.dependents or tally.started > schedules, tally
    assert not faults.dependents or min(tally.cut, tally.resumed, tally.reboots) > schedules / 100, tally


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_implementation_is_caught(name: str) -> None:
    with pytest.raises(TwoHolders):
        _run_wrong(WRONG[name], Faults(), _RARE.get(name, 0))


@pytest.mark.parametrize("name", sorted(WRONG_WITH_FAULTS))
def test_wrong_implementation_is_caught_by_what_people_do(name: str) -> None:
    faults, hooks = WRONG_WITH_FAULTS[name]
    with pytest.raises(TwoHolders):
        _run_wrong(hooks, faults, _RARE.get(name, 0))


def _run_wrong(hooks: Hooks, faults: Faults, first: int = 0) -> None:
    for seed in range(first, first + _CAUGHT_WITHIN):
        schedule(seed, hooks, Tally(), faults)


def _run(seeds: range, faults: Faults) -> Tally:
    tally = Tally()
    for seed in seeds:
        try:
            schedule(seed, Hooks(), tally, faults)
        except (TwoHolders, EpochFell) as error:
            raise AssertionError(f"schedule {seed}: {error}") from error
    return tally
