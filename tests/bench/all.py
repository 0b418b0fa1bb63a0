# SPDX-License-Identifier: GPL-3.0-or-later
"""Every benchmark, one after another: the figures of docs/docsite/rst/tuning.rst.

    tests/holdfast-bench all [--quick]

``--quick`` takes a few rounds of each, to see that all of them work. Each prints its tables, which goals it missed, and the machine's load.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

#: The programs with their arguments, in full and quick.
PROGRAMS = (
    ("bench_faults", "--rounds 20 --slow-rounds 5", "--rounds 2 --slow-rounds 1"),
    ("bench_takeover", "--rounds 20", "--rounds 2"),
    ("bench_switchover", "--rounds 20 --playbook-rounds 4 --profiles fast", "--rounds 2 --playbook-rounds 2 --profiles fast"),
    ("bench_playbooks", "--rounds 5", "--rounds 1"),
    ("bench_ec2", "--rounds 20 --cold-rounds 3", "--rounds 2 --cold-rounds 1"),
    ("bench_margin", "--rounds 50", "--rounds 1"),
    ("bench_idle", "--seconds 300", "--seconds 20"),
    ("bench_scale", "--resources 1,20,100,250", "--resources 1,20 --seconds 5"),
    ("bench_probe", "--rounds 10", "--rounds 2"),
    ("bench_armed", "--rounds 10 --latency 0.1", "--rounds 1 --idle 5"),
    ("bench_route_target", "--rounds 5", "--rounds 1"),
)


def main() -> int:
    """The number of programs that failed."""
    parser = argparse.ArgumentParser(description="Run every benchmark.")
    parser.add_argument("--quick", action="store_true", help="a few rounds of each")
    given = parser.parse_args()
    failed = 0
    for name, full, quick in PROGRAMS:
        words = quick if given.quick else full
        print(f"\n=== {name} {words}", flush=True)
        begin = time.monotonic()
        done = subprocess.run([sys.executable, "-u", "-m", f"bench.{name}", *words.split()], check=False)
        failed += done.returncode != 0
        print(f"=== {name}: {'done' if done.returncode == 0 else 'FAILED'} after {time.monotonic() - begin:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
