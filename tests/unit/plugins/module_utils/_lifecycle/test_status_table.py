# SPDX-License-Identifier: GPL-3.0-or-later
"""The status table and what it says to do, and from where a resource is probed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address, Link, LinkAddress, Probe
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.status import advice_for, causes, state_of
from ansible_collections.holdfast.ha.plugins.module_utils._lifecycle.status_table import status_entries, status_table
from ansible_collections.holdfast.ha.plugins.module_utils._resource.effective import effective
from ansible_collections.holdfast.ha.plugins.module_utils._resource.probe_source import probe_from, probe_of
from ansible_collections.holdfast.ha.plugins.module_utils._resource.schema import parse
from ansible_collections.holdfast.ha.tests.unit.plugins.module_utils._lifecycle.test_status import ABOUT, CASES

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
    assert shown[2:] == ["web on node-a: eth0 has no carrier", "web on node-a: what to do: run holdfast.ha.local_recovery --limit node-a"]


_PARTS = {
    "checked_ago": 3,
    "error": None,
    "routes_right": 2,
    "routes_total": 3,
    "source_dest_check": False,
    "elastic_ip": "203.0.113.5",
    "elastic_ip_right": True,
}
_ACTIVE: dict[str, Any] = {
    "tag": "web",
    "held": True,
    "role": "active",
    "holder": "node-a",
    "epoch": 1795373160,
    "phase": "watching",
    "health": "healthy",
    "reasons": [],
    "address": "10.1.0.10/32",
    "interface": "eth0",
    "interface_up": True,
    "backup_interface": "eth1",
    "ec2": _PARTS,
    "dependents": [{"name": "app", "kind": "service", "state": "active"}, {"name": "warm", "kind": "tasks", "state": "stopped"}],
    "ready": True,
    "advice": "",
}


def told(node: str = "node-a", **change: Any) -> list[dict[str, Any]]:
    return status_entries({"cluster": "web-prod", "node": node, "resources": [{**_ACTIVE, **change}]})


def test_what_a_checker_says() -> None:
    header, row = lines(*told())
    assert re.split("  +", header)[3:6] == ["CHECKER", "HOLDER", "EPOCH"]
    assert [cell.strip() for cell in row.split("  ") if cell.strip()] == [
        *("web", "node-a", "yes", "watching", "node-a", "1795373160", "10.1.0.10/32", "eth0 (up)", "eth1"),
        *("2/3", "off", "203.0.113.5 (here)", "1/2", "healthy"),
    ]


def test_no_checker_makes_no_entries() -> None:
    assert status_entries(None) == []


def test_a_node_with_a_checker_and_one_without_in_one_table() -> None:
    shown = lines(*told(), entry(node="node-b", in_service=False, ec2=_NO_EC2))
    assert [line.split()[1:4] for line in shown[1:]] == [["node-a", "yes", "watching"], ["node-b", "no", "none"]]


@pytest.mark.parametrize(
    ("change", "health", "says"),
    [
        (
            {"health": "failed", "reasons": ["eth0 has no carrier"], "advice": "plug it in"},
            "failed",
            ["eth0 has no carrier", "what to do: plug it in"],
        ),
        (
            {"health": "unknown", "ec2": {**_PARTS, "error": "no reply"}},
            "unknown",
            [
                "EC2 could not be asked: no reply (last looked 3 s ago)",
                "what to do: nothing is moved while EC2 cannot be asked; see the network to EC2, and the node's credentials and rights",
            ],
        ),
        ({"paused": True, "advice": "holdfast resume web"}, "healthy", ["what to do: holdfast resume web"]),
        ({"held": False, "role": "standby", "holder": "node-b"}, "standby", []),
        (
            {"held": False, "role": "standby", "ready": False, "ready_reason": "eth0 is down"},
            "not ready",
            [
                "this node could not take it over: eth0 is down",
                "what to do: put that right; until then node-a has one standby less",
            ],
        ),
        (
            {"held": False, "role": "standby", "health": "failed", "reasons": ["it is here"], "advice": "remove it"},
            "failed",
            ["it is here", "what to do: remove it"],
        ),
        (
            {"held": False, "role": "standby", "holder": "", "advice": "name a node"},
            "not held",
            ["what to do: name a node"],
        ),
        ({"error": "no answer from the store"}, "healthy", ["no answer from the store"]),
    ],
)
def test_what_a_checker_finds_wrong(change: dict[str, Any], health: str, says: list[str]) -> None:
    shown = lines(*told(**change))
    assert shown[1].endswith(f"  {health}")
    assert shown[2:] == [f"web on node-a: {line}" for line in says]


@pytest.mark.parametrize("case", CASES)
def test_the_table_says_what_the_command_says(case: str) -> None:
    """On a node with a checker: the state, what is wrong, and what to do."""
    status = {**ABOUT, **CASES[case]}
    for one in status["resources"] if status.get("watched", True) else ():
        alone = {**one, "last_recovery": None}  # the table has no column for it
        shown = lines(*status_entries({**status, "resources": [alone]}))
        assert shown[1].endswith(f"  {state_of(one).lower()}")
        todo = [f"what to do: {text}"] if (text := advice_for(one)) else []
        assert shown[2:] == [f"{one['tag']} on node-a: {line}" for line in [*causes(alone), *todo]]


def test_what_is_not_known_is_not_shown_as_wrong() -> None:
    silent = {**_PARTS, "routes_right": None, "routes_total": None, "source_dest_check": None, "elastic_ip_right": None, "error": "no reply"}
    row = re.split("  +", lines(*told(ec2=silent, health="unknown"))[1])
    assert row[9:12] == ["?", "?", "203.0.113.5 (?)"]


@pytest.mark.parametrize("width", range(60, 190, 10))
def test_a_narrow_terminal_gets_what_matters(width: int) -> None:
    full, narrow = status_table(told()).splitlines(), status_table(told(), width).splitlines()
    assert len(narrow[1]) <= width or "HOLDER" not in narrow[0]
    assert (narrow == full) == (len(full[1]) <= width)
    for name in ("RESOURCE", "NODE", "IN SERVICE", "ADDRESS", "INTERFACE", "ROUTES", "ELASTIC IP", "HEALTH"):
        assert name in narrow[0]
    assert "HOLDER" in narrow[0] or "EPOCH" not in narrow[0]


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
    ("ec2", "given", "held", "targets"),
    [
        ({"route_tables": "all"}, (), "10.0.1.11/24", ("10.0.1.1",)),
        ({"route_tables": "all"}, ("10.0.9.9",), "10.0.1.11/24", ("10.0.9.9",)),
        ({"route_tables": "all"}, (), "10.1.0.10/32", ()),
        ({"elastic_ip": "203.0.113.5"}, (), "10.0.1.11/24", ("10.0.1.1",)),
        ({}, (), "10.0.1.11/24", ()),
    ],
)
def test_probe_targets(ec2: dict[str, Any], given: tuple[str, ...], held: str, targets: tuple[str, ...]) -> None:
    assert probe_of(_known(**ec2), _link(held), Probe(given)).targets == targets
