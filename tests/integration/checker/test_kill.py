# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkers killed in the middle of things, and faults that come as fast as they go: nothing is lost, and never two nodes have the address."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.marks import STALLS
from lab.lan import VIP, Lan
from lab.waiting import until

from .pair import CHECKS, KEY, RECOVERY, TAG, Pair

pytestmark = STALLS

TRIGGER = {"triggers": [{"type": "playbook", "command": "/etc/holdfast/recovery", "timeout": 20}]}
NAMES = ("node-a", "node-b")


@pytest.fixture(scope="module")
def shared() -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lan(f"kill{os.getpid()}-", links=2) as lan:
        pair = Pair(lan)
        try:
            yield pair
        finally:
            pair.stop()


def begin(pair: Pair, **checks: Any) -> None:
    """node-a is in service and node-b stands by, each with a trigger of its own."""
    pair.reset(start=False, settings={**TRIGGER, "checks": {**CHECKS, "grace": 0, **checks}})
    for name in NAMES:
        pair.node(name).run("install", "-m", "0700", "/dev/stdin", "/etc/holdfast/recovery", input=RECOVERY)
    for name in NAMES:
        pair.checkers[name].start()
        pair.until_serving("node-a")
    until(lambda: settled(pair, "node-a"), 20, "node-a is not in service")
    until(lambda: pair.status("node-a")["peers"][0]["ready"], 20, "node-a does not hear that node-b is ready")


@pytest.fixture
def pair(shared: Pair) -> Iterator[Pair]:
    """At the end the oracle has seen no instant with two holders."""
    begin(shared)
    with shared.lan.oracle(KEY):
        yield shared


def settled(pair: Pair, name: str) -> bool:
    told = pair.status(name)
    return bool(told["held"] and told["serving"] and told["in_service"] and told["health"] == "healthy" and told["phase"] == "watching")


def runs(pair: Pair, name: str) -> list[str]:
    """The orders that the recovery on a node was given."""
    return pair.node(name).run("sh", "-c", "cat /var/lib/holdfast/runs 2>/dev/null || true").stdout.splitlines()


def in_the_background(pair: Pair, where: str, op: str, **words: Any) -> None:
    """Ask, and let the answer be."""

    def go() -> None:
        try:
            pair.checkers[where].ask(op, tag=TAG, **words)
        except (OSError, ValueError):
            pass  # the checker was killed meanwhile

    threading.Thread(target=go, daemon=True).start()


def during_a_run(pair: Pair) -> str:
    a = pair.checkers["node-a"]
    pair.node("node-a").run("touch", "/var/lib/holdfast/hang")
    before = len(a.seen("run started"))
    pair.node("node-a").drop(VIP)
    until(lambda: len(a.seen("run started")) > before, 10, "no run")
    pid = int(a.seen("run started")[-1]["pid"])
    pair.node("node-a").run("rm", "/var/lib/holdfast/hang")
    a.kill()
    until(lambda: not Path(f"/proc/{pid}").exists(), 10, "the run outlives the checker")
    return "node-a"


def during_a_takeover(pair: Pair) -> str:
    b = pair.checkers["node-b"]
    in_the_background(pair, "node-a", "release", handoff_to="node-b")
    until(lambda: b.seen("acquired"), 10, "node-b does not take it", every=0.001)
    b.kill()
    return "node-b"


def during_a_release(pair: Pair) -> str:
    nonce = pair.record().nonce
    in_the_background(pair, "node-a", "release", handoff_to="node-b")
    until(lambda: not pair.places("node-a") or pair.record().nonce != nonce, 10, "nothing happens", every=0.001)
    pair.checkers["node-a"].kill()
    return "node-a"


def during_a_move(pair: Pair) -> str:
    in_the_background(pair, "node-a", "move")
    until(lambda: "eth1" in pair.places("node-a"), 10, "it is not moved", every=0.001)
    pair.checkers["node-a"].kill()
    return "node-a"


def during_a_reload(pair: Pair) -> str:
    a = pair.checkers["node-a"]
    environment = Path(f"/proc/{a.pid}/environ")
    a.send(signal.SIGHUP)
    until(lambda: b"HOLDFAST_RELOADED=" in environment.read_bytes(), 15, "it does not reload", every=0.001)
    a.kill()
    return "node-a"


@pytest.mark.parametrize("strike", [during_a_run, during_a_takeover, during_a_release, during_a_move, during_a_reload])
def test_killed_in_the_middle_nothing_is_lost(pair: Pair, strike: Callable[[Pair], str]) -> None:
    epoch = pair.record().epoch
    killed = strike(pair)
    pair.checkers[killed].start()  # as systemd does
    name = until(lambda: next((one for one in NAMES if settled(pair, one)), ""), 40, "it is in service nowhere")
    other = next(one for one in NAMES if one != name)
    record = pair.record()
    assert (record.holder, record.epoch >= epoch) == (name, True)
    assert (len(pair.places(name)), pair.places(other)) == (1, [])
    until(lambda: pair.status(other)["ready"], 20, f"{other} is not ready for the next time")
    assert pair.checkers[killed].exit_code is None


def test_flapping_moves_once_in_its_hold_down_at_most(shared: Pair) -> None:
    """Wherever it is, it breaks every second, and each recovery ends in a failover. The real figure is a minute; here it is eight seconds."""
    hold_down = 8.0
    begin(shared, hold_down=hold_down, max_recoveries=100, backoff=0.2)
    for name, other in (NAMES, NAMES[::-1]):
        shared.node(name).run("sh", "-c", f"echo {other} > /var/lib/holdfast/over")
    moves: list[tuple[float, str]] = []
    with shared.lan.oracle(KEY):
        end = time.monotonic() + 4 * hold_down
        while time.monotonic() < end:
            for name in NAMES:
                shared.node(name).drop(VIP)
            second = time.monotonic() + 1
            while time.monotonic() < second:
                record = shared.record()
                if record is not None and record.holder and (not moves or moves[-1][1] != record.holder):
                    moves.append((time.monotonic(), record.holder))
                time.sleep(0.05)
    assert len(moves) >= 3, "it does not fail over at all"
    gaps = [later[0] - earlier[0] for earlier, later in zip(moves[1:], moves[2:], strict=False)]  # the first is where it was
    assert min(gaps) >= hold_down - 0.5, gaps


def test_paused_with_a_trigger_nothing_is_done_and_all_is_told(pair: Pair) -> None:
    a = pair.checkers["node-a"]
    pair.ask("node-a", "pause")
    before = len(runs(pair, "node-a"))
    pair.node("node-a").drop(VIP)
    status = until(lambda: told if (told := pair.status("node-a"))["health"] == "failed" else None, 10, "the fault is not seen")
    assert (status["faults"], status["phase"], status["paused"], status["held"]) == (["address"], "paused", True, True)
    assert a.seen("fault")
    pair.node("node-a").hold(VIP, "eth0")  # it comes and goes
    until(lambda: pair.status("node-a")["health"] == "healthy", 10, "that it is well again is not seen")
    pair.node("node-a").drop(VIP)
    until(lambda: len(a.seen("fault")) == 2, 10, "the second fault is not told")
    assert (len(runs(pair, "node-a")), a.seen("reflex"), pair.places("node-a")) == (before, [], [])
    pair.ask("node-a", "resume")
    until(lambda: settled(pair, "node-a"), 20, "it is not repaired then")


def test_a_fault_and_a_person_at_once_are_one_run(pair: Pair) -> None:
    a, node = pair.checkers["node-a"], pair.node("node-a")
    node.run("touch", "/var/lib/holdfast/slow")
    before = len(runs(pair, "node-a"))
    node.drop(VIP)
    until(lambda: len(a.seen("run started")) == before + 1, 10, "no run", every=0.005)
    answer = pair.ask("node-a", "recover", wait=20)
    assert (answer["last_recovery"]["ok"], answer["health"]) == (True, "healthy")
    until(lambda: settled(pair, "node-a"), 20, "it is not at rest")
    assert len(runs(pair, "node-a")) == before + 1
    assert len(a.seen("run started")) == len(a.seen("run ended")) == before + 1


def test_a_run_that_hangs_is_ended_at_its_time_out_with_its_children(shared: Pair) -> None:
    shared.reset(start=False, settings={"triggers": [{"type": "playbook", "command": "/etc/holdfast/recovery", "timeout": 2}]})
    a, node = shared.checkers["node-a"], shared.node("node-a")
    child = "import subprocess, sys, pathlib\n"
    child += "one = subprocess.Popen(['sleep', '300'], start_new_session=True)\n"
    child += "pathlib.Path('/var/lib/holdfast/child').write_text(str(one.pid))\none.wait()\n"
    node.run("install", "-m", "0700", "/dev/stdin", "/etc/holdfast/recovery", input=f"#!{sys.executable}\n{child}")
    a.start()
    until(lambda: a.seen("run killed"), 30, "it hangs for ever")
    assert "did not end within 2 s" in a.seen("run killed")[0]["reason"]
    child_pid = node.run("cat", "/var/lib/holdfast/child").stdout
    until(lambda: not Path(f"/proc/{child_pid}").exists(), 10, "its child goes on")
    assert shared.places("node-a") == ["eth0"], "the address is the checker's, and stays"
