# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs the address is stopped in reverse order, within the time there is; a program of the test's stands in for systemctl."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.dependents import states, stop_all
from ansible_collections.holdfast.ha.plugins.module_utils._checker.memory import Memory
from ansible_collections.holdfast.ha.plugins.module_utils._checker.trigger_settings import Order, Outcome
from ansible_collections.holdfast.ha.plugins.module_utils._errors import HoldfastError
from ansible_collections.holdfast.ha.plugins.module_utils._model import Dependent

DB, APP = Dependent("db", "db.service"), Dependent("app", "app.service", timeout=5)
WARM = Dependent("warm", tasks="/etc/holdfast/hooks/warm.yml")
_SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$CALLS"
[ "$1" = is-active ] && { echo active; echo inactive; exit 3; }
[ ! -e "$CALLS.slow" ] || sleep 1
[ "$2" != broken.service ] || { echo "Failed to stop broken.service" >&2; exit 1; }
echo "done $2" >> "$CALLS"
"""


class Kept:
    """A log."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def __call__(self, event: str, **facts: object) -> None:
        if event == "trouble":
            self.reasons.append(str(facts["reason"]))


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What systemctl was called with, line by line."""
    program = tmp_path / "systemctl"
    program.write_text(_SYSTEMCTL)
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def test_the_last_one_first(calls: Path) -> None:
    log = Kept()
    assert stop_all("web", (DB, APP), None, log, 30)
    assert calls.read_text().splitlines() == ["stop app.service", "done app.service", "stop db.service", "done db.service"]
    assert log.reasons == []


def test_time_runs_out_and_the_rest_is_stopped_all_the_same(calls: Path) -> None:
    Path(f"{calls}.slow").touch()
    log, begin = Kept(), time.monotonic()
    assert not stop_all("web", (DB, APP), None, log, 0.1)
    assert time.monotonic() - begin < 0.9
    assert "had not stopped within 0.1 s" in log.reasons[0]
    end = time.monotonic() + 30
    while not calls.exists() or "done db.service" not in calls.read_text():
        assert time.monotonic() < end, "the rest was not stopped"
        time.sleep(0.02)


def test_one_that_cannot_be_stopped_keeps_none_of_the_others(calls: Path) -> None:
    log = Kept()
    assert not stop_all("web", (DB, Dependent("broken", "broken.service")), None, log, 30)
    assert "done db.service" in calls.read_text()
    assert log.reasons == ["broken.service could not be stopped: Failed to stop broken.service"]


@pytest.mark.parametrize("works", [True, False])
def test_task_files_are_the_playbooks(calls: Path, works: bool) -> None:
    orders: list[Order] = []

    def run(order: Order, cancel: threading.Event) -> Outcome:
        orders.append(order)
        return Outcome(works, "playbook", "" if works else "it failed", 0.1)

    log = Kept()
    assert stop_all("web", (DB, WARM), run, log, 30) is works
    assert [(order.tag, order.playbook, dict(order.variables)) for order in orders] == [("web", "dependents", {"state": "stopped"})]
    assert calls.exists() is not works, "what can be stopped without the playbook is, where that fails"


def test_an_order_whose_end_nobody_knows_has_stopped_nothing(calls: Path) -> None:
    log = Kept()
    assert not stop_all("web", (DB, WARM), lambda order, cancel: Outcome(True, "webhook", "", 0.1, final=False), log, 30)
    assert "done db.service" in calls.read_text()


def test_without_any_there_is_nothing_to_do(calls: Path) -> None:
    assert stop_all("web", (), None, Kept(), 0)
    assert not calls.exists()


def test_states(calls: Path) -> None:
    shown = states((DB, APP, WARM))
    assert [(one["name"], one["kind"], one["state"]) for one in shown] == [
        ("db", "service", "active"),
        ("app", "service", "inactive"),
        ("warm", "tasks", "unknown"),
    ]
    assert calls.read_text() == "is-active db.service app.service\n"


def test_the_memory_of_pauses_and_epochs(tmp_path: Path) -> None:
    folder, log = tmp_path / "states", Kept()
    memory = Memory(folder, log)
    assert (memory.is_paused("web"), memory.highest_epoch("web")) == (False, 0)
    memory.set_paused("web", True)
    memory.remember_epoch("web", 12)
    again = Memory(folder, log)
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
    assert "could not be kept" in log.reasons[-1]
