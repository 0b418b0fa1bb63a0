# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes whose interfaces NetworkManager manages: what it takes away is put back, and the service stays where it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import Installed
from ansible_collections.holdfast.ha.tests.integration.systems.deeds import dhcp_server, own_addresses_are_renewed, service_stays
from harness.marks import STALLS
from lab import forwarding
from lab.booted import BootedNode
from lab.dhcp import DhcpServer
from lab.waiting import until

pytestmark = STALLS

#: A static connection, as an installer writes it.
_CONNECTION = """[connection]
id={link}
type=ethernet
interface-name={link}
[ipv4]
method=manual
address1={address},{gateway}
route-metric={metric}
[ipv6]
method=manual
address1={address6}/128
route1=::/0,{gateway6},{metric}
"""
#: As an installer writes it by default.
_BY_DHCP = """[connection]
id={link}
type=ethernet
interface-name={link}
[ipv4]
method=auto
route-metric={metric}
[ipv6]
method=manual
address1={address6}/128
route1=::/0,{gateway6},{metric}
"""
_UP = "nmcli connection up eth0; nmcli connection up eth1"
#: What is done, and where the address is then.
DEEDS = [
    ("nmcli device reapply eth0", "eth0"),
    ("nmcli connection up eth0", "eth0"),
    ("nmcli device reapply eth1", "eth1"),
    ("nmcli connection up eth1", "eth1"),
    ("systemctl restart NetworkManager", "eth1"),
]


def connected(node: BootedNode) -> list[str]:
    """The links that NetworkManager has configured."""
    shown = node.run("nmcli", "--terse", "--fields=DEVICE,STATE", "device", check=False).stdout
    return sorted(line.partition(":")[0] for line in shown.splitlines() if line.endswith(":connected"))


def write(node: BootedNode, connection: str) -> None:
    """The connections of both links."""
    for number, one in enumerate(node.place.interfaces):
        addresses = {"address": f"{one.address}/{one.cidr.partition('/')[2]}", "address6": one.ipv6_address}
        gateways = {"gateway": forwarding.router_address(one.cidr), "gateway6": forwarding.ROUTER6}
        text = connection.format(link=one.link, metric=100 * (number + 1), **addresses, **gateways)
        place = f"/etc/NetworkManager/system-connections/{one.link}.nmconnection"
        node.run("install", "-D", "-m", "0600", "/dev/stdin", place, input=text)


@pytest.fixture(scope="module")
def managed(cluster: Installed) -> Iterator[Installed]:
    """Both links of both nodes are NetworkManager's."""
    cluster.reset()
    for node in cluster.nodes:
        write(node, _CONNECTION)
        node.run("sh", "-euc", "systemctl unmask NetworkManager; systemctl start NetworkManager")
        node.run("sh", "-euc", _UP)  # what the links have is nobody's until then
        until(lambda node=node: connected(node) == ["eth0", "eth1"], 60, f"NetworkManager does not manage {node.name}")
    yield cluster
    for node in cluster.nodes:
        node.run("sh", "-c", "systemctl stop NetworkManager; systemctl mask NetworkManager; rm -f /etc/NetworkManager/system-connections/*")
        node.configure()


@pytest.mark.parametrize(("deed", "link"), DEEDS)
def test_whatever_network_manager_does_the_service_stays(managed: Installed, active: str, deed: str, link: str) -> None:
    service_stays(managed, active, link, deed)


@pytest.fixture
def by_dhcp(managed: Installed, active: str) -> Iterator[DhcpServer]:
    """The links of the active node get their own IPv4 addresses by DHCP."""
    node = managed.node(active)
    with dhcp_server(managed, node) as server:
        try:
            write(node, _BY_DHCP)
            node.run("sh", "-euc", f"nmcli connection reload; {_UP}")
            managed.wait_settled(active)
            yield server
        finally:
            write(node, _CONNECTION)
            node.run("sh", "-euc", f"nmcli connection reload; {_UP}")
    managed.wait_settled(active)


def test_an_address_by_dhcp_is_renewed_and_given_anew_and_the_service_stays(managed: Installed, active: str, by_dhcp: DhcpServer) -> None:
    own_addresses_are_renewed(managed, active, by_dhcp)
