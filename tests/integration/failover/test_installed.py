# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes of the VPC as an installation leaves them, and nobody who helps: what `make demo` shows at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.tests.integration.failover.cluster import CLUSTER, STORE, TAG, Cluster
from ansible_collections.holdfast.ha.tests.integration.failover.shared import MOVED, dependents, on_its_backup, switched_while_cut
from lab.installed import Installed

#: Seconds; a busy machine takes many times as long for a playbook as an idle one.
LONGEST = 240.0


@pytest.fixture
def log_of_runs(tmp_path: Path) -> Path:
    return tmp_path / "ansible.log"


@contextmanager
def installed(shared: Cluster, log_of_runs: Path, **more: Any) -> Iterator[Installed]:
    """The lease is for whoever is ready. ``more``: of the resource."""
    shared.reset(**more)
    shared.stop()
    key, old = f"{CLUSTER}/{TAG}", shared.record()
    assert old is not None
    assert shared.store.write(key, shared.store.read(key).token, replace(old, handoff_to="", nonce="free.1")) is not None
    shared.resource = {**shared.resource, "priority": {"node-a": 1, "node-b": 2}}
    with Installed(shared.lab, CLUSTER, STORE, shared.resource, "fast", {"ANSIBLE_LOG_PATH": str(log_of_runs)}) as running:
        yield running


@pytest.fixture
def both(shared: Cluster, log_of_runs: Path) -> Iterator[Installed]:
    with installed(shared, log_of_runs) as running:
        yield running


def until_all_stand_ready(both: Installed) -> None:
    """In service on node-a, and node-b would take it over at once."""
    both.until_in_service("node-a", LONGEST)
    both.until_ready("node-b", LONGEST)
    both.until_armed(LONGEST)


def test_the_active_node_is_killed_and_a_switchover_returns_the_service(both: Installed, shared: Cluster, log_of_runs: Path) -> None:
    until_all_stand_ready(both)
    shared.all_on("node-a")
    read = len(log_of_runs.read_text())
    with both.oracle():
        both.kill("node-a")
        both.until_in_service("node-b", LONGEST)
        shared.all_on("node-b")
        waited = log_of_runs.read_text()[read:].split("TASK [")[0]
        assert "changed: [localhost]" in waited, "the VPC did not follow by the task that had waited"
        both.bring_back("node-a")
        both.until_ready("node-a", LONGEST)
        shared.all_on("node-b")
        assert both.checkers["node-b"].ask("switchover", tag=TAG, to="node-a", wait=1)["ok"]
        both.until_in_service("node-a", LONGEST)
        shared.all_on("node-a")


def test_a_switchover_from_a_controller_leaves_the_rest_to_the_standby_s_own_run(shared: Cluster, log_of_runs: Path, tmp_path: Path) -> None:
    """It stands ready, so it is faster than the next task over SSH; and what depends on the address is started by one of the two alone."""
    with installed(shared, log_of_runs, dependents=dependents(shared, tmp_path)) as both:
        until_all_stand_ready(both)
        diary = tmp_path / "diary"
        diary.write_text("")
        with both.oracle():
            run = shared.play("switchover", tmp_path, tag=TAG, to="node-b")
        assert run.status == 0, run.message or run.other
        shared.all_on("node-b")
        assert diary.read_text().splitlines() == MOVED
        b = both.checkers["node-b"]
        (took,) = b.seen("takeover")
        assert took["ok"]
        assert [(one["ok"], one["playbook"]) for one in b.seen("run ended")] == [(True, "recover")]
        assert [one["armed"] for one in b.seen("run started")] == [True]
        both.until_ready("node-a", LONGEST)
        again = shared.play("switchover", tmp_path, tag=TAG, to="node-b")
        assert again.status == 0, again.message or again.other


def test_what_the_standby_s_own_run_could_not_start_is_told_by_the_controller_s(shared: Cluster, log_of_runs: Path, tmp_path: Path) -> None:
    """The second dependent works on node-a alone. It is in service nowhere then, and waits for a person."""
    here = "- name: Work on one node alone\n  ansible.builtin.command: test {{ holdfast_node }} = node-a\n  when: holdfast_state == 'started'\n"
    with installed(shared, log_of_runs, dependents=dependents(shared, tmp_path, second=here)) as both:
        until_all_stand_ready(both)
        with both.oracle():
            run = shared.play("switchover", tmp_path, tag=TAG, to="node-b")
        assert run.status != 0
        assert "web could not be brought into service on node-b, and is now in service nowhere: " in run.message
        assert "second" in run.message
        record = shared.record()
        assert record is not None
        assert (record.holder, record.handoff_to) == ("", "-")
        assert shared.where()["address"] == set()


def test_a_link_that_dies_on_the_way_to_a_standby_that_takes_over_by_itself(shared: Cluster, log_of_runs: Path, tmp_path: Path) -> None:
    """Its own run has found the other interface; the controller's goes by that, and not by what it saw before."""
    b = shared.lab.node_b
    with installed(shared, log_of_runs) as both, shared.management_link(b) as way:
        until_all_stand_ready(both)
        with both.oracle():
            run = switched_while_cut(shared, tmp_path, way, "eth0")
        assert run.status == 0, run.message or run.other
        on_its_backup(shared, b)
