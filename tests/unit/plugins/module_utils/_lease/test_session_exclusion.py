# SPDX-License-Identifier: GPL-3.0-or-later
"""Never two nodes that serve one resource: random schedules of the rule of the session, and wrong implementations that the same test catches.

For a long run: ``python -m ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lease.test_session_exclusion --schedules 100000``.
"""

from __future__ import annotations

import argparse
import time

import pytest

from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lease.session_simulation import (
    NO_FAULTS,
    EpochFell,
    Hooks,
    NotServed,
    Tally,
    TwoHolders,
    schedule,
)
from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lease.session_wrong import WRONG, WRONG_WITH_FAULTS
from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lease.simulation import Faults

_EACH, _QUIET, _CAUGHT_WITHIN = 200, 150, 2000
#: Of each kind, in the full suite. A release is tried with 100,000 in all, which take some 20 minutes.
_MORE = 2000
#: What only a rare schedule shows is looked for from here on, to save time.
_RARE = {
    "waiting counted from before the read": 335,
    "a claim of an old session counts": 1265,
    "a session older than the resource record is void": 300,
    "served on after a lost hand-over reply": 340,
    "a restarted process serves what it finds": 760,
    "acknowledgements counted from the reply": 310,
    "a promise for one resource": 265,
    "a hand-over to an old session counts": 120,
    "a gap in the reads is not noticed": 810,
    "a deadline revived, and promised with a write under way": 250,
    "a deleted session is begun again without a wait": 1335,
    "a missing record is waited for by the own profile": 720,
}
FAULTS = {
    "none": NO_FAULTS,
    "deleted": Faults(deleted=True),
    "restored": Faults(restored=True),
    "mixed timing": Faults(mixed=True),
    "a stranger": Faults(stranger=True),
    "deleted, restored, mixed timing": Faults(deleted=True, restored=True, mixed=True),
    "a namesake": Faults(namesake=True),
}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_no_instant_with_two_holders(name: str) -> None:
    tally = _run(range(_EACH), FAULTS[name])
    _has_taken_place(tally, FAULTS[name], _EACH)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(FAULTS))
def test_nor_in_many_more_schedules(name: str) -> None:
    _has_taken_place(_run(range(_EACH, _MORE), FAULTS[name]), FAULTS[name], _MORE - _EACH)


def _has_taken_place(tally: Tally, faults: Faults, schedules: int) -> None:
    """Proof that the schedules are about something."""
    assert tally.schedules == schedules
    assert min(tally.takeovers, tally.ended, tally.released, tally.served / 10) > schedules, tally
    assert min(tally.handed, tally.partial, tally.kills, tally.rewritten, tally.expiries) > schedules / 4, tally
    assert min(tally.reboots, tally.resumed) > schedules / 10, tally
    assert tally.torn > schedules / 40, tally
    assert faults.namesake or faults.stranger or min(tally.prolonged, tally.rescued) > schedules, tally
    assert not faults.stranger or tally.withheld > schedules, tally
    assert not faults.deleted or tally.deleted > schedules, tally
    assert not faults.restored or tally.restored > schedules, tally
    assert not (faults.deleted or faults.restored) or tally.put_back > schedules, tally


def test_every_resource_is_served_again_in_time() -> None:
    """One node dies. All else works."""
    tally = Tally()
    for seed in range(_QUIET):
        schedule(seed, Hooks(), tally, quiet=True)
    assert tally.takeovers > _QUIET / 2, tally
    assert tally.longest_gap > 4, tally


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_implementation_is_caught(name: str) -> None:
    with pytest.raises(TwoHolders):
        _run_wrong(WRONG[name], NO_FAULTS, _RARE.get(name, 0))


@pytest.mark.parametrize("name", sorted(WRONG_WITH_FAULTS))
def test_wrong_implementation_is_caught_by_what_people_do(name: str) -> None:
    faults, hooks = WRONG_WITH_FAULTS[name]
    with pytest.raises(TwoHolders):
        _run_wrong(hooks, faults, _RARE.get(name, 0))


def _run_wrong(hooks: Hooks, faults: Faults, first: int) -> None:
    for seed in range(first, first + _CAUGHT_WITHIN):
        schedule(seed, hooks, Tally(), faults)


def _run(seeds: range, faults: Faults) -> Tally:
    tally = Tally()
    for seed in seeds:
        try:
            schedule(seed, Hooks(), tally, faults)
        except (TwoHolders, EpochFell, NotServed) as error:
            raise AssertionError(f"schedule {seed}: {error}") from error
    return tally


def main() -> None:
    """Run many schedules, the same number of each kind, and print what happened."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    given = parser.parse_args()
    each = -(-given.schedules // len(FAULTS))
    for name, faults in FAULTS.items():
        begun, tally = time.process_time(), _run(range(given.first, given.first + each), faults)
        print(f"{name}: {each} schedules in {time.process_time() - begun:.0f} s, none with two holders. {tally}", flush=True)


if __name__ == "__main__":
    main()
