# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes whose interfaces systemd-networkd manages: what it takes away is put back, and the service stays where it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import Installed, since_now
from ansible_collections.holdfast.ha.tests.integration.systems.deeds import dhcp_server, own_addresses_are_renewed, service_stays
from harness.marks import STALLS
from lab import forwarding
from lab.booted import BootedNode
from lab.dhcp import DhcpServer
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
#: As the image of a cloud has it.
_BY_DHCP = """[Match]
Name={link}
[Network]
DHCP=ipv4
LinkLocalAddressing=ipv6
IPv6AcceptRA=no
[DHCPv4]
RouteMetric={metric}
ClientIdentifier=mac
[Route]
Destination=::/0
Gateway={gateway6}
GatewayOnLink=yes
Metric={metric}
"""
#: Seconds between two configurations by the timer; amazon-ec2-net-utils has 60.
PERIOD = 2
#: How many of them are waited for. Ten repairs within a minute, those of the tests before among them, would move the resource.
TURNS = 3


def managed(node: BootedNode) -> list[str]:
    """The links that networkd has configured."""
    rows = [line.split() for line in node.run("networkctl", "list", "--no-legend", "--no-pager").stdout.splitlines()]
    return [row[1] for row in rows if row[-1] == "configured"]


def write(node: BootedNode, profile: str) -> None:
    """The profiles of both links."""
    for number, one in enumerate(node.place.interfaces):
        address = f"{one.address}/{one.cidr.partition('/')[2]}"
        gateways = {"gateway": forwarding.router_address(one.cidr), "gateway6": forwarding.ROUTER6}
        text = profile.format(link=one.link, address=address, metric=100 * (number + 1), **gateways)
        node.run("install", "-D", "-m", "0644", "/dev/stdin", f"/etc/systemd/network/10-{one.link}.network", input=text)


@pytest.fixture(scope="module")
def networkd(cluster: Installed) -> Iterator[Installed]:
    """Both links of both nodes are networkd's."""
    cluster.reset()
    for node in cluster.nodes:
        write(node, _PROFILE)
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


@pytest.fixture
def by_dhcp(networkd: Installed, active: str) -> Iterator[DhcpServer]:
    """The links of the active node get their own IPv4 addresses by DHCP."""
    node = networkd.node(active)
    own = {f"{one.address}/{one.cidr.partition('/')[2]}" for one in node.place.interfaces}
    with dhcp_server(networkd, node) as server:
        try:
            write(node, _BY_DHCP)
            node.run("networkctl", "reload")
            until(lambda: len(server.given) == len(own), 30, "the links get no address by DHCP")
            networkd.wait_settled(active)
            yield server
        finally:
            write(node, _PROFILE)
            node.run("networkctl", "reload")
            until(lambda: own <= {cidr for _link, cidr in node.addresses()}, 30, "the links do not get their addresses back")
    networkd.wait_settled(active)


def test_an_address_by_dhcp_is_renewed_and_given_anew_and_the_service_stays(networkd: Installed, active: str, by_dhcp: DhcpServer) -> None:
    own_addresses_are_renewed(networkd, active, by_dhcp, "networkctl renew eth0", "networkctl renew eth1")


def test_a_timer_that_configures_the_links_again_and_again_moves_nothing(networkd: Installed, active: str) -> None:
    node, before, begin = networkd.node(active), networkd.record(), since_now()
    every = (f"--on-active={PERIOD}", f"--on-unit-active={PERIOD}", "--timer-property=AccuracySec=50ms")
    with networkd.lab.prober("client-c") as prober:
        prober.wait_until_answered(5, by=active)
        deed = "networkctl reload && networkctl reconfigure eth0 eth1 && echo >> /run/configured"
        node.run("systemd-run", "--quiet", "--unit=configure-links", *every, "sh", "-c", deed)
        try:
            until(lambda: len(node.run("cat", "/run/configured", check=False).stdout) >= TURNS, 60, "the timer does not run")
        finally:
            node.run("sh", "-c", "systemctl stop configure-links.timer; rm -f /run/configured")
        networkd.wait_settled(active)
        report = prober.stop()
    repairs = [one["time"] for one in networkd.events(node, begin) if one["event"] == "reflex"]
    print(f"{len(repairs)} repairs, each outage: {[f'{one.ms:.0f} ms' for one in report.outages]}")
    assert report.longest_ms < 1000
    networkd.stays(before)
