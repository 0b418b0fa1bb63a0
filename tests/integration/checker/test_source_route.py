# SPDX-License-Identifier: GPL-3.0-or-later
"""Replies leave by the link of the address, whatever becomes of its rule and its table: else a VPC drops them, and clients are not answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.marks import STALLS
from lab.waiting import throughout, until

from .small import HOST, ROUTER, TAG, SmallNode

pytestmark = STALLS

#: A client that is not near, and the node's own address on the link with the default route.
CLIENT, SECOND = "198.51.100.7", "172.17.106.12"
#: Nothing waits for a time after the start.
CHECKS = {"grace": 0, "interval": 2}
#: As a VPC does: what comes from an address that is not the interface's own is dropped.
SOURCE_CHECK = f"""
add table bridge source_check
add chain bridge source_check in {{ type filter hook prerouting priority 0; }}
add rule bridge source_check in iifname "eth1" ether type ip ip saddr {HOST} drop
"""


@pytest.fixture
def node(small: SmallNode, request: pytest.FixtureRequest) -> Iterator[SmallNode]:
    """Serves the address on eth0, while its default route leaves by eth1."""
    small.router.ip(f"addr add {CLIENT}/32 dev lo")
    small.router.run("nft", "-f", "-", input=SOURCE_CHECK)
    small.namespace.ip(f"addr add {SECOND}/22 dev eth1")
    small.namespace.ip(f"route add default via {ROUTER} dev eth1")
    try:
        small.reset(checks=CHECKS, **getattr(request, "param", {"gateway": ROUTER}))
        yield small
    finally:
        small.stop_checker()
        flush(small)
        small.namespace.ip("route del default")
        small.namespace.ip(f"addr del {SECOND}/22 dev eth1")
        small.router.run("nft", "delete", "table", "bridge", "source_check")
        small.router.ip(f"addr del {CLIENT}/32 dev lo")


def flush(node: SmallNode) -> None:
    for rule in rules(node):
        node.namespace.ip(f"rule del from {rule['src']} table {rule['table']}")
    for table in tables(node):
        node.namespace.ip(f"route flush table {table}")


def rules(node: SmallNode) -> list[dict[str, Any]]:
    return [rule for rule in json.loads(node.namespace.ip("-N -j rule")) if rule.get("src") == HOST]


def tables(node: SmallNode) -> set[str]:
    """Those with routes of the collection."""
    return {str(route["table"]) for route in json.loads(node.namespace.ip("-N -j route show table all proto 72")) if "table" in route}


def is_answered(node: SmallNode) -> bool:
    return node.router.run("ping", "-n", "-q", "-c", "1", "-W", "0.1", "-I", CLIENT, HOST, check=False).returncode == 0


def is_healthy(node: SmallNode) -> bool:
    (resource,) = node.ask("status")["resources"]
    return bool(resource["health"] == "healthy")


def delete_rule(node: SmallNode) -> None:
    node.namespace.ip(f"rule del from {HOST} table {rules(node)[0]['table']}")


def flush_table(node: SmallNode) -> None:
    node.namespace.ip(f"route flush table {rules(node)[0]['table']}")


def delete_both(node: SmallNode) -> None:
    table = rules(node)[0]["table"]
    node.namespace.ip(f"rule del from {HOST} table {table}")
    node.namespace.ip(f"route flush table {table}")


@pytest.mark.scenario("C3")
@pytest.mark.parametrize("lose", [delete_rule, flush_table, delete_both])
def test_what_others_delete_is_put_back_within_a_second(node: SmallNode, lose: Callable[[SmallNode], None]) -> None:
    until(lambda: is_answered(node), 5, "clients were not answered to begin with")
    lose(node)
    until(lambda: is_answered(node), 1, "clients are not answered any more")
    assert node.checker is not None
    told = until(lambda: node.checker.seen("reflex"), 2, "nothing is told")[0]
    assert (told["ok"], told["faults"], told["what"]) == (True, ["source_route"], "made its replies leave by eth0")
    until(lambda: is_healthy(node), 5, "it is not healthy again")
    assert (len(rules(node)), len(tables(node))) == (1, 1), "a table was left behind"


def test_it_is_made_once_it_becomes_necessary(node: SmallNode) -> None:
    """The default route moves to another link, as when a network manager changes metrics."""
    node.namespace.ip(f"route replace default via {ROUTER} dev eth0")
    node.ask("serve", tag=TAG)
    assert rules(node) == []
    node.namespace.ip(f"route replace default via {ROUTER} dev eth1")
    until(lambda: is_answered(node), 10, "clients are not answered")
    assert len(rules(node)) == 1


@pytest.mark.parametrize("node", [{}], indirect=True, ids=["no gateway is known"])
def test_what_nothing_would_change_is_no_fault(node: SmallNode) -> None:
    assert node.checker is not None
    throughout(lambda: is_healthy(node), 7, "it is not healthy")
    assert (node.checker.seen("reflex"), rules(node)) == ([], [])


def test_nothing_is_left_where_the_rule_was_lost(node: SmallNode) -> None:
    node.stop_checker()
    until(lambda: not node.places(), 20, "the address is still there")
    node.reset(checks=CHECKS, gateway=ROUTER)
    assert tables(node)
    node.checker.kill()
    delete_rule(node)
    answer = node.module("ip_address", address=f"{HOST}/22", interface="eth0", state="absent")
    assert answer["changed"]
    assert (node.places(), rules(node), tables(node)) == ({}, [], set())


def told(node: SmallNode) -> tuple[str, str]:
    (shown,) = node.module("ip_resource_info", tag=TAG, node=node.name)["resources"]
    return shown["health"], " ".join(shown["reasons"])


def test_a_rule_of_somebody_else_that_comes_first_is_told(node: SmallNode) -> None:
    """Nothing is done about it, as it may be meant."""
    until(lambda: is_answered(node), 5, "clients were not answered to begin with")
    until(lambda: is_healthy(node), 10, "it was not healthy to begin with")
    assert told(node) == ("healthy", "")
    node.namespace.ip(f"rule add from {HOST} lookup main priority 100")
    try:
        until(lambda: not is_healthy(node), 5, "the status says that it is healthy")
        assert "a rule before that with priority 7200" in told(node)[1]
    finally:
        node.namespace.ip("rule del priority 100")
    until(lambda: is_healthy(node), 10, "it is not healthy again")


def test_the_module_sees_a_lost_rule_too(node: SmallNode) -> None:
    until(lambda: is_answered(node), 5, "clients were not answered to begin with")
    assert node.checker is not None
    node.checker.kill()
    delete_rule(node)
    health, reasons = told(node)
    assert (health, "its rule or its routes are missing" in reasons) == ("failed", True)
