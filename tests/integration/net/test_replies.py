# SPDX-License-Identifier: GPL-3.0-or-later
"""Replies from a protected address leave by its link, also where several default routes compete, and where the node is a router with many routes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lab.netns import Namespace

from .conftest import Module, snapshot
from .test_ip_address import settle

TREE = str(Path(__file__).resolve().parents[3] / ".tree")
ROUTES = 50_000
#: Of a routing daemon (BGP).
DAEMON = "proto 186"
#: Prints the seconds that all routes take to be listed, and those that a look takes.
MEASURE = """
import json, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.holdfast.ha.plugins.module_utils._core.command import run_command
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address
from ansible_collections.holdfast.ha.plugins.module_utils._net.observe import observe
def seconds(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began
everything = ["ip", "-N", "-j", "-d", "route", "show", "table", "all"]
look = lambda: observe(run_command, Address.parse(sys.argv[2]), ("eth0", "eth1"))
list_all = lambda: json.loads(subprocess.run(everything, capture_output=True, check=True).stdout)
print(json.dumps([min(seconds(list_all) for _ in range(2)), min(seconds(look) for _ in range(2))]))
"""


@pytest.fixture
def routed(node: Namespace, peer: Namespace) -> Namespace:
    """A node with an address on each of two links, and no default route."""
    for number, link in ((9, "eth0"), (8, "eth1")):
        node.ip(f"addr add 10.{number}.0.11/24 dev {link}")
        node.ip(f"-6 addr add fd00:{number}::11/64 dev {link} nodad")
    settle(node)
    return node


def links_of_replies(node: Namespace, address: str) -> set[str]:
    """To twenty hosts that are far away."""
    far = "2001:db8::" if ":" in address else "198.51.100."
    return {json.loads(node.ip(f"-j route get {far}{n} from {address}"))[0]["dev"] for n in range(1, 21)}


BOTH = ["route add default nexthop via 10.9.0.1 dev eth0 nexthop via 10.8.0.1 dev eth1"]
EQUAL = ["route add default via 10.9.0.1 dev eth0 metric 100", "route append default via 10.8.0.1 dev eth1 metric 100"]
BOTH6 = ["-6 route add default nexthop via fd00:9::1 dev eth0 nexthop via fd00:8::1 dev eth1"]
EQUAL6 = ["-6 route add default via fd00:9::1 dev eth0 metric 1024 proto ra", "-6 route append default via fd00:8::1 dev eth1 metric 1024 proto ra"]
DAEMONS = [f"route add default via 10.9.0.1 dev eth0 metric 20 {DAEMON}", f"route add default via 10.8.0.1 dev eth1 metric 30 {DAEMON}"]


@pytest.mark.parametrize("link", ["eth0", "eth1"])
@pytest.mark.parametrize(
    ("routes", "version"), [(BOTH, 4), (EQUAL, 4), (BOTH6, 6), (EQUAL6, 6), (DAEMONS, 4)], ids=["both", "equal", "both6", "equal6", "daemons"]
)
def test_they_leave_by_the_link_of_the_address(routed: Namespace, module: Module, routes: list[str], version: int, link: str) -> None:
    number = 9 if link == "eth0" else 8
    host, width = (f"10.{number}.0.100", 24) if version == 4 else (f"fd00:{number}::100", 64)
    for words in routes:
        routed.ip(words)
    before = snapshot(routed)
    wanted = {"address": f"{host}/{width}", "interface": link, "check_unique": False}
    answer = module("ip_address", **wanted)
    assert (answer["changed"], answer["failed"], answer.get("warnings")) == (True, False, None)
    assert links_of_replies(routed, host) == {link}
    assert not module("ip_address", **wanted)["changed"]
    assert module("ip_address", **wanted, state="absent")["changed"]
    assert snapshot(routed) == before


@pytest.mark.parametrize(("host", "near", "width"), [("10.9.0.100", "10.9.0.21", 24), ("fd00:9::100", "fd00:9::21", 64)])
def test_they_leave_by_the_link_of_the_address_to_clients_in_its_network_too(
    routed: Namespace, module: Module, host: str, near: str, width: int
) -> None:
    """The node's own address in that network is on another link."""
    before = snapshot(routed)
    wanted = {"address": f"{host}/{width}", "interface": "eth1", "check_unique": False}
    assert module("ip_address", **wanted)["changed"]
    asked = json.loads(routed.ip(f"-j route get {near} from {host}"))[0]
    assert asked["dev"] == "eth1"
    assert json.loads(routed.ip(f"-j route get {near}"))[0]["dev"] == "eth0", "the node's own connections go as before"
    assert not module("ip_address", **wanted)["changed"]
    moved = module("ip_address", **{**wanted, "interface": "eth0"})
    assert (moved["changed"], moved["after"]["source_route"]) == (True, None)
    assert not module("ip_address", **{**wanted, "interface": "eth0"})["changed"]
    assert module("ip_address", **{**wanted, "interface": "eth0"}, state="absent")["changed"]
    assert snapshot(routed) == before


def test_a_router_with_many_routes_is_looked_at_as_fast_as_any_other(routed: Namespace) -> None:
    """Compared with a listing of them all, which every look was once."""
    lines = (f"route add 20.{n >> 8}.{n & 255}.0/24 via 10.9.0.1 dev eth0 {DAEMON}" for n in range(ROUTES))
    routed.run("ip", "-batch", "-", input="\n".join(lines))
    routed.ip("addr add 10.9.0.100/24 dev eth0")
    measured = routed.run(sys.executable, "-c", MEASURE, TREE, "10.9.0.100/24", check=False)
    routed.ip("link del eth0")  # and its routes, which nobody wants to read where this fails
    assert measured.returncode == 0, measured.stderr
    listing, look = json.loads(measured.stdout)
    assert look < listing / 2, (look, listing)
