# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts of a checker share, and what a request costs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.config import parse_config
from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.log import EventLog
from ansible_collections.holdfast.ha.plugins.module_utils._checker.resource_loop import ResourceLoop
from ansible_collections.holdfast.ha.plugins.module_utils._checker.service import Service
from ansible_collections.holdfast.ha.plugins.module_utils._checker.stores import Stores
from ansible_collections.holdfast.ha.plugins.module_utils._control.client import ask, status_of
from ansible_collections.holdfast.ha.plugins.module_utils._control.server import Server
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import NotFound, Refused
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import parse_store
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import Timing
from ansible_collections.holdfast.ha.plugins.module_utils._resource.store import Store


class Watched:
    """Stands for the watch of a resource, and for its holder."""

    def __init__(self) -> None:
        self.holder = self
        self.asked: list[str] = []
        self.at_work_told = 0

    def ask(self, request: Any) -> None:
        self.asked.append(request.op)

    def at_work(self) -> None:
        self.at_work_told += 1

    def status(self) -> dict[str, Any]:
        return {"tag": "web", "held": True, "expires_in": 5.0}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, Watched, list[int]]]:
    """A socket, the resource behind it, and how often it was added up what the status says of the node."""
    watched, counted = Watched(), list[int]()

    def about() -> dict[str, Any]:
        counted.append(1)
        return {"cluster": "web-prod", "node": "node-a"}

    path = tmp_path / "run" / "checker.sock"
    server = Server(path, {"web": cast(ResourceLoop, watched)}, about, {"cluster": "web-prod", "node": "node-a"})
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield path, watched, counted
    server.shutdown()
    server.server_close()


def test_what_takes_long_is_added_up_for_the_whole_status_alone(served: tuple[Path, Watched, list[int]]) -> None:
    path, watched, counted = served
    for op in ("acquire", "serve", "withdraw", "release", "status"):
        assert ask(op, path=path, tag="web")["node"] == "node-a"
    assert status_of("web-prod", "web", path) == {"node": "node-a", "tag": "web", "held": True, "expires_in": 5.0}
    assert counted == []
    assert watched.asked == ["acquire", "serve", "withdraw", "release"]
    assert watched.at_work_told == 3, "serve, and two looks of a playbook"
    assert [one["tag"] for one in ask("status", path=path)["resources"]] == ["web"]
    assert (counted, watched.at_work_told) == ([1], 3)


def test_what_is_not_watched_is_not_there(served: tuple[Path, Watched, list[int]]) -> None:
    path, _watched, _counted = served
    assert status_of("web-prod", "other", path) is None
    assert status_of("another", "web", path) is None
    with pytest.raises(NotFound, match="it has web"):
        ask("release", path=path, tag="other")


def test_a_reload_moves_no_lease_that_somebody_holds(tmp_path: Path) -> None:
    """The old configuration is kept then, in one line that says what to do."""
    files = Store(tmp_path / "resources", tmp_path / "states")
    files.definitions.mkdir()
    (files.definitions / "web.json").write_text(json.dumps({"tag": "web", "address": "10.1.0.10/32", "interface": "eth0"}))

    def service(**change: Any) -> Service:
        settings = {"cluster": "web-prod", "node": "node-a", "store": {"type": "etcd", "endpoints": ["http://127.0.0.1:2379"]}, **change}
        config = parse_config(settings, "checker.json")
        return Service(config, files, EventLog(config.cluster, config.node, None), tmp_path / "sock")

    class Standby:
        """Of a resource that node-b holds."""

        tag, is_held_without_store = "web", False

        def status(self) -> dict[str, Any]:
            return {"tag": "web", "address": "10.1.0.10/32", "held": False, "holder": "node-b"}

    running = service()
    for change in ({"cluster": "web-new"}, {"store": {"type": "etcd", "endpoints": ["http://127.0.0.1:2380"]}}):
        service(**change).check(running)
        running.watches["web"] = cast(ResourceLoop, Standby())
        with pytest.raises(Refused, match=r"cannot be changed .*node-b holds web.* Stop holdfast-checker\.service on all nodes"):
            service(**change).check(running)
        del running.watches["web"]
    running.watches["web"] = cast(ResourceLoop, Standby())
    service(timing="fast").check(running)


def test_one_client_of_dynamodb_is_for_all_and_one_of_etcd_is_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_REGION", "eu-west-1")):
        monkeypatch.setenv(name, value)
    stores = Stores(parse_store({"type": "dynamodb", "table": "holdfast"}), Timing())
    assert len({id(stores.take()) for _number in range(3)}) == 1
    stores = Stores(parse_store({"type": "etcd", "endpoints": ["http://127.0.0.1:2379"]}), Timing())
    kept = [stores.take() for _number in range(3)]
    assert len({id(one) for one in kept}) == 3


class Leaving:
    """Stands for the watch of a resource and for what belongs to it, at the orderly end of its checker. ``done``: what was done, in order."""

    tag, paused, deadline = "web", False, 107.8

    def __init__(self, stops: bool, held: bool) -> None:
        self.holder = self.dependents = self
        self.stops, self.done = stops, list[str]()
        self.state = SimpleNamespace(held=SimpleNamespace(deadline=self.deadline) if held else None)

    def stop(self) -> None:
        self.done.append("stop watching")

    def stop_time(self) -> float:
        return 42.0

    def wait_for_run(self, limit: float) -> None:
        self.done.append("wait for the run")

    def stop_dependents(self, limit: float, *, for_good: bool = False) -> bool:
        self.done.append(f"stop the dependents within {limit:g} s{' for good' * for_good}")
        return self.stops

    def end(self, handoff_to: str = "") -> None:
        self.done.append("release")

    def expire(self) -> None:
        self.state.held = None
        self.done.append("expire")

    def reboot_unless_stopped(self, deadline: float) -> None:
        self.done.append(f"restart after {deadline:g} unless they have stopped")


BEFORE = ["stop watching", "wait for the run", "stop the dependents within 42 s for good"]


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("stops", [True, False])
def test_an_orderly_end_stops_the_dependents_before_it_lets_the_lease_go(tmp_path: Path, stops: bool, held: bool) -> None:
    """Where they do not stop, it does not let go, and the next node waits for the lease to expire."""
    settings = {"cluster": "web-prod", "node": "node-a", "store": {"type": "etcd", "endpoints": ["http://127.0.0.1:2379"]}}
    config, told = parse_config(settings, "checker.json"), list[str]()
    log = EventLog(config.cluster, config.node, None)
    log.add(lambda entry: told.append(entry["event"]))
    service, watch = Service(config, Store(tmp_path, tmp_path), log, tmp_path / "sock"), Leaving(stops, held)
    service.watches["web"] = cast(ResourceLoop, watch)
    service.end()
    assert watch.done[:3] == BEFORE
    if stops:
        assert (watch.done[3], told) == ("release", ["handed over"] * held)
    elif held:
        assert (watch.done[3:5], told) == (["expire", "restart after 107.8 unless they have stopped"], ["not released"])
    else:
        assert (watch.done[3], told) == ("expire", [])
    assert ("release" in watch.done) is stops
