# SPDX-License-Identifier: GPL-3.0-or-later
"""The active node is killed: how long until the standby answers, and how much of that comes after the lease has run out.

    tests/bench/bench_takeover.py [--rounds N] [--profiles fast,standard]

Two nodes and a client on a plain network; each node's checker is left to itself, and the lease is in the lab's DynamoDB. A client asks every 5 ms.
The lease has run out ``ttl`` seconds after the last renewal that took effect, by the store's log. What comes after is the standby's waiting longer
(its clock may be fast: 2 %), the end of its poll, the acquisition and the address. No figure counts where two nodes held the address at once.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".tree")]

from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES  # noqa: E402
from harness.pair import KEY, Pair  # noqa: E402
from lab.lan import Lan  # noqa: E402
from lab.oracle import lease_writes  # noqa: E402


@dataclass(frozen=True)
class Takeover:
    """In seconds: from the kill, from the end of the lease, and from when the old kernel had let the address go, to the first answer."""

    from_kill: float
    from_expiry: float
    from_removal: float


def take_over(pair: Pair, ttl: float) -> Takeover:
    """Kill node-a; node-b finds out and takes over by itself."""
    with pair.oracle() as oracle, pair.lan.prober() as prober:
        prober.wait_until_answered(10, by="node-a")
        pair.kill("node-a")
        killed = time.monotonic()
        back = prober.wait_until_answered(5 * ttl, by="node-b", since=killed).asked
        prober.stop()
        verdict = oracle.stop()
    assert not verdict.faults, verdict.line
    last = max(when for when, holder, _epoch in lease_writes(pair.lan.control.calls, KEY, 0) if holder == "node-a")
    gone = max(stay.end for stay in verdict.stays if stay.node == "node-a")
    return Takeover(back - killed, back - last - ttl, back - gone)


def main() -> int:
    parser = argparse.ArgumentParser(description="Time the takeover after a kill.")
    parser.add_argument("--rounds", type=int, default=5, help="kills for each profile (default: %(default)s)")
    parser.add_argument("--profiles", default="fast,standard", help="timing profiles (default: %(default)s)")
    given = parser.parse_args()
    print(f"{'profile':9} {'kills':>5}  {'kill to service':>21}  {'lease expiry to service':>23}  {'address gone to service':>23}   (median, worst)")
    for profile in given.profiles.split(","):
        found = []
        for number in range(given.rounds):
            with Lan(f"bt{os.getpid()}-") as lan, Pair(lan, profile) as pair:
                time.sleep((number % 5) * PROFILES[profile].renew / 5)  # at another moment of the holder's cycle each time
                found.append(take_over(pair, PROFILES[profile].ttl))
        columns = [_both([getattr(one, name) for one in found]) for name in ("from_kill", "from_expiry", "from_removal")]
        print(f"{profile:9} {len(found):5}  {columns[0]:>21}  {columns[1]:>23}  {columns[2]:>23}", flush=True)
    return 0


def _both(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s, {max(values):.2f} s"


if __name__ == "__main__":
    sys.exit(main())
