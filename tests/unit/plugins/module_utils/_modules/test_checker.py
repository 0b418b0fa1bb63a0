# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules checker_info and checker_maintenance ask the checker, and what they make of its answers."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._control.client import NoChecker, ask
from ansible_collections.holdfast.ha.plugins.module_utils._control.protocol import encode, refusal
from ansible_collections.holdfast.ha.plugins.module_utils._core.converge import converge, preview
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, NotFound, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._modules import checker as maintenance
from ansible_collections.holdfast.ha.plugins.module_utils._modules.checker import MaintenanceTask, checker_info, is_paused
from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._control.scripted import ABOUT, ONE, Scripted


def asked(tag: str | None = None, within: float = 0.0) -> dict[str, Any]:
    """The options of checker_info."""
    return {"tag": tag, "in_service_within": within}


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
    assert checker_info(asked()) == {"running": False, "status": None}


def test_info(checker: Pausable) -> None:
    whole, one = checker_info(asked()), checker_info(asked("web"))
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
        checker_info(asked())


@pytest.mark.parametrize(
    ("one", "paused"), [({}, False), ({"phase": "watching"}, False), ({"phase": "paused"}, True), ({"phase": "recovering", "paused": True}, True)]
)
def test_paused(one: dict[str, Any], paused: bool) -> None:
    assert is_paused(one) is paused


#: What a checker says of a lease that is handed to its node, step by step.
HANDED = {"tag": "web", "held": False, "serving": False, "in_service": False, "phase": "watching", "last_recovery": None}
TAKEN = {**HANDED, "held": True, "phase": "suspect"}
AT_WORK = {**TAKEN, "serving": True, "phase": "recovering"}
NEARLY = {**AT_WORK, "in_service": True}
DONE = {**NEARLY, "phase": "watching"}
FAILED = {**TAKEN, "phase": "backing off"}
LET_GO = {**HANDED, "last_recovery": {"ok": False, "ago": 0.4}}


class Story:
    """A checker whose answers follow a virtual clock. ``steps``: from when on it says what; ``None``: none answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *steps: tuple[float, dict[str, Any] | None]) -> None:
        self.now, self.steps = 0.0, steps
        monkeypatch.setattr(maintenance, "ask", self.ask)

    def ask(self, op: str, tag: str | None = None) -> dict[str, Any]:
        told = [what for since, what in self.steps if since <= self.now][-1]
        if told is None:
            raise NoChecker("none")
        return {"ok": True, **told} if tag is not None else {"ok": True, "resources": [told]}

    def rest(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def waited(self, within: float = 330.0) -> float:
        """How long it took to tell how it ended."""
        checker_info(asked("web", within), lambda: self.now, self.rest)
        return self.now


@pytest.mark.parametrize(
    ("steps", "seconds"),
    [
        (((0, HANDED), (0.5, TAKEN), (0.6, AT_WORK), (2, NEARLY), (3, DONE)), 3),
        (((0, DONE),), 0),
        (((0, {**DONE, "in_service": False}),), 0),  # a checker without a trigger records nothing
        (((0, AT_WORK), (40, FAILED)), 40),
        (((0, AT_WORK), (40, LET_GO)), 40),
        (((0, LET_GO),), 0),
        (((0, {**LET_GO, "last_recovery": {"ok": False, "ago": 3600.0}}),), 15),
        (((0, {**LET_GO, "last_recovery": {"ok": True, "ago": 0.1}}),), 15),
        (((0, HANDED),), 15),
        (((0, TAKEN),), 2),
        (((0, {**TAKEN, "phase": "paused"}),), 0),
        (((0, AT_WORK),), 330),
        (((0, None), (3, DONE)), 3),
        (((0, None),), 15),
    ],
)
def test_a_takeover_is_waited_for_until_it_is_decided(monkeypatch: pytest.MonkeyPatch, steps: tuple[Any, ...], seconds: float) -> None:
    assert Story(monkeypatch, *steps).waited() == pytest.approx(seconds, abs=0.11)


def test_no_longer_than_one_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Story(monkeypatch, (0, AT_WORK)).waited(0.25) == pytest.approx(0.25)
    assert Story(monkeypatch, (0, AT_WORK)).waited(0) == 0


@pytest.mark.parametrize(("tag", "within"), [("web", -1.0), ("web", 3601.0), ("web", float("nan")), (None, 1.0)])
def test_a_wait_that_cannot_be_meant(tag: str | None, within: float) -> None:
    with pytest.raises(BadInput, match="in_service_within: "):
        checker_info(asked(tag, within))
