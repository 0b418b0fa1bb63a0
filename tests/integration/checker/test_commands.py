# SPDX-License-Identifier: GPL-3.0-or-later
"""The command holdfast, the modules checker_info and checker_maintenance and their playbooks, with a checker that serves."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from lab.playbook import HERE, PlaybookRun, run_playbook
from lab.waiting import until

from .small import CLUSTER, HOST, NAME, STORE, TAG, WEB, SmallNode

#: Longer than any lease of this profile.
PAST_A_LEASE = 6.0


@pytest.fixture(scope="module")
def watched(small: SmallNode) -> SmallNode:
    """With a backup interface, and a checker that serves."""
    small.reset(backup_interface="eth1")
    return small


def play(small: SmallNode, name: str, inventory: str | Path = HERE, **variables: Any) -> PlaybookRun:
    """A playbook on the node itself."""
    shared = {
        "holdfast_cluster": CLUSTER,
        "holdfast_store": STORE,
        "holdfast_node": NAME,
        "holdfast_resources": [{**WEB, "backup_interface": "eth1"}],
    }
    return run_playbook(name, {**shared, **variables}, where=small.namespace, environment=small.environment, inventory=inventory)


def paused(small: SmallNode) -> bool:
    return bool(small.ask("status", tag=TAG)["paused"])


def test_status(watched: SmallNode) -> None:
    done = watched.call("holdfast", "status")
    assert (done.returncode, done.stderr) == (0, "")
    header, row = [line for line in done.stdout.splitlines() if line][1:]
    assert header.split()[:4] == ["RESOURCE", "STATE", "CHECKER", "HOLDER"]
    epoch = watched.ask("status", tag=TAG)["epoch"]
    for cell in (TAG, "HEALTHY", "watching", "node-a (here)", str(epoch), f"{HOST}/22", "eth0 (up)", "eth1"):
        assert f"{cell}  " in row, cell
    reply = json.loads(watched.call("holdfast", "status", "--json").stdout)
    assert (reply["cluster"], reply["node"]) == (CLUSTER, NAME)
    (one,) = reply["resources"]
    assert (one["tag"], one["health"], one["role"], one["interface"], one["interface_up"]) == (TAG, "healthy", "active", "eth0", True)


def test_check(watched: SmallNode) -> None:
    done = watched.call("holdfast", "check", TAG)
    assert (done.returncode, done.stderr) == (0, "")
    assert "HEALTHY" in done.stdout
    assert watched.call("holdfast", "check", "mail").returncode == 1


def test_what_the_checker_refuses_is_one_line(watched: SmallNode) -> None:
    """There is no trigger here that could run anything."""
    for words in (("recover", TAG), ("switchover", TAG, "--to", "node-b")):
        done = watched.call("holdfast", *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert "no trigger is set" in done.stderr


def test_backup(watched: SmallNode) -> None:
    shown = watched.call("holdfast", "backup", "show", TAG)
    assert shown.stdout.splitlines()[-1] == "Backup interface: eth1"
    for op, status in (("remove", 0), ("remove", 0), ("add", 0), ("add", 0)):  # as often as one likes
        assert watched.call("holdfast", "backup", op, TAG, "eth1").returncode == status
    assert watched.call("holdfast", "backup", "add", TAG, "eth9").returncode == 1
    assert watched.recorded() == ("eth0", "eth1")


def test_paused_nothing_is_repaired_and_the_lease_is_renewed(watched: SmallNode) -> None:
    checker = watched.checker
    assert checker is not None
    try:
        assert watched.call("holdfast", "pause").returncode == 0
        assert paused(watched)
        assert "paused" in watched.call("holdfast", "status").stdout
        watched.run("ip", "addr", "del", f"{HOST}/22", "dev", "eth0")
        until(lambda: watched.ask("status", tag=TAG)["health"] == "failed", 20, "it was not noticed")
        told = watched.call("holdfast", "status").stdout
        assert "FAILED" in told
        assert f"holdfast resume {TAG}" in told
        done = watched.call("holdfast", "check")
        assert done.returncode == 1
        end = time.monotonic() + PAST_A_LEASE
        while time.monotonic() < end:
            assert watched.places() == {}, "it was repaired"
            time.sleep(0.2)
        status = watched.ask("status", tag=TAG)
        assert (status["held"], status["paused"]) == (True, True)
        assert not checker.seen("reflex")
    finally:
        assert watched.call("holdfast", "resume", TAG).returncode == 0
    until(lambda: list(watched.places()) == ["eth0"], 30, "it was not repaired after the pause")
    until(lambda: watched.ask("status", tag=TAG)["health"] == "healthy", 30, "it is not healthy")
    assert "took" in watched.call("holdfast", "status").stdout, "the repair does not show"


def test_a_pause_outlives_the_checker(watched: SmallNode) -> None:
    checker = watched.checker
    assert checker is not None
    watched.call("holdfast", "pause", TAG)
    try:
        checker.kill()
        checker.start()
        assert paused(watched)
    finally:
        watched.call("holdfast", "resume", TAG)
    assert not paused(watched)
    until(lambda: watched.ask("status", tag=TAG)["serving"], 30, "it does not serve any more")


@pytest.mark.python39
def test_the_modules(watched: SmallNode) -> None:
    info = watched.module("checker_info")
    assert (info["failed"], info["changed"], info["running"]) == (False, False, True)
    assert [one["tag"] for one in info["status"]["resources"]] == [TAG]
    assert watched.module("checker_info", tag="mail")["status"]["resources"] == []
    foreseen = watched.module("checker_maintenance", check=True, state="paused")
    assert (foreseen["changed"], paused(watched)) == (True, False)
    real = watched.module("checker_maintenance", state="paused")
    assert (real["changed"], real["diff"], real["resources"]) == (True, foreseen["diff"], [{"tag": TAG, "paused": True}])
    assert paused(watched)
    for check in (True, False):
        assert watched.module("checker_maintenance", check=check, state="paused", tag=TAG)["changed"] is False
    back = watched.module("checker_maintenance", state="resumed", tag=TAG)
    assert (back["changed"], paused(watched)) == (True, False)
    assert "watches no resource mail" in watched.module("checker_maintenance", state="paused", tag="mail")["msg"]


def test_the_playbook_maintenance(watched: SmallNode) -> None:
    run = play(watched, "maintenance", state="paused")
    assert (run.status, len(run.changed), paused(watched)) == (0, 1, True), run.message
    assert play(watched, "maintenance", state="paused", tag=TAG).changed == ()
    run = play(watched, "maintenance", state="resumed", tag=TAG)
    assert (run.status, len(run.changed), paused(watched)) == (0, 1, False), run.message
    assert "Say what to do" in play(watched, "maintenance").message


def told(run: PlaybookRun) -> list[str]:
    """The lines that the playbook status shows."""
    assert (run.status, run.changed) == (0, ()), run.message or run.other
    (shown,) = [task for task in run.tasks if task.task == "Show the status of all nodes" and task.outcome == "ok"]
    lines: list[str] = shown.result["msg"]
    return lines


def test_the_playbook_status_asks_the_checker(watched: SmallNode) -> None:
    header, row = told(play(watched, "status"))
    assert "HOLDER" in header
    assert row.split()[:5] == [TAG, NAME, "yes", "watching", NAME]
    assert row.endswith("healthy")


def test_a_node_that_does_not_answer_is_named(watched: SmallNode, tmp_path: Path) -> None:
    watched.run("ip", "route", "replace", "unreachable", "192.0.2.7")
    hosts = {NAME: {"ansible_connection": "local"}, "node-x": {"ansible_host": "192.0.2.7"}}
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    run = play(watched, "status", inventory=tmp_path / "inventory.json")
    (shown,) = [task for task in run.tasks if task.task == "Show the status of all nodes" and task.outcome == "ok"]
    _header, row, silent = shown.result["msg"]
    assert row.split()[:2] == [TAG, NAME]
    assert silent == "node-x could not be asked"


def test_without_a_checker(watched: SmallNode) -> None:
    """The playbook looks for itself, and the command says that nobody watches."""
    watched.stop_checker()
    try:
        header, row = told(play(watched, "status"))
        assert "HOLDER" not in header
        assert row.split()[:2] == [TAG, NAME]
        done = watched.call("holdfast", "status")
        assert done.returncode == 1
        assert "no checker runs on this host" in done.stderr
        assert "NO CHECKER RUNS ON THIS NODE" in done.stdout
        assert f"{HOST}/22" in done.stdout
        assert watched.module("checker_info") | {"invocation": None} == {"changed": False, "failed": False, "running": False, "status": None} | {
            "invocation": None
        }
        assert "no checker runs on this host" in watched.module("checker_maintenance", state="paused")["msg"]
        assert "no checker runs" in watched.call("holdfast", "check").stderr
    finally:
        checker = watched.checker
        assert checker is not None
        checker.start()
