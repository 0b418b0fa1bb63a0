# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks failover, switchover and recover from a controller over SSH, with real packets and dependents that keep a diary."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from ansible_collections.holdfast.ha.tests.integration.failover.cluster import TAG, Cluster
from lab.control import Fault
from lab.faults import strike
from lab.prober import Report

TIMING = PROFILES["standard"]
#: A dependent: writes down what it is told, where, and whether the address is there at that moment.
_DIARY = """---
- name: Note it in the diary of the node
  ansible.builtin.shell: |
    echo {name} {{{{ holdfast_state }}}} $(hostname) $(ip -o addr show | grep -c ' {address} ') >> {folder}/diary
  changed_when: true
{more}
"""


def dependents(cluster: Cluster, folder: Path, **more: str) -> list[dict[str, Any]]:
    """Two of them, with more tasks by name."""
    made = []
    for name in ("first", "second"):
        path = folder / f"{name}.yml"
        path.write_text(_DIARY.format(name=name, folder=folder, address=cluster.lab.place.vip, more=more.get(name, "")))
        made.append({"name": name, "tasks": str(path)})
    return made


def never_two(report: Report) -> list[tuple[str, float, float]]:
    """Asserts that the nodes' times of answering do not overlap; returns the turns: node, first ask, last answer."""
    turns: list[tuple[str, float, float]] = []
    for answer in sorted(report.answers, key=lambda one: one.asked):
        if turns and turns[-1][0] == answer.node:
            turns[-1] = (answer.node, turns[-1][1], max(turns[-1][2], answer.answered))
        else:
            turns.append((answer.node, answer.asked, answer.answered))
    for (one, _begin, end), (other, begin, _end) in pairwise(turns):
        assert end <= begin, f"{one} still answered {end - begin:.3f} s after {other} had been asked"
    return turns


def test_switchover_and_back_under_a_client(cluster: Cluster, tmp_path: Path) -> None:
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.switch("node-a", tmp_path)
    cluster.all_on("node-a")
    (tmp_path / "diary").unlink()
    prober = cluster.lab.prober("client-c").start()
    prober.wait_until_answered(5, by="node-a")
    for node in ("node-b", "node-a"):
        cluster.switch(node, tmp_path)
        prober.wait_until_answered(5, by=node)
    report = prober.stop()
    cluster.all_on("node-a")
    turns = never_two(report)
    print("holder over time:", [(node, f"{end - begin:.1f} s") for node, begin, end in turns], "outages", [f"{one.ms:.0f} ms" for one in report.outages])
    assert [node for node, _begin, _end in turns] == ["node-a", "node-b", "node-a"]
    assert (tmp_path / "diary").read_text().splitlines() == [
        line
        for old, new in (("node-a", "node-b"), ("node-b", "node-a"))
        for line in (f"second stopped {old} 1", f"first stopped {old} 1", f"first started {new} 1", f"second started {new} 1")
    ]


def test_nothing_to_do_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    cluster.switch("node-a", tmp_path)
    cluster.lab.control.calls.reset()
    assert cluster.switch("node-a", tmp_path).changed == ()
    assert [call for call in cluster.lab.control.calls.mutating() if not call.action.endswith("Item")] == []


def test_the_active_node_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    """The standby waits for the lease, not for SSH; the run succeeds although one node cannot be reached."""
    a, b = cluster.lab.nodes
    cluster.switch("node-a", tmp_path)
    with cluster.lab.prober("client-c") as prober:
        prober.wait_until_answered(5, by="node-a")
        cluster.kill(a)
        killed = time.monotonic()
        run = cluster.play("failover", tmp_path, tag=TAG)
        assert run.status == 0, run.message or run.other
        back = prober.wait_until_answered(10, by="node-b", since=killed)
        report = prober.stop()
    assert [node for node, _begin, _end in never_two(report)] == ["node-a", "node-b"]
    assert not cluster.has_address(a)
    cluster.all_on("node-b")
    print(f"answered by node-b {back.answered - killed:.1f} s after the kill")


def test_the_killed_node_returns_and_leaves_the_resource_where_it_is(cluster: Cluster, tmp_path: Path) -> None:
    a, b = cluster.lab.nodes
    cluster.switch("node-a", tmp_path)
    cluster.checkers["node-a"].kill()
    assert not cluster.lease(b, wait=30)["failed"]
    cluster.switch("node-b", tmp_path)
    cluster.checkers["node-a"].start()
    time.sleep(2 * TIMING.poll)
    assert not cluster.has_address(a)
    assert cluster.holder() == "node-b"


def test_no_release_without_a_standby_that_is_ready(cluster: Cluster, tmp_path: Path) -> None:
    cluster.switch("node-a", tmp_path)
    cluster.checkers["node-b"].stop()
    epoch = cluster.record()
    run = cluster.play("failover", tmp_path, tag=TAG)
    assert run.status != 0
    assert "nothing was released (node-b: no checker watches the lease there)" in run.message
    cluster.all_on("node-a")
    after = cluster.record()
    assert epoch is not None
    assert after is not None
    assert after.epoch == epoch.epoch


def test_a_dependent_that_does_not_start(cluster: Cluster, tmp_path: Path) -> None:
    """The resource is released again, and not sent back and forth."""
    cluster.switch("node-a", tmp_path)
    broken = "- name: Break\n  ansible.builtin.fail:\n    msg: it does not start\n  when: holdfast_state == 'started'\n"
    cluster.resource["dependents"] = dependents(cluster, tmp_path, second=broken)
    run = cluster.play("switchover", tmp_path, tag=TAG, to="node-b")
    assert run.status != 0
    assert "could not be brought into service on node-b, and is now in service nowhere: the dependent second could not be started" in run.message
    assert cluster.where()["address"] == set()
    assert cluster.holder() == ""
    diary = (tmp_path / "diary").read_text().splitlines()
    assert diary[-4:] == ["first started node-b 1", "second started node-b 1", "second stopped node-b 1", "first stopped node-b 1"]


def test_a_dependent_that_does_not_stop_keeps_the_resource(cluster: Cluster, tmp_path: Path) -> None:
    cluster.switch("node-a", tmp_path)
    stuck = "- name: Stay\n  ansible.builtin.fail:\n    msg: it does not stop\n  when: holdfast_state == 'stopped'\n"
    cluster.resource["dependents"] = dependents(cluster, tmp_path, second=stuck)
    run = cluster.play("switchover", tmp_path, tag=TAG, to="node-b")
    assert run.status != 0
    assert any("the dependent second could not be stopped" in str(task.result.get("msg")) for task in run.failed)
    cluster.all_on("node-a")


def test_the_lease_is_lost_midway(cluster: Cluster, tmp_path: Path) -> None:
    """Taken by hand while a dependent starts: stopped and undone."""
    cluster.switch("node-a", tmp_path)
    wait = "- name: Lose the lease\n  ansible.builtin.wait_for:\n    path: /var/lib/holdfast/gone\n    timeout: 20\n  when: holdfast_state == 'started'\n"
    cluster.resource["dependents"] = dependents(cluster, tmp_path, second=wait)
    checker = cluster.checkers["node-b"]
    cluster.steal_when_serving("node-b")
    run = cluster.play("switchover", tmp_path, tag=TAG, to="node-b")
    assert run.status != 0
    assert checker.seen("lost")
    assert "could not be brought into service on node-b" in run.message
    assert cluster.where()["address"] == set()
    assert cluster.holder() == "node-x"


def test_fenced_by_the_source_dest_check(cluster: Cluster, tmp_path: Path) -> None:
    a, b = cluster.lab.nodes
    cluster.resource["fence"] = "source_dest_check"
    cluster.switch("node-a", tmp_path)
    cluster.kill(a)
    assert cluster.play("failover", tmp_path, tag=TAG).status == 0
    checks = {one.id: one.source_dest_check for one in cluster.lab.view.interfaces}
    assert (checks[a.place.interface("eth0").id], checks[b.place.interface("eth0").id]) == (True, False)


def test_recover_repairs_here_what_can_be_repaired(cluster: Cluster, tmp_path: Path) -> None:
    cluster.switch("node-a", tmp_path)
    epoch = cluster.record()
    for trouble in ("address-deleted", "forgotten-table"):
        strike(cluster.lab, trouble)
        run = cluster.play("recover", tmp_path)
        assert run.status == 0, run.message
        cluster.all_on("node-a")
    after = cluster.record()
    assert epoch is not None
    assert after is not None
    assert after.epoch == epoch.epoch


def test_recover_fails_over_when_both_interfaces_are_dead(cluster: Cluster, tmp_path: Path) -> None:
    """Over a management link the node could still be reached; here it cannot, so the lease has to run out."""
    a = cluster.lab.node_a
    cluster.switch("node-a", tmp_path)
    for interface in a.place.interfaces:
        cluster.lab.router.cut(interface.id)
    run = cluster.play("recover", tmp_path)
    assert run.status == 0, run.message or run.other
    cluster.all_on("node-b")


def test_recover_with_an_api_that_answers_nobody_stays_and_says_unknown(cluster: Cluster, tmp_path: Path) -> None:
    cluster.switch("node-a", tmp_path)
    epoch = cluster.record()
    cluster.lab.control.faults.inject(Fault("silent", "ec2:*"))
    run = cluster.play("recover", tmp_path)
    cluster.lab.control.faults.clear()
    assert run.status != 0
    assert "unknown, as EC2 answers no node" in run.message
    cluster.all_on("node-a")
    after = cluster.record()
    assert epoch is not None
    assert after is not None
    assert after.epoch == epoch.epoch
