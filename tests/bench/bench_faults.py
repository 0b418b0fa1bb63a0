# SPDX-License-Identifier: GPL-3.0-or-later
"""The address is deleted, and the active link loses its carrier: for how long a client that asks every half a millisecond is without the service.

    tests/holdfast-bench bench_faults [--rounds N] [--slow-rounds N] [--only WORD] [--profiles fast,standard]

Two nodes with two links each, checkers left to themselves, leases in an emulated store. With the reflex on the checker repairs it in its own process,
and the playbook, where there is one, follows; with the reflex off the playbook `recover` repairs it, from a run that waited or from a cold start.
Beside it keepalived, on nodes of its own in the same run: it puts a deleted address back too, and moves the service where the link is down,
since it knows no backup interface. The contestants take turns, so that whatever else the machine does meets all of them. Then, by itself, Pacemaker,
where it is installed: the deleted address alone, since an address's agent does not look at its link.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from bench.client import Client
from bench.contestants import HOST, PATIENCE, Contestant, Holdfast, keepaliveds, new_lan
from bench.figures import Table
from bench.pacemaker import pacemakers, why_not
from lab.lan import VIP

DELETED, DOWN = "address deleted", "link down"
_ATTEMPTS = 5
GOALS = {DELETED: 0.002, DOWN: 0.05}
Strike = Callable[[Contestant], Callable[[], object]]


def delete(one: Contestant) -> Callable[[], object]:
    """Take the address away; returns what there is to do afterwards."""
    [(node, link)] = one.places()
    one.lan.machines[node].namespace.ip(f"addr del {VIP} dev {link}")
    return lambda: None


def unplug(one: Contestant) -> Callable[[], object]:
    """Take the carrier away; returns what brings it back."""
    [(node, link)] = one.places()
    port = f"{node}-{link.removeprefix('eth')}"
    one.lan.switch.ip(f"link set {port} down")
    return lambda: one.lan.switch.ip(f"link set {port} up")


STRIKES: dict[str, Strike] = {DELETED: delete, DOWN: unplug}


def once(one: Contestant, event: str) -> float:
    """One fault, from a rest to the next. A link whose loss the client did not feel is unplugged anew: what it had learned led to the other one."""
    for _attempt in range(_ATTEMPTS):
        one.settle()
        with Client(one.lan.machines["client-c"].namespace, HOST) as client:
            begin = time.monotonic()
            mend = STRIKES[event](one)
            try:
                back = client.outage(begin, PATIENCE, struck=True)
            except TimeoutError:
                print("\n".join(one.story()), flush=True)
                raise
            finally:
                mend()
        if back.lost or event == DELETED:
            return back.seconds
    raise TimeoutError(f"{one.name}: the client goes on as if nothing had happened")


def turns(event: str, contestants: Sequence[Contestant], rounds: int, table: Table, against: str) -> None:
    """Each in turn, as many times as ``rounds``; then a row for each."""
    found: dict[str, list[float]] = {one.name: [] for one in contestants}
    for _round in range(rounds):
        for one in contestants:
            found[one.name].append(once(one, event))
    for one in contestants:
        goal = GOALS[event] if isinstance(one, Holdfast) and one.has_reflex else None
        table.row(event, one.name, found[one.name], goal=goal, against=against)


def measure(event: str, rounds: int, slow_rounds: int, profiles: Sequence[str]) -> None:
    """The table of one event. ``profiles``: of the ways that wait for a playbook."""
    table = Table(f"{event}: the outage that a client saw; ratio to the first line")
    with ExitStack() as stack:
        first = stack.enter_context(Holdfast(new_lan(stack, "h0"), "fast"))
        second = stack.enter_context(Holdfast(new_lan(stack, "h1"), "standard", runs="armed"))
        rivals = keepaliveds(stack)
        turns(event, [first, second, *rivals], rounds, table, first.name)
        if not rivals:
            table.left_out(event, "keepalived", "not installed")
    ways = ((True, "cold"), (False, "armed"), (False, "cold")) if slow_rounds else ()
    for profile, (reflex, runs) in itertools.product(profiles, ways):
        with ExitStack() as stack:
            one = stack.enter_context(Holdfast(new_lan(stack, "h2"), profile, reflex=reflex, runs=runs))
            turns(event, [one], slow_rounds, table, first.name)
    if event == DELETED:
        with ExitStack() as stack:
            turns(event, pacemakers(stack), rounds, table, first.name)
        if why_not():
            table.left_out(event, "pacemaker", why_not())
    table.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Time local repairs.")
    parser.add_argument("--rounds", type=int, default=20, help="faults for each (default: %(default)s)")
    parser.add_argument("--slow-rounds", type=int, default=5, help="faults for each way that waits for a playbook; 0: none (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="WORD", help="only the events whose name has this in it")
    parser.add_argument("--profiles", default="fast,standard", help="timing profiles of the ways that wait for a playbook (default: %(default)s)")
    given = parser.parse_args()
    for event in STRIKES:
        if given.only in event:
            measure(event, given.rounds, given.slow_rounds, given.profiles.split(","))
    return 0


if __name__ == "__main__":
    sys.exit(main())
