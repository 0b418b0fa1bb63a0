# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks failover, switchover and recover from a controller over SSH, with real packets and dependents that keep a diary."""

from __future__ import annotations

import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from ansible_collections.holdfast.ha.tests.integration.failover.cluster import STORE, TAG, Cluster
from harness.module import run_module
from lab.control import Fault
from lab.faults import strike
from lab.forwarding import router_address
from lab.node import Node
from lab.oracle import TwoHolders
from lab.playbook import run_playbook
from lab.prober import Report
from lab.rights import NODE_RIGHTS
from lab.vpc import ROLE
from lab.waiting import until

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


#: What the dependents write when the resource moves from node-a to node-b: stopped in reverse, started in order.
MOVED = ["second stopped node-a 1", "first stopped node-a 1", "first started node-b 1", "second started node-b 1"]


def never_two(report: Report) -> list[tuple[str, float, float]]:
    """Asserts that the nodes' times of answering do not overlap; returns the turns: node, first ask, last answer."""
    turns: list[tuple[str, float, float]] = []
    for answer in sorted(report.answers, key=lambda one: one.asked):
        if turns and turns[-1][0] == answer.node:
            turns[-1] = (answer.node, turns[-1][1], max(turns[-1][2], answer.answered))
        else:
            turns.append((answer.node, answer.asked, answer.answered))
    for (one, _begin, end), (other, begin, _end) in pairwise(turns):
        if end > begin:
            raise TwoHolders(f"{one} still answered {end - begin:.3f} s after {other} had been asked")
    return turns


def instances(cluster: Cluster) -> dict[str, str]:
    """The inventory's `holdfast_instances`."""
    return {node.name: node.place.instance_id for node in cluster.lab.nodes}


def epoch(cluster: Cluster) -> int:
    record = cluster.record()
    assert record is not None
    return record.epoch


def test_switchover_and_back_under_a_client(cluster: Cluster, tmp_path: Path) -> None:
    moves = ("node-b", "node-a") * 2
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.place_on(cluster.lab.node_a)
    with cluster.oracle() as oracle, cluster.lab.prober("client-c") as prober:
        prober.wait_until_answered(5, by="node-a")
        for node in moves:
            run = cluster.switch(node, tmp_path)
            prober.wait_until_answered(5, by=node)
            assert not run.failed
        report, verdict = prober.stop(), oracle.stop()
    assert len({one.epoch for one in verdict.tenures if one.node}) == 1 + len(moves)  # and that they rise the oracle has seen
    cluster.all_on("node-a")
    turns = never_two(report)
    print("holder over time:", [(node, f"{end - begin:.1f} s") for node, begin, end in turns])
    print("outages", [f"{one.ms:.0f} ms" for one in report.outages])
    assert [node for node, _begin, _end in turns] == ["node-a", *moves]
    assert (tmp_path / "diary").read_text().splitlines() == [
        line
        for old, new in pairwise(("node-a", *moves))
        for line in (f"second stopped {old} 1", f"first stopped {old} 1", f"first started {new} 1", f"second started {new} 1")
    ]
    for name, served in (("node-a", True), ("node-b", False)):
        seen = cluster.module_of(cluster.lab.machines[name], "ip_resource_info")["resources"][0]
        assert (seen["recorded"], seen["lease"]["held"], seen["health"]) == (served, served, "healthy")
    cluster.resource["dependents"] = []
    cluster.lab.control.calls.reset()
    assert cluster.switch("node-a", tmp_path).changed == (), "there was nothing to do"
    assert [call for call in cluster.lab.control.calls.mutating() if not call.action.endswith("Item")] == []


@pytest.mark.parametrize("fence", ["source_dest_check", "stop_instance"])
def test_the_active_node_is_killed_and_fenced(cluster: Cluster, tmp_path: Path, fence: str) -> None:
    """The standby waits for the lease, not for SSH; the run succeeds although one node cannot be reached."""
    a, b = cluster.lab.nodes
    cluster.resource["fence"] = fence
    cluster.place_on(a)
    with cluster.lab.prober("client-c") as prober:
        prober.wait_until_answered(5, by="node-a")
        cluster.kill(a)
        killed = time.monotonic()
        run = cluster.play("failover", tmp_path, tag=TAG, holdfast_instances=instances(cluster))
        assert run.status == 0, run.message or run.other
        back = prober.wait_until_answered(10, by="node-b", since=killed)
        report = prober.stop()
    try:
        assert [node for node, _begin, _end in never_two(report)] == ["node-a", "node-b"]
        assert not cluster.has_address(a)
        cluster.all_on("node-b")
        print(f"answered by node-b {back.answered - killed:.1f} s after the kill")
        checks = {one.id: one.source_dest_check for one in cluster.lab.view.interfaces}
        states = {one.id: one.state for one in cluster.lab.control.snapshot(cluster.lab.place.vpc_id).instances}
        off = (states[a.place.instance_id], states[b.place.instance_id])
        on = (checks[a.place.interface("eth0").id], checks[b.place.interface("eth0").id])
        assert (on, off) == (((True, False), ("running", "running")) if fence == "source_dest_check" else ((False, False), ("stopped", "running")))
    finally:
        cluster.start_instances()


def test_a_fence_that_fails_keeps_the_address_down(cluster: Cluster, tmp_path: Path) -> None:
    """And a node does not stop itself."""
    a, b = cluster.lab.nodes
    own = run_module("ec2_instance_stop", {"instance_id": b.place.instance_id}, where=b.namespace, env=dict(b.environment))
    assert "does not stop itself" in own["msg"]
    cluster.resource["fence"] = "stop_instance"
    cluster.place_on(a)
    cluster.lab.control.faults.inject(Fault("deny", "StopInstances"))
    cluster.kill(a)
    run = cluster.play("failover", tmp_path, tag=TAG, holdfast_instances=instances(cluster))
    assert run.status != 0
    assert "could not be brought into service on node-b" in run.message
    assert "ec2:StopInstances" in run.message
    assert not cluster.checkers["node-b"].seen("serve"), "the address was up before the fence"
    assert cluster.where()["address"] == set()
    record = cluster.record()
    assert record is not None
    assert (record.holder, record.handoff_to) == ("", NOBODY)


def test_the_killed_node_returns_and_leaves_the_resource_where_it_is(cluster: Cluster) -> None:
    a, b = cluster.lab.nodes
    cluster.put_in_service(a)
    cluster.checkers["node-a"].kill()
    cluster.put_in_service_after(b, 30)
    cluster.checkers["node-a"].start()
    until(lambda: cluster.module_of(a, "ip_resource_info")["resources"][0]["lease"]["holder"] == "node-b", 10, "node-a did not look")
    assert not cluster.has_address(a)
    assert cluster.holder() == "node-b"


def test_no_release_without_a_standby_that_is_ready(cluster: Cluster, tmp_path: Path) -> None:
    cluster.place_on(cluster.lab.node_a)
    cluster.checkers["node-b"].stop()
    before = epoch(cluster)
    run = cluster.play("failover", tmp_path, tag=TAG)
    assert run.status != 0
    assert "nothing was released (node-b: no checker watches the lease there)" in run.message
    unknown = cluster.play("switchover", tmp_path, tag=TAG, to="node-z")
    assert "nothing was released (node-z cannot be reached, or is not in this run)" in unknown.message
    cluster.all_on("node-a")
    assert epoch(cluster) == before


def test_a_standby_that_cannot_prepare_is_released_to_by_nobody(cluster: Cluster, tmp_path: Path) -> None:
    """It looked ready, and then EC2 denied it what it has to change before."""
    b = cluster.lab.node_b
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.place_on(cluster.lab.node_a)
    before = epoch(cluster)
    for interface in b.place.interfaces:
        cluster.lab.control.faults.inject(Fault("deny", "ModifyNetworkInterfaceAttribute", source=interface.address))
    run = cluster.play("switchover", tmp_path, tag=TAG, to="node-b")
    assert run.status != 0
    assert "node-b could not prepare for web, so nothing was released; see its error above" in run.message
    assert any("ec2:ModifyNetworkInterfaceAttribute" in str(task.result.get("msg")) for task in run.failed if task.host == "node-b")
    assert not (tmp_path / "diary").exists(), "a dependent was stopped"
    cluster.all_on("node-a")
    assert epoch(cluster) == before


def test_a_dependent_that_does_not_start(cluster: Cluster, tmp_path: Path) -> None:
    """It hangs, and is ended in time. The resource is released again, is not sent back and forth, and waits for a person, who may have it at once."""
    cluster.place_on(cluster.lab.node_a)
    stuck = "- name: Hang\n  ansible.builtin.command: sleep 600\n  changed_when: false\n  when: holdfast_state == 'started'\n"
    made = dependents(cluster, tmp_path, second=stuck)
    cluster.resource["dependents"] = [made[0], {**made[1], "timeout": 5}]
    run = cluster.play("switchover", tmp_path, tag=TAG, to="node-b")
    assert run.status != 0
    assert run.seconds < 400, "that is what it would have cost without a bound"
    assert "could not be brought into service on node-b, and is now in service nowhere: the dependent second could not be started" in run.message
    assert (cluster.where()["address"], cluster.where()["elastic ip"]) == (set(), {"-"})
    record = cluster.record()
    assert record is not None
    assert (record.holder, record.handoff_to) == ("", NOBODY)
    diary = (tmp_path / "diary").read_text().splitlines()
    assert diary[-4:] == ["first started node-b 1", "second started node-b 1", "second stopped node-b 1", "first stopped node-b 1"]
    left = cluster.play("recover", tmp_path, tag=TAG)
    assert left.status != 0
    assert "waits for a person" in left.message
    assert cluster.holder() == ""
    cluster.resource["dependents"] = []
    begin = time.monotonic()
    cluster.switch("node-b", tmp_path)
    cluster.all_on("node-b")
    print(f"in service {time.monotonic() - begin:.1f} s after a person said so")


def test_a_dependent_that_hangs_when_it_is_stopped_keeps_the_resource(cluster: Cluster, tmp_path: Path) -> None:
    """It is ended when its time is over; what had stopped before is started again."""
    cluster.place_on(cluster.lab.node_a)
    stuck = "- name: Hang\n  ansible.builtin.command: sleep 600\n  changed_when: false\n  when: holdfast_state == 'stopped'\n"
    made = dependents(cluster, tmp_path, first=stuck)
    cluster.resource["dependents"] = [{**made[0], "timeout": 2}, made[1]]
    run = cluster.play("switchover", tmp_path, tag=TAG, to="node-b")
    assert run.status != 0
    assert run.seconds < 300, "that is what it would have cost without a bound"
    assert any("web stays on node-a: the dependent first could not be stopped" in str(task.result.get("msg")) for task in run.failed)
    assert (tmp_path / "diary").read_text().splitlines() == ["second stopped node-a 1", "first stopped node-a 1", "second started node-a 1"]
    cluster.all_on("node-a")


def test_the_lease_is_lost_midway(cluster: Cluster, tmp_path: Path) -> None:
    """Taken by hand while a dependent starts: the next one does not start, and all is undone, on EC2 too."""
    cluster.place_on(cluster.lab.node_a)
    wait = "- name: Lose the lease\n  ansible.builtin.wait_for: {path: /var/lib/holdfast/gone, timeout: 60}\n  when: holdfast_state == 'started'\n"
    cluster.resource["dependents"] = dependents(cluster, tmp_path, first=wait)
    checker = cluster.checkers["node-b"]
    cluster.steal_when_serving("node-b")
    run = cluster.play("switchover", tmp_path, tag=TAG, to="node-b")
    assert run.status != 0
    assert checker.seen("lost")
    assert "could not be brought into service on node-b" in run.message
    assert "the lease of web was lost on the way (node-x holds it)" in run.message
    assert (cluster.where()["address"], cluster.where()["elastic ip"]) == (set(), {"-"})
    assert cluster.holder() == "node-x"
    assert "second started node-b 1" not in (tmp_path / "diary").read_text().splitlines()


def test_recover_repairs_here_what_can_be_repaired(cluster: Cluster, tmp_path: Path) -> None:
    cluster.place_on(cluster.lab.node_a)
    before = epoch(cluster)
    for trouble in ("forgotten-table", "address-deleted"):
        strike(cluster.lab, trouble)
    run = cluster.play("recover", tmp_path)
    assert run.status == 0, run.message
    cluster.all_on("node-a")
    assert epoch(cluster) == before


def test_recover_fails_over_when_both_interfaces_are_dead(cluster: Cluster, tmp_path: Path) -> None:
    """Over a management link the node could still be reached; here it cannot, so the lease has to run out."""
    a = cluster.lab.node_a
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.place_on(a)
    for interface in a.place.interfaces:
        cluster.lab.router.cut(interface.id)
    run = cluster.play("recover", tmp_path)
    assert run.status == 0, run.message or run.other
    cluster.all_on("node-b")
    assert (tmp_path / "diary").read_text().splitlines() == ["first started node-b 1", "second started node-b 1"]


def test_recover_releases_on_a_node_whose_interfaces_are_dead(cluster: Cluster, tmp_path: Path) -> None:
    """It is reached by a third one: dependents stop there in reverse and start in order on the standby, at once. Another resource, which cannot be
    moved, does not keep this one from it."""
    a = cluster.lab.node_a
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.place_on(a)
    other = {"tag": "aaa", "address": "10.1.0.99/32", "interface": "eth0"}
    with cluster.management_link(a) as way, cluster.oracle():
        for interface in a.place.interfaces:
            cluster.lab.router.cut(interface.id)
        run = cluster.play("recover", tmp_path, resources=[other, cluster.resource], ways={"node-a": way})
        released = cluster.checkers["node-a"].seen("released")
    assert released, "it was taken without a release"
    cluster.all_on("node-b")
    assert (tmp_path / "diary").read_text().splitlines() == MOVED
    assert run.status != 0
    assert run.message.startswith("no node is ready to take aaa over")


def test_a_checker_that_dies_before_it_releases(cluster: Cluster, tmp_path: Path) -> None:
    """It was seen, so nobody releases in its place: the address may still be up. What depends on it stays stopped, the standby waits for the lease to
    run out, and fences, although a release was meant."""
    a, b = cluster.lab.nodes
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.resource["fence"] = "source_dest_check"
    cluster.place_on(a)
    held: list[bool] = []

    def kill(task: str) -> None:
        if task == "holdfast.ha.failover : Hand it over" and not held:
            held.append(cluster.has_address(a))
            cluster.checkers["node-a"].kill()

    with cluster.oracle():
        run = cluster.play("failover", tmp_path, tag=TAG, holdfast_instances=instances(cluster), began=kill)
    assert held == [True]
    assert run.status != 0, "node-a could not do what was asked of it"
    told = [str(task.result.get("msg")) for task in run.failed if task.host == "node-a"]
    assert any("no checker on this host watches the lease web-prod/web, so nothing is done about it" in line for line in told), told
    assert "so second, first stays stopped there" in told[-1]
    assert [task for task in run.failed if task.host == "node-b"] == []
    cluster.all_on("node-b")
    assert (tmp_path / "diary").read_text().splitlines() == MOVED
    checks = {one.id: one.source_dest_check for one in cluster.lab.view.interfaces}
    assert (checks[a.place.interface("eth0").id], checks[b.place.interface("eth0").id]) == (True, False)


def test_a_checker_that_does_not_answer_is_not_absent(cluster: Cluster, tmp_path: Path) -> None:
    """It may have the address up, so nothing is stopped or released past it."""
    a = cluster.lab.node_a
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.place_on(a)
    cluster.checkers["node-a"].send(signal.SIGSTOP)
    try:
        run = cluster.play("failover", tmp_path, tag=TAG)
    finally:
        cluster.checkers["node-a"].send(signal.SIGCONT)
    assert run.status != 0
    assert "node-a holds web and could not be looked at, so nothing was released: the checker did not answer within 5 s" in run.message
    assert not (tmp_path / "diary").exists(), "a dependent was stopped"
    assert cluster.holder() == "node-a"


def test_an_entry_changed_by_hand_fences_nobody(cluster: Cluster, tmp_path: Path) -> None:
    """It leads to an instance that has nothing to do with it, which goes on; and the takeover fails rather than going on without its fence."""
    a, b = cluster.lab.nodes
    cluster.resource["fence"] = "stop_instance"
    cluster.place_on(a)
    stranger = next(one for one in cluster.lab.place.machines if one.name not in ("node-a", "node-b"))
    for _name, table in cluster.lab.place.route_tables:
        cluster.lab.ec2.replace_route(RouteTableId=table, NetworkInterfaceId=stranger.interfaces[0].id, DestinationCidrBlock=cluster.lab.place.vip)
    cluster.lab.ec2.disassociate_address(AssociationId=_association(cluster))
    cluster.checkers["node-a"].kill()
    run = cluster.play("failover", tmp_path, tag=TAG, holdfast_instances=instances(cluster), words=["--limit", "node-b"])
    assert run.status != 0
    assert f"is not certain whom it would hit: what belongs to web leads to {stranger.interfaces[0].id} of {stranger.instance_id}" in run.message
    assert f"and node-a is {a.place.instance_id}" in run.message
    states = {one.id: one.state for one in cluster.lab.control.snapshot(cluster.lab.place.vpc_id).instances}
    assert {states[stranger.instance_id], states[a.place.instance_id], states[b.place.instance_id]} == {"running"}
    assert cluster.where()["address"] == set()


def _association(cluster: Cluster) -> str:
    (address,) = cluster.lab.ec2.describe_addresses(AllocationIds=[cluster.lab.place.allocation_id])["Addresses"]
    return str(address["AssociationId"])


def test_ec2_that_does_not_take_writes_in_a_takeover(cluster: Cluster, tmp_path: Path) -> None:
    """That may pass: the node keeps lease and address, starts what depends on it, and says what is left; a repair finishes it."""
    a, b = cluster.lab.nodes
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.place_on(a)
    cluster.lab.control.faults.inject(Fault("throttle", "ReplaceRoute"))
    run = cluster.play("switchover", tmp_path, tag=TAG, to="node-b")
    cluster.lab.control.faults.clear()
    assert run.status != 0
    assert "web is held and up on node-b, but not all of EC2 leads there yet (" in run.message
    assert "throttling" in run.message
    assert (cluster.where()["address"], cluster.holder()) == ({"node-b"}, "node-b")
    assert (tmp_path / "diary").read_text().splitlines()[-2:] == ["first started node-b 1", "second started node-b 1"]
    repaired = cluster.play_on(b, "local_recovery", tag=TAG)
    assert repaired.status == 0, repaired.message
    cluster.all_on("node-b")


def test_recover_is_not_held_up_by_a_dead_way_to_a_node_that_lives(cluster: Cluster, tmp_path: Path) -> None:
    """The link that SSH goes by has died, the node renews its lease by its other one: nothing is taken from it, and the run ends soon."""
    a = cluster.lab.node_a
    cluster.place_on(a)
    before = epoch(cluster)
    cluster.lab.router.cut(a.place.interface("eth0").id)
    run = cluster.play("recover", tmp_path)
    assert run.status != 0
    assert "was not free within 17 s: node-a holds it; node-a cannot be reached from here, yet it still renews its lease" in run.message
    ways = [task.seconds for task in run.tasks if task.task == "holdfast.ha.failover : Reach it"]
    assert max(ways) < 30, "SSH was waited for"
    assert (cluster.holder(), epoch(cluster)) == ("node-a", before)


def test_recover_fails_over_where_ec2_denies_this_node_only(cluster: Cluster, tmp_path: Path) -> None:
    a = cluster.lab.node_a
    cluster.place_on(a)
    strike(cluster.lab, "forgotten-table")
    for interface in a.place.interfaces:
        cluster.lab.control.faults.inject(Fault("deny", "ec2:*", source=interface.address))
    run = cluster.play("recover", tmp_path)
    assert run.status == 0, run.message or run.other
    cluster.all_on("node-b")
    assert not cluster.has_address(a)


def test_recover_with_an_api_that_answers_nobody_stays_and_says_unknown(cluster: Cluster, tmp_path: Path) -> None:
    cluster.place_on(cluster.lab.node_a)
    before = epoch(cluster)
    cluster.lab.control.faults.inject(Fault("silent", "ec2:*"))
    run = cluster.play("recover", tmp_path)
    cluster.lab.control.faults.clear()
    assert run.status != 0
    assert "unknown, as EC2 answers no node" in run.message
    cluster.all_on("node-a")
    assert epoch(cluster) == before


def test_recover_with_an_api_that_does_not_answer_the_active_node_stays(cluster: Cluster, tmp_path: Path) -> None:
    """The standby would do better; but silence and throttling say nothing about the service."""
    a = cluster.lab.node_a
    cluster.place_on(a)
    before = epoch(cluster)
    for interface in a.place.interfaces:
        cluster.lab.control.faults.inject(Fault("throttle", "ec2:*", source=interface.address))
    run = cluster.play("recover", tmp_path)
    cluster.lab.control.faults.clear()
    assert run.status != 0
    assert "whether web works is unknown, as EC2 does not answer node-a (" in run.message
    assert "so nothing was released" in run.message
    cluster.all_on("node-a")
    assert epoch(cluster) == before


def test_on_the_node_itself(cluster: Cluster, tmp_path: Path) -> None:
    """Without SSH: nothing is released while no standby is known, what is held is put in service, what others hold is left alone."""
    a, b = cluster.lab.nodes
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.put_in_service(a)  # held, and not in service: nothing leads here, nothing was started
    run = cluster.play_on(a, "recover", tag=TAG)
    assert run.status == 0, run.message or run.other
    cluster.all_on("node-a")
    assert (tmp_path / "diary").read_text().splitlines() == ["first started node-a 1", "second started node-a 1"]
    before = epoch(cluster)
    other = cluster.play_on(b, "recover", tag=TAG)
    assert other.status == 0, other.message
    assert any("node-a holds web: there is nothing to repair here" in str(task.result.get("msg")) for task in other.tasks)
    for run in (cluster.play_on(a, "failover", tag=TAG), cluster.play_on(a, "switchover", tag=TAG, to="node-b")):
        assert run.status != 0
        assert "nothing was released (no ready standby is known on this node" in run.message
    cluster.all_on("node-a")
    assert epoch(cluster) == before


def test_on_the_node_itself_the_other_half_goes_through_the_lease(cluster: Cluster, tmp_path: Path) -> None:
    """Released to the peer that is ready, whose checker takes the lease, puts the address up, and has the rest done by a run of its own; by failover,
    and by a recover that cannot repair it."""
    a = cluster.lab.node_a
    cluster.reset(peers=True, dependents=dependents(cluster, tmp_path))
    cluster.place_on(a)
    until(lambda: [one for one in _peers(cluster, a) if one["alive"] and one["ready"]], 20, "node-a does not hear of node-b")
    run = cluster.play_on(a, "failover", tag=TAG)
    assert run.status == 0, run.message or run.other
    assert cluster.holder() == "node-b"
    assert not cluster.has_address(a)
    taken = cluster.play_on(a, "switchover", tag=TAG, to="node-a")
    assert "node-b holds web and is alive; run this on node-b, or from a controller" in taken.message
    diary = tmp_path / "diary"
    until(lambda: len(diary.read_text().splitlines()) == 4, 120, "node-b's checker did not finish the takeover")
    assert diary.read_text().splitlines() == [
        "second stopped node-a 1",
        "first stopped node-a 1",
        "first started node-b 1",
        "second started node-b 1",
    ]
    cluster.all_on("node-b")

    b = cluster.lab.node_b  # and back, since EC2 denies node-b what it would have to repair
    for interface in b.place.interfaces:
        cluster.lab.control.faults.inject(Fault("deny", "ec2:*", source=interface.address))
    strike(cluster.lab, "forgotten-table")
    until(lambda: [one for one in _peers(cluster, b) if one["alive"] and one["ready"]], 60, "node-b does not hear of node-a")
    moved = cluster.play_on(b, "recover", tag=TAG)
    assert moved.status == 0, moved.message or moved.other
    until(lambda: len(diary.read_text().splitlines()) == 8, 120, "node-a's checker did not finish the takeover")
    assert [line.rpartition(" ")[0] for line in diary.read_text().splitlines()[4:]] == [
        "second stopped node-b",
        "first stopped node-b",
        "first started node-a",
        "second started node-a",
    ]
    cluster.all_on("node-a")


def _peers(cluster: Cluster, node: Node) -> list[dict[str, Any]]:
    lease = cluster.module_of(node, "ip_resource_info")["resources"][0]["lease"]
    return list(lease["peers"]) if lease else []


def test_dependents_alone(cluster: Cluster, tmp_path: Path) -> None:
    a = cluster.lab.node_a
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    for state in ("stopped", "started"):
        run = cluster.play_on(a, "dependents", tag=TAG, state=state)
        assert run.status == 0, run.message or run.other
    assert (tmp_path / "diary").read_text().splitlines() == [
        "second stopped node-a 0",
        "first stopped node-a 0",
        "first started node-a 0",
        "second started node-a 0",
    ]
    for name, more in (("dependents", {"state": "stopped"}), ("recover", {})):
        refused = cluster.play_on(a, name, tag="wep", **more)
        assert (refused.status, refused.message) == (2, "No resource has the tag wep; there is web.")


def test_a_move_to_the_backup_interface_keeps_the_address_under_the_lease(cluster: Cluster) -> None:
    a, b = cluster.lab.nodes
    cluster.put_in_service(a)
    a.drop(cluster.lab.place.vip)
    cluster.module_of(a, "ip_resource", in_service=True)
    answer = cluster.module_of(a, "ip_swap_interface", to="eth1", targets=[router_address(a.place.interface("eth1").cidr)])
    lives = a.namespace.ip("-o -4 addr show dev eth1").partition(cluster.lab.place.vip)[2]
    assert "valid_lft" in lives, answer
    assert int(lives.partition("valid_lft ")[2].split("sec")[0]) <= TIMING.hold
    cluster.module_of(b, "ip_resource", in_service=True)
    refused = cluster.module_of(b, "ip_swap_interface", to="eth1")
    assert "does not hold the lease of web" in refused["msg"]
    assert not cluster.has_address(b)


def test_prepare_aws(cluster: Cluster) -> None:
    """Creates the table once, and prints the rights that the lab enforces, with which a node can then use it."""
    lab = cluster.lab
    store = {"type": "dynamodb", "table": "fresh", "region": lab.control.region}
    resource = {**cluster.resource, "fence": "stop_instance", "ec2": {**cluster.resource["ec2"], "missing": "create"}}
    keys = lab.control.admin_credentials
    admin = {**lab.node_a.environment, "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
    given = {"holdfast_store": store, "holdfast_resources": [resource], "holdfast_instances": instances(cluster)}
    runs = [run_playbook("prepare_aws", given, where=lab.node_a.namespace, environment=admin) for _time in range(2)]
    assert [(run.status, [task.task for task in run.changed]) for run in runs] == [(0, ["Create the lease table"]), (0, [])], runs
    policy = runs[1].tasks[-1].result["msg"]
    granted, known = (sorted(action for part in one["Statement"] for action in part["Action"]) for one in (policy, NODE_RIGHTS))
    assert granted == known
    (fence,) = (part for part in policy["Statement"] if part["Action"] == ["ec2:StopInstances"])
    assert sorted(one.rpartition("/")[2] for one in fence["Resource"]) == sorted(instances(cluster).values()), "it may stop others"
    elsewhere = {**given, "holdfast_store": {"type": "etcd", "endpoints": ["http://127.0.0.1:1"]}}
    refused = run_playbook("prepare_aws", elsewhere, where=lab.node_a.namespace, environment=admin)
    assert refused.status == 2
    assert "holdfast_store names no DynamoDB table, so there is nothing to prepare on AWS" in refused.message
    unnamed = run_playbook("prepare_aws", {**given, "holdfast_instances": {}}, where=lab.node_a.namespace, environment=admin)
    (any_fence,) = (part for part in unnamed.tasks[-1].result["msg"]["Statement"] if part["Action"] == ["ec2:StopInstances"])
    assert [one.rpartition("/")[2] for one in any_fence["Resource"]] == ["*"]
    shared = [{**resource, "fence": "none", "ec2": {**resource["ec2"], "role_arn": "arn:aws:iam::123456789012:role/vpc"}}]
    other = run_playbook("prepare_aws", {**given, "holdfast_resources": shared}, where=lab.node_a.namespace, environment=admin)
    (assume,) = (part for part in other.tasks[-1].result["msg"]["Statement"] if part["Action"] == ["sts:AssumeRole"])
    assert assume["Resource"] == ["arn:aws:iam::123456789012:role/vpc"]
    lab.control.set_policy(ROLE, policy)
    try:
        stop = {"instance_id": lab.node_b.place.instance_id}
        assert not run_module("ec2_instance_stop", stop, where=lab.node_a.namespace, env=dict(lab.node_a.environment), check=True)["failed"]
        answer = cluster.module(lab.node_a, "lease", holder="node-a", tag="other", ttl=10, wait=12, store=store)
        assert (answer["failed"], answer["holder"]) == (False, "node-a"), answer
        other = cluster.module(lab.node_a, "lease_info", store=STORE)
        assert "dynamodb:GetItem" in other["msg"], "the policy is for one table"
    finally:
        lab.control.set_policy(ROLE, NODE_RIGHTS)
