# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes whose interfaces NetworkManager manages: what it takes away is put back, and the service stays where it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import Installed
from ansible_collections.holdfast.ha.tests.integration.systems.deeds import service_stays
from harness.marks import STALLS
from lab import forwarding
from lab.booted import BootedNode
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


@pytest.fixture(scope="module")
def managed(cluster: Installed) -> Iterator[Installed]:
    """Both links of both nodes are NetworkManager's."""
    cluster.reset()
    for node in cluster.nodes:
        for number, one in enumerate(node.place.interfaces):
            addresses = {"address": f"{one.address}/{one.cidr.partition('/')[2]}", "address6": one.ipv6_address}
            gateways = {"gateway": forwarding.router_address(one.cidr), "gateway6": forwarding.ROUTER6}
            connection = _CONNECTION.format(link=one.link, metric=100 * (number + 1), **addresses, **gateways)
            place = f"/etc/NetworkManager/system-connections/{one.link}.nmconnection"
            node.run("install", "-D", "-m", "0600", "/dev/stdin", place, input=connection)
        node.run("sh", "-euc", "systemctl unmask NetworkManager; systemctl start NetworkManager")
        node.run("sh", "-euc", "nmcli connection up eth0; nmcli connection up eth1")  # what the links have is nobody's until then
        until(lambda node=node: connected(node) == ["eth0", "eth1"], 60, f"NetworkManager does not manage {node.name}")
    yield cluster
    for node in cluster.nodes:
        node.run("sh", "-c", "systemctl stop NetworkManager; systemctl mask NetworkManager; rm -f /etc/NetworkManager/system-connections/*")
        node.configure()


@pytest.mark.parametrize(("deed", "link"), DEEDS)
def test_whatever_network_manager_does_the_service_stays(managed: Installed, active: str, deed: str, link: str) -> None:
    service_stays(managed, active, link, deed)
