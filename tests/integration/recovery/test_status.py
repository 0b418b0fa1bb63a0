# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook status: one table that tells what is wrong, and a look that changes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ansible_collections.holdfast.ha.tests.integration.recovery.cluster import Cluster, changed, forget, told
from lab.faults import clear, strike
from lab.playbook import PlaybookRun

HEADER = ["RESOURCE", "NODE", "IN SERVICE", "ADDRESS", "INTERFACE", "BACKUP", "ROUTES", "SRC/DST CHECK", "ELASTIC IP", "HEALTH"]


def shown(cluster: Cluster, run: PlaybookRun) -> tuple[list[list[str]], list[str]]:
    """The table's rows as cells, and the lines under it. Asserts that the run has changed nothing at all."""
    assert (run.status, changed(run), cluster.writes()) == (0, [], []), run.message
    lines: list[str] = told(run, "debug").result["msg"]
    rows: list[list[str]] = []
    for line in lines:
        cells = [cell for cell in (part.strip() for part in line.split("  ")) if cell]
        if len(cells) == len(HEADER):
            rows.append(cells)
    return rows, [line for line in lines if re.match(r"\S+ on \S+: ", line)]


def test_healthy(cluster: Cluster) -> None:
    place = cluster.lab.place

    rows, wrong = shown(cluster, cluster.play("status", cluster.web, cluster.web6, holdfast_node="node-a"))

    assert rows == [
        HEADER,
        ["web", "node-a", "yes", place.vip, "eth0 (up)", "eth1", "3/3", "off", f"{place.elastic_ip} (here)", "healthy"],
        ["web6", "node-a", "yes", place.vip6, "eth0 (up)", "eth1", "3/3", "off", "-", "healthy"],
    ]
    assert wrong == []
    assert cluster.changes() == {}


def test_each_wrong_part_is_told_with_what_to_do(cluster: Cluster) -> None:
    place = cluster.lab.place
    for trouble in ("forgotten-table", "sdc-on", "eip-taken", "wrong-prefix"):
        strike(cluster.lab, trouble)
    broken = cluster.changes()

    rows, wrong = shown(cluster, cluster.play("status", cluster.web, holdfast_node="node-a"))

    assert rows[1:] == [["web", "node-a", "yes", place.vip, "eth0 (up)", "eth1", "2/3", "ON", f"{place.elastic_ip} (ELSEWHERE)", "failed"]]
    table, thief = place.table("client-c"), cluster.interface("eth0", "node-b")
    assert wrong == [
        "web on node-a: its prefix length on eth0 is 24",
        f"web on node-a: {place.vip} in {table} leads to {thief}",
        "web on node-a: the source/destination check is on",
        f"web on node-a: {place.elastic_ip} is not associated with this node",
        "web on node-a: what to do: run holdfast.ha.local_recovery --limit node-a",
    ]
    assert cluster.changes() == broken


def test_an_entry_for_a_gateway_is_neither_counted_nor_changed(cluster: Cluster) -> None:
    place = cluster.lab.place
    cluster.lab.ec2.replace_route(RouteTableId=place.table("client-c"), DestinationCidrBlock=place.vip, GatewayId=place.internet_gateway_id)
    given = cluster.changes()

    rows, wrong = shown(cluster, cluster.play("status", cluster.web, holdfast_node="node-a"))
    assert (rows[1][6], rows[1][-1], wrong) == ("2/2", "healthy", [])

    strike(cluster.lab, "sdc-on")
    run = cluster.play("local_recovery", cluster.web)
    assert run.status == 0, run.message
    assert cluster.changes() == given


def test_silence_of_ec2_is_unknown_and_no_failure(cluster: Cluster) -> None:
    strike(cluster.lab, "api-silent")

    rows, wrong = shown(cluster, cluster.play("status", cluster.web, holdfast_node="node-a"))
    clear(cluster.lab)

    assert [row[-1] for row in rows[1:]] == ["unknown"]
    assert len(wrong) == 1
    assert wrong[0].startswith("web on node-a: EC2 could not be asked: ")


def test_two_nodes_in_one_table(cluster: Cluster, tmp_path: Path) -> None:
    strike(cluster.lab, "link-down")

    rows, wrong = shown(cluster, cluster.play("status", cluster.web, inventory=cluster.inventory(tmp_path, node_a=by_eth1(cluster))))

    assert [(row[1], row[2], row[4], row[-1]) for row in rows[1:]] == [
        ("node-a", "yes", "eth0 (DOWN)", "failed"),
        ("node-b", "no", "eth0 (up)", "standby"),
    ]
    assert wrong[0] == "web on node-a: eth0 is down"
    assert wrong[-1] == "web on node-a: what to do: run holdfast.ha.local_recovery --limit node-a"


def by_eth1(cluster: Cluster) -> dict[str, Any]:
    """How a controller reaches node-a while its first link is down."""
    return {"ansible_host": cluster.lab.place.machine("node-a").interface("eth1").address}


def test_no_resource(cluster: Cluster) -> None:
    forget(cluster.node_a)

    run = cluster.play("status")

    assert run.status == 0, run.message
    assert told(run, "debug").result["msg"] == ["No resource is known on any of these nodes; give holdfast_resources in the inventory."]


def test_what_only_the_node_knows(cluster: Cluster) -> None:
    rows, _wrong = shown(cluster, cluster.play("status"))

    assert [row[0] for row in rows[1:]] == ["web", "web6"]
