# SPDX-License-Identifier: GPL-3.0-or-later
"""Events, metrics and notify, with real files, programs and sockets, and with people who mean no good."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.log import EventLog, MetricsSettings, Reporting, parse_reporting
from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.metrics import Metrics, make_metrics
from ansible_collections.holdfast.ha.plugins.module_utils._checker.reporting.notify import Notifier
from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import BadInput, HoldfastError
from lab.awx import AwxServer, Controller
from lab.control import ControlPlane
from lab.waiting import until

from .conftest import Kept
from .test_leash import alive

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


class Place:
    """An events file and what goes to standard output."""

    def __init__(self, folder: Path) -> None:
        self.path, self.out = folder / "log" / "events.jsonl", io.StringIO()
        self.log = EventLog("prod", "node-a", str(self.path), stream=self.out)

    def kept(self) -> list[str]:
        return [one["event"] for one in lines(self.path.read_text())] if self.path.exists() else []

    def told(self) -> list[dict[str, Any]]:
        return lines(self.out.getvalue())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_one_line_for_each_event_in_both_places(place: Place) -> None:
    place.log("fault", tag="web", faults=("routes",), text="two\nlines", path=Path("/x"))
    place.log("recovered", tag="web", seconds=0.25)
    assert place.path.read_text() == place.out.getvalue()
    first, second = place.told()
    assert TIME.fullmatch(first.pop("time"))
    assert first == {"cluster": "prod", "node": "node-a", "event": "fault", "tag": "web", "faults": ["routes"], "text": "two\nlines", "path": "/x"}
    assert second["seconds"] == 0.25
    assert place.path.stat().st_mode & 0o777 == 0o600
    assert place.path.parent.stat().st_mode & 0o777 == 0o700


class Stuck(io.StringIO):
    """A journal that takes nothing until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        self.go_on.wait(30)
        return super().write(text)


def test_a_journal_that_stands_still_holds_up_nobody() -> None:
    out = Stuck()
    log = EventLog("prod", "node-a", None, stream=out)
    log.start()
    begin = time.monotonic()
    for number in range(1200):
        log("fault", tag="web", number=number)
    assert time.monotonic() - begin < 5
    out.go_on.set()
    log.stop(20)
    told = lines(out.getvalue())
    assert [one["number"] for one in told if one["event"] == "fault"][:1000] == list(range(1000))
    assert sum(one.get("left_out", 0) for one in told) + len([one for one in told if one["event"] == "fault"]) == 1200
    log("stopped")
    assert lines(out.getvalue())[-1]["event"] == "stopped"


def test_a_line_is_bounded(place: Place) -> None:
    place.log("run killed", tag="web", output=["x" * 1000] * 100, reason="y" * 100_000)
    (told,) = place.told()
    assert (told["event"], told["tag"], told["cut"]) == ("run killed", "web", True)
    assert len(place.path.read_text()) < 16385


def test_rotation_needs_no_signal(place: Place, tmp_path: Path) -> None:
    place.log("first")
    place.path.rename(tmp_path / "rotated")
    place.log("second")
    assert place.kept() == ["second"]
    assert "second" not in (tmp_path / "rotated").read_text()
    os.truncate(place.path, 0)  # logrotate's copytruncate
    place.log("third")
    assert place.kept() == ["third"]
    shutil.rmtree(place.path.parent)
    place.log("fourth")
    assert place.kept() == ["fourth"]


@pytest.mark.parametrize("attack", ["symlink", "dangling symlink", "second name", "fifo", "directory"])
def test_nobody_makes_it_write_elsewhere(place: Place, tmp_path: Path, attack: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    place.path.parent.mkdir()
    if attack == "symlink":
        place.path.symlink_to(victim)
    elif attack == "dangling symlink":
        place.path.symlink_to(tmp_path / "new")
    elif attack == "second name":
        os.link(victim, place.path)
    elif attack == "fifo":
        os.mkfifo(place.path)
    else:
        place.path.mkdir()
    place.log("first", tag="web")
    place.log("second", tag="web")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "new").exists()
    told = [(one["event"], one.get("what")) for one in place.told()]
    assert told == [("first", None), ("trouble", "events file"), ("second", None)], "the journal has all, and the trouble once"
    assert str(place.path) in place.told()[1]["reason"]
    (place.path.rmdir if attack == "directory" else place.path.unlink)()
    place.log("third")
    assert place.kept() == ["third"]


def test_a_symlink_put_in_place_of_the_open_file_is_not_followed(place: Place, tmp_path: Path) -> None:
    place.log("first")
    place.path.unlink()
    place.path.symlink_to(tmp_path / "elsewhere")
    place.log("second")
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_others_may_read_is_made_private(place: Place) -> None:
    place.path.parent.mkdir()
    place.path.touch(mode=0o644)
    place.path.chmod(0o644)
    place.log("first")
    assert place.path.stat().st_mode & 0o777 == 0o600


def test_threads_do_not_mix_their_lines(place: Place) -> None:
    writers = [threading.Thread(target=lambda name=name: [place.log(f"{name}-{n}", filling="x" * 500) for n in range(200)]) for name in "abcd"]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert sorted(place.kept()) == sorted(f"{name}-{n}" for name in "abcd" for n in range(200))


def test_nobody_reads_standard_output_any_more(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        log = EventLog("prod", "node-a", str(tmp_path / "events.jsonl"), stream=stream)
        log("first")
        log("second")
        assert len(lines((tmp_path / "events.jsonl").read_text())) == 2
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)


# --- notify ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def notify(log: Kept) -> Iterator[Callable[..., Notifier]]:
    made: list[Notifier] = []

    def build(*raw: dict[str, Any]) -> Notifier:
        one = Notifier(parse_reporting({"notify": list(raw)}, "checker.json").notify, log)
        one.start()
        made.append(one)
        return one

    yield build
    for one in made:
        one.stop(0.1)


def event(name: str, **facts: object) -> dict[str, object]:
    return {"time": "2026-11-22T12:00:00.000Z", "cluster": "prod", "node": "node-a", "event": name, **facts}


def test_a_command_gets_the_event_and_nothing_of_the_checkers_secrets(
    tmp_path: Path, notify: Callable[..., Notifier], log: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    out, variables = tmp_path / "out", tmp_path / "variables"
    one = notify({"command": ["/bin/sh", "-c", f"cat >> {out}; env > {variables}"]})
    one(event("fault", tag="web"))
    one(event("acquired", tag="web"))  # not among those that are noteworthy
    one(event("recovered", tag="web"))
    one.stop(20)
    assert [told["event"] for told in lines(out.read_text())] == ["fault", "recovered"]
    assert "hush" not in variables.read_text()
    assert log.names == []


def test_a_receiver_chooses_its_events(tmp_path: Path, notify: Callable[..., Notifier]) -> None:
    out = tmp_path / "out"
    one = notify({"command": ["/bin/sh", "-c", f"cat >> {out}"], "events": ["acquired"]})
    for name in ("fault", "acquired", "recovered"):
        one(event(name))
    one.stop(20)
    assert [told["event"] for told in lines(out.read_text())] == ["acquired"]


def test_a_command_that_hangs_holds_nobody_up_and_is_ended(tmp_path: Path, notify: Callable[..., Notifier], log: Kept) -> None:
    pids = tmp_path / "pids"
    hang = f"echo $$ >> {pids}; setsid sh -c 'trap \"\" TERM; echo $$ >> {pids}; while :; do sleep 1; done' & sleep 600"
    one = notify({"command": ["/bin/sh", "-c", hang], "timeout": 1})
    for number in range(500):
        one(event("fault", number=number))
    until(lambda: log.of("notify failed"), 30, "that it hangs was not told")
    (failure,) = log.of("notify failed")
    assert (failure["target"], failure["reason"]) == ("/bin/sh", "did not end within 1 s")
    first = [int(pid) for pid in pids.read_text().split()[:2]]
    assert [pid for pid in first if alive(pid)] == []
    until(lambda: len(pids.read_text().split()) >= 4, 30, "the next event was not told")
    assert len(log.of("notify failed")) == 1, "once is enough"


def test_a_failure_and_its_end_are_told_once(tmp_path: Path, notify: Callable[..., Notifier], log: Kept) -> None:
    flag, count = tmp_path / "flag", tmp_path / "count"
    one = notify({"command": ["/bin/sh", "-c", f"echo x >> {count}; test -e {flag} || {{ echo no flag; exit 3; }}"]})

    def has_run(times: int) -> bool:
        return count.exists() and len(count.read_text().split()) == times

    for expected in (1, 2):
        one(event("fault"))
        until(partial(has_run, expected), 30, "not run")
    until(lambda: log.names, 30, "the failure was not told")
    flag.touch()
    one(event("fault"))
    until(lambda: len(log.names) == 2, 30, "the end of the failure was not told")
    assert [(one["event"], one.get("reason")) for one in log.events] == [("notify failed", "ended with 3: no flag"), ("notify well", None)]
    for told in log.events:
        one(told)
    one.stop(20)
    assert len(count.read_text().split()) == 3, "what notify says of itself is not notified"


def test_a_webhook_gets_the_event_with_its_token(notify: Callable[..., Notifier], log: Kept, secret: Callable[[str], str]) -> None:
    with AwxServer(Controller(status=200)) as server:
        one = notify({"url": f"{server.url}/hook", "token_file": secret("hook-token-1")})
        one(event("fault", tag="web"))
        until(lambda: server.controller.requests, 20, "nothing was posted")
        assert server.controller.requests == [("POST", "/hook", event("fault", tag="web"))]
        assert server.controller.authorizations == ["Bearer hook-token-1"]
        server.controller.status = 500
        one(event("fault", tag="web"))
        until(lambda: log.names, 20, "the failure was not told")
    assert log.events == [{"event": "notify failed", "target": f"{server.url}/hook", "reason": "HTTP 500"}]


def test_a_webhook_that_is_mute(notify: Callable[..., Notifier], log: Kept) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        one = notify({"url": f"http://127.0.0.1:{mute.getsockname()[1]}", "timeout": 0.3})
        one(event("fault"))
        until(lambda: log.names, 20, "the failure was not told")
    assert log.events[0]["reason"].endswith("no reply within 0.3 s")


# --- metrics --------------------------------------------------------------------------------------------------------

STATUS: list[dict[str, Any]] = [
    {"tag": "web", "held": True, "epoch": 7, "expires_in": 6.5, "health": "failed", "in_service": True, "flapping": False},
    {"tag": "db", "held": False, "epoch": None, "expires_in": None, "health": None},
]


def samples(text: str) -> dict[str, float]:
    return {name: float(value) for name, _space, value in (line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#")}


def test_the_text_file_has_all_and_is_replaced_in_one_go(tmp_path: Path) -> None:
    path = tmp_path / "holdfast.prom"
    (tmp_path / "victim").write_text("precious")
    path.symlink_to(tmp_path / "victim")
    metrics = make_metrics(MetricsSettings(str(path), None), "prod", "node-a")
    metrics.check("web", "failed")
    metrics.check("web", "failed")
    metrics.recovery("web", True, 0.3)
    metrics.recovery("web", False, 20)
    metrics.outage("web", 1.5)
    metrics.start(lambda: STATUS)
    metrics.stop()
    assert (tmp_path / "victim").read_text() == "precious"
    assert not path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []
    found = samples(path.read_text())
    expected = {
        'holdfast_resource_health{health="failed",tag="web"}': 1,
        'holdfast_resource_health{health="healthy",tag="web"}': 0,
        'holdfast_resource_health{health="unknown",tag="db"}': 1,
        'holdfast_held{tag="web"}': 1,
        'holdfast_held{tag="db"}': 0,
        'holdfast_epoch{tag="web"}': 7,
        'holdfast_lease_expires_in_seconds{tag="web"}': 6.5,
        'holdfast_in_service{tag="web"}': 1,
        'holdfast_checks_total{result="failed",tag="web"}': 2,
        'holdfast_recoveries_total{result="ok",tag="web"}': 1,
        'holdfast_recoveries_total{result="failed",tag="web"}': 1,
        'holdfast_recovery_seconds_count{tag="web"}': 2,
        'holdfast_outage_seconds_sum{tag="web"}': 1.5,
        'holdfast_checker_info{cluster="prod",node="node-a"}': 1,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert 'holdfast_epoch{tag="db"}' not in found


def test_metrics_over_http(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    metrics = make_metrics(parse_reporting({"metrics": {"listen": f"127.0.0.1:{port}"}}, "c").metrics, "prod", "node-a")
    metrics.start(lambda: STATUS)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            assert samples(reply.read().decode())['holdfast_held{tag="web"}'] == 1
        with pytest.raises(HoldfastError, match=f"127.0.0.1:{port} cannot be used"):
            make_metrics(MetricsSettings(None, ("127.0.0.1", port)), "prod", "node-a").start(lambda: STATUS)
    finally:
        metrics.stop()


class Served:
    """Metrics that are served. ``asked``: how often the status was asked for. ``broken``: whether that fails."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log, self.asked, self.broken = Kept(), 0, False
        self._metrics = make_metrics(MetricsSettings(None, ("127.0.0.1", self.port)), "prod", "node-a", self.log)
        self._metrics.start(self._status)

    def _status(self) -> list[dict[str, Any]]:
        self.asked += 1
        return STATUS if not self.broken else [{"tag": "web", "held": Odd()}]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def ask(self, request: str) -> str:
        with self.connect() as line:
            line.sendall(request.encode())
            with line.makefile("rb") as reply:
                return reply.read().decode()

    def stop(self) -> None:
        self._metrics.stop()


class Odd(int):
    def __float__(self) -> float:
        raise RuntimeError("odd")


@pytest.fixture
def served() -> Iterator[Served]:
    server = Served()
    yield server
    server.stop()


GET = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def test_idle_connections_to_the_metrics_cost_little_and_keep_nobody_out(served: Served) -> None:
    before = threading.active_count()
    with contextlib.ExitStack() as opened:
        idle = [opened.enter_context(served.connect()) for _number in range(300)]
        for number, line in enumerate(idle):
            try:
                line.sendall(b"GET / HTTP/1.1\r\nX: " * (number % 2))
            except OSError:
                pass  # it has been closed
        begin = time.monotonic()
        assert 'holdfast_held{tag="web"} 1.0' in served.ask(GET)
        assert time.monotonic() - begin < 3
        assert threading.active_count() == before
        held = [number for number in os.listdir("/proc/self/fd") if _is_server_end(number, served.port)]
        assert len(held) <= 9, "the server holds more than 8 connections and its port"
        for line in idle:
            line.settimeout(10)
            assert _is_closed(line), "an idle connection was kept for longer than 10 s"


def _is_server_end(number: str, port: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(int(number))) as line:
            return line.family == socket.AF_INET and line.getsockname()[1] == port
    except OSError:
        return False


def _is_closed(line: socket.socket) -> bool:
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (GET, "200 OK"),
        ("GET / HTTP/1.0\r\n\r\n", "200 OK"),
        ("GET /metrics?name[]=x HTTP/1.1\r\n\r\n", "200 OK"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405 "),
        ("GET /etc/passwd HTTP/1.1\r\n\r\n", "404 "),
        ("\x16\x03\x01 nonsense\r\n\r\n", "400 "),
        ("x" * 20_000, ""),
    ],
)
def test_requests_for_metrics(served: Served, request_text: str, status: str) -> None:
    try:
        reply = served.ask(request_text)
    except ConnectionResetError:
        reply = ""
    assert reply.startswith(f"HTTP/1.1 {status}" if status else ""), reply
    assert bool(reply) == bool(status)
    assert ("holdfast_held" in reply) == (status == "200 OK")
    head = served.ask(GET.replace("GET", "HEAD"))
    assert (head[:15], "holdfast_held" in head) == ("HTTP/1.1 200 OK", False)


def test_metrics_are_made_once_a_second_at_most(served: Served) -> None:
    begin = time.monotonic()
    for _number in range(30):
        served.ask(GET)
    assert served.asked <= 1 + (time.monotonic() - begin)


def test_a_defect_in_the_metrics_is_told_and_ends_nothing(served: Served) -> None:
    served.broken = True
    assert served.ask(GET).startswith("HTTP/1.1 500 ")
    served.broken = False
    until(lambda: served.ask(GET).startswith("HTTP/1.1 200 "), 5, "the metrics did not come back")
    assert [(one["event"], one["thread"], one["cause"]) for one in served.log.events] == [("defect", "metrics http", "RuntimeError: odd")]


def test_calls_of_ec2_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = make_metrics(MetricsSettings("/nonexistent/x.prom", None), "prod", "node-a")
    counted: list[tuple[str, str]] = []
    monkeypatch.setattr(metrics, "ec2_call", lambda operation, result: counted.append((operation, result)))
    with ControlPlane() as plane:
        client = plane.client("ec2")
        metrics.watch_client(client)
        client.describe_route_tables()
        with pytest.raises(client.exceptions.ClientError):
            client.describe_route_tables(RouteTableIds=["rtb-0123456789abcdef0"])
    with pytest.raises(Exception, match="Could not connect"):
        client.describe_addresses()
    assert counted[:2] == [("DescribeRouteTables", "ok"), ("DescribeRouteTables", "InvalidRouteTableID.NotFound")]
    assert {one[1] for one in counted[2:]} == {"EndpointConnectionError"}


def test_without_metrics_nothing_is_needed_and_with_them_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert make_metrics(Reporting().metrics, "prod", "node-a").__class__ is Metrics
    with pytest.raises(BadInput, match="prometheus_client is missing; install it, or take metrics out"):
        make_metrics(MetricsSettings("/x.prom", None), "prod", "node-a")
