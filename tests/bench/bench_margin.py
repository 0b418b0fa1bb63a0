# SPDX-License-Identifier: GPL-3.0-or-later
"""Without its checker: for how long the dependents of a node have ended when another node may take over.

    tests/holdfast-bench bench_margin [--rounds N]

Two nodes that boot, with the installed collection and systemd. The checker of the active node is killed for good, or stopped so that it hangs.
The other node takes over once the lease has run out. A margin below zero would be two dependents at once.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
from pathlib import Path

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import margin, two_nodes
from bench.figures import load

WAYS = {"KILL": "killed", "STOP": "hangs"}


def main() -> int:
    """The number of margins that were not above zero."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=50)
    given = parser.parse_args()
    found: dict[str, list[float]] = {signal: [] for signal in WAYS}
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder, two_nodes(Path(folder)) as cluster:
        for number in range(given.rounds):
            for signal, name in WAYS.items():
                with contextlib.redirect_stdout(io.StringIO()):
                    active = cluster.reset()
                    found[signal].append(margin(cluster, active, signal))
                print(f"{number + 1} of {given.rounds}: {name}: {found[signal][-1]:.2f} s ({load()})", flush=True)
    for signal, name in WAYS.items():
        least, median, most = min(found[signal]), statistics.median(found[signal]), max(found[signal])
        print(f"{name}, {len(found[signal])} times: margin {least:.2f} s at least, {median:.2f} s in the median, {most:.2f} s at most", flush=True)
    return sum(one <= 0 for ones in found.values() for one in ones)


if __name__ == "__main__":
    sys.exit(main())
