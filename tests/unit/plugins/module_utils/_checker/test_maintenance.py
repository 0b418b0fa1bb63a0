# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules checker_info and checker_maintenance ask the checker, and what they make of its answers."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker import maintenance
from ansible_collections.holdfast.ha.plugins.module_utils._checker.client import NoChecker, ask
from ansible_collections.holdfast.ha.plugins.module_utils._checker.maintenance import MaintenanceTask, checker_info, is_paused
from ansible_collections.holdfast.ha.plugins.module_utils._checker.protocol import encode, refusal
from ansible_collections.holdfast.ha.plugins.module_utils._converge import converge, preview
from ansible_collections.holdfast.ha.plugins.module_utils._errors import BadInput, NotFound, Refused
from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._checker.scripted import ABOUT, ONE, Scripted


class Pausable(Scripted):
    """Keeps what it is told. ``deaf``: the resources that it does not pause."""

    def __init__(self, path: Path, *tags: str) -> None:
        super().__init__(path)
        self.paused = dict.fromkeys(tags, False)
        self.deaf: set[str] = set()

    def reply(self, request: dict[str, Any]) -> bytes:
        if request["op"] == "status":
            return encode({**ABOUT, "resources": [{**ONE, "tag": tag, "paused": paused} for tag, paused in self.paused.items()]})
        if request["tag"] in self.deaf:
            return encode(refusal(Refused(f"{request['tag']} is busy")))
        self.paused[request["tag"]] = request["op"] == "pause"
        return encode({**ABOUT, **ONE})

    @property
    def told(self) -> list[tuple[str, str]]:
        """What it was asked to do."""
        return [(one["op"], one["tag"]) for one in self.asked if one["op"] != "status"]


@pytest.fixture
def checker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pausable]:
    monkeypatch.setattr(maintenance, "ask", functools.partial(ask, path=tmp_path / "sock"))
    scripted = Pausable(tmp_path / "sock", "db", "web")
    scripted.start()
    yield scripted
    scripted.stop()
    scripted.join(5)


def task(state: str, tag: str | None = None) -> MaintenanceTask:
    return MaintenanceTask({"state": state, "tag": tag})


def test_all_are_paused_and_resumed_and_nothing_twice(checker: Pausable) -> None:
    foreseen = preview(task("paused"))
    assert checker.told == []
    run = converge(task("paused"))
    assert (run.changed, foreseen.changed) == (True, True)
    assert foreseen.after == run.after
    assert checker.told == [("pause", "db"), ("pause", "web")]
    assert task("paused").result(run) == {"resources": [{"tag": "db", "paused": True}, {"tag": "web", "paused": True}]}
    again = converge(task("paused"))
    assert (again.changed, len(checker.told)) == (False, 2)
    assert converge(task("resumed")).changed
    assert checker.paused == {"db": False, "web": False}


def test_one_is_paused_and_the_other_is_left_alone(checker: Pausable) -> None:
    run = converge(task("paused", "web"))
    assert checker.told == [("pause", "web")]
    assert checker.paused == {"db": False, "web": True}
    assert (task("paused").table(run.before), task("paused").table(run.after)) == ("tag  paused\nweb  no\n", "tag  paused\nweb  yes\n")
    converge(task("paused"))
    assert checker.told == [("pause", "web"), ("pause", "db")]


def test_one_that_refuses_keeps_no_other_from_it(checker: Pausable) -> None:
    checker.deaf = {"db"}
    run = converge(task("paused"))
    assert [error.message for error in run.errors.values()] == ["db is busy"]
    assert checker.paused == {"db": False, "web": True}


def test_what_cannot_be_meant(checker: Pausable) -> None:
    with pytest.raises(NotFound, match="watches no resource mail; it has db, web"):
        converge(task("paused", "mail"))
    with pytest.raises(BadInput):
        task("paused", "../etc")
    assert checker.asked == [{"op": "status"}]


def test_no_checker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "ask", functools.partial(ask, path=tmp_path / "none"))
    with pytest.raises(NoChecker):
        converge(task("paused"))
    assert checker_info({"tag": None}) == {"running": False, "status": None}


def test_info(checker: Pausable) -> None:
    whole, one = checker_info({"tag": None}), checker_info({"tag": "web"})
    assert whole["running"] is True
    assert isinstance(whole["status"], dict)
    assert isinstance(one["status"], dict)
    assert "ok" not in whole["status"]
    assert [each["tag"] for each in whole["status"]["resources"]] == ["db", "web"]
    assert [each["tag"] for each in one["status"]["resources"]] == ["web"]
    assert one["status"]["node"] == "node-a"


def test_a_checker_that_refuses_is_no_missing_one(checker: Pausable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "reply", lambda request: encode(refusal(Refused("only root may talk to the checker"))))
    with pytest.raises(Refused):
        checker_info({"tag": None})


@pytest.mark.parametrize(
    ("one", "paused"), [({}, False), ({"phase": "watching"}, False), ({"phase": "paused"}, True), ({"phase": "recovering", "paused": True}, True)]
)
def test_paused(one: dict[str, Any], paused: bool) -> None:
    assert is_paused(one) is paused
