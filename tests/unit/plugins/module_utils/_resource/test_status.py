# SPDX-License-Identifier: GPL-3.0-or-later
"""The status table and what it says to do, and from where a resource is probed."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._model import Address, Link, LinkAddress, Probe
from ansible_collections.holdfast.ha.plugins.module_utils._resource.learned import effective
from ansible_collections.holdfast.ha.plugins.module_utils._resource.probing import probe_from, probe_of
from ansible_collections.holdfast.ha.plugins.module_utils._resource.schema import parse
from ansible_collections.holdfast.ha.plugins.module_utils._resource.status import status_table

_ROUTE = {"route_table_id": "rtb-1", "destination": "10.1.0.10/32", "before": "eni-1", "after": "eni-1", "error": None}
_EC2 = {"error": "", "routes": [_ROUTE], "source_dest_check": False, "elastic_ip": "203.0.113.5", "elastic_ip_right": True}
_NO_EC2 = {"error": "", "routes": [], "source_dest_check": None, "elastic_ip": None, "elastic_ip_right": True}


def entry(**more: Any) -> dict[str, Any]:
    shown = {
        "tag": "web",
        "node": "node-a",
        "address": "10.1.0.10/32",
        "primary_interface": "eth0",
        "primary_state": "up",
        "backup_interface": "eth1",
    }
    return {**shown, "in_service": True, "health": "healthy", "reasons": [], "ec2": _EC2, **more}


def lines(*entries: dict[str, Any]) -> list[str]:
    return status_table(entries).splitlines()


def test_nothing_known() -> None:
    assert lines() == ["No resource is known on any of these nodes; give holdfast_resources in the inventory."]


def test_healthy() -> None:
    header, row = lines(entry())
    assert header.split()[0] == "RESOURCE"
    assert row.split() == ["web", "node-a", "yes", "10.1.0.10/32", "eth0", "(up)", "eth1", "1/1", "off", "203.0.113.5", "(here)", "healthy"]


def test_the_node_in_service_comes_first_and_a_standby_needs_no_advice() -> None:
    standby = entry(node="node-0", in_service=False, health="failed", reasons=["10.1.0.10/32 is not on eth0"], ec2=_NO_EC2)
    shown = lines(standby, entry())
    assert [line.split()[1] for line in shown[1:]] == ["node-a", "node-0"]
    assert shown[2].endswith("standby")


@pytest.mark.parametrize(
    ("change", "health", "cause"),
    [
        ({"routes": [{**_ROUTE, "before": "eni-2"}]}, "failed", "10.1.0.10/32 in rtb-1 leads to eni-2"),
        ({"source_dest_check": True}, "failed", "the source/destination check is on"),
        ({"elastic_ip_right": False}, "failed", "203.0.113.5 is not associated with this node"),
        ({"error": "DescribeRouteTables: no reply"}, "unknown", "EC2 could not be asked: DescribeRouteTables: no reply"),
    ],
)
def test_what_is_wrong_on_ec2(change: dict[str, Any], health: str, cause: str) -> None:
    shown = lines(entry(ec2={**_EC2, **change}))
    assert shown[1].endswith(health)
    assert shown[2].startswith(f"web on node-a: {cause}")


def test_what_is_wrong_with_the_address() -> None:
    shown = lines(entry(health="failed", reasons=["eth0 has no carrier"]))
    assert shown[1].endswith("failed")
    assert shown[2] == "web on node-a: eth0 has no carrier; run holdfast.ha.local_recovery --limit node-a"


def _known(**ec2: Any) -> Any:
    more = {"ec2": ec2} if ec2 else {}
    return effective("web", parse({"tag": "web", "address": "10.1.0.10/32", "interface": "eth0", **more}), None)


def _link(*held: str) -> Link:
    addresses = tuple(LinkAddress(Address.parse(text)) for text in held)
    return Link("eth0", 2, "02:00:00:00:00:01", True, True, addresses=addresses)


@pytest.mark.parametrize(
    ("ec2", "held", "source"),
    [
        ({}, ("10.0.1.11/24", "10.1.0.10/32"), "10.1.0.10/32"),
        ({"elastic_ip": "203.0.113.5"}, ("10.0.1.11/24",), "10.1.0.10/32"),
        ({"route_tables": "all"}, ("10.1.0.10/32", "10.0.1.11/24"), "10.0.1.11/24"),
        ({"route_tables": "all"}, ("10.1.0.10/32", "fd00::1/64"), "10.1.0.10/32"),
        ({"route_tables": "all"}, (), "10.1.0.10/32"),
    ],
)
def test_probed_from(ec2: dict[str, Any], held: tuple[str, ...], source: str) -> None:
    assert str(probe_from(_known(**ec2), _link(*held))) == source


@pytest.mark.parametrize(
    ("ec2", "given", "source", "targets"),
    [
        ({"route_tables": "all"}, (), "10.0.1.11/24", ("10.0.1.1",)),
        ({"route_tables": "all"}, ("10.0.9.9",), "10.0.1.11/24", ("10.0.9.9",)),
        ({"route_tables": "all"}, (), "10.1.0.10/32", ()),
        ({}, (), "10.0.1.11/24", ()),
    ],
)
def test_probe_targets(ec2: dict[str, Any], given: tuple[str, ...], source: str, targets: tuple[str, ...]) -> None:
    assert probe_of(_known(**ec2), Address.parse(source), Probe(given)).targets == targets
