# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe costs: processor time of one and the time until the last of many is answered, by the shared socket and by a process `ping` for each.

    tests/holdfast-bench bench_probe [--rounds N] [--probes N]

Two namespaces with a cable between them. All probes of a round begin at the same moment, each in a thread of its own and from an address of its own,
and ask the same host. The processor time is that of the process that probes, with the processes that it starts, divided by the number of probes. It
includes the threads, which both have. ``ping`` is called as the checker once did.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from bench.figures import Table
from lab.netns import Namespace, join

_TREE = Path(__file__).resolve().parents[2] / ".tree"
COST, LAST, MISSED = "processor time of one probe", "until the last one is answered", "not answered"
OURS, RIVAL = "shared socket", "a process `ping` for each"
#: Arguments: the kind, the number of probes, the number of rounds. Prints the figures of each round.
_SCRIPT = """
import json, os, subprocess, sys, threading, time
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Probe
from ansible_collections.holdfast.ha.plugins.module_utils._net.probe import run_probe
kind, many, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sources = [f"10.1.{2 + number // 250}.{1 + number % 250}" for number in range(many)]
probe = Probe(("10.1.0.1",), 3, 5.0)
def shared(source):
    return bool(run_probe(Address.parse_loosely(source), "eth0", probe).answered)
def ping(source):
    argv = ["ping", "-4", "-n", "-c", "1", "-W", "5", "-I", source, "-I", "eth0", "-b", "10.1.0.1"]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
ask = shared if kind == "shared" else ping
def used():
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
def one(source, gate, found):
    gate.wait()
    found.append(ask(source))
ask(sources[0])
told = []
for _round in range(rounds):
    gate, found = threading.Barrier(many + 1), []
    threads = [threading.Thread(target=one, args=(source, gate, found)) for source in sources]
    before = used()
    for thread in threads: thread.start()
    gate.wait()
    begin = time.monotonic()
    for thread in threads: thread.join()
    told.append({"cost": (used() - before) / many, "last": time.monotonic() - begin, "missed": many - sum(found)})
print(json.dumps(told))
"""


def figures(node: Namespace, kind: str, probes: int, rounds: int) -> list[dict[str, Any]]:
    """One for each round."""
    environment = {"PYTHONPATH": str(_TREE), "PATH": os.environ["PATH"]}
    done = node.run(sys.executable, "-c", _SCRIPT, kind, str(probes), str(rounds), env=environment, timeout=60 + 30 * rounds)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what a probe costs.")
    parser.add_argument("--rounds", type=int, default=10, help="times that all are asked (default: %(default)s)")
    parser.add_argument("--probes", type=int, default=250, help="probes at the same time (default: %(default)s)")
    given = parser.parse_args()
    name = f"bp{os.getpid()}"
    with Namespace(f"{name}-a") as node, Namespace(f"{name}-b") as host:
        join(node, "eth0", host, "eth0")
        host.ip("addr add 10.1.0.1/16 dev eth0")
        node.batch(f"addr add 10.1.{2 + number // 250}.{1 + number % 250}/16 dev eth0" for number in range(given.probes))
        table = Table(f"{given.probes} probes at the same time; ratio to the shared socket")
        for kind, by in (("shared", OURS), ("ping", RIVAL)):
            if kind == "ping" and shutil.which("ping") is None:
                table.left_out(COST, by, "not installed")
                continue
            found = figures(node, kind, given.probes, given.rounds)
            for event, key in ((COST, "cost"), (LAST, "last")):
                table.row(event, by, [one[key] for one in found], against=OURS)
            if missed := sum(one["missed"] for one in found):
                table.left_out(MISSED, by, f"{missed} of {given.probes * given.rounds}")
        table.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
