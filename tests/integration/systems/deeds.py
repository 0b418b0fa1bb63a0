# SPDX-License-Identifier: GPL-3.0-or-later
"""What a network manager does on the node that serves, and what clients see of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import Installed
from lab import forwarding
from lab.booted import BootedNode
from lab.dhcp import DhcpServer, Place
from lab.waiting import until

#: Seconds that an address by DHCP lasts.
LEASE = 6


def service_stays(cluster: Installed, active: str, link: str, deed: str) -> None:
    """Asserts that the resource stays on its node and link, and that clients miss it for less than 3 s.

    :param link: Where the address is before the deed.
    :param deed: A command.
    """
    node, before = cluster.node(active), cluster.record()
    if not any(cidr == cluster.lab.place.vip and held == link for held, cidr in node.addresses()):
        node.run("holdfast", "backup", "move", "web", timeout=120)
        cluster.wait_settled(active, link)
    with cluster.lab.prober("client-c") as prober:
        prober.wait_until_answered(5, by=active)
        node.run(*deed.split())
        cluster.wait_settled(active, link)
        report = prober.stop()
    print(f"{deed}, address on {link}: {report.longest_ms:.0f} ms without an answer")
    assert report.longest_ms < 3000
    cluster.stays(before)


@contextmanager
def dhcp_server(cluster: Installed, node: BootedNode) -> Iterator[DhcpServer]:
    """One that gives the links of the node the addresses that they have in the VPC."""
    places = {}
    for one in node.place.interfaces:
        place = Place(f"{one.address}/{one.cidr.partition('/')[2]}", forwarding.router_address(one.cidr))
        places[forwarding.port_name(one.id)] = place
    node.run("ip", "route", "flush", "table", "main", "proto", "boot")  # the lab's, so that those by DHCP are the only ones
    with DhcpServer(cluster.lab.router.namespace, places, LEASE) as server:
        yield server


def own_addresses_are_renewed(cluster: Installed, active: str, server: DhcpServer, *renewals: str) -> None:
    """Asserts that the resource stays while the node's own addresses are renewed, and while the server takes them away and gives them anew.

    :param renewals: Commands that renew the address of each link.
    """
    node, before = cluster.node(active), cluster.record()
    with cluster.lab.prober("client-c") as prober:
        prober.wait_until_answered(5, by=active)
        _wait_given(server, 2)  # at half of the time
        for one in renewals:
            node.run(*one.split())
        _wait_given(server, 1)
        renewed = prober.report()
        begun = server.begun.copy()
        server.refuse.update(server.given)
        until(lambda: all(server.begun[link] > begun[link] for link in server.given), 30, "no client begins anew")
        _wait_given(server, 1)
        cluster.wait_settled(active)
        report = prober.stop()
    print(f"renewals: {renewed.longest_ms:.0f} ms without an answer; given anew: {[f'{one.ms:.0f} ms' for one in report.outages]}")
    assert renewed.longest_ms < 1000
    assert report.longest_ms < 3000
    cluster.stays(before)


def _wait_given(server: DhcpServer, times: int) -> None:
    """Until each link has got its address so many times more."""
    before = server.given.copy()
    until(lambda: all(server.given[link] >= count + times for link, count in before.items()), 30, "no address is given")
