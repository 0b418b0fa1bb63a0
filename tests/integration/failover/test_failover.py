# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks failover and switchover from a controller over SSH, with real packets and dependents that keep a diary."""

from __future__ import annotations

import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import NOBODY
from ansible_collections.holdfast.ha.plugins.module_utils._lease.timing import PROFILES
from ansible_collections.holdfast.ha.tests.integration.failover.cluster import TAG, Cluster
from ansible_collections.holdfast.ha.tests.integration.failover.shared import MOVED, dependents, epoch, instances, never_two, struck_when
from harness.module import run_module
from lab.control import Fault
from lab.python39 import Python39
from lab.waiting import until

TIMING = PROFILES["standard"]


@pytest.mark.scenario("B4")
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
    for checker in cluster.checkers.values():
        assert [event["ok"] for event in checker.seen("takeover")] == [True] * 2, "it was handed to it, so it is up before the next task begins"
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


def test_an_elastic_ip_that_the_standby_got_a_moment_ago(cluster: Cluster, tmp_path: Path) -> None:
    """Its checker has not looked at EC2 since, and says that the node is ready. The playbook asks EC2 itself before anything is released."""
    ec2, there = cluster.lab.ec2, cluster.lab.node_b.place.interfaces[0]
    cluster.place_on(cluster.lab.node_a)
    own = ec2.allocate_address(Domain="vpc")
    held = ec2.associate_address(AllocationId=own["AllocationId"], NetworkInterfaceId=there.id, PrivateIpAddress=there.address)
    try:
        with cluster.lab.prober("client-c") as prober:
            prober.wait_until_answered(5, by="node-a")
            run = cluster.play("switchover", tmp_path, tag=TAG, to="node-b")
            report = prober.stop()
    finally:
        ec2.disassociate_address(AssociationId=held["AssociationId"])
        ec2.release_address(AllocationId=own["AllocationId"])
    assert run.status == 2
    assert f"no node is ready to take {TAG} over, so nothing was released (node-b: " in run.message
    assert f"{there.address} of {there.id} has the Elastic IP {own['PublicIp']} already" in run.message
    assert report.longest_ms < 200
    cluster.all_on("node-a")


def test_nodes_where_the_modules_run_on_python_3_9(cluster: Cluster, tmp_path: Path, python_39: Python39) -> None:
    """Their checkers run on a newer one."""
    cluster.place_on(cluster.lab.node_a)
    with cluster.oracle(), cluster.lab.prober("client-c") as prober:
        prober.wait_until_answered(5, by="node-a")
        run = cluster.switch("node-b", tmp_path, ansible_python_interpreter=str(python_39.plain))
    assert not run.failed
    cluster.all_on("node-b")


def test_the_strategy_of_the_controller_does_not_matter(cluster: Cluster, tmp_path: Path) -> None:
    """With `free`, one host would be tasks ahead of the other."""
    cluster.place_on(cluster.lab.node_a)
    for node in ("node-b", "node-a", "node-b"):
        cluster.switch(node, tmp_path, environment={"ANSIBLE_STRATEGY": "free"})
        cluster.all_on(node)


def test_hosts_that_the_inventory_names_by_address(cluster: Cluster, tmp_path: Path) -> None:
    """As in AWX, after an installation from a file that names them as the nodes are named."""
    cluster.place_on(cluster.lab.node_a)
    names = {node.name: node.place.interface("eth0").address for node in cluster.lab.nodes}
    cluster.switch("node-b", tmp_path, names=names)
    cluster.all_on("node-b")
    cluster.switch(names["node-a"], tmp_path, names=names)
    cluster.all_on("node-a")
    run = cluster.play("local_recovery", tmp_path, names=names)
    assert (run.status, run.changed) == (0, ()), "the node of the resource's record is this one"


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
    cluster.reset(fence="stop_instance")
    cluster.place_on(a)
    cluster.lab.control.faults.inject(Fault("deny", "StopInstances"))
    cluster.kill(a)
    run = cluster.play("failover", tmp_path, tag=TAG, holdfast_instances=instances(cluster))
    assert run.status != 0
    assert "could not be brought into service on node-b" in run.message
    assert "ec2:StopInstances" in run.message
    checker = cluster.checkers["node-b"]
    assert not checker.seen("serve") + checker.seen("takeover"), "the address was up before the fence"
    assert cluster.where()["address"] == set()
    record = cluster.record()
    assert record is not None
    assert (record.holder, record.handoff_to) == ("", NOBODY)


@pytest.mark.parametrize("way", ["once it can succeed", "the node is off"])
def test_a_fence_that_failed_is_tried_again(cluster: Cluster, tmp_path: Path, way: str) -> None:
    """By every takeover, until it succeeds, or until a person says that the old node is off."""
    a = cluster.lab.node_a
    cluster.resource["fence"] = "stop_instance"
    cluster.place_on(a)
    cluster.lab.control.faults.inject(Fault("deny", "StopInstances"))
    cluster.kill(a)
    for _time in range(2 if way == "once it can succeed" else 1):
        run = cluster.play("switchover", tmp_path, tag=TAG, to="node-b", holdfast_instances=instances(cluster))
        assert run.status != 0
        assert "node-a was not fenced: see to the cause, or make sure that node-a is off" in run.message
        assert "holdfast.ha.switchover -e tag=web -e to=node-b, with -e powered_off=node-a if it is off" in run.message
        assert cluster.where()["address"] == set()
    record = cluster.record()
    assert record is not None
    assert (record.holder, record.unfenced) == ("", ("node-a",))
    cluster.lab.control.faults.clear()
    said = {"powered_off": "node-a"} if way == "the node is off" else {}
    try:
        run = cluster.play("switchover", tmp_path, tag=TAG, to="node-b", holdfast_instances=instances(cluster), **said)
        assert run.status == 0, run.message
        states = {one.id: one.state for one in cluster.lab.control.snapshot(cluster.lab.place.vpc_id).instances}
        assert states[a.place.instance_id] == ("stopped" if way == "once it can succeed" else "running")
        until(lambda: (record := cluster.record()) and record.unfenced == (), 5, "the record still asks for a fence")
    finally:
        cluster.start_instances()


@pytest.mark.scenario("E3")
def test_the_killed_node_returns_and_leaves_the_resource_where_it_is(cluster: Cluster) -> None:
    a, b = cluster.lab.nodes
    cluster.put_in_service(a)
    cluster.checkers["node-a"].kill()
    cluster.put_in_service_after(b, 30)
    cluster.checkers["node-a"].start()
    until(lambda: cluster.module_of(a, "ip_resource_info")["resources"][0]["lease"]["holder"] == "node-b", 10, "node-a did not look")
    assert not cluster.has_address(a)
    assert cluster.holder() == "node-b"


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
    checker, diary = cluster.checkers["node-b"], tmp_path / "diary"
    cluster.steal_when_serving("node-b", lambda: "first started node-b 1" in diary.read_text())
    run = cluster.play("switchover", tmp_path, tag=TAG, to="node-b")
    assert run.status != 0
    assert checker.seen("lost")
    assert "could not be brought into service on node-b" in run.message
    assert "the lease of web was lost on the way (node-x holds it)" in run.message
    assert (cluster.where()["address"], cluster.where()["elastic ip"]) == (set(), {"-"})
    assert cluster.holder() == "node-x"
    assert "second started node-b 1" not in diary.read_text().splitlines()


def test_the_lease_is_lost_before_the_vpc_leads_here(cluster: Cluster, tmp_path: Path) -> None:
    """Taken by hand when the address has just come up, after a node that released nothing: EC2 leads where it led."""
    a = cluster.lab.node_a
    cluster.place_on(a)
    cluster.kill(a)
    cluster.steal_when_serving("node-b")
    run = cluster.play("failover", tmp_path, tag=TAG)
    assert run.status != 0
    assert "could not be brought into service on node-b" in run.message
    assert "the lease of web was lost on the way (node-x holds it" in run.message
    assert cluster.where() == {"address": set(), "routes": {"node-a"}, "elastic ip": {"node-a"}}


def test_a_checker_that_dies_before_it_releases(cluster: Cluster, tmp_path: Path) -> None:
    """It was seen, so nobody releases in its place: the address may still be up. What depends on it stays stopped, the standby waits for the lease to
    run out, and fences, although a release was meant."""
    a, b = cluster.lab.nodes
    cluster.resource["dependents"] = dependents(cluster, tmp_path)
    cluster.resource["fence"] = "source_dest_check"
    cluster.place_on(a)
    held: list[bool] = []

    def kill() -> None:
        held.append(cluster.has_address(a))
        cluster.checkers["node-a"].kill()

    stopped = tmp_path / "diary"
    with cluster.oracle(), struck_when(lambda: stopped.exists() and stopped.read_text().count("stopped node-a") == 2, kill):
        run = cluster.play("failover", tmp_path, tag=TAG, holdfast_instances=instances(cluster))
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
