# SPDX-License-Identifier: GPL-3.0-or-later
"""What a network manager does on the node that serves, and what clients see of it."""

from __future__ import annotations

from ansible_collections.holdfast.ha.tests.integration.monitor.cluster import Installed


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
