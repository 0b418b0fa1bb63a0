# SPDX-License-Identifier: GPL-3.0-or-later
"""Dependents stop on a node that no longer holds their resource, whatever has happened to its checker, its store or an attempt to stop them.

Two checkers with real kernels, and units that stamp one file of the machine while they run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from harness.marks import STALLS
from lab.control import Fault
from lab.dependents import DependentsOracle, Units
from lab.lan import VIP, Lan
from lab.waiting import throughout, until

from .pair import KEY, TAG, Pair

pytestmark = STALLS

TIMING = PROFILES["fast"]
DB = "db.service"
#: Seconds after which dependents have stopped for certain on a node whose lease is over: the start of a process on a busy machine is in it.
SOON = 15.0
#: In place of ansible-playbook: does of a takeover what concerns dependents, as the role failover does it.
_RECOVERY = f"""#!{sys.executable}
import json, os, subprocess, pathlib, sys, time
from ansible_collections.holdfast.ha.plugins.module_utils._resource.may_run import MayRun
folder = pathlib.Path("/var/lib/holdfast")
if any('"holdfast_expired": "true"' in word for word in sys.argv):  # the machine that had it before is to be switched off first
    (folder / "fence").touch()
    while not (folder / "fenced").exists():
        time.sleep(0.05)
fact = MayRun(folder, "web")
fact.set()
subprocess.run(["systemctl", "start", "{DB}"], check=True)
fact.set()
inventory = {{"interface": "eth0", "backup_interface": "eth1"}}
state = {{"version": 1, "tag": "web", "address": "{VIP}", "in_service": True, **inventory, "inventory": inventory}}
(folder / "new").write_text(json.dumps(state))
(folder / "new").rename(folder / "web.json")
os.write(int(os.environ["HOLDFAST_RUN_REPORT"]), json.dumps({{"end": {{"ok": True}}}}).encode() + b"\\n")
"""
#: Fails once, and is then the program that it stands for.
_IP = '#!/bin/sh\n[ -e "$0.failed" ] && PATH="${PATH#*:}" exec ip "$@"\ntouch "$0.failed"\necho "ip: interrupted" >&2\nexit 2\n'


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lan(f"deps{os.getpid()}-", links=2) as made:
        yield made


class World:
    """node-a is active and its dependent runs; node-b is ready, and would start its own when it takes over."""

    def __init__(self, lan: Lan, folder: Path) -> None:
        self.pair = Pair(lan)
        self.units = {node.name: Units(node.name, folder, folder / "stamps") for node in lan.nodes}
        self.stamps = folder / "stamps"

    def begin(self, *, dependents: list[dict[str, Any]] | None = None, **changes: Any) -> None:
        """A fresh cluster. ``changes``: of the resource."""
        settings = {"triggers": [{"type": "playbook", "command": "/etc/holdfast/recovery"}]}
        given = dependents or [{"name": "db", "service": DB, "timeout": 5}]
        self.pair.reset(start=False, settings=settings, dependents=given, **changes)
        for node in self.pair.lan.nodes:
            node.run("install", "-m", "0700", "/dev/stdin", "/etc/holdfast/recovery", input=_RECOVERY)
            self.pair.checkers[node.name]._environment = self.units[node.name].environment(node.environment["PATH"])
        for name in ("node-a", "node-b"):
            self.pair.checkers[name].start()
            self.pair.until_serving("node-a")
        until(lambda: self.a.state(DB) == "active" and self.pair.status("node-a")["in_service"], 30, "its dependent does not start")
        until(lambda: self.pair.status("node-b")["ready"], 20, "node-b does not become ready")
        until(lambda: self.pair.status("node-a")["peers"][0]["ready"], 20, "node-a does not hear that node-b is ready")

    @property
    def a(self) -> Units:
        return self.units["node-a"]

    @property
    def b(self) -> Units:
        return self.units["node-b"]

    def steal(self, holder: str) -> None:
        """Another node has the lease from now on, or nobody. It is alive, so nobody else takes the lease."""
        old = self.pair.record()
        assert old is not None
        fresh = Record(holder, old.epoch + 1, f"x.{time.monotonic_ns()}", "" if holder else "-", 3600.0)
        until(lambda: self.pair.store.write(KEY, self.pair.store.read(KEY).token, fresh), 5, "the record could not be written")

    def stop(self) -> None:
        self.pair.stop()
        for one in self.units.values():
            one.stop()


@pytest.fixture
def world(lan: Lan, tmp_path: Path) -> Iterator[World]:
    """At its end no two nodes have run a dependent at once."""
    made = World(lan, tmp_path)
    try:
        with DependentsOracle(made.stamps):
            made.begin()
            yield made
    finally:
        made.stop()


def renewals_fail_after_a_restart(world: World) -> None:
    """The first reading of the fresh process is good."""
    a, node = world.pair.checkers["node-a"], world.pair.node("node-a")
    a.kill()
    world.pair.lan.control.faults.inject(Fault("throttle", "dynamodb:PutItem", source=node.place.interfaces[0].address))
    a.start()
    until(lambda: a.seen("resumed"), 10, "it does not read its record")


def restarted_without_the_store(world: World) -> None:
    a = world.pair.checkers["node-a"]
    a.kill()
    world.pair.lan.cut("node-a")
    a.start()


def released_when_it_starts(world: World) -> None:
    """And another node has it later."""
    a = world.pair.checkers["node-a"]
    world.pair.checkers["node-b"].kill()
    a.kill()
    world.steal("")
    a.start()
    time.sleep(2 * TIMING.poll)  # it has read the record by then
    world.steal("node-x")


def an_error_of_the_kernel_when_it_starts(world: World) -> None:
    """Another node holds the lease, and the first command fails by which the address is to be removed."""
    a = world.pair.checkers["node-a"]
    world.pair.checkers["node-b"].kill()
    a.kill()
    world.steal("node-x")
    program = world.a.path / "ip"
    program.write_text(_IP)
    program.chmod(0o755)
    a.start()


def a_stop_that_failed_before_the_restart(world: World) -> None:
    a = world.pair.checkers["node-a"]
    world.pair.checkers["node-b"].kill()
    world.a.behave(DB, refuses=True)
    world.steal("node-x")
    until(lambda: a.seen("dependents not stopped"), 20, "nothing is said")
    a.kill()
    assert world.a.state(DB) == "active"
    world.a.behave(DB)
    a.start()


def test_an_orderly_end_hands_over_once_the_dependents_have_stopped(world: World) -> None:
    a = world.pair.checkers["node-a"]
    world.a.behave(DB, takes=2)
    a.stop()
    assert (a.exit_code, world.a.runs(DB), world.pair.places("node-a")) == (0, False, [])
    assert a.seen("handed over")[0]["to"] == "node-b"
    until(lambda: world.b.state(DB) == "active", 20, "it does not start on node-b")


def test_an_orderly_end_with_a_dependent_that_runs_on_leaves_the_lease_to_expire(world: World) -> None:
    """So the fence applies: node-b starts nothing before node-a is off."""
    world.begin(fence="stop_instance")
    a, node_b = world.pair.checkers["node-a"], world.pair.node("node-b")
    world.a.behave(DB, refuses=True)
    begin = time.monotonic()
    a.stop()
    assert time.monotonic() - begin < 25
    assert (a.exit_code, world.a.runs(DB), world.pair.places("node-a")) == (0, True, [])
    record = world.pair.record()
    assert (record.holder, a.seen("handed over")) == ("node-a", [])
    assert [one["reason"] for one in a.seen("not released")] == ["dependents may still run here, so the lease is left to expire. Stop them by hand."]
    until(lambda: node_b.run("test", "-e", "/var/lib/holdfast/fence", check=False).returncode == 0, 30, "node-b does not fence")
    assert not world.b.runs(DB)
    world.a.end()
    time.sleep(0.2)  # what the oracle takes for one at a time
    node_b.run("touch", "/var/lib/holdfast/fenced")
    until(lambda: world.b.state(DB) == "active", 30, "it does not start on node-b")


def paused_on(world: World, *nodes: str) -> None:
    for name in nodes:
        world.pair.ask(name, "pause")
    if "node-b" in nodes:
        until(lambda: "paused" in str(world.pair.status("node-a")["peers"][0]["reason"]), 20, "node-a does not hear of it")


def test_paused_on_one_node_alone_it_is_handed_over_at_an_orderly_end(world: World) -> None:
    paused_on(world, "node-a")
    a = world.pair.checkers["node-a"]
    a.stop()
    assert (a.seen("handed over")[0]["to"], world.a.runs(DB), world.pair.places("node-a")) == ("node-b", False, [])
    until(lambda: world.b.state(DB) == "active", 20, "it does not start on node-b")


def test_paused_on_every_node_it_is_left_as_it_is(world: World) -> None:
    paused_on(world, "node-a", "node-b")
    a = world.pair.checkers["node-a"]
    a.stop()
    assert (len(a.seen("left")), world.a.state(DB), world.pair.places("node-a")) == (1, "active", ["eth0"])
    a.start()
    until(lambda: world.pair.status("node-a")["held"], 10, "it does not go on with its lease")
    assert world.a.state(DB) == "active"


WAYS = [
    renewals_fail_after_a_restart,
    restarted_without_the_store,
    released_when_it_starts,
    an_error_of_the_kernel_when_it_starts,
    a_stop_that_failed_before_the_restart,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_dependents_stop_where_the_resource_is_not_held(world: World, way: Callable[[World], None]) -> None:
    way(world)
    until(lambda: not world.a.runs(DB), SOON, f"it still runs; the checker said {world.pair.checkers['node-a'].events[-12:]}")
    until(lambda: world.pair.checkers["node-a"].seen("dependents stopped"), 10, "it is not sure of that")


def test_a_restart_of_the_checker_stops_nothing(world: World) -> None:
    a = world.pair.checkers["node-a"]
    a.kill()
    a.start()
    until(lambda: world.pair.status("node-a")["held"], 10, "it does not go on with its lease")
    throughout(lambda: world.a.state(DB) == "active", 2 * TIMING.hold, "its dependent was stopped")
    assert not any(call.startswith("stop") for call in world.a.calls)


def test_one_that_cannot_be_stopped_is_stopped_again_and_again(world: World) -> None:
    a = world.pair.checkers["node-a"]
    world.pair.checkers["node-b"].kill()
    world.a.behave(DB, refuses=True)
    world.steal("node-x")
    until(lambda: sum(call == f"stop -- {DB}" for call in world.a.calls) >= 3, 20, "it is not stopped again")
    assert "its dependents have to stop here, and may still run" in world.pair.status("node-a")["reasons"]
    world.a.behave(DB)
    until(lambda: not world.a.runs(DB), SOON, "it still runs")
    until(lambda: a.seen("dependents stopped"), 10, "it is not sure of that")


@pytest.mark.parametrize("way", ["cut off", "told to end"])
def test_a_node_restarts_before_another_one_may_take_over(world: World, way: str) -> None:
    """With on_stop_failure: reboot. The oracle sees whether that is soon enough."""
    world.begin(on_stop_failure="reboot")
    a = world.pair.checkers["node-a"]
    world.a.behave(DB, refuses=True)
    if way == "cut off":
        world.pair.lan.cut("node-a")
    else:
        a.stop()
    until(lambda: "reboot --force --force" in world.a.calls, SOON, f"it does not restart; the checker said {a.events[-12:]}")
    assert "db.service is active, and another node may take over" in a.seen("rebooting")[0]["reason"]
    until(lambda: world.b.state(DB) == "active", 30, "it does not start on node-b")


def test_a_release_is_refused_while_a_dependent_runs(world: World) -> None:
    with pytest.raises(RuntimeError, match=rf"releasing {TAG} failed: {DB} is active on this node. Run holdfast.ha.dependents"):
        world.pair.ask("node-a", "release", handoff_to="node-b")
    assert (world.pair.places("node-a"), world.pair.record().holder) == (["eth0"], "node-a")
    world.a.end()
    world.pair.ask("node-a", "release", handoff_to="node-b")
    world.pair.until_serving("node-b", 10)
