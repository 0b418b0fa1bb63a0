# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook backup_interface: show, add, remove and move, as the lkipbu command does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.holdfast.ha.tests.integration.recovery.cluster import Cluster, changed, told
from lab.faults import active

STATE = "/var/lib/holdfast/web.json"


def four_lines(address: str, interface: str, backup: str) -> list[str]:
    return [f"IP address: {address}", "Netmask: 255.255.255.255", f"Primary interface: {interface} (up)", f"Backup interface: {backup}"]


def recorded(cluster: Cluster) -> tuple[str, str | None]:
    """Primary and backup interface in the node's state file."""
    state = json.loads(cluster.node_a.run("cat", STATE).stdout)
    return state["interface"], state["backup_interface"]


def test_show_add_and_remove(cluster: Cluster) -> None:
    host = cluster.lab.place.vip.partition("/")[0]

    shown = cluster.play("backup_interface", cluster.web, tag="web")
    assert (shown.status, changed(shown)) == (0, [])
    assert told(shown, "debug").result["msg"] == four_lines(host, "eth0", "eth1")

    removed = cluster.play("backup_interface", cluster.web, tag="web", operation="remove", interface="eth1")
    assert (removed.status, len(removed.changed)) == (0, 1), removed.message
    assert told(removed, "debug").result["msg"] == four_lines(host, "eth0", "none")
    assert recorded(cluster) == ("eth0", None)

    added = cluster.play("backup_interface", cluster.web, tag="web", operation="add", interface="eth1")
    assert (added.status, len(added.changed)) == (0, 1), added.message
    assert recorded(cluster) == ("eth0", "eth1")
    assert cluster.changes() == {}


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"tag": "web", "operation": "add", "interface": "lo"}, "web has the backup interface eth1 already; remove that one first"),
        ({"tag": "web", "operation": "add", "interface": "eth9"}, "eth9"),
        ({"tag": "web", "operation": "remove", "interface": "eth0"}, "eth0 is not the backup interface of web, eth1 is; name that one"),
        ({"tag": "nosuch"}, "no resource nosuch"),
        ({"tag": "web", "operation": "destroy"}, "Say what to do: -e operation=show, add, remove or move"),
        ({"tag": "web", "operation": "add"}, "Say which interface: -e interface=NAME"),
        ({"tag": "web", "operation": "remove", "interface": ""}, "Say which interface: -e interface=NAME"),  # a survey's question left blank
        ({}, "Say which resource: -e tag=NAME"),
    ],
    ids=[
        "defined already",
        "no such interface",
        "not the backup",
        "no such tag",
        "no such operation",
        "no interface named",
        "blank interface",
        "no tag",
    ],
)
def test_refusals(cluster: Cluster, variables: dict[str, Any], says: str) -> None:
    run = cluster.play("backup_interface", cluster.web, **variables)

    assert run.status != 0
    assert says in run.message
    assert cluster.changes() == {}


def test_move_in_service_takes_everything_along(cluster: Cluster) -> None:
    place, backup = cluster.lab.place, cluster.interface("eth1")

    run = cluster.play("backup_interface", cluster.web, tag="web", operation="move")

    assert run.status == 0, run.message
    assert told(run, "debug").result["msg"] == four_lines(place.vip.partition("/")[0], "eth1", "eth0")
    assert active(cluster.lab) == (cluster.node_a, "eth1")
    assert recorded(cluster) == ("eth1", "eth0")
    assert cluster.writes() == ["AssociateAddress", "ModifyNetworkInterfaceAttribute", *["ReplaceRoute"] * 3]
    after = {subject: new for subject, (_old, new) in cluster.changes().items()}
    for _machine, table in place.route_tables:
        assert after["route", table, place.vip] == f"{backup} active"
        assert ("route", table, place.vip6) not in after
    assert after["source/dest check", backup] == "off"
    assert after["elastic ip", place.elastic_ip].startswith(f"{backup} ")
    vip, _vip6, neighbour, outside = cluster.clients
    cluster.assert_served(vip, neighbour, outside)


def test_move_out_of_service_swaps_the_two_values_and_nothing_else(cluster: Cluster) -> None:
    state = json.loads(cluster.node_a.run("cat", STATE).stdout)
    cluster.node_a.run("sh", "-c", f"cat > {STATE}", input=json.dumps({**state, "in_service": False}))
    cluster.node_a.drop(cluster.lab.place.vip)
    before = cluster.changes()

    run = cluster.play("backup_interface", cluster.web, tag="web", operation="move")

    assert run.status == 0, run.message
    assert recorded(cluster) == ("eth1", "eth0")
    assert cluster.writes() == []
    file = ("file", "node-a", STATE.lstrip("/"))
    assert {subject: change for subject, change in cluster.changes().items() if subject != file} == {
        subject: change for subject, change in before.items() if subject != file
    }
