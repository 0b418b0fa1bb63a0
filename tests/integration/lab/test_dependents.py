# SPDX-License-Identifier: GPL-3.0-or-later
"""The watched dependents: what the oracle calls two at once, and that the lab's systemctl starts, stops and shows what really runs."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.dependents import DependentsOracle, Span, Stamp, Units, read_spans, read_stamps, two_at_once, two_ran
from lab.oracle import TwoHolders
from lab.waiting import until


@pytest.mark.parametrize(
    ("stamps", "faults"),
    [
        ([], 0),
        ([("a", 1.0), ("a", 1.05), ("b", 1.2), ("b", 1.25)], 0),
        ([("a", 1.0), ("a", 1.05), ("b", 1.1)], 1),
        ([("b", 1.08), ("a", 1.0), ("a", 1.12)], 2),
    ],
)
def test_two_ran(stamps: list[tuple[str, float]], faults: int) -> None:
    assert len(two_ran(Stamp(node, 1, at) for node, at in stamps)) == faults


@pytest.mark.parametrize(
    ("there", "faults"),
    [("9.0 started\n9.5 stopped\n", 0), ("12.95 started\n", 1), ("13.2 started\n", 0), ("11 started\n11.5 stopped\n14 started\n", 1)],
)
def test_two_at_once(there: str, faults: int) -> None:
    """On node-a it ran from 10 to 13, then from 20 until a power cut at 25, which nobody noted."""
    here = read_spans("node-a", "10 started\n13 stopped\n13.1 stopped\n20 started\n30 started\n31 stopped\n", [25.0])
    assert here == [Span("node-a", 10, 13), Span("node-a", 20, 25), Span("node-a", 30, 31)]
    spans = [*here[:1], *read_spans("node-b", there, [])]
    assert len(two_at_once(spans, 0)) == faults
    assert two_at_once(spans, 1e9) == []


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Units, Units]]:
    with Units("node-a", tmp_path, tmp_path / "stamps") as a, Units("node-b", tmp_path, tmp_path / "stamps") as b:
        yield a, b


def systemctl(units: Units, *words: str, seconds: float = 30) -> tuple[int, str]:
    done = subprocess.run(["systemctl", *words], env=units.environment("/usr/bin:/bin"), capture_output=True, text=True, check=False, timeout=seconds)
    return done.returncode, done.stdout


def stamped(units: Units, node: str) -> bool:
    return any(one.node == node for one in read_stamps(units.stamps))


def test_one_after_the_other_is_fine_and_two_at_once_is_not(both: tuple[Units, Units]) -> None:
    a, b = both
    with DependentsOracle(a.stamps):
        assert systemctl(a, "start", "db.service") == (0, "")
        assert systemctl(a, "start", "db.service") == (0, "")
        until(lambda: stamped(a, "node-a"), 10, "it does not write")
        assert systemctl(a, "is-active", "db.service") == (0, "active\n")
        assert systemctl(a, "show", "--property=ActiveState", "db.service", "app.service") == (0, "ActiveState=active\n\nActiveState=inactive\n")
        assert systemctl(a, "stop", "db.service") == (0, "")
        assert systemctl(a, "is-active", "db.service") == (3, "inactive\n")
        time.sleep(0.15)  # what the oracle takes for one at a time
        systemctl(b, "start", "db.service")
        until(lambda: stamped(b, "node-b"), 10, "it does not write")
    assert {one.serial for one in read_stamps(a.stamps)} == {1}
    with pytest.raises(TwoHolders, match="two at once"):
        run_both(a)


def run_both(a: Units) -> None:
    """While the unit of the other node runs."""
    with DependentsOracle(a.stamps) as oracle:
        systemctl(a, "start", "db.service")
        until(oracle.faults, 10, "the oracle sees nothing")


def test_a_unit_that_does_not_stop(both: tuple[Units, Units]) -> None:
    a, _b = both
    a.start("db.service")
    a.behave("db.service", refuses=True)
    assert systemctl(a, "stop", "db.service")[0] == 1
    assert a.runs("db.service")
    a.behave("db.service", takes=600)
    with pytest.raises(subprocess.TimeoutExpired):
        systemctl(a, "stop", "db.service", seconds=0.5)
    assert systemctl(a, "show", "--property=ActiveState", "db.service") == (0, "ActiveState=deactivating\n"), "its job goes on"
    waiting = threading.Thread(target=systemctl, args=(a, "stop", "db.service"))
    waiting.start()
    a.behave("db.service")
    waiting.join(10)
    assert not a.runs("db.service")
    assert a.calls[0] == "stop db.service"


def test_a_machine_that_restarts_runs_nothing(both: tuple[Units, Units]) -> None:
    a, _b = both
    a.start("db.service")
    systemctl(a, "reboot", "--force", "--force")
    assert not a.runs("db.service")
