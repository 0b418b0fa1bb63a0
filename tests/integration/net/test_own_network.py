# SPDX-License-Identifier: GPL-3.0-or-later
"""The node's own addresses, routes and connections are as they were, whatever becomes of a protected address beside them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lab.netns import Namespace
from lab.waiting import until

from .conftest import Module, addresses
from .test_ip_address import settle

TREE = str(Path(__file__).resolve().parents[3] / ".tree")
ROLE = Path(__file__).resolve().parents[3] / "roles/monitor/vars/main.yml"
VIP, VIP6 = "10.1.0.10/24", "2001:db8:a::10/64"
OWN, OWN6 = "10.1.0.11", "2001:db8:a::11"
NEAR, NEAR6 = "10.1.0.21", "2001:db8:a::21"
FAR, FAR6 = "198.51.100.1", "2001:db8:ffff::1"
#: As the checker has an address live, in its own process.
LIVE = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.holdfast.ha.plugins.module_utils._core.model import Address
from ansible_collections.holdfast.ha.plugins.module_utils._net.lifetime import set_lifetime
from ansible_collections.holdfast.ha.plugins.module_utils._net.rtnetlink import links
address, link, seconds = Address.parse(sys.argv[2]), sys.argv[3], int(sys.argv[4])
held = [held for each in links() if each.name == link for held in each.addresses if held.address == address]
set_lifetime(address, link, seconds, noprefixroute=held[0].noprefixroute if held else False, metric=held[0].metric if held else None)
"""

Put = Callable[..., None]


@pytest.fixture(params=["a module", "the checker"])
def put(request: pytest.FixtureRequest, node: Namespace, peer: Namespace, module: Module) -> Put:
    """Put an address on a link, or renew it there, for so many seconds."""

    def by_a_module(address: str, link: str, seconds: int = 100) -> None:
        answer = module("ip_address", address=address, interface=link, valid_lft=str(seconds), check_unique=False, source_route="none")
        assert not answer["failed"], answer

    def by_the_checker(address: str, link: str, seconds: int = 100) -> None:
        live(node, address, link, seconds)

    return by_a_module if request.param == "a module" else by_the_checker


def live(node: Namespace, address: str, link: str, seconds: int) -> None:
    node.run(sys.executable, "-c", LIVE, TREE, address, link, str(seconds))


def way(node: Namespace, target: str, source: str | None = None) -> tuple[str, str]:
    """The link and the source of the node's packets to a target."""
    (route,) = json.loads(node.ip(f"-j route get {target}" + (f" from {source}" if source else "")))
    return route["dev"], source or route["prefsrc"]


def own_routes(node: Namespace, family: str) -> list[str]:
    """Routes to the network and elsewhere that are not the protected address's."""
    return [line.strip() for line in node.ip(f"-{family} route").splitlines() if "metric 72" not in line]


def as_a_network_manager_does(node: Namespace) -> None:
    node.ip(f"addr add {OWN}/24 dev eth0 noprefixroute")
    node.ip(f"route add 10.1.0.0/24 dev eth0 proto kernel src {OWN} metric 100")


def as_a_person_does(node: Namespace) -> None:
    node.ip(f"addr add {OWN}/24 dev eth0")


@pytest.mark.parametrize("link", ["eth0", "eth1"])
@pytest.mark.parametrize("own", [as_a_network_manager_does, as_a_person_does])
def test_the_nodes_connections_keep_their_link_and_their_source(node: Namespace, put: Put, own: Callable[[Namespace], None], link: str) -> None:
    own(node)
    node.ip("route add default via 10.1.0.1")
    before = own_routes(node, "4")
    put(VIP, link)
    assert (way(node, NEAR), way(node, FAR)) == (("eth0", OWN),) * 2
    put(VIP, link, 50)
    assert (way(node, NEAR), way(node, FAR)) == (("eth0", OWN),) * 2
    node.ip(f"addr del {VIP} dev {link}")
    assert own_routes(node, "4") == before


@pytest.mark.parametrize("own", [as_a_network_manager_does, as_a_person_does])
def test_also_where_the_nodes_own_address_comes_later_to_another_link(node: Namespace, put: Put, own: Callable[[Namespace], None]) -> None:
    put(VIP, "eth1")
    own(node)
    assert way(node, NEAR) == ("eth0", OWN)


@pytest.mark.parametrize(("address", "near", "peers"), [(VIP, NEAR, f"{NEAR}/24"), (VIP6, NEAR6, f"{NEAR6}/64")])
def test_a_client_in_the_network_is_answered_where_the_address_is_the_only_one(
    node: Namespace, peer: Namespace, put: Put, address: str, near: str, peers: str
) -> None:
    peer.ip(f"addr add {peers} dev eth1" + (" nodad" if ":" in peers else ""))
    settle(node)
    settle(peer)
    for seconds in (100, 50):
        put(address, "eth1", seconds)
        peer.run("ping", "-n", "-c1", "-W2", "-I", near, address.partition("/")[0])


def test_a_metric_that_somebody_gave_is_kept(node: Namespace, put: Put) -> None:
    node.ip(f"addr add {VIP} dev eth0 metric 500 valid_lft 30 preferred_lft 30")
    before = node.ip("-4 route")
    put(VIP, "eth0", 100)
    assert node.ip("-4 route") == before
    assert addresses(node, "eth0")[VIP]["metric"] == 500


@pytest.mark.parametrize("prefixlen", [64, 128])
def test_ipv6_connections_have_the_nodes_own_source(node: Namespace, peer: Namespace, put: Put, module: Module, prefixlen: int) -> None:
    vip = f"2001:db8:a::10/{prefixlen}"
    settle(node)
    node.ip(f"-6 addr add {OWN6}/64 dev eth0 nodad")
    node.ip("-6 route add default via 2001:db8:a::1 dev eth0")
    before = own_routes(node, "6")
    for seconds in (100, 50):
        put(vip, "eth0", seconds)
        assert (way(node, NEAR6), way(node, FAR6)) == (("eth0", OWN6),) * 2
        held = addresses(node, "eth0")[vip]
        assert (held["deprecated"], held["preferred_life_time"]) == (True, 0)
        assert own_routes(node, "6") == before
    again = module("ip_address", address=vip, interface="eth0", valid_lft="50", source_route="none")
    assert (again["changed"], again["failed"]) == (False, False)
    assert module("ip_address", address=vip, interface="eth0", state="absent")["changed"]
    assert own_routes(node, "6") == before
    assert "metric 72" not in node.ip("-6 route")


def test_what_has_an_ipv6_address_bound_is_reached_and_reaches(node: Namespace, peer: Namespace, put: Put) -> None:
    settle(node)
    settle(peer)
    node.ip(f"-6 addr add {OWN6}/64 dev eth0 nodad")
    peer.ip(f"-6 addr add {NEAR6}/64 dev eth0 nodad")
    put(VIP6, "eth0")
    node.run("ping", "-n", "-c1", "-W2", "-I", "2001:db8:a::10", NEAR6)
    peer.run("ping", "-n", "-c1", "-W2", "2001:db8:a::10")


def test_the_nodes_ipv6_route_outlives_an_address_that_gets_an_end(node: Namespace, peer: Namespace) -> None:
    """Somebody added it for ever and the plain way; from then on the checker has it live."""
    settle(node)
    node.ip(f"-6 addr add {OWN6}/64 dev eth0 nodad")
    before = own_routes(node, "6")
    node.ip(f"-6 addr add {VIP6} dev eth0 nodad")
    live(node, VIP6, "eth0", 2)
    until(lambda: VIP6 not in addresses(node, "eth0"), 10, "it did not end")
    assert own_routes(node, "6") == before
    assert way(node, NEAR6) == ("eth0", OWN6)


@pytest.fixture
def without_promotion(node: Namespace, peer: Namespace) -> Namespace:
    node.run("sh", "-c", "for f in /proc/sys/net/ipv4/conf/*/promote_secondaries; do echo 0 > $f; done")
    return node


@pytest.mark.parametrize("ends", ["expires", "removed"])
def test_the_nodes_own_address_survives_where_the_protected_one_came_first(without_promotion: Namespace, module: Module, ends: str) -> None:
    node = without_promotion
    node.ip(f"addr add {VIP} dev eth0 valid_lft 100 preferred_lft 100")
    node.ip(f"addr add {OWN}/24 dev eth0")
    node.ip("route add 10.8.0.0/16 via 10.1.0.1")
    answer = module("ip_address", address=VIP, interface="eth0", valid_lft="100" if ends == "removed" else "2")
    assert (answer["changed"], answer["failed"]) == (True, False)
    assert (way(node, NEAR), way(node, "10.8.0.1")) == (("eth0", OWN),) * 2
    assert not module("ip_address", address=VIP, interface="eth0", valid_lft="100" if ends == "removed" else "2")["failed"]
    if ends == "expires":
        until(lambda: VIP not in addresses(node, "eth0"), 10, "it did not end")
    else:
        node.ip(f"addr del {VIP} dev eth0")
    assert list(addresses(node, "eth0")) == [f"{OWN}/24"]
    assert way(node, NEAR) == ("eth0", OWN)


def test_two_protected_addresses_do_not_make_room_for_each_other(node: Namespace, module: Module) -> None:
    for address in (VIP, "10.1.0.12/24"):
        assert module("ip_address", address=address, interface="eth0", check_unique=False)["changed"]
    for address in (VIP, "10.1.0.12/24"):
        assert not module("ip_address", address=address, interface="eth0")["changed"]


@pytest.mark.parametrize(("vip", "own", "near"), [(VIP, f"{OWN}/24", NEAR), (VIP6, f"{OWN6}/64", NEAR6)])
def test_also_once_the_checker_is_removed_and_the_address_stays(node: Namespace, peer: Namespace, vip: str, own: str, near: str) -> None:
    settle(node)
    source = own.partition("/")[0]
    live(node, vip, "eth1", 5)
    node.ip(f"addr add {own} dev eth0" + (" nodad" if ":" in own else ""))
    routes = node.ip("-4 route")
    script = "systemctl() { :; }\n" + yaml.safe_load(ROLE.read_text())["monitor_leave"]
    assert node.run("sh", "-euc", script, "sh", vip.partition("/")[0]).stdout == ""
    assert addresses(node, "eth1")[vip]["valid_life_time"] == 2**32 - 1
    assert "expires" not in node.ip("-6 route")
    assert "metric 72" in node.ip("-6 route" if ":" in vip else "-4 route")
    assert node.ip("-4 route") == routes
    assert way(node, near) == ("eth0", source)
