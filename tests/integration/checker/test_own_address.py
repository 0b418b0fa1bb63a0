# SPDX-License-Identifier: GPL-3.0-or-later
"""The node keeps its own address, and uses it for its own connections, also where the protected one comes to the link first."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lab.waiting import until

from .small import HOST, OWN, ROUTER, SmallNode


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
