# SPDX-License-Identifier: GPL-3.0-or-later
"""Each thing that can go wrong with a resource on a healthy link: clients lose it, one run brings it back, and all else is as it was."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from ansible_collections.holdfast.ha.tests.integration.recovery.cluster import Cluster, changed, module_of, told
from lab.control import Fault
from lab.faults import strike
from lab.playbook import TaskReport
from lab.rights import NODE_RIGHTS
from lab.vpc import ROLE

ADDRESS = "ip_address"
EC2 = "ec2_resource"


@dataclass(frozen=True)
class Case:
    """``hurt``: the numbers in `Cluster.clients` of those who lose the service. ``writes``: calls that change something."""

    trouble: str
    hurt: tuple[int, ...]
    tasks: tuple[str, ...]
    writes: tuple[str, ...] = ()
    both: bool = False


CASES = (
    Case("forgotten-table", (0, 1), (EC2, EC2), ("ReplaceRoute",) * 2, both=True),
    Case("sdc-on", (0, 1, 2), (EC2,), ("ModifyNetworkInterfaceAttribute",)),
    Case("address-deleted", (0, 2), (ADDRESS,)),
    Case("wrong-prefix", (), (ADDRESS,)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.trouble)
def test_one_run_puts_it_right_and_touches_nothing_else(cluster: Cluster, case: Case) -> None:
    strike(cluster.lab, case.trouble)
    broken = cluster.who_answers(*cluster.clients)
    assert [number for number, nodes in enumerate(broken) if not nodes] == list(case.hurt)
    assert cluster.changes()

    run = cluster.recover(cluster.web, *([cluster.web6] if case.both else []))

    assert run.status == 0, run.message
    assert changed(run) == list(case.tasks)
    assert cluster.writes() == list(case.writes)
    cluster.assert_served()
    assert cluster.changes() == {}


@pytest.mark.parametrize("playbook", ["local_recovery", "recover"])
def test_a_named_table_that_was_deleted_keeps_nothing_else_from_being_repaired(cluster: Cluster, playbook: str) -> None:
    lab, place = cluster.lab, cluster.lab.place
    gone = lab.ec2.create_route_table(VpcId=place.vpc_id)["RouteTable"]["RouteTableId"]
    lab.ec2.delete_route_table(RouteTableId=gone)
    tables = [*(table for _machine, table in place.route_tables), gone]
    strike(lab, "forgotten-table")
    strike(lab, "eip-taken")

    run = cluster.play(playbook, {**cluster.web, "ec2": {**cluster.web["ec2"], "route_tables": tables}}, cluster.web6)

    assert run.status != 0
    assert run.message.startswith(f"web: There is no route table {gone} in this region and account; take it out of route_table_ids")
    assert run.message.endswith("or check region"), "something else is told too"
    cluster.assert_served()
    assert Counter(cluster.writes()) == {"ReplaceRoute": 2, "AssociateAddress": 1}
    recorded = [one.outcome for one in run.tasks if module_of(one) == "ip_resource" and one.outcome != "skipped"]
    assert recorded == ["ok", "ok"]


@pytest.mark.scenario("B1", "B2")
def test_elastic_ip_taken_by_another_node_comes_back(cluster: Cluster) -> None:
    strike(cluster.lab, "eip-taken")
    outside = cluster.clients[3]
    assert cluster.who_answers(outside) == [{"node-b"}]

    run = cluster.recover(cluster.web)

    assert (run.status, changed(run), cluster.writes()) == (0, [EC2], ["AssociateAddress"]), run.message
    cluster.assert_served()
    assert cluster.changes() == {}


def test_what_breaks_during_the_run_is_repaired_by_it(cluster: Cluster) -> None:
    """The address is deleted after the step that looks after it: a healthy node must not be taken for one that cannot be repaired."""
    cluster.lab.control.faults.inject(Fault("latency", "Describe*", seconds=0.5))
    strike(cluster.lab, "eip-taken")
    struck: list[str] = []

    def seen(report: TaskReport) -> None:
        if module_of(report) == EC2 and not struck:
            struck.append(strike(cluster.lab, "address-deleted"))

    run = cluster.recover(cluster.web, seen=seen)

    assert (run.status, changed(run)) == (0, [EC2, ADDRESS]), run.message
    cluster.assert_served()
    assert cluster.changes() == {}


def test_second_run_changes_nothing_and_asks_no_more_than_it_has_to(cluster: Cluster) -> None:
    run = cluster.recover(cluster.web, cluster.web6)

    assert (run.status, changed(run), cluster.writes()) == (0, [], []), run.message
    assert cluster.changes() == {}
    asked = Counter(call.action for call in cluster.calls)
    # for each resource its tables and its interface; for the Elastic IP the address and the interface that it should be on
    assert asked == {"DescribeRouteTables": 2, "DescribeNetworkInterfaces": 3, "DescribeAddresses": 1}


def test_check_mode_foresees_everything_and_writes_nothing(cluster: Cluster) -> None:
    for trouble in ("wrong-route", "sdc-on", "eip-taken", "address-deleted"):
        strike(cluster.lab, trouble)
    broken = cluster.changes()

    foreseen = cluster.recover(cluster.web, cluster.web6, words=["--check", "--diff"])

    assert foreseen.status == 0, foreseen.message
    assert changed(foreseen) == [ADDRESS, EC2, EC2]
    assert cluster.writes() == []
    assert cluster.changes() == broken
    diff = told(foreseen, EC2).result["diff"]
    assert cluster.interface("eth0", "node-b") in diff["before"]
    assert cluster.interface("eth0") in diff["after"]

    run = cluster.recover(cluster.web)
    assert run.status == 0, run.message
    assert changed(run) == changed(foreseen)[:2]
    vip, _vip6, neighbour, outside = cluster.clients
    cluster.assert_served(vip, neighbour, outside)
    assert {subject[2] for subject in cluster.changes()} == {cluster.lab.place.vip6}, "only what was not asked for is left"


def test_one_table_that_refuses_is_named_and_keeps_nothing_else_from_being_repaired(cluster: Cluster) -> None:
    lab = cluster.lab
    table = lab.place.table("client-c")
    arn = f"arn:aws:ec2:*:*:route-table/{table}"
    refusal = {"Effect": "Deny", "Action": "ec2:ReplaceRoute", "Resource": arn}
    for trouble in ("route-blackhole", "eip-taken"):
        strike(lab, trouble)
    before = cluster.changes()
    lab.control.set_policy(ROLE, {**NODE_RIGHTS, "Statement": [*NODE_RIGHTS["Statement"], refusal]})
    try:
        run = cluster.recover(cluster.web)
    finally:
        lab.control.set_policy(ROLE, NODE_RIGHTS)

    assert run.status != 0
    assert run.message.startswith("web: ")
    assert table in run.message
    assert "ec2:ReplaceRoute" in run.message
    others = [name for _machine, name in lab.place.route_tables if name != table]
    assert not any(name in run.message for name in others)
    repaired = {("elastic ip", lab.place.elastic_ip), *(("route", name, lab.place.vip) for name in others)}
    assert repaired <= before.keys()
    assert cluster.changes() == {subject: change for subject, change in before.items() if subject not in repaired}


def test_only_what_is_asked_for(cluster: Cluster) -> None:
    for trouble in ("wrong-route", "sdc-on", "eip-taken"):
        strike(cluster.lab, trouble)
    broken = cluster.changes()

    run = cluster.recover(cluster.web, cluster.web6, local_recovery_tags=["web"], local_recovery_faults=["routes"])

    assert (run.status, changed(run)) == (0, [EC2]), run.message
    repaired = {("route", name, cluster.lab.place.vip) for _machine, name in cluster.lab.place.route_tables}
    assert cluster.changes() == {subject: change for subject, change in broken.items() if subject not in repaired}


def test_missing_entry_of_a_named_table_is_created_only_when_asked_for(cluster: Cluster) -> None:
    lab = cluster.lab
    table = lab.place.table("client-c")
    lab.ec2.delete_route(RouteTableId=table, DestinationCidrBlock=lab.place.vip)
    broken = cluster.changes()
    named = {**cluster.web["ec2"], "route_tables": [table]}

    refused = cluster.recover({**cluster.web, "ec2": named})
    assert refused.status != 0
    assert table in refused.message
    assert cluster.writes() == []
    assert cluster.changes() == broken

    run = cluster.recover({**cluster.web, "ec2": {**named, "missing": "create", "region": lab.place.region}})
    assert (run.status, changed(run), cluster.writes()) == (0, [EC2], ["CreateRoute"]), run.message
    assert cluster.changes() == {}
    cluster.assert_served()
