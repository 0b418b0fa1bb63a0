# SPDX-License-Identifier: GPL-3.0-or-later
"""The node keeps its own address, and uses it for its own connections, also where the protected one comes to the link first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import cast

import pytest

from harness.marks import STALLS
from lab.checker import write
from lab.node import Node
from lab.waiting import until

from .small import HOST, OWN, ROUTER, STATE, TAG, SmallNode

pytestmark = STALLS


@pytest.fixture
def node(small: SmallNode) -> Iterator[SmallNode]:
    small.run("sh", "-c", "for f in /proc/sys/net/ipv4/conf/*/promote_secondaries; do echo 0 > $f; done")
    try:
        small.reset(checks={"grace": 0, "interval": 2})
        yield small
    finally:
        small.stop_checker()
        small.run("ip", "addr", "replace", f"{OWN}/22", "dev", "eth0")


def addresses(node: SmallNode) -> list[str]:
    shown = json.loads(node.namespace.ip("-4 -j addr show dev eth0"))
    return [str(one["local"]) for link in shown for one in link.get("addr_info", ())]


def source(node: SmallNode) -> str:
    """Of the node's own connections."""
    return str(json.loads(node.namespace.ip(f"-j route get {ROUTER}"))[0]["prefsrc"])


def test_the_nodes_own_address_outlives_the_protected_one(node: SmallNode) -> None:
    """All addresses are flushed, as when a network manager is restarted; the checker is back first."""
    assert source(node) == OWN
    node.namespace.ip("addr flush dev eth0")
    until(lambda: addresses(node) == [HOST], 5, "the checker does not put it back")
    node.namespace.ip(f"addr add {OWN}/22 dev eth0")
    until(lambda: source(node) == OWN, 2, "the node's own connections have the protected address")
    assert sorted(addresses(node)) == sorted([HOST, OWN])
    assert node.checker is not None
    node.checker.kill()
    until(lambda: HOST not in addresses(node), 20, "it does not expire")
    assert (addresses(node), source(node)) == ([OWN], OWN)


VIP6, OWN6, NEAR6 = "2001:db8:a::10", "2001:db8:a::11", "2001:db8:a::21"


@pytest.fixture
def node6(small: SmallNode) -> Iterator[SmallNode]:
    """Its protected address and its own are of IPv6 and in one network."""
    small.namespace.ip(f"-6 addr add {OWN6}/64 dev eth0 nodad")
    small.router.ip(f"-6 addr add {NEAR6}/64 dev br0 nodad")
    try:
        small.reset(watched=False, checks={"grace": 0, "interval": 2}, address=f"{VIP6}/64", probe={"targets": [NEAR6], "tries": 2, "timeout": 0.5})
        assert small.checker is not None
        small.checker.start()
        small.ask("acquire", tag=TAG, wait=60)
        small.ask("serve", tag=TAG)
        write(cast(Node, small), STATE, {**small.learned(in_service=True), "address": f"{VIP6}/64"})
        yield small
    finally:
        small.stop_checker()
        small.run("ip", "addr", "del", f"{VIP6}/64", "dev", "eth0", check=False)
        small.namespace.ip(f"-6 addr del {OWN6}/64 dev eth0")
        small.router.ip(f"-6 addr del {NEAR6}/64 dev br0")


def state_of(node: SmallNode) -> tuple[bool, str, str]:
    """Whether the protected address is there and deprecated, the source of the node's own connections, and the health."""
    (shown,) = json.loads(node.namespace.ip("-6 -j addr show dev eth0"))
    there = any(one["local"] == VIP6 and one.get("deprecated", False) for one in shown["addr_info"])
    (status,) = node.ask("status")["resources"]
    return there, json.loads(node.namespace.ip(f"-j route get {NEAR6}"))[0]["prefsrc"], status["health"]


def test_a_deprecated_address_is_well_and_put_back(node6: SmallNode) -> None:
    until(lambda: state_of(node6) == (True, OWN6, "healthy"), 10, "it is not healthy")
    node6.namespace.ip(f"-6 addr del {VIP6}/64 dev eth0")
    until(lambda: state_of(node6) == (True, OWN6, "healthy"), 10, "it is not put back")
    node6.router.run("ping", "-n", "-c1", "-W2", "-I", NEAR6, VIP6)
    node6.ask("withdraw", tag=TAG)
    assert "metric 72" not in node6.namespace.ip("-6 route")
    assert f"{VIP6}/" not in node6.namespace.ip("-6 addr show dev eth0")
