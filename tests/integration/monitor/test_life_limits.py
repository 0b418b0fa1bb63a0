# SPDX-License-Identifier: GPL-3.0-or-later
"""On nodes that boot: what asks whom to recover, and what must not happen. It goes on where test_life.py has left the cluster.

The recovery is a program that does as it is told: it hangs, fails, or is the playbook. Before it two controllers are asked, of which one is down.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import EVENTS, TAG, UNIT, Installed, since_now
from lab.awx import TOKEN, AwxServer, Controller, certificate_of
from lab.booted import BootedNode
from lab.faults import strike
from lab.router import API_ADDRESS
from lab.waiting import throughout, until

#: Seconds that a recovery may take.
TIMEOUT = 20
_PROGRAM, _ORDERS, _CA = "/usr/local/sbin/recovery", "/etc/recovery", "/etc/ssl/controller.pem"
_SETTINGS, _TOKEN_FILE = "/etc/holdfast/checker.json", "/etc/holdfast/secrets/awx"
_HANGING = "sleep 321"
_RECOVERY = f"""#!/bin/sh
case $(cat {_ORDERS}) in
hang) {_HANGING} & wait;;
fail) echo 'ERROR! it was told to fail'; exit 1;;
*) exec /opt/holdfast/bin/ansible-playbook "$@";;
esac
"""
#: How a controller refuses, and what the checker says of it.
REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"status": 401}, "HTTP 401: it does not accept the token"),
    ({"launch_status": 403}, "HTTP 403: the token's user may not do this"),
    ({"templates": {}}, "HTTP 404: there is no such thing"),
    ({"launch_status": 429, "retry_after": "60"}, "HTTP 429: it is asked too often"),
    ({"slow": 300.0}, "no reply within 10 s"),
]


def recovery(cluster: Installed, order: str) -> None:
    """What the program is to do on every node from now on."""
    for node in cluster.nodes:
        node.run("sh", "-c", f"cat > {_ORDERS}", input=order)


def reconfigure(cluster: Installed, **settings: Any) -> dict[str, str]:
    """Have every checker go by its configuration with these settings in it; the configurations before, by node."""
    before = {}
    for node in cluster.nodes:
        before[node.name] = node.run("cat", _SETTINGS).stdout
        write(cluster, node, json.dumps({**json.loads(before[node.name]), **settings}))
    return before


def write(cluster: Installed, node: BootedNode, text: str) -> None:
    """The checker goes by this configuration now."""
    begin = since_now()
    node.run("sh", "-euc", f"umask 077; cat > {_SETTINGS}; systemctl reload {UNIT}", input=text)
    cluster.wait_told(node, begin, "reloaded")


@pytest.fixture(scope="module")
def controller(cluster: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """The controller, and checkers that have been told of it; at the end they are as they were."""
    cluster.reset()
    secrets, made = cluster.variables["monitor_secrets"], Controller()
    certificate, key = certificate_of(tmp_path_factory.mktemp("tls"), f"IP:{API_ADDRESS}")
    for node in cluster.nodes:
        node.run("install", "-m", "0755", "/dev/stdin", _PROGRAM, input=_RECOVERY)
        node.run("install", "-m", "0644", "/dev/stdin", _CA, input=certificate.read_text())
        node.run("install", "-m", "0600", "/dev/stdin", _TOKEN_FILE, input=TOKEN)
    recovery(cluster, "recover")
    listener = cluster.lab.router.namespace.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((API_ADDRESS, 0))
    with AwxServer(made, certificate=certificate, key=key, listener=listener, name=API_ADDRESS) as server:
        awx = {"type": "awx", "url": server.url, "job_template": 7, "token_file": _TOKEN_FILE, "ca_cert": _CA, "poll": 0.2}
        program = {"type": "playbook", "command": _PROGRAM, "variables": "/etc/holdfast/variables.json", "timeout": TIMEOUT}
        triggers = [{**awx, "url": f"https://{API_ADDRESS}:9"}, awx, program]
        cluster.variables["monitor_secrets"] = {"awx": TOKEN}
        before = reconfigure(cluster, triggers=triggers, checks={**cluster.variables["monitor_checks"], "backoff_max": 1})
        yield made
        cluster.variables["monitor_secrets"] = secrets
        cluster.reset()
        for node in cluster.nodes:
            write(cluster, node, before[node.name])


@pytest.fixture(autouse=True)
def well(cluster: Installed, controller: Controller) -> str:
    """All is well, the controller has trouble of its own, and the program is the playbook; the node that it is on."""
    behave(controller, status=503)
    recovery(cluster, "recover")
    return cluster.reset()


def behave(controller: Controller, **changes: Any) -> None:
    """So and not otherwise, from now on; what it was asked is kept."""
    fresh = replace(Controller(), **changes)
    for name in ("status", "launch_status", "templates", "retry_after", "slow", "course"):
        setattr(controller, name, getattr(fresh, name))


def begun(cluster: Installed, node: BootedNode, since: float) -> list[dict[str, Any]]:
    """The runs of the program that its checker has begun."""
    return [one for one in cluster.events(node, since) if one["event"] == "run started" and one["trigger"] == "playbook"]


def test_a_controller_is_asked_first_and_the_next_one_where_it_refuses(cluster: Installed, controller: Controller, well: str) -> None:
    """The next one fails too, which is told and tried again, ever later; until the controller's job repairs it."""
    node, record, begin = cluster.node(well), cluster.record(), since_now()
    recovery(cluster, "fail")
    print(strike(cluster.lab, "wrong-route"))
    for changes, told in REFUSALS:
        behave(controller, **changes)
        rest = ("run ended: it was told to fail", "backing off")
        cluster.wait_told(node, since_now(), "trigger failed: Connection refused", f"trigger failed: {told}", *rest)
    pauses = [one["failures"] for one in cluster.events(node, begin) if one["event"] == "backing off"]
    assert pauses == sorted(set(pauses)), "failures are counted up"
    since = since_now()
    behave(controller, course=("running",))
    job = until(lambda: max(controller.looks, default=0), 30, "no job is launched")
    assert controller.given[job]["tag"] == TAG
    run = cluster.play("recover", tag=TAG)  # as the controller's job would
    assert run.status == 0, run.message or run.other
    controller.course = ("successful",)
    cluster.wait_told(node, since, 'run started: "trigger": "awx"', 'run ended: "trigger": "awx", "playbook": "recover", "ok": true')
    cluster.wait_settled(well)
    cluster.stays(record)
    assert set(controller.authorizations) == {f"Bearer {TOKEN}"}
    processes = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ /proc/[0-9]*/comm 2>/dev/null | tr '\\0' '\\n'"
    shown = node.run("sh", "-c", f"journalctl -u {UNIT}; cat {EVENTS} /etc/holdfast/checker.json; {processes}; true").stdout
    assert "wrong-route" in shown or "leads to eni-" in shown, "it was not looked at"
    assert TOKEN not in shown


def test_a_recovery_that_hangs_is_ended_with_its_children(cluster: Installed, well: str) -> None:
    node, begin = cluster.node(well), since_now()
    recovery(cluster, "hang")
    print(strike(cluster.lab, "wrong-route"))
    cluster.wait_told(node, begin, 'run started: "trigger": "playbook"')
    until(lambda: node.run("pgrep", "-f", _HANGING, check=False).stdout, 10, "it does not hang")
    recovery(cluster, "recover")
    cluster.wait_told(node, begin, f"run killed: it did not end within {TIMEOUT} s", "run ended", 'run started: "trigger": "playbook"')
    assert node.run("pgrep", "-f", _HANGING, check=False).stdout == ""
    cluster.wait_settled(well)


@contextmanager
def resumed_at_the_end(cluster: Installed) -> Iterator[None]:
    """Also where the test has failed, for the tests after it."""
    try:
        yield
    finally:
        for node in cluster.nodes:
            node.run("holdfast", "resume", TAG, check=False)


def test_in_maintenance_nothing_is_done_and_all_is_told(cluster: Installed, well: str) -> None:
    node = cluster.node(well)
    paused = cluster.play("maintenance", state="paused")
    assert paused.status == 0, paused.message
    begin, record = since_now(), cluster.record()
    with cluster.oracle(), resumed_at_the_end(cluster):
        for fault in ("wrong-route", "address-deleted"):
            print(strike(cluster.lab, fault))
        until(lambda: {"address", "routes"} <= set(cluster.status(node).get("faults", ())), 30, "the faults are not seen")
        told = cluster.status(node)
        assert (told["health"], told["phase"], told["held"]) == ("failed", "paused", True)
        throughout(lambda: not cluster.places(), 3, "the address was put back")
        assert {one["event"] for one in cluster.events(node, begin)} <= {"fault", "drift", "trouble"}, cluster.story()
        table = node.run("holdfast", "status").stdout
        assert f"nothing is repaired while it is paused; end that with: holdfast resume {TAG}" in table, table
        resumed = cluster.play("maintenance", state="resumed")
        assert resumed.status == 0, resumed.message
        cluster.wait_settled(well)
    cluster.stays(record)


def test_a_fault_and_a_person_at_once_are_one_run(cluster: Installed, well: str) -> None:
    node, begin = cluster.node(well), since_now()
    print(strike(cluster.lab, "wrong-route"))
    cluster.wait_told(node, begin, 'run started: "trigger": "playbook"')
    answer = node.run("holdfast", "recover", TAG, timeout=120)
    assert TAG in answer.stdout
    cluster.wait_settled(well)
    until(lambda: cluster.is_quiet(well), 60, "it is not at rest")
    assert len(begun(cluster, node, begin)) == 1, cluster.story()


_SAY = """
import socket, sys
line = socket.socket(socket.AF_UNIX)
line.settimeout(30)
line.connect("/run/holdfast/checker.sock")
line.sendall(sys.stdin.buffer.read())
line.shutdown(socket.SHUT_WR)
print(line.makefile().read())
"""


def test_its_socket_and_files_are_for_root(cluster: Installed, well: str) -> None:
    node, pid, place = cluster.node(well), cluster.pid(cluster.node(well)), cluster.places()
    modes = node.run("stat", "-c", "%a %U %F", "/run/holdfast", "/run/holdfast/checker.sock", "/var/lib/holdfast", "/etc/holdfast/secrets/awx").stdout
    assert modes.splitlines() == ["700 root directory", "600 root socket", "700 root directory", "600 root regular file"]
    nobody = ("runuser", "-u", "nobody", "--")
    for words in (("status",), ("recover", TAG), ("pause", TAG), ("switchover", TAG, "--to", cluster.other(well))):
        refused = node.run(*nobody, "holdfast", *words, check=False)
        assert (refused.returncode, refused.stdout) == (1, ""), words
        assert "root" in refused.stderr, refused.stderr
    for folder in ("/run/holdfast", "/var/lib/holdfast", "/etc/holdfast", "/etc/holdfast/resources", "/var/log/holdfast"):
        assert node.run(*nobody, "ln", "-s", "/etc/shadow", f"{folder}/trap", check=False).returncode != 0, folder
    for nonsense in ('{"op": "release"', '["release"]', '{"op": "sell", "tag": "web"}', '{"op": "pause", "tag": "../web"}', "\0" * 1000, ""):
        reply = node.run("/opt/holdfast/venv/bin/python", "-I", "-c", _SAY, input=nonsense + "\n").stdout
        assert json.loads(reply)["ok"] is False, nonsense[:20]
    assert (cluster.pid(node), cluster.places(), cluster.status(node)["paused"]) == (pid, place, False)


def test_a_state_file_that_is_a_link_is_neither_followed_nor_replaced(cluster: Installed, well: str) -> None:
    standby = cluster.node(cluster.other(well))
    path, victim = f"/var/lib/holdfast/{TAG}.json", "/etc/victim"
    kept = standby.run("cat", path, check=False).stdout  # there may be none
    try:
        standby.run("ln", "-sf", "/etc/nowhere", path)
        until(lambda: "symbolic link" in cluster.status(standby).get("ready_reason", ""), 30, "one that leads nowhere is taken for none")
        standby.run("sh", "-euc", f"echo untouched > {victim}; ln -sf {victim} {path}")
        until(lambda: "symbolic link" in cluster.status(standby).get("ready_reason", ""), 30, "it counts as ready")
        shown = standby.run("lkipbu", "-s", "-t", TAG, check=False)
        assert (shown.returncode, shown.stdout) == (1, "")
        assert "symbolic link" in shown.stderr
        assert standby.run("cat", victim).stdout == "untouched\n"
        assert standby.run("readlink", path).stdout.strip() == victim
    finally:
        standby.run("rm", "-f", path, victim)
        if kept:
            standby.run("install", "-m", "0600", "/dev/stdin", path, input=kept)
    until(lambda: cluster.status(standby).get("ready"), 30, "it is not ready again")


@pytest.mark.parametrize("seconds", [pytest.param(65, marks=pytest.mark.long), 20])
def test_flapping_at_one_hertz_moves_it_once_a_minute_at_most(cluster: Installed, well: str, seconds: float) -> None:
    """Wherever it is, it goes every second. The checks are those that an installation has by default."""
    before = reconfigure(cluster, checks={"interval": 0.5, "deep_interval": 2, "grace": 0.5})
    try:
        holders = [cluster.holder()]
        with cluster.oracle():
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                for node in cluster.nodes:
                    node.drop(cluster.lab.place.vip)
                time.sleep(1)  # at one hertz
                holder = cluster.holder()
                if holder and holder != holders[-1]:
                    holders.append(holder)
        assert len(holders) <= 2, f"it moved within {seconds:g} s: {holders}\n{cluster.story()}"
    finally:
        for node in cluster.nodes:
            write(cluster, node, before[node.name])
