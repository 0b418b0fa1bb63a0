# SPDX-License-Identifier: GPL-3.0-or-later
"""Binding dependents to the unit of their lease: which files are written, and when systemd is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.lease_unit import LeaseUnit, centiseconds, forget_others, unit_name
from ansible_collections.holdfast.ha.plugins.module_utils._core.command import Completed
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Dependent

RELOAD, START = "systemctl daemon-reload", "systemctl start holdfast-lease@web.service"


class Host:
    """``ran``: the programs that were run. ``failing``: the one that fails."""

    def __init__(self, folder: Path) -> None:
        self.ran: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.failing = ""
        self.runtime, self.deadlines, self.template = folder / "system", folder / "run", folder / "holdfast-lease@.service"
        self.runtime.mkdir()
        self.deadlines.mkdir()
        self.template.touch()
        self.unit = LeaseUnit("web", self.run, self.log, template=self.template, runtime=self.runtime, deadlines=self.deadlines)

    def run(self, argv: Sequence[str]) -> Completed:
        self.ran.append(" ".join(argv))
        return Completed(1, "", "no such unit") if self.ran[-1] == self.failing else Completed(0, "", "")

    def log(self, event: str, **facts: object) -> None:
        self.events.append({"event": event, **facts})

    @property
    def bound(self) -> list[str]:
        return sorted(str(path.relative_to(self.runtime)) for path in self.runtime.rglob("*.conf"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def services(*names: str) -> list[Dependent]:
    return [Dependent(name, service=name) for name in names]


@pytest.mark.parametrize(
    ("held", "running", "ran"),
    [(False, False, [RELOAD]), (True, False, [START, RELOAD]), (True, True, [START, RELOAD]), (False, True, [])],
)
def test_running_dependents_are_bound_only_while_their_unit_runs(host: Host, held: bool, running: bool, ran: list[str]) -> None:
    host.unit.bind(services("app", "db.service", "mail@1"), held, running)
    assert host.ran == ran
    bound = ["app.service.d/50-holdfast-web.conf", "db.service.d/50-holdfast-web.conf", "mail@1.service.d/50-holdfast-web.conf"]
    assert host.bound == (bound if ran else [])
    host.ran.clear()
    host.unit.bind(services("app", "db.service", "mail@1"), held, running)
    assert host.ran == [], "nothing is to be done a second time"


def test_the_binding_names_the_unit(host: Host) -> None:
    host.unit.bind(services("app"), held=False, running=False)
    text = (host.runtime / "app.service.d/50-holdfast-web.conf").read_text()
    assert "\nBindsTo=holdfast-lease@web.service\nAfter=holdfast-lease@web.service\n" in text


def test_what_is_no_dependent_any_more_is_released(host: Host) -> None:
    host.unit.bind(services("app", "db"), held=False, running=False)
    host.ran.clear()
    host.unit.bind(services("db"), held=False, running=False)
    assert (host.bound, host.ran) == (["db.service.d/50-holdfast-web.conf"], [RELOAD])
    forget_others(["other"], host.run, runtime=host.runtime)
    assert (host.bound, host.ran) == ([], [RELOAD, RELOAD])
    forget_others(["other"], host.run, runtime=host.runtime)
    assert host.ran == [RELOAD, RELOAD]


def test_a_unit_that_does_not_start_binds_nothing(host: Host) -> None:
    host.failing = START
    for _time in range(2):
        host.unit.bind(services("app"), held=True, running=True)
    assert (host.bound, RELOAD in host.ran) == ([], False)
    assert [one["event"] for one in host.events] == ["trouble"], "told once"
    assert "no such unit" in host.events[0]["reason"]


def test_without_systemd_nothing_is_done(host: Host) -> None:
    host.template.unlink()
    host.unit.bind(services("app"), held=True, running=False)
    host.unit.set_deadline(5.0)
    assert (host.ran, host.bound, list(host.deadlines.iterdir())) == ([], [], [])


def test_the_deadline_is_never_later_than_the_lease(host: Host) -> None:
    host.unit.set_deadline(1234.5678)
    assert (host.deadlines / "web.deadline").read_text() == "123456\n"
    host.unit.set_deadline(None)
    assert (host.deadlines / "web.deadline").read_text() == "0\n"
    assert [centiseconds(one) for one in (None, -1.0, 0.0, 0.019)] == ["0\n", "0\n", "0\n", "1\n"]


def test_names_of_units() -> None:
    assert [unit_name(name) for name in ("app", "app.service", "app@1", "data.mount", "v1.2")] == [
        "app.service",
        "app.service",
        "app@1.service",
        "data.mount",
        "v1.2.service",
    ]
