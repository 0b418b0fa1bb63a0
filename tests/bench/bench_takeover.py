# SPDX-License-Identifier: GPL-3.0-or-later
"""The active node is killed: how long until the standby answers, and how much of that comes after the lease has run out.

    tests/holdfast-bench bench_takeover [--rounds N] [--profiles fast,standard]

Two nodes and a client on a plain network; each node's checker is left to itself, and the lease is in the lab's DynamoDB. A client asks every 5 ms.
The lease has run out ``ttl`` seconds after the last renewal that took effect, by the store's log. What comes after is the standby's waiting longer
(its clock may be fast: 2 %), the end of its poll, the acquisition and the address. No figure counts where two nodes held the address at once.

Beside them keepalived, whose nodes are killed in the same moments. It promises nothing about two holders, and asks for no store. Then, by itself,
Pacemaker without fencing, where it is installed, which promises no more.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from bench.client import Client
from bench.contestants import HOST, Contestant, Holdfast, keepaliveds, new_lan
from bench.figures import Table
from bench.pacemaker import pacemakers, why_not
from harness.pair import KEY
from lab.oracle import lease_writes

EVENT, EXPIRED, GONE = "node dead", "  of it after the lease ran out", "  of it without the address"
GOAL = {"fast": 5.0}
#: By event and contestant.
Found = dict[tuple[str, str], list[float]]


def kill_all(contestants: Sequence[Contestant], found: Found, phase: float) -> None:
    """Every active node at once; then they are back as standbys. ``phase``: the share of its cycle at which each holder is hit."""
    for one in contestants:
        one.settle()
    with ExitStack() as stack:
        oracles = {one.name: stack.enter_context(one.oracle()) for one in contestants if isinstance(one, Holdfast)}
        clients = {one.name: stack.enter_context(Client(one.lan.machines["client-c"].namespace, HOST, 0.005)) for one in contestants}
        time.sleep(phase * max(timing.renew for timing in PROFILES.values()))
        dead: dict[str, str] = {}
        killed: dict[str, float] = {}
        for one in contestants:
            [(dead[one.name], _link)] = one.places()
            killed[one.name] = time.monotonic()
            one.kill(dead[one.name])
        for one in contestants:
            back = clients[one.name].outage(killed[one.name], 60, quiet=0.1)
            found[EVENT, one.name].append(back.seconds)
            if isinstance(one, Holdfast):
                after = back.asked - _last_renewal(one, dead[one.name]) - PROFILES[one.profile].ttl
                found[EXPIRED, one.name].append(after)
        for one in contestants:
            if isinstance(one, Holdfast):
                gone = [stay.end for stay in oracles[one.name].stop().stays if stay.node == dead[one.name]]
                found[GONE, one.name].append(killed[one.name] + found[EVENT, one.name][-1] - max(gone))
    for one in contestants:
        one.revive(dead[one.name])


def _last_renewal(one: Holdfast, holder: str) -> float:
    return max(when for when, node, _epoch in lease_writes(one.lan.control.calls, KEY, 0) if node == holder)


def show(found: Mapping[tuple[str, str], list[float]], table: Table, ours: Sequence[Holdfast]) -> None:
    """A row for each."""
    for (event, by), seconds in found.items():
        profile = next((one.profile for one in ours if one.name == by), "")
        table.row(event, by, seconds, goal=GOAL.get(profile) if event == EVENT else None, against=ours[0].name if event == EVENT else "")


def main() -> int:
    parser = argparse.ArgumentParser(description="Time the takeover after a kill.")
    parser.add_argument("--rounds", type=int, default=20, help="kills for each (default: %(default)s)")
    parser.add_argument("--profiles", default="fast,standard", help="timing profiles (default: %(default)s)")
    given = parser.parse_args()
    with ExitStack() as stack:
        profiles = given.profiles.split(",")
        ours = [stack.enter_context(Holdfast(new_lan(stack, f"t{number}"), profile)) for number, profile in enumerate(profiles)]
        rivals = keepaliveds(stack)
        events = [(event, one.name) for one in ours for event in (EVENT, EXPIRED, GONE)] + [(EVENT, one.name) for one in rivals]
        found: Found = {row: [] for row in events}
        table = Table("node dead: from the kill to the standby's service; ratio to the first line")
        for number in range(given.rounds):
            kill_all([*ours, *rivals], found, (number % 5) / 5)
        show(found, table, ours)
        if not rivals:
            table.left_out(EVENT, "keepalived", "not installed")
    with ExitStack() as stack:
        alone = pacemakers(stack)
        found = {(EVENT, one.name): [] for one in alone}
        for number in range(given.rounds if alone else 0):
            kill_all(alone, found, (number % 5) / 5)
        show(found, table, ours)
    if why_not():
        table.left_out(EVENT, "pacemaker", why_not())
    table.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
