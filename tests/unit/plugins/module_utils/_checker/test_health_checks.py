# SPDX-License-Identifier: GPL-3.0-or-later
"""Resources that look at EC2 at the same moment share the calls; who has to know how it is now asks anew."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.health_checks import Ec2HealthChecker
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Ec2Parts
from ansible_collections.holdfast.ha.plugins.module_utils._ec2 import observe

HERE = SimpleNamespace(id="eni-1", vpc_id="vpc-1")
KNOWN: Any = SimpleNamespace(interface="eth0")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What EC2 is asked for; each answer takes a while."""
    made: list[str] = []

    def ask(name: str) -> Any:
        made.append(name)
        time.sleep(0.05)
        return SimpleNamespace(id=HERE.id, source_dest_check=False, addresses=())

    monkeypatch.setattr(observe, "network_interface", lambda client, eni: ask(eni))
    monkeypatch.setattr(observe, "route_tables", lambda client, **where: made.append(str(where)) or ())
    monkeypatch.setattr(Ec2HealthChecker, "client", lambda self, parts: "client")
    monkeypatch.setattr(Ec2HealthChecker, "_eni", lambda self, link: HERE)
    monkeypatch.setattr("ansible_collections.holdfast.ha.plugins.module_utils._checker.health_checks.judge", lambda *what: what[-1])
    return made


def test_twenty_resources_at_once_are_two_calls(calls: list[str]) -> None:
    eyes, parts = Ec2HealthChecker({}, time.monotonic), Ec2Parts(route_tables=("all",))
    for turn in (1, 2):
        begin = time.monotonic()
        with ThreadPoolExecutor(20) as pool:
            assert len(list(pool.map(lambda since: eyes.look(KNOWN, parts, active=True, since=since), [begin] * 20))) == 20
        assert len(calls) == 2 * turn, calls


def test_who_has_to_know_how_it_is_now_asks_anew(calls: list[str]) -> None:
    eyes, parts = Ec2HealthChecker({}, time.monotonic), Ec2Parts(route_tables=("all",))
    for _turn in range(3):
        eyes.look(KNOWN, parts, active=True)
    assert len(calls) == 6
    eyes.look(KNOWN, Ec2Parts(route_tables=("rtb-1",)), active=True, since=0.0)
    assert calls[6:] == ["{'ids': ('rtb-1',)}"], "other tables are another question"


def test_what_could_not_be_asked_is_not_asked_twenty_times(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(client: Any, eni: str) -> Any:
        calls.append(eni)
        time.sleep(0.05)
        raise ServiceError("no answer")

    monkeypatch.setattr(observe, "network_interface", silent)
    eyes, begin = Ec2HealthChecker({}, time.monotonic), time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        told = list(pool.map(lambda _: eyes.look(KNOWN, Ec2Parts(), active=False, since=begin).error, range(20)))
    assert (set(told), calls) == ({"no answer"}, ["eni-1"])


def test_the_next_look_is_at_the_same_moment_for_all() -> None:
    eyes = Ec2HealthChecker({}, time.monotonic)
    found: list[float] = []
    threads = [threading.Thread(target=lambda: found.append(eyes.next_look(30))) for _number in range(10)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(set(found)) == 1
    assert 23 < found[0] - time.monotonic() <= 30
