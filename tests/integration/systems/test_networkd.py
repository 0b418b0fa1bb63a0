# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes whose interfaces systemd-networkd manages: what it takes away is put back, and the service stays where it is."""

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

#: A static profile, as netplan or an image's author writes it.
_PROFILE = """[Match]
Name={link}
[Network]
Address={address}
LinkLocalAddressing=ipv6
IPv6AcceptRA=no
[Route]
Destination=0.0.0.0/0
Gateway={gateway}
Metric={metric}
[Route]
Destination=::/0
Gateway={gateway6}
GatewayOnLink=yes
Metric={metric}
"""


def managed(node: BootedNode) -> list[str]:
    """The links that networkd has configured."""
    rows = [line.split() for line in node.run("networkctl", "list", "--no-legend", "--no-pager").stdout.splitlines()]
    return [row[1] for row in rows if row[-1] == "configured"]


@pytest.fixture(scope="module")
def networkd(cluster: Installed) -> Iterator[Installed]:
    """Both links of both nodes are networkd's."""
    cluster.reset()
    for node in cluster.nodes:
        for number, one in enumerate(node.place.interfaces):
            address = f"{one.address}/{one.cidr.partition('/')[2]}"
            gateways = {"gateway": forwarding.router_address(one.cidr), "gateway6": forwarding.ROUTER6}
            profile = _PROFILE.format(link=one.link, address=address, metric=100 * (number + 1), **gateways)
            node.run("install", "-D", "-m", "0644", "/dev/stdin", f"/etc/systemd/network/10-{one.link}.network", input=profile)
        node.run("systemctl", "restart", "systemd-networkd")
        until(lambda node=node: managed(node) == ["eth0", "eth1"], 30, f"networkd does not manage {node.name}")
    yield cluster
    for node in cluster.nodes:
        node.run("sh", "-c", "rm -f /etc/systemd/network/10-eth?.network; systemctl stop systemd-networkd.socket systemd-networkd")
        node.configure()


#: What is done, and where the address is then.
DEEDS = [
    ("systemctl restart systemd-networkd", "eth0"),
    ("systemctl restart systemd-networkd", "eth1"),
    ("networkctl reload", "eth1"),
    ("networkctl reconfigure eth0", "eth1"),
    ("networkctl reconfigure eth1", "eth1"),
    ("ip addr flush dev eth0", "eth0"),
]


@pytest.mark.parametrize(("deed", "link"), DEEDS)
def test_whatever_networkd_does_the_service_stays(networkd: Installed, active: str, deed: str, link: str) -> None:
    service_stays(networkd, active, link, deed)
