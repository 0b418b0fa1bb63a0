# SPDX-License-Identifier: GPL-3.0-or-later
"""ip_source_route in real namespaces: the address of somebody else, answered by the link that has it."""

from __future__ import annotations

from typing import Any

import pytest

from harness.module import twelve_steps
from lab.netns import Namespace

from .conftest import Module, addresses, snapshot
from .test_ip_address import settle


@pytest.fixture
def routed(node: Namespace, peer: Namespace) -> Namespace:
    """The node has the default route on eth0; 10.0.2.11 on eth1 is somebody else's. The peer is the router of both networks."""
    for machine, host in ((node, 11), (peer, 1)):
        for number, link in enumerate(("eth0", "eth1"), 1):
            machine.ip(f"addr add 10.0.{number}.{host}/24 dev {link}")
    node.ip("route add default via 10.0.1.1 dev eth0")
    return peer


WANTED = {"address": "10.0.2.11", "interface": "eth1", "gateway": "10.0.2.1"}


def test_twelve_steps(node: Namespace, routed: Namespace, module: Module) -> None:
    settle(node)
    twelve_steps(
        lambda args, check: module("ip_source_route", check, **args),
        lambda: snapshot(node),
        create=WANTED,
        change={**WANTED, "gateway": "10.0.2.254"},
        remove={**WANTED, "state": "absent"},
    )


@pytest.mark.python39
def test_replies_leave_by_the_link(node: Namespace, routed: Namespace, module: Module) -> None:
    asked = "route get 192.0.2.1 from 10.0.2.11"
    assert "dev eth0" in node.ip(asked)
    held = addresses(node, "eth1")
    answer = module("ip_source_route", **WANTED)
    assert answer["after"] | {"table": 0} == {"table": 0, "interface": "eth1", "gateway": "10.0.2.1"}
    assert "via 10.0.2.1 dev eth1" in node.ip(asked)
    assert "dev eth0" in node.ip("route get 192.0.2.1 from 10.0.1.11"), "the other address still leaves by its own link"
    assert addresses(node, "eth1") == held


def test_foreign_rules_and_tables_stay(node: Namespace, routed: Namespace, module: Module) -> None:
    settle(node)
    node.ip("rule add from 10.0.2.11 lookup 500 priority 9000")
    node.ip("route add default via 10.0.2.1 dev eth1 table 500")
    before = snapshot(node)
    assert module("ip_source_route", **WANTED)["changed"] is True
    assert "lookup 500" in node.ip("rule")
    assert module("ip_source_route", **WANTED, state="absent")["changed"] is True
    assert snapshot(node) == before


def test_not_needed_where_the_default_route_is(node: Namespace, routed: Namespace, module: Module) -> None:
    answer = module("ip_source_route", address="10.0.1.11/24", interface="eth0", gateway="10.0.1.1")
    assert (answer["changed"], answer["failed"], answer["after"]) == (False, False, None)


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({**WANTED, "interface": "eth0"}, "10.0.2.11 is not on eth0"),
        ({**WANTED, "interface": "eth7"}, "no link eth7"),
        ({**WANTED, "interface": "../eth1"}, "is not an interface name"),
        ({**WANTED, "address": "10.0.2.11/33"}, "is not an address"),
        ({**WANTED, "gateway": "fd00::1"}, "cannot be the gateway"),
        ({**WANTED, "address": "1" * 1_000_000}, "is not an IP address"),
    ],
)
def test_bad_input(node: Namespace, routed: Namespace, module: Module, options: dict[str, Any], cause: str) -> None:
    settle(node)
    before = snapshot(node)
    answer = module("ip_source_route", **options)
    assert answer["failed"]
    assert cause in answer["msg"]
    assert len(answer["msg"]) < 400
    assert snapshot(node) == before
