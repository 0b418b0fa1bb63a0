# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's dead-man switch: however the renewing process fails, its address is gone in time and does not come back."""

from __future__ import annotations

import mmap
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import LeaseOver, boottime, extend
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import KERNEL_DELAY, PROFILES
from ansible_collections.holdfast.ha.tests.integration.lease.servers import until
from harness.module import TREE
from lab.netns import Namespace, remove_leftovers

pytestmark = [pytest.mark.exclusivity, pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")]

TIMES = 50
TIMING, STANDARD = PROFILES["fast"], PROFILES["standard"]


class Renewers:
    """Processes that renew in a namespace, each with an address of its own."""

    def __init__(self, node: Namespace, pids: list[int], shared: mmap.mmap) -> None:
        self.node, self.pids, self._shared = node, pids, shared

    def deadline(self, number: int) -> float:
        return float(struct.unpack_from("=d", self._shared, 8 * number)[0])

    def addresses(self) -> set[int]:
        """The numbers of the addresses that are there now."""
        return {int(found) for found in re.findall(r"inet 10\.99\.0\.(\d+)/", self.node.ip("-o -4 address show dev inside"))}


@contextmanager
def renewers(folder: Path, count: int, profile: str = "fast", *, stall: bool = False) -> Iterator[Renewers]:
    path = folder / "deadlines"
    path.write_bytes(b"\0" * 8 * (count + 1))
    remove_leftovers("hfdm-")
    with Namespace(f"hfdm-{os.getpid()}") as node, path.open("r+b") as handle:
        node.ip("link add inside type veth peer name peer")
        node.ip("link set inside up")
        program = str(Path(__file__).with_name("renewer.py"))
        argv = [sys.executable, program, "inside", str(count), str(path), "stall" if stall else "plain", profile]
        process = node.spawn(*argv, env={**os.environ, "PYTHONPATH": str(TREE)}, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            pids = [int(process.stdout.readline()) for _number in range(count)]
            yield Renewers(node, pids, mmap.mmap(handle.fileno(), 0))
        finally:
            process.kill()
            process.wait(timeout=10)


def state_of(pid: int) -> str:
    """The kernel's letter for a process: T stopped, Z ended; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.mark.parametrize(("profile", "latest"), [("standard", 0.0), ("fast", KERNEL_DELAY - TIMING.reserve)])
def test_stopped_and_killed(tmp_path: Path, profile: str, latest: float) -> None:
    """Half of the processes are stopped and half are killed, each at a random moment of its cycle.

    With the standard profile every address is gone by the deadline. The fast one has no whole second to spare: there the margin covers the rest.
    """
    count, dice, timing = 2 * TIMES, random.Random(7), PROFILES[profile]
    with renewers(tmp_path, count, profile) as all_:
        until("the addresses", lambda: len(all_.addresses()) == count)
        time.sleep(2 * timing.renew)  # past the first renewals
        assert len(all_.addresses()) == count, "an address was lost while its process renewed it"
        stopped = set(range(1, TIMES + 1))
        for number in dice.sample(range(1, count + 1), count):
            os.kill(all_.pids[number - 1], signal.SIGSTOP if number in stopped else signal.SIGKILL)
            time.sleep(dice.random() * timing.renew / 25)
        until("the stops", lambda: all(state_of(pid) in "TZ" for pid in all_.pids))
        deadlines = {number: all_.deadline(number) for number in range(1, count + 1)}
        late = _watch(all_, deadlines)
        print(f"{profile}: gone {min(late.values()):.2f} to {max(late.values()):.2f} s after the deadline, at most {latest:.2f} s are allowed")
        assert max(late.values()) <= latest
        until("the last deadline", lambda: boottime() > max(deadlines.values()))
        # what was stopped goes on long after its deadline, and must find out before it brings an address back
        for number in stopped:
            os.kill(all_.pids[number - 1], signal.SIGCONT)
        until("the ends", lambda: all(state_of(pid) in "Z" for pid in all_.pids))
        assert all_.addresses() == set()


def _watch(all_: Renewers, deadlines: dict[int, float]) -> dict[int, float]:
    """How long after its deadline each address was seen to be gone."""
    late: dict[int, float] = {}
    give_up = max(deadlines.values()) + 5
    while len(late) < len(deadlines) and boottime() < give_up:
        asked = boottime()
        there = all_.addresses()
        late.update({number: asked - deadline for number, deadline in deadlines.items() if number not in there and number not in late})
        time.sleep(0.02)
    assert len(late) == len(deadlines), f"still there: {sorted(set(deadlines) - set(late))}"
    return late


def test_stalled_inside_a_refresh(tmp_path: Path) -> None:
    """The worst moment: the lifetime is computed and not yet set. The process that goes on later is ended before it sets it."""
    with renewers(tmp_path, TIMES, stall=True) as all_:
        until("the stalls", lambda: all(state_of(pid) in "TZ" for pid in all_.pids))
        until("the expiry", lambda: not all_.addresses(), seconds=10)
        for pid in all_.pids:
            os.kill(pid, signal.SIGCONT)
        give_up = time.monotonic() + 1
        while time.monotonic() < give_up:
            assert all_.addresses() == set()
        assert {state_of(pid) for pid in all_.pids} == {"Z"}


@pytest.mark.parametrize(("profile", "late"), [("standard", 0.0), ("fast", TIMING.margin)])
def test_the_lifetime_leaves_the_kernel_its_delay(profile: str, late: float) -> None:
    """Given at the last moment, used a window later, removed by a kernel as late as it may be: by the deadline, or within the margin."""
    timing, given = PROFILES[profile], list[int]()
    now = 100.0
    for left in (1 + timing.reserve, 1.5 + timing.reserve, 2.6, timing.hold):
        extend(now + left + 1e-9, timing, given.append, clock=lambda: now)
        assert given[-1] >= 1
        assert timing.window + given[-1] + KERNEL_DELAY <= left + late + 2e-9


def test_nothing_is_refreshed_at_the_deadline() -> None:
    given: list[int] = []
    with pytest.raises(LeaseOver, match="not renewed in time"):
        extend(100.9, STANDARD, given.append, clock=lambda: 100.0)
    assert given == []
    assert extend(103.9, STANDARD, given.append, clock=lambda: 100.0) == 2, "all that may make the kernel late is taken off"
    assert given == [2]
    extend(103.9, TIMING, given.append, clock=lambda: 100.25)
    assert given == [2, 3]
    extend(103.9, TIMING, given.append, clock=lambda: 100.3)
    assert given == [2, 3, 2], "as much as the fast profile can spare is taken off"


def test_a_refresh_that_outlasts_the_deadline_is_reported() -> None:
    times = iter((100.0, 103.0))
    with pytest.raises(LeaseOver):
        extend(103.0, STANDARD, lambda _: None, clock=lambda: next(times))


def test_a_caught_alarm_is_refused() -> None:
    old = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        with pytest.raises(RuntimeError, match="SIGALRM"):
            extend(103.0, STANDARD, lambda _: None, clock=lambda: 100.0)
    finally:
        signal.signal(signal.SIGALRM, old)
