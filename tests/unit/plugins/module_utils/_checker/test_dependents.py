# SPDX-License-Identifier: GPL-3.0-or-later
"""When dependents have to stop, and that they are stopped and observed until none runs; a program of the test's stands in for systemctl."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker import dependents as module
from ansible_collections.holdfast.ha.plugins.module_utils._checker.dependents import Dependents, Standing, observe, states, stop_at
from ansible_collections.holdfast.ha.plugins.module_utils._checker.persistence import PersistentState
from ansible_collections.holdfast.ha.plugins.module_utils._checker.triggers.settings import Order, Outcome
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import HoldfastError, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Dependent
from ansible_collections.holdfast.ha.plugins.module_utils._lease.deadman import boottime
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.policy_values import LONG_AGO, NEVER
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import EffectiveResource
from ansible_collections.holdfast.ha.plugins.module_utils._resource.may_run import MayRun
from ansible_collections.holdfast.ha.tests.lab.waiting import throughout, until

DB, APP = Dependent("db", "db.service"), Dependent("app", "app.service", timeout=5)
WARM = Dependent("warm", tasks="/etc/holdfast/hooks/warm.yml")
#: A unit runs while there is a file of its name. One that is named in ``refuses`` does not stop, and ``slow`` holds up every stop.
_SYSTEMCTL = """#!/bin/sh
cd "$UNITS" || exit 9
echo "$*" >> calls
case "$1" in
show) shift 3; for unit; do [ -e "$unit" ] && echo "ActiveState=active" || echo "ActiveState=inactive"; echo; done;;
stop) shift; while [ -e slow ]; do sleep 0.02; done
      grep -qsx "$2" refuses && { echo "Failed to stop $2: the bus is busy" >&2; exit 1; }
      rm -f "$2";;
esac
"""


class Kept:
    """A log."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []
        #: What happens when something is logged.
        self.then: Callable[[str], None] = lambda reason: None

    def __call__(self, event: str, **facts: object) -> None:
        self.events.append((event, facts))
        self.then(str(facts.get("reason")))

    def of(self, event: str) -> list[str]:
        return [str(facts.get("reason", facts.get("unit", ""))) for name, facts in list(self.events) if name == event]


class Node:
    """One with units, whose lease is as the test says. It holds the lease at first, and its units run."""

    def __init__(self, folder: Path) -> None:
        self.units, self.log = folder / "units", Kept()
        self.units.mkdir()
        self.boot = folder / "boot_id"
        self.boot.write_text("this\n")
        self.fact = MayRun(folder / "states", "web", self.boot)
        self.held: float | None = NEVER
        self.grace, self.gone, self.alone = LONG_AGO, False, False
        self.outcomes: list[Outcome] = []
        self.orders: list[Order] = []
        self.made: list[Dependents] = []
        #: What else happens while the stop playbook runs.
        self.during: Callable[[threading.Event], None] = lambda cancel: None

    def begin(self, *dependents: Dependent, run: bool = False, in_service: bool = False, on_stop_failure: str = "wait") -> Dependents:
        """A checker that watches these."""
        for one in dependents:
            if one.service:
                (self.units / one.service).touch()
        known: Any = SimpleNamespace(resource=SimpleNamespace(dependents=dependents, on_stop_failure=on_stop_failure), in_service=in_service)

        def order(given: Order, cancel: threading.Event) -> Outcome:
            self.orders.append(given)
            self.during(cancel)
            return self.outcomes.pop(0)

        def standing() -> Standing:
            return Standing(self.alone, self.held, self.grace, self.gone)

        made = Dependents(
            "web", self.fact, known=lambda: known, standing=standing, run=order if run else None, log=self.log, timing=Timing(margin=2 * SPARE)
        )
        self.made.append(made)
        return made

    @property
    def running(self) -> list[str]:
        return sorted(path.name for path in self.units.glob("*.service"))

    @property
    def reboots(self) -> int:
        """How often the machine was to restart."""
        calls = self.units / "calls"
        return calls.read_text().splitlines().count("reboot --force --force") if calls.exists() else 0

    @property
    def stops(self) -> list[str]:
        """The units that systemctl was told to stop, in order."""
        calls = self.units / "calls"
        return [line.removeprefix("stop -- ") for line in (calls.read_text().splitlines() if calls.exists() else ()) if line.startswith("stop ")]

    def until_stopped(self, dependents: Dependents) -> None:
        until(lambda: not self.fact.is_set and not dependents.is_stopping, 30, f"it still may run: {self.log.events}")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    program = tmp_path / "systemctl"
    program.write_text(_SYSTEMCTL)
    program.chmod(0o700)
    made = Node(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("UNITS", str(made.units))
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.05)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.1)
    yield made
    (made.units / "slow").unlink(missing_ok=True)
    made.held = NEVER
    until(lambda: not any(one.is_stopping for one in made.made) or made.fact.clear(), 10, "it goes on")


NOW = 1000.0
#: Seconds after a lease in which no other node may act on it yet, and this one restarts if it has to.
SPARE = 0.5


@pytest.mark.parametrize(
    ("standing", "confirmed", "at"),
    [
        (Standing(True, None, NOW, True), True, NEVER),
        (Standing(False, NOW + 5, NOW, False), True, NOW + 5),
        (Standing(False, NOW + 5, NOW, True), False, NOW + 5),
        (Standing(False, None, NOW + 3, False), False, NOW + 3),
        (Standing(False, None, NOW + 3, False), True, LONG_AGO),
        (Standing(False, None, NOW + 3, True), False, LONG_AGO),
    ],
    ids=["alone", "held until", "held though the record is another's", "process just began", "lost", "another node holds it"],
)
def test_when_they_have_to_stop(standing: Standing, confirmed: bool, at: float) -> None:
    assert stop_at(standing, confirmed) == at


def test_the_last_one_first(node: Node) -> None:
    dependents = node.begin(DB, APP)
    node.fact.set()
    assert dependents.stop(30, for_good=True)
    assert (node.stops, node.running) == (["app.service", "db.service"], [])
    assert node.log.of("dependent stopped") == ["app.service", "db.service"]
    assert len(node.log.of("dependents stopped")) == 1


def test_nothing_is_stopped_while_the_lease_is_held_or_nothing_may_run(node: Node) -> None:
    dependents = node.begin(DB)
    node.held = None
    dependents.tend()
    assert (dependents.due(), dependents.is_stopping) == (NEVER, False), "nobody has started it for the resource"
    node.fact.set()
    node.held = boottime() + 100
    dependents.tend()
    assert (dependents.due(), dependents.is_stopping, node.running) == (node.held, False, ["db.service"])


def test_a_deadline_that_passes_needs_nobody_to_notice(node: Node) -> None:
    """The thread of the lease may hang in a call to the store."""
    dependents = node.begin(DB)
    node.fact.set()
    node.held = boottime() - 0.001
    dependents.tend()
    node.until_stopped(dependents)
    assert node.running == []


def test_time_runs_out_and_they_are_stopped_all_the_same(node: Node) -> None:
    dependents, begin = node.begin(DB, APP), time.monotonic()
    node.fact.set()
    node.held = None
    (node.units / "slow").touch()
    assert not dependents.stop(0.2)
    assert time.monotonic() - begin < 5
    assert "0.2 s that they have are over" in node.log.of("dependents not stopped")[0]
    (node.units / "slow").unlink()
    node.until_stopped(dependents)
    assert node.running == []


def test_one_that_does_not_stop_is_stopped_again_until_it_does(node: Node) -> None:
    dependents = node.begin(DB, APP)
    node.fact.set()
    node.held = None
    (node.units / "refuses").write_text("app.service\n")
    assert not dependents.stop(0.5)
    assert node.running == ["app.service"], "the other one is stopped"
    assert node.fact.is_set
    until(lambda: node.stops.count("app.service") >= 3, 10, "it is not stopped again")
    told = node.log.of("dependents not stopped")
    assert told.count("app.service could not be stopped: Failed to stop app.service: the bus is busy") == 1, "told once"
    assert "app.service is active" in told
    (node.units / "refuses").unlink()
    node.until_stopped(dependents)
    assert node.running == []


def test_the_next_process_goes_on(node: Node) -> None:
    dependents = node.begin(DB)
    node.fact.set()
    node.held, node.grace = None, boottime() + 0.3
    dependents.tend()
    assert (dependents.is_stopping, dependents.due()) == (False, node.grace)
    until(lambda: boottime() >= node.grace, 5, "the clock stands still")
    dependents.tend()
    node.until_stopped(dependents)
    assert node.running == []


def test_it_does_not_stop_what_is_started_for_a_lease_that_came_back(node: Node) -> None:
    dependents = node.begin(DB, APP)
    node.fact.set()
    node.held = None
    (node.units / "slow").touch()
    dependents.tend()
    until(lambda: node.stops == ["app.service"], 10, "it does not begin")
    node.held = boottime() + 100
    (node.units / "slow").unlink()
    until(lambda: not dependents.is_stopping, 10, "it goes on")
    assert (node.running, node.fact.is_set) == (["db.service"], True)


def test_after_a_restart_of_the_machine_units_are_observed(node: Node) -> None:
    dependents = node.begin(DB, WARM, run=True)
    node.fact.set()
    node.boot.write_text("another\n")
    (node.units / "db.service").unlink()
    node.held = None
    dependents.tend()
    node.until_stopped(dependents)
    assert (node.stops, node.orders) == ([], []), "nothing runs, so nothing is stopped"
    (node.units / "db.service").touch()  # it was enabled, and starts at each boot
    node.boot.write_text("this\n")
    node.fact.set()
    node.boot.write_text("another\n")
    node.outcomes = [Outcome(True, "playbook", "", 0.1)]
    dependents.tend()
    node.until_stopped(dependents)
    assert node.running == []


@pytest.mark.parametrize(
    "failed",
    [Outcome(False, "playbook", "it failed", 0.1), Outcome(True, "webhook", "", 0.1, final=False)],
    ids=["it failed", "nobody knows its end"],
)
def test_task_files_have_stopped_once_their_playbook_has(node: Node, failed: Outcome) -> None:
    dependents = node.begin(DB, WARM, run=True)
    node.fact.set()
    node.held = None
    node.outcomes = [failed, failed, Outcome(True, "playbook", "", 0.1)]
    dependents.tend()
    node.until_stopped(dependents)
    assert [(order.tag, order.playbook, dict(order.variables)) for order in node.orders] == [("web", "dependents", {"state": "stopped"})] * 3
    assert node.running == []
    assert "warm may run (a task file)" in node.log.of("dependents not stopped")


def test_a_stop_playbook_that_removes_the_fact_is_not_called_off_for_that(node: Node) -> None:
    """Its last task does."""
    dependents = node.begin(DB, WARM, run=True)
    node.fact.set()
    node.held = None
    node.outcomes = [Outcome(True, "playbook", "", 0.1)]
    called_off: list[bool] = []

    def last_task(cancel: threading.Event) -> None:
        (node.units / "db.service").unlink()
        node.fact.clear()
        dependents.tend()
        called_off.append(cancel.is_set())

    node.during = last_task
    dependents.tend()
    node.until_stopped(dependents)
    assert (called_off, len(node.orders), len(node.log.of("dependents stopped"))) == ([False], 1, 1)


def test_task_files_without_a_trigger(node: Node) -> None:
    dependents = node.begin(DB, WARM)
    node.fact.set()
    begin = time.monotonic()
    assert not dependents.stop(60, for_good=True)
    assert time.monotonic() - begin < 30, "it is waited for what nobody can do"
    assert node.running == [], "what can be stopped without the playbook is"
    assert "no trigger can run the stop of those that are task files; add one of type playbook" in node.log.of("dependents not stopped")
    node.fact.clear()
    until(lambda: not dependents.is_stopping, 10, "it goes on")


def test_a_machine_restarts_where_its_dependents_do_not_stop(node: Node) -> None:
    dependents, begin = node.begin(DB, on_stop_failure="reboot"), boottime()
    node.fact.set()
    node.held = None
    (node.units / "slow").touch()
    dependents.tend()
    until(lambda: node.reboots, 10, "it does not restart")
    assert boottime() - begin >= SPARE
    assert "db.service is active, and another node may take over" in node.log.of("rebooting")[0]
    until(lambda: node.reboots >= 2, 10, "it does not try again where that has failed")
    (node.units / "slow").unlink()
    node.until_stopped(dependents)


@pytest.mark.parametrize("why", ["wait", "stopped in time", "of another boot", "held again"])
def test_a_machine_does_not_restart(node: Node, why: str) -> None:
    dependents = node.begin(DB, on_stop_failure="wait" if why == "wait" else "reboot")
    node.fact.set()
    node.held = None
    if why != "stopped in time":
        (node.units / "slow").touch()
    if why == "of another boot":
        node.boot.write_text("another\n")
    dependents.tend()
    until(lambda: node.stops, 10, "it does not begin")
    if why == "held again":
        node.held = boottime() + 100
    throughout(lambda: not node.reboots, 3 * SPARE, "it restarts")
    (node.units / "slow").unlink(missing_ok=True)


@pytest.mark.parametrize("stops", [True, False])
def test_a_machine_whose_checker_ends_restarts_once_the_lease_is_over(node: Node, stops: bool) -> None:
    dependents = node.begin(DB, on_stop_failure="reboot")
    node.fact.set()
    (node.units / "slow").touch()
    assert not dependents.stop(0.1, for_good=True)
    throughout(lambda: not node.reboots, 2 * SPARE, "it restarts while it holds the lease")
    deadline, node.held = boottime() + 0.2, None
    if stops:
        (node.units / "slow").unlink()
        node.until_stopped(dependents)
    dependents.reboot_unless_stopped(deadline)
    assert node.reboots == (0 if stops else 1)
    assert stops or boottime() >= deadline + SPARE
    (node.units / "slow").unlink(missing_ok=True)


def test_what_a_person_has_stopped_meanwhile_is_believed(node: Node) -> None:
    dependents = node.begin(WARM)
    node.fact.set()
    node.held = None
    node.log.then = lambda reason: node.fact.clear() if "may run" in reason else None
    dependents.tend()
    until(lambda: not dependents.is_stopping, 10, "it goes on")
    assert not node.fact.is_set


def test_a_release_waits_for_the_last_one(node: Node) -> None:
    dependents = node.begin(DB, WARM)
    dependents.confirm_stopped()
    node.fact.set()
    with pytest.raises(Refused, match=r"releasing web failed: warm may run \(a task file\), db.service is active on this node. Run holdfast.ha.dep"):
        dependents.confirm_stopped()
    node.boot.write_text("another\n")
    (node.units / "db.service").unlink()
    dependents.confirm_stopped()


@pytest.mark.parametrize("in_service", [True, False])
def test_what_an_earlier_version_has_started_is_stopped_too(node: Node, in_service: bool) -> None:
    dependents = node.begin(DB, in_service=in_service)
    dependents.adopt()
    assert node.fact.is_set is in_service


def test_a_definition_that_is_gone_proves_nothing(node: Node) -> None:
    dependents = Dependents(
        "web",
        node.fact,
        known=lambda: EffectiveResource("web", Address.parse("10.1.0.10/32"), "eth0", None, True),
        standing=lambda: Standing(False, None, LONG_AGO, True),
        run=None,
        log=node.log,
    )
    node.made.append(dependents)
    node.fact.set()
    assert not dependents.stop(0.2)
    assert "its definition is gone" in node.log.of("dependents not stopped")[0]
    with pytest.raises(HoldfastError, match="its definition is gone"):
        dependents.confirm_stopped()


def test_without_any_there_is_nothing_to_do(node: Node) -> None:
    assert node.begin(in_service=True).stop(0)
    assert not (node.units / "calls").exists()


def test_states(node: Node) -> None:
    (node.units / "db.service").touch()
    shown = states((DB, APP, WARM))
    assert [(one["name"], one["kind"], one["state"]) for one in shown] == [
        ("db", "service", "active"),
        ("app", "service", "inactive"),
        ("warm", "tasks", "unknown"),
    ]
    assert (node.units / "calls").read_text() == "show --property=ActiveState -- db.service app.service\n"


def test_a_systemd_that_does_not_answer_says_nothing_of_any_unit(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNITS", "/nonexistent")
    assert observe(["db.service"]) == {"db.service": "unknown"}
    monkeypatch.setenv("PATH", "/nonexistent")
    assert observe(["db.service"]) == {"db.service": "unknown"}


def test_the_memory_of_pauses_and_epochs(tmp_path: Path) -> None:
    folder, log = tmp_path / "states", Kept()
    memory = PersistentState(folder, log)
    assert (memory.is_paused("web"), memory.highest_epoch("web")) == (False, 0)
    memory.set_paused("web", True)
    memory.remember_epoch("web", 12)
    again = PersistentState(folder, log)
    assert (again.is_paused("web"), again.highest_epoch("web"), again.is_paused("db")) == (True, 12, False)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    again.set_paused("web", False)
    again.set_paused("web", False)
    assert not memory.is_paused("web")
    (folder / "web.epoch").write_text("nonsense")
    assert memory.highest_epoch("web") == 0
    (folder / "web.epoch").unlink()
    (folder / "web.epoch").symlink_to("/etc/hostname")
    assert memory.highest_epoch("web") == 0
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HoldfastError):
        memory.set_paused("web", True)
    memory.remember_epoch("web", 13)
    assert "could not be kept" in log.of("trouble")[-1]
